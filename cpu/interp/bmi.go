package interp

import (
	"math/bits"

	"dfemu/cpu/x86"
)

// compileBMI handles BMI1, BMI2 and ADX.
func compileBMI(c *CPU, in *x86.Inst, o *Op) bool {
	src := 1 // which argument may be memory
	var h32, h64 handler
	switch in.Op {
	case x86.ANDN:
		src, h32, h64 = 2, andn[uint32], andn[uint64]
	case x86.MULX:
		src, h32, h64 = 2, mulx[uint32], mulx[uint64]
	case x86.PDEP:
		src, h32, h64 = 2, pdep[uint32], pdep[uint64]
	case x86.PEXT:
		src, h32, h64 = 2, pext[uint32], pext[uint64]
	case x86.BEXTR:
		h32, h64 = bextr[uint32], bextr[uint64]
	case x86.BLSI:
		h32, h64 = blsi[uint32], blsi[uint64]
	case x86.BLSMSK:
		h32, h64 = blsmsk[uint32], blsmsk[uint64]
	case x86.BLSR:
		h32, h64 = blsr[uint32], blsr[uint64]
	case x86.BZHI:
		h32, h64 = bzhi[uint32], bzhi[uint64]
	case x86.RORX:
		h32, h64 = rorx[uint32], rorx[uint64]
	case x86.SARX:
		h32, h64 = sarx[uint32], sarx[uint64]
	case x86.SHLX:
		h32, h64 = shlx[uint32], shlx[uint64]
	case x86.SHRX:
		h32, h64 = shrx[uint32], shrx[uint64]
	case x86.ADCX:
		h32, h64 = adcx[uint32], adcx[uint64]
	case x86.ADOX:
		h32, h64 = adox[uint32], adox[uint64]
	default:
		return false
	}
	o.fn = h32
	if o.size == 8 {
		o.fn = h64
	}
	o.dst = regNum(&in.Args[0])
	o.aux = operand(in, o, src)
	if in.NArgs == 3 {
		if a := &in.Args[3-src]; a.Kind == x86.KindImm {
			o.imm = uint64(a.Imm)
		} else {
			o.imm = uint64(a.Reg) // the operand in VEX.vvvv
		}
	}
	if in.VEX && c.key&keyReal != 0 {
		o.fn = undefinedOp
	}
	return true
}

// vvvv reads the register operand in VEX.vvvv.
func vvvv[T word](c *CPU, o *Op) T { return T(c.r[o.imm&15]) }

func andn[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	r := ^vvvv[T](c, o) & v
	setReg(c, o.dst, r)
	flagsLogic(c, r)
	return stNext
}

// mulx multiplies RDX; the lower half goes to the second operand first, as both may be one.
func mulx[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	hi, lo := bits.Mul64(uint64(T(c.r[x86.RDX])), uint64(v))
	if sizeOf[T]() == 4 {
		hi = lo >> 32
	}
	c.r[o.imm&15] = uint64(T(lo))
	setReg(c, o.dst, T(hi))
	return stNext
}

func pdep[T word](c *CPU, o *Op) status {
	mask, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	v, r := vvvv[T](c, o), T(0)
	for ; mask != 0; mask &= mask - 1 {
		r |= mask & -mask & -(v & 1)
		v >>= 1
	}
	setReg(c, o.dst, r)
	return stNext
}

func pext[T word](c *CPU, o *Op) status {
	mask, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	v, r := vvvv[T](c, o), T(0)
	for n := 0; mask != 0; mask &= mask - 1 {
		if v&mask&-mask != 0 {
			r |= 1 << n
		}
		n++
	}
	setReg(c, o.dst, r)
	return stNext
}

// bextr: bits 7–0 of the control are the start, 15–8 the length. ZF follows from the
// result, CF and OF are clear, the others undefined.
func bextr[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	ctl := c.r[o.imm&15]
	start, n := ctl&0xff, ctl>>8&0xff
	r := v >> start
	if n < 8*sizeOf[T]() {
		r &= 1<<n - 1
	}
	setReg(c, o.dst, r)
	flagsLogic(c, r)
	return stNext
}

// blsResult sets the flags of BLSI, BLSMSK and BLSR.
func blsResult[T word](c *CPU, o *Op, r T, cf bool) status {
	setReg(c, o.dst, r)
	c.setCO(sext(r), cf, false)
	return stNext
}

func blsi[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	return blsResult(c, o, v&-v, v != 0)
}

func blsmsk[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	return blsResult(c, o, v^(v-1), v == 0)
}

func blsr[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	return blsResult(c, o, v&(v-1), v == 0)
}

func bzhi[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	n := c.r[o.imm&15] & 0xff
	over := n >= 8*sizeOf[T]()
	if !over {
		v &= 1<<n - 1
	}
	setReg(c, o.dst, v)
	c.setCO(sext(v), over, false)
	return stNext
}

func rorx[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	w := 8 * sizeOf[T]()
	n := o.imm & (w - 1)
	setReg(c, o.dst, v>>n|v<<(w-n))
	return stNext
}

func sarx[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	setReg(c, o.dst, T(int64(sext(v))>>(c.r[o.imm&15]&(8*sizeOf[T]()-1))))
	return stNext
}

func shlx[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	setReg(c, o.dst, v<<(c.r[o.imm&15]&(8*sizeOf[T]()-1)))
	return stNext
}

func shrx[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	setReg(c, o.dst, v>>(c.r[o.imm&15]&(8*sizeOf[T]()-1)))
	return stNext
}

// addCarry is a + b + carry and the carry out.
func addCarry[T word](a, b T, carry bool) (T, bool) {
	r := a + b
	out := r < a
	if carry {
		r++
		out = out || r == 0
	}
	return r, out
}

// adcx adds with CF, adox with OF; neither touches another flag.
func adcx[T word](c *CPU, o *Op) status {
	b, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	r, carry := addCarry(getReg[T](c, o.dst), b, c.cf())
	setReg(c, o.dst, r)
	c.setCF(carry)
	return stNext
}

func adox[T word](c *CPU, o *Op) status {
	b, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	r, carry := addCarry(getReg[T](c, o.dst), b, c.of())
	setReg(c, o.dst, r)
	c.changeCO(c.cf(), carry)
	return stNext
}
