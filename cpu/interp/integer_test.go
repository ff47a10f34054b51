package interp

import (
	"encoding/binary"
	"testing"

	"dfemu/cpu/x86"
)

// setup puts the rig into a mode: 16-bit and 32-bit protected mode with flat data, or 64-bit mode.
func (r *sysrig) setup(mode x86.Mode) {
	r.t.Helper()
	switch mode {
	case x86.Mode64:
		r.enter(true, selWide3, selData3)
	case x86.Mode32:
		r.enter(false, selCode0, selData0)
	default:
		r.enter(false, selCode16, selData16)
	}
	r.c.pending.And(pendSlow)
}

// regs sets registers and the arithmetic flags.
func (r *sysrig) regs(flags uint64, regs map[int]uint64) {
	for n, v := range regs {
		r.c.r[n] = v
	}
	r.c.setArith(flags)
}

// mustExec executes one instruction that raises nothing.
func (r *sysrig) mustExec(b ...byte) {
	r.t.Helper()
	if vec, code := r.exec(b...); vec >= 0 {
		r.t.Fatalf("% x: exception %d, %#x", b, vec, code)
	}
}

// TestDecimal checks the decimal adjustments against the examples and the operation
// sections of the manual.
func TestDecimal(t *testing.T) {
	const cf, af, zf, sf, pf = x86.CF, x86.AF, x86.ZF, x86.SF, x86.PF
	const both = cf | af
	for _, tt := range []struct {
		name       string
		code       []byte
		ax, flags  uint64
		want, fwnt uint64
		mask       uint64 // flags that are defined
	}{
		{"DAA", []byte{0x27}, 0xae, 0, 0x14, both | pf, both | sf | zf | pf},
		{"DAA none", []byte{0x27}, 0x42, 0, 0x42, pf, both | sf | zf | pf},
		{"DAA low by AF", []byte{0x27}, 0x11, af, 0x17, af | pf, both | sf | zf | pf},
		{"DAA high by CF", []byte{0x27}, 0x10, cf, 0x70, cf, both | sf | zf | pf},
		{"DAA to zero", []byte{0x27}, 0x9a, 0, 0x00, both | zf | pf, both | sf | zf | pf},
		{"DAS", []byte{0x2f}, 0xee, 0, 0x88, both | sf | pf, both | sf | zf | pf},
		{"DAS borrow", []byte{0x2f}, 0x03, af, 0xfd, both | sf, both | sf | zf | pf},
		{"AAA", []byte{0x37}, 0x020f, 0, 0x0305, both, both},
		{"AAA none", []byte{0x37}, 0x0209, cf, 0x0209, 0, both},
		{"AAA carry into AH", []byte{0x37}, 0x00fb, 0, 0x0201, both, both},
		{"AAS", []byte{0x3f}, 0x02ff, 0, 0x0109, both, both},
		{"AAS by AF", []byte{0x3f}, 0x0205, af, 0x000f, both, both},
		{"AAM", []byte{0xd4, 0x0a}, 0xff3f, 0, 0x0603, pf, sf | zf | pf},
		{"AAM base 16", []byte{0xd4, 0x10}, 0x00a0, 0, 0x0a00, zf | pf, sf | zf | pf},
		{"AAD", []byte{0xd5, 0x0a}, 0x0603, 0, 0x003f, pf, sf | zf | pf},
		{"AAD sign", []byte{0xd5, 0x0a}, 0x0c08, 0, 0x0080, sf, sf | zf | pf},
		{"SALC set", []byte{0xd6}, 0x1234, cf, 0x12ff, cf, both | sf | zf | pf},
		{"SALC clear", []byte{0xd6}, 0x1234, 0, 0x1200, 0, both | sf | zf | pf},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.setup(x86.Mode32)
			r.regs(tt.flags, map[int]uint64{x86.RAX: 0xabcd0000 | tt.ax})
			r.mustExec(tt.code...)
			if got := r.c.r[x86.RAX]; got != 0xabcd0000|tt.want {
				t.Errorf("EAX is %#x, want %#x", got, 0xabcd0000|tt.want)
			}
			if got := r.c.arith() & tt.mask; got != tt.fwnt {
				t.Errorf("flags are %#x, want %#x", got, tt.fwnt)
			}
		})
	}
}

