package interp

import "dfemu/cpu/x86"

// compileExchange handles XCHG, XADD and the compare-and-exchange instructions.
func compileExchange(in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.XCHG, x86.XADD, x86.CMPXCHG:
	case x86.CMPXCHG8B:
		o.aux = lockBit(in)
		o.fn = cmpxchg8b
		return true
	case x86.CMPXCHG16B:
		o.fn = cmpxchg16b
		return true
	default:
		return false
	}
	o.aux = lockBit(in)
	o.src = regNum(&in.Args[1])
	mem := isMem(in, 0)
	if !mem {
		o.dst = regNum(&in.Args[0])
	}
	switch {
	case in.Op == x86.XCHG && mem:
		o.fn = bySize(o.size, xchgMem[uint8], xchgMem[uint16], xchgMem[uint32], xchgMem[uint64])
	case in.Op == x86.XCHG:
		o.fn = bySize(o.size, xchgReg[uint8], xchgReg[uint16], xchgReg[uint32], xchgReg[uint64])
	case in.Op == x86.XADD && mem:
		o.fn = bySize(o.size, xaddMem[uint8], xaddMem[uint16], xaddMem[uint32], xaddMem[uint64])
	case in.Op == x86.XADD:
		o.fn = bySize(o.size, xaddReg[uint8], xaddReg[uint16], xaddReg[uint32], xaddReg[uint64])
	case mem:
		o.fn = bySize(o.size, cmpxchgMem[uint8], cmpxchgMem[uint16], cmpxchgMem[uint32], cmpxchgMem[uint64])
	default:
		o.fn = bySize(o.size, cmpxchgReg[uint8], cmpxchgReg[uint16], cmpxchgReg[uint32], cmpxchgReg[uint64])
	}
	return true
}

// lockBit is 1 for an instruction with LOCK.
func lockBit(in *x86.Inst) uint8 {
	if in.Lock {
		return 1
	}
	return 0
}

func xchgReg[T word](c *CPU, o *Op) status {
	a, b := getReg[T](c, o.dst), getReg[T](c, o.src)
	setReg(c, o.dst, b)
	setReg(c, o.src, a)
	return stNext
}

// xchgMem locks whether there is a LOCK prefix or not.
func xchgMem[T word](c *CPU, o *Op) status {
	b := getReg[T](c, o.src)
	var a T
	if p := c.atomic(o, sizeOf[T]()); p != nil {
		for {
			a = hostLoad[T](p)
			if hostCAS(p, a, b) {
				break
			}
		}
	} else {
		var ok bool
		if a, ok = locked(c, o, func(T) T { return b }); !ok {
			return stFault
		}
	}
	setReg(c, o.src, a)
	return stNext
}

func xaddReg[T word](c *CPU, o *Op) status {
	a, b := getReg[T](c, o.dst), getReg[T](c, o.src)
	setReg(c, o.src, a)
	setReg(c, o.dst, a+b)
	flagsAdd(c, a, b, a+b)
	return stNext
}

func xaddMem[T word](c *CPU, o *Op) status {
	b := getReg[T](c, o.src)
	var a T
	var ok bool
	if p := c.atomic(o, sizeOf[T]()); p != nil && o.aux != 0 {
		for {
			a = hostLoad[T](p)
			if hostCAS(p, a, a+b) {
				break
			}
		}
	} else {
		add := func(a T) T { return a + b }
		if o.aux != 0 {
			a, ok = locked(c, o, add)
		} else {
			a, ok = modify(c, o, add)
		}
		if !ok {
			return stFault
		}
	}
	setReg(c, o.src, a)
	flagsAdd(c, a, b, a+b)
	return stNext
}

// compared ends a CMPXCHG of memory that has found old there.
func compared[T word](c *CPU, old T) status {
	acc := getReg[T](c, x86.RAX)
	flagsSub(c, acc, old, acc-old)
	if acc != old {
		setReg(c, x86.RAX, old)
	}
	return stNext
}

