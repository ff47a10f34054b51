package softfloat

import (
	"math"
	"testing"
)

// sameFloat tells whether two results agree, taking all NaNs for the same.
func sameFloat(a, b uint64) bool {
	return a == b || math.IsNaN(math.Float64frombits(a)) && math.IsNaN(math.Float64frombits(b))
}

// checkNative64 compares the operations on a, b and c with Go's own, with and
// without the native path.
func checkNative64(t *testing.T, a, b, c uint64) {
	t.Helper()
	x, y, z := math.Float64frombits(a), math.Float64frombits(b), math.Float64frombits(c)
	for _, flags := range []Flags{0, PE} {
		e := Env{Masks: AllExceptions, Flags: flags}
		for _, op := range []struct {
			name string
			got  uint64
			want float64
		}{
			{"add", e.Add64(a, b), float64(x + y)},
			{"sub", e.Sub64(a, b), float64(x - y)},
			{"mul", e.Mul64(a, b), float64(x * y)},
			{"div", e.Div64(a, b), float64(x / y)},
			{"sqrt", e.Sqrt64(a), math.Sqrt(x)},
			{"fma", e.FMA64(a, b, c, MulAdd), math.FMA(x, y, z)},
			{"fnmsub", e.FMA64(a, b, c, NegMulSub), math.FMA(-x, y, -z)},
			{"floor", e.RoundToInt64(a, RoundDown, true), math.Floor(x)},
			{"ceil", e.RoundToInt64(a, RoundUp, true), math.Ceil(x)},
			{"trunc", e.RoundToInt64(a, RoundZero, true), math.Trunc(x)},
			{"even", e.RoundToInt64(a, RoundNearest, true), math.RoundToEven(x)},
			{"narrow", e.F32ToF64(e.F64ToF32(a)), float64(float32(x))},
		} {
			if want := math.Float64bits(op.want); !sameFloat(op.got, want) {
				t.Errorf("%s flags %#x: %#x, %#x, %#x: got %#x, want %#x", op.name, flags, a, b, c, op.got, want)
			}
		}
	}
}

// checkNative32 is checkNative64 for binary32.
func checkNative32(t *testing.T, a, b uint32) {
	t.Helper()
	x, y := math.Float32frombits(a), math.Float32frombits(b)
	for _, flags := range []Flags{0, PE} {
		e := Env{Masks: AllExceptions, Flags: flags}
		for _, op := range []struct {
			name string
			got  uint32
			want float32
		}{
			{"add", e.Add32(a, b), float32(x + y)},
			{"sub", e.Sub32(a, b), float32(x - y)},
			{"mul", e.Mul32(a, b), float32(x * y)},
			{"div", e.Div32(a, b), float32(x / y)},
			{"sqrt", e.Sqrt32(a), float32(math.Sqrt(float64(x)))},
			{"via f80", e.F80ToF32(e.F32ToF80(a)), x},
		} {
			if want := math.Float32bits(op.want); op.got != want && (op.want == op.want || op.got&0x7fffffff <= 0x7f800000) {
				t.Errorf("%s flags %#x: %#x, %#x: got %#x, want %#x", op.name, flags, a, b, op.got, want)
			}
		}
	}
}

func TestNative(t *testing.T) {
	o := newOperands(3)
	for range 20 * rounds() {
		a := o.f64(0)
		b := o.f64(a)
		checkNative64(t, a, b, o.f64(b))
		s := o.f32(0)
		checkNative32(t, uint32(s), uint32(o.f32(s)))
		if t.Failed() {
			return
		}
	}
}

// TestHalfRoundTrip widens every binary16 value and narrows it again.
func TestHalfRoundTrip(t *testing.T) {
	for a := range uint32(1 << 16) {
		e := Env{Masks: AllExceptions}
		want := uint16(a)
		if want&0x7c00 == 0x7c00 && want&0x3ff != 0 {
			want |= 0x200
		}
		if got := e.F32ToF16(e.F16ToF32(uint16(a)), RoundUp); got != want || e.Flags&^IE != 0 {
			t.Fatalf("%#x: got %#x flags %#x", a, got, e.Flags)
		}
	}
}

func FuzzNative(f *testing.F) {
	f.Add(uint64(0x3ff0000000000000), uint64(0x3cb0000000000000), uint64(1))
	f.Add(uint64(0x0010000000000000), uint64(0x3fefffffffffffff), uint64(0x8000000000000000))
	f.Add(uint64(0x7fefffffffffffff), uint64(0x4000000000000000), uint64(0xfff0000000000000))
	f.Add(uint64(0x7ff0000000000001), uint64(0), uint64(0xfff8000000000000))
	f.Fuzz(func(t *testing.T, a, b, c uint64) {
		checkNative64(t, a, b, c)
		checkNative32(t, uint32(a), uint32(b))
	})
}

