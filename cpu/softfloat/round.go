package softfloat

import (
	"math"
	"math/bits"
)

// biasAdjust is what the x87 unit adds to or takes off the exponent of a
// register result on an unmasked underflow or overflow (SDM vol. 1, sections
// 8.5.4 and 8.5.5).
const biasAdjust = 3 * 1 << 13

// rounded is the outcome of rounding a significand.
type rounded struct {
	mant    uint64 // left aligned
	carry   bool   // the result is twice mant
	inexact bool
	up      bool // the magnitude was increased
}

// roundSig rounds the significand hi:lo of a value of the given sign to prec
// bits counted from bit 127.
func roundSig(rm RoundingMode, neg bool, hi, lo uint64, prec uint) rounded {
	rest, mant := lo, hi
	if prec < 64 {
		rest = hi<<prec | sticky(lo)
		mant = hi &^ (1<<(64-prec) - 1)
	}
	unit := uint64(1) << (64 - prec)
	if !increments(rm, neg, mant&unit != 0, rest) {
		return rounded{mant: mant, inexact: rest != 0}
	}
	mant += unit
	if mant == 0 {
		return rounded{mant: integerBit, carry: true, inexact: true, up: true}
	}
	return rounded{mant: mant, inexact: true, up: true}
}

// increments tells whether a magnitude has to be rounded away from zero.  odd
// is its last bit kept and rest the bits to discard, left aligned.
func increments(rm RoundingMode, neg, odd bool, rest uint64) bool {
	const half = 1 << 63
	switch rm {
	case RoundDown:
		return neg && rest != 0
	case RoundUp:
		return !neg && rest != 0
	case RoundZero:
		return false
	}
	return rest > half || rest == half && odd
}

// round delivers the nonzero result w in format f by the environment's
// rounding mode.
func (e *Env) round(f *format, w wide) num { return e.roundBy(e.Round, f, w) }

// roundBy delivers the nonzero result w in format f, raising OE, UE and PE as
// due.
func (e *Env) roundBy(rm RoundingMode, f *format, w wide) num {
	r := roundSig(rm, w.neg, w.hi, w.lo, f.prec)
	n := num{class: classFinite, neg: w.neg, exp: w.exp, mant: r.mant}
	if r.carry {
		n.exp++
	}
	switch {
	case n.exp > f.emax:
		return e.overflow(rm, f, n, r)
	case n.exp < f.emin:
		// x86 detects tininess after rounding, with unbounded exponent.
		return e.underflow(rm, f, w, n, r)
	}
	e.inexact(r)
	return n
}

// inexact records PE and the rounding direction.
func (e *Env) inexact(r rounded) {
	e.RoundedUp = r.up
	if r.inexact {
		e.Flags |= PE
	}
}

// overflow delivers n, the result rounded with unbounded exponent, if that is
// too large for format f.
func (e *Env) overflow(rm RoundingMode, f *format, n num, r rounded) num {
	if e.raise(OE) {
		e.inexact(r)
		if f.x87 {
			n.exp -= biasAdjust
			if n.exp > f.emax { // only scaling goes this far
				e.inexact(rounded{inexact: true, up: true})
				return infinity(n.neg)
			}
		}
		return n
	}
	e.Flags |= PE
	// The directed modes that round toward zero stop at the largest number.
	e.RoundedUp = increments(rm, n.neg, true, integerBit)
	if e.RoundedUp {
		return infinity(n.neg)
	}
	return num{class: classFinite, neg: n.neg, exp: f.emax, mant: ^uint64(0) << (64 - f.prec)}
}

// underflow delivers the result w, which rounds to n with unbounded exponent,
// if that is too small for a normal number of format f.
func (e *Env) underflow(rm RoundingMode, f *format, w wide, n num, r rounded) num {
	if e.Masks&UE == 0 {
		e.Flags |= UE
		e.inexact(r)
		if f.x87 {
			n.exp += biasAdjust
			if n.exp < f.emin {
				e.inexact(rounded{inexact: true})
				return zero(n.neg)
			}
		}
		return n
	}
	if f.flush && e.FTZ {
		e.Flags |= UE | PE
		return zero(n.neg)
	}
	// Round again, at the place the last bit of a denormal has.
	hi, lo := shiftRight(w.hi, w.lo, uint32(f.emin-w.exp))
	r = roundSig(rm, w.neg, hi, lo, f.prec)
	e.inexact(r)
	if r.inexact {
		e.Flags |= UE
	}
	if r.mant == 0 {
		return zero(n.neg)
	}
	shift := bits.LeadingZeros64(r.mant)
	return num{class: classFinite, neg: n.neg, exp: f.emin - int32(shift), mant: r.mant << shift}
}

// roundNative rounds x to an integral value with the host's arithmetic.
func roundNative(x float64, rm RoundingMode) float64 {
	switch rm {
	case RoundDown:
		return math.Floor(x)
	case RoundUp:
		return math.Ceil(x)
	case RoundZero:
		return math.Trunc(x)
	}
	return math.RoundToEven(x)
}
