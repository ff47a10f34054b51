package softfloat

import "math"

// normal32 tells whether a is a normal number.
func normal32(a uint32) bool { return a>>23&0xff-1 < 0xfe }

// ordinary32 tells whether a is a normal number or zero.
func ordinary32(a uint32) bool { return normal32(a) || a<<1 == 0 }

// safe32 tells whether the result r of host arithmetic on normal numbers is
// beyond doubt.  The least normal exponent is left out: a result there may
// have been tiny before it was rounded.
func safe32(r uint32) bool { return r>>23&0xff-2 < 0xfd }

// Add32 returns a+b (ADDSS).
func (e *Env) Add32(a, b uint32) uint32 {
	if e.native() && ordinary32(a) && ordinary32(b) {
		r := math.Float32bits(math.Float32frombits(a) + math.Float32frombits(b))
		// Sums that cancel to zero are exact.
		if safe32(r) || r<<1 == 0 {
			return r
		}
	}
	return pack32(e.add(&binary32, e.unpack32(a), e.unpack32(b)))
}

// Sub32 returns a-b (SUBSS).
func (e *Env) Sub32(a, b uint32) uint32 {
	if e.native() && ordinary32(a) && ordinary32(b) {
		r := math.Float32bits(math.Float32frombits(a) - math.Float32frombits(b))
		if safe32(r) || r<<1 == 0 {
			return r
		}
	}
	return pack32(e.add(&binary32, e.unpack32(a), e.unpack32(b).negated()))
}

// Mul32 returns a*b (MULSS).
func (e *Env) Mul32(a, b uint32) uint32 {
	if e.native() && normal32(a) && normal32(b) {
		r := math.Float32bits(math.Float32frombits(a) * math.Float32frombits(b))
		if safe32(r) {
			return r
		}
	}
	return pack32(e.mul(&binary32, e.unpack32(a), e.unpack32(b)))
}

// Div32 returns a/b (DIVSS).
func (e *Env) Div32(a, b uint32) uint32 {
	if e.native() && normal32(a) && normal32(b) {
		r := math.Float32bits(math.Float32frombits(a) / math.Float32frombits(b))
		if safe32(r) {
			return r
		}
	}
	return pack32(e.div(&binary32, e.unpack32(a), e.unpack32(b)))
}

// Sqrt32 returns the square root of a (SQRTSS).
func (e *Env) Sqrt32(a uint32) uint32 {
	if e.native() && normal32(a) && a>>31 == 0 {
		return math.Float32bits(float32(math.Sqrt(float64(math.Float32frombits(a)))))
	}
	return pack32(e.sqrt(&binary32, e.unpack32(a)))
}

// FMA32 returns a*b+c rounded once, with the signs op asks for.  See [FMAOp]
// for which operand of the instruction is which.
func (e *Env) FMA32(a, b, c uint32, op FMAOp) uint32 {
	if e.native() && normal32(a) && normal32(b) && ordinary32(c) {
		x, y, z := math.Float32frombits(a), math.Float32frombits(b), math.Float32frombits(c)
		if op&NegProduct != 0 {
			x = -x
		}
		if op&NegAddend != 0 {
			z = -z
		}
		sum := addToOdd(float64(float64(x)*float64(y)), float64(z))
		if r := math.Float32bits(float32(sum)); safe32(r) {
			return r
		}
	}
	return pack32(e.fma(&binary32, e.unpack32(a), e.unpack32(b), e.unpack32(c), op))
}

// Min32 returns the lesser of a and b, or b if they are both zero or either
// is a NaN (MINSS).
func (e *Env) Min32(a, b uint32) uint32 {
	if e.Compare32(a, b) == Less {
		return e.flushed32(a)
	}
	return e.flushed32(b)
}

// Max32 returns the greater of a and b, or b if they are both zero or either
// is a NaN (MAXSS).
func (e *Env) Max32(a, b uint32) uint32 {
	if e.Compare32(a, b) == Greater {
		return e.flushed32(a)
	}
	return e.flushed32(b)
}

// flushed32 returns a with DAZ applied.
func (e *Env) flushed32(a uint32) uint32 {
	if e.DAZ && !normal32(a) && e.unpack32(a).class == classZero {
		return a &^ (1<<31 - 1)
	}
	return a
}

// Compare32 compares a and b, raising IE if either is a NaN (COMISS).
func (e *Env) Compare32(a, b uint32) Relation { return e.compare32(a, b, true) }

// CompareQuiet32 compares a and b, raising IE only if either is an SNaN
// (UCOMISS).
func (e *Env) CompareQuiet32(a, b uint32) Relation { return e.compare32(a, b, false) }

// Predicate32 evaluates the CMPSS predicate imm&31 for a and b.
func (e *Env) Predicate32(a, b uint32, imm uint8) bool {
	return e.compare32(a, b, signals(imm)).satisfies(imm)
}

func (e *Env) compare32(a, b uint32, signalling bool) Relation {
	if ordinary32(a) && ordinary32(b) {
		return order(math.Float32frombits(a), math.Float32frombits(b))
	}
	return e.compare(e.unpack32(a), e.unpack32(b), signalling)
}

// RoundToInt32 rounds a to an integral value (ROUNDSS).  With noInexact set
// it does not raise PE.
func (e *Env) RoundToInt32(a uint32, rm RoundingMode, noInexact bool) uint32 {
	if ordinary32(a) {
		x := float64(math.Float32frombits(a))
		r := roundNative(x, rm)
		if r != x && !noInexact {
			e.Flags |= PE
		}
		return math.Float32bits(float32(r))
	}
	return pack32(e.roundToIntegral(e.unpack32(a), rm, noInexact))
}
