package softfloat

// The transcendental instructions (SDM vol. 1, section 8.3).  They work with
// at least 120 good bits and round once, to 64 bits whatever the precision
// control, so that the error is hardly ever more than half a unit in the last
// place.  Like the processor's, they report every result they have to compute
// as inexact, even the few that are exact.

// Constants, rounded to 128 bits.
var (
	pi       = wide{hi: 0xc90fdaa22168c234, lo: 0xc4c6628b80dc1cd1, exp: 1}
	lnOf2    = wide{hi: 0xb17217f7d1cf79ab, lo: 0xc9e3b39803f2f6af, exp: -1}
	log2OfE  = wide{hi: 0xb8aa3b295c17f0bb, lo: 0xbe87fed0691d3e89, exp: 0}
	log2Of10 = wide{hi: 0xd49a784bcd1b8afe, lo: 0x492bf6ff4dafdb4d, exp: 1}
	log10Of2 = wide{hi: 0x9a209a84fbcff798, lo: 0x8f8959ac0b7c9178, exp: -2}
	wideOne  = wide{hi: integerBit}

	// arctangents holds atan(i/8).
	arctangents = [9]wide{
		{},
		{hi: 0xfeadd4d5617b6e32, lo: 0xc897989f3e888ef8, exp: -4},
		{hi: 0xfadbafc96406eb15, lo: 0x6dc79ef5f7a217e6, exp: -3},
		{hi: 0xb7b0ca0f26f78473, lo: 0x8aa32122dcfe4483, exp: -2},
		{hi: 0xed63382b0dda7b45, lo: 0x6fe445ecbc3a8d03, exp: -2},
		{hi: 0x8f005d5ef7f59f9b, lo: 0x5c835e1665c43748, exp: -1},
		{hi: 0xa4bc7d1934f70924, lo: 0x19a87f2a457dac9f, exp: -1},
		{hi: 0xb8053e2bc2319e73, lo: 0xcb2da55210a4443d, exp: -1},
		{hi: 0xc90fdaa22168c234, lo: 0xc4c6628b80dc1cd1, exp: -1},
	}
)

// irrational rounds a result that cannot be exact.
func (e *Env) irrational(w wide) num {
	w.lo |= 1
	return e.round(&ext64, w)
}

// Trigonometric functions.

// Sin80 returns the sine of a (FSIN).  It returns a and false, for C2, if the
// magnitude of a is 2^63 or more.
func (e *Env) Sin80(a F80) (sin F80, ok bool) {
	n, r, ok := e.trigOperand(a)
	switch {
	case !ok:
		return a, false
	case n.class != classFinite:
		return pack80(n), true
	}
	return pack80(e.irrational(r.sin())), true
}

// Cos80 returns the cosine of a (FCOS).  It returns a and false, for C2, if
// the magnitude of a is 2^63 or more.
func (e *Env) Cos80(a F80) (cos F80, ok bool) {
	n, r, ok := e.trigOperand(a)
	switch {
	case !ok:
		return a, false
	case n.class == classZero:
		return I64ToF80(1), true
	case n.class != classFinite:
		return pack80(n), true
	}
	return pack80(e.irrational(r.cos())), true
}

// SinCos80 returns the sine and cosine of a (FSINCOS).  It returns false, for
// C2, if the magnitude of a is 2^63 or more.
func (e *Env) SinCos80(a F80) (sin, cos F80, ok bool) {
	n, r, ok := e.trigOperand(a)
	switch {
	case !ok:
		return a, a, false
	case n.class == classZero:
		return a, I64ToF80(1), true
	case n.class != classFinite:
		return pack80(n), pack80(n), true
	}
	sin = pack80(e.irrational(r.sin()))
	cos = pack80(e.irrational(r.cos()))
	return sin, cos, true
}

