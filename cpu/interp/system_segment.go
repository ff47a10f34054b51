package interp

import "dfemu/cpu/x86"

// compileSegment handles loads and stores of segment registers.
func compileSegment(in *x86.Inst, o *Op) (done, end bool) {
	switch in.Op {
	case x86.MOVSEG:
		if in.Args[0].Kind == x86.KindSeg {
			o.dst = uint8(in.Args[0].Reg)
			if isMem(in, 1) {
				o.fn = loadSegMem
			} else {
				o.src = regNum(&in.Args[1])
				o.fn = loadSegReg
			}
			return true, o.dst == x86.SS
		}
		o.src = uint8(in.Args[1].Reg)
		if isMem(in, 0) {
			o.fn = storeSegMem
		} else {
			o.dst = regNum(&in.Args[0])
			o.fn = storeSegReg
		}
		return true, false
	case x86.PUSHSEG:
		o.src = uint8(in.Args[0].Reg)
		o.fn = pushSeg
		return true, false
	case x86.POPSEG:
		o.dst = uint8(in.Args[0].Reg)
		o.fn = popSeg
		return true, o.dst == x86.SS
	case x86.LDS, x86.LES, x86.LFS, x86.LGS, x86.LSS:
		o.dst = regNum(&in.Args[0])
		switch in.Op {
		case x86.LDS:
			o.aux = x86.DS
		case x86.LES:
			o.aux = x86.ES
		case x86.LFS:
			o.aux = x86.FS
		case x86.LGS:
			o.aux = x86.GS
		default:
			o.aux = x86.SS
		}
		o.fn = loadFarPointer
		return true, o.aux == x86.SS
	}
	return false, false
}

func loadSegReg(c *CPU, o *Op) status {
	if !c.loadSegment(int(o.dst), getReg[uint16](c, o.src)) {
		return stFault
	}
	return c.afterSegment(int(o.dst))
}

func loadSegMem(c *CPU, o *Op) status {
	sel, ok := load[uint16](c, o)
	if !ok || !c.loadSegment(int(o.dst), sel) {
		return stFault
	}
	return c.afterSegment(int(o.dst))
}

func storeSegReg(c *CPU, o *Op) status {
	sel := c.s.Seg[o.src%6].Selector
	if o.size == 2 {
		setReg(c, o.dst, sel)
	} else {
		setReg(c, o.dst, uint64(sel))
	}
	return stNext
}

func storeSegMem(c *CPU, o *Op) status {
	return finish(store(c, o, c.s.Seg[o.src%6].Selector), stNext)
}

func pushSeg(c *CPU, o *Op) status {
	return finish(c.pushWords(int(o.size), uint64(c.s.Seg[o.src%6].Selector)), stNext)
}

func popSeg(c *CPU, o *Op) status {
	v, ok := c.peek(0, int(o.size))
	mask := c.stackMask()
	if !ok || !c.loadSegment(int(o.dst), uint16(v)) {
		return stFault
	}
	c.setSP(c.r[x86.RSP]+uint64(o.size), mask)
	return c.afterSegment(int(o.dst))
}

// loadFarPointer is LDS, LES, LFS, LGS or LSS.
func loadFarPointer(c *CPU, o *Op) status {
	sel, off, ok := c.farPointer(o)
	if !ok || !c.loadSegment(int(o.aux), sel) {
		return stFault
	}
	switch o.size {
	case 2:
		setReg(c, o.dst, uint16(off))
	default:
		setReg(c, o.dst, off)
	}
	if o.aux == x86.SS && c.mode == x86.Mode64 {
		return stEnd
	}
	if o.aux == x86.SS {
		c.modeChanged() // LSS does not hold off interrupts
		return stEnd
	}
	return c.afterSegment(int(o.aux))
}
