//go:build amd64 && linux

package jit

import (
	"slices"
	"testing"
)

// TestFlagsAtFaults has flags be set which nothing reads before they are set again, but for a fault in between, which comes the last time round.
func TestFlagsAtFaults(t *testing.T) {
	for name, code := range map[string][]byte{
		"cmp of memory, 8 bytes":               {0x48, 0x39, 0x1f},                                                                         // cmp [rdi], rbx
		"cmp of memory, 4 bytes":               {0x39, 0x1f},                                                                               // cmp [rdi], ebx
		"cmp of memory, 2 bytes":               {0x66, 0x39, 0x1f},                                                                         // cmp [rdi], bx
		"cmp of memory, 1 byte":                {0x38, 0x1f},                                                                               // cmp [rdi], bl
		"cmp of memory, a byte that takes REX": {0x40, 0x38, 0x37},                                                                         // cmp [rdi], sil
		"cmp of memory, a high byte":           {0x38, 0x3f},                                                                               // cmp [rdi], bh
		"cmp of memory, a register in memory":  {0x4c, 0x39, 0x1f},                                                                         // cmp [rdi], r11
		"cmp of memory, a constant":            {0x48, 0x81, 0x3f, 0x78, 0x56, 0x34, 0x92},                                                 // cmp qword ptr [rdi], …
		"cmp of memory, a small constant":      {0x66, 0x83, 0x3f, 0xfe},                                                                   // cmp word ptr [rdi], -2
		"cmp of memory, a byte":                {0x80, 0x3f, 0x7f},                                                                         // cmp byte ptr [rdi], 127
		"cmp with memory":                      {0x48, 0x3b, 0x1f},                                                                         // cmp rbx, [rdi]
		"cmp with memory, 4 bytes":             {0x3b, 0x1f},                                                                               // cmp ebx, [rdi]
		"cmp with memory, 1 byte":              {0x3a, 0x1f},                                                                               // cmp bl, [rdi]
		"cmp with memory, indexed":             {0x48, 0x3b, 0x1c, 0x0f},                                                                   // cmp rbx, [rdi+rcx]
		"cmp with memory, and a branch":        {0x48, 0x3b, 0x1f, 0x72, 0x00},                                                             // cmp rbx, [rdi]; jb
		"test of memory":                       {0x48, 0x85, 0x1f},                                                                         // test [rdi], rbx
		"test of memory, 1 byte":               {0x84, 0x1f},                                                                               // test [rdi], bl
		"test of memory, a constant":           {0xf7, 0x07, 0x78, 0x56, 0x34, 0x92},                                                       // test dword ptr [rdi], …
		"test of memory, a byte":               {0xf6, 0x07, 0x81},                                                                         // test byte ptr [rdi], 0x81
		"operands that stay":                   {0x48, 0x29, 0xf3},                                                                         // sub rbx, rsi
		"a result that changes":                {0x81, 0xe3, 0xf8, 0x7f, 0x00, 0x00, 0x48, 0x8b, 0x9b, 0x00, 0x00, 0x02, 0x00},             // and ebx, 0x7ff8; mov rbx, [rbx+0x20000]
		"an operand that changes":              {0x48, 0x39, 0xf3, 0x48, 0x8b, 0x34, 0x25, 0x08, 0x00, 0x02, 0x00},                         // cmp rbx, rsi; mov rsi, [0x20008]
		"both operands change":                 {0x48, 0x39, 0xf3, 0x48, 0x8b, 0x34, 0x25, 0x08, 0x00, 0x02, 0x00, 0x48, 0x8b, 0x1e},       // cmp rbx, rsi; mov rsi, [0x20008]; mov rbx, [rsi]
		"a sum, and both change":               {0x48, 0x01, 0xf3, 0x48, 0x8b, 0x34, 0x25, 0x08, 0x00, 0x02, 0x00, 0x48, 0x8b, 0x1e},       // add rbx, rsi; …
		"changed before anything could fault":  {0x48, 0x39, 0xf3, 0x48, 0x89, 0xcb, 0x48, 0x8b, 0x34, 0x25, 0x08, 0x00, 0x02, 0x00},       // cmp rbx, rsi; mov rbx, rcx; mov rsi, [0x20008]
		"of a register in memory that changes": {0x4d, 0x29, 0xdc, 0x4c, 0x8b, 0x24, 0x25, 0x08, 0x00, 0x02, 0x00},                         // sub r12, r11; mov r12, [0x20008]
		"two comparisons":                      {0x48, 0x3b, 0x1f, 0x48, 0x8b, 0x34, 0x25, 0x08, 0x00, 0x02, 0x00, 0x48, 0x39, 0x5f, 0x08}, // cmp rbx, [rdi]; mov rsi, [0x20008]; cmp [rdi+8], rbx
	} {
		// Where the page is not known, the interpreter executes the instruction.
		for how, before := range map[string][]byte{"": nil, ", of a page that is not known": {0x0f, 0x01, 0x3f}} { // invlpg [rdi]
			t.Run(name+how, func(t *testing.T) {
				loop := slices.Concat([]byte{
					0x83, 0xf9, 0x01, // cmp ecx, 1
					0x4c, 0x0f, 0x44, 0xc2, // cmove r8, rdx
					0x48, 0x69, 0xf6, 0x6d, 0x4e, 0xc6, 0x41, // imul rsi, rsi, 0x41c64e6d
					0x48, 0x69, 0xdb, 0x05, 0x4e, 0xc6, 0x41, // imul rbx, rbx, 0x41c64e05
					0x48, 0x81, 0xc7, 0x08, 0x10, 0x00, 0x00, // add rdi, 0x1008
					0x48, 0x89, 0x37, // mov [rdi], rsi
					0x48, 0x89, 0x34, 0x0f, // mov [rdi+rcx], rsi
				}, before, code, []byte{
					0x49, 0x8b, 0x28, // mov rbp, [r8]
					0x48, 0x85, 0xdb, // test rbx, rbx
					0xff, 0xc9, // dec ecx
				})
				agree(t, slices.Concat([]byte{
					0xb9, 0xc8, 0x00, 0x00, 0x00, // mov ecx, 200
					0xbf, 0x00, 0x00, 0x03, 0x00, // mov edi, 0x30000
					0x41, 0xb8, 0x00, 0x00, 0x02, 0x00, // mov r8d, 0x20000
					0x48, 0xba, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, // mov rdx, 1<<40: not mapped
					0x48, 0xc7, 0x04, 0x25, 0x08, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x00, // mov qword ptr [0x20008], 0x20000
				}, loop, []byte{0x75, byte(-len(loop) - 2), 0x0f, 0x0b})) // jne loop; ud2
			})
		}
	}
}
