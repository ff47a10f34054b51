//go:build amd64 && linux

package jit

import (
	"math/bits"
	"testing"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/cputest"
	"dfemu/cpu/x86"
)

// TestLoopsLookInside stops processors in loops, again and again, and checks that the flags are those that the registers say.
func TestLoopsLookInside(t *testing.T) {
	for name, code := range map[string][]byte{
		"before a load": {
			0x48, 0xff, 0xc2, // inc rdx
			0x48, 0x39, 0xda, // cmp rdx, rbx
			0x48, 0x8b, 0x34, 0x24, // mov rsi, [rsp]
			0x48, 0x8d, 0x5b, 0x02, // lea rbx, [rbx+2]
			0x48, 0x8b, 0x3c, 0x24, // mov rdi, [rsp]
			0x48, 0x8d, 0x5b, 0xfe, // lea rbx, [rbx-2]
			0xeb, 0xe8, // jmp to the inc
		},
		"between instructions without memory": {
			0x48, 0xff, 0xc2, // inc rdx
			0x48, 0x39, 0xda, // cmp rdx, rbx
			0x0f, 0x84, 0x40, 0x00, 0x00, 0x00, // je away
			0x48, 0x8d, 0x74, 0x24, 0x08, // lea rsi, [rsp+8]
			0x48, 0x39, 0xda, // cmp rdx, rbx
			0xeb, 0xea, // jmp to the inc
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, mk := range []cputest.Make{NewEager, func(c cpu.Config) (cpu.Accelerator, error) { return newAccel(c, 1) }, New} {
				g := newWild(t, mk, code, 3, 1, false)
				g.state.GPR[x86.RSP], g.state.GPR[x86.RDX], g.state.GPR[x86.RBX] = wildStack, 0, 1<<62
				g.state.RFLAGS |= flagsOfSub(0, 1<<62) // it may be stopped before it has begun
				start := g.state.RIP
				for range 20 {
					if e := g.run(t, time.Millisecond); e.Reason != cpu.ExitKicked {
						t.Fatalf("the processor was left with %v", e.Reason)
					}
					a, b := g.state.GPR[x86.RDX], g.state.GPR[x86.RBX]
					want, at := uint64(0), g.state.RIP-start
					switch {
					case at >= 3 && at < 6: // of INC, which leaves CF
						want = flagsOfSub(a, 0) | flagsOfSub(a-1, 1<<62)&x86.CF
						if a&15 == 0 {
							want |= x86.AF
						}
					default:
						want = flagsOfSub(a, 1<<62)
					}
					if got := g.state.RFLAGS & x86.ArithFlags; got != want {
						t.Errorf("at %d, RDX %#x, RBX %#x: flags %#x, want %#x", at, a, b, got, want)
					}
				}
			}
		})
	}
}

// flagsOfSub returns the arithmetic flags of a - b.
func flagsOfSub(a, b uint64) (f uint64) {
	d, borrow := bits.Sub64(a, b, 0)
	if borrow != 0 {
		f |= x86.CF
	}
	if bits.OnesCount8(uint8(d))&1 == 0 {
		f |= x86.PF
	}
	if a&15 < b&15 {
		f |= x86.AF
	}
	if d == 0 {
		f |= x86.ZF
	}
	if d>>63 != 0 {
		f |= x86.SF
	}
	if (a^b)&(a^d)>>63 != 0 {
		f |= x86.OF
	}
	return f
}
