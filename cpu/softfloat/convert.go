package softfloat

import (
	"math"
	"math/bits"
)

// Conversions between the SSE formats.

// F32ToF64 widens a (CVTSS2SD).
func (e *Env) F32ToF64(a uint32) uint64 {
	if ordinary32(a) {
		return math.Float64bits(float64(math.Float32frombits(a)))
	}
	return pack64(e.convert(&binary64, e.unpack32(a)))
}

// F64ToF32 narrows a (CVTSD2SS).
func (e *Env) F64ToF32(a uint64) uint32 {
	if e.native() && normal64(a) {
		if r := math.Float32bits(float32(math.Float64frombits(a))); safe32(r) {
			return r
		}
	}
	return pack32(e.convert(&binary32, e.unpack64(a)))
}

// F16ToF32 widens a (VCVTPH2PS).  The instruction knows neither DAZ nor DE.
func (e *Env) F16ToF32(a uint16) uint32 {
	n := unpack(&binary16, uint64(a))
	n.denorm = false
	return pack32(e.convert(&binary32, n))
}

// F32ToF16 narrows a by rounding mode rm (VCVTPS2PH).  The instruction does
// not know FTZ.
func (e *Env) F32ToF16(a uint32, rm RoundingMode) uint16 {
	return uint16(e.convertBy(rm, &binary16, e.unpack32(a)).pack(&binary16))
}

// convert delivers n in format f.
func (e *Env) convert(f *format, n num) num { return e.convertBy(e.Round, f, n) }

func (e *Env) convertBy(rm RoundingMode, f *format, n num) num {
	switch {
	case n.isNaN():
		return e.nan1(n)
	case e.denormal(n.denorm):
		return zero(false)
	case n.class != classFinite:
		return n
	}
	return e.roundBy(rm, f, n.wide())
}

// Conversions from integers.

// I32ToF32 converts a (CVTSI2SS).
func (e *Env) I32ToF32(a int32) uint32 { return e.I64ToF32(int64(a)) }

// I64ToF32 converts a (CVTSI2SS).
func (e *Env) I64ToF32(a int64) uint32 {
	if e.native() {
		return math.Float32bits(float32(a))
	}
	return pack32(e.fromInt(&binary32, a))
}

// U32ToF32 converts a (VCVTUSI2SS).
func (e *Env) U32ToF32(a uint32) uint32 { return pack32(e.fromUint(&binary32, uint64(a), false)) }

// U64ToF32 converts a (VCVTUSI2SS).
func (e *Env) U64ToF32(a uint64) uint32 { return pack32(e.fromUint(&binary32, a, false)) }

// I32ToF64 converts a, always exactly (CVTSI2SD).
func (e *Env) I32ToF64(a int32) uint64 { return math.Float64bits(float64(a)) }

// I64ToF64 converts a (CVTSI2SD).
func (e *Env) I64ToF64(a int64) uint64 {
	if e.native() {
		return math.Float64bits(float64(a))
	}
	return pack64(e.fromInt(&binary64, a))
}

// U32ToF64 converts a, always exactly (VCVTUSI2SD).
func (e *Env) U32ToF64(a uint32) uint64 { return math.Float64bits(float64(a)) }

// U64ToF64 converts a (VCVTUSI2SD).
func (e *Env) U64ToF64(a uint64) uint64 { return pack64(e.fromUint(&binary64, a, false)) }

func (e *Env) fromInt(f *format, a int64) num {
	if a < 0 {
		return e.fromUint(f, -uint64(a), true)
	}
	return e.fromUint(f, uint64(a), false)
}

func (e *Env) fromUint(f *format, a uint64, neg bool) num {
	n := integer(a, neg)
	if n.class == classZero {
		return n
	}
	return e.round(f, n.wide())
}

// integer returns the integer of magnitude a as a num.
func integer(a uint64, neg bool) num {
	if a == 0 {
		return zero(false)
	}
	shift := bits.LeadingZeros64(a)
	return num{class: classFinite, neg: neg, mant: a << shift, exp: 63 - int32(shift)}
}

// Conversions to integers.  Each raises IE and returns the integer indefinite
// (0x80... if signed, all ones if unsigned) for NaNs and values out of range.
// None raises DE.  Pass Env.Round for the rounding forms of the instructions
// and RoundZero for the truncating ones.

// F32ToI32 converts a (CVTSS2SI, CVTTSS2SI).
func (e *Env) F32ToI32(a uint32, rm RoundingMode) int32 {
	if x := math.Float32frombits(a); ordinary32(a) && math.Abs(float64(x)) < 1<<31 {
		if i := int32(x); float32(i) == x {
			return i
		} else if rm == RoundZero {
			e.Flags |= PE
			return i
		}
	}
	return int32(e.toInt(e.unpack32(a), rm, 32))
}