// Tan80 returns the tangent of a (FPTAN).  The 1 the instruction pushes
// besides is left to the caller, who should push the result instead if that
// is a NaN.  Tan80 returns a and false, for C2, if the magnitude of a is 2^63
// or more.
func (e *Env) Tan80(a F80) (tan F80, ok bool) {
	n, r, ok := e.trigOperand(a)
	switch {
	case !ok:
		return a, false
	case n.class != classFinite:
		return pack80(n), true
	}
	return pack80(e.irrational(r.tan())), true
}

// trigOperand unpacks a and, if it is finite, reduces it.  Other classes than
// zero and finite are final results.
func (e *Env) trigOperand(a F80) (n num, r angle, ok bool) {
	e.RoundedUp = false
	n = unpack80(a)
	switch {
	case n.isNaN():
		return e.nan1(n), r, true
	case n.class == classInf:
		return e.invalid(), r, true
	case n.class == classZero:
		return n, r, true
	case n.exp >= 63:
		return n, r, false
	}
	if e.denormal(n.denorm) {
		return indefinite(), r, true
	}
	return n, reduceAngle(n), true
}

// angle is rest + quadrant * pi/2 with |rest| at most pi/4.
type angle struct {
	rest     wide
	quadrant uint8
}

// reduceAngle reduces a finite n below 2^63 in magnitude by the 66-bit
// approximation of pi that the processor uses (SDM vol. 1, section 8.3.8).
// Remainders are exact.
func reduceAngle(n num) angle {
	if n.exp < -1 {
		return angle{rest: n.wide()} // below 1/2
	}
	// Count in units of 2^-65, which make pi/2 an integer.
	const piHi, piLo = 3, 0x243f6a8885a308d3
	hi, lo := shiftRight(n.mant, 0, uint32(62-n.exp))
	var quadrant uint8
	for shift := 62; shift >= 0; shift-- {
		// The shifted divisor does not exceed 128 bits: pi/2 takes 66.
		dhi, dlo := uint64(piHi)<<shift|uint64(piLo)>>(64-shift), uint64(piLo)<<shift
		quadrant <<= 1
		if hi > dhi || hi == dhi && lo >= dlo {
			hi, lo = sub128(hi, lo, dhi, dlo)
			quadrant |= 1
		}
	}
	neg := false
	if dhi, dlo := sub128(piHi, piLo, hi, lo); dhi < hi || dhi == hi && dlo < lo {
		hi, lo, neg = dhi, dlo, true
		quadrant++
	}
	if n.neg {
		neg = !neg
		quadrant = -quadrant
	}
	const exp = 127 - 65
	return angle{rest: normalize(neg, exp, hi, lo), quadrant: quadrant & 3}
}

// sin returns the sine of r.
func (r angle) sin() wide {
	w := sinSeries(r.rest)
	if r.quadrant&1 != 0 {
		w = cosSeries(r.rest)
	}
	w.neg = w.neg != (r.quadrant&2 != 0)
	return w
}

// cos returns the cosine of r.
func (r angle) cos() wide {
	r.quadrant++
	return r.sin()
}

// tan returns the tangent of r.
func (r angle) tan() wide {
	if r.quadrant == 0 && r.rest.exp < -60 {
		// The excess over the argument is below what a quotient of truncated
		// series can show.
		return r.rest
	}
	return r.sin().div(r.cos())
}

// sinSeries sums the Taylor series of the sine for |a| up to pi/4.
func sinSeries(a wide) wide {
	const terms = 17
	z := a.mul(a).fraction()
	sum := fraction{}.complement()
	for k := uint64(2 * terms); k > 0; k -= 2 {
		sum = z.mul(sum).over(k * (k + 1)).complement()
	}
	return a.mul(sum.wide())
}

// cosSeries sums the Taylor series of the cosine for |a| up to pi/4.
func cosSeries(a wide) wide {
	const terms = 17
	z := a.mul(a).fraction()
	sum := fraction{}.complement()
	for k := uint64(2 * terms); k > 0; k -= 2 {
		sum = z.mul(sum).over(k * (k - 1)).complement()
	}
	return sum.wide()
}

