package interp

import (
	"dfemu/cpu/softfloat"
	"dfemu/cpu/x86"
)

// arith80 gives the operation and whether it is reversed of FADD, FMUL, FSUB,
// FSUBR, FDIV and FDIVR; each is followed by its popping and its integer form.
var arith80 = [...]struct {
	op  softfloat.Op80
	rev bool
}{
	{softfloat.OpAdd, false},
	{softfloat.OpMul, false},
	{softfloat.OpSub, false},
	{softfloat.OpSub, true},
	{softfloat.OpDiv, false},
	{softfloat.OpDiv, true},
}

func compileX87Arith(in *x86.Inst, o *Op, mem bool) handler {
	n := in.Op - x86.FADD
	a := &arith80[n/3]
	o.aux = uint8(a.op)
	if a.rev {
		o.imm |= x87Rev
	}
	switch n % 3 {
	case 1:
		o.imm |= x87Pop
	case 2:
		o.imm |= x87Int
	}
	if mem {
		return arithMem
	}
	o.dst, o.src = uint8(in.Args[0].Reg), uint8(in.Args[1].Reg)
	return arithReg
}

// arith87 computes dst = dst op v, or v op dst, and pops if asked.
func (c *CPU) arith87(o *Op, dst uint8, v softfloat.Operand) {
	e := c.x87Env()
	a := softfloat.Operand80(c.st(dst))
	if o.imm&x87Rev != 0 {
		a, v = v, a
	}
	r := e.Arith80(softfloat.Op80(o.aux), a, v)
	if c.x87Done(&e) {
		c.setST(dst, r)
		c.popIf(o)
	}
}

// arithQuick is arith87 where a short cut leads to the result.
func (c *CPU) arithQuick(o *Op, dst uint8, v softfloat.F80) bool {
	a := c.st(dst)
	if !c.quickMode() || !f80Normal(a) || !f80Normal(v) {
		return false
	}
	if o.imm&x87Rev != 0 {
		a, v = v, a
	}
	if !c.quick(softfloat.Op80(o.aux), dst, a, v) {
		return false
	}
	c.popIf(o)
	return true
}

func arithReg(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	if c.stEmpty(o.dst) || c.stEmpty(o.src) {
		if c.underflow() {
			c.setST(o.dst, softfloat.Indefinite80())
			c.popIf(o)
		}
		return stNext
	}
	if v := c.st(o.src); !c.arithQuick(o, o.dst, v) {
		c.arith87(o, o.dst, softfloat.Operand80(v))
	}
	return stNext
}

// x87Operand reads the memory operand of an arithmetic instruction or a
// comparison, as far as x87NoteMem. Integers are sign-extended.
func (c *CPU) x87Operand(o *Op) (m uint64, ok bool) {
	if !c.x87Ready(true) {
		return 0, false
	}
	switch o.size {
	case 8:
		m, ok = load[uint64](c, o)
	case 4:
		var m32 uint32
		m32, ok = load[uint32](c, o)
		m = uint64(int32(m32))
	default:
		var m16 uint16
		m16, ok = load[uint16](c, o)
		m = uint64(int16(m16))
	}
	if ok {
		c.x87NoteMem(o)
	}
	return m, ok
}

// operand87 is what x87Operand has read, for softfloat.
func (o *Op) operand87(m uint64) softfloat.Operand {
	switch {
	case o.imm&x87Int != 0:
		return softfloat.OperandInt(int32(m))
	case o.size == 8:
		return softfloat.Operand64(m)
	}
	return softfloat.Operand32(uint32(m))
}

// wide87 is what x87Operand has read, as a register has it, if it is a normal number.
func (o *Op) wide87(m uint64) (v softfloat.F80, ok bool) {
	switch {
	case o.imm&x87Int != 0:
		return softfloat.I64ToF80(int64(m)), m != 0
	case o.size == 8:
		return wide64(m)
	}
	return wide32(uint32(m))
}

func arithMem(c *CPU, o *Op) status {
	m, ok := c.x87Operand(o)
	if !ok {
		return stFault
	}
	if c.stEmpty(0) {
		if c.underflow() {
			c.setST(0, softfloat.Indefinite80())
		}
		return stNext
	}
	if v, ok := o.wide87(m); !ok || !c.arithQuick(o, 0, v) {
		c.arith87(o, 0, o.operand87(m))
	}
	return stNext
}

// fchs is FCHS and, with aux, FABS.
func fchs(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	switch {
	case c.stEmpty(0):
		if c.underflow() {
			c.setST(0, softfloat.Indefinite80())
		}
	case o.aux != 0:
		c.setST(0, c.st(0).Abs())
	default:
		c.setST(0, c.st(0).Neg())
	}
	return stNext
}

// The operations of unary87 and binary87, in Op.aux.
const (
	unarySqrt = iota
	unaryRound
	unaryExp

	binaryAtan = iota - 3
	binaryLog
	binaryLog1
)

