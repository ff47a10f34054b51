package interp

import (
	"math"
	"testing"

	"dfemu/cpu/x86"
)

var (
	x87One  = x86.F80{Mant: 1 << 63, SE: 0x3fff}
	x87Zero = x86.F80{}
	x87NaN  = x86.F80{Mant: 3 << 62, SE: 0xffff}
)

// x87Rig has a processor whose stack holds some values, ST(0) first.
func x87Rig(t *testing.T, cw uint16, st ...x86.F80) (*sysrig, *CPU) {
	rig, c := floatRig(t)
	c.s.FPU = x86.FPU{CW: cw}
	top := 8 - len(st)
	c.s.FPU.SW = uint16(top&7) << 11
	for i, v := range st {
		c.s.FPU.R[top+i] = v
		c.s.FPU.Tag |= 1 << (top + i)
	}
	c.r[x86.RSI] = rigData
	return rig, c
}

func TestX87Stack(t *testing.T) {
	eight := []x86.F80{x87One, x87One, x87One, x87One, x87One, x87One, x87One, x87One}
	for _, k := range []struct {
		name string
		code []byte
		cw   uint16
		st   []x86.F80
		sw   uint16 // without TOP
		top  uint16
		tag  uint8
		st0  x86.F80
	}{
		{"FLD1", []byte{0xd9, 0xe8}, 0x37f, nil, 0, 7, 0x80, x87One},
		{"FLD1 on a full stack", []byte{0xd9, 0xe8}, 0x37f, eight, 0x241, 7, 0xff, x87NaN},
		{"FLD1 on a full stack, not masked", []byte{0xd9, 0xe8}, 0x37e, eight, 0x82c1, 0, 0xff, x87One},
		{"FADD of an empty register", []byte{0xd8, 0xc1}, 0x37f, []x86.F80{x87One}, 0x41, 7, 0x80, x87NaN},
		{"FADD of an empty register, not masked", []byte{0xd8, 0xc1}, 0x37e, []x86.F80{x87One}, 0x80c1, 7, 0x80, x87One},
		{"FADDP", []byte{0xde, 0xc1}, 0x37f, []x86.F80{x87One, x87One}, 0, 7, 0x80, x86.F80{Mant: 1 << 63, SE: 0x4000}},
		{"FSUBP", []byte{0xde, 0xe9}, 0x37f, []x86.F80{x87Zero, x87One}, 0, 7, 0x80, x87One},
		{"FSUBRP", []byte{0xde, 0xe1}, 0x37f, []x86.F80{x87Zero, x87One}, 0, 7, 0x80, x86.F80{Mant: 1 << 63, SE: 0xbfff}},
		{"FDIVP by zero", []byte{0xde, 0xf9}, 0x37f, []x86.F80{x87Zero, x87One}, 4, 7, 0x80, x86.F80{Mant: 1 << 63, SE: 0x7fff}},
		{"FDIVP by zero, not masked", []byte{0xde, 0xf9}, 0x37b, []x86.F80{x87Zero, x87One}, 0x8084, 6, 0xc0, x87Zero},
		{"FXCH with an empty register", []byte{0xd9, 0xc9}, 0x37f, []x86.F80{x87One}, 0x41, 7, 0x81, x87NaN},
		{"FSTP ST(0)", []byte{0xdd, 0xd8}, 0x37f, []x86.F80{x87One}, 0, 0, 0, x87Zero},
		{"FINCSTP", []byte{0xd9, 0xf7}, 0x37f, []x86.F80{x87One}, 0, 0, 0x80, x87Zero},
		{"FDECSTP", []byte{0xd9, 0xf6}, 0x37f, nil, 0, 7, 0, x87Zero},
		{"FFREE", []byte{0xdd, 0xc0}, 0x37f, []x86.F80{x87One}, 0, 7, 0, x87One},
		{"FCOMPP, equal", []byte{0xde, 0xd9}, 0x37f, []x86.F80{x87One, x87One}, swC3, 0, 0, x87Zero},
		{"FXAM of an empty register", []byte{0xd9, 0xe5}, 0x37f, nil, swC3 | swC0, 0, 0, x87Zero},
		{"FPTAN of 0", []byte{0xd9, 0xf2}, 0x37f, []x86.F80{x87Zero}, 0, 6, 0xc0, x87One},
		{"FNINIT", []byte{0xdb, 0xe3}, 0x27f, []x86.F80{x87One}, 0, 0, 0, x87Zero},
	} {
		rig, c := x87Rig(t, k.cw, k.st...)
		if vec := rig.do(k.code...); vec >= 0 {
			t.Errorf("%s: exception %d", k.name, vec)
		}
		f := &c.s.FPU
		if f.SW != k.sw|k.top<<11 || f.Tag != k.tag || f.R[f.SW>>11&7] != k.st0 {
			t.Errorf("%s: SW %#x, Tag %#x, ST(0) %#x; want %#x, %#x, %#x", k.name,
				f.SW, f.Tag, f.R[f.SW>>11&7], k.sw|k.top<<11, k.tag, k.st0)
		}
	}
}

