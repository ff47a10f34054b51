package interp

import (
	"math"
	"testing"

	"dfemu/cpu/x86"
)

const (
	one64  = 0x3ff0000000000000
	qnan64 = 0xfff8000000000000
	snan64 = 0x7ff0000000000001
	half64 = 0x3fe0000000000000
	inf64  = 0x7ff0000000000000
	tiny64 = 0x0000000000000001
)

func floatRig(t *testing.T) (*sysrig, *CPU) {
	rig := newSysrig(t, 1)
	rig.enter(true, selWide3, selData3)
	rig.c.s.CR4 |= x86.CR4_OSXMMEXCPT
	rig.c.s.MXCSR = mxcsrReset
	return rig, rig.c
}

// do executes one instruction, and returns the exception's vector or -1.
func (r *sysrig) do(code ...byte) int {
	o := r.op(code)
	switch st := o.fn(r.c, &o); st {
	case stNext:
		return -1
	case stFault:
		return int(r.c.exc.vec)
	default:
		r.t.Fatalf("% x: status %d", code, st)
		return 0
	}
}

func TestLegacyOp(t *testing.T) {
	n := 0
	for i := range x86.NumOps {
		op := x86.Op(i)
		if l := legacyOp(op); l != op {
			n++
			if "V"+l.String() != op.String() {
				t.Errorf("%v taken for %v", op, l)
			}
		}
	}
	if n == 0 {
		t.Error("no instruction has a legacy form")
	}
}

// TestVectorFloatScalar checks what becomes of the rest of the destination.
func TestVectorFloatScalar(t *testing.T) {
	rig, c := floatRig(t)
	for _, k := range []struct {
		name string
		code []byte
		want [4]uint64
	}{
		{"ADDSD xmm0, xmm1", []byte{0xf2, 0x0f, 0x58, 0xc1}, [4]uint64{0x4000000000000000, 2, 3, 4}},
		{"VADDSD xmm0, xmm2, xmm1", []byte{0xc5, 0xeb, 0x58, 0xc1}, [4]uint64{0x4008000000000000, 22, 0, 0}},
		{"SQRTSD xmm0, xmm1", []byte{0xf2, 0x0f, 0x51, 0xc1}, [4]uint64{one64, 2, 3, 4}},
		{"VSQRTSD xmm0, xmm2, xmm1", []byte{0xc5, 0xeb, 0x51, 0xc1}, [4]uint64{one64, 22, 0, 0}},
		{"CVTSD2SS xmm0, xmm1", []byte{0xf2, 0x0f, 0x5a, 0xc1}, [4]uint64{one64>>32<<32 | 0x3f800000, 2, 3, 4}},
		{"ADDPD xmm0, xmm1", []byte{0x66, 0x0f, 0x58, 0xc1}, [4]uint64{0x4000000000000000, one64, 3, 4}},
		{"VADDPD xmm0, xmm2, xmm1", []byte{0xc5, 0xe9, 0x58, 0xc1}, [4]uint64{0x4008000000000000, one64, 0, 0}},
		{"VADDPD ymm0, ymm2, ymm1", []byte{0xc5, 0xed, 0x58, 0xc1}, [4]uint64{0x4008000000000000, one64, one64, one64}},
		{"CVTPD2DQ xmm0, xmm2", []byte{0xf2, 0x0f, 0xe6, 0xc2}, [4]uint64{2, 0, 3, 4}},
		{"VFMADD231SD xmm0, xmm2, xmm1", []byte{0xc4, 0xe2, 0xe9, 0xb9, 0xc1}, [4]uint64{0x4008000000000000, 2, 0, 0}},
		{"CMPSD xmm0, xmm1, 0x10", []byte{0xf2, 0x0f, 0xc2, 0xc1, 0x10}, [4]uint64{^uint64(0), 2, 3, 4}},
		{"ROUNDSD xmm0, xmm2, 0", []byte{0x66, 0x0f, 0x3a, 0x0b, 0xc2, 0}, [4]uint64{0x4000000000000000, 2, 3, 4}},
	} {
		c.s.MXCSR = 0x1fbf
		c.s.Vec[0] = [4]uint64{one64, 2, 3, 4}
		c.s.Vec[1] = [4]uint64{one64, one64 - 1, one64 - 1, one64 - 1}
		c.s.Vec[2] = [4]uint64{0x4000000000000000, 22, 33, 44}
		if k.name[0] == 'V' && k.name[4] == 'P' || k.name[3] == 'P' {
			c.s.Vec[1][1], c.s.Vec[1][2], c.s.Vec[1][3] = one64, one64, one64
		}
		if vec := rig.do(k.code...); vec >= 0 {
			t.Errorf("%s: exception %d", k.name, vec)
		}
		if c.s.Vec[0] != k.want {
			t.Errorf("%s: %#x, want %#x", k.name, c.s.Vec[0], k.want)
		}
	}
}

