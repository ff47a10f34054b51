package softfloat

import (
	"math"
	"testing"
)

// Values for the tables.
const (
	qnan64  = 0x7ff8000000000123
	qnan64b = 0xfff8000000000456
	snan64  = 0x7ff0000000000123
	snan64b = 0xfff0000000000456
	inf64   = 0x7ff0000000000000
	one64   = 0x3ff0000000000000
	tiny64  = 0x0000000000000001
	min64   = 0x0010000000000000
	max64   = 0x7fefffffffffffff
	neg64   = 1 << 63
	def64   = 0xfff8000000000000
	quiet64 = 0x0008000000000000
)

// TestNaNRules holds the SSE column of SDM vol. 1, table 4-7.
func TestNaNRules(t *testing.T) {
	for _, c := range []struct {
		a, b, want uint64
		flags      Flags
	}{
		{snan64, qnan64b, snan64 | quiet64, IE},
		{qnan64, snan64b, qnan64, IE},
		{snan64, snan64b, snan64 | quiet64, IE},
		{qnan64, qnan64b, qnan64, 0},
		{snan64, one64, snan64 | quiet64, IE},
		{one64, snan64, snan64 | quiet64, IE},
		{qnan64, one64, qnan64, 0},
		{tiny64, qnan64b, qnan64b, 0},
		{inf64, inf64 | neg64, def64, IE},
	} {
		e := FromMXCSR(0x1f80)
		if got := e.Add64(c.a, c.b); got != c.want || e.Flags != c.flags {
			t.Errorf("%#x + %#x = %#x flags %#x, want %#x flags %#x", c.a, c.b, got, e.Flags, c.want, c.flags)
		}
	}
}

// TestNaNRulesX87 holds the x87 column.
func TestNaNRulesX87(t *testing.T) {
	one := I64ToF80(1)
	q := func(payload uint64) F80 { return F80{3<<62 | payload, 0x7fff} }
	s := func(payload uint64) F80 { return F80{1<<63 | payload, 0x7fff} }
	for _, c := range []struct {
		a, b, want F80
		flags      Flags
	}{
		{s(9), q(1), q(1), IE},
		{q(1), s(9), q(1), IE},
		{s(1), s(9), q(9), IE},
		{q(9), q(1), q(9), 0},
		{q(1).Neg(), q(1), q(1), 0},
		{s(1), one, q(1), IE},
		{one, q(1), q(1), 0},
		{F80{1, 0x7fff}, q(1), Indefinite80(), IE}, // pseudo-NaN
		{one, F80{0, 0x7fff}, Indefinite80(), IE},  // pseudo-infinity
		{one, F80{1, 0x4000}, Indefinite80(), IE},  // unnormal
		{F80{1 << 63, 0}, F80{}, F80{1 << 63, 1}, DE},
	} {
		e := FromControl(0x37f)
		if got := e.Add80(c.a, c.b); got != c.want || e.Flags != c.flags {
			t.Errorf("%x + %x = %x flags %#x, want %x flags %#x", c.a, c.b, got, e.Flags, c.want, c.flags)
		}
	}
}

// TestUnmasked checks what unmasked exceptions change in SSE flags.
func TestUnmasked(t *testing.T) {
	const half = 0x3fe0000000000000
	for _, c := range []struct {
		name  string
		op    func(e *Env, a, b uint64) uint64
		a, b  uint64
		masks Flags
		flags Flags
		fault bool
	}{
		{"exact tiny, masked", (*Env).Mul64, min64, half, AllExceptions, 0, false},
		{"exact tiny", (*Env).Mul64, min64, half, AllExceptions &^ UE, UE, true},
		{"inexact tiny", (*Env).Mul64, min64 | 1, half, AllExceptions &^ UE, UE, true},
		{"denormal hides underflow", (*Env).Mul64, tiny64, half, AllExceptions &^ DE, DE, true},
		{"denormal masked", (*Env).Mul64, tiny64, half, AllExceptions, DE | UE | PE, false},
		{"overflow", (*Env).Add64, max64, max64, AllExceptions &^ OE, OE, true},
		{"zero divide", (*Env).Div64, one64, 0, AllExceptions &^ ZE, ZE, true},
		{"zero divide beats denormal", (*Env).Div64, tiny64, 0, AllExceptions, ZE, false},
		{"inexact", (*Env).Div64, one64, one64 | 1, AllExceptions &^ PE, PE, true},
	} {
		e := Env{Masks: c.masks}
		c.op(&e, c.a, c.b)
		flags, fault := e.Flags.Deliver(e.Masks)
		if flags != c.flags || fault != c.fault {
			t.Errorf("%s: flags %#x fault %v, want %#x %v", c.name, flags, fault, c.flags, c.fault)
		}
	}
}

