package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// TestNearBranches: targets, counts, what is pushed, and the faults, after which nothing has changed.
func TestNearBranches(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode x86.Mode
		code []byte
		regs map[int]uint64
		mem  uint64 // at rigData
		rip  uint64
		rsp  uint64 // by how much it goes down
		vec  int
	}{
		{"JMP back", x86.Mode64, []byte{0xeb, 0xfe}, nil, 0, rigCode, 0, -1},
		{"JMP r64", x86.Mode64, []byte{0xff, 0xe0}, map[int]uint64{x86.RAX: 0x7fffffffffff}, 0, 0x7fffffffffff, 0, -1},
		{"JMP r64 not canonical", x86.Mode64, []byte{0xff, 0xe0}, map[int]uint64{x86.RAX: 1 << 47}, 0, 0, 0, x86.VecGP},
		{"JMP r64 canonical above", x86.Mode64, []byte{0xff, 0xe0}, map[int]uint64{x86.RAX: 0xffff800000000000}, 0, 0xffff800000000000, 0, -1},
		{"JMP mem", x86.Mode64, []byte{0xff, 0x26}, map[int]uint64{x86.RSI: rigData}, 0x1234, 0x1234, 0, -1},
		{"CALL rel32", x86.Mode64, []byte{0xe8, 0x10, 0, 0, 0}, nil, 0, rigCode + 0x15, 8, -1},
		{"CALL r64 not canonical", x86.Mode64, []byte{0xff, 0xd0}, map[int]uint64{x86.RAX: 1 << 63}, 0, 0, 0, x86.VecGP},
		{"CALL mem", x86.Mode64, []byte{0xff, 0x16}, map[int]uint64{x86.RSI: rigData}, 0x1234, 0x1234, 8, -1},
		{"RET", x86.Mode64, []byte{0xc3}, map[int]uint64{x86.RSP: rigData}, 0x4321, 0x4321, ^uint64(7), -1},
		{"RET imm16", x86.Mode64, []byte{0xc2, 0x10, 0x00}, map[int]uint64{x86.RSP: rigData}, 0x4321, 0x4321, ^uint64(0x17), -1},
		{"RET not canonical", x86.Mode64, []byte{0xc3}, map[int]uint64{x86.RSP: rigData}, 1 << 50, 0, 0, x86.VecGP},
		{"RET stack not canonical", x86.Mode64, []byte{0xc3}, map[int]uint64{x86.RSP: 1 << 60}, 0, 0, 0, x86.VecSS},
		{"CALL stack not canonical", x86.Mode64, []byte{0xe8, 0, 0, 0, 0}, map[int]uint64{x86.RSP: 1 << 60}, 0, 0, 0, x86.VecSS},
		{"LOOP", x86.Mode64, []byte{0xe2, 0x10}, map[int]uint64{x86.RCX: 0}, 0, rigCode + 0x12, 0, -1},
		{"LOOP ends", x86.Mode64, []byte{0xe2, 0x10}, map[int]uint64{x86.RCX: 1}, 0, rigCode + 2, 0, -1},
		{"LOOP ECX", x86.Mode64, []byte{0x67, 0xe2, 0x10}, map[int]uint64{x86.RCX: 1<<32 + 1}, 0, rigCode + 3, 0, -1},
		{"JRCXZ", x86.Mode64, []byte{0xe3, 0x10}, map[int]uint64{x86.RCX: 1 << 40}, 0, rigCode + 2, 0, -1},
		{"JECXZ", x86.Mode64, []byte{0x67, 0xe3, 0x10}, map[int]uint64{x86.RCX: 1 << 40}, 0, rigCode + 0x13, 0, -1},

		{"32: JMP", x86.Mode32, []byte{0xe9, 0, 0, 0, 0x70}, nil, 0, rigCode + 0x70000005, 0, -1},
		{"32: JMP wraps", x86.Mode32, []byte{0xe9, 0xfb - 1, 0x6f, 0xff, 0xff}, nil, 0, 0xffffffff, 0, -1},
		{"32: JMP rel16", x86.Mode32, []byte{0x66, 0xe9, 0x00, 0x80}, nil, 0, (rigCode + 4 + 0x8000) & 0xffff, 0, -1},
		{"32: CALL", x86.Mode32, []byte{0xe8, 0x10, 0, 0, 0}, nil, 0, rigCode + 0x15, 4, -1},
		{"32: CALL r16", x86.Mode32, []byte{0x66, 0xff, 0xd0}, map[int]uint64{x86.RAX: 0xffff1234}, 0, 0x1234, 2, -1},
		{"32: RET", x86.Mode32, []byte{0xc3}, map[int]uint64{x86.RSP: rigData}, 0x4321, 0x4321, ^uint64(3), -1},

		{"16: JMP beyond the limit", x86.Mode16, []byte{0x66, 0xe9, 0, 0, 1, 0}, nil, 0, 0, 0, x86.VecGP},
		{"16: JMP wraps", x86.Mode16, []byte{0xe9, 0xfd, 0x7f}, nil, 0, (rigCode + 3 + 0x7ffd) & 0xffff, 0, -1},
		{"16: JE beyond the limit", x86.Mode16, []byte{0x66, 0x0f, 0x84, 0, 0, 1, 0}, nil, 0, 0, 0, x86.VecGP},
		{"16: CALL beyond the limit", x86.Mode16, []byte{0x66, 0xe8, 0, 0, 1, 0}, nil, 0, 0, 0, x86.VecGP},
		{"16: CALL", x86.Mode16, []byte{0xe8, 0x10, 0}, nil, 0, rigCode + 0x13, 2, -1},
		{"16: CALL r32 beyond the limit", x86.Mode16, []byte{0x66, 0xff, 0xd0}, map[int]uint64{x86.RAX: 0x10000}, 0, 0, 0, x86.VecGP},
		{"16: LOOP CX", x86.Mode16, []byte{0xe2, 0x10}, map[int]uint64{x86.RCX: 0x50000}, 0, rigCode + 0x12, 0, -1},
		{"16: LOOP ends", x86.Mode16, []byte{0xe2, 0x10}, map[int]uint64{x86.RCX: 0x50001}, 0, rigCode + 2, 0, -1},
		{"16: JCXZ", x86.Mode16, []byte{0xe3, 0x10}, map[int]uint64{x86.RCX: 0x50000}, 0, rigCode + 0x12, 0, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.setup(tt.mode)
			r.put64(rigData, tt.mem)
			r.regs(x86.ZF, tt.regs)
			before := r.c.r
			vec, code := r.exec(tt.code...)
			if vec != tt.vec {
				t.Fatalf("exception %d, %#x; want %d", vec, code, tt.vec)
			}
			if vec >= 0 {
				before[regRIP] = r.c.r[regRIP]
				if r.c.r != before || r.c.rip != rigCode || code != 0 {
					t.Errorf("registers have changed, or the error code is %#x", code)
				}
				return
			}
			if r.c.rip != tt.rip {
				t.Errorf("RIP is %#x, want %#x", r.c.rip, tt.rip)
			}
			sp := before[x86.RSP]
			if r.c.r[x86.RSP] != sp-tt.rsp {
				t.Errorf("RSP is %#x, want %#x", r.c.r[x86.RSP], sp-tt.rsp)
			}
			if int64(tt.rsp) > 0 {
				r.stack(int(tt.rsp), rigCode+uint64(len(tt.code)))
			}
		})
	}
}

// TestLoopFlags: LOOPE and LOOPNE look at ZF, which no LOOP changes.
func TestLoopFlags(t *testing.T) {
	for _, tt := range []struct {
		op    byte
		flags uint64
		taken bool
	}{
		{0xe0, 0, true}, {0xe0, x86.ZF, false}, {0xe1, 0, false}, {0xe1, x86.ZF, true}, {0xe2, 0, true}, {0xe2, x86.ZF, true},
	} {
		r := newSysrig(t, 1)
		r.setup(x86.Mode64)
		r.regs(tt.flags|x86.CF, map[int]uint64{x86.RCX: 5})
		r.mustExec(tt.op, 0x20)
		if taken := r.c.rip == rigCode+0x22; taken != tt.taken || r.c.r[x86.RCX] != 4 || r.c.arith() != tt.flags|x86.CF {
			t.Errorf("%#x with flags %#x: RIP %#x, RCX %d, flags %#x", tt.op, tt.flags, r.c.rip, r.c.r[x86.RCX], r.c.arith())
		}
	}
}
