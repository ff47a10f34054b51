package softfloat

import "math/bits"

// fraction is a fixed-point number in [0, 1): (hi:lo)/2^128.  The power
// series are summed in it.  All its operations truncate.
type fraction struct{ hi, lo uint64 }

// fraction returns |a|, which must be below 1, truncated.
func (a wide) fraction() fraction {
	if a.isZero() {
		return fraction{}
	}
	n := uint32(-a.exp - 1)
	if n >= 128 {
		return fraction{}
	}
	hi, lo := shiftRight(a.hi, a.lo, n)
	return fraction{hi, lo}
}

// wide returns x as a wide.
func (x fraction) wide() wide { return normalize(false, -1, x.hi, x.lo) }

// complement returns 1-x less one unit in the last place.  It is never 1,
// however small x is, so that series like 1 - z/6 + ... do not lose the fact
// that the result is inexact and on which side of the exact value it lies.
func (x fraction) complement() fraction { return fraction{^x.hi, ^x.lo} }

// add returns x+y, which must be below 1.
func (x fraction) add(y fraction) fraction {
	lo, carry := bits.Add64(x.lo, y.lo, 0)
	hi, _ := bits.Add64(x.hi, y.hi, carry)
	return fraction{hi, lo}
}

// sub returns x-y, which must not be negative.
func (x fraction) sub(y fraction) fraction {
	lo, borrow := bits.Sub64(x.lo, y.lo, 0)
	hi, _ := bits.Sub64(x.hi, y.hi, borrow)
	return fraction{hi, lo}
}

// mul returns x*y.
func (x fraction) mul(y fraction) fraction {
	hi, lo, _ := mul128(x.hi, x.lo, y.hi, y.lo)
	return fraction{hi, lo}
}

// over returns x/d.
func (x fraction) over(d uint64) fraction {
	lo, _ := bits.Div64(x.hi%d, x.lo, d)
	return fraction{x.hi / d, lo}
}

// reciprocal returns 1/d for an odd d above 1.
func reciprocal(d uint64) fraction {
	// An odd d does not divide 2^128, so that 2^128-1 has the same quotient.
	return fraction{^uint64(0), ^uint64(0)}.over(d)
}
