//go:build amd64 && linux

package jit

import (
	"encoding/binary"
	"testing"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// TestSecondTLB has CPL 3 reach more pages than the TLB has places for.
func TestSecondTLB(t *testing.T) {
	// Pages of the same memory at 11 places, 6 MiB apart, of which six share their places in the TLB.
	const places, pages, passes = 11, 112, 40
	const readOnly = 32<<21 + 0x90000
	code := []byte{
		0xb9, passes, 0x00, 0x00, 0x00, // mov ecx, passes
		0x31, 0xf6, // pass: xor esi, esi
		0x31, 0xd2, // xor edx, edx
		0xbb, 0x00, 0x00, 0x09, 0x00, // place: mov ebx, 0x90000
		0x4c, 0x8d, 0x04, 0x1e, // page: lea r8, [rsi+rbx]
		0x49, 0x03, 0x40, 0x10, // add rax, [r8+0x10]
		0x49, 0x89, 0x40, 0x18, // mov [r8+0x18], rax
		0x44, 0x0f, 0xb6, 0x4c, 0x1e, 0x19, // movzx r9d, byte ptr [rsi+rbx+0x19]
		0x4c, 0x01, 0xc8, // add rax, r9
		0x48, 0xc1, 0xc0, 0x07, // rol rax, 7
		0x81, 0xc3, 0x00, 0x10, 0x00, 0x00, // add ebx, 0x1000
		0x81, 0xfb, 0x00, 0x00, 0x10, 0x00, // cmp ebx, 0x100000
		0x75, 0xd9, // jne page
		0x48, 0x81, 0xc6, 0x00, 0x00, 0x60, 0x00, // add rsi, 0x600000
		0xff, 0xc2, // inc edx
		0x83, 0xfa, places, // cmp edx, places
		0x75, 0xc6, // jne place
		0xff, 0xc9, // dec ecx
		0x75, 0xbe, // jne pass
		0xbf, 0x00, 0x00, 0x09, 0x04, // mov edi, readOnly
		0x48, 0x8b, 0x07, // mov rax, [rdi]
		0x48, 0x8b, 0x9f, 0x00, 0x00, 0x00, 0xff, // mov rbx, [rdi-16<<20]: in the same place
		0x48, 0x89, 0x1f, // mov [rdi], rbx
		0x0f, 0x0b, // ud2
	}
	var want [16]uint64
	for _, how := range ways() {
		mem := wildMemory(t, wildSize)
		copy(mem[wildCode:], code)
		for i := range uint64(3 * places) {
			binary.LittleEndian.PutUint64(mem[wildTables+0x2000+8*i:], 0x87|i%3<<21)
		}
		binary.LittleEndian.PutUint64(mem[wildTables+0x2000+8*32:], 0x85)
		g := newWildIn(t, wildAccel(t, how.mk, mem, 1, how.lockstep), 7, 1)
		g.state.GPR = [16]uint64{x86.RSP: wildStack}
		if e := g.run(t, time.Minute); e.Reason != cpu.ExitShutdown {
			t.Fatalf("%s: %v", how.name, e.Reason)
		}
		if how.name == "interpreted" {
			want = g.state.GPR
		} else if g.state.GPR != want {
			t.Errorf("%s: registers %x; interpreted: %x", how.name, g.state.GPR, want)
		}
		if how.name == "often" {
			if n, most := g.v.Stats().TLBMisses, uint64(passes*places*pages/4); n > most {
				t.Errorf("page tables were walked %d times, at most %d are expected", n, most)
			}
		}
		if g.state.CR2 != readOnly {
			t.Errorf("%s: the last page fault was at %#x, not where a page may only be read", how.name, g.state.CR2)
		}
	}
	if want[x86.RSI] != places*6<<20 || want[x86.RCX] != 0 {
		t.Errorf("the code has ended early: registers %x", want)
	}
}
