package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// textLane returns a lane with the bytes of s, then zeros.
func textLane(s string) lane {
	var b [16]byte
	copy(b[:], s)
	return laneFrom(b[:])
}

func TestStringCompare(t *testing.T) {
	const c, z, s, o = x86.CF, x86.ZF, x86.SF, x86.OF
	for _, tt := range []struct {
		name  string
		a, b  string
		imm   byte
		ecx   uint64
		flags uint64
	}{
		{"strchr", "x", "abcxdefx", 0x00, 3, c | z | s},
		{"strrchr", "x", "abcxdefx", 0x40, 7, c | z | s},
		{"strcspn, none", "xyz", "abcdefghabcdefgh", 0x00, 16, s},
		{"strspn", "abc", "aabbcd", 0x10, 5, c | z | s},
		{"digits", "09", "ab7cd", 0x04, 2, c | z | s},
		{"two ranges", "az09", "-_x", 0x04, 2, c | z | s},
		{"strcmp, equal", "hello", "hello", 0x18, 16, z | s},
		{"strcmp, unlike", "hello", "help", 0x18, 3, c | z | s},
		{"strcmp, full", "0123456789abcdef", "0123456789abcdef", 0x18, 16, 0},
		{"strstr", "lo", "hello world", 0x0c, 3, c | z | s},
		{"strstr, at the end", "ef0", "0123456789abcdef", 0x0c, 14, c | s},
		{"strstr, empty needle", "", "abc", 0x0c, 0, c | z | s | o},
		{"masked negation", "ab", "abcd", 0x30, 2, c | z | s},
		{"masked negation, all", "abcd", "abcd", 0x30, 16, z | s},
		{"signed range", "\x80\x7f", "\x01", 0x06, 0, c | z | s | o},
		{"unsigned range", "\x80\xff", "\x01", 0x04, 16, z | s},
		{"words", "\x34\x12", "\x34\x00\x34\x12", 0x01, 1, c | z | s},
	} {
		r := vecRig(t)
		a, b := textLane(tt.a), textLane(tt.b)
		r.c.s.Vec[1], r.c.s.Vec[2] = [4]uint64{a.lo, a.hi}, [4]uint64{b.lo, b.hi}
		r.c.r[x86.RCX] = ones
		if vec, _ := r.exec(0x66, 0x0f, 0x3a, 0x63, 0xca, tt.imm); vec >= 0 { // PCMPISTRI XMM1, XMM2, imm
			t.Fatalf("%s: exception %d", tt.name, vec)
		}
		if r.c.r[x86.RCX] != tt.ecx || r.c.arith() != tt.flags {
			t.Errorf("%s: %d, flags %#x; want %d, %#x", tt.name, r.c.r[x86.RCX], r.c.arith(), tt.ecx, tt.flags)
		}
	}
}

func TestStringLengths(t *testing.T) {
	for _, tt := range []struct {
		reg, imm uint64
		count    int
		want     int
	}{
		{0, 0, 16, 0},
		{5, 0, 16, 5},
		{17, 0, 16, 16},
		{0xfffffffd, 0, 16, 3},
		{0xfffffffd, strWide, 16, 16},
		{ones - 2, strWide, 16, 3},
		{1 << 63, strWide, 16, 16},
		{0x80000000, 0, 8, 8},
		{0x100000002, 0, 8, 2},
	} {
		if n := explicitLength(tt.reg, tt.imm, tt.count); n != tt.want {
			t.Errorf("%#x, %#x: %d, want %d", tt.reg, tt.imm, n, tt.want)
		}
	}
}

// TestStringMask checks PCMPISTRM's two forms of result.
func TestStringMask(t *testing.T) {
	for _, tt := range []struct {
		imm  byte
		want lane
	}{
		{0x00, lane{lo: 0x88}},
		{0x40, lane{lo: 0xff000000ff000000}},
		{0x41, lane{0, 0}},
	} {
		r := vecRig(t)
		a, b := textLane("x"), textLane("abcxdefx")
		r.c.s.Vec[1], r.c.s.Vec[2] = [4]uint64{a.lo, a.hi}, [4]uint64{b.lo, b.hi}
		if vec, _ := r.exec(0x66, 0x0f, 0x3a, 0x62, 0xca, tt.imm); vec >= 0 {
			t.Fatalf("exception %d", vec)
		}
		if got := r.c.xmm(0); got != tt.want {
			t.Errorf("%#x: %#x, want %#x", tt.imm, got, tt.want)
		}
	}
}

// FuzzVector executes whatever vector instruction the bytes are, with operands
// that may be anywhere, in 64-bit mode and outside it.
func FuzzVector(f *testing.F) {
	f.Add([]byte{0x66, 0x0f, 0x6f, 0x06}, uint64(rigData), true)
	f.Add([]byte{0xc5, 0xfe, 0x7f, 0x06}, uint64(rigData+pageSize-9), true)
	f.Add([]byte{0xc4, 0xe2, 0xed, 0x91, 0x04, 0x0e}, ^uint64(0), true)
	f.Add([]byte{0x66, 0x0f, 0x3a, 0x63, 0xca, 0x0c}, uint64(0), false)
	f.Add([]byte{0x0f, 0xf7, 0xdc}, uint64(0xfffffff9), false)
	f.Add([]byte{0xc4, 0xe3, 0x79, 0x14, 0xc0, 0xff}, uint64(0), true)
	f.Fuzz(func(t *testing.T, code []byte, at uint64, long bool) {
		var in x86.Inst
		mode := x86.Mode64
		if !long {
			mode = x86.Mode32
		}
		if len(code) == 0 || len(code) > x86.MaxInstLen || x86.Decode(mode, code, &in) != nil ||
			in.Enc.Exc == x86.ExcNone || in.Enc.Exc == x86.ExcX87 || !compilePacked(&in, new(Op)) {
			return
		}
		r := newSysrig(t, 1)
		cs, ss := uint16(selCode3), uint16(selData3)
		if long {
			cs = selWide3
		}
		r.enter(long, cs, ss)
		st := r.state()
		for i := range st.GPR {
			st.GPR[i] = at
		}
		for i := range st.Vec {
			st.Vec[i] = [4]uint64{at, ^at, at, ^at}
		}
		r.set(&st)
		vec, _ := r.exec(code...)
		switch vec {
		case -1, x86.VecGP, x86.VecPF, x86.VecSS:
		default:
			t.Errorf("%v: exception %d", &in, vec)
		}
		if after := r.state(); vec >= 0 && in.Enc.Attr&x86.Gather == 0 && after.Vec != st.Vec {
			t.Errorf("%v: exception %d, and registers changed", &in, vec)
		}
	})
}
