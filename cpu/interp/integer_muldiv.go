package interp

import (
	"math/bits"

	"dfemu/cpu/x86"
)

// compileMulDiv handles MUL, IMUL, DIV and IDIV.
func compileMulDiv(in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.MUL, x86.IMUL, x86.DIV, x86.IDIV:
	default:
		return false
	}
	if in.NArgs >= 2 { // IMUL with a destination of its own
		o.dst = regNum(&in.Args[0])
		o.aux = operand(in, o, 1)
		switch {
		case in.NArgs == 2:
			o.fn = bySize(o.size, nil, imul2[uint16], imul2[uint32], imul2[uint64])
			if o.aux == 0 && o.size >= 4 {
				o.fn = bySize(o.size, nil, nil, imulRR32, imulRR64)
			}
		default:
			o.imm = uint64(in.Args[2].Imm)
			o.fn = bySize(o.size, nil, imul3[uint16], imul3[uint32], imul3[uint64])
		}
		return true
	}
	o.aux = operand(in, o, 0)
	switch in.Op {
	case x86.MUL:
		o.fn = bySize(o.size, mul8, mul[uint16], mul[uint32], mul[uint64])
	case x86.IMUL:
		o.fn = bySize(o.size, imul8, imul1[uint16], imul1[uint32], imul1[uint64])
	case x86.DIV:
		o.fn = bySize(o.size, div8, div[uint16], div[uint32], div[uint64])
	case x86.IDIV:
		o.fn = bySize(o.size, idiv8, idiv[uint16], idiv[uint32], idiv[uint64])
	}
	return true
}

// operand names argument i of in in o.src if it is a register, for getOperand.
// It returns 1 for memory and 0 for a register.
func operand(in *x86.Inst, o *Op, i int) uint8 {
	if isMem(in, i) {
		return 1
	}
	o.src = regNum(&in.Args[i])
	return 0
}

// getOperand reads a source that is memory where o.aux is 1 and o.src where it is 0.
func getOperand[T word](c *CPU, o *Op) (T, bool) {
	if o.aux != 0 {
		if o.legacy {
			return load[T](c, o)
		}
		if p := c.readable(c.ea(o), sizeOf[T]()); p != nil {
			return hostLoad[T](p), true
		}
		return load[T](c, o)
	}
	return getReg[T](c, o.src), true
}

// product sets the flags of a multiplication: CF and OF tell that the upper
// half matters; the others, which are undefined, follow from the lower half.
func (c *CPU) product(low uint64, over bool) {
	c.fres, c.fcarry = low, 0
	if over {
		c.fcarry = fcCF
	}
}

func imulRR32(c *CPU, o *Op) status {
	p := int64(int32(c.r[o.dst&31])) * int64(int32(c.r[o.src&31]))
	c.r[o.dst&31] = uint64(uint32(p))
	c.product(uint64(int32(p)), int64(int32(p)) != p)
	return stNext
}

func imulRR64(c *CPU, o *Op) status {
	hi, lo := mulSigned(c.r[o.dst&31], c.r[o.src&31])
	c.r[o.dst&31] = lo
	c.product(lo, hi != uint64(int64(lo)>>63))
	return stNext
}

// mulSigned is the signed 128-bit product of a and b.
func mulSigned(a, b uint64) (hi, lo uint64) {
	hi, lo = bits.Mul64(a, b)
	return hi - uint64(int64(a)>>63)&b - uint64(int64(b)>>63)&a, lo
}

// signedProduct is the lower half of a product, and whether it does not hold all of it.
func signedProduct[T word](a, b T) (low T, over bool) {
	hi, lo := mulSigned(sext(a), sext(b))
	low = T(lo)
	return low, sext(low) != lo || hi != uint64(int64(lo)>>63)
}

func imul2[T word](c *CPU, o *Op) status {
	b, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	r, over := signedProduct(getReg[T](c, o.dst), b)
	setReg(c, o.dst, r)
	c.product(sext(r), over)
	return stNext
}

func imul3[T word](c *CPU, o *Op) status {
	b, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	r, over := signedProduct(b, T(o.imm))
	setReg(c, o.dst, r)
	c.product(sext(r), over)
	return stNext
}

