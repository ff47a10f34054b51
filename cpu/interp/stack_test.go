package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// TestPushPop: what is pushed, what is popped, and how far the stack pointer moves.
func TestPushPop(t *testing.T) {
	const sp = rigStack0
	for _, tt := range []struct {
		name string
		mode x86.Mode
		code []byte
		regs map[int]uint64
		n    int      // size of the words below
		top  []uint64 // of the stack afterwards
		rsp  uint64
		reg  int // a register and its value afterwards
		want uint64
	}{
		{"PUSH r64", x86.Mode64, []byte{0x50}, map[int]uint64{x86.RAX: 0x1122334455667788}, 8, []uint64{0x1122334455667788}, sp - 8, x86.RAX, 0x1122334455667788},
		{"PUSH r16", x86.Mode64, []byte{0x66, 0x50}, map[int]uint64{x86.RAX: 0x1122334455667788}, 2, []uint64{0x7788}, sp - 2, x86.RAX, 0x1122334455667788},
		{"PUSH RSP", x86.Mode64, []byte{0x54}, nil, 8, []uint64{sp}, sp - 8, x86.RSP, sp - 8},
		{"POP RSP", x86.Mode64, []byte{0x5c}, nil, 8, nil, 0x8877665544332211, x86.RSP, 0x8877665544332211},
		{"PUSH imm8", x86.Mode64, []byte{0x6a, 0x80}, nil, 8, []uint64{^uint64(0x7f)}, sp - 8, x86.RAX, 0},
		{"PUSH imm32", x86.Mode64, []byte{0x68, 0, 0, 0, 0x80}, nil, 8, []uint64{0xffffffff80000000}, sp - 8, x86.RAX, 0},
		{"PUSH [RSP+8]", x86.Mode64, []byte{0xff, 0x74, 0x24, 0x08}, nil, 8, []uint64{0x1000ffeeddccbbaa}, sp - 8, x86.RAX, 0},
		{"POP r16", x86.Mode64, []byte{0x66, 0x58}, map[int]uint64{x86.RAX: ^uint64(0)}, 8, nil, sp + 2, x86.RAX, 0xffffffffffff2211},
		{"POP [RSP]", x86.Mode64, []byte{0x8f, 0x04, 0x24}, nil, 8, []uint64{0x8877665544332211}, sp + 8, x86.RAX, 0},
		{"LEAVE", x86.Mode64, []byte{0xc9}, map[int]uint64{x86.RBP: sp + 8}, 8, nil, sp + 16, x86.RBP, 0x1000ffeeddccbbaa},
		{"ENTER", x86.Mode64, []byte{0xc8, 0x20, 0, 0}, map[int]uint64{x86.RBP: 0x77}, 8, nil, sp - 0x28, x86.RBP, sp - 8},
		{"ENTER 1", x86.Mode64, []byte{0xc8, 0x00, 0, 1}, map[int]uint64{x86.RBP: 0x77}, 8, []uint64{sp - 8, 0x77}, sp - 16, x86.RBP, sp - 8},
		{"ENTER 3", x86.Mode64, []byte{0xc8, 0x00, 0, 3}, map[int]uint64{x86.RBP: sp + 16}, 8, []uint64{sp - 8, 0x8877665544332211, 0x1000ffeeddccbbaa, sp + 16}, sp - 32, x86.RBP, sp - 8},
		{"32: PUSH r32", x86.Mode32, []byte{0x50}, map[int]uint64{x86.RAX: 0x55667788}, 4, []uint64{0x55667788}, sp - 4, x86.RAX, 0x55667788},
		{"32: PUSH wraps", x86.Mode32, []byte{0x58}, map[int]uint64{x86.RSP: sp}, 4, nil, sp + 4, x86.RAX, 0x44332211},
		{"32: PUSHA", x86.Mode32, []byte{0x60}, map[int]uint64{x86.RAX: 1, x86.RCX: 2, x86.RDX: 3, x86.RBX: 4, x86.RBP: 6, x86.RSI: 7, x86.RDI: 8}, 4, []uint64{8, 7, 6, sp, 4, 3, 2, 1}, sp - 32, x86.RAX, 1},
		{"32: POPA", x86.Mode32, []byte{0x61}, nil, 4, nil, sp + 32, x86.RDI, 0x44332211},
		{"16: PUSHA", x86.Mode16, []byte{0x60}, map[int]uint64{x86.RAX: 1, x86.RDI: 8}, 2, []uint64{8, 0, 0, sp}, sp - 16, x86.RAX, 1},
		{"16: PUSH keeps the upper half", x86.Mode16, []byte{0x50}, map[int]uint64{x86.RAX: 0x1234, x86.RSP: 0xabcd0000 + sp}, 2, []uint64{0x1234}, 0xabcd0000 + sp - 2, x86.RAX, 0x1234},
		{"16: PUSH wraps", x86.Mode16, []byte{0x50}, map[int]uint64{x86.RAX: 0x1234, x86.RSP: 0x10000}, 2, []uint64{0x1234}, 0x1fffe, x86.RAX, 0x1234},
		{"16: LEAVE", x86.Mode16, []byte{0xc9}, map[int]uint64{x86.RBP: 0xffff0000 + sp, x86.RSP: 0x55550000}, 2, nil, 0x55550000 + sp + 2, x86.RBP, 0xffff2211},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.setup(tt.mode)
			r.put64(sp, 0x8877665544332211)
			r.put64(sp+8, 0x1000ffeeddccbbaa)
			r.regs(0, tt.regs)
			r.mustExec(tt.code...)
			if r.c.r[x86.RSP] != tt.rsp {
				t.Fatalf("RSP is %#x, want %#x", r.c.r[x86.RSP], tt.rsp)
			}
			if r.c.r[tt.reg] != tt.want {
				t.Errorf("register %d is %#x, want %#x", tt.reg, r.c.r[tt.reg], tt.want)
			}
			r.stack(tt.n, tt.top...)
		})
	}
}

