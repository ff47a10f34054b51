package interp

// Memory operands the quick way. A handler of a common instruction computes
// the address with ea, asks the TLB with readable or writable, both of which
// the compiler inlines, and leaves everything else (a miss, an access across
// pages, I/O, code pages, segments that must be checked) to a general one.

// ea returns the linear address of o's memory operand where its segment needs
// no check (o.legacy is false).
func (c *CPU) ea(o *Op) uint64 {
	return (c.r[o.base&31]+c.r[o.index&31]<<(o.scale&3)+o.disp)&o.amask + c.segBase[o.seg&7]
}

// readable returns where the n bytes at va are in the host, if the TLB knows
// that they may be read, and nil otherwise.
func (c *CPU) readable(va, n uint64) hostPage {
	e := &c.tlb[tlbIndex(va, c.ctx)]
	if e.r != (va+n-1)&pageMask|c.ctx {
		return nil
	}
	return hostAt(e.host, va)
}

// writable is readable for stores.
func (c *CPU) writable(va, n uint64) hostPage {
	e := &c.tlb[tlbIndex(va, c.ctx)]
	if e.w != (va+n-1)&pageMask|c.ctx {
		return nil
	}
	return hostAt(e.host, va)
}

// modify replaces o's memory operand by f of it, without LOCK.
func modify[T word](c *CPU, o *Op, f func(T) T) (old T, ok bool) {
	va, ok := c.address(o, int(sizeOf[T]()), accWrite)
	if !ok {
		return 0, false
	}
	if p := c.writable(va, sizeOf[T]()); p != nil {
		old = hostLoad[T](p)
		hostStore(p, f(old))
		return old, true
	}
	if old, ok = loadForStore[T](c, o, va); !ok {
		return 0, false
	}
	return old, storeAt(c, o, va, f(old))
}

// loadForStore reads the T at va, which is about to be written: a fault is one of the write.
func loadForStore[T word](c *CPU, o *Op, va uint64) (T, bool) {
	n := int(sizeOf[T]())
	if c.ctx&ctxSlow != 0 && (!c.wholeCanonical(o, va, n) || !c.checkAlign(va, n)) {
		return 0, false
	}
	if !c.probe(o, va, n, accWrite) {
		return 0, false
	}
	return loadAt[T](c, o, va)
}
