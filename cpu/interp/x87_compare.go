package interp

import (
	"dfemu/cpu/softfloat"
	"dfemu/cpu/x86"
)

// Comparisons, in Op.aux.
const (
	compareQuiet = 1 << 0 // FUCOM…: only SNaNs are invalid
	comparePop2  = 1 << 1 // FCOMPP, FUCOMPP
)

// relationCodes are C3, C2 and C0 for the outcome of a comparison.
var relationCodes = [4]uint16{
	softfloat.Less:      swC0,
	softfloat.Equal:     swC3,
	softfloat.Greater:   0,
	softfloat.Unordered: swC3 | swC2 | swC0,
}

func compileX87Compare(in *x86.Inst, o *Op, mem bool) handler {
	switch in.Op {
	case x86.FCOMP, x86.FICOMP, x86.FUCOMP, x86.FCOMIP, x86.FUCOMIP, x86.FCOMPP, x86.FUCOMPP:
		o.imm |= x87Pop
	}
	fn := fcom
	switch in.Op {
	case x86.FICOM, x86.FICOMP:
		o.imm |= x87Int
	case x86.FCOMPP:
		o.src, o.aux = 1, comparePop2
		return fcom
	case x86.FUCOMPP:
		o.src, o.aux = 1, comparePop2|compareQuiet
		return fcom
	case x86.FUCOM, x86.FUCOMP:
		o.aux = compareQuiet
	case x86.FUCOMI, x86.FUCOMIP:
		o.aux = compareQuiet
		fn = fcomi
	case x86.FCOMI, x86.FCOMIP:
		fn = fcomi
	}
	if mem {
		return fcomMem
	}
	o.src = uint8(in.Args[in.NArgs-1].Reg)
	return fn
}

// compareST compares ST(0) with ST(src). It returns false if an exception that
// is not masked keeps the stack from being popped. The outcome is delivered even
// then, as AMD's processors do; the SDM leaves the codes alone for an invalid operand.
func (c *CPU) compareST(o *Op) (softfloat.Relation, bool) {
	if c.stEmpty(0) || c.stEmpty(o.src) {
		return softfloat.Unordered, c.underflow()
	}
	e := c.x87Env()
	var r softfloat.Relation
	if o.aux&compareQuiet != 0 {
		r = e.CompareQuiet80(c.st(0), c.st(o.src))
	} else {
		r = e.Compare80(c.st(0), c.st(o.src))
	}
	return r, c.x87Done(&e)
}

// codes puts the outcome of a comparison into C3, C2 and C0.
func (c *CPU) codes(r softfloat.Relation) {
	f := &c.s.FPU
	f.SW = f.SW&^(swC3|swC2|swC0) | relationCodes[r&3]
}

func fcom(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	r, ok := c.compareST(o)
	c.codes(r)
	if ok {
		c.popIf(o)
		if o.aux&comparePop2 != 0 {
			c.pop()
		}
	}
	return stNext
}

// fcomi is FCOMI and the like, which leave C1 but for a stack fault.
func fcomi(c *CPU, o *Op) status {
	c1 := c.s.FPU.SW & swC1
	if !c.x87Begin(o) {
		return stFault
	}
	if !c.stEmpty(0) && !c.stEmpty(o.src) {
		c.s.FPU.SW |= c1
	}
	r, ok := c.compareST(o)
	c.setArith(relationFlags[r&3])
	if ok {
		c.popIf(o)
	}
	return stNext
}

// compareOperand compares ST(0) with v.
func (c *CPU) compareOperand(o *Op, v softfloat.Operand) {
	r, ok := softfloat.Unordered, false
	if c.stEmpty(0) {
		ok = c.underflow()
	} else {
		e := c.x87Env()
		r = e.CompareOperands(softfloat.Operand80(c.st(0)), v)
		ok = c.x87Done(&e)
	}
	c.codes(r)
	if ok {
		c.popIf(o)
	}
}

func fcomMem(c *CPU, o *Op) status {
	m, ok := c.x87Operand(o)
	if !ok {
		return stFault
	}
	c.compareOperand(o, o.operand87(m))
	return stNext
}

func ftst(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	c.compareOperand(o, softfloat.OperandInt(0))
	return stNext
}

// fxam tells the class of ST(0), and its sign in C1, even if it is empty.
func fxam(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	f := &c.s.FPU
	f.SW &^= swCC
	v := c.st(0)
	if v.Signbit() {
		f.SW |= swC1
	}
	if c.stEmpty(0) {
		f.SW |= swC3 | swC0
		return stNext
	}
	k := v.Class()
	if k&4 != 0 {
		f.SW |= swC3
	}
	if k&2 != 0 {
		f.SW |= swC2
	}
	if k&1 != 0 {
		f.SW |= swC0
	}
	return stNext
}
