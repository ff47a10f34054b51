package interp

import "dfemu/cpu/x86"

// loadSlow reads n (1, 2, 4, 8) bytes at va in context ctx when the TLB did not
// answer: a miss, an access across pages, I/O, or a watched page.
func (c *CPU) loadSlow(o *Op, va uint64, n int, ctx uint64) (uint64, bool) {
	if ctx&ctxSlow != 0 {
		if !c.wholeCanonical(o, va, n) || !c.checkAlign(va, n) {
			return 0, false
		}
		c.watch(va, n, accRead)
	}
	if room := pageSize - int(va&pageOffset); n > room {
		if !c.wholeCanonical(o, va, n) {
			return 0, false
		}
		va2 := (va + uint64(room))
		if !c.long {
			va2 &= 0xffffffff
		}
		lo, ok := c.loadPiece(o, va, room, ctx)
		if !ok {
			return 0, false
		}
		hi, ok := c.loadPiece(o, va2, n-room, ctx)
		return lo | hi<<(8*room), ok
	}
	return c.loadPiece(o, va, n, ctx)
}

// loadPiece reads 1 to 8 bytes inside one page.
func (c *CPU) loadPiece(o *Op, va uint64, n int, ctx uint64) (uint64, bool) {
	host := c.again(va, accRead, ctx)
	if host == nil {
		phys, at, ok := c.translate(o, va, accRead, ctx)
		if !ok {
			return 0, false
		}
		if host = at; host == nil {
			return c.busRead(o, phys, n), true
		}
	}
	switch n {
	case 1:
		return uint64(hostLoad[uint8](host)), true
	case 2:
		return uint64(hostLoad[uint16](host)), true
	case 4:
		return uint64(hostLoad[uint32](host)), true
	case 8:
		return hostLoad[uint64](host), true
	}
	var v uint64
	for i := range n {
		v |= uint64(hostLoad[uint8](hostAdd(host, i))) << (8 * i)
	}
	return v, true
}

// storeSlow writes n (1, 2, 4, 8) bytes at va in context ctx when the TLB did
// not answer. Both pages of a store that crosses are checked before either is written.
func (c *CPU) storeSlow(o *Op, va uint64, n int, v uint64, ctx uint64) bool {
	if ctx&ctxSlow != 0 {
		if !c.wholeCanonical(o, va, n) || !c.checkAlign(va, n) {
			return false
		}
		c.watch(va, n, accWrite)
	}
	if room := pageSize - int(va&pageOffset); n > room {
		if !c.wholeCanonical(o, va, n) {
			return false
		}
		va2 := (va + uint64(room))
		if !c.long {
			va2 &= 0xffffffff
		}
		if _, _, ok := c.translate(o, va, accWrite, ctx); !ok {
			return false
		}
		if _, _, ok := c.translate(o, va2, accWrite, ctx); !ok {
			return false
		}
		return c.storePiece(o, va, room, v, ctx) && c.storePiece(o, va2, n-room, v>>(8*room), ctx)
	}
	return c.storePiece(o, va, n, v, ctx)
}

// storePiece writes 1 to 8 bytes inside one page.
func (c *CPU) storePiece(o *Op, va uint64, n int, v uint64, ctx uint64) bool {
	host := c.again(va, accWrite, ctx)
	if host == nil {
		phys, at, ok := c.translate(o, va, accWrite, ctx)
		if !ok {
			return false
		}
		if host = at; host == nil {
			page, readOnly := c.acc.mem.page(phys)
			if page == nil || readOnly {
				c.busWrite(o, phys, n, v)
				return true
			}
			host = hostAt(page, phys)
			defer c.codeWritten(phys, n)
		}
	}
	switch n {
	case 1:
		hostStore(host, uint8(v))
	case 2:
		hostStore(host, uint16(v))
	case 4:
		hostStore(host, uint32(v))
	case 8:
		hostStore(host, v)
	default:
		for i := range n {
			hostStore(hostAdd(host, i), uint8(v>>(8*i)))
		}
	}
	return true
}

// checkAlign raises #AC(0) for an unaligned access at CPL 3 while alignment
// checks are on.
func (c *CPU) checkAlign(va uint64, n int) bool {
	if va&uint64(n-1) == 0 || c.cpl != 3 || c.flags&x86.AC == 0 || c.s.CR0&x86.CR0_AM == 0 {
		return true
	}
	c.fault(x86.VecAC, 0)
	return false
}

// busRead reads n bytes (1 to 8) of something that is not RAM.
func (c *CPU) busRead(o *Op, phys uint64, n int) uint64 {
	c.leave(o)
	if base, on := c.apic.Base(); on && phys&pageMask == base {
		return c.apic.Read(phys&pageOffset, n)
	}
	c.stats.Exits++
	switch n {
	case 1, 2, 4, 8:
		return c.bus.Read(phys, n)
	}
	var v uint64
	for i := range n {
		v |= c.bus.Read(phys+uint64(i), 1) << (8 * i)
	}
	return v
}

// busWrite writes n bytes (1 to 8) of something that is not RAM.
func (c *CPU) busWrite(o *Op, phys uint64, n int, v uint64) {
	c.leave(o)
	v &= ^uint64(0) >> (64 - 8*n)
	if base, on := c.apic.Base(); on && phys&pageMask == base {
		c.apic.Write(phys&pageOffset, n, v)
		return
	}
	c.stats.Exits++
	switch n {
	case 1, 2, 4, 8:
		c.bus.Write(phys, n, v)
		return
	}
	for i := range n {
		c.bus.Write(phys+uint64(i), 1, v>>(8*i)&0xff)
	}
}

// leave records where the guest is before something outside is called.
func (c *CPU) leave(o *Op) {
	if o != nil {
		c.curRIP.Store(c.ripOf(o))
	}
}

// watch looks for data breakpoints (DR0–DR3) on the n bytes at va and notes those that match in
// dbHit; the run loop raises #DB after the instruction.
func (c *CPU) watch(va uint64, n int, acc access) {
	dr7 := c.s.DR[7]
	for i := range 4 {
		if dr7>>(2*i)&3 == 0 {
			continue
		}
		kind := dr7 >> (16 + 4*i) & 3
		if kind == 0 || kind == 2 || kind == 1 && acc != accWrite {
			continue
		}
		size := [...]uint64{1, 2, 8, 4}[dr7>>(18+4*i)&3]
		at := c.s.DR[i] &^ (size - 1)
		if va < at+size && at < va+uint64(n) {
			c.dbHit |= 1 << i
		}
	}
}