// Atan80 returns the angle of the point (x, y), between -pi and pi (FPATAN
// with ST(1) = y and ST(0) = x; special operands as in SDM vol. 2, FPATAN).
func (e *Env) Atan80(y, x F80) F80 {
	e.RoundedUp = false
	return pack80(e.atan(unpack80(y), unpack80(x)))
}

func (e *Env) atan(y, x num) num {
	if y.isNaN() || x.isNaN() {
		return e.nan2(&ext64, x, y)
	}
	if e.denormal(y.denorm || x.denorm) {
		return zero(false)
	}
	var w wide // the angle of (|x|, |y|)
	switch {
	case y.class == classInf && x.class == classInf:
		w = pi.scaled(-2)
	case y.class == classInf || x.class == classZero && y.class != classZero:
		w = pi.scaled(-1)
	case x.class == classInf || y.class == classZero:
		if !x.neg {
			return zero(y.neg)
		}
	default:
		w = atanRatio(y.wide(), x.wide())
	}
	if x.neg {
		w = pi.add(w.negated())
	}
	w.neg = y.neg
	return e.irrational(w)
}

// atanRatio returns atan(|y/x|).
func atanRatio(y, x wide) wide {
	y.neg, x.neg = false, false
	if y.exp > x.exp || y.exp == x.exp && y.hi > x.hi {
		return pi.scaled(-1).add(atanRatio(x, y).negated())
	}
	t := y.div(x)
	// atan(t) = atan(c) + atan((t-c)/(1+tc)) for a c within 1/16 of t.
	i := uint64(8)
	if t.exp < 0 {
		i = (t.fraction().hi>>60 + 1) >> 1
	}
	if i != 0 {
		c := normalize(false, 60, i, 0)
		t = t.add(c.negated()).div(wideOne.add(t.mul(c)))
	}
	return arctangents[i].add(atanSeries(t))
}

// atanSeries sums the Taylor series of the arctangent for |a| up to 1/16.
func atanSeries(a wide) wide {
	const terms = 15
	z := a.mul(a).fraction()
	sum := reciprocal(2*terms + 1)
	for k := uint64(2*terms - 1); k > 1; k -= 2 {
		sum = reciprocal(k).sub(z.mul(sum))
	}
	return a.mul(z.mul(sum).complement().wide())
}

// Exponential and logarithms.

// Exp2m1 returns 2^a - 1 (F2XM1).  Beyond the documented range of -1 to 1 it
// returns a.
func (e *Env) Exp2m1(a F80) F80 {
	e.RoundedUp = false
	n := unpack80(a)
	switch {
	case n.isNaN():
		return pack80(e.nan1(n))
	case n.class == classInf && n.neg:
		return I64ToF80(-1)
	case n.class != classFinite:
		return a
	case e.denormal(n.denorm):
		return a
	case n.exp == 0 && n.mant == integerBit && n.neg: // 2^-1 - 1
		n.exp = -1
		e.Flags |= PE
		return pack80(n)
	case n.exp >= 0:
		e.Flags |= PE
		return a
	}
	return pack80(e.irrational(expm1Series(n.wide().mul(lnOf2))))
}

// expm1Series sums the Taylor series of exp(a)-1 for |a| up to ln 2.
func expm1Series(a wide) wide {
	const terms = 30
	z := a.fraction()
	var sum fraction // of (exp(a)-1)/a - 1, in magnitude
	for k := uint64(terms); k > 1; k-- {
		if a.neg {
			sum = z.mul(sum.complement()).over(k)
		} else {
			sum = z.add(z.mul(sum)).over(k)
		}
	}
	w := sum.wide()
	w.neg = a.neg
	return a.add(a.mul(w))
}

