package interp

import "dfemu/cpu/x86"

// compileControl handles control and debug registers, XCR0, and the invalidation of
// translations and caches.
func compileControl(in *x86.Inst, o *Op) (done, end bool) {
	switch in.Op {
	case x86.MOVCR:
		if in.Args[0].Kind == x86.KindCR {
			o.dst, o.src = uint8(in.Args[0].Reg), regNum(&in.Args[1])
			o.fn = movToCR
			return true, true
		}
		o.dst, o.src = regNum(&in.Args[0]), uint8(in.Args[1].Reg)
		o.fn = movFromCR
	case x86.MOVDR:
		if in.Args[0].Kind == x86.KindDR {
			o.dst, o.src = uint8(in.Args[0].Reg), regNum(&in.Args[1])
			o.fn = movToDR
			return true, true
		}
		o.dst, o.src = regNum(&in.Args[0]), uint8(in.Args[1].Reg)
		o.fn = movFromDR
	case x86.CLTS:
		o.fn = clts
	case x86.INVLPG:
		o.fn = invlpg
		return true, true
	case x86.INVPCID:
		o.src = regNum(&in.Args[0])
		o.fn = invpcid
		return true, true
	case x86.INVD, x86.WBINVD:
		o.fn = wbinvd
	case x86.XGETBV:
		o.fn = xgetbv
	case x86.XSETBV:
		o.fn = xsetbv
	default:
		return false, false
	}
	return true, false
}

// cr4Mask returns the bits of CR4 that may be set, by what CPUID announces.
func cr4Mask(f x86.FeatureSet) uint64 {
	m := uint64(x86.CR4_TSD | x86.CR4_PCE)
	for _, b := range [...]struct {
		feat x86.Feature
		bits uint64
	}{
		{x86.FeatVME, x86.CR4_VME | x86.CR4_PVI},
		{x86.FeatDE, x86.CR4_DE},
		{x86.FeatPSE, x86.CR4_PSE},
		{x86.FeatPAE, x86.CR4_PAE},
		{x86.FeatMCE, x86.CR4_MCE},
		{x86.FeatPGE, x86.CR4_PGE},
		{x86.FeatFXSR, x86.CR4_OSFXSR},
		{x86.FeatSSE, x86.CR4_OSXMMEXCPT},
		{x86.FeatUMIP, x86.CR4_UMIP},
		{x86.FeatLA57, x86.CR4_LA57},
		{x86.FeatFSGSBASE, x86.CR4_FSGSBASE},
		{x86.FeatPCID, x86.CR4_PCIDE},
		{x86.FeatXSAVE, x86.CR4_OSXSAVE},
		{x86.FeatSMEP, x86.CR4_SMEP},
		{x86.FeatSMAP, x86.CR4_SMAP},
	} {
		if f.Has(b.feat) {
			m |= b.bits
		}
	}
	return m
}

func movFromCR(c *CPU, o *Op) status {
	if !c.privileged() {
		return stFault
	}
	var v uint64
	switch o.src {
	case 0:
		v = c.s.CR0
	case 2:
		v = c.s.CR2
	case 3:
		v = c.s.CR3
	case 4:
		v = c.s.CR4
	case 8:
		v = uint64(c.apic.CR8())
	default:
		return c.ud()
	}
	if o.size == 4 {
		v &= 0xffffffff
	}
	c.r[o.dst&15] = v
	return stNext
}

func movToCR(c *CPU, o *Op) status {
	if !c.privileged() {
		return stFault
	}
	v := c.r[o.src&15]
	if o.size == 4 {
		v &= 0xffffffff
	}
	switch o.dst {
	case 0:
		return c.setCR0(v)
	case 2:
		c.s.CR2 = v
	case 3:
		return c.setCR3(v)
	case 4:
		return c.setCR4(v)
	case 8:
		if v > 15 {
			return c.gp(0)
		}
		c.apic.SetCR8(uint8(v))
	default:
		return c.ud()
	}
	return stEnd
}

