package interp

import (
	"math/bits"

	"dfemu/cpu/x86"
)

// The arithmetic flags are kept in two words that most instructions can write
// without working a flag out, and from which each flag is read alone.
//
// fres is the result, sign-extended: ZF is fres == 0, SF its top bit, PF the
// parity of its low byte. fcarry holds the carries out of each bit of the
// addition or subtraction, moved up so that the carry out of the operand's
// top bit is bit 63: CF is bit 63, OF is bit 63 ^ bit 62, and AF (the carry out of
// bit 3) is copied to bit 3. Bit 0 of fcarry inverts SF and bits 8–15 are
// combined with fres before the parity is taken, so that flags which no
// result has (ZF and SF both set) can be stored too.
const (
	fcCF     = 1 << 63
	fcPO     = 1 << 62 // CF ^ OF
	fcAF     = 1 << 3
	fcSF     = 1
	fcPFOdd  = 1 << 8 // makes an even parity odd
	fcResult = fcCF | fcPO | fcAF
)

// sext sign-extends v.
func sext[T word](v T) uint64 {
	switch sizeOf[T]() {
	case 1:
		return uint64(int8(v))
	case 2:
		return uint64(int16(v))
	case 4:
		return uint64(int32(v))
	}
	return uint64(v)
}

// carries turns the carry out of each bit of a T into fcarry's form.
func carries[T word](v T) uint64 {
	x := uint64(v)
	return x<<(64-8*sizeOf[T]())&(fcCF|fcPO) | x&fcAF
}

// flagsAdd sets the flags for r = a + b (+ carry in).
func flagsAdd[T word](c *CPU, a, b, r T) {
	c.fres = sext(r)
	c.fcarry = carries(a&b | (a|b)&^r)
}

// flagsSub sets the flags for r = a - b (- borrow in).
func flagsSub[T word](c *CPU, a, b, r T) {
	c.fres = sext(r)
	c.fcarry = carries(^a&b | (^a|b)&r)
}

// flagsLogic sets the flags for a logical result: CF, OF and AF clear.
func flagsLogic[T word](c *CPU, r T) {
	c.fres = sext(r)
	c.fcarry = 0
}

func (c *CPU) cf() bool { return c.fcarry&fcCF != 0 }
func (c *CPU) of() bool { return (c.fcarry^c.fcarry<<1)&fcCF != 0 }
func (c *CPU) zf() bool { return c.fres == 0 }
func (c *CPU) sf() bool { return (c.fres>>63^c.fcarry)&1 != 0 }
func (c *CPU) af() bool { return c.fcarry&fcAF != 0 }
func (c *CPU) pf() bool { return bits.OnesCount8(uint8(c.fres)^uint8(c.fcarry>>8))&1 == 0 }

// carryIn returns CF as 0 or 1.
func (c *CPU) carryIn() uint64 { return c.fcarry >> 63 }

// arith returns the arithmetic flags in their places in RFLAGS.
func (c *CPU) arith() uint64 {
	f := c.fcarry >> 63 // CF is bit 0
	if c.pf() {
		f |= x86.PF
	}
	if c.af() {
		f |= x86.AF
	}
	if c.zf() {
		f |= x86.ZF
	}
	if c.sf() {
		f |= x86.SF
	}
	if c.of() {
		f |= x86.OF
	}
	return f
}

// setArith sets the arithmetic flags from their places in RFLAGS.
func (c *CPU) setArith(f uint64) {
	var fc, res uint64
	if f&x86.ZF == 0 {
		res = 1
	}
	if f&x86.CF != 0 {
		fc |= fcCF
	}
	if (f&x86.CF != 0) != (f&x86.OF != 0) {
		fc |= fcPO
	}
	if f&x86.AF != 0 {
		fc |= fcAF
	}
	if f&x86.SF != 0 {
		fc |= fcSF
	}
	// The parity of res is even for 0 and odd for 1.
	if (res == 0) != (f&x86.PF != 0) {
		fc |= fcPFOdd
	}
	c.fres, c.fcarry = res, fc
}

// setCF replaces CF and leaves the other flags.
func (c *CPU) setCF(cf bool) {
	of := (c.fcarry ^ c.fcarry<<1) & fcCF
	fc := c.fcarry &^ (fcCF | fcPO)
	if cf {
		fc |= fcCF
	}
	c.fcarry = fc | (fc^of)&fcCF>>1
}

// rflags returns RFLAGS.
func (c *CPU) rflags() uint64 { return c.flags | c.arith() }

// setRFLAGS replaces RFLAGS. What a program may change is the caller's
// concern. It keeps what follows from the flags (single step, alignment
// checks, interrupts that may now be taken) up to date; the caller ends the block.
func (c *CPU) setRFLAGS(f uint64) {
	c.setArith(f)
	c.flags = f&^x86.ArithFlags&0x3fffff&^(1<<3|1<<5|1<<15) | x86.Flag1
	c.modeChanged()
}