func TestDeliver(t *testing.T) {
	for _, c := range []struct {
		raised, masks, report Flags
		fault                 bool
	}{
		{PE | UE, AllExceptions, PE | UE, false},
		{IE | PE, AllExceptions &^ IE, IE, true},
		{IE | PE, AllExceptions &^ PE, IE | PE, true},
		{0, 0, 0, false},
	} {
		report, fault := c.raised.Deliver(c.masks)
		if report != c.report || fault != c.fault {
			t.Errorf("%#x under %#x: %#x %v", c.raised, c.masks, report, fault)
		}
	}
}

// f80Of returns x as an F80.
func f80Of(x float64) F80 {
	var e Env
	e.Masks = AllExceptions
	return e.F64ToF80(math.Float64bits(x))
}

// f64Of returns a rounded to a float64.
func f64Of(a F80) float64 {
	var e Env
	e.Masks = AllExceptions
	return math.Float64frombits(e.F80ToF64(a))
}

// TestTranscendentalSpecials holds the special operands that the SDM tabulates
// under FPATAN, FYL2X and FYL2XP1 in vol. 2.
func TestTranscendentalSpecials(t *testing.T) {
	inf, negZero, nan := math.Inf(1), math.Copysign(0, -1), math.NaN()
	for _, c := range []struct {
		name       string
		op         func(e *Env, y, x F80) F80
		y, x, want float64
		flags      Flags
	}{
		{"fpatan", (*Env).Atan80, inf, -inf, 3 * math.Pi / 4, PE},
		{"fpatan", (*Env).Atan80, -inf, inf, -math.Pi / 4, PE},
		{"fpatan", (*Env).Atan80, inf, 5, math.Pi / 2, PE},
		{"fpatan", (*Env).Atan80, 5, -inf, math.Pi, PE},
		{"fpatan", (*Env).Atan80, negZero, inf, negZero, 0},
		{"fpatan", (*Env).Atan80, negZero, negZero, -math.Pi, PE},
		{"fpatan", (*Env).Atan80, 0, 0, 0, 0},
		{"fpatan", (*Env).Atan80, -3, 0, -math.Pi / 2, PE},
		{"fpatan", (*Env).Atan80, 1, 1, math.Pi / 4, PE},
		{"fyl2x", (*Env).YLog2X, 1, -1, nan, IE},
		{"fyl2x", (*Env).YLog2X, 0, 0, nan, IE},
		{"fyl2x", (*Env).YLog2X, -2, 0, inf, ZE},
		{"fyl2x", (*Env).YLog2X, inf, negZero, -inf, 0},
		{"fyl2x", (*Env).YLog2X, inf, 1, nan, IE},
		{"fyl2x", (*Env).YLog2X, -5, 1, negZero, 0},
		{"fyl2x", (*Env).YLog2X, inf, 0.5, -inf, 0},
		{"fyl2x", (*Env).YLog2X, 0, 0.5, negZero, 0},
		{"fyl2x", (*Env).YLog2X, 0, inf, nan, IE},
		{"fyl2x", (*Env).YLog2X, -1, inf, -inf, 0},
		{"fyl2x", (*Env).YLog2X, 3, 8, 9, PE},
		{"fyl2xp1", (*Env).YLog2XP1, inf, negZero, nan, IE},
		{"fyl2xp1", (*Env).YLog2XP1, -4, negZero, 0, 0},
		{"fyl2xp1", (*Env).YLog2XP1, -inf, 0.25, -inf, 0},
		{"fyl2xp1", (*Env).YLog2XP1, 0, inf, nan, IE},
	} {
		e := FromControl(0x37f)
		got := f64Of(c.op(&e, f80Of(c.y), f80Of(c.x)))
		same := got == c.want && math.Signbit(got) == math.Signbit(c.want) || got != got && c.want != c.want
		if !same || e.Flags != c.flags {
			t.Errorf("%s(%v, %v) = %v flags %#x, want %v flags %#x", c.name, c.y, c.x, got, e.Flags, c.want, c.flags)
		}
	}
}