// setCR0 writes CR0 with all checks (Intel SDM vol. 2, MOV control registers; vol. 3, 2.5, 10.8.5).
func (c *CPU) setCR0(v uint64) status {
	s := &c.s
	const defined = x86.CR0_PE | x86.CR0_MP | x86.CR0_EM | x86.CR0_TS | x86.CR0_NE | x86.CR0_WP |
		x86.CR0_AM | x86.CR0_NW | x86.CR0_CD | x86.CR0_PG
	if v>>32 != 0 || v&x86.CR0_PG != 0 && v&x86.CR0_PE == 0 || v&x86.CR0_NW != 0 && v&x86.CR0_CD == 0 {
		return c.gp(0)
	}
	v = v&defined | x86.CR0_ET
	changed := v ^ s.CR0
	switch {
	case changed&v&x86.CR0_PG != 0: // paging is turned on
		switch {
		case s.MSR.EFER&x86.EFER_LME != 0:
			if s.CR4&x86.CR4_PAE == 0 || s.Seg[x86.CS].Attr&x86.AttrL != 0 {
				return c.gp(0)
			}
			s.MSR.EFER |= x86.EFER_LMA
		case s.CR4&x86.CR4_PAE != 0:
			if !c.pdptesOK(s.CR3) {
				return c.gp(0)
			}
		}
	case changed&x86.CR0_PG != 0: // turned off
		if c.mode == x86.Mode64 || s.CR4&x86.CR4_PCIDE != 0 {
			return c.gp(0)
		}
		s.MSR.EFER &^= x86.EFER_LMA
	}
	s.CR0 = v
	if changed&(x86.CR0_PG|x86.CR0_PE|x86.CR0_WP) != 0 {
		c.flushTLB()
	}
	c.modeChanged()
	return stEnd
}

// pdptesOK checks the four page-directory-pointer-table entries of PAE paging (SDM vol. 3, 4.4.1).
func (c *CPU) pdptesOK(cr3 uint64) bool {
	for i := range uint64(4) {
		e, ok := c.readEntry(cr3&0xffffffe0+i*8, 8)
		if ok && e&pteP != 0 && e&(3<<1|0xf<<5|^uint64(physMask)) != 0 {
			return false
		}
	}
	return true
}

// setCR3 writes CR3.
func (c *CPU) setCR3(v uint64) status {
	s := &c.s
	keep := false
	if s.CR4&x86.CR4_PCIDE != 0 {
		keep = v>>63 != 0
		v &^= 1 << 63
	}
	if c.long {
		if v&^uint64(physMask) != 0 {
			return c.gp(0)
		}
	} else if s.CR0&x86.CR0_PG != 0 && s.CR4&x86.CR4_PAE != 0 && !c.pdptesOK(v) {
		return c.gp(0)
	}
	if !keep || v != s.CR3 {
		s.CR3 = v
		c.enterSpace(keep)
	}
	return stEnd
}

// setCR4 writes CR4 with all checks (SDM vol. 3, 2.5, 4.1.2, 4.10.1).
func (c *CPU) setCR4(v uint64) status {
	s := &c.s
	changed := v ^ s.CR4
	switch {
	case v&^c.sys.cr4Mask != 0,
		c.long && changed&(x86.CR4_PAE|x86.CR4_LA57) != 0,
		changed&v&x86.CR4_PCIDE != 0 && (!c.long || s.CR3&0xfff != 0):
		return c.gp(0)
	}
	if s.CR0&x86.CR0_PG != 0 && !c.long && v&x86.CR4_PAE != 0 &&
		changed&(x86.CR4_PAE|x86.CR4_PSE|x86.CR4_PGE|x86.CR4_SMEP) != 0 && !c.pdptesOK(s.CR3) {
		return c.gp(0)
	}
	s.CR4 = v
	const paging = x86.CR4_PSE | x86.CR4_PAE | x86.CR4_PGE | x86.CR4_LA57 | x86.CR4_PCIDE | x86.CR4_SMEP | x86.CR4_SMAP
	if changed&paging != 0 {
		c.flushTLB()
	}
	c.modeChanged()
	return stEnd
}

func clts(c *CPU, _ *Op) status {
	if !c.privileged() {
		return stFault
	}
	c.s.CR0 &^= x86.CR0_TS
	return stNext
}

