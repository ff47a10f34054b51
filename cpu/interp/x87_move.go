package interp

import (
	"encoding/binary"

	"dfemu/cpu/softfloat"
	"dfemu/cpu/x86"
)

func compileX87Move(in *x86.Inst, o *Op, mem bool) handler {
	switch in.Op {
	case x86.FSTP, x86.FISTP, x86.FISTTP, x86.FBSTP:
		o.imm |= x87Pop
	}
	switch in.Op {
	case x86.FILD:
		return fild
	case x86.FBLD:
		return fbld
	case x86.FIST, x86.FISTP:
		return fist
	case x86.FISTTP:
		o.aux = 1
		return fist
	case x86.FBSTP:
		return fbstp
	}
	if mem {
		fn := fld
		if in.Op != x86.FLD {
			fn = fst
		}
		if o.size == 10 {
			fn = fld80
			if in.Op != x86.FLD {
				fn = fstp80
			}
		}
		return fn
	}
	o.src = uint8(in.Args[in.NArgs-1].Reg)
	switch in.Op {
	case x86.FLD:
		return fldReg
	case x86.FXCH:
		return fxch
	}
	if in.Enc.Code == 0xd9 {
		o.aux = 1
	}
	return fstReg
}

// x87Push pushes v, or answers a stack overflow.
func (c *CPU) x87Push(v softfloat.F80) {
	if !c.stEmpty(7) {
		if c.overflow() {
			c.push(softfloat.Indefinite80())
		}
		return
	}
	c.push(v)
}

// fld is FLD of m32fp and m64fp.
func fld(c *CPU, o *Op) status {
	if !c.x87Ready(true) {
		return stFault
	}
	var m64 uint64
	var m32 uint32
	var ok bool
	if o.size == 8 {
		m64, ok = load[uint64](c, o)
	} else {
		m32, ok = load[uint32](c, o)
	}
	if !ok {
		return stFault
	}
	c.x87NoteMem(o)
	if !c.stEmpty(7) {
		c.x87Push(softfloat.F80{})
		return stNext
	}
	var v softfloat.F80
	if o.size == 8 {
		v, ok = wide64(m64)
	} else {
		v, ok = wide32(m32)
	}
	if ok {
		c.push(v)
		return stNext
	}
	// A denormal is loaded even if DE is not masked.
	e := c.x87Env()
	e.Masks |= softfloat.DE
	if o.size == 8 {
		v = e.F64ToF80(m64)
	} else {
		v = e.F32ToF80(m32)
	}
	c.x87Done(&e)
	if e.Flags&^e.Masks == 0 {
		c.push(v)
	}
	return stNext
}

// fld80 is FLD of m80fp, which raises nothing whatever the value.
func fld80(c *CPU, o *Op) status {
	if !c.x87Ready(true) {
		return stFault
	}
	va, ok := c.address(o, 10, accRead)
	if !ok {
		return stFault
	}
	var v softfloat.F80
	if v.Mant, ok = loadAt[uint64](c, o, va); !ok {
		return stFault
	}
	if v.SE, ok = loadAt[uint16](c, o, va+8); !ok {
		return stFault
	}
	c.x87NoteMem(o)
	c.x87Push(v)
	return stNext
}

func fldReg(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	if !c.stEmpty(o.src) {
		c.x87Push(c.st(o.src))
	} else if c.underflow() {
		c.push(softfloat.Indefinite80())
	}
	return stNext
}

func fild(c *CPU, o *Op) status {
	if !c.x87Ready(true) {
		return stFault
	}
	var v int64
	var ok bool
	switch o.size {
	case 2:
		var m uint16
		m, ok = load[uint16](c, o)
		v = int64(int16(m))
	case 4:
		var m uint32
		m, ok = load[uint32](c, o)
		v = int64(int32(m))
	default:
		var m uint64
		m, ok = load[uint64](c, o)
		v = int64(m)
	}
	if !ok {
		return stFault
	}
	c.x87NoteMem(o)
	c.x87Push(softfloat.I64ToF80(v))
	return stNext
}

func fbld(c *CPU, o *Op) status {
	if !c.x87Ready(true) {
		return stFault
	}
	var b softfloat.BCD
	if !c.loadImage(o, b[:]) {
		return stFault
	}
	c.x87NoteMem(o)
	c.x87Push(softfloat.BCDToF80(b))
	return stNext
}