// unary87 is FSQRT, FRNDINT and F2XM1.
func unary87(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	if c.stEmpty(0) {
		if c.underflow() {
			c.setST(0, softfloat.Indefinite80())
		}
		return stNext
	}
	e := c.x87Env()
	r := c.st(0)
	switch o.aux {
	case unarySqrt:
		r = e.Sqrt80(r)
	case unaryRound:
		r = e.RoundToInt80(r)
	default:
		r = e.Exp2m1(r)
	}
	if c.x87Done(&e) {
		c.setST(0, r)
	}
	return stNext
}

// binary87 is FPATAN, FYL2X and FYL2XP1, which replace ST(1) and pop.
func binary87(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	if c.stEmpty(0) || c.stEmpty(1) {
		if c.underflow() {
			c.setST(1, softfloat.Indefinite80())
			c.pop()
		}
		return stNext
	}
	e := c.x87Env()
	x, y := c.st(0), c.st(1)
	var r softfloat.F80
	switch o.aux {
	case binaryAtan:
		r = e.Atan80(y, x)
	case binaryLog:
		r = e.YLog2X(y, x)
	default:
		r = e.YLog2XP1(y, x)
	}
	if c.x87Done(&e) {
		c.setST(1, r)
		c.pop()
	}
	return stNext
}

func fscale(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	if c.stEmpty(0) || c.stEmpty(1) {
		if c.underflow() {
			c.setST(0, softfloat.Indefinite80())
		}
		return stNext
	}
	e := c.x87Env()
	r := e.Scale80(c.st(0), c.st(1))
	if c.x87Done(&e) {
		c.setST(0, r)
	}
	return stNext
}

// fprem is FPREM and, with aux, FPREM1.
func fprem(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	f := &c.s.FPU
	f.SW &^= swC2
	if c.stEmpty(0) || c.stEmpty(1) {
		if c.underflow() {
			c.setST(0, softfloat.Indefinite80())
		}
		return stNext
	}
	e := c.x87Env()
	var r softfloat.Remainder
	if o.aux != 0 {
		r = e.IEEERem80(c.st(0), c.st(1))
	} else {
		r = e.Rem80(c.st(0), c.st(1))
	}
	if !c.x87Done(&e) {
		return stNext
	}
	c.setST(0, r.Value)
	if r.Value.Class() == softfloat.ClassNaN {
		return stNext // C0 and C3 stay
	}
	f.SW &^= swCC
	if r.Partial {
		f.SW |= swC2
	}
	if r.Quotient&1 != 0 {
		f.SW |= swC1
	}
	if r.Quotient&2 != 0 {
		f.SW |= swC3
	}
	if r.Quotient&4 != 0 {
		f.SW |= swC0
	}
	return stNext
}

// fsin is FSIN and, with aux, FCOS.
func fsin(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	c.s.FPU.SW &^= swC2
	if c.stEmpty(0) {
		if c.underflow() {
			c.setST(0, softfloat.Indefinite80())
		}
		return stNext
	}
	e := c.x87Env()
	var r softfloat.F80
	var ok bool
	if o.aux != 0 {
		r, ok = e.Cos80(c.st(0))
	} else {
		r, ok = e.Sin80(c.st(0))
	}
	if !ok {
		c.s.FPU.SW |= swC2
	}
	if c.x87Done(&e) {
		c.setST(0, r)
	}
	return stNext
}

// pushReady checks the stack for an instruction that replaces ST(0) and pushes
// another value. If it is not fit the instruction is done.
func (c *CPU) pushReady() bool {
	masked := false
	switch {
	case c.stEmpty(0):
		masked = c.underflow()
	case !c.stEmpty(7):
		masked = c.overflow()
	default:
		return true
	}
	if masked {
		c.setST(0, softfloat.Indefinite80())
		c.push(softfloat.Indefinite80())
	}
	return false
}

func fsincos(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	c.s.FPU.SW &^= swC2
	if !c.pushReady() {
		return stNext
	}
	e := c.x87Env()
	sin, cos, ok := e.SinCos80(c.st(0))
	if !ok {
		c.s.FPU.SW |= swC2
		return stNext
	}
	if c.x87Done(&e) {
		c.setST(0, sin)
		c.push(cos)
	}
	return stNext
}

// fptan pushes 1, or the NaN that the operand was.
func fptan(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	c.s.FPU.SW &^= swC2
	if !c.pushReady() {
		return stNext
	}
	e := c.x87Env()
	r, ok := e.Tan80(c.st(0))
	if !ok {
		c.s.FPU.SW |= swC2
		return stNext
	}
	if c.x87Done(&e) {
		c.setST(0, r)
		if r.Class() == softfloat.ClassNaN {
			c.push(r)
		} else {
			c.push(softfloat.I64ToF80(1))
		}
	}
	return stNext
}

func fxtract(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	if !c.pushReady() {
		return stNext
	}
	e := c.x87Env()
	exponent, significand := e.Extract80(c.st(0))
	if c.x87Done(&e) {
		c.setST(0, exponent)
		c.push(significand)
	}
	return stNext
}