// F32ToI64 converts a (CVTSS2SI, CVTTSS2SI).
func (e *Env) F32ToI64(a uint32, rm RoundingMode) int64 {
	if x := math.Float32frombits(a); ordinary32(a) && math.Abs(float64(x)) < 1<<63 {
		if i := int64(x); float32(i) == x {
			return i
		} else if rm == RoundZero {
			e.Flags |= PE
			return i
		}
	}
	return e.toInt(e.unpack32(a), rm, 64)
}

// F32ToU32 converts a (VCVTSS2USI, VCVTTSS2USI).
func (e *Env) F32ToU32(a uint32, rm RoundingMode) uint32 {
	return uint32(e.toUint(e.unpack32(a), rm, 32))
}

// F32ToU64 converts a (VCVTSS2USI, VCVTTSS2USI).
func (e *Env) F32ToU64(a uint32, rm RoundingMode) uint64 {
	return e.toUint(e.unpack32(a), rm, 64)
}

// F64ToI32 converts a (CVTSD2SI, CVTTSD2SI).
func (e *Env) F64ToI32(a uint64, rm RoundingMode) int32 {
	if x := math.Float64frombits(a); ordinary64(a) && math.Abs(x) < 1<<31 {
		if i := int32(x); float64(i) == x {
			return i
		} else if rm == RoundZero {
			e.Flags |= PE
			return i
		}
	}
	return int32(e.toInt(e.unpack64(a), rm, 32))
}

// F64ToI64 converts a (CVTSD2SI, CVTTSD2SI).
func (e *Env) F64ToI64(a uint64, rm RoundingMode) int64 {
	if x := math.Float64frombits(a); ordinary64(a) && math.Abs(x) < 1<<63 {
		if i := int64(x); float64(i) == x {
			return i
		} else if rm == RoundZero {
			e.Flags |= PE
			return i
		}
	}
	return e.toInt(e.unpack64(a), rm, 64)
}

// F64ToU32 converts a (VCVTSD2USI, VCVTTSD2USI).
func (e *Env) F64ToU32(a uint64, rm RoundingMode) uint32 {
	return uint32(e.toUint(e.unpack64(a), rm, 32))
}

// F64ToU64 converts a (VCVTSD2USI, VCVTTSD2USI).
func (e *Env) F64ToU64(a uint64, rm RoundingMode) uint64 {
	return e.toUint(e.unpack64(a), rm, 64)
}

// toInt converts n to a signed integer of the given width.
func (e *Env) toInt(n num, rm RoundingMode, width uint) int64 {
	limit := uint64(1) << (width - 1)
	mag, r, ok := magnitude(n, rm)
	if !ok || mag > limit || mag == limit && !n.neg {
		e.Flags |= IE
		return -1 << (width - 1)
	}
	e.inexact(r)
	if n.neg {
		return int64(-mag)
	}
	return int64(mag)
}

// toUint converts n to an unsigned integer of the given width.
func (e *Env) toUint(n num, rm RoundingMode, width uint) uint64 {
	limit := ^uint64(0) >> (64 - width)
	mag, r, ok := magnitude(n, rm)
	if !ok || mag > limit || n.neg && mag != 0 {
		e.Flags |= IE
		return limit
	}
	e.inexact(r)
	return mag
}

// magnitude rounds n to an integer.  It fails for what is not finite and for
// magnitudes of 2^64 or more.
func magnitude(n num, rm RoundingMode) (mag uint64, r rounded, ok bool) {
	var rest uint64
	switch {
	case n.class == classZero:
		return 0, r, true
	case n.class != classFinite || n.exp > 63:
		return 0, r, false
	case n.exp < -1:
		rest = 1 // less than a half
	case n.exp == -1:
		rest = n.mant
	default:
		mag, rest = n.mant>>(63-n.exp), n.mant<<(n.exp+1)
	}
	r.inexact = rest != 0
	if increments(rm, n.neg, mag&1 != 0, rest) {
		r.up = true
		mag++ // cannot overflow: with 64 bits in mag none are in rest
	}
	return mag, r, true
}

// roundToIntegral rounds n to an integral value of the same format.  The sign
// survives even if the value becomes zero.
func (e *Env) roundToIntegral(n num, rm RoundingMode, noInexact bool) num {
	switch {
	case n.isNaN():
		return e.nan1(n)
	case n.class != classFinite || n.exp >= 63:
		return n
	}
	mag, r, _ := magnitude(n, rm)
	e.RoundedUp = r.up
	if r.inexact && !noInexact {
		e.Flags |= PE
	}
	if mag == 0 {
		return zero(n.neg)
	}
	return integer(mag, n.neg)
}