// TestDivideErrors: #DE leaves everything as it was.
func TestDivideErrors(t *testing.T) {
	for _, tt := range []struct {
		name     string
		code     []byte
		ax, dx   uint64
		cx       uint64
		ok       bool
		quot, rm uint64
	}{
		{"DIV r8 by 0", []byte{0xf6, 0xf1}, 5, 0, 0, false, 0, 0},
		{"DIV r8 overflow", []byte{0xf6, 0xf1}, 0x200, 0, 2, false, 0, 0},
		{"DIV r32 by 0", []byte{0xf7, 0xf1}, 5, 0, 0, false, 0, 0},
		{"DIV r32 overflow", []byte{0xf7, 0xf1}, 0, 7, 7, false, 0, 0},
		{"DIV r32 largest", []byte{0xf7, 0xf1}, 0xffffffff, 6, 7, true, 0xffffffff, 6},
		{"DIV r64", []byte{0x48, 0xf7, 0xf1}, 0, 1, 1 << 63, true, 2, 0},
		{"IDIV r8 overflow", []byte{0xf6, 0xf9}, 0x80, 0, 1, false, 0, 0},
		{"IDIV r8 least", []byte{0xf6, 0xf9}, 0xff80, 0, 1, true, 0x0080, 0},
		{"IDIV r32 least by -1", []byte{0xf7, 0xf9}, 0x80000000, 0xffffffff, 0xffffffff, false, 0, 0},
		{"IDIV r32 least", []byte{0xf7, 0xf9}, 0x80000000, 0xffffffff, 1, true, 0x80000000, 0},
		{"IDIV r64 least by -1", []byte{0x48, 0xf7, 0xf9}, 1 << 63, ^uint64(0), ^uint64(0), false, 0, 0},
		{"IDIV r64 by 0", []byte{0x48, 0xf7, 0xf9}, 1, 0, 0, false, 0, 0},
		{"IDIV r64 remainder", []byte{0x48, 0xf7, 0xf9}, ^uint64(6), ^uint64(0), 2, true, ^uint64(2), ^uint64(0)},
		{"AAM by 0", nil, 5, 0, 0, false, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.setup(x86.Mode64)
			if tt.code == nil {
				r.setup(x86.Mode32)
				tt.code = []byte{0xd4, 0}
			}
			r.regs(x86.ArithFlags, map[int]uint64{x86.RAX: tt.ax, x86.RDX: tt.dx, x86.RCX: tt.cx})
			vec, _ := r.exec(tt.code...)
			if !tt.ok {
				if vec != x86.VecDE || r.c.r[x86.RAX] != tt.ax || r.c.r[x86.RDX] != tt.dx || r.c.rip != rigCode || r.c.arith() != x86.ArithFlags {
					t.Errorf("exception %d, RAX %#x, RDX %#x, RIP %#x", vec, r.c.r[x86.RAX], r.c.r[x86.RDX], r.c.rip)
				}
				return
			}
			if vec >= 0 || r.c.r[x86.RAX] != tt.quot || tt.code[0] != 0xf6 && r.c.r[x86.RDX] != tt.rm {
				t.Errorf("exception %d, RAX %#x, RDX %#x, want %#x, %#x", vec, r.c.r[x86.RAX], r.c.r[x86.RDX], tt.quot, tt.rm)
			}
		})
	}
}

