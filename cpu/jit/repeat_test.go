//go:build amd64 && linux

package jit

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// TestRepeat clears and copies many pieces of memory one after the other, so that each finds what was known of the one before.
func TestRepeat(t *testing.T) {
	const table, rows, row = 0x12000, 400, 32
	for name, in := range map[string][]byte{
		"STOSB": {0xf3, 0xaa}, "STOSW": {0x66, 0xf3, 0xab}, "STOSD": {0xf3, 0xab}, "STOSQ": {0xf3, 0x48, 0xab},
		"MOVSB": {0xf3, 0xa4}, "MOVSW": {0x66, 0xf3, 0xa5}, "MOVSD": {0xf3, 0xa5}, "MOVSQ": {0xf3, 0x48, 0xa5},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 7))
			place := func() uint64 {
				switch r.IntN(8) {
				case 0: // about the end of a page, and of the memory
					return 0x40000 - r.Uint64N(80)
				case 1:
					return wildSize - 0x4000 + r.Uint64N(0x3000)
				case 2, 3:
					return wildSize - r.Uint64N(128)
				}
				return 0x20000 + r.Uint64N(0x40000)
			}
			var pieces []byte
			for range rows {
				n := r.Uint64N(40)
				switch r.IntN(8) {
				case 0:
					n = r.Uint64N(5000)
				case 1:
					n = 0
				}
				for _, v := range [row / 8]uint64{place(), place(), n, r.Uint64()} {
					if r.IntN(4) == 0 {
						v &^= 1
					}
					pieces = binary.LittleEndian.AppendUint64(pieces, v)
				}
			}
			code := slices.Concat([]byte{
				0xbb, 0x00, 0x20, 0x01, 0x00, // mov ebx, table
				0x48, 0x8b, 0x3b, // next: mov rdi, [rbx]
				0x48, 0x8b, 0x73, 0x08, // mov rsi, [rbx+8]
				0x48, 0x8b, 0x4b, 0x10, // mov rcx, [rbx+16]
				0x48, 0x8b, 0x43, 0x18, // mov rax, [rbx+24]
				0x48, 0x83, 0xc3, row, // add rbx, row
				0xa8, 0x07, // test al, 7
				0x75, 0x01, // jnz up
				0xfd, // std
				// up:
			}, in, []byte{
				0xfc,                   // cld
				0x4d, 0x6b, 0xc0, 0x1f, // imul r8, r8, 31
				0x49, 0x01, 0xf8, // add r8, rdi
				0x49, 0x31, 0xf0, // xor r8, rsi
				0x49, 0x01, 0xc8, // add r8, rcx
				0x48, 0x81, 0xfb, // cmp rbx, the table's end
			}, binary.LittleEndian.AppendUint32(nil, table+rows*row))
			code = append(code, 0x75, byte(5-len(code)-2), 0x0f, 0x0b) // jne next; ud2
			for _, mode := range []uint8{3, 7} {
				var want [16]uint64
				var wantMem []byte
				for _, how := range ways() {
					mem := wildMemory(t, wildSize)
					for i := range 0x60000 {
						mem[0x20000+i] = byte(i * i >> 7)
					}
					copy(mem[wildCode:], code)
					copy(mem[table:], pieces)
					g := newWildIn(t, wildAccel(t, how.mk, mem, 1, how.lockstep), mode, 1)
					g.state.GPR = [16]uint64{x86.RSP: wildStack}
					if e := g.run(t, time.Minute); e.Reason != cpu.ExitShutdown {
						t.Fatalf("%s, mode %d: %v", how.name, mode, e.Reason)
					}
					if how.name == "interpreted" {
						want, wantMem = g.state.GPR, bytes.Clone(mem)
						if want[x86.RBX] != table+rows*row {
							t.Fatalf("the code has ended early: registers %x", want)
						}
						continue
					}
					if g.state.GPR != want {
						t.Errorf("%s, mode %d: registers %x; interpreted: %x", how.name, mode, g.state.GPR, want)
					}
					if !bytes.Equal(mem, wantMem) {
						t.Errorf("%s, mode %d: memory differs from what the interpreter makes", how.name, mode)
					}
				}
			}
		})
	}
}
