package interp

import (
	"math/bits"

	"dfemu/cpu/softfloat"
)

// Short cuts for what nearly all x87 arithmetic is: normal numbers, a normal
// result, rounding to nearest. Anything else is left to softfloat.

const (
	f80Bias = 16383
	f80Sign = 1 << 15
	f80Int  = 1 << 63 // the integer bit

	cwRound = 3 << 10 // rounding control
)

// precisions gives, for the precision control, the significand bits a result has not.
var precisions = [4]uint{64 - 24, 0, 64 - 53, 0}

// f80Normal tells whether v is a normal number.
func f80Normal(v softfloat.F80) bool {
	return v.Mant&f80Int != 0 && v.SE&0x7fff-1 < 0x7ffe
}

// wide64 and wide32 return the value of a memory operand if that is a normal
// number. It is exact.
func wide64(m uint64) (v softfloat.F80, ok bool) {
	e := m >> 52 & 0x7ff
	return softfloat.F80{Mant: m<<11 | f80Int, SE: uint16(m>>63<<15 | (e + f80Bias - 1023))}, e-1 < 0x7fe
}

func wide32(m uint32) (v softfloat.F80, ok bool) {
	e := uint64(m >> 23 & 0xff)
	return softfloat.F80{Mant: uint64(m)<<40 | f80Int, SE: uint16(uint64(m>>31)<<15 | (e + f80Bias - 127))}, e-1 < 0xfe
}

// narrow returns v rounded to a format in memory: with drop bits less of
// significand, and the exponent biased as there, below that of infinities. It
// fails where the result may not be normal.
func narrow(v softfloat.F80, drop uint, bias, infinity int) (exp int, mant uint64, inexact, up, ok bool) {
	exp = int(v.SE&0x7fff) - f80Bias + bias
	mant, rest := v.Mant>>drop, v.Mant<<(64-drop)
	up = rest > 1<<63 || rest == 1<<63 && mant&1 != 0
	if up {
		mant++
		if mant>>(64-drop) != 0 {
			mant >>= 1
			exp++
		}
	}
	return exp, mant, rest != 0, up, v.Mant&f80Int != 0 && exp > 1 && exp < infinity
}

// narrow64 and narrow32 return what FST stores for v.
func narrow64(v softfloat.F80) (m uint64, inexact, up, ok bool) {
	exp, mant, inexact, up, ok := narrow(v, 11, 1023, 0x7ff)
	return uint64(v.SE>>15)<<63 | uint64(exp)<<52 | mant&(1<<52-1), inexact, up, ok
}

func narrow32(v softfloat.F80) (m uint32, inexact, up, ok bool) {
	exp, mant, inexact, up, ok := narrow(v, 40, 127, 0xff)
	return uint32(v.SE>>15)<<31 | uint32(exp)<<23 | uint32(mant)&(1<<23-1), inexact, up, ok
}

// quick computes a op b for two normal numbers and writes it to ST(dst). It reports
// whether it could; if not nothing has changed.
func (c *CPU) quick(op softfloat.Op80, dst uint8, a, b softfloat.F80) bool {
	var hi, lo uint64
	sign := (a.SE ^ b.SE) & f80Sign
	ea, eb := int(a.SE&0x7fff), int(b.SE&0x7fff)
	exp := ea
	switch op {
	case softfloat.OpMul:
		exp = ea + eb - f80Bias + 1
		hi, lo = bits.Mul64(a.Mant, b.Mant)
		if hi&f80Int == 0 {
			hi, lo = hi<<1|lo>>63, lo<<1
			exp--
		}
	case softfloat.OpDiv:
		exp = ea - eb + f80Bias
		x, y := a.Mant>>1, a.Mant<<63
		if a.Mant < b.Mant {
			x, y = a.Mant, 0
			exp--
		}
		var rest uint64
		hi, rest = bits.Div64(x, y, b.Mant)
		lo, rest = bits.Div64(rest, 0, b.Mant)
		if rest != 0 {
			lo |= 1
		}
	default:
		if op == softfloat.OpSub {
			b.SE ^= f80Sign
		}
		// Let a be the greater magnitude.
		if ea < eb || ea == eb && a.Mant < b.Mant {
			a, b = b, a
			ea, eb = eb, ea
		}
		exp = ea
		sign = a.SE & f80Sign
		shift := uint(ea - eb)
		if shift >= 64 {
			return false
		}
		x, y := b.Mant>>shift, b.Mant<<(64-shift)
		if (a.SE^b.SE)&f80Sign == 0 {
			var carry uint64
			lo = y
			hi, carry = bits.Add64(a.Mant, x, 0)
			if carry != 0 {
				lo = hi<<63 | lo>>1 | lo&1
				hi = hi>>1 | f80Int
				exp++
			}
			break
		}
		var borrow uint64
		lo, borrow = bits.Sub64(0, y, 0)
		hi, _ = bits.Sub64(a.Mant, x, borrow)
		switch {
		case hi|lo == 0:
			c.setST(dst, softfloat.F80{})
			return true
		case hi == 0:
			return false
		}
		n := uint(bits.LeadingZeros64(hi))
		hi, lo = hi<<n|lo>>(64-n), lo<<n
		exp -= int(n)
	}

	// Round to nearest even.
	cw := c.s.FPU.CW
	if drop := precisions[cw>>8&3]; drop != 0 {
		rest := hi << (64 - drop)
		if lo != 0 {
			rest |= 1
		}
		hi &^= 1<<drop - 1
		up := rest > 1<<63 || rest == 1<<63 && hi>>drop&1 != 0
		return c.quickResult(dst, exp, sign, hi, rest, up, 1<<drop)
	}
	up := lo > 1<<63 || lo == 1<<63 && hi&1 != 0
	return c.quickResult(dst, exp, sign, hi, lo, up, 1)
}

// quickResult rounds hi up by unit if asked, writes it to ST(dst), and raises PE if rest is not zero.
func (c *CPU) quickResult(dst uint8, exp int, sign uint16, hi, rest uint64, up bool, unit uint64) bool {
	if up {
		if hi += unit; hi == 0 {
			hi = f80Int
			exp++
		}
	}
	if exp < 2 || exp > 0x7ffd {
		return false
	}
	c.setST(dst, softfloat.F80{Mant: hi, SE: sign | uint16(exp)})
	c.quickRaise(rest != 0, up)
	return true
}

// quickRaise enters the only exception that a short cut can raise.
func (c *CPU) quickRaise(inexact, up bool) {
	if inexact {
		if up {
			c.s.FPU.SW |= swC1
		}
		c.x87Raise(softfloat.PE)
	}
}

// quickMode tells whether the short cuts apply: results are rounded to nearest.
func (c *CPU) quickMode() bool { return c.s.FPU.CW&cwRound == 0 }
