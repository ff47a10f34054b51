package softfloat

import "math"

// normal64 tells whether a is a normal number.
func normal64(a uint64) bool { return a>>52&0x7ff-1 < 0x7fe }

// ordinary64 tells whether a is a normal number or zero.
func ordinary64(a uint64) bool { return normal64(a) || a<<1 == 0 }

// safe64 tells whether the result r of host arithmetic on normal numbers is
// beyond doubt.  The least normal exponent is left out: a result there may
// have been tiny before it was rounded.
func safe64(r uint64) bool { return r>>52&0x7ff-2 < 0x7fd }

// Add64 returns a+b (ADDSD).
func (e *Env) Add64(a, b uint64) uint64 {
	if e.native() && ordinary64(a) && ordinary64(b) {
		r := math.Float64bits(math.Float64frombits(a) + math.Float64frombits(b))
		// Sums that cancel to zero are exact.
		if safe64(r) || r<<1 == 0 {
			return r
		}
	}
	return pack64(e.add(&binary64, e.unpack64(a), e.unpack64(b)))
}

// Sub64 returns a-b (SUBSD).
func (e *Env) Sub64(a, b uint64) uint64 {
	if e.native() && ordinary64(a) && ordinary64(b) {
		r := math.Float64bits(math.Float64frombits(a) - math.Float64frombits(b))
		if safe64(r) || r<<1 == 0 {
			return r
		}
	}
	return pack64(e.add(&binary64, e.unpack64(a), e.unpack64(b).negated()))
}

// Mul64 returns a*b (MULSD).
func (e *Env) Mul64(a, b uint64) uint64 {
	if e.native() && normal64(a) && normal64(b) {
		r := math.Float64bits(math.Float64frombits(a) * math.Float64frombits(b))
		if safe64(r) {
			return r
		}
	}
	return pack64(e.mul(&binary64, e.unpack64(a), e.unpack64(b)))
}

// Div64 returns a/b (DIVSD).
func (e *Env) Div64(a, b uint64) uint64 {
	if e.native() && normal64(a) && normal64(b) {
		r := math.Float64bits(math.Float64frombits(a) / math.Float64frombits(b))
		if safe64(r) {
			return r
		}
	}
	return pack64(e.div(&binary64, e.unpack64(a), e.unpack64(b)))
}

// Sqrt64 returns the square root of a (SQRTSD).
func (e *Env) Sqrt64(a uint64) uint64 {
	if e.native() && normal64(a) && a>>63 == 0 {
		return math.Float64bits(math.Sqrt(math.Float64frombits(a)))
	}
	return pack64(e.sqrt(&binary64, e.unpack64(a)))
}

// FMA64 returns a*b+c rounded once, with the signs op asks for.  See [FMAOp]
// for which operand of the instruction is which.
func (e *Env) FMA64(a, b, c uint64, op FMAOp) uint64 {
	if e.native() && normal64(a) && normal64(b) && ordinary64(c) {
		x, y, z := math.Float64frombits(a), math.Float64frombits(b), math.Float64frombits(c)
		if op&NegProduct != 0 {
			x = -x
		}
		if op&NegAddend != 0 {
			z = -z
		}
		if r := math.Float64bits(math.FMA(x, y, z)); safe64(r) {
			return r
		}
	}
	return pack64(e.fma(&binary64, e.unpack64(a), e.unpack64(b), e.unpack64(c), op))
}

// Min64 returns the lesser of a and b, or b if they are both zero or either
// is a NaN (MINSD).
func (e *Env) Min64(a, b uint64) uint64 {
	if e.Compare64(a, b) == Less {
		return e.flushed64(a)
	}
	return e.flushed64(b)
}

// Max64 returns the greater of a and b, or b if they are both zero or either
// is a NaN (MAXSD).
func (e *Env) Max64(a, b uint64) uint64 {
	if e.Compare64(a, b) == Greater {
		return e.flushed64(a)
	}
	return e.flushed64(b)
}

// flushed64 returns a with DAZ applied.
func (e *Env) flushed64(a uint64) uint64 {
	if e.DAZ && !normal64(a) && e.unpack64(a).class == classZero {
		return a &^ (1<<63 - 1)
	}
	return a
}

// Compare64 compares a and b, raising IE if either is a NaN (COMISD).
func (e *Env) Compare64(a, b uint64) Relation { return e.compare64(a, b, true) }

// CompareQuiet64 compares a and b, raising IE only if either is an SNaN
// (UCOMISD).
func (e *Env) CompareQuiet64(a, b uint64) Relation { return e.compare64(a, b, false) }

// Predicate64 evaluates the CMPSD predicate imm&31 for a and b.
func (e *Env) Predicate64(a, b uint64, imm uint8) bool {
	return e.compare64(a, b, signals(imm)).satisfies(imm)
}

func (e *Env) compare64(a, b uint64, signalling bool) Relation {
	if ordinary64(a) && ordinary64(b) {
		return order(math.Float64frombits(a), math.Float64frombits(b))
	}
	return e.compare(e.unpack64(a), e.unpack64(b), signalling)
}

// RoundToInt64 rounds a to an integral value (ROUNDSD).  With noInexact set
// it does not raise PE.
func (e *Env) RoundToInt64(a uint64, rm RoundingMode, noInexact bool) uint64 {
	if ordinary64(a) {
		x := math.Float64frombits(a)
		r := roundNative(x, rm)
		if r != x && !noInexact {
			e.Flags |= PE
		}
		return math.Float64bits(r)
	}
	return pack64(e.roundToIntegral(e.unpack64(a), rm, noInexact))
}
