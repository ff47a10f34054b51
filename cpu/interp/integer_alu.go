package interp

import "dfemu/cpu/x86"

// The operations of the tables, in the order of the opcodes.
const (
	aluAdd = iota
	aluOr
	aluAdc
	aluSbb
	aluAnd
	aluSub
	aluXor
	aluCmp
	aluTest
)

// readOnly reports an operation that writes flags only.
func readOnly(op uint8) bool { return op >= aluCmp }

// log2 is the index of an operand size in the tables.
func log2(size uint8) int {
	switch size {
	case 1:
		return 0
	case 2:
		return 1
	case 4:
		return 2
	}
	return 3
}

// bySize returns the instance of a handler for an operand size.
func bySize(size uint8, h8, h16, h32, h64 handler) handler {
	switch size {
	case 1:
		return h8
	case 2:
		return h16
	case 4:
		return h32
	}
	return h64
}

// compileALU handles ADD, OR, ADC, SBB, AND, SUB, XOR, CMP and TEST.
func compileALU(in *x86.Inst, o *Op) bool {
	switch {
	case in.Op >= x86.ADD && in.Op <= x86.TEST:
		o.aux = uint8(in.Op - x86.ADD)
	default:
		return false
	}
	n := log2(o.size)
	dst, src := &in.Args[0], &in.Args[1]
	switch {
	case dst.Kind == x86.KindReg && src.Kind == x86.KindReg:
		o.dst, o.src = regNum(dst), regNum(src)
		o.fn = aluRRTable[o.aux][n]
		o.setFuse(fuseRR)
		if o.dst == o.src && (o.aux == aluXor || o.aux == aluSub) && o.size >= 4 {
			o.fn = zeroReg
		}
	case dst.Kind == x86.KindReg && src.Kind == x86.KindImm:
		o.dst, o.imm = regNum(dst), uint64(src.Imm)
		o.fn = aluRITable[o.aux][n]
		o.setFuse(fuseRI)
	case dst.Kind == x86.KindReg:
		o.dst = regNum(dst)
		o.fn = aluRMTable[o.aux][n]
		if o.legacy {
			o.fn = bySize(o.size, aluRM[uint8], aluRM[uint16], aluRM[uint32], aluRM[uint64])
		} else {
			o.setFuse(fuseRM)
		}
	case src.Kind == x86.KindReg:
		o.src = regNum(src)
		switch {
		case in.Lock:
			o.fn = bySize(o.size, aluLockR[uint8], aluLockR[uint16], aluLockR[uint32], aluLockR[uint64])
		case o.legacy:
			o.fn = bySize(o.size, aluMR[uint8], aluMR[uint16], aluMR[uint32], aluMR[uint64])
		default:
			o.fn = aluMRTable[o.aux][n]
			o.setFuse(fuseMR)
		}
	default:
		o.imm = uint64(src.Imm)
		switch {
		case in.Lock:
			o.fn = bySize(o.size, aluLockI[uint8], aluLockI[uint16], aluLockI[uint32], aluLockI[uint64])
		case o.legacy:
			o.fn = bySize(o.size, aluMI[uint8], aluMI[uint16], aluMI[uint32], aluMI[uint64])
		default:
			o.fn = aluMITable[o.aux][n]
			o.setFuse(fuseMI)
		}
	}
	return true
}

// zeroReg is XOR or SUB of a register with itself.
func zeroReg(c *CPU, o *Op) status {
	c.r[o.dst&31] = 0
	c.fres, c.fcarry = 0, 0
	return stNext
}

// aluResult is the result of an operation; carry is CF before it.
func aluResult[T word](op uint8, a, b, carry T) T {
	switch op {
	case aluAdd:
		return a + b
	case aluOr:
		return a | b
	case aluAdc:
		return a + b + carry
	case aluSbb:
		return a - b - carry
	case aluAnd, aluTest:
		return a & b
	case aluXor:
		return a ^ b
	}
	return a - b
}

// aluFlags sets the flags for the result r of an operation on a and b.
func aluFlags[T word](c *CPU, op uint8, a, b, r T) {
	switch op {
	case aluAdd, aluAdc:
		flagsAdd(c, a, b, r)
	case aluSbb, aluSub, aluCmp:
		flagsSub(c, a, b, r)
	default:
		flagsLogic(c, r)
	}
}

// aluRM, aluMR and aluMI are the operations on any memory.
func aluRM[T word](c *CPU, o *Op) status {
	b, ok := load[T](c, o)
	if !ok {
		return stFault
	}
	a := getReg[T](c, o.dst)
	r := aluResult(o.aux, a, b, T(c.carryIn()))
	aluFlags(c, o.aux, a, b, r)
	if !readOnly(o.aux) {
		setReg(c, o.dst, r)
	}
	return stNext
}

func aluMR[T word](c *CPU, o *Op) status { return aluMem(c, o, getReg[T](c, o.src)) }
func aluMI[T word](c *CPU, o *Op) status { return aluMem(c, o, T(o.imm)) }

func aluMem[T word](c *CPU, o *Op, b T) status {
	if readOnly(o.aux) {
		a, ok := load[T](c, o)
		if !ok {
			return stFault
		}
		aluFlags(c, o.aux, a, b, aluResult(o.aux, a, b, 0))
		return stNext
	}
	op, carry := o.aux, T(c.carryIn())
	a, ok := modify(c, o, func(a T) T { return aluResult(op, a, b, carry) })
	if !ok {
		return stFault
	}
	aluFlags(c, op, a, b, aluResult(op, a, b, carry))
	return stNext
}

// aluLockR and aluLockI are the operations with LOCK.
func aluLockR[T word](c *CPU, o *Op) status { return aluLock(c, o, getReg[T](c, o.src)) }
func aluLockI[T word](c *CPU, o *Op) status { return aluLock(c, o, T(o.imm)) }

func aluLock[T word](c *CPU, o *Op, b T) status {
	op, carry := o.aux, T(c.carryIn())
	var a, r T
	if p := c.atomic(o, sizeOf[T]()); p != nil {
		for {
			a = hostLoad[T](p)
			r = aluResult(op, a, b, carry)
			if hostCAS(p, a, r) {
				break
			}
		}
	} else {
		var ok bool
		if a, ok = locked(c, o, func(a T) T { return aluResult(op, a, b, carry) }); !ok {
			return stFault
		}
		r = aluResult(op, a, b, carry)
	}
	aluFlags(c, op, a, b, r)
	return stNext
}

// atomic returns where o's memory operand of n bytes is in the host if the TLB
// knows that it may be written, and the host can exchange it in one step. Otherwise it
// returns nil.
func (c *CPU) atomic(o *Op, n uint64) hostPage {
	if o.legacy {
		return nil
	}
	va := c.ea(o)
	if !unalignedAtomics && va&(n-1) != 0 {
		return nil
	}
	return c.writable(va, n)
}
