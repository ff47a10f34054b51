package interp

import "dfemu/cpu/x86"

// Bits of paging-structure entries (Intel SDM vol. 3, 4.3–4.5).
const (
	pteP  = 1 << 0
	pteW  = 1 << 1
	pteU  = 1 << 2
	pteA  = 1 << 5
	pteD  = 1 << 6
	ptePS = 1 << 7
	pteG  = 1 << 8
	pteNX = 1 << 63

	// physBits is MAXPHYADDR as CPUID announces it.
	physBits = 46
	physMask = 1<<physBits - 1
)

// canonical reports whether va is canonical at the present paging depth.
func (c *CPU) canonical(va uint64) bool {
	shift := 16
	if c.s.CR4&x86.CR4_LA57 != 0 {
		shift = 7
	}
	return uint64(int64(va)<<shift>>shift) == va
}

// notCanonical raises the exception for an operand of o outside the canonical space.
func (c *CPU) notCanonical(o *Op) {
	if o != nil && o.seg == x86.SS {
		c.fault(x86.VecSS, 0)
	} else {
		c.gp(0)
	}
}

// wholeCanonical checks that both ends of the n bytes at va are in the canonical
// space: that comes before any page fault and before the check of alignment.
func (c *CPU) wholeCanonical(o *Op, va uint64, n int) bool {
	if !c.long || c.canonical(va) && c.canonical(va+uint64(n)-1) {
		return true
	}
	c.notCanonical(o)
	return false
}

// translate finds the guest-physical address of linear address va for an
// access in context ctx, sets accessed and dirty bits, and enters the page into
// the TLB. When it fails it has made the exception pending. host is the
// byte's place in the host, or nil where a load (or, for accWrite, a store)
// must leave through the bus or the code map.
func (c *CPU) translate(o *Op, va uint64, acc access, ctx uint64) (phys uint64, host hostPage, ok bool) {
	if c.long && !c.canonical(va) {
		c.notCanonical(o)
		return 0, nil, false
	}
	writable := true
	if c.s.CR0&x86.CR0_PG == 0 {
		phys = va & 0xffffffff
		c.sys.walkedGlobal, c.sys.walkedWide = false, false
	} else {
		var code uint32
		c.stats.TLBMisses++
		phys, writable, code, ok = c.walk(va, acc, ctx)
		if !ok {
			c.s.CR2 = va
			c.fault(x86.VecPF, code)
			return 0, nil, false
		}
	}
	page, readOnly := c.acc.mem.page(phys)
	if d := c.dryRun; d != nil {
		if page == nil || acc == accWrite && (readOnly || c.acc.code.any(phys)) {
			d.stopped = true
			return 0, nil, false
		}
		if acc == accWrite {
			d.touch(page)
		}
	}
	if page == nil {
		return phys, nil, true
	}
	host = hostAt(page, phys)
	if acc == accFetch {
		return phys, host, true
	}
	if ctx&ctxSlow == 0 {
		i := tlbIndex(va, ctx)
		e := &c.tlb[i]
		tag, old := va&pageMask|ctx, e.r
		if e.r != tag {
			*e = tlbEntry{r: tag, host: page, delta: hostDelta(page, va)}
			if c.sys.walkedGlobal {
				c.tlbGlobal[i>>6] |= 1 << (i & 63)
			} else {
				c.tlbGlobal[i>>6] &^= 1 << (i & 63)
				if ctx&ctxUser == 0 {
					if c.localCount < maxLocal {
						c.local[c.localCount] = uint16(i)
					}
					c.localCount = min(c.localCount+1, maxLocal+1)
				}
			}
		}
		if writable && !readOnly && (c.dryRun == nil || acc == accWrite) && !c.acc.code.any(phys) {
			e.w = tag
			if c.sys.walkedWide {
				c.fillWide(va, phys, ctx)
			}
		}
		if ctx&ctxUser != 0 && !c.acc.lockstep {
			c.second.keep(e, old)
		}
	}
	if acc == accWrite && (readOnly || c.acc.code.any(phys)) {
		host = nil
	}
	return phys, host, true
}

