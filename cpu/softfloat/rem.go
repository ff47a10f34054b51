package softfloat

import "math/bits"

// Remainder is the outcome of FPREM and FPREM1.
type Remainder struct {
	// Value is the remainder, exact.
	Value F80
	// Quotient holds the low three bits of the quotient, which go to C0
	// (bit 2), C3 (bit 1) and C1 (bit 0).  It is zero for a partial remainder.
	Quotient uint8
	// Partial tells that the reduction is incomplete (C2).
	Partial bool
}

// Rem80 returns the remainder of a/b with the quotient truncated (FPREM).
func (e *Env) Rem80(a, b F80) Remainder { return e.rem80(a, b, false) }

// IEEERem80 returns the remainder of a/b with the quotient rounded to nearest
// even (FPREM1).
func (e *Env) IEEERem80(a, b F80) Remainder { return e.rem80(a, b, true) }

func (e *Env) rem80(x, y F80, nearest bool) Remainder {
	e.RoundedUp = false
	a, b := unpack80(x), unpack80(y)
	if a.isNaN() || b.isNaN() {
		return Remainder{Value: pack80(e.nan2(&ext64, a, b))}
	}
	if a.class == classInf || b.class == classZero {
		return Remainder{Value: pack80(e.invalid())}
	}
	if e.denormal(a.denorm || b.denorm) {
		return Remainder{Value: x}
	}
	if a.class == classZero {
		return Remainder{Value: x}
	}
	if b.class == classInf {
		return Remainder{Value: pack80(e.round(&ext64, a.wide()))}
	}
	r, quotient, partial := reduce(a, b, nearest)
	if partial {
		quotient = 0
	}
	result := Remainder{Value: pack80(zero(a.neg)), Quotient: uint8(quotient & 7), Partial: partial}
	if !r.isZero() {
		result.Value = pack80(e.round(&ext64, r))
		e.RoundedUp = false
	}
	return result
}

// reduce returns the remainder of a/b, or, if their exponents are 64 or more
// apart, takes between 32 and 63 bits off the quotient.
func reduce(a, b num, nearest bool) (r wide, quotient uint64, partial bool) {
	shift := a.exp - b.exp
	exp := b.exp
	if shift >= 64 {
		partial = true
		step := 32 + shift&31
		exp += shift - step
		shift = step
	}
	switch {
	case shift < -1 || shift == -1 && !nearest:
		return a.wide(), 0, false
	case shift == -1:
		// |a/b| is in (1/4, 1): the nearest integer is 0 or 1.
		if a.mant <= b.mant {
			return a.wide(), 0, false
		}
		return a.wide().add(wide{hi: b.mant, exp: b.exp, neg: !a.neg}), 1, false
	}
	// a.mant < 2*b.mant, so the first bit of the quotient comes by itself.
	rest := a.mant
	if rest >= b.mant {
		rest -= b.mant
		quotient = 1
	}
	if shift > 0 {
		q, r := bits.Div64(rest>>(64-shift), rest<<shift, b.mant)
		quotient, rest = quotient<<shift|q, r
	}
	neg := a.neg
	if nearest && !partial {
		twice, over := rest<<1, rest>>63 != 0
		if over || twice > b.mant || twice == b.mant && quotient&1 != 0 {
			rest = b.mant - rest
			neg = !neg
			quotient++
		}
	}
	return normalize(neg, exp, rest, 0), quotient, partial
}
