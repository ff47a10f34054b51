//go:build amd64 && linux

package jit

import (
	"encoding/binary"
	"testing"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// TestLargePages executes code that reaches many pages of a large one, has that lead to other memory, then writes code into it, again and again, and calls that.
func TestLargePages(t *testing.T) {
	const (
		entry = wildTables + 0x2000 + 8 // for the address 2 MiB
		large = 0x187                   // present, writable, of CPL 3, large, global
	)
	code := []byte{
		0xbb, 0x00, 0x00, 0x20, 0x00, // mov ebx, 0x200000
		0xb9, 0x90, 0x01, 0x00, 0x00, // mov ecx, 400
		0x48, 0x89, 0x0b, // mov [rbx], rcx
		0x48, 0x03, 0x03, // add rax, [rbx]
		0x48, 0x81, 0xc3, 0x08, 0x10, 0x00, 0x00, // add rbx, 0x1008
		0xff, 0xc9, // dec ecx
		0x75, 0xef, // jne to the store
		0xc7, 0x04, 0x25, 0x08, 0x20, 0x08, 0x00, 0x87, 0x01, 0x40, 0x00, // mov dword ptr [entry], 0x400187
		0x0f, 0x01, 0x3c, 0x25, 0x00, 0x00, 0x20, 0x00, // invlpg [0x200000]
		0x48, 0x8b, 0x34, 0x25, 0x08, 0x00, 0x20, 0x00, // mov rsi, [0x200008]
		0x48, 0x8b, 0x1c, 0x25, 0xf8, 0xff, 0x3f, 0x00, // mov rbx, [0x3ffff8]
		0xbf, 0x00, 0x00, 0x2f, 0x00, // mov edi, 0x2f0000
		0xb9, 0x2c, 0x01, 0x00, 0x00, // mov ecx, 300
		0xc6, 0x07, 0xb8, // mov byte ptr [rdi], 0xb8
		0x89, 0x4f, 0x01, // mov [rdi+1], ecx: the code is mov eax, ecx's value
		0xc6, 0x47, 0x05, 0xc3, // mov byte ptr [rdi+5], 0xc3: ret
		0xff, 0xd7, // call rdi
		0x48, 0x01, 0xc2, // add rdx, rax
		0xff, 0xc9, // dec ecx
		0x75, 0xed, // jne to the first store
		0x0f, 0x0b, // ud2
	}
	var want x86.State
	for _, how := range ways() {
		mem := wildMemory(t, 6<<20)
		le := binary.LittleEndian
		le.PutUint64(mem[entry:], 2<<20|large)
		le.PutUint64(mem[entry+8:], 4<<20|large)
		le.PutUint64(mem[4<<20+8:], 0x1122334455667788)
		le.PutUint64(mem[6<<20-8:], 0x99aabbccddeeff00)
		copy(mem[wildCode:], code)
		g := newWildIn(t, wildAccel(t, how.mk, mem, 1, how.lockstep), 3, 1)
		g.state.GPR = [16]uint64{x86.RSP: wildStack}
		g.state.CR4 |= x86.CR4_PGE
		if e := g.run(t, time.Minute); e.Reason != cpu.ExitShutdown {
			t.Fatalf("%s: %v", how.name, e.Reason)
		}
		if how.name == "interpreted" {
			want = g.state
			if want.GPR[x86.RSI] != 0x1122334455667788 || want.GPR[x86.RBX] != 0x99aabbccddeeff00 || want.GPR[x86.RDX] != 300*301/2 {
				t.Fatalf("registers %x", want.GPR)
			}
		} else if g.state.GPR != want.GPR || g.state.RIP != want.RIP {
			t.Errorf("%s: RIP %#x, registers %x;\ninterpreted: RIP %#x, registers %x", how.name, g.state.RIP, g.state.GPR, want.RIP, want.GPR)
		}
	}
}
