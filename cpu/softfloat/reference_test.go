package softfloat

import (
	"fmt"
	"math/big"
	"testing"
)

// refPrec is the precision of reference results; it holds the exact sums and
// products of nearby numbers and is ample for everything else.
const refPrec = 400

func bigMode(rm RoundingMode) big.RoundingMode {
	return [...]big.RoundingMode{
		RoundNearest: big.ToNearestEven,
		RoundDown:    big.ToNegativeInf,
		RoundUp:      big.ToPositiveInf,
		RoundZero:    big.ToZero,
	}[rm]
}

// bigOf returns a finite n exactly.
func bigOf(n num) *big.Float {
	x := new(big.Float).SetPrec(refPrec)
	if n.class == classFinite {
		x.SetUint64(n.mant)
		x.SetMantExp(x, int(n.exp)-63)
	}
	if n.neg {
		x.Neg(x)
	}
	return x
}

// withSticky returns x, which was rounded toward zero if it is inexact, with
// one more bit that says so.
func withSticky(x *big.Float, inexact bool) *big.Float {
	if !inexact {
		return x
	}
	prec := x.Prec()
	tiny := new(big.Float).SetMantExp(big.NewFloat(0.5), x.MantExp(nil)-int(prec))
	if x.Signbit() {
		tiny.Neg(tiny)
	}
	return new(big.Float).SetPrec(prec+2).Add(x, tiny)
}

// refRound rounds x to format f as IEEE 754 prescribes, with tininess
// detected after rounding, and returns the flags that raises.
func refRound(f *format, rm RoundingMode, x *big.Float) (num, Flags) {
	var flags Flags
	round := func(prec uint) *big.Float {
		r := new(big.Float).SetPrec(prec).SetMode(bigMode(rm)).Set(x)
		if r.Acc() != big.Exact {
			flags |= PE
		}
		return r
	}
	r := round(f.prec)
	exp := int32(r.MantExp(nil) - 1)
	switch {
	case exp > f.emax:
		away := rm == RoundNearest || rm == RoundUp && !r.Signbit() || rm == RoundDown && r.Signbit()
		if away {
			return infinity(r.Signbit()), OE | PE
		}
		return num{class: classFinite, neg: r.Signbit(), exp: f.emax, mant: ^uint64(0) << (64 - f.prec)}, OE | PE
	case exp < f.emin:
		flags = 0
		// Rounding to a multiple of the least denormal: adding a number of
		// the right magnitude puts the last place where it belongs.
		anchor := new(big.Float).SetMantExp(big.NewFloat(1), int(f.emin)+1)
		if x.Signbit() {
			anchor.Neg(anchor)
		}
		wide := new(big.Float).SetPrec(1<<16).Add(x, anchor)
		r = new(big.Float).SetPrec(f.prec + 1).SetMode(bigMode(rm)).Set(wide)
		if r.Cmp(wide) != 0 {
			flags = UE | PE
		}
		r.Sub(r, anchor)
		if r.Sign() == 0 {
			return zero(x.Signbit()), flags
		}
	}
	n := num{class: classFinite, neg: r.Signbit(), exp: int32(r.MantExp(nil) - 1)}
	m := new(big.Float).SetMantExp(new(big.Float).Abs(r), 63-int(n.exp))
	n.mant, _ = m.Uint64()
	return n, flags
}

