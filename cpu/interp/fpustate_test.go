package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// fillState gives the x87 and the vector registers distinct values.
func fillState(c *CPU) {
	f := &c.s.FPU
	f.CW, f.SW, f.Tag, f.FOP = 0x27f, 0x2900, 0x5a, 0x123 // TOP 5
	f.FIP, f.FDP, f.FCS, f.FDS = 0x1122334455, 0x6677889900, 0, 0
	for i := range f.R {
		f.R[i] = x86.F80{Mant: 1<<63 | uint64(i), SE: uint16(0x4000 + i)}
	}
	for i := range c.s.Vec {
		for j := range c.s.Vec[i] {
			c.s.Vec[i][j] = uint64(i)<<8 | uint64(j) | 1<<40
		}
	}
	c.s.MXCSR = 0x1fa0
}

func sameVectors(t *testing.T, what string, got, want *x86.State, lo, hi bool) {
	t.Helper()
	for i := range want.Vec {
		if lo && (got.Vec[i][0] != want.Vec[i][0] || got.Vec[i][1] != want.Vec[i][1]) ||
			hi && (got.Vec[i][2] != want.Vec[i][2] || got.Vec[i][3] != want.Vec[i][3]) {
			t.Errorf("%s: vector register %d is %#x, want %#x", what, i, got.Vec[i], want.Vec[i])
		}
	}
}

func TestFXSAVE(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	c := r.c
	fillState(c)
	want := c.s
	c.r[x86.RBX] = rigData
	if vec, _ := r.exec(0x48, 0x0f, 0xae, 0x03); vec != -1 {
		t.Fatalf("FXSAVE64: %d", vec)
	}
	if r.get64(rigData+8) != 0x1122334455 || r.get32(rigData+24) != 0x1fa0 || r.get32(rigData+28) != 0xffff ||
		r.mem[rigData+4] != 0x5a || r.get64(rigData+32) != 1<<63|5 || r.get64(rigData+160+16*15) != 15<<8|1<<40 {
		t.Errorf("image % x", r.mem[rigData:rigData+64])
	}
	c.s.FPU, c.s.Vec, c.s.MXCSR = x86.FPU{}, [16][4]uint64{}, 0
	if vec, _ := r.exec(0x48, 0x0f, 0xae, 0x0b); vec != -1 {
		t.Fatalf("FXRSTOR64: %d", vec)
	}
	if c.s.FPU != want.FPU || c.s.MXCSR != want.MXCSR {
		t.Errorf("x87 %+v, want %+v", c.s.FPU, want.FPU)
	}
	sameVectors(t, "FXRSTOR", &c.s, &want, true, false)
	if c.s.Vec[3][2] != 0 {
		t.Error("FXRSTOR has changed the upper half of a YMM register")
	}
	// The 32-bit form has selectors.
	c.s.FPU.FCS = 0x33
	if vec, _ := r.exec(0x0f, 0xae, 0x03); vec != -1 || r.get64(rigData+8) != 0x3322334455 {
		t.Errorf("FXSAVE: %d, %#x", vec, r.get64(rigData+8))
	}
	// Reserved bits of MXCSR, alignment, CR0.TS.
	r.put32(rigData+24, 1<<16)
	if vec, _ := r.exec(0x0f, 0xae, 0x0b); vec != 13 {
		t.Errorf("FXRSTOR with reserved bits: %d", vec)
	}
	c.r[x86.RBX]++
	if vec, _ := r.exec(0x0f, 0xae, 0x03); vec != 13 {
		t.Errorf("FXSAVE, not aligned: %d", vec)
	}
	c.s.CR0 |= x86.CR0_TS
	if vec, _ := r.exec(0x0f, 0xae, 0x03); vec != 7 {
		t.Errorf("FXSAVE with TS: %d", vec)
	}
}

