package interp

import (
	"math/bits"

	"dfemu/cpu/x86"
)

// The forms of MOV in movTable.
const (
	movRR = iota
	movRI
	movRM
	movMR
	movMI
)

// compileMove handles MOV between general-purpose registers, memory and
// immediates, LEA, and what else copies without arithmetic.
func compileMove(in *x86.Inst, o *Op) bool {
	if in.NArgs > 0 && in.Args[0].Kind == x86.KindReg {
		o.dst = regNum(&in.Args[0])
	}
	if in.NArgs > 1 && in.Args[1].Kind == x86.KindReg {
		o.src = regNum(&in.Args[1])
	}
	switch in.Op {
	case x86.MOV, x86.MOVNTI:
		compileMOV(in, o)
	case x86.MOVZX:
		compileExtend(in, o, &movzxTable)
	case x86.MOVSX, x86.MOVSXD:
		compileExtend(in, o, &movsxTable)
	case x86.LEA:
		o.fn = bySize(o.size, nil, lea16, lea32, lea64)
		if o.size == 8 && o.amask == ^uint64(0) {
			switch {
			case o.base == regZero && o.index != regZero:
			case o.index == regZero:
				o.fn = leaDisp
			default:
				o.fn = leaIndex
			}
		}
	case x86.BSWAP:
		o.fn = bySize(o.size, nil, bswap16, bswap32, bswap64)
	case x86.MOVBE:
		if isMem(in, 0) {
			o.fn = bySize(o.size, nil, movbeStore[uint16], movbeStore[uint32], movbeStore[uint64])
		} else {
			o.fn = bySize(o.size, nil, movbeLoad[uint16], movbeLoad[uint32], movbeLoad[uint64])
		}
	case x86.XLAT:
		o.fn = xlat
	case x86.CBW:
		o.fn = cbw
	case x86.CWDE:
		o.fn = cwde
	case x86.CDQE:
		o.fn = cdqe
	case x86.CWD:
		o.fn = cwd
	case x86.CDQ:
		o.fn = cdq
	case x86.CQO:
		o.fn = cqo
	default:
		return compileCond(in, o)
	}
	return true
}

func compileMOV(in *x86.Inst, o *Op) {
	dst, src := &in.Args[0], &in.Args[1]
	o.imm = uint64(src.Imm)
	form := movRR
	switch {
	case dst.Kind == x86.KindMem && src.Kind == x86.KindImm:
		form = movMI
	case dst.Kind == x86.KindMem:
		form = movMR
	case src.Kind == x86.KindMem:
		form = movRM
	case src.Kind == x86.KindImm:
		form = movRI
	}
	o.fn = movTable[form][log2(o.size)]
	if o.legacy {
		switch form {
		case movRM:
			o.fn = bySize(o.size, movLoad[uint8], movLoad[uint16], movLoad[uint32], movLoad[uint64])
		case movMR:
			o.fn = bySize(o.size, movStore[uint8], movStore[uint16], movStore[uint32], movStore[uint64])
		case movMI:
			o.fn = bySize(o.size, movStoreImm[uint8], movStoreImm[uint16], movStoreImm[uint32], movStoreImm[uint64])
		}
	}
}

// movLoad, movStore and movStoreImm are MOV from and to any memory.
func movLoad[T word](c *CPU, o *Op) status {
	v, ok := load[T](c, o)
	if !ok {
		return stFault
	}
	setReg(c, o.dst, v)
	return stNext
}

func movStore[T word](c *CPU, o *Op) status {
	if !store(c, o, getReg[T](c, o.src)) {
		return stFault
	}
	return stNext
}

func movStoreImm[T word](c *CPU, o *Op) status {
	if !store(c, o, T(o.imm)) {
		return stFault
	}
	return stNext
}

// lea16, lea32 and lea64 are LEA; leaDisp and leaIndex the commonest forms of it.
func lea16(c *CPU, o *Op) status {
	setReg(c, o.dst, uint16(c.lea(o)))
	return stNext
}

func lea32(c *CPU, o *Op) status {
	c.r[o.dst&31] = c.lea(o) & 0xffffffff
	return stNext
}

func lea64(c *CPU, o *Op) status {
	c.r[o.dst&31] = c.lea(o)
	return stNext
}

func leaDisp(c *CPU, o *Op) status {
	c.r[o.dst&31] = c.r[o.base&31] + o.disp
	return stNext
}

func leaIndex(c *CPU, o *Op) status {
	c.r[o.dst&31] = c.r[o.base&31] + c.r[o.index&31]<<(o.scale&3) + o.disp
	return stNext
}

// bswap16 is undefined; processors clear the register.
func bswap16(c *CPU, o *Op) status {
	setReg(c, o.dst, uint16(0))
	return stNext
}

func bswap32(c *CPU, o *Op) status {
	c.r[o.dst&31] = uint64(bits.ReverseBytes32(uint32(c.r[o.dst&31])))
	return stNext
}

func bswap64(c *CPU, o *Op) status {
	c.r[o.dst&31] = bits.ReverseBytes64(c.r[o.dst&31])
	return stNext
}

// swapped reverses the bytes of v.
func swapped[T word](v T) T {
	return T(bits.ReverseBytes64(uint64(v)) >> (64 - 8*sizeOf[T]()))
}

func movbeLoad[T word](c *CPU, o *Op) status {
	v, ok := load[T](c, o)
	if !ok {
		return stFault
	}
	setReg(c, o.dst, swapped(v))
	return stNext
}

func movbeStore[T word](c *CPU, o *Op) status {
	if !store(c, o, swapped(getReg[T](c, o.src))) {
		return stFault
	}
	return stNext
}

// xlat loads AL from rBX + AL; the operand that the decoder gives lacks AL.
func xlat(c *CPU, o *Op) status {
	off := (c.r[x86.RBX] + c.r[x86.RAX]&0xff) & o.amask
	va, ok := off+c.segBase[o.seg&7], true
	if o.legacy {
		va, ok = c.linear(o.seg, off, 1, accRead)
	}
	if !ok {
		return stFault
	}
	v, ok := loadAt[uint8](c, o, va)
	if !ok {
		return stFault
	}
	setReg(c, x86.RAX*8, v)
	return stNext
}

func cbw(c *CPU, _ *Op) status {
	setReg(c, x86.RAX, uint16(int8(c.r[x86.RAX])))
	return stNext
}

func cwde(c *CPU, _ *Op) status {
	c.r[x86.RAX] = uint64(uint32(int16(c.r[x86.RAX])))
	return stNext
}

func cdqe(c *CPU, _ *Op) status {
	c.r[x86.RAX] = uint64(int32(c.r[x86.RAX]))
	return stNext
}

func cwd(c *CPU, _ *Op) status {
	setReg(c, x86.RDX, uint16(int16(c.r[x86.RAX])>>15))
	return stNext
}

func cdq(c *CPU, _ *Op) status {
	c.r[x86.RDX] = uint64(uint32(int32(c.r[x86.RAX]) >> 31))
	return stNext
}

func cqo(c *CPU, _ *Op) status {
	c.r[x86.RDX] = uint64(int64(c.r[x86.RAX]) >> 63)
	return stNext
}