// TestVectorFloatExceptions checks what is raised, reported and written.
func TestVectorFloatExceptions(t *testing.T) {
	const (
		unmaskIE = mxcsrReset &^ (1 << 7)
		unmaskDE = mxcsrReset &^ (1 << 8)
		unmaskZE = mxcsrReset &^ (1 << 9)
		unmaskPE = mxcsrReset &^ (1 << 12)
		ie, de   = 1 << 0, 1 << 1
		ze, pe   = 1 << 2, 1 << 5
	)
	addpd := []byte{0x66, 0x0f, 0x58, 0xc1}
	divpd := []byte{0x66, 0x0f, 0x5e, 0xc1}
	for _, k := range []struct {
		name   string
		code   []byte
		mxcsr  uint32
		a, b   [2]uint64
		want   [2]uint64 // when no exception is expected
		vec    int
		raised uint32
	}{
		{"masked SNaN", addpd, mxcsrReset, [2]uint64{snan64, one64}, [2]uint64{one64, one64}, [2]uint64{snan64 | 1<<51, 0x4000000000000000}, -1, ie},
		{"flags of all elements", divpd, mxcsrReset, [2]uint64{one64, one64}, [2]uint64{0, 0x4008000000000000}, [2]uint64{inf64, 0x3fd5555555555555}, -1, ze | pe},
		{"invalid not masked", addpd, unmaskIE, [2]uint64{inf64, one64}, [2]uint64{inf64 | 1<<63, one64}, [2]uint64{}, x86.VecXM, ie},
		{"hides later ones of others", divpd, unmaskZE, [2]uint64{one64, one64}, [2]uint64{0, 0x4008000000000000}, [2]uint64{}, x86.VecXM, ze},
		{"inexact not masked", divpd, unmaskPE, [2]uint64{one64, one64}, [2]uint64{one64, 0x4008000000000000}, [2]uint64{}, x86.VecXM, pe},
		{"sticky is no reason", addpd, unmaskPE | pe, [2]uint64{one64, one64}, [2]uint64{one64, one64}, [2]uint64{0x4000000000000000, 0x4000000000000000}, -1, pe},
		{"denormal not masked", addpd, unmaskDE, [2]uint64{tiny64, one64}, [2]uint64{0, one64}, [2]uint64{}, x86.VecXM, de},
		{"denormals are zeros", addpd, unmaskDE | 1<<6, [2]uint64{tiny64, one64}, [2]uint64{0, one64}, [2]uint64{0, 0x4000000000000000}, -1, 0},
	} {
		rig, c := floatRig(t)
		c.s.MXCSR = k.mxcsr
		c.s.Vec[0] = [4]uint64{k.a[0], k.a[1], 5, 6}
		c.s.Vec[1] = [4]uint64{k.b[0], k.b[1], 7, 8}
		vec := rig.do(k.code...)
		if vec != k.vec {
			t.Errorf("%s: exception %d, want %d", k.name, vec, k.vec)
		}
		want := [4]uint64{k.want[0], k.want[1], 5, 6}
		if k.vec >= 0 {
			want = [4]uint64{k.a[0], k.a[1], 5, 6}
		}
		if c.s.Vec[0] != want {
			t.Errorf("%s: %#x, want %#x", k.name, c.s.Vec[0], want)
		}
		if got := c.s.MXCSR; got != k.mxcsr|k.raised {
			t.Errorf("%s: MXCSR %#x, want %#x", k.name, got, k.mxcsr|k.raised)
		}
		if k.vec < 0 {
			continue
		}
		// Without CR4.OSXMMEXCPT it is #UD; the flags are the same.
		c.s.CR4 &^= x86.CR4_OSXMMEXCPT
		c.s.MXCSR = k.mxcsr
		if vec := rig.do(k.code...); vec != x86.VecUD || c.s.MXCSR != k.mxcsr|k.raised {
			t.Errorf("%s without OSXMMEXCPT: exception %d, MXCSR %#x", k.name, vec, c.s.MXCSR)
		}
	}
}

