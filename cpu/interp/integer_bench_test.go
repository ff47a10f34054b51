package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// guestLoops are loops of user code in 64-bit mode that count RCX down. RSI, RDI and RBP point to data.
var guestLoops = []struct {
	name string
	code []byte
}{
	{"count", []byte{
		0x48, 0xff, 0xc9, // dec rcx
		0x75, 0xfb, // jnz
	}},
	{"arith", []byte{
		0x01, 0xd8, // add eax, ebx
		0x48, 0x31, 0xc2, // xor rdx, rax
		0x48, 0x8d, 0x44, 0x10, 0x05, // lea rax, [rax+rdx+5]
		0xc1, 0xe0, 0x03, // shl eax, 3
		0x41, 0x89, 0xc0, // mov r8d, eax
		0x41, 0x83, 0xe0, 0x7f, // and r8d, 127
		0x4c, 0x01, 0xc3, // add rbx, r8
		0x48, 0xff, 0xc9, // dec rcx
		0x75, 0xe4,
	}},
	{"memory", []byte{
		0x48, 0x8b, 0x06, // mov rax, [rsi]
		0x48, 0x03, 0x46, 0x08, // add rax, [rsi+8]
		0x48, 0x89, 0x07, // mov [rdi], rax
		0x0f, 0xb6, 0x56, 0x11, // movzx edx, byte [rsi+17]
		0x88, 0x57, 0x09, // mov [rdi+9], dl
		0x8b, 0x44, 0x96, 0x20, // mov eax, [rsi+rdx*4+32]
		0x83, 0x47, 0x10, 0x01, // add dword [rdi+16], 1
		0x48, 0xff, 0xc9, // dec rcx
		0x75, 0xe2,
	}},
	{"branches", []byte{
		0x89, 0xc8, // mov eax, ecx
		0x83, 0xe0, 0x03, // and eax, 3
		0x83, 0xf8, 0x02, // cmp eax, 2
		0x74, 0x05, // je +5
		0x85, 0xc0, // test eax, eax
		0x75, 0x01, // jne +1
		0x90,             // nop
		0x48, 0xff, 0xc9, // dec rcx
		0x75, 0xec,
	}},
	{"calls", []byte{
		0xe8, 0x07, 0x00, 0x00, 0x00, // call f
		0x48, 0xff, 0xc9, // dec rcx
		0x75, 0xf6,
		0xeb, 0x06, // jmp out
		0x55,             // f: push rbp
		0x48, 0x89, 0xe5, // mov rbp, rsp
		0x5d, // pop rbp
		0xc3, // ret
	}},
	{"md5 step", []byte{
		0x89, 0xd8, // mov eax, ebx
		0x31, 0xd0, // xor eax, edx
		0x44, 0x21, 0xc0, // and eax, r8d
		0x31, 0xd0, // xor eax, edx
		0x44, 0x03, 0x4e, 0x08, // add r9d, [rsi+8]
		0x45, 0x8d, 0x8c, 0x01, 0x78, 0xa4, 0x6a, 0xd7, // lea r9d, [r9+rax-0x28955b88]
		0x41, 0xc1, 0xc1, 0x07, // rol r9d, 7
		0x45, 0x01, 0xc1, // add r9d, r8d
		0x48, 0xff, 0xc9, // dec rcx
		0x75, 0xdf,
	}},
	{"string search", []byte{
		0x0f, 0xb6, 0x04, 0x0e, // movzx eax, byte [rsi+rcx]
		0x84, 0xc0, // test al, al
		0x74, 0x02, // jz +2
		0xff, 0xc3, // inc ebx
		0x80, 0x3c, 0x0f, 0x41, // cmp byte [rdi+rcx], 'A'
		0x74, 0x02, // jz +2
		0xff, 0xc3, // inc ebx
		0x48, 0x39, 0xd9, // cmp rcx, rbx
		0x0f, 0x44, 0xc1, // cmove eax, ecx
		0x48, 0xff, 0xc9, // dec rcx
		0x75, 0xe3,
	}},
}

// BenchmarkInteger measures loops of typical code in instructions executed.
func BenchmarkInteger(b *testing.B) {
	for _, tt := range guestLoops {
		b.Run(tt.name, func(b *testing.B) {
			r := newSysrig(b, 1)
			c := r.c
			loopStart(r)
			b.ResetTimer()
			start := c.icount
			for range b.N {
				runLoop(b, r, tt.code, 1000)
			}
			b.ReportMetric(float64(c.icount-start)/b.Elapsed().Seconds()/1e6, "MIPS")
		})
	}
}

// loopStart prepares a processor for one of the loops.
func loopStart(r *sysrig) {
	r.enter(true, selWide3, selData3)
	r.c.r[x86.RSI], r.c.r[x86.RDI], r.c.r[x86.RSP] = rigData, rigData+0x1000, rigData+0x3000
}

// BenchmarkString measures repeated string instructions in bytes.
func BenchmarkString(b *testing.B) {
	for _, tt := range []struct {
		name string
		code []byte
	}{
		{"REP MOVSB", []byte{0xf3, 0xa4}},
		{"REP MOVSQ", []byte{0xf3, 0x48, 0xa5}},
		{"REP STOSQ", []byte{0xf3, 0x48, 0xab}},
		{"REPE CMPSB", []byte{0xf3, 0xa6}},
		{"REPNE SCASB", []byte{0xf2, 0xae}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			r := newSysrig(b, 1)
			loopStart(r)
			n, bytes := uint64(0x8000), 0x8000
			if tt.code[1] == 0x48 {
				n /= 8
			}
			r.c.r[x86.RAX] = 1
			b.SetBytes(int64(bytes))
			for range b.N {
				r.c.r[x86.RSI], r.c.r[x86.RDI] = rigData, rigData+0x10000
				runLoop(b, r, tt.code, n)
			}
		})
	}
}

// runLoop executes a loop n times.
func runLoop(b *testing.B, r *sysrig, code []byte, n uint64) {
	c := r.c
	if string(r.mem[rigCode:rigCode+len(code)]) != string(code) {
		r.put(rigCode, code...)
		r.put(rigCode+uint64(len(code)), 0xf4) // HLT: #GP
		c.dropAll()
	}
	c.rip, c.r[x86.RCX] = rigCode, n
	for {
		c.pending.And(pendSlow)
		bl := c.lookup()
		if bl == nil {
			b.Fatal("no code")
		}
		if st := c.blocksFrom(bl); st == stFault {
			break
		}
	}
	if c.r[x86.RCX] != 0 || c.exc.vec != x86.VecGP {
		b.Fatalf("stopped at %#x, RCX %d, exception %d", c.rip, c.r[x86.RCX], c.exc.vec)
	}
}