// TestModifyFaults: an instruction that modifies memory across a page boundary faults with a
// write at the page that does not allow it, and has changed nothing.
func TestModifyFaults(t *testing.T) {
	const page = rigData + 0x1000
	for _, tt := range []struct {
		name string
		code []byte
	}{
		{"ADD", []byte{0x48, 0x01, 0x06}},
		{"ADD imm", []byte{0x48, 0x83, 0x06, 0x01}},
		{"ADC", []byte{0x48, 0x11, 0x06}},
		{"LOCK OR", []byte{0xf0, 0x48, 0x09, 0x06}},
		{"INC", []byte{0x48, 0xff, 0x06}},
		{"NEG", []byte{0x48, 0xf7, 0x1e}},
		{"NOT", []byte{0x48, 0xf7, 0x16}},
		{"SHL", []byte{0x48, 0xc1, 0x26, 0x03}},
		{"RCR CL", []byte{0x48, 0xd3, 0x1e}},
		{"SHL by 0", []byte{0x48, 0xc1, 0x26, 0x00}},
		{"SHLD", []byte{0x48, 0x0f, 0xa4, 0x06, 0x05}},
		{"BTS", []byte{0x48, 0x0f, 0xba, 0x2e, 0x07}},
		{"LOCK BTR", []byte{0xf0, 0x48, 0x0f, 0xb3, 0x0e}},
		{"XCHG", []byte{0x48, 0x87, 0x06}},
		{"XADD", []byte{0x48, 0x0f, 0xc1, 0x06}},
		{"LOCK XADD", []byte{0xf0, 0x48, 0x0f, 0xc1, 0x06}},
		{"CMPXCHG", []byte{0x48, 0x0f, 0xb1, 0x0e}},
		{"LOCK CMPXCHG", []byte{0xf0, 0x48, 0x0f, 0xb1, 0x0e}},
		{"CMPXCHG8B", []byte{0x0f, 0xc7, 0x0e}},
		{"MOV store", []byte{0x48, 0x89, 0x06}},
		{"POP", []byte{0x8f, 0x06}},
		{"MOVBE", []byte{0x48, 0x0f, 0x38, 0xf1, 0x06}},
		{"MOVNTI", []byte{0x48, 0x0f, 0xc3, 0x06}},
	} {
		for _, pte := range []uint64{0, pteP | pteU} {
			t.Run(tt.name, func(t *testing.T) {
				r := newSysrig(t, 1)
				r.setup(x86.Mode64)
				r.c.s.CR0 |= x86.CR0_WP
				r.pte(page, 0)
				if pte != 0 {
					r.pte(page, page|pte)
				}
				r.put64(page-4, 0x1122334455667788)
				r.regs(x86.CF|x86.ZF, map[int]uint64{x86.RSI: page - 4, x86.RAX: 0x55667788, x86.RCX: 5, x86.RDX: 0x11223344, x86.RSP: rigStack0})
				before := r.c.r
				vec, code := r.exec(tt.code...)
				want := uint32(x86.PFU | x86.PFW)
				if pte != 0 {
					want |= x86.PFP
				}
				if vec != x86.VecPF || code != want || r.c.s.CR2 != page {
					t.Fatalf("exception %d, code %#x, CR2 %#x; want a page fault with %#x", vec, code, r.c.s.CR2, want)
				}
				before[regRIP] = r.c.r[regRIP]
				if r.c.r != before || r.c.arith() != x86.CF|x86.ZF || r.c.rip != rigCode || r.get64(page-4) != 0x1122334455667788 {
					t.Errorf("something has changed: %x, memory %#x", r.c.r, r.get64(page-4))
				}
			})
		}
	}
}

// TestCrossPage: the same across two pages that allow it, mapped to distant places.
func TestCrossPage(t *testing.T) {
	r := newSysrig(t, 1)
	r.setup(x86.Mode64)
	const page = rigData + 0x1000
	r.pte(page, 0x30000|pteP|pteU|pteW)
	put := func(v uint64) {
		binary.LittleEndian.PutUint32(r.mem[page-4:], uint32(v))
		binary.LittleEndian.PutUint32(r.mem[0x30000:], uint32(v>>32))
	}
	get := func() uint64 { return uint64(r.get32(page-4)) | uint64(r.get32(0x30000))<<32 }
	for _, tt := range []struct {
		code []byte
		want uint64
	}{
		{[]byte{0x48, 0x01, 0x06}, 0x11223344fffffff0 + 0x20},
		{[]byte{0xf0, 0x48, 0x01, 0x06}, 0x11223344fffffff0 + 0x20},
		{[]byte{0x48, 0xff, 0x0e}, 0x11223344fffffff0 - 1},
		{[]byte{0x48, 0x87, 0x06}, 0x20},
		{[]byte{0x48, 0xc1, 0x06, 0x08}, 0x223344fffffff011},
		{[]byte{0x48, 0x89, 0x06}, 0x20},
		{[]byte{0x48, 0x0f, 0xba, 0x3e, 0x20}, 0x11223345fffffff0},
	} {
		put(0x11223344fffffff0)
		r.setup(x86.Mode64)
		r.pte(page, 0x30000|pteP|pteU|pteW)
		r.regs(0, map[int]uint64{x86.RSI: page - 4, x86.RAX: 0x20})
		r.mustExec(tt.code...)
		if got := get(); got != tt.want {
			t.Errorf("% x: %#x, want %#x", tt.code, got, tt.want)
		}
	}
}

