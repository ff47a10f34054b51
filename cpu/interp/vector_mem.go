package interp

import "dfemu/cpu/x86"

// vecAddress is address, and checks the alignment that o.size asks for.
func (c *CPU) vecAddress(o *Op, n int, acc access) (va uint64, ok bool) {
	va = c.lea(o)
	if o.legacy {
		if va, ok = c.linear(o.seg, va, uint64(n), acc); !ok {
			return 0, false
		}
	} else {
		va += c.segBase[o.seg&7]
	}
	if va&uint64(o.size) != 0 {
		c.gp(0)
		return 0, false
	}
	return va, true
}

// after returns the address n bytes after va: linear addresses have 32 bits
// outside 64-bit mode.
func (c *CPU) after(va, n uint64) uint64 {
	va += n
	if c.mode != x86.Mode64 {
		va &= 0xffffffff
	}
	return va
}

// loadLane reads the 16 bytes of o's memory operand.
func (c *CPU) loadLane(o *Op) (v lane, ok bool) {
	va, ok := c.vecAddress(o, 16, accRead)
	if !ok {
		return v, false
	}
	e := &c.tlb[tlbIndex(va, c.ctx)]
	if e.r == (va+15)&pageMask|c.ctx {
		p := hostAt(e.host, va)
		return lane{hostLoad[uint64](p), hostLoad[uint64](hostAdd(p, 8))}, true
	}
	return c.loadLaneAt(o, va)
}

// loadLaneAt reads 16 bytes at va that the TLB may not have.
func (c *CPU) loadLaneAt(o *Op, va uint64) (v lane, ok bool) {
	if !c.wholeCanonical(o, va, 16) || !c.checkAlign(va, 16) {
		return v, false
	}
	if v.lo, ok = loadAt[uint64](c, o, va); ok {
		v.hi, ok = loadAt[uint64](c, o, c.after(va, 8))
	}
	return v, ok
}

// loadLanes reads the 32 bytes of o's memory operand.
func (c *CPU) loadLanes(o *Op) (l, h lane, ok bool) {
	va, ok := c.vecAddress(o, 32, accRead)
	if !ok {
		return l, h, false
	}
	e := &c.tlb[tlbIndex(va, c.ctx)]
	if e.r == (va+31)&pageMask|c.ctx {
		p := hostAt(e.host, va)
		return lane{hostLoad[uint64](p), hostLoad[uint64](hostAdd(p, 8))},
			lane{hostLoad[uint64](hostAdd(p, 16)), hostLoad[uint64](hostAdd(p, 24))}, true
	}
	if !c.wholeCanonical(o, va, 32) || !c.checkAlign(va, 16) {
		return l, h, false
	}
	if l, ok = c.loadLaneAt(o, va); ok {
		h, ok = c.loadLaneAt(o, c.after(va, 16))
	}
	return l, h, ok
}

// storeLane writes the 16 bytes of o's memory operand.
func (c *CPU) storeLane(o *Op, v lane) bool {
	va, ok := c.vecAddress(o, 16, accWrite)
	if !ok {
		return false
	}
	e := &c.tlb[tlbIndex(va, c.ctx)]
	if e.w == (va+15)&pageMask|c.ctx {
		p := hostAt(e.host, va)
		hostStore(p, v.lo)
		hostStore(hostAdd(p, 8), v.hi)
		return true
	}
	return c.probeStore(o, va, 16) &&
		storeAt(c, o, va, v.lo) && storeAt(c, o, c.after(va, 8), v.hi)
}

// storeLanes writes the 32 bytes of o's memory operand.
func (c *CPU) storeLanes(o *Op, l, h lane) bool {
	va, ok := c.vecAddress(o, 32, accWrite)
	if !ok {
		return false
	}
	e := &c.tlb[tlbIndex(va, c.ctx)]
	if e.w == (va+31)&pageMask|c.ctx {
		p := hostAt(e.host, va)
		hostStore(p, l.lo)
		hostStore(hostAdd(p, 8), l.hi)
		hostStore(hostAdd(p, 16), h.lo)
		hostStore(hostAdd(p, 24), h.hi)
		return true
	}
	return c.probeStore(o, va, 32) &&
		storeAt(c, o, va, l.lo) && storeAt(c, o, c.after(va, 8), l.hi) &&
		storeAt(c, o, c.after(va, 16), h.lo) && storeAt(c, o, c.after(va, 24), h.hi)
}

// probeStore checks that n bytes at va can be written at once. How large
// operands are checked for alignment is up to the processor.
func (c *CPU) probeStore(o *Op, va uint64, n int) bool {
	return c.wholeCanonical(o, va, n) && c.checkAlign(va, min(n, 16)) && c.probe(o, va, n, accWrite)
}

// loadPart reads a memory operand of n (1, 2, 4, 8) bytes, zero-extended.
func (c *CPU) loadPart(o *Op, n uint8) (uint64, bool) {
	switch n {
	case 1:
		v, ok := load[uint8](c, o)
		return uint64(v), ok
	case 2:
		v, ok := load[uint16](c, o)
		return uint64(v), ok
	case 4:
		v, ok := load[uint32](c, o)
		return uint64(v), ok
	}
	return load[uint64](c, o)
}

// storePart writes the low n (1, 2, 4, 8) bytes of v to o's memory operand.
func (c *CPU) storePart(o *Op, n uint8, v uint64) bool {
	switch n {
	case 1:
		return store(c, o, uint8(v))
	case 2:
		return store(c, o, uint16(v))
	case 4:
		return store(c, o, uint32(v))
	}
	return store(c, o, v)
}

// loadPartAt and storePartAt are the same at a linear address.
func (c *CPU) loadPartAt(o *Op, va uint64, n uint8) (uint64, bool) {
	switch n {
	case 1:
		v, ok := loadAt[uint8](c, o, va)
		return uint64(v), ok
	case 2:
		v, ok := loadAt[uint16](c, o, va)
		return uint64(v), ok
	case 4:
		v, ok := loadAt[uint32](c, o, va)
		return uint64(v), ok
	}
	return loadAt[uint64](c, o, va)
}

func (c *CPU) storePartAt(o *Op, va uint64, n uint8, v uint64) bool {
	switch n {
	case 1:
		return storeAt(c, o, va, uint8(v))
	case 2:
		return storeAt(c, o, va, uint16(v))
	case 4:
		return storeAt(c, o, va, uint32(v))
	}
	return storeAt(c, o, va, v)
}