func TestXSAVE(t *testing.T) {
	forms := map[string][]byte{
		"XSAVE":    {0x48, 0x0f, 0xae, 0x23},
		"XSAVEOPT": {0x48, 0x0f, 0xae, 0x33},
		"XSAVEC":   {0x48, 0x0f, 0xc7, 0x23},
	}
	for name, save := range forms {
		r := newSysrig(t, 1)
		r.enter(true, selWide0, selData0)
		c := r.c
		fillState(c)
		want := c.s
		c.r[x86.RBX], c.r[x86.RAX], c.r[x86.RDX] = rigData, ^uint64(0), ^uint64(0)
		if vec, _ := r.exec(save...); vec != -1 {
			t.Fatalf("%s: %d", name, vec)
		}
		comp := uint64(0)
		if name == "XSAVEC" {
			comp = 1<<63 | 7
		}
		if r.get64(rigData+512) != 7 || r.get64(rigData+520) != comp || r.get64(rigData+576+16*3+8) != 3<<8|3|1<<40 {
			t.Errorf("%s: XSTATE_BV %#x, XCOMP_BV %#x", name, r.get64(rigData+512), r.get64(rigData+520))
		}
		c.s.FPU, c.s.Vec, c.s.MXCSR = x86.FPU{}, [16][4]uint64{}, 0
		if vec, _ := r.exec(0x48, 0x0f, 0xae, 0x2b); vec != -1 {
			t.Fatalf("XRSTOR: %d", vec)
		}
		if c.s.FPU != want.FPU || c.s.MXCSR != want.MXCSR {
			t.Errorf("%s: x87 %+v, MXCSR %#x", name, c.s.FPU, c.s.MXCSR)
		}
		sameVectors(t, name, &c.s, &want, true, true)

		// XRSTOR of some components leaves the others; absent ones become initial.
		c.s.Vec = [16][4]uint64{}
		c.s.FPU.CW = 0x111
		r.put64(rigData+512, 3)
		c.r[x86.RAX] = 6
		if vec, _ := r.exec(0x48, 0x0f, 0xae, 0x2b); vec != -1 || c.s.FPU.CW != 0x111 {
			t.Errorf("%s: XRSTOR 6: %d, CW %#x", name, vec, c.s.FPU.CW)
		}
		sameVectors(t, name, &c.s, &want, true, false)
		if c.s.Vec[2][2] != 0 {
			t.Errorf("%s: the upper halves were loaded", name)
		}

		// Initial state is not saved, but shown in XSTATE_BV.
		c.s.FPU = x86.FPU{CW: 0x37f}
		c.s.Vec = [16][4]uint64{}
		c.s.MXCSR = mxcsrReset
		c.r[x86.RAX] = 7
		for i := range uint64(64) {
			r.put64(rigData+512+8*i, 0)
		}
		if vec, _ := r.exec(save...); vec != -1 || r.get64(rigData+512) != 0 {
			t.Errorf("%s of initial state: %d, XSTATE_BV %#x", name, vec, r.get64(rigData+512))
		}
		if old := r.get64(rigData+160+16) == 1<<8|1<<40; old != (name != "XSAVE") {
			t.Errorf("%s: the area of XMM1 holds %#x", name, r.get64(rigData+160+16))
		}
		fillState(c)
		if vec, _ := r.exec(0x48, 0x0f, 0xae, 0x2b); vec != -1 || c.s.FPU != (x86.FPU{CW: 0x37f}) || c.s.Vec != [16][4]uint64{} {
			t.Errorf("%s: XRSTOR of initial state: %d, %+v", name, vec, c.s.FPU)
		}
	}
}

func TestXRSTORFaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		prep func(r *sysrig)
		vec  int
	}{
		{"fine", func(*sysrig) {}, -1},
		{"not aligned", func(r *sysrig) { r.c.r[x86.RBX] += 32 }, 13},
		{"XSTATE_BV beyond XCR0", func(r *sysrig) { r.put64(rigData+512, 8) }, 13},
		{"XCOMP_BV in the standard format", func(r *sysrig) { r.put64(rigData+520, 1) }, 13},
		{"reserved header", func(r *sysrig) { r.put64(rigData+528, 1) }, 13},
		{"reserved header, standard format", func(r *sysrig) { r.put64(rigData+536, 1) }, -1},
		{"reserved header, compacted format", func(r *sysrig) { r.put64(rigData+520, 1<<63|7); r.put64(rigData+568, 1) }, 13},
		{"XSTATE_BV beyond XCOMP_BV", func(r *sysrig) { r.put64(rigData+520, 1<<63|1); r.put64(rigData+512, 2) }, 13},
		{"MXCSR", func(r *sysrig) { r.put32(rigData+24, 1<<16) }, 13},
		{"MXCSR not asked for", func(r *sysrig) { r.put32(rigData+24, 1<<16); r.c.r[x86.RAX] = 1 }, -1},
		{"CR4.OSXSAVE", func(r *sysrig) { r.c.s.CR4 &^= x86.CR4_OSXSAVE }, 6},
		{"CR0.TS", func(r *sysrig) { r.c.s.CR0 |= x86.CR0_TS }, 7},
	} {
		r := newSysrig(t, 1)
		r.enter(true, selWide0, selData0)
		r.c.r[x86.RBX], r.c.r[x86.RAX] = rigData, 7
		tt.prep(r)
		fillState(r.c)
		before := r.c.s
		vec, _ := r.exec(0x48, 0x0f, 0xae, 0x2b)
		if vec != tt.vec {
			t.Errorf("%s: exception %d, want %d", tt.name, vec, tt.vec)
		}
		if vec >= 0 && (r.c.s.FPU != before.FPU || r.c.s.Vec != before.Vec || r.c.s.MXCSR != before.MXCSR) {
			t.Errorf("%s: state has changed", tt.name)
		}
	}
}

func TestFPUEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name string
		real bool
		op16 bool
		size uint64
		ip   uint64 // what comes back in FIP
		cs   uint16
	}{
		{"32-bit protected", false, false, 28, 0x12345678, 0x33},
		{"16-bit protected", false, true, 14, 0x5678, 0x33},
		{"16-bit real", true, false, 14, 0x000459a8 & 0xfffff, 0},
		{"32-bit real", true, true, 28, 0x123459a8, 0},
	} {
		r := newSysrig(t, 1)
		r.enter(false, selCode0, selData0)
		c := r.c
		if tt.real {
			c.s.CR0 &^= x86.CR0_PE
			s := r.state()
			s.Seg[x86.CS] = x86.Segment{Selector: 0, Limit: 0xffff, Attr: 0x9b}
			r.set(&s)
		}
		fillState(c)
		f := &c.s.FPU
		f.FIP, f.FCS, f.FDP, f.FDS = 0x12345678, 0x33, 0x1111, 0x2b
		f.R[1] = x86.F80{}                    // zero
		f.R[3] = x86.F80{Mant: 1, SE: 0x7fff} // special
		f.R[4] = x86.F80{Mant: 5, SE: 0x4000} // special: no integer bit
		want := *f
		var pre []byte
		if tt.op16 {
			pre = []byte{0x66}
		}
		c.r[x86.RDI] = 0x4000 // [EDI] or, with 16-bit addresses, [BX]
		c.r[x86.RBX] = 0x4000
		modrm := byte(7)
		for i := range r.mem[0x4000:0x4100] {
			r.mem[0x4000+i] = 0xcc
		}
		if vec, _ := r.exec(append(pre, 0xdd, 6<<3|modrm)...); vec != -1 { // FNSAVE
			t.Fatalf("%s: FNSAVE: %d", tt.name, vec)
		}
		if r.mem[0x4000+tt.size+79] == 0xcc || r.mem[0x4000+tt.size+80] != 0xcc {
			t.Errorf("%s: FNSAVE wrote another number of bytes", tt.name)
		}
		tag := r.get16(0x4000 + tt.size/7*2)
		if tag != 0b11_00_11_10_10_11_01_11 {
			t.Errorf("%s: tag word %016b", tt.name, tag)
		}
		if f.CW != 0x37f || f.SW != 0 || f.Tag != 0 {
			t.Errorf("%s: not initialised: %+v", tt.name, *f)
		}
		f.R = [8]x86.F80{}
		if vec, _ := r.exec(append(pre, 0xdd, 4<<3|modrm)...); vec != -1 { // FRSTOR
			t.Fatalf("%s: FRSTOR: %d", tt.name, vec)
		}
		if f.CW != want.CW || f.SW != want.SW || f.Tag != want.Tag || f.R != want.R {
			t.Errorf("%s: %+v, want %+v", tt.name, *f, want)
		}
		if f.FIP != tt.ip || f.FCS != tt.cs {
			t.Errorf("%s: instruction pointer %#x:%#x", tt.name, f.FCS, f.FIP)
		}
		// FNSTENV masks all exceptions; FLDENV brings a pending one back.
		f.CW, f.SW = 0x40, 1
		fixSW(f)
		c.s.CR0 |= x86.CR0_NE
		if vec, _ := r.exec(append(pre, 0xd9, 6<<3|modrm)...); vec != -1 || f.CW != 0x7f || f.SW&swES != 0 {
			t.Errorf("%s: FNSTENV: %d, CW %#x, SW %#x", tt.name, vec, f.CW, f.SW)
		}
		if vec, _ := r.exec(append(pre, 0xd9, 4<<3|modrm)...); vec != -1 || f.CW != 0x40 || f.SW != 0x8081 {
			t.Errorf("%s: FLDENV: %d, CW %#x, SW %#x", tt.name, vec, f.CW, f.SW)
		}
		if vec, _ := r.exec(append(pre, 0xd9, 4<<3|modrm)...); vec != 16 {
			t.Errorf("%s: FLDENV with an exception pending: %d", tt.name, vec)
		}
	}
}

