package interp

// locked replaces o's memory operand by f of it in one step, as seen by all
// processors, and returns what was there. f may be called several times. When
// it returns ok = false, the exception is pending and nothing has changed.
func locked[T word](c *CPU, o *Op, f func(old T) T) (old T, ok bool) {
	va, ok := c.address(o, int(sizeOf[T]()), accWrite)
	if !ok {
		return 0, false
	}
	return lockedAt(c, o, va, f)
}

// lockedAt is locked for linear address va.
func lockedAt[T word](c *CPU, o *Op, va uint64, f func(old T) T) (old T, ok bool) {
	n := sizeOf[T]()
	e := &c.tlb[tlbIndex(va, c.ctx)]
	if e.w == (va+n-1)&pageMask|c.ctx && (unalignedAtomics || va&(n-1) == 0) {
		p := hostAt(e.host, va)
		for {
			old = hostLoad[T](p)
			if hostCAS(p, old, f(old)) {
				return old, true
			}
		}
	}
	if c.ctx&ctxSlow != 0 {
		if !c.wholeCanonical(o, va, int(n)) || !c.checkAlign(va, int(n)) {
			return 0, false
		}
		c.watch(va, int(n), accWrite)
	}
	if !c.probe(o, va, int(n), accWrite) {
		return 0, false
	}
	phys, host, ok := c.translate(o, va, accWrite, c.ctx)
	if !ok {
		return 0, false
	}
	crosses := va&pageOffset+n > pageSize
	code := false
	if host == nil {
		if page, readOnly := c.acc.mem.page(phys); page != nil && !readOnly {
			host, code = hostAt(page, phys), true
		}
	}
	if host != nil && !crosses && (unalignedAtomics || va&(n-1) == 0) {
		for {
			old = hostLoad[T](host)
			if hostCAS(host, old, f(old)) {
				break
			}
		}
		if code {
			c.codeWritten(phys, int(n))
		}
		return old, true
	}
	// A split lock (or a locked access to a device): all other processors stand still meanwhile.
	resume := c.acc.stopOthers(c)
	defer resume()
	if old, ok = loadAt[T](c, o, va); !ok {
		return 0, false
	}
	return old, storeAt(c, o, va, f(old))
}