func cmpxchgReg[T word](c *CPU, o *Op) status {
	acc, old := getReg[T](c, x86.RAX), getReg[T](c, o.dst)
	flagsSub(c, acc, old, acc-old)
	if acc == old {
		setReg(c, o.dst, getReg[T](c, o.src))
	} else {
		setReg(c, x86.RAX, old) // a 32-bit destination keeps its upper half
	}
	return stNext
}

// cmpxchgMem writes the destination in any case, with what was there if the comparison fails.
func cmpxchgMem[T word](c *CPU, o *Op) status {
	acc, v := getReg[T](c, x86.RAX), getReg[T](c, o.src)
	if o.aux != 0 {
		if p := c.atomic(o, sizeOf[T]()); p != nil {
			for {
				old := hostLoad[T](p)
				if old != acc || hostCAS(p, old, v) {
					return compared(c, old)
				}
			}
		}
	}
	f := func(old T) T {
		if old == acc {
			return v
		}
		return old
	}
	var old T
	var ok bool
	if o.aux != 0 {
		old, ok = locked(c, o, f)
	} else {
		old, ok = modify(c, o, f)
	}
	if !ok {
		return stFault
	}
	return compared(c, old)
}

// cmpxchg8b compares EDX:EAX and stores ECX:EBX.
func cmpxchg8b(c *CPU, o *Op) status {
	acc := c.r[x86.RDX]<<32 | c.r[x86.RAX]&0xffffffff
	v := c.r[x86.RCX]<<32 | c.r[x86.RBX]&0xffffffff
	f := func(old uint64) uint64 {
		if old == acc {
			return v
		}
		return old
	}
	var old uint64
	var ok bool
	if o.aux != 0 {
		old, ok = locked(c, o, f)
	} else {
		old, ok = modify(c, o, f)
	}
	if !ok {
		return stFault
	}
	if old != acc {
		c.r[x86.RAX], c.r[x86.RDX] = old&0xffffffff, old>>32
	}
	c.setZF(old == acc)
	return stNext
}

// cmpxchg16b compares RDX:RAX and stores RCX:RBX. The operand must be aligned, with
// LOCK and without, so that it lies in one page.
func cmpxchg16b(c *CPU, o *Op) status {
	va, ok := c.address(o, 16, accWrite)
	if !ok || !c.aligned(va, 16) {
		return stFault
	}
	acc := [2]uint64{c.r[x86.RAX], c.r[x86.RDX]}
	v := [2]uint64{c.r[x86.RBX], c.r[x86.RCX]}
	old, ok := c.exchange16(o, va, acc, v)
	if !ok {
		return stFault
	}
	if old != acc {
		c.r[x86.RAX], c.r[x86.RDX] = old[0], old[1]
	}
	c.setZF(old == acc)
	return stNext
}

// exchange16 replaces the 16 bytes at va, which is aligned, by v if they are
// acc, and returns what they were.
func (c *CPU) exchange16(o *Op, va uint64, acc, v [2]uint64) (old [2]uint64, ok bool) {
	if p := c.writable(va, 16); p != nil {
		old, _ = hostCAS128(p, acc, v)
		return old, true
	}
	if c.ctx&ctxSlow != 0 {
		c.watch(va, 16, accWrite)
	}
	phys, host, ok := c.translate(o, va, accWrite, c.ctx)
	if !ok {
		return old, false
	}
	code := false
	if host == nil {
		if page, readOnly := c.acc.mem.page(phys); page != nil && !readOnly {
			host, code = hostAt(page, phys), true
		}
	}
	if host != nil {
		old, _ = hostCAS128(host, acc, v)
		if code {
			c.codeWritten(phys, 16)
		}
		return old, true
	}
	// A device.
	resume := c.acc.stopOthers(c)
	defer resume()
	for i := range old {
		if old[i], ok = loadAt[uint64](c, o, va+8*uint64(i)); !ok {
			return old, false
		}
	}
	w := old
	if old == acc {
		w = v
	}
	return old, storeAt(c, o, va, w[0]) && storeAt(c, o, va+8, w[1])
}
