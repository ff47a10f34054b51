package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// vecRig is a rig in 64-bit mode at CPL 3 whose registers hold distinct values.
func vecRig(t *testing.T) *sysrig {
	r := newSysrig(t, 1)
	r.enter(true, selWide3, selData3)
	st := r.state()
	for i := range st.Vec {
		for k := range st.Vec[i] {
			st.Vec[i][k] = uint64(i+1)<<56 | uint64(k+1)<<48 | 0x123456789abc
		}
	}
	st.GPR[x86.RSI], st.GPR[x86.RDI] = rigData, rigData
	r.set(&st)
	for i := range uint64(pageSize) {
		r.mem[rigData+i] = byte(i)
	}
	return r
}

// ones is a quadword of mask elements that are all set.
const ones = ^uint64(0)

func TestVectorAlignment(t *testing.T) {
	for _, tt := range []struct {
		name  string
		off   uint64
		fault bool
		code  []byte
	}{
		{"MOVAPS load", 8, true, []byte{0x0f, 0x28, 0x06}},
		{"MOVAPS store", 8, true, []byte{0x0f, 0x29, 0x06}},
		{"MOVAPS aligned", 16, false, []byte{0x0f, 0x28, 0x06}},
		{"MOVUPS", 1, false, []byte{0x0f, 0x10, 0x06}},
		{"MOVDQA", 1, true, []byte{0x66, 0x0f, 0x6f, 0x06}},
		{"MOVDQU", 1, false, []byte{0xf3, 0x0f, 0x6f, 0x06}},
		{"LDDQU", 1, false, []byte{0xf2, 0x0f, 0xf0, 0x06}},
		{"MOVNTDQ", 8, true, []byte{0x66, 0x0f, 0xe7, 0x06}},
		{"MOVNTDQA", 8, true, []byte{0x66, 0x0f, 0x38, 0x2a, 0x06}},
		{"PXOR", 8, true, []byte{0x66, 0x0f, 0xef, 0x06}},
		{"PSHUFD", 8, true, []byte{0x66, 0x0f, 0x70, 0x06, 0}},
		{"AESENC", 8, true, []byte{0x66, 0x0f, 0x38, 0xdc, 0x06}},
		{"MOVDDUP", 8, false, []byte{0xf2, 0x0f, 0x12, 0x06}},
		{"PMOVZXBW", 1, false, []byte{0x66, 0x0f, 0x38, 0x30, 0x06}},
		{"PCMPISTRI", 1, false, []byte{0x66, 0x0f, 0x3a, 0x63, 0x06, 0}},
		{"PADDB MMX", 1, false, []byte{0x0f, 0xfc, 0x06}},
		{"VMOVAPS XMM", 8, true, []byte{0xc5, 0xf8, 0x28, 0x06}},
		{"VMOVAPS YMM", 16, true, []byte{0xc5, 0xfc, 0x28, 0x06}},
		{"VMOVAPS YMM aligned", 32, false, []byte{0xc5, 0xfc, 0x28, 0x06}},
		{"VMOVNTDQ YMM", 16, true, []byte{0xc5, 0xfd, 0xe7, 0x06}},
		{"VMOVDQU YMM", 1, false, []byte{0xc5, 0xfe, 0x6f, 0x06}},
		{"VPXOR YMM", 1, false, []byte{0xc5, 0xf5, 0xef, 0x06}},
	} {
		r := vecRig(t)
		r.c.r[x86.RSI] = rigData + tt.off
		before := r.state()
		vec, code := r.exec(tt.code...)
		if !tt.fault {
			if vec >= 0 {
				t.Errorf("%s: exception %d", tt.name, vec)
			}
			continue
		}
		if vec != x86.VecGP || code != 0 {
			t.Errorf("%s: exception %d, want #GP(0)", tt.name, vec)
		}
		if after := r.state(); after.Vec != before.Vec {
			t.Errorf("%s: registers changed", tt.name)
		}
	}
}

func TestVectorUpper(t *testing.T) {
	// PXOR XMM0, XMM1 leaves bits 255:128; VPXOR XMM0, XMM0, XMM1 and VMOVD clear them.
	r := vecRig(t)
	want := r.c.s.Vec[0]
	want[0] ^= r.c.s.Vec[1][0]
	want[1] ^= r.c.s.Vec[1][1]
	r.exec(0x66, 0x0f, 0xef, 0xc1)
	if r.c.s.Vec[0] != want {
		t.Errorf("PXOR: %#x, want %#x", r.c.s.Vec[0], want)
	}
	for _, code := range [][]byte{{0xc5, 0xf9, 0xef, 0xc1}, {0xc5, 0xf9, 0x6e, 0xc0}, {0xc5, 0xfa, 0x10, 0x06}, {0xc5, 0xf9, 0x70, 0xc1, 0}} {
		r := vecRig(t)
		if vec, _ := r.exec(code...); vec >= 0 {
			t.Fatalf("% x: exception %d", code, vec)
		}
		if v := r.c.s.Vec[0]; v[2] != 0 || v[3] != 0 {
			t.Errorf("% x: %#x", code, v)
		}
	}
}