func TestRemainder(t *testing.T) {
	for _, c := range []struct {
		name     string
		op       func(e *Env, a, b F80) Remainder
		a, b     float64
		want     float64
		quotient uint8
		partial  bool
	}{
		{"fprem", (*Env).Rem80, 17, 5, 2, 3, false},
		{"fprem", (*Env).Rem80, -17, 5, -2, 3, false},
		{"fprem1", (*Env).IEEERem80, 18, 5, -2, 4, false},
		{"fprem1", (*Env).IEEERem80, 5, 2, 1, 2, false}, // tie to even
		{"fprem1", (*Env).IEEERem80, 7, 2, -1, 4, false},
		{"fprem1", (*Env).IEEERem80, 3, 4, -1, 1, false},
		{"fprem", (*Env).Rem80, 3, 4, 3, 0, false},
		{"fprem", (*Env).Rem80, 5, math.Inf(1), 5, 0, false},
		{"fprem", (*Env).Rem80, 1 << 62, 1, 0, 0, false},
		{"fprem", (*Env).Rem80, 0x1p300, 3, 0x1p256, 0, true},
	} {
		e := FromControl(0x37f)
		r := c.op(&e, f80Of(c.a), f80Of(c.b))
		if f64Of(r.Value) != c.want || r.Quotient != c.quotient || r.Partial != c.partial || e.Flags != 0 {
			t.Errorf("%s(%v, %v) = %v %d %v flags %#x, want %v %d %v", c.name, c.a, c.b,
				f64Of(r.Value), r.Quotient, r.Partial, e.Flags, c.want, c.quotient, c.partial)
		}
	}
}

func TestBCD(t *testing.T) {
	e := FromControl(0x37f)
	if got, want := e.F80ToBCD(f80Of(-1234567.5)), (BCD{0x68, 0x45, 0x23, 0x01, 9: 0x80}); got != want || e.Flags != PE {
		t.Errorf("got %x flags %#x, want %x", got, e.Flags, want)
	}
	if got := f64Of(BCDToF80(BCD{0x68, 0x45, 0x23, 0x01, 9: 0x80})); got != -1234568 {
		t.Errorf("got %v", got)
	}
	e = FromControl(0x37f)
	if got, want := e.F80ToBCD(f80Of(1e18)), (BCD{7: 0xc0, 8: 0xff, 9: 0xff}); got != want || e.Flags != IE {
		t.Errorf("got %x flags %#x, want %x", got, e.Flags, want)
	}
}

// TestBiasAdjusted checks the results of unmasked x87 overflow and underflow.
func TestBiasAdjusted(t *testing.T) {
	big, small := F80{1 << 63, 0x7ffe}, F80{1 << 63, 1}
	e := FromControl(0x37f &^ uint16(OE|UE))
	if got, want := e.Mul80(big, big), (F80{1 << 63, 0x7ffe + 16383 - 24576}); got != want || e.Flags != OE {
		t.Errorf("overflow: got %x flags %#x, want %x", got, e.Flags, want)
	}
	e.Flags = 0
	if got, want := e.Mul80(small, f80Of(0.5)), (F80{1 << 63, 24576}); got != want || e.Flags != UE {
		t.Errorf("underflow: got %x flags %#x, want %x", got, e.Flags, want)
	}
	e.Flags = 0
	if got, want := e.Scale80(big, f80Of(1e9)), (F80{1 << 63, 0x7fff}); got != want || e.Flags != OE|PE {
		t.Errorf("massive overflow: got %x flags %#x, want %x", got, e.Flags, want)
	}
}