// walk reads the paging structures. writable tells whether a store in the same
// context needs no further walk (it is allowed, and the dirty bit is set). code is
// the error code of the page fault when ok is false.
func (c *CPU) walk(va uint64, acc access, ctx uint64) (phys uint64, writable bool, code uint32, ok bool) {
	s := &c.s
	user := ctx&ctxUser != 0
	if user {
		code |= x86.PFU
	}
	if acc == accWrite {
		code |= x86.PFW
	}
	nxe := s.MSR.EFER&x86.EFER_NXE != 0
	if acc == accFetch && (nxe && s.CR4&x86.CR4_PAE != 0 || s.CR4&x86.CR4_SMEP != 0) {
		code |= x86.PFI
	}
	var reserved uint64 // bits that must be 0 in every entry
	levels, size, index := 0, uint64(8), uint(9)
	table := s.CR3 & physMask & pageMask
	allowed := uint64(pteW | pteU) // the AND of the entries' rights
	switch {
	case s.CR4&x86.CR4_PAE == 0:
		levels, size, index = 2, 4, 10
		table &= 0xfffff000
	case !c.long:
		// The four PDPTEs are read with each walk rather than at MOV CR3; a
		// guest cannot rely on either.
		levels = 2
		pdpte, present := c.readEntry(s.CR3&0xffffffe0+va>>30&3*8, 8)
		if !present || pdpte&pteP == 0 {
			return 0, false, code, false
		}
		if pdpte&(3<<1|0xf<<5|^uint64(physMask)) != 0 {
			return 0, false, code | x86.PFP | x86.PFR, false
		}
		table = pdpte & physMask & pageMask
		reserved = ^uint64(physMask) &^ pteNX
	case s.CR4&x86.CR4_LA57 != 0:
		levels = 5
		reserved = 0xfffff << physBits & (1<<52 - 1)
	default:
		levels = 4
		reserved = 0xfffff << physBits & (1<<52 - 1)
	}
	if size == 8 && !nxe {
		reserved |= pteNX
	}
	nx := false
	for level := levels; ; level-- {
		shift := 12 + index*uint(level-1)
		at := table + va>>shift&(1<<index-1)*size
		e, present := c.readEntry(at, int(size))
		if !present {
			e = 0
		}
		above, nxAbove := allowed, nx
	again:
		if e&pteP == 0 {
			return 0, false, code, false
		}
		leaf := level == 1
		mask := uint64(1)<<shift - 1
		if !leaf && e&ptePS != 0 {
			switch {
			case size == 4:
				leaf = s.CR4&x86.CR4_PSE != 0 && level == 2
			case level <= 3:
				leaf = true
			default:
				return 0, false, code | x86.PFP | x86.PFR, false
			}
		}
		bad := e & reserved
		if leaf && level > 1 {
			if size == 4 {
				bad |= e & (1 << 21) // PSE-36 above 40 bits
			} else {
				bad |= e & mask &^ 0x1fff
			}
		}
		if bad != 0 {
			return 0, false, code | x86.PFP | x86.PFR, false
		}
		allowed = above & e
		nx = nxAbove || size == 8 && e&pteNX != 0
		if !leaf {
			if e&pteA == 0 {
				if old, done := c.setEntry(at, int(size), e, e|pteA); !done {
					e = old
					goto again
				}
			}
			table = e & physMask & pageMask
			if size == 4 {
				table &= 0xfffff000
			}
			continue
		}
		if !c.permitted(acc, ctx, allowed, nx) {
			return 0, false, code | x86.PFP, false
		}
		want := e | pteA
		if acc == accWrite {
			want |= pteD
		}
		if want != e {
			if old, done := c.setEntry(at, int(size), e, want); !done {
				e = old
				goto again
			}
		}
		base := e & physMask &^ mask
		if size == 4 {
			base = e & 0xffffffff &^ mask
			if level == 2 {
				base |= e >> 13 & 0xff << 32
			}
		}
		c.sys.walkedGlobal = e&pteG != 0 && s.CR4&x86.CR4_PGE != 0
		if level > 1 {
			c.noteLarge(va, mask, c.sys.walkedGlobal)
		}
		c.sys.walkedWide = mask >= widePage-1
		writable = want&pteD != 0 && c.permitted(accWrite, ctx, allowed, nx)
		return base | va&mask, writable, 0, true
	}
}

// permitted checks an access against the combined rights of a page
// (Intel SDM vol. 3, 4.6.1).
func (c *CPU) permitted(acc access, ctx, allowed uint64, nx bool) bool {
	s := &c.s
	userPage := allowed&pteU != 0
	if ctx&ctxUser != 0 {
		return userPage && (acc != accWrite || allowed&pteW != 0) && (acc != accFetch || !nx)
	}
	switch acc {
	case accFetch:
		return !nx && !(userPage && s.CR4&x86.CR4_SMEP != 0)
	case accWrite:
		if allowed&pteW == 0 && s.CR0&x86.CR0_WP != 0 {
			return false
		}
	}
	return !(userPage && s.CR4&x86.CR4_SMAP != 0 && ctx&ctxAC == 0)
}