// TestVectorFloatMXCSRChange changes MXCSR between instructions, as LDMXCSR does.
func TestVectorFloatMXCSRChange(t *testing.T) {
	rig, c := floatRig(t)
	third := func(mxcsr uint32) uint64 {
		c.s.MXCSR = mxcsr
		c.s.Vec[0][0], c.s.Vec[1][0] = one64, 0x4008000000000000
		if vec := rig.do(0xf2, 0x0f, 0x5e, 0xc1); vec >= 0 {
			t.Fatalf("exception %d", vec)
		}
		if c.s.MXCSR != mxcsr|1<<5 {
			t.Errorf("MXCSR %#x after division with %#x", c.s.MXCSR, mxcsr)
		}
		return c.s.Vec[0][0]
	}
	for range 2 {
		if v := third(mxcsrReset); v != 0x3fd5555555555555 {
			t.Errorf("to nearest: %#x", v)
		}
		if v := third(mxcsrReset | 2<<13); v != 0x3fd5555555555556 {
			t.Errorf("up: %#x", v)
		}
		if v := third(mxcsrReset | 1<<5); v != 0x3fd5555555555555 {
			t.Errorf("to nearest, PE set: %#x", v)
		}
	}
}

func TestComisd(t *testing.T) {
	rig, c := floatRig(t)
	const zpc = x86.ZF | x86.PF | x86.CF
	for _, k := range []struct {
		a, b    uint64
		flags   uint64
		comis   uint32 // raised by COMISD
		ucomis  uint32 // and by UCOMISD
		comment string
	}{
		{one64, half64, 0, 0, 0, "greater"},
		{half64, one64, x86.CF, 0, 0, "less"},
		{0, 1 << 63, x86.ZF, 0, 0, "zeros"},
		{qnan64, one64, zpc, 1, 0, "QNaN"},
		{one64, snan64, zpc, 1, 1, "SNaN"},
		{tiny64, one64, x86.CF, 2, 2, "denormal"},
	} {
		for i, raised := range []uint32{k.comis, k.ucomis} {
			c.s.MXCSR = mxcsrReset
			c.setArith(x86.ArithFlags &^ k.flags)
			c.s.Vec[0][0], c.s.Vec[1][0] = k.a, k.b
			if vec := rig.do(0x66, 0x0f, 0x2f-byte(i), 0xc1); vec >= 0 {
				t.Errorf("%s: exception %d", k.comment, vec)
			}
			if c.arith() != k.flags || c.s.MXCSR != mxcsrReset|raised {
				t.Errorf("%s: flags %#x, MXCSR %#x; want %#x, %#x", k.comment, c.arith(), c.s.MXCSR, k.flags, mxcsrReset|raised)
			}
		}
	}
}

