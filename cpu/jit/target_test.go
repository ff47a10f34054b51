//go:build amd64 && linux

package jit

import (
	"testing"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// TestTargetsThatShareAPlace calls two functions whose places in the table of targets are each other's second, before and after all that the table has
// has become old: both stay in it.
func TestTargetsThatShareAPlace(t *testing.T) {
	const rounds, calls = 5, 1000
	mem := wildMemory(t, wildSize)
	copy(mem[wildCode:], []byte{
		0xbe, 0x00, 0x40, 0x01, 0x00, // mov esi, 0x14000
		0xbf, 0x01, 0x40, 0x01, 0x00, // mov edi, 0x14001
		0xbb, rounds, 0x00, 0x00, 0x00, // mov ebx, rounds
		0xb9, calls & 0xff, calls >> 8, 0x00, 0x00, // round: mov ecx, calls
		0xff, 0xd6, // next: call rsi
		0xff, 0xd7, // call rdi
		0xff, 0xc9, // dec ecx
		0x75, 0xf8, // jne next
		0x0f, 0x20, 0xd8, // mov rax, cr3
		0x0f, 0x22, 0xd8, // mov cr3, rax
		0xff, 0xcb, // dec ebx
		0x75, 0xe9, // jne round
		0x0f, 0x0b, // ud2
	})
	copy(mem[0x14000:], []byte{0xc3, 0xc3}) // ret; ret
	g := newWildIn(t, wildAccel(t, NewEager, mem, 1, false), 3, 1)
	g.state.GPR = [16]uint64{x86.RSP: wildStack}
	if e := g.run(t, time.Minute); e.Reason != cpu.ExitShutdown || g.state.GPR[x86.RBX] != 0 {
		t.Fatalf("%v, RBX %d", e.Reason, g.state.GPR[x86.RBX])
	}
	if n := g.v.Stats().Interpreted; n > 20*rounds {
		t.Errorf("%d instructions were interpreted in %d rounds", n, rounds)
	}
}
