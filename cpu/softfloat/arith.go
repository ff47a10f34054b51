package softfloat

import (
	"math"
	"math/bits"
)

// The operations on unpacked operands.  All check, in this order, for NaNs
// and unsupported encodings, for other invalid operations and division by
// zero, and for denormal operands (SDM vol. 1, section 4.9.2).

// add returns a+b in format f.
func (e *Env) add(f *format, a, b num) num {
	if a.isNaN() || b.isNaN() {
		return e.nan2(f, a, b)
	}
	if a.class == classInf && b.class == classInf && a.neg != b.neg {
		return e.invalid()
	}
	if e.denormal(a.denorm || b.denorm) {
		return zero(false)
	}
	switch {
	case a.class == classInf:
		return a
	case b.class == classInf:
		return b
	case a.class == classZero && b.class == classZero:
		return e.zeroSum(a.neg, b.neg)
	case a.class == classZero:
		return e.round(f, b.wide())
	case b.class == classZero:
		return e.round(f, a.wide())
	}
	w := a.wide().add(b.wide())
	if w.isZero() {
		return e.zeroSum(a.neg, b.neg)
	}
	return e.round(f, w)
}

// zeroSum returns the zero that is the sum of terms with the given signs.
func (e *Env) zeroSum(aneg, bneg bool) num {
	if aneg == bneg {
		return zero(aneg)
	}
	return zero(e.Round == RoundDown)
}

// mul returns a*b in format f.
func (e *Env) mul(f *format, a, b num) num {
	if a.isNaN() || b.isNaN() {
		return e.nan2(f, a, b)
	}
	if a.class == classInf && b.class == classZero || a.class == classZero && b.class == classInf {
		return e.invalid()
	}
	if e.denormal(a.denorm || b.denorm) {
		return zero(false)
	}
	neg := a.neg != b.neg
	switch {
	case a.class == classInf || b.class == classInf:
		return infinity(neg)
	case a.class == classZero || b.class == classZero:
		return zero(neg)
	}
	return e.round(f, a.wide().mul(b.wide()))
}

// div returns a/b in format f.
func (e *Env) div(f *format, a, b num) num {
	if a.isNaN() || b.isNaN() {
		return e.nan2(f, a, b)
	}
	neg := a.neg != b.neg
	switch {
	case a.class == b.class && a.class != classFinite: // 0/0, Inf/Inf
		return e.invalid()
	case a.class == classFinite && b.class == classZero:
		e.Flags |= ZE
		return infinity(neg)
	}
	if e.denormal(a.denorm || b.denorm) {
		return zero(false)
	}
	switch {
	case a.class == classInf:
		return infinity(neg)
	case a.class == classZero || b.class == classInf:
		return zero(neg)
	}
	return e.round(f, a.wide().div(b.wide()))
}

// sqrt returns the square root of a in format f.
func (e *Env) sqrt(f *format, a num) num {
	switch {
	case a.isNaN():
		return e.nan1(a)
	case a.class == classZero:
		return a
	case a.neg:
		return e.invalid()
	case e.denormal(a.denorm):
		return zero(false)
	case a.class == classInf:
		return a
	}
	// a = m * 2^(2k) with m in [1, 4); the root of m*2^126 is an integer of
	// 64 bits.
	hi, lo := a.mant, uint64(0)
	if a.exp&1 == 0 {
		hi, lo = hi>>1, hi<<63
	}
	root, above, exact := isqrt(hi, lo)
	w := wide{hi: root, exp: a.exp >> 1}
	switch {
	case exact:
	case above:
		w.lo = 1<<63 | 1
	default:
		w.lo = 1
	}
	return e.round(f, w)
}

// isqrt returns the integer square root of hi:lo, which must be 2^126 or
// more, whether the true root is above root+1/2 and whether it is exact.
func isqrt(hi, lo uint64) (root uint64, above, exact bool) {
	// Start with 50 odd good bits; a step of Newton's method doubles them.
	// That may leave an error of a unit or two, which the remainder shows.
	est := math.Sqrt(float64(hi)) * (1 << 32)
	root = ^uint64(0)
	if est < 1<<64 {
		root = uint64(est)
	}
	if root > hi {
		q, _ := bits.Div64(hi, lo, root)
		root = average(root, q)
	}
	for {
		shi, slo := bits.Mul64(root, root)
		rlo, borrow := bits.Sub64(lo, slo, 0)
		rhi, borrow := bits.Sub64(hi, shi, borrow)
		if borrow != 0 {
			root--
			continue
		}
		// The remainder of the right root is at most 2*root.
		if rhi > root>>63 || rhi == root>>63 && rlo > root<<1 {
			root++
			continue
		}
		return root, rhi != 0 || rlo > root, rhi|rlo == 0
	}
}

// average returns (a+b)/2 without overflow.
func average(a, b uint64) uint64 { return a&b + (a^b)>>1 }

// fma returns a*b+c, rounded once, in format f.  The negations apply to the
// product and to c but not to NaNs.
func (e *Env) fma(f *format, a, b, c num, op FMAOp) num {
	if a.isNaN() || b.isNaN() || c.isNaN() {
		if a.class == classSNaN || b.class == classSNaN || c.class == classSNaN {
			e.Flags |= IE
		}
		switch {
		case a.isNaN():
			return a.quiet()
		case b.isNaN():
			return b.quiet()
		}
		return c.quiet()
	}
	if a.class == classInf && b.class == classZero || a.class == classZero && b.class == classInf {
		return e.invalid()
	}
	neg := a.neg != b.neg != (op&NegProduct != 0)
	c.neg = c.neg != (op&NegAddend != 0)
	infProduct := a.class == classInf || b.class == classInf
	if infProduct && c.class == classInf && c.neg != neg {
		return e.invalid()
	}
	if e.denormal(a.denorm || b.denorm || c.denorm) {
		return zero(false)
	}
	switch {
	case infProduct:
		return infinity(neg)
	case c.class == classInf:
		return c
	case a.class == classZero || b.class == classZero:
		if c.class == classZero {
			return e.zeroSum(neg, c.neg)
		}
		return e.round(f, c.wide())
	}
	// The product has 106 bits at most and is exact in a wide.  Bits lost in
	// aligning the smaller term lie far below the last place of the result.
	w := a.wide().mul(b.wide())
	w.neg = neg
	if c.class == classFinite {
		w = w.add(c.wide())
	}
	if w.isZero() {
		return e.zeroSum(neg, c.neg)
	}
	return e.round(f, w)
}