func TestVectorAvailable(t *testing.T) {
	sse, avx, mmx := []byte{0x66, 0x0f, 0xef, 0xc1}, []byte{0xc5, 0xf5, 0xef, 0xc1}, []byte{0x0f, 0xef, 0xc1}
	for _, tt := range []struct {
		name   string
		change func(*x86.State)
		code   []byte
		vec    int
	}{
		{"SSE", func(*x86.State) {}, sse, -1},
		{"SSE, EM", func(s *x86.State) { s.CR0 |= x86.CR0_EM }, sse, x86.VecUD},
		{"SSE, TS", func(s *x86.State) { s.CR0 |= x86.CR0_TS }, sse, x86.VecNM},
		{"SSE, OSFXSR", func(s *x86.State) { s.CR4 &^= x86.CR4_OSFXSR }, sse, x86.VecUD},
		{"AVX", func(*x86.State) {}, avx, -1},
		{"AVX, EM", func(s *x86.State) { s.CR0 |= x86.CR0_EM }, avx, -1},
		{"AVX, TS", func(s *x86.State) { s.CR0 |= x86.CR0_TS }, avx, x86.VecNM},
		{"AVX, OSXSAVE", func(s *x86.State) { s.CR4 &^= x86.CR4_OSXSAVE }, avx, x86.VecUD},
		{"AVX, XCR0", func(s *x86.State) { s.XCR0 = 3 }, avx, x86.VecUD},
		{"MMX", func(*x86.State) {}, mmx, -1},
		{"MMX, EM", func(s *x86.State) { s.CR0 |= x86.CR0_EM }, mmx, x86.VecUD},
		{"MMX, TS", func(s *x86.State) { s.CR0 |= x86.CR0_TS }, mmx, x86.VecNM},
		{"MMX, OSFXSR", func(s *x86.State) { s.CR4 &^= x86.CR4_OSFXSR }, mmx, -1},
		{"MMX, x87 exception", func(s *x86.State) { s.FPU.SW |= swES }, mmx, x86.VecMF},
	} {
		r := vecRig(t)
		r.exec(tt.code...) // as a program does before the change
		st := r.state()
		tt.change(&st)
		r.set(&st)
		if vec, _ := r.exec(tt.code...); vec != tt.vec {
			t.Errorf("%s: exception %d, want %d", tt.name, vec, tt.vec)
		}
	}
}

// TestVectorAvailableCached changes what the cached checks depend on with the
// instructions that do so.
func TestVectorAvailableCached(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	sse, avx := []byte{0x66, 0x0f, 0xef, 0xc1}, []byte{0xc5, 0xf5, 0xef, 0xc1}
	step := func(want int, code ...byte) {
		t.Helper()
		if vec, _ := r.exec(code...); vec != want {
			t.Errorf("% x: exception %d, want %d", code, vec, want)
		}
	}
	step(-1, sse...)
	step(-1, avx...)
	cr0, cr4 := r.c.s.CR0, r.c.s.CR4
	r.c.r[x86.RAX] = cr0 | x86.CR0_TS
	step(-1, 0x0f, 0x22, 0xc0) // MOV CR0, RAX
	step(x86.VecNM, sse...)
	step(x86.VecNM, avx...)
	step(-1, 0x0f, 0x06) // CLTS
	step(-1, sse...)
	step(-1, avx...)
	r.c.r[x86.RAX] = cr0 | x86.CR0_TS
	step(-1, 0x0f, 0x01, 0xf0) // LMSW AX
	step(x86.VecNM, sse...)
	step(-1, 0x0f, 0x06)
	step(-1, avx...)
	r.c.r[x86.RAX], r.c.r[x86.RCX], r.c.r[x86.RDX] = 1, 0, 0
	step(-1, 0x0f, 0x01, 0xd1) // XSETBV
	step(x86.VecUD, avx...)
	step(-1, sse...)
	r.c.r[x86.RAX] = 7
	step(-1, 0x0f, 0x01, 0xd1)
	step(-1, avx...)
	r.c.r[x86.RAX] = cr4 &^ (x86.CR4_OSXSAVE | x86.CR4_OSFXSR)
	step(-1, 0x0f, 0x22, 0xe0) // MOV CR4, RAX
	step(x86.VecUD, avx...)
	step(x86.VecUD, sse...)
}