// fldConst loads a constant: aux counts from FLD1.
func fldConst(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	e := c.x87Env()
	var v softfloat.F80
	switch o.aux {
	case 0: // FLD1
		v = softfloat.I64ToF80(1)
	case uint8(x86.FLDL2T - x86.FLD1):
		v = e.LoadConstant80(softfloat.Log2Of10)
	case uint8(x86.FLDL2E - x86.FLD1):
		v = e.LoadConstant80(softfloat.Log2OfE)
	case uint8(x86.FLDPI - x86.FLD1):
		v = e.LoadConstant80(softfloat.Pi)
	case uint8(x86.FLDLG2 - x86.FLD1):
		v = e.LoadConstant80(softfloat.Log10Of2)
	case uint8(x86.FLDLN2 - x86.FLD1):
		v = e.LoadConstant80(softfloat.LnOf2)
	}
	c.x87Push(v)
	return stNext
}

// x87Stores reports whether an instruction that raised what is in e stores its value to
// memory. Unlike in a register, no value is stored on an unmasked overflow or underflow.
func (c *CPU) x87Stores(e *softfloat.Env) bool {
	return e.Flags&^softfloat.PE&^e.Masks == 0
}

// x87NoStore checks the memory operand of a store that raised what is in e and therefore
// stores nothing: page faults come first.
func (c *CPU) x87NoStore(o *Op, e *softfloat.Env, n uint8) bool {
	if c.x87Stores(e) {
		return true
	}
	va, ok := c.address(o, int(n), accWrite)
	return ok && c.wholeCanonical(o, va, int(n)) && c.checkAlign(va, min(int(n), 8)) && c.probe(o, va, int(n), accWrite)
}

// x87Stored enters what a store raised into the status word and pops.
func (c *CPU) x87Stored(o *Op, e *softfloat.Env, empty bool) {
	c.x87NoteMem(o)
	if empty {
		c.s.FPU.SW |= swSF
	}
	c.x87Done(e)
	if c.x87Stores(e) {
		c.popIf(o)
	}
}

// fst is FST and FSTP of m32fp and m64fp.
func fst(c *CPU, o *Op) status {
	if !c.x87Ready(true) {
		return stFault
	}
	v, empty := c.st(0), c.stEmpty(0)
	if !empty && c.quickMode() {
		if st, ok := c.fstQuick(o, v); ok {
			return st
		}
	}
	e := c.x87Env()
	if empty {
		v = softfloat.Indefinite80()
		e.Flags = softfloat.IE
	}
	if o.size == 8 {
		r := e.F80ToF64(v)
		if c.x87Stores(&e) && !store(c, o, r) {
			return stFault
		}
	} else {
		r := e.F80ToF32(v)
		if c.x87Stores(&e) && !store(c, o, r) {
			return stFault
		}
	}
	if !c.x87NoStore(o, &e, o.size) {
		return stFault
	}
	c.x87Stored(o, &e, empty)
	return stNext
}

// fstQuick is fst where a short cut leads to the result.
func (c *CPU) fstQuick(o *Op, v softfloat.F80) (st status, ok bool) {
	var inexact, up, stored bool
	if o.size == 8 {
		var m uint64
		if m, inexact, up, ok = narrow64(v); !ok {
			return 0, false
		}
		stored = store(c, o, m)
	} else {
		var m uint32
		if m, inexact, up, ok = narrow32(v); !ok {
			return 0, false
		}
		stored = store(c, o, m)
	}
	if !stored {
		return stFault, true
	}
	c.x87NoteMem(o)
	c.quickRaise(inexact, up)
	c.popIf(o)
	return stNext, true
}

// fstp80 is FSTP of m80fp.
func fstp80(c *CPU, o *Op) status {
	if !c.x87Ready(true) {
		return stFault
	}
	e := c.x87Env()
	v, empty := c.st(0), c.stEmpty(0)
	if empty {
		v = softfloat.Indefinite80()
		e.Flags = softfloat.IE
	}
	if c.x87Stores(&e) {
		va, ok := c.address(o, 10, accWrite)
		if !ok || !c.probe(o, va, 10, accWrite) || !storeAt(c, o, va, v.Mant) || !storeAt(c, o, va+8, v.SE) {
			return stFault
		}
	}
	if !c.x87NoStore(o, &e, 10) {
		return stFault
	}
	c.x87Stored(o, &e, empty)
	return stNext
}