// debugRegister finds which register MOV DR means, after the checks that reading and writing share
// (SDM vol. 3, 17.2).
func (c *CPU) debugRegister(n uint8) (uint8, bool) {
	if !c.privileged() {
		return 0, false
	}
	if n == 4 || n == 5 {
		if c.s.CR4&x86.CR4_DE != 0 {
			c.ud()
			return 0, false
		}
		n += 2
	}
	if c.s.DR[7]&(1<<13) != 0 {
		c.exc = exception{vec: x86.VecDB, db: dr6BD}
		return 0, false
	}
	return n & 7, true
}

func movFromDR(c *CPU, o *Op) status {
	n, ok := c.debugRegister(o.src)
	if !ok {
		return stFault
	}
	v := c.s.DR[n]
	if o.size == 4 {
		v &= 0xffffffff
	}
	c.r[o.dst&15] = v
	return stNext
}

func movToDR(c *CPU, o *Op) status {
	n, ok := c.debugRegister(o.dst)
	if !ok {
		return stFault
	}
	v := c.r[o.src&15]
	if o.size == 4 {
		v &= 0xffffffff
	}
	if n >= 6 && v>>32 != 0 {
		return c.gp(0)
	}
	switch n {
	case 6:
		v = v&0xe00f | dr6Fixed
	case 7:
		v = v&0xffff23ff | 1<<10
	}
	c.s.DR[n] = v
	c.modeChanged()
	return stEnd
}

func wbinvd(c *CPU, _ *Op) status {
	if !c.privileged() {
		return stFault
	}
	return stNext
}

func invlpg(c *CPU, o *Op) status {
	if !c.privileged() {
		return stFault
	}
	va := c.lea(o) + c.segBase[o.seg&7]
	if c.mode != x86.Mode64 {
		va &= 0xffffffff
	}
	c.invalidatePage(va)
	return stEnd
}

// invpcid is INVPCID (SDM vol. 2).
func invpcid(c *CPU, o *Op) status {
	if !c.privileged() {
		return stFault
	}
	kind := c.r[o.src&15]
	if c.mode != x86.Mode64 {
		kind &= 0xffffffff
	}
	d, ok := c.load128(o, false)
	if !ok {
		return stFault
	}
	pcid := d[0]
	pcide := c.s.CR4&x86.CR4_PCIDE != 0
	if kind > 3 || pcid>>12 != 0 || kind < 2 && pcid != 0 && !pcide || kind == 0 && !c.canonical(d[1]) {
		return c.gp(0)
	}
	current := pcid == 0 && !pcide || pcide && pcid == c.s.CR3&0xfff
	switch {
	case kind == 2:
		c.flushTLB()
	case kind == 3:
		c.sys.spaces.list = [keptSpaces]space{}
		c.enterSpace(false)
	case kind == 1 && current:
		c.enterSpace(false)
	case current:
		c.invalidatePage(d[1])
	default: // a page or all of another address space
		c.sys.spaces.forget(uint16(pcid))
	}
	return stEnd
}

func xgetbv(c *CPU, _ *Op) status {
	if c.s.CR4&x86.CR4_OSXSAVE == 0 {
		return c.ud()
	}
	if uint32(c.r[x86.RCX]) != 0 {
		return c.gp(0)
	}
	c.r[x86.RAX], c.r[x86.RDX] = c.s.XCR0&0xffffffff, c.s.XCR0>>32
	return stNext
}

func xsetbv(c *CPU, _ *Op) status {
	if c.s.CR4&x86.CR4_OSXSAVE == 0 {
		return c.ud()
	}
	v := c.r[x86.RAX]&0xffffffff | c.r[x86.RDX]<<32
	cfg := c.cpuidConfig()
	if c.cpl != 0 || uint32(c.r[x86.RCX]) != 0 || v&^cfg.XCR0Mask() != 0 || v&x86.XCR0_X87 == 0 ||
		v&x86.XCR0_AVX != 0 && v&x86.XCR0_SSE == 0 {
		return c.gp(0)
	}
	c.s.XCR0 = v
	c.ready = 0
	return stNext
}
