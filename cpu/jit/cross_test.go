//go:build amd64 && linux

package jit

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/cputest"
	"dfemu/cpu/x86"
)

// TestCrossModification has one processor change the number that a function returns, again and again, while another, which
// looks whether there is a new one and serializes as it should, calls the function often enough to have it translated
// and in its table of targets.
func TestCrossModification(t *testing.T) {
	const (
		writer, reader = wildCode, wildCode + 0x4000
		shared         = 0x30000 // the number wanted, the number seen, the number that was wrong
	)
	near := binary.LittleEndian.AppendUint32([]byte{0xe8}, 0x800-0x24) // call function
	for _, c := range []struct {
		name     string
		function uint32
		call     []byte
		mk       cputest.Make
	}{
		{"far away, first time", wildCode + 0x8000, []byte{0x90, 0x90, 0x90, 0xff, 0xd6}, NewEager}, // call rsi
		{"far away, often", wildCode + 0x8000, []byte{0x90, 0x90, 0x90, 0xff, 0xd6}, New},
		{"in the page, second time", reader + 0x800, near, func(c cpu.Config) (cpu.Accelerator, error) { return newAccel(c, 1) }},
		{"in the page, often", reader + 0x800, near, New},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := wildMemory(t, wildSize)
			write := func(at uint32, parts ...[]byte) { copy(mem[at:], slices.Concat(parts...)) }
			address := func(a uint32) []byte { return binary.LittleEndian.AppendUint32(nil, a) }
			write(writer, []byte{
				0xbd, 0x00, 0x00, 0x03, 0x00, // mov ebp, shared
				0xbf, // mov edi, function+1
			}, address(c.function+1), []byte{
				0x41, 0xb9, 0x01, 0x00, 0x00, 0x00, // mov r9d, 1
				0x44, 0x89, 0x0f, // next: mov [rdi], r9d
				0x44, 0x89, 0x4d, 0x00, // mov [rbp], r9d
				0xf3, 0x90, // wait: pause
				0x44, 0x39, 0x4d, 0x08, // cmp [rbp+8], r9d
				0x75, 0xf8, // jne wait
				0x41, 0xff, 0xc1, // inc r9d
				0x41, 0x81, 0xf9, 0xe8, 0x03, 0x00, 0x00, // cmp r9d, 1000
				0x75, 0xe5, // jne next
				0x0f, 0x0b, // ud2
			})
			write(reader, []byte{
				0xbd, 0x00, 0x00, 0x03, 0x00, // mov ebp, shared
				0xbe, // mov esi, function
			}, address(c.function), []byte{
				0x41, 0xb9, 0x01, 0x00, 0x00, 0x00, // mov r9d, 1
				0xf3, 0x90, // wait: pause
				0x44, 0x39, 0x4d, 0x00, // cmp [rbp], r9d
				0x75, 0xf8, // jne wait
				0x0f, 0xa2, // cpuid
				0xbf, 0x28, 0x00, 0x00, 0x00, // mov edi, 40
			}, c.call, []byte{ // again: call function
				0x44, 0x39, 0xc8, // cmp eax, r9d
				0x75, 0x16, // jne wrong
				0xff, 0xcf, // dec edi
				0x75, 0xf2, // jne again
				0x44, 0x89, 0x4d, 0x08, // mov [rbp+8], r9d
				0x41, 0xff, 0xc1, // inc r9d
				0x41, 0x81, 0xf9, 0xe8, 0x03, 0x00, 0x00, // cmp r9d, 1000
				0x75, 0xd3, // jne wait
				0x0f, 0x0b, // ud2
				0x44, 0x89, 0x4d, 0x10, // wrong: mov [rbp+16], r9d
				0x0f, 0x0b, // ud2
			})
			write(c.function, []byte{0xb8, 0, 0, 0, 0, 0xc3}) // mov eax, 0; ret
			a := wildAccel(t, c.mk, mem, 2, false)
			ended := make(chan int, 2)
			for i, at := range []uint64{writer, reader} {
				v := a.VCPU(i)
				var s x86.State
				if err := v.State(&s); err != nil {
					t.Fatal(err)
				}
				wildState(&s, 3, rand.New(rand.NewPCG(1, 1)))
				s.RIP, s.Run = at, x86.Running
				s.GPR[x86.RSP] = wildStack + at
				if err := v.SetState(&s); err != nil {
					t.Fatal(err)
				}
				go func() {
					if _, err := v.Run(); err != nil {
						t.Error(err)
					}
					ended <- i
				}()
			}
			defer time.AfterFunc(time.Minute, func() { a.VCPU(0).Kick(); a.VCPU(1).Kick() }).Stop()
			if <-ended == 1 {
				a.VCPU(0).Kick() // it may wait for what does not come any more
			}
			<-ended
			if n := binary.LittleEndian.Uint32(mem[shared+16:]); n != 0 {
				t.Errorf("the function returned something else than %d after it was changed", n)
			}
			if n := binary.LittleEndian.Uint32(mem[shared+8:]); n != 999 {
				t.Errorf("%d rounds, want 999", n)
			}
		})
	}
}