// TestVectorFloatReady checks the conditions under which the instructions exist.
func TestVectorFloatReady(t *testing.T) {
	sse := []byte{0xf2, 0x0f, 0x58, 0xc1}
	avx := []byte{0xc5, 0xeb, 0x58, 0xc1}
	mmx := []byte{0x0f, 0x2d, 0xc1} // CVTPS2PI
	for _, k := range []struct {
		name   string
		code   []byte
		change func(s *x86.State)
		vec    int
	}{
		{"SSE, EM", sse, func(s *x86.State) { s.CR0 |= x86.CR0_EM }, x86.VecUD},
		{"SSE, TS", sse, func(s *x86.State) { s.CR0 |= x86.CR0_TS }, x86.VecNM},
		{"SSE, no OSFXSR", sse, func(s *x86.State) { s.CR4 &^= x86.CR4_OSFXSR }, x86.VecUD},
		{"AVX, no OSXSAVE", avx, func(s *x86.State) { s.CR4 &^= x86.CR4_OSXSAVE }, x86.VecUD},
		{"AVX, XCR0", avx, func(s *x86.State) { s.XCR0 = 3 }, x86.VecUD},
		{"AVX, TS", avx, func(s *x86.State) { s.CR0 |= x86.CR0_TS }, x86.VecNM},
		{"SSE with a pending x87 exception", sse, func(s *x86.State) { s.FPU.SW = swES | swB | 1 }, -1},
		{"MMX with a pending x87 exception", mmx, func(s *x86.State) { s.FPU.SW = swES | swB | 1 }, x86.VecMF},
	} {
		rig, c := floatRig(t)
		k.change(&c.s)
		if vec := rig.do(k.code...); vec != k.vec {
			t.Errorf("%s: exception %d, want %d", k.name, vec, k.vec)
		}
	}
}

func TestVectorFloatMemory(t *testing.T) {
	rig, c := floatRig(t)
	c.r[x86.RSI] = rigData + 8
	if vec := rig.do(0x66, 0x0f, 0x58, 0x06); vec != x86.VecGP {
		t.Errorf("ADDPD of an unaligned operand: exception %d", vec)
	}
	if vec := rig.do(0xc5, 0xe9, 0x58, 0x06); vec != -1 {
		t.Errorf("VADDPD of an unaligned operand: exception %d", vec)
	}
	if vec := rig.do(0x66, 0x0f, 0x2d, 0x06); vec != x86.VecGP {
		t.Errorf("CVTPD2PI of an unaligned operand: exception %d", vec)
	}
	// VCVTPS2PH to a page that is not there raises nothing but the fault.
	rig.pte(rigData, 0)
	c.s.Vec[0] = [4]uint64{0x3f800001, 0, 0, 0}
	before := c.s.MXCSR
	if vec := rig.do(0xc4, 0xe3, 0x79, 0x1d, 0x06, 0); vec != x86.VecPF || c.s.MXCSR != before {
		t.Errorf("VCVTPS2PH to no memory: exception %d, MXCSR %#x", vec, c.s.MXCSR)
	}
}

// TestApproximate checks the error of RCPPS and RSQRTPS, and special operands.
func TestApproximate(t *testing.T) {
	const bound = 1.5 / 4096
	for i := uint32(0x00800000); i < 0x7e800000; i += 0x12345 {
		x := float64(math.Float32frombits(i))
		if r := float64(math.Float32frombits(rcp32(i))) * x; math.Abs(r-1) > bound {
			t.Fatalf("RCP of %#x is off by %g", i, r-1)
		}
		if r := float64(math.Float32frombits(rsqrt32(i))) * math.Sqrt(x); math.Abs(r-1) > bound {
			t.Fatalf("RSQRT of %#x is off by %g", i, r-1)
		}
	}
	for _, k := range [][3]uint32{
		{0, 0x7f800000, 0x7f800000},
		{1 << 31, 0xff800000, 0xff800000},
		{1, 0x7f800000, 0x7f800000},
		{0x7f800000, 0, 0},
		{0xff800000, 1 << 31, f32Indefinite},
		{0x7f800001, 0x7fc00001, 0x7fc00001},
		{0xbf800000, 0xbf800000, f32Indefinite},
		{0x3f800000, 0x3f800000, 0x3f800000},
		{0x7f7fffff, 0, 0x1f800000},
	} {
		if r := rcp32(k[0]); r != k[1] {
			t.Errorf("RCP of %#x is %#x, want %#x", k[0], r, k[1])
		}
		if r := rsqrt32(k[0]); r != k[2] {
			t.Errorf("RSQRT of %#x is %#x, want %#x", k[0], r, k[2])
		}
	}
}