// TestX87Pending lets an exception come up and looks at who waits for it.
func TestX87Pending(t *testing.T) {
	for _, k := range []struct {
		name string
		code []byte
		cr0  uint64 // bits to set
		vec  int
	}{
		{"FADD", []byte{0xd8, 0xc0}, 0, x86.VecMF},
		{"FWAIT", []byte{0x9b}, 0, x86.VecMF},
		{"FLDCW", []byte{0xd9, 0x2e}, 0, x86.VecMF},
		{"FNSTCW", []byte{0xd9, 0x3e}, 0, -1},
		{"FNSTSW", []byte{0xdf, 0xe0}, 0, -1},
		{"FNCLEX", []byte{0xdb, 0xe2}, 0, -1},
		{"FNINIT", []byte{0xdb, 0xe3}, 0, -1},
		{"FADD, TS", []byte{0xd8, 0xc0}, x86.CR0_TS, x86.VecNM},
		{"FNSTSW, EM", []byte{0xdf, 0xe0}, x86.CR0_EM, x86.VecNM},
		{"FWAIT, TS", []byte{0x9b}, x86.CR0_TS, x86.VecMF},
		{"FWAIT, TS and MP", []byte{0x9b}, x86.CR0_TS | x86.CR0_MP, x86.VecNM},
	} {
		rig, c := x87Rig(t, 0x37b, x87Zero, x87One)
		if vec := rig.do(0xd8, 0xf9); vec != -1 { // FDIVR ST(0), ST(1)
			t.Fatalf("%s: the division itself raised %d", k.name, vec)
		}
		c.s.CR0 |= k.cr0
		if vec := rig.do(k.code...); vec != k.vec {
			t.Errorf("%s: exception %d, want %d", k.name, vec, k.vec)
		}
	}
}

// TestX87ControlWord unmasks a flagged exception and clears it.
func TestX87ControlWord(t *testing.T) {
	rig, c := x87Rig(t, 0x37f, x87Zero, x87One)
	rig.do(0xd8, 0xf9) // FDIVR: 1/0
	if c.s.FPU.SW&0xff != 4 {
		t.Fatalf("SW %#x after a masked division by zero", c.s.FPU.SW)
	}
	rig.put16(rigData, 0x37b)
	if rig.do(0xd9, 0x2e); c.s.FPU.SW&(swES|swB) != swES|swB {
		t.Errorf("SW %#x after the exception was unmasked", c.s.FPU.SW)
	}
	if vec := rig.do(0xd9, 0xe8); vec != x86.VecMF {
		t.Errorf("FLD1: exception %d", vec)
	}
	if rig.do(0xdb, 0xe2); c.s.FPU.SW&0xff != 0 || c.s.FPU.SW&swB != 0 {
		t.Errorf("SW %#x after FNCLEX", c.s.FPU.SW)
	}
	if vec := rig.do(0xd9, 0xe8); vec != -1 {
		t.Errorf("FLD1 after FNCLEX: exception %d", vec)
	}
}

// TestX87Pointers checks FIP, FDP and FOP, and that control instructions leave them.
func TestX87Pointers(t *testing.T) {
	rig, c := x87Rig(t, 0x37f)
	c.r[regRIP] = 0x1234
	rig.put64(rigData+0x40, math.Float64bits(1))
	rig.do(0x66, 0xdd, 0x46, 0x40) // FLD m64fp, with a prefix that does nothing
	f := &c.s.FPU
	if f.FIP != 0x1234 || f.FDP != rigData+0x40 || f.FOP != 0x546 || f.FCS != selWide3 || f.FDS != selData3 {
		t.Errorf("FLD: FIP %#x, FDP %#x, FOP %#x, FCS %#x, FDS %#x", f.FIP, f.FDP, f.FOP, f.FCS, f.FDS)
	}
	c.r[regRIP] = 0x5678
	rig.do(0xd8, 0xc0) // FADD ST(0), ST(0)
	if f.FIP != 0x5678 || f.FDP != rigData+0x40 || f.FOP != 0x0c0 {
		t.Errorf("FADD: FIP %#x, FDP %#x, FOP %#x", f.FIP, f.FDP, f.FOP)
	}
	c.r[regRIP] = 0x9abc
	rig.do(0xd9, 0x3e) // FNSTCW
	rig.do(0xdf, 0xe0) // FNSTSW AX
	rig.do(0x9b)       // FWAIT
	if f.FIP != 0x5678 || f.FDP != rigData+0x40 || f.FOP != 0x0c0 {
		t.Errorf("control instructions: FIP %#x, FDP %#x, FOP %#x", f.FIP, f.FDP, f.FOP)
	}
	if uint16(c.r[x86.RAX]) != f.SW {
		t.Errorf("FNSTSW: AX %#x, SW %#x", c.r[x86.RAX], f.SW)
	}
}