// TestAddressSize: the effective address is cut to the address size before the segment base is added.
func TestAddressSize(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode x86.Mode
		code []byte
		regs map[int]uint64
		at   uint64
	}{
		{"64 to 32", x86.Mode64, []byte{0x67, 0x8b, 0x43, 0x10}, map[int]uint64{x86.RBX: 0x100000000 + rigData - 0x10}, rigData},
		{"64 wraps", x86.Mode64, []byte{0x8b, 0x44, 0x73, 0x10}, map[int]uint64{x86.RBX: ^uint64(0), x86.RSI: rigData/2 - 8 + 1<<63}, rigData - 1},
		{"32 wraps", x86.Mode32, []byte{0x8b, 0x43, 0x10}, map[int]uint64{x86.RBX: 0xfffffff0 + rigData}, rigData},
		{"32 to 16", x86.Mode32, []byte{0x67, 0x8b, 0x47, 0x10}, map[int]uint64{x86.RBX: 0xffff5ff0 + 0x1000}, 0x7000},
		{"16 wraps", x86.Mode16, []byte{0x66, 0x8b, 0x40, 0x10}, map[int]uint64{x86.RBX: 0xfff0, x86.RSI: 0x7000}, 0x7000},
		{"16 to 32", x86.Mode16, []byte{0x67, 0x66, 0x8b, 0x44, 0x73, 0x10}, map[int]uint64{x86.RBX: rigData - 0x30, x86.RSI: 0x10}, rigData},
		{"64 RIP-relative", x86.Mode64, []byte{0x8b, 0x05, 0x00, 0x01, 0x00, 0x00}, nil, rigCode + 6 + 0x100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.setup(tt.mode)
			r.put32(tt.at, 0x5a5aa5a5)
			r.regs(0, tt.regs)
			r.mustExec(tt.code...)
			if got := uint32(r.c.r[x86.RAX]); got != 0x5a5aa5a5 {
				t.Errorf("EAX is %#x", got)
			}
		})
	}
}

// TestBitStrings: BT with a register reaches outside its operand, also below it.
func TestBitStrings(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode x86.Mode
		code []byte
		bit  uint64
		at   uint64 // byte and bit that change
		n    uint
	}{
		{"BTS r64 up", x86.Mode64, []byte{0x48, 0x0f, 0xab, 0x0e}, 1000, rigData + 125, 0},
		{"BTS r64 down", x86.Mode64, []byte{0x48, 0x0f, 0xab, 0x0e}, ^uint64(0), rigData - 1, 7},
		{"LOCK BTS r32", x86.Mode64, []byte{0xf0, 0x0f, 0xab, 0x0e}, 0xffffff00 - 3, rigData - 33, 5},
		{"BTC r16 down", x86.Mode64, []byte{0x66, 0x0f, 0xbb, 0x0e}, 0x8000, rigData - 4096, 0},
		{"BTS r32, 32-bit mode", x86.Mode32, []byte{0x0f, 0xab, 0x0e}, 0x80000 - 1, rigData + 0xffff, 7},
		{"BTS imm is cut", x86.Mode64, []byte{0x0f, 0xba, 0x2e, 0x25}, 0, rigData, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.setup(tt.mode)
			r.regs(x86.CF|x86.ZF, map[int]uint64{x86.RCX: tt.bit, x86.RSI: rigData})
			r.mustExec(tt.code...)
			if r.mem[tt.at] != 1<<tt.n {
				t.Errorf("the byte is %#x", r.mem[tt.at])
			}
			if f := r.c.arith(); f&(x86.CF|x86.ZF) != x86.ZF {
				t.Errorf("flags are %#x", f)
			}
		})
	}
}