func TestFPUReady(t *testing.T) {
	type ready func(*CPU) bool
	x87 := func(c *CPU) bool { return c.x87Ready(true) }
	for _, tt := range []struct {
		name          string
		f             ready
		cr0, cr4, xcr uint64
		sw            uint16
		vec           int
	}{
		{"x87", x87, 0, 0, 1, 0, -1},
		{"x87, EM", x87, x86.CR0_EM, 0, 1, 0, 7},
		{"x87, TS", x87, x86.CR0_TS, 0, 1, 0, 7},
		{"x87, pending", x87, x86.CR0_NE, 0, 1, swES, 16},
		{"x87, pending, not NE", x87, 0, 0, 1, swES, -1},
		{"FNxxx, pending", func(c *CPU) bool { return c.x87Ready(false) }, x86.CR0_NE, 0, 1, swES, -1},
		{"FWAIT, TS", (*CPU).fwaitReady, x86.CR0_TS, 0, 1, 0, -1},
		{"FWAIT, TS and MP", (*CPU).fwaitReady, x86.CR0_TS | x86.CR0_MP, 0, 1, 0, 7},
		{"FWAIT, pending", (*CPU).fwaitReady, x86.CR0_NE, 0, 1, swES, 16},
		{"MMX, EM", (*CPU).mmxReady, x86.CR0_EM | x86.CR0_TS, 0, 1, 0, 6},
		{"MMX, TS", (*CPU).mmxReady, x86.CR0_TS, 0, 1, 0, 7},
		{"MMX, pending", (*CPU).mmxReady, x86.CR0_NE, 0, 1, swES, 16},
		{"SSE", (*CPU).sseReady, 0, x86.CR4_OSFXSR, 1, 0, -1},
		{"SSE, OSFXSR", (*CPU).sseReady, x86.CR0_TS, 0, 1, 0, 6},
		{"SSE, TS", (*CPU).sseReady, x86.CR0_TS, x86.CR4_OSFXSR, 1, 0, 7},
		{"AVX", (*CPU).avxReady, 0, x86.CR4_OSXSAVE, 7, 0, -1},
		{"AVX, XCR0", (*CPU).avxReady, 0, x86.CR4_OSXSAVE, 3, 0, 6},
		{"AVX, OSXSAVE", (*CPU).avxReady, 0, 0, 7, 0, 6},
		{"AVX, TS", (*CPU).avxReady, x86.CR0_TS, x86.CR4_OSXSAVE, 7, 0, 7},
	} {
		r := newSysrig(t, 1)
		c := r.c
		c.s.CR0, c.s.CR4, c.s.XCR0, c.s.FPU.SW = x86.CR0_PE|tt.cr0, tt.cr4, tt.xcr, tt.sw
		c.exc = exception{}
		vec := -1
		if !tt.f(c) {
			vec = int(c.exc.vec)
		}
		if vec != tt.vec {
			t.Errorf("%s: exception %d, want %d", tt.name, vec, tt.vec)
		}
	}
	r := newSysrig(t, 1)
	r.c.s.CR4, r.c.s.XCR0 = x86.CR4_OSXSAVE, 7
	if r.c.avxReady() || r.c.exc.vec != 6 || r.c.vexReady() {
		t.Error("VEX instructions work in real mode")
	}
}