// TestX87MemoryFault checks that an instruction whose operand cannot be had changes nothing.
func TestX87MemoryFault(t *testing.T) {
	for _, code := range [][]byte{
		{0xd8, 0x06}, // FADD m32fp
		{0xdd, 0x06}, // FLD m64fp
		{0xdb, 0x2e}, // FLD m80fp
		{0xdf, 0x26}, // FBLD
		{0xda, 0x1e}, // FICOMP m32int
		{0xd9, 0x1e}, // FSTP m32fp
		{0xdb, 0x3e}, // FSTP m80fp
		{0xdf, 0x3e}, // FISTP m64int
		{0xdf, 0x36}, // FBSTP
		{0xd9, 0x2e}, // FLDCW
	} {
		third := x86.F80{Mant: 0xaaaaaaaaaaaaaaab, SE: 0x3ffd}
		rig, c := x87Rig(t, 0x37f, third, third)
		rig.pte(rigData, 0)
		before := c.s.FPU
		if vec := rig.do(code...); vec != x86.VecPF {
			t.Errorf("% x: exception %d", code, vec)
		}
		if c.s.FPU != before {
			t.Errorf("% x: %#x, was %#x", code, c.s.FPU, before)
		}
	}
}

// TestX87Store stores 2/3, and what does not fit, in all formats.
func TestX87Store(t *testing.T) {
	twoThirds := x86.F80{Mant: 0xaaaaaaaaaaaaaaab, SE: 0x3ffe}
	big := x86.F80{Mant: 1 << 63, SE: 0x5fff}
	for _, k := range []struct {
		name string
		code []byte
		cw   uint16
		v    x86.F80
		want uint64
		sw   uint16
		pop  bool
	}{
		{"FSTP m32fp", []byte{0xd9, 0x1e}, 0x37f, twoThirds, 0x3f2aaaab, 0x220, true},
		{"FST m64fp", []byte{0xdd, 0x16}, 0x37f, twoThirds, 0x3fe5555555555555, 0x020, false},
		{"FSTP m64fp, up", []byte{0xdd, 0x1e}, 0xb7f, twoThirds, 0x3fe5555555555556, 0x220, true},
		{"FSTP m32fp, too big", []byte{0xd9, 0x1e}, 0x37f, big, 0x7f800000, 0x228, true},
		{"FSTP m32fp, too big, not masked", []byte{0xd9, 0x1e}, 0x377, big, 0xcccccccccccccccc, 0x8088, false},
		{"FISTP m32int", []byte{0xdb, 0x1e}, 0x37f, twoThirds, 1, 0x220, true},
		{"FISTTP m32int", []byte{0xdb, 0x0e}, 0x37f, twoThirds, 0, 0x020, true},
		{"FIST m16int, too big", []byte{0xdf, 0x16}, 0x37f, big, 0x8000, 0x001, false},
		{"FISTP m16int, too big, not masked", []byte{0xdf, 0x1e}, 0x37e, big, 0xcccccccccccccccc, 0x8081, false},
		{"FBSTP", []byte{0xdf, 0x36}, 0x37f, x86.F80{Mant: 0xc0e4 << 48, SE: 0x400e}, 0x49380, 0, true},
	} {
		rig, c := x87Rig(t, k.cw, k.v)
		rig.put64(rigData, 0xcccccccccccccccc)
		if vec := rig.do(k.code...); vec >= 0 {
			t.Errorf("%s: exception %d", k.name, vec)
		}
		got := rig.get64(rigData)
		if got != 0xcccccccccccccccc {
			switch {
			case k.code[0] == 0xd9, k.code[0] == 0xdb:
				got &= 0xffffffff
			case k.code[0] == 0xdf && k.code[1] != 0x36:
				got &= 0xffff
			}
		}
		f := &c.s.FPU
		if got != k.want || f.SW&^swTop != k.sw || (f.Tag == 0) != k.pop {
			t.Errorf("%s: %#x, SW %#x, Tag %#x; want %#x, %#x, pop %t", k.name, got, f.SW, f.Tag, k.want, k.sw, k.pop)
		}
	}
}

// TestX87Constants loads pi by all rounding modes.
func TestX87Constants(t *testing.T) {
	for rc, mant := range []uint64{0xc90fdaa22168c235, 0xc90fdaa22168c234, 0xc90fdaa22168c235, 0xc90fdaa22168c234} {
		rig, c := x87Rig(t, 0x37f|uint16(rc)<<10)
		rig.do(0xd9, 0xeb)
		if v := c.s.FPU.R[7]; v != (x86.F80{Mant: mant, SE: 0x4000}) {
			t.Errorf("RC %d: pi is %#x", rc, v)
		}
	}
}