// TestUndefined checks conditions for #UD and #BR.
func TestUndefinedInteger(t *testing.T) {
	r := newSysrig(t, 1)
	r.enterVM(3, 0)
	if vec, _ := r.exec(0xc4, 0xe2, 0x78, 0xf2, 0xc1); vec != x86.VecUD { // ANDN
		t.Errorf("ANDN in virtual-8086 mode: exception %d", vec)
	}
	r.setup(x86.Mode32)
	r.regs(0, map[int]uint64{x86.RAX: 0xf0f0, x86.RCX: 0xff00})
	r.mustExec(0xc4, 0xe2, 0x78, 0xf2, 0xc1) // ANDN EAX, EAX, ECX
	if r.c.r[x86.RAX] != 0x0f00 {
		t.Errorf("ANDN: %#x", r.c.r[x86.RAX])
	}
	for _, tt := range []struct {
		i    uint64
		want int
	}{{0xfffffffb, -1}, {0xfffffffa, x86.VecBR}, {9, -1}, {10, x86.VecBR}, {0, -1}} {
		r.setup(x86.Mode32)
		r.put32(rigData, 0xfffffffb) // -5
		r.put32(rigData+4, 9)
		r.regs(0, map[int]uint64{x86.RAX: tt.i, x86.RSI: rigData})
		if vec, _ := r.exec(0x62, 0x06); vec != tt.want {
			t.Errorf("BOUND %d: exception %d, want %d", int32(tt.i), vec, tt.want)
		}
	}
	r.setup(x86.Mode64)
	r.regs(0, map[int]uint64{x86.RSI: rigData + 8})
	if vec, _ := r.exec(0xf0, 0x48, 0x0f, 0xc7, 0x0e); vec != x86.VecGP {
		t.Errorf("CMPXCHG16B of an unaligned operand: exception %d", vec)
	}
	r.regs(0, map[int]uint64{x86.RSI: 1 << 30})
	if vec, code := r.exec(0x0f, 0xae, 0x3e); vec != x86.VecPF || code != x86.PFU {
		t.Errorf("CLFLUSH of an absent page: exception %d, %#x", vec, code)
	}
	r.mustExec(0x0f, 0x18, 0x06) // PREFETCHNTA
}

