//go:build amd64 && linux

package jit

import (
	"testing"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/cputest"
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// TestGroups executes code whose accesses off one register do not lie in one page, or do not all reach memory.
func TestGroups(t *testing.T) {
	for name, code := range map[string][]byte{
		"a stack across two pages": {
			0xbc, 0x10, 0x10, 0x04, 0x00, // mov esp, 0x41010
			0xb9, 0xe8, 0x03, 0x00, 0x00, // mov ecx, 1000
			0x50, 0x53, 0x51, 0x52, // push rax, rbx, rcx, rdx
			0x48, 0x83, 0x04, 0x24, 0x03, // add qword ptr [rsp], 3
			0x48, 0x8b, 0x44, 0x24, 0x08, // mov rax, [rsp+8]
			0x5a, 0x59, 0x5b, 0x5e, // pop rdx, rcx, rbx, rsi
			0x48, 0x01, 0xc3, // add rbx, rax
			0xff, 0xc9, // dec ecx
			0x75, 0xe7, // jne to the first push
			0x0f, 0x0b, // ud2
		},
		"memory and a device": {
			0xbb, 0xf0, 0xff, 0x0f, 0x00, // mov ebx, 0xffff0
			0xb9, 0xe8, 0x03, 0x00, 0x00, // mov ecx, 1000
			0x48, 0x8b, 0x03, // mov rax, [rbx]
			0x48, 0x89, 0x4b, 0x08, // mov [rbx+8], rcx
			0x48, 0x03, 0x43, 0x10, // add rax, [rbx+16]
			0x48, 0x89, 0x03, // mov [rbx], rax
			0xff, 0xc9, // dec ecx
			0x75, 0xee, // jne to the first load
			0x0f, 0x0b,
		},
		"a page that is not there": {
			0xbb, 0xf0, 0xff, 0xff, 0x00, // mov ebx, 0xfffff0
			0x49, 0xc7, 0xc3, 0x07, 0x00, 0x00, 0x00, // mov r11, 7
			0x48, 0x8b, 0x03, // mov rax, [rbx]
			0x48, 0x8b, 0x53, 0x08, // mov rdx, [rbx+8]
			0x49, 0xff, 0xc3, // inc r11
			0x48, 0x8b, 0x73, 0x10, // mov rsi, [rbx+16]
			0x0f, 0x0b,
		},
		"a base that moves": {
			0xbb, 0x00, 0x00, 0x02, 0x00, // mov ebx, 0x20000
			0xb9, 0x00, 0x04, 0x00, 0x00, // mov ecx, 1024
			0x48, 0x89, 0x0b, // mov [rbx], rcx
			0x48, 0x83, 0xc3, 0x08, // add rbx, 8
			0x48, 0x03, 0x43, 0xf8, // add rax, [rbx-8]
			0x48, 0xff, 0xc3, // inc rbx
			0x48, 0x89, 0x43, 0x01, // mov [rbx+1], rax
			0x48, 0xff, 0xcb, // dec rbx
			0xff, 0xc9, // dec ecx
			0x75, 0xe7, // jne to the first store
			0x0f, 0x0b,
		},
	} {
		t.Run(name, func(t *testing.T) { agree(t, code) })
	}
}

// way is a way to execute a guest.
type way struct {
	name     string
	mk       cputest.Make
	lockstep bool
}

// ways returns all ways; the first is the reference.
func ways() []way {
	return []way{
		{"interpreted", func(c cpu.Config) (cpu.Accelerator, error) { return interp.New(c) }, false},
		{"translated", NewEager, false},
		{"the second time", func(c cpu.Config) (cpu.Accelerator, error) { return newAccel(c, 1) }, false},
		{"often", New, false},
		{"compared", NewEager, true},
		{"often, compared", New, true},
	}
}

// agree executes code until it shuts down, by the interpreter and by translations, and compares what comes of it.
func agree(t *testing.T, code []byte) {
	var want x86.State
	for _, how := range ways() {
		g := newWild(t, how.mk, code, 3, 1, how.lockstep)
		for r := range g.state.GPR {
			g.state.GPR[r] = uint64(r) * 0x1234567
		}
		g.state.GPR[x86.RSP] = wildStack
		if e := g.run(t, time.Minute); e.Reason != cpu.ExitShutdown {
			t.Fatalf("%s: %v", how.name, e.Reason)
		}
		if how.name == "interpreted" {
			want = g.state
			continue
		}
		if s := &g.state; s.GPR != want.GPR || s.RIP != want.RIP || s.CR2 != want.CR2 || s.RFLAGS != want.RFLAGS {
			t.Errorf("%s: RIP %#x, CR2 %#x, RFLAGS %#x, registers %x;\ninterpreted: RIP %#x, CR2 %#x, RFLAGS %#x, registers %x", how.name,
				s.RIP, s.CR2, s.RFLAGS, s.GPR, want.RIP, want.CR2, want.RFLAGS, want.GPR)
		}
	}
}