// FuzzX87 throws operands of any encoding, control word and operation at the
// x87 half.  Whatever comes, results must be encodings the unit itself
// produces, and a remainder must be smaller than the divisor.
func FuzzX87(f *testing.F) {
	f.Add(uint64(1)<<63, uint16(0x3fff), uint64(1)<<63, uint16(0x3fff), uint16(0x37f))
	f.Add(uint64(1), uint16(0), ^uint64(0), uint16(0xfffe), uint16(0))
	f.Add(uint64(1), uint16(0x7fff), uint64(1)<<62, uint16(0x4000), uint16(0xf7f))
	f.Add(uint64(0xc90fdaa22168c235), uint16(0x4000), uint64(3)<<62, uint16(0x7fff), uint16(0x77f))
	f.Fuzz(func(t *testing.T, am uint64, as uint16, bm uint64, bs uint16, cw uint16) {
		a, b := F80{am, as}, F80{bm, bs}
		env := func() *Env {
			e := FromControl(cw)
			return &e
		}
		sin, _ := env().Sin80(a)
		cos, _ := env().Cos80(a)
		tan, _ := env().Tan80(a)
		exponent, significand := env().Extract80(a)
		rem, near := env().Rem80(a, b), env().IEEERem80(a, b)
		bcd := env().F80ToBCD(a)
		for i, r := range []F80{
			env().Add80(a, b), env().Sub80(a, b), env().Mul80(a, b), env().Div80(a, b), env().Sqrt80(a),
			env().RoundToInt80(a), env().Scale80(a, b), env().Atan80(a, b), env().Exp2m1(a),
			env().YLog2X(a, b), env().YLog2XP1(a, b), sin, cos, tan, exponent, significand,
			rem.Value, near.Value, BCDToF80(bcd),
			env().F32ToF80(env().F80ToF32(a)), env().F64ToF80(env().F80ToF64(a)),
		} {
			if r.Class() == ClassUnsupported && r != a {
				t.Errorf("result %d of %x, %x, cw %#x is %x", i, a, b, cw, r)
			}
		}
		masked := Env{Masks: AllExceptions}
		for _, r := range []Remainder{masked.Rem80(a, b), masked.IEEERem80(a, b)} {
			if masked.Flags&IE != 0 || r.Partial || r.Value.Class() == ClassNaN {
				continue
			}
			if masked.Compare80(r.Value.Abs(), b.Abs()) == Greater {
				t.Errorf("%x rem %x = %x", a, b, r.Value)
			}
		}
	})
}

func BenchmarkNative(b *testing.B) {
	x, y := math.Float64bits(1.1), math.Float64bits(2.3)
	for _, bench := range []struct {
		name  string
		flags Flags
		f     func(e *Env)
	}{
		{"Add64/native", PE, func(e *Env) { e.Add64(x, y) }},
		{"Add64/soft", 0, func(e *Env) { e.Flags = 0; e.Add64(x, y) }},
		{"Mul64/native", PE, func(e *Env) { e.Mul64(x, y) }},
		{"Mul64/soft", 0, func(e *Env) { e.Flags = 0; e.Mul64(x, y) }},
		{"Div64/soft", 0, func(e *Env) { e.Flags = 0; e.Div64(x, y) }},
		{"Sqrt64/soft", 0, func(e *Env) { e.Flags = 0; e.Sqrt64(x) }},
		{"FMA64/soft", 0, func(e *Env) { e.Flags = 0; e.FMA64(x, y, x, 0) }},
		{"Compare64", 0, func(e *Env) { e.Compare64(x, y) }},
		{"F64ToI64", 0, func(e *Env) { e.F64ToI64(x, RoundZero) }},
		{"I32ToF64", 0, func(e *Env) { e.I32ToF64(12345) }},
		{"F64ToF32", 0, func(e *Env) { e.F64ToF32(x) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			e := Env{Masks: AllExceptions, Flags: bench.flags}
			for b.Loop() {
				bench.f(&e)
			}
		})
	}
}

func BenchmarkX87(b *testing.B) {
	e := FromControl(0x37f)
	x, y := e.F64ToF80(math.Float64bits(1.1)), e.F64ToF80(math.Float64bits(2.3))
	for name, f := range map[string]func(){
		"Add80":    func() { e.Add80(x, y) },
		"Mul80":    func() { e.Mul80(x, y) },
		"Div80":    func() { e.Div80(x, y) },
		"Sqrt80":   func() { e.Sqrt80(x) },
		"Sin80":    func() { e.Sin80(x) },
		"Tan80":    func() { e.Tan80(x) },
		"Atan80":   func() { e.Atan80(x, y) },
		"Exp2m1":   func() { e.Exp2m1(x) },
		"YLog2X":   func() { e.YLog2X(x, y) },
		"F64ToF80": func() { e.F64ToF80(0x3ff8000000000000) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f()
			}
		})
	}
}