// TestArithmeticAgainstBig checks the basic operations in every format and
// rounding mode.
func TestArithmeticAgainstBig(t *testing.T) {
	o := newOperands(7)
	formats := []*format{&binary32, &binary64, &ext64, &ext53, &ext24}
	count := 0
	for i := range 40 * rounds() {
		f := formats[i%len(formats)]
		draw := func(near num) num {
			switch {
			case f == &binary32:
				return unpack(f, o.f32(near.pack(f)))
			case f == &binary64:
				return unpack(f, o.f64(near.pack(f)))
			}
			return unpack80(o.f80(pack80(near)))
		}
		a := draw(zero(false))
		b := draw(a)
		c := draw(b)
		if a.class != classFinite || b.class != classFinite || c.class != classFinite {
			continue
		}
		x, y, z := bigOf(a), bigOf(b), bigOf(c)
		rm := RoundingMode(o.IntN(4))
		check := func(op string, got func(e *Env) num, want *big.Float) {
			if want.Sign() == 0 {
				return
			}
			count++
			e := Env{Round: rm, Masks: AllExceptions}
			g := got(&e)
			w, flags := refRound(f, rm, want)
			if a.denorm || b.denorm && op != "sqrt" || c.denorm && op == "fma" {
				flags |= DE
			}
			if g != w || e.Flags != flags {
				t.Errorf("%s %d-bit rm %d: %+v, %+v, %+v: got %+v flags %#x, want %+v flags %#x",
					op, f.prec, rm, a, b, c, g, e.Flags, w, flags)
			}
		}
		exact := func() *big.Float { return new(big.Float).SetPrec(1 << 16) }
		truncated := func() *big.Float { return new(big.Float).SetPrec(refPrec).SetMode(big.ToZero) }
		check("add", func(e *Env) num { return e.add(f, a, b) }, exact().Add(x, y))
		check("mul", func(e *Env) num { return e.mul(f, a, b) }, exact().Mul(x, y))
		q := truncated().Quo(x, y)
		check("div", func(e *Env) num { return e.div(f, a, b) }, withSticky(q, q.Acc() != big.Exact))
		if !f.x87 {
			p := exact().Mul(x, y)
			check("fma", func(e *Env) num { return e.fma(f, a, b, c, MulAdd) }, p.Add(p, z))
		}
		if !a.neg {
			r := truncated().Sqrt(x)
			if sq := exact().Mul(r, r); sq.Cmp(x) > 0 {
				// Sqrt rounds to nearest only.
				ulp := new(big.Float).SetMantExp(big.NewFloat(1), r.MantExp(nil)-refPrec)
				r.Sub(r, ulp)
			}
			check("sqrt", func(e *Env) num { return e.sqrt(f, a) }, withSticky(r, exact().Mul(r, r).Cmp(x) != 0))
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d results", count)
}

// The reference for the transcendental functions: Taylor series in refPrec
// bits after crude argument reduction.

func newBig(x float64) *big.Float { return new(big.Float).SetPrec(refPrec).SetFloat64(x) }

// series sums first + first*ratio(1) + first*ratio(1)*ratio(2) + ...
func series(first *big.Float, ratio func(k int64, term *big.Float)) *big.Float {
	sum := newBig(0).Set(first)
	term := newBig(0).Set(first)
	for k := int64(1); term.Sign() != 0 && term.MantExp(nil) > first.MantExp(nil)-refPrec; k++ {
		ratio(k, term)
		sum.Add(sum, term)
	}
	return sum
}

func quo(term *big.Float, k int64) { term.Quo(term, newBig(float64(k))) }

func refSin(x *big.Float) *big.Float {
	z := newBig(0).Mul(x, x)
	z.Neg(z)
	return series(x, func(k int64, term *big.Float) { term.Mul(term, z); quo(term, 2*k*(2*k+1)) })
}

func refCos(x *big.Float) *big.Float {
	z := newBig(0).Mul(x, x)
	z.Neg(z)
	return series(newBig(1), func(k int64, term *big.Float) { term.Mul(term, z); quo(term, 2*k*(2*k-1)) })
}

// refAtanh returns atanh(x), or atan(x) if sign is -1.
func refAtanh(x *big.Float, sign float64) *big.Float {
	z := newBig(0).Mul(x, x)
	z.Mul(z, newBig(sign))
	power := newBig(0).Set(x)
	return series(x, func(k int64, term *big.Float) {
		power.Mul(power, z)
		term.Set(power)
		quo(term, 2*k+1)
	})
}

func refAtan(x *big.Float) *big.Float {
	// Halve the angle until the series converges.
	halvings := 0
	for x.MantExp(nil) > -4 {
		root := newBig(1).Add(newBig(1), newBig(0).Mul(x, x))
		root.Sqrt(root).Add(root, newBig(1))
		x = newBig(0).Quo(x, root)
		halvings++
	}
	r := refAtanh(x, -1)
	return r.SetMantExp(r, halvings)
}

// refLog1p returns ln(1+x) for |x| up to about a half.
func refLog1p(x *big.Float) *big.Float {
	r := refAtanh(newBig(0).Quo(x, newBig(0).Add(x, newBig(2))), 1)
	return r.Mul(r, newBig(2))
}

func refLn2() *big.Float {
	r := refAtanh(newBig(0).Quo(newBig(1), newBig(3)), 1)
	return r.Mul(r, newBig(2))
}

// refPi returns pi.
func refPi() *big.Float { r := refAtan(newBig(1)); return r.SetMantExp(r, 2) }

// refSinCos returns the sine and cosine of x, taking the hardware's pi for
// the period.
func refSinCos(x *big.Float) (sin, cos *big.Float) {
	quarter := new(big.Float).SetPrec(66).SetMode(big.ToZero).Set(refPi())
	quarter.SetMantExp(quarter, -1)
	half := newBig(0.5)
	if x.Signbit() {
		half.Neg(half)
	}
	ratio := newBig(0).Quo(x, quarter)
	n, _ := ratio.Add(ratio, half).Int(nil)
	x = newBig(0).Sub(x, newBig(0).Mul(newBig(0).SetInt(n), quarter))
	sin, cos = refSin(x), refCos(x)
	for range n.Mod(n, big.NewInt(4)).Int64() {
		sin, cos = cos, sin.Neg(sin)
	}
	return sin, cos
}

// TestTranscendentalsAgainstBig checks that the functions round correctly in
// every mode.
func TestTranscendentalsAgainstBig(t *testing.T) {
	o := newOperands(9)
	moderate := func(lo, hi int) F80 {
		return F80{o.fraction(63) | 1<<63, uint16(o.Uint64()&1<<15) | uint16(16383+lo+o.IntN(hi-lo+1))}
	}
	ln2, p := refLn2(), refPi()
	count := 0
	check := func(op string, rm RoundingMode, args string, got F80, flags Flags, want *big.Float) {
		t.Helper()
		w, wantFlags := refRound(&ext64, rm, want)
		count++
		if got != pack80(w) || flags != wantFlags|PE {
			t.Errorf("%s rm %d %s: got %x flags %#x, want %x flags %#x", op, rm, args, got, flags, pack80(w), wantFlags)
		}
	}
	for i := range rounds() / 2 {
		rm := RoundingMode(o.IntN(4))
		env := func() *Env { return &Env{Round: rm, Masks: AllExceptions} }
		{
			a := moderate(-70, 6+i%57)
			sin, cos := refSinCos(bigOf(unpack80(a)))
			args := fmt.Sprintf("%x", a)
			e := env()
			r, _ := e.Sin80(a)
			check("sin", rm, args, r, e.Flags, sin)
			e = env()
			r, _ = e.Cos80(a)
			check("cos", rm, args, r, e.Flags, cos)
			e = env()
			r, _ = e.Tan80(a)
			check("tan", rm, args, r, e.Flags, newBig(0).Quo(sin, cos))
		}
		{
			y, x := moderate(-50, 50), moderate(-50, 50)
			if i%2 == 0 {
				y, x = moderate(-3, 3), moderate(-3, 3)
			}
			angle := refAtan(newBig(0).Quo(bigOf(unpack80(y.Abs())), bigOf(unpack80(x.Abs()))))
			if x.Signbit() {
				angle.Sub(p, angle)
			}
			if y.Signbit() {
				angle.Neg(angle)
			}
			e := env()
			check("atan", rm, fmt.Sprintf("%x, %x", y, x), e.Atan80(y, x), e.Flags, angle)
		}
		{
			a := moderate(-70, -1)
			x := newBig(0).Mul(bigOf(unpack80(a)), ln2)
			want := series(x, func(k int64, term *big.Float) { term.Mul(term, x); quo(term, k+1) })
			e := env()
			check("f2xm1", rm, fmt.Sprintf("%x", a), e.Exp2m1(a), e.Flags, want)
		}
		{
			y, x := moderate(-40, 40), moderate(-70, 70).Abs()
			if i%2 == 0 {
				x.SE = 16382 + uint16(i/2%2)
			}
			n := unpack80(x)
			k := n.exp
			n.exp = 0
			m := bigOf(n)
			if m.Cmp(newBig(1.5)) > 0 {
				k++
				m.SetMantExp(m, -1)
			}
			log := refLog1p(m.Sub(m, newBig(1)))
			log.Quo(log, ln2).Add(log, newBig(float64(k)))
			if log.Sign() != 0 {
				e := env()
				check("fyl2x", rm, fmt.Sprintf("%x, %x", y, x), e.YLog2X(y, x), e.Flags, log.Mul(log, bigOf(unpack80(y))))
			}
		}
		{
			y, x := moderate(-40, 40), moderate(-70, -2)
			log := refLog1p(bigOf(unpack80(x)))
			log.Quo(log, ln2)
			e := env()
			check("fyl2xp1", rm, fmt.Sprintf("%x, %x", y, x), e.YLog2XP1(y, x), e.Flags, log.Mul(log, bigOf(unpack80(y))))
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d results", count)
}