func mul8(c *CPU, o *Op) status {
	b, ok := getOperand[uint8](c, o)
	if !ok {
		return stFault
	}
	p := c.r[x86.RAX] & 0xff * uint64(b)
	setReg(c, x86.RAX, uint16(p))
	c.product(sext(uint8(p)), p>>8 != 0)
	return stNext
}

func imul8(c *CPU, o *Op) status {
	b, ok := getOperand[uint8](c, o)
	if !ok {
		return stFault
	}
	p := int16(int8(c.r[x86.RAX])) * int16(int8(b))
	setReg(c, x86.RAX, uint16(p))
	c.product(sext(uint8(p)), int16(int8(p)) != p)
	return stNext
}

func mul[T word](c *CPU, o *Op) status {
	b, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	hi, lo := bits.Mul64(uint64(getReg[T](c, x86.RAX)), uint64(b))
	if w := 8 * sizeOf[T](); w < 64 {
		hi = lo >> w
	}
	setReg(c, x86.RAX, T(lo))
	setReg(c, x86.RDX, T(hi))
	c.product(sext(T(lo)), hi != 0)
	return stNext
}

func imul1[T word](c *CPU, o *Op) status {
	b, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	hi, lo := mulSigned(sext(getReg[T](c, x86.RAX)), sext(b))
	if w := 8 * sizeOf[T](); w < 64 {
		hi = lo >> w
	}
	setReg(c, x86.RAX, T(lo))
	setReg(c, x86.RDX, T(hi))
	c.product(sext(T(lo)), T(hi) != T(int64(sext(T(lo)))>>63))
	return stNext
}

// divideError raises #DE.
func (c *CPU) divideError() status { return c.fault(x86.VecDE, 0) }

func div8(c *CPU, o *Op) status {
	b, ok := getOperand[uint8](c, o)
	if !ok {
		return stFault
	}
	a := uint16(c.r[x86.RAX])
	if b == 0 || a/uint16(b) > 0xff {
		return c.divideError()
	}
	setReg(c, x86.RAX, a/uint16(b)|a%uint16(b)<<8)
	return stNext
}

func idiv8(c *CPU, o *Op) status {
	b, ok := getOperand[uint8](c, o)
	if !ok {
		return stFault
	}
	a, d := int32(int16(c.r[x86.RAX])), int32(int8(b))
	if d == 0 {
		return c.divideError()
	}
	q, r := a/d, a%d
	if q != int32(int8(q)) {
		return c.divideError()
	}
	setReg(c, x86.RAX, uint16(uint8(q))|uint16(uint8(r))<<8)
	return stNext
}

// div divides DX:AX, EDX:EAX or RDX:RAX. The flags, which are undefined, stay.
func div[T word](c *CPU, o *Op) status {
	b, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	hi, lo := getReg[T](c, x86.RDX), getReg[T](c, x86.RAX)
	if hi >= b { // also when b is 0
		return c.divideError()
	}
	var q, r uint64
	if w := 8 * sizeOf[T](); w < 64 {
		a := uint64(hi)<<w | uint64(lo)
		q, r = a/uint64(b), a%uint64(b)
	} else {
		q, r = bits.Div64(uint64(hi), uint64(lo), uint64(b))
	}
	setReg(c, x86.RAX, T(q))
	setReg(c, x86.RDX, T(r))
	return stNext
}

func idiv[T word](c *CPU, o *Op) status {
	d, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	w := 8 * sizeOf[T]()
	hi, lo := uint64(getReg[T](c, x86.RDX)), uint64(getReg[T](c, x86.RAX))
	if w < 64 {
		// Signed division of what fits into 64 bits, unless the quotient overflows.
		lo |= hi << w
		lo = uint64(int64(lo<<(64-2*w)) >> (64 - 2*w))
		hi = uint64(int64(lo) >> 63)
	}
	b := sext(d)
	negA, negB := int64(hi) < 0, int64(b) < 0
	if negA {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	if negB {
		b = -b
	}
	if hi >= b {
		return c.divideError()
	}
	q, r := bits.Div64(hi, lo, b)
	limit := uint64(1) << (w - 1) // magnitude of the least quotient
	if negA != negB {
		if q > limit {
			return c.divideError()
		}
		q = -q
	} else if q >= limit {
		return c.divideError()
	}
	if negA {
		r = -r
	}
	setReg(c, x86.RAX, T(q))
	setReg(c, x86.RDX, T(r))
	return stNext
}