// TestStackFaults: a push or pop that faults has moved nothing.
func TestStackFaults(t *testing.T) {
	const page = rigData + 0x1000
	for _, tt := range []struct {
		name string
		code []byte
		rsp  uint64
		rsi  uint64
		vec  int
		cr2  uint64
	}{
		{"PUSH", []byte{0x50}, page + 8, 0, x86.VecPF, page},
		{"PUSH across", []byte{0x50}, page + 4, 0, x86.VecPF, page},
		{"POP", []byte{0x58}, page, 0, x86.VecPF, page},
		{"POP memory", []byte{0x8f, 0x06}, rigStack0, page, x86.VecPF, page},
		{"POP [RSP] after the increment", []byte{0x8f, 0x04, 0x24}, page - 8, 0, x86.VecPF, page},
		{"PUSH memory", []byte{0xff, 0x36}, rigStack0, page, x86.VecPF, page},
		{"CALL", []byte{0xe8, 0, 0, 0, 0}, page + 8, 0, x86.VecPF, page},
		{"RET", []byte{0xc3}, page, 0, x86.VecPF, page},
		{"ENTER", []byte{0xc8, 0x10, 0, 0}, page + 0x1000 + 0x10, 0, x86.VecPF, page + 0xff8},
		{"LEAVE", []byte{0xc9}, rigStack0, 0, x86.VecPF, page},
		{"PUSH not canonical", []byte{0x50}, 1 << 62, 0, x86.VecSS, 0},
		{"PUSH [RSI] not canonical", []byte{0xff, 0x36}, rigStack0, 1 << 62, x86.VecGP, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.setup(x86.Mode64)
			r.pte(page, 0)
			r.regs(x86.CF, map[int]uint64{x86.RSP: tt.rsp, x86.RSI: tt.rsi, x86.RBP: page})
			before := r.c.r
			vec, _ := r.exec(tt.code...)
			if vec != tt.vec || vec == x86.VecPF && r.c.s.CR2 != tt.cr2 {
				t.Fatalf("exception %d, CR2 %#x", vec, r.c.s.CR2)
			}
			before[regRIP] = r.c.r[regRIP]
			if r.c.r != before || r.c.rip != rigCode {
				t.Errorf("registers have changed: RSP %#x", r.c.r[x86.RSP])
			}
		})
	}
}

// TestStackLimit: outside 64-bit mode the limit of SS holds (#SS(0)).
func TestStackLimit(t *testing.T) {
	r := newSysrig(t, 1)
	r.setup(x86.Mode32)
	s := r.state()
	s.Seg[x86.SS].Limit = 0x7fff
	r.set(&s)
	for _, tt := range []struct {
		code []byte
		rsp  uint64
		vec  int
	}{
		{[]byte{0x50}, 0x8000, -1},
		{[]byte{0x50}, 0x8001, x86.VecSS},
		{[]byte{0x58}, 0x7ffc, -1},
		{[]byte{0x58}, 0x7ffd, x86.VecSS},
		{[]byte{0x60}, 0x10, x86.VecSS},
		{[]byte{0x61}, 0x7fe8, x86.VecSS},
		{[]byte{0x61}, 0x7fe0, -1},
		{[]byte{0xe8, 0, 0, 0, 0}, 2, x86.VecSS},
	} {
		r.c.rip = rigCode
		r.regs(0, map[int]uint64{x86.RSP: tt.rsp})
		if vec, _ := r.exec(tt.code...); vec != tt.vec {
			t.Errorf("% x with ESP %#x: exception %d, want %d", tt.code, tt.rsp, vec, tt.vec)
		}
	}
}