// TestLEAAndMoves: sizes of results.
func TestLEAAndMoves(t *testing.T) {
	const all = ^uint64(0)
	for _, tt := range []struct {
		name string
		mode x86.Mode
		code []byte
		rax  uint64
		rcx  uint64
		want uint64 // RAX
	}{
		{"LEA r16", x86.Mode64, []byte{0x66, 0x8d, 0x41, 0x01}, all, 0xffff, all &^ 0xffff},
		{"LEA r32", x86.Mode64, []byte{0x8d, 0x41, 0x01}, all, all, 0},
		{"LEA r64, 32-bit address", x86.Mode64, []byte{0x67, 0x48, 0x8d, 0x41, 0x01}, all, all, 0},
		{"LEA r64 scaled", x86.Mode64, []byte{0x48, 0x8d, 0x04, 0xcd, 0x04, 0, 0, 0}, 0, 3, 28},
		{"LEA r64 base and index", x86.Mode64, []byte{0x48, 0x8d, 0x44, 0x48, 0xff}, 100, 3, 105},
		{"MOVZX r64, AH", x86.Mode64, []byte{0x0f, 0xb6, 0xc4}, 0xffffffffffff12ff, 0, 0x12},
		{"MOVSX r32, CL", x86.Mode64, []byte{0x0f, 0xbe, 0xc1}, all, 0x80, 0xffffff80},
		{"MOVSX r16, CL", x86.Mode64, []byte{0x66, 0x0f, 0xbe, 0xc1}, 0x1234567812345678, 0x80, 0x123456781234ff80},
		{"MOVSXD r64", x86.Mode64, []byte{0x48, 0x63, 0xc1}, 0, 0x80000000, 0xffffffff80000000},
		{"MOVSXD r32", x86.Mode64, []byte{0x63, 0xc1}, all, 0x80000000, 0x80000000},
		{"CMOV r32 not taken", x86.Mode64, []byte{0x0f, 0x42, 0xc1}, all, 5, 0xffffffff},
		{"CMOV r16 not taken", x86.Mode64, []byte{0x66, 0x0f, 0x42, 0xc1}, all, 5, all},
		{"XCHG r32 with itself", x86.Mode64, []byte{0x87, 0xc0}, all, 0, 0xffffffff},
		{"NOP", x86.Mode64, []byte{0x90}, all, 0, all},
		{"XCHG r8, AH", x86.Mode64, []byte{0x86, 0xe0}, 0x1122, 0, 0x2211},
		{"SHL r32 by 0", x86.Mode64, []byte{0xc1, 0xe0, 0x20}, all, 0, 0xffffffff},
		{"SHL r32 by CL of 0", x86.Mode64, []byte{0xd3, 0xe0}, all, 0x40, 0xffffffff},
		{"MOV moffs", x86.Mode64, []byte{0x48, 0xa1, 0x00, 0x00, 0x02, 0, 0, 0, 0, 0}, 0, 0, 0x0807060504030201},
		{"MOV AL, moffs32", x86.Mode32, []byte{0xa0, 0x00, 0x00, 0x02, 0}, 0xffffffff, 0, 0xffffff01},
		{"XLAT", x86.Mode64, []byte{0xd7}, 0xff02, 0, 0xff03},
		{"XLAT 32-bit mode", x86.Mode32, []byte{0xd7}, 0xff02, 0, 0xff03},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.setup(tt.mode)
			r.put64(rigData, 0x0807060504030201)
			r.regs(0, map[int]uint64{x86.RAX: tt.rax, x86.RCX: tt.rcx, x86.RBX: rigData})
			r.mustExec(tt.code...)
			if got := r.c.r[x86.RAX]; got != tt.want {
				t.Errorf("RAX is %#x, want %#x", got, tt.want)
			}
		})
	}
}

// TestConditions compares the three ways a condition is evaluated with its
// definition, for all values of the flags.
func TestConditions(t *testing.T) {
	r := newSysrig(t, 1)
	r.setup(x86.Mode64)
	c := r.c
	for f := range uint64(64) {
		flag := func(n int) bool { return f>>n&1 != 0 }
		cf, pf, af, zf, sf, of := flag(0), flag(1), flag(2), flag(3), flag(4), flag(5)
		var v uint64
		for i, b := range []uint64{x86.CF, x86.PF, x86.AF, x86.ZF, x86.SF, x86.OF} {
			if flag(i) {
				v |= b
			}
		}
		_ = af
		want := []bool{of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of}
		for cc := range uint8(16) {
			w := want[cc>>1] != (cc&1 != 0)
			c.setArith(v)
			if got := c.cond(cc); got != w {
				t.Errorf("condition %d of %#x: %v", cc, v, got)
			}
			var o Op
			o.dst = x86.RAX * 8
			setTable[cc](c, &o)
			if got := c.r[x86.RAX]&0xff != 0; got != w {
				t.Errorf("SETcc %d of %#x: %v", cc, v, got)
			}
			for _, table := range []*[16]handler{&jcc32Table, &jcc64Table} {
				if got := table[cc](c, &o) == stTaken; got != w {
					t.Errorf("Jcc %d of %#x: %v", cc, v, got)
				}
			}
			c.r[x86.RAX], c.r[x86.RCX] = 1, 2
			o.dst, o.src = x86.RAX, x86.RCX
			cmov32Table[cc](c, &o)
			if got := c.r[x86.RAX] == 2; got != w {
				t.Errorf("CMOVcc %d of %#x: %v", cc, v, got)
			}
			if c.arith() != v {
				t.Fatalf("flags %#x became %#x", v, c.arith())
			}
		}
	}
}