// fist is FIST, FISTP and, with aux, FISTTP.
func fist(c *CPU, o *Op) status {
	if !c.x87Ready(true) {
		return stFault
	}
	e := c.x87Env()
	rm := e.Round
	if o.aux != 0 {
		rm = softfloat.RoundZero
	}
	v, empty := c.st(0), c.stEmpty(0)
	if empty {
		v = softfloat.Indefinite80() // becomes the integer indefinite
	}
	ok := true
	switch o.size {
	case 2:
		r := e.F80ToI16(v, rm)
		ok = !c.x87Stores(&e) || store(c, o, uint16(r))
	case 4:
		r := e.F80ToI32(v, rm)
		ok = !c.x87Stores(&e) || store(c, o, uint32(r))
	default:
		r := e.F80ToI64(v, rm)
		ok = !c.x87Stores(&e) || store(c, o, uint64(r))
	}
	if !ok || !c.x87NoStore(o, &e, o.size) {
		return stFault
	}
	c.x87Stored(o, &e, empty)
	return stNext
}

func fbstp(c *CPU, o *Op) status {
	if !c.x87Ready(true) {
		return stFault
	}
	e := c.x87Env()
	v, empty := c.st(0), c.stEmpty(0)
	if empty {
		v = softfloat.Indefinite80()
	}
	b := e.F80ToBCD(v)
	if c.x87Stores(&e) {
		va, ok := c.address(o, 10, accWrite)
		if !ok || !c.probe(o, va, 10, accWrite) ||
			!storeAt(c, o, va, binary.LittleEndian.Uint64(b[:])) ||
			!storeAt(c, o, va+8, binary.LittleEndian.Uint16(b[8:])) {
			return stFault
		}
	}
	if !c.x87NoStore(o, &e, 10) {
		return stFault
	}
	c.x87Stored(o, &e, empty)
	return stNext
}

// fstReg is FST and FSTP to ST(src), which may be empty. With aux it is the
// alias D9 /3 of FSTP, which does not raise a stack fault but then stores nothing.
func fstReg(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	v := c.st(0)
	if c.stEmpty(0) {
		if o.aux != 0 {
			c.pop()
			return stNext
		}
		if !c.underflow() {
			return stNext
		}
		v = softfloat.Indefinite80()
	}
	c.setST(o.src, v)
	c.popIf(o)
	return stNext
}

// fxch exchanges; in the masked response to a stack fault, empty registers count as the indefinite NaN.
func fxch(c *CPU, o *Op) status {
	if !c.x87Begin(o) {
		return stFault
	}
	a, b := c.st(0), c.st(o.src)
	ea, eb := c.stEmpty(0), c.stEmpty(o.src)
	if ea || eb {
		if !c.underflow() {
			return stNext
		}
		if ea {
			a = softfloat.Indefinite80()
		}
		if eb {
			b = softfloat.Indefinite80()
		}
	}
	c.setST(0, b)
	c.setST(o.src, a)
	return stNext
}

// fcmov is FCMOVcc: aux counts from FCMOVB, of which bit 2 inverts the condition. The registers
// are checked whether it moves or not, and C1 is left but for a stack fault.
func fcmov(c *CPU, o *Op) status {
	c1 := c.s.FPU.SW & swC1
	if !c.x87Begin(o) {
		return stFault
	}
	var cond bool
	switch o.aux & 3 {
	case 0:
		cond = c.cf()
	case 1:
		cond = c.zf()
	case 2:
		cond = c.cf() || c.zf()
	case 3:
		cond = c.pf()
	}
	switch {
	case c.stEmpty(0) || c.stEmpty(o.src):
		if c.underflow() {
			c.setST(0, softfloat.Indefinite80())
		}
		return stNext
	case cond != (o.aux&4 != 0):
		c.setST(0, c.st(o.src))
	}
	c.s.FPU.SW |= c1
	return stNext
}