// YLog2X returns y * log2(x) (FYL2X with ST(1) = y and ST(0) = x; special
// operands as in SDM vol. 2, FYL2X).
func (e *Env) YLog2X(y, x F80) F80 {
	e.RoundedUp = false
	return pack80(e.yLog2X(unpack80(y), unpack80(x)))
}

func (e *Env) yLog2X(y, x num) num {
	switch {
	case y.isNaN() || x.isNaN():
		return e.nan2(&ext64, x, y)
	case x.neg && x.class != classZero:
		return e.invalid()
	}
	switch x.class {
	case classInf:
		return e.mul(&ext64, y, x)
	case classZero:
		if y.class == classFinite {
			e.Flags |= ZE
			return infinity(!y.neg)
		}
		return e.mul(&ext64, y, infinity(true))
	}
	log := x.wide().log2()
	if y.class != classFinite || log.isZero() {
		// Only the sign of the logarithm matters.
		sign := zero(false)
		if !log.isZero() {
			sign = num{class: classFinite, neg: log.neg, mant: integerBit, denorm: x.denorm}
		}
		return e.mul(&ext64, y, sign)
	}
	if e.denormal(y.denorm || x.denorm) {
		return zero(false)
	}
	if x.mant == integerBit { // a power of two, whose logarithm is exact
		r := e.round(&ext64, y.wide().mul(log))
		e.Flags |= PE
		if r.class == classZero || r.exp < ext64.emin {
			e.Flags |= UE
		}
		return r
	}
	return e.irrational(y.wide().mul(log))
}

// YLog2XP1 returns y * log2(x+1) (FYL2XP1 with ST(1) = y and ST(0) = x; special
// operands as in SDM vol. 2, FYL2XP1).  Beyond the documented range of x it is as good, and
// invalid below -1.
func (e *Env) YLog2XP1(y, x F80) F80 {
	e.RoundedUp = false
	return pack80(e.yLog2XP1(unpack80(y), unpack80(x)))
}

func (e *Env) yLog2XP1(y, x num) num {
	switch {
	case y.isNaN() || x.isNaN():
		return e.nan2(&ext64, x, y)
	case x.class == classInf && x.neg:
		return e.invalid()
	case x.class != classFinite || y.class != classFinite:
		return e.mul(&ext64, y, x) // log2(x+1) has the sign of x
	case x.neg && x.exp >= 0:
		return e.invalid()
	case e.denormal(y.denorm || x.denorm):
		return zero(false)
	}
	var log wide
	if w := x.wide(); x.exp < -2 {
		log = log2Series(w.div(w.add(wideOne.scaled(1))))
	} else {
		log = w.add(wideOne).log2()
	}
	return e.irrational(y.wide().mul(log))
}

// log2 returns the binary logarithm of a positive a.
func (a wide) log2() wide {
	// a = m * 2^k with m between sqrt(1/2) and sqrt(2).
	const sqrt2 = 0xb504f333f9de6484
	k := a.exp
	a.exp = 0
	if a.hi > sqrt2 {
		a.exp = -1
		k++
	}
	s := a.add(wideOne.negated()).div(a.add(wideOne))
	return wideInt(k).add(log2Series(s))
}

// wideInt returns k as a wide.
func wideInt(k int32) wide {
	if k < 0 {
		return normalize(true, 63, uint64(-k), 0)
	}
	return normalize(false, 63, uint64(k), 0)
}

// log2Series returns the binary logarithm of (1+s)/(1-s), that is
// 2*atanh(s)/ln(2), for |s| up to 0.172, by the Taylor series.
func log2Series(s wide) wide {
	const terms = 24
	z := s.mul(s).fraction()
	var sum fraction
	for k := uint64(2*terms + 1); k > 1; k -= 2 {
		sum = reciprocal(k).add(z.mul(sum))
	}
	atanh := s.add(s.mul(z.mul(sum).wide()))
	return atanh.mul(log2OfE).scaled(1)
}
