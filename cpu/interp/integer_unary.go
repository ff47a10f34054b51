package interp

import "dfemu/cpu/x86"

// The operations with one operand.
const (
	unaryInc = iota
	unaryDec
	unaryNeg
	unaryNot
)

// compileUnary handles INC, DEC, NEG and NOT.
func compileUnary(in *x86.Inst, o *Op) bool {
	if in.Op < x86.INC || in.Op > x86.NOT {
		return false
	}
	o.aux = uint8(in.Op - x86.INC)
	n := log2(o.size)
	a := &in.Args[0]
	switch {
	case a.Kind == x86.KindReg:
		o.dst = regNum(a)
		if o.aux == unaryNot {
			o.fn = bySize(o.size, notR[uint8], notR[uint16], notR32, notR64)
		} else {
			o.fn = unaryRTable[o.aux][n]
		}
	case in.Lock:
		o.fn = bySize(o.size, unaryLock[uint8], unaryLock[uint16], unaryLock[uint32], unaryLock[uint64])
	case o.legacy || o.aux == unaryNot:
		o.fn = bySize(o.size, unaryM[uint8], unaryM[uint16], unaryM[uint32], unaryM[uint64])
	default:
		o.fn = unaryMTable[o.aux][n]
	}
	return true
}

func notR[T word](c *CPU, o *Op) status {
	setReg(c, o.dst, ^getReg[T](c, o.dst))
	return stNext
}

func notR32(c *CPU, o *Op) status {
	c.r[o.dst&31] = uint64(^uint32(c.r[o.dst&31]))
	return stNext
}

func notR64(c *CPU, o *Op) status {
	c.r[o.dst&31] = ^c.r[o.dst&31]
	return stNext
}

// unaryResult is the result of an operation.
func unaryResult[T word](op uint8, a T) T {
	switch op {
	case unaryInc:
		return a + 1
	case unaryDec:
		return a - 1
	case unaryNeg:
		return -a
	}
	return ^a
}

// unaryFlags sets the flags for an operation on a: NOT has none, INC and DEC keep CF.
func unaryFlags[T word](c *CPU, op uint8, a T) {
	old := c.fcarry
	switch op {
	case unaryInc:
		flagsAdd(c, a, 1, a+1)
	case unaryDec:
		flagsSub(c, a, 1, a-1)
	case unaryNeg:
		flagsSub(c, 0, a, -a)
		return
	default:
		return
	}
	c.fcarry = keepCF(old, c.fcarry)
}

// unaryM is an operation on any memory.
func unaryM[T word](c *CPU, o *Op) status {
	op := o.aux
	a, ok := modify(c, o, func(a T) T { return unaryResult(op, a) })
	if !ok {
		return stFault
	}
	unaryFlags(c, op, a)
	return stNext
}

// unaryLock is an operation with LOCK.
func unaryLock[T word](c *CPU, o *Op) status {
	op := o.aux
	var a T
	if p := c.atomic(o, sizeOf[T]()); p != nil {
		for {
			a = hostLoad[T](p)
			if hostCAS(p, a, unaryResult(op, a)) {
				break
			}
		}
	} else {
		var ok bool
		if a, ok = locked(c, o, func(a T) T { return unaryResult(op, a) }); !ok {
			return stFault
		}
	}
	unaryFlags(c, op, a)
	return stNext
}