// TestVectorPages has operands across a page boundary, the second page absent.
func TestVectorPages(t *testing.T) {
	const next = rigData + pageSize
	for _, tt := range []struct {
		name  string
		n     uint64
		write bool
		code  []byte
	}{
		{"MOVUPS load", 16, false, []byte{0x0f, 0x10, 0x06}},
		{"MOVUPS store", 16, true, []byte{0x0f, 0x11, 0x06}},
		{"VMOVUPS YMM load", 32, false, []byte{0xc5, 0xfc, 0x10, 0x06}},
		{"VMOVUPS YMM store", 32, true, []byte{0xc5, 0xfc, 0x11, 0x06}},
		{"MOVQ store", 8, true, []byte{0x66, 0x0f, 0xd6, 0x06}},
		{"VPADDB YMM", 32, false, []byte{0xc5, 0xf5, 0xfc, 0x06}},
		{"MOVQ MMX store", 8, true, []byte{0x0f, 0x7f, 0x06}},
	} {
		for back := uint64(1); back < tt.n; back++ {
			r := vecRig(t)
			r.c.r[x86.RSI] = next - back
			for i := range uint64(64) {
				r.mem[next+i] = byte(0x80 + i)
			}
			if vec, _ := r.exec(tt.code...); vec >= 0 {
				t.Fatalf("%s: exception %d", tt.name, vec)
			}
			present := r.state()

			r = vecRig(t)
			r.c.r[x86.RSI] = next - back
			r.pte(next, 0)
			before := r.state()
			old := append([]byte(nil), r.mem[rigData:next+64]...)
			vec, code := r.exec(tt.code...)
			want := uint32(x86.PFU)
			if tt.write {
				want |= x86.PFW
			}
			st := r.state()
			if vec != x86.VecPF || code != want || st.CR2 != next {
				t.Errorf("%s, %d: exception %d, %#x, CR2 %#x", tt.name, back, vec, code, st.CR2)
			}
			if st.Vec != before.Vec || st.FPU != before.FPU || string(old) != string(r.mem[rigData:next+64]) {
				t.Errorf("%s, %d: the fault changed something", tt.name, back)
			}
			if !tt.write && present.Vec == before.Vec {
				t.Errorf("%s, %d: nothing was loaded", tt.name, back)
			}
		}
	}
}

// TestVectorLegacySegment checks limits outside 64-bit mode.
func TestVectorLegacySegment(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(false, selCode0, selData0)
	st := r.state()
	st.Seg[x86.DS].Limit = rigData + 31
	r.set(&st)
	for _, tt := range []struct {
		off uint64
		n   string
		vec int
		b   []byte
	}{
		{16, "MOVUPS", -1, []byte{0x0f, 0x10, 0x06}},
		{17, "MOVUPS", x86.VecGP, []byte{0x0f, 0x10, 0x06}},
		{0, "VMOVUPS YMM", -1, []byte{0xc5, 0xfc, 0x10, 0x06}},
		{1, "VMOVUPS YMM", x86.VecGP, []byte{0xc5, 0xfc, 0x10, 0x06}},
		{24, "MOVQ", -1, []byte{0xf3, 0x0f, 0x7e, 0x06}},
		{25, "MOVQ", x86.VecGP, []byte{0xf3, 0x0f, 0x7e, 0x06}},
	} {
		r.c.r[x86.RSI] = rigData + tt.off
		if vec, _ := r.exec(tt.b...); vec != tt.vec {
			t.Errorf("%s at %d: exception %d, want %d", tt.n, tt.off, vec, tt.vec)
		}
	}
}

func TestVectorZero(t *testing.T) {
	for _, long := range []bool{false, true} {
		for _, all := range []bool{false, true} {
			r := vecRig(t)
			if !long {
				vecs := r.c.s.Vec
				r.enter(false, selCode0, selData0)
				st := r.state()
				st.Vec = vecs
				r.set(&st)
			}
			before := r.state().Vec
			code := []byte{0xc5, 0xf8, 0x77}
			if all {
				code[1] = 0xfc
			}
			if vec, _ := r.exec(code...); vec >= 0 {
				t.Fatalf("exception %d", vec)
			}
			for i, v := range r.c.s.Vec {
				want := before[i]
				if long || i < 8 {
					want[2], want[3] = 0, 0
					if all {
						want = [4]uint64{}
					}
				}
				if v != want {
					t.Errorf("long %v, all %v: register %d is %#x", long, all, i, v)
				}
			}
		}
	}
}

func TestMXCSR(t *testing.T) {
	r := vecRig(t)
	r.put32(rigData, 0x9fc0)
	if vec, _ := r.exec(0x0f, 0xae, 0x16); vec >= 0 || r.c.s.MXCSR != 0x9fc0 {
		t.Errorf("LDMXCSR: exception %d, MXCSR %#x", vec, r.c.s.MXCSR)
	}
	if vec, _ := r.exec(0xc5, 0xf8, 0xae, 0x5e, 0x04); vec >= 0 || r.get32(rigData+4) != 0x9fc0 {
		t.Errorf("VSTMXCSR: exception %d, %#x", vec, r.get32(rigData+4))
	}
	r.put32(rigData, 0x10000)
	if vec, _ := r.exec(0x0f, 0xae, 0x16); vec != x86.VecGP || r.c.s.MXCSR != 0x9fc0 {
		t.Errorf("LDMXCSR of a reserved bit: exception %d, MXCSR %#x", vec, r.c.s.MXCSR)
	}
}
