package interp

import "dfemu/cpu/x86"

// compileCond handles CMOVcc and SETcc.
func compileCond(in *x86.Inst, o *Op) bool {
	cc, ok := in.Op.Cond()
	if !ok {
		return false
	}
	switch {
	case in.Op >= x86.CMOVO && in.Op <= x86.CMOVG:
		o.aux = cc
		switch {
		case isMem(in, 1):
			o.fn = bySize(o.size, nil, cmovMem[uint16], cmovMem[uint32], cmovMem[uint64])
		case o.size == 2:
			o.fn = cmov16
		case o.size == 4:
			o.fn = cmov32Table[cc]
		default:
			o.fn = cmov64Table[cc]
		}
	case in.Op >= x86.SETO && in.Op <= x86.SETG:
		o.aux = cc
		o.fn = setTable[cc]
		if isMem(in, 0) {
			o.fn = setMem
		}
	default:
		return false
	}
	return true
}

func cmov16(c *CPU, o *Op) status {
	if c.cond(o.aux) {
		setReg(c, o.dst, uint16(c.r[o.src&31]))
	}
	return stNext
}

// cmovMem reads memory, and clears the upper half of a 32-bit destination, whether the condition
// holds or not.
func cmovMem[T word](c *CPU, o *Op) status {
	v, ok := load[T](c, o)
	if !ok {
		return stFault
	}
	if !c.cond(o.aux) {
		v = getReg[T](c, o.dst)
	}
	setReg(c, o.dst, v)
	return stNext
}

func setMem(c *CPU, o *Op) status {
	var v uint8
	if c.cond(o.aux) {
		v = 1
	}
	if !store(c, o, v) {
		return stFault
	}
	return stNext
}
