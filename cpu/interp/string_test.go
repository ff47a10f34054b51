package interp

import (
	"bytes"
	"sync"
	"testing"

	"dfemu/cpu/x86"
)

// TestStrings: registers and memory after string instructions, by address
// size, direction, and repetition.
func TestStrings(t *testing.T) {
	type regs = map[int]uint64
	const si, di = rigData + 0x100, rigData + 0x800
	for _, tt := range []struct {
		name  string
		mode  x86.Mode
		code  []byte
		df    bool
		regs  regs
		want  regs
		zf    bool
		check []byte // at di, or at at
		at    uint64
	}{
		{name: "MOVSB", mode: x86.Mode64, code: []byte{0xa4}, want: regs{x86.RSI: si + 1, x86.RDI: di + 1}, check: []byte{0, 0xee}},
		{name: "MOVSQ down", mode: x86.Mode64, code: []byte{0x48, 0xa5}, df: true, want: regs{x86.RSI: si - 8, x86.RDI: di - 8}, check: []byte{0, 1, 2, 3, 4, 5, 6, 7, 0xee}},
		{name: "REP of 0", mode: x86.Mode64, code: []byte{0xf3, 0xa4}, regs: regs{x86.RCX: 0}, want: regs{x86.RSI: si, x86.RDI: di}, check: []byte{0xee}},
		{name: "REP MOVSW", mode: x86.Mode64, code: []byte{0xf3, 0x66, 0xa5}, regs: regs{x86.RCX: 3}, want: regs{x86.RCX: 0, x86.RSI: si + 6, x86.RDI: di + 6}, check: []byte{0, 1, 2, 3, 4, 5, 0xee}},
		{name: "REP MOVSB down", mode: x86.Mode64, code: []byte{0xf3, 0xa4}, df: true, regs: regs{x86.RCX: 4, x86.RSI: si + 3, x86.RDI: di + 3}, want: regs{x86.RSI: si - 1, x86.RDI: di - 1}, check: []byte{0, 1, 2, 3, 0xee}},
		{name: "REP MOVSB repeats", mode: x86.Mode64, code: []byte{0xf3, 0xa4}, regs: regs{x86.RCX: 10, x86.RSI: si, x86.RDI: si + 3}, at: si, check: []byte{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 13}},
		{name: "REP MOVSD overlaps within an element", mode: x86.Mode64, code: []byte{0xf3, 0xa5}, regs: regs{x86.RCX: 3, x86.RSI: si, x86.RDI: si + 1}, at: si, check: []byte{0, 0, 1, 2, 3, 3, 5, 6, 7, 7, 9, 10, 11, 13}},
		{name: "REP MOVSB down repeats", mode: x86.Mode64, code: []byte{0xf3, 0xa4}, df: true, regs: regs{x86.RCX: 6, x86.RSI: si + 9, x86.RDI: si + 8}, at: si, check: []byte{0, 1, 2, 9, 9, 9, 9, 9, 9, 9, 10}},
		{name: "REP STOSD", mode: x86.Mode64, code: []byte{0xf3, 0xab}, regs: regs{x86.RCX: 2, x86.RAX: 0x04030201}, want: regs{x86.RDI: di + 8}, check: []byte{1, 2, 3, 4, 1, 2, 3, 4, 0xee}},
		{name: "REP STOSB down", mode: x86.Mode64, code: []byte{0xf3, 0xaa}, df: true, regs: regs{x86.RCX: 3, x86.RDI: di + 2}, want: regs{x86.RDI: di - 1}, at: di - 1, check: []byte{0xee, 0, 0, 0, 0xee}},
		{name: "REP LODSW", mode: x86.Mode64, code: []byte{0xf3, 0x66, 0xad}, regs: regs{x86.RCX: 3, x86.RAX: 0xaaaaaaaa}, want: regs{x86.RAX: 0xaaaa0504, x86.RSI: si + 6, x86.RCX: 0}},
		{name: "REPE CMPSB", mode: x86.Mode64, code: []byte{0xf3, 0xa6}, regs: regs{x86.RCX: 20, x86.RDI: si + 0x40}, want: regs{x86.RCX: 20 - 6, x86.RSI: si + 6, x86.RDI: si + 0x46}},
		{name: "REPNE CMPSB", mode: x86.Mode64, code: []byte{0xf2, 0xa6}, regs: regs{x86.RCX: 20, x86.RDI: si + 0x40}, want: regs{x86.RCX: 19, x86.RSI: si + 1}, zf: true},
		{name: "REPNE SCASB", mode: x86.Mode64, code: []byte{0xf2, 0xae}, regs: regs{x86.RCX: 100, x86.RAX: 9, x86.RDI: si}, want: regs{x86.RCX: 90, x86.RDI: si + 10}, zf: true},
		{name: "REPE SCASB down", mode: x86.Mode64, code: []byte{0xf3, 0xae}, df: true, regs: regs{x86.RCX: 3, x86.RAX: 0xee, x86.RDI: di}, want: regs{x86.RCX: 0, x86.RDI: di - 3}, zf: true},
		{name: "REPNE SCASB of 0", mode: x86.Mode64, code: []byte{0xf2, 0xae}, regs: regs{x86.RCX: 0}, want: regs{x86.RDI: di}},
		{name: "32-bit addresses", mode: x86.Mode64, code: []byte{0x67, 0xf3, 0xa4}, regs: regs{x86.RCX: 1<<32 | 2, x86.RSI: 1<<32 | si, x86.RDI: 1<<32 | di}, want: regs{x86.RCX: 0, x86.RSI: si + 2, x86.RDI: di + 2}, check: []byte{0, 1, 0xee}},
		{name: "32-bit mode", mode: x86.Mode32, code: []byte{0xf3, 0xa5}, regs: regs{x86.RCX: 2}, want: regs{x86.RCX: 0, x86.RSI: si + 8, x86.RDI: di + 8}, check: []byte{0, 1, 2, 3, 4, 5, 6, 7, 0xee}},
		{name: "16-bit mode wraps", mode: x86.Mode16, code: []byte{0xf3, 0xaa}, regs: regs{x86.RCX: 0x50003, x86.RDI: 0x7fffe, x86.RAX: 0x55}, want: regs{x86.RCX: 0x50000, x86.RDI: 0x70001}, at: 0xfffe, check: []byte{0x55, 0x55}},
		{name: "16-bit addresses in 32-bit mode", mode: x86.Mode32, code: []byte{0x67, 0xf3, 0xaa}, regs: regs{x86.RCX: 2, x86.RDI: 0x1ffff, x86.RAX: 0x55}, want: regs{x86.RCX: 0, x86.RDI: 0x10001}, at: 0xffff, check: []byte{0x55}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.setup(tt.mode)
			for i := range 0x1000 {
				r.mem[rigData+i] = 0xee
			}
			for i := range 0x40 {
				r.mem[si+i] = byte(i)
				r.mem[si+0x40+i] = byte(i)
			}
			r.mem[si+0x45] = 0x99
			r.regs(0, regs{x86.RSI: si, x86.RDI: di})
			r.regs(0, tt.regs)
			if tt.df {
				r.c.flags |= x86.DF
			}
			r.mustExec(tt.code...)
			for n, v := range tt.want {
				if r.c.r[n] != v {
					t.Errorf("register %d is %#x, want %#x", n, r.c.r[n], v)
				}
			}
			if r.c.zf() != tt.zf {
				t.Errorf("ZF is %v", r.c.zf())
			}
			at := tt.at
			if at == 0 {
				at = di
			}
			if got := r.mem[at : at+uint64(len(tt.check))]; !bytes.Equal(got, tt.check) {
				t.Errorf("memory is % x, want % x", got, tt.check)
			}
			if r.c.rip != rigCode+uint64(len(tt.code)) {
				t.Errorf("RIP is %#x", r.c.rip)
			}
		})
	}
}

// TestStringFaults: a fault in the middle leaves the registers at the element
// that faulted, from where the instruction goes on once the page is there.
func TestStringFaults(t *testing.T) {
	const page = rigData + 0x1000
	for _, tt := range []struct {
		name   string
		code   []byte
		df     bool
		si, di uint64
		n      uint64
		done   uint64 // elements
		size   uint64
		cr2    uint64
		write  bool
	}{
		{"MOVSB source", []byte{0xf3, 0xa4}, false, page - 5, rigData + 0x100, 10, 5, 1, page, false},
		{"MOVSB destination", []byte{0xf3, 0xa4}, false, rigData + 0x100, page - 5, 10, 5, 1, page, true},
		{"MOVSQ across", []byte{0xf3, 0x48, 0xa5}, false, rigData + 0x100, page - 20, 10, 2, 8, page, true},
		{"MOVSB down", []byte{0xf3, 0xa4}, true, page + 0x1004, rigData + 0x100, 10, 5, 1, page + 0xfff, false},
		{"STOSD", []byte{0xf3, 0xab}, false, 0, page - 12, 10, 3, 4, page, true},
		{"LODSB", []byte{0xf3, 0xac}, false, page - 7, 0, 10, 7, 1, page, false},
		{"CMPSB", []byte{0xf3, 0xa6}, false, rigData, page - 3, 10, 3, 1, page, false},
		{"SCASW", []byte{0xf3, 0x66, 0xaf}, false, 0, page - 6, 10, 3, 2, page, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 1)
			r.setup(x86.Mode64)
			r.pte(page, 0)
			r.regs(0, map[int]uint64{x86.RSI: tt.si, x86.RDI: tt.di, x86.RCX: tt.n, x86.RAX: 0})
			step := tt.size
			if tt.df {
				r.c.flags |= x86.DF
				step = -step
			}
			vec, code := r.exec(tt.code...)
			want := uint32(x86.PFU)
			if tt.write {
				want |= x86.PFW
			}
			if vec != x86.VecPF || code != want || r.c.s.CR2 != tt.cr2 || r.c.rip != rigCode {
				t.Fatalf("exception %d, %#x, CR2 %#x, RIP %#x", vec, code, r.c.s.CR2, r.c.rip)
			}
			check := func(done uint64) {
				t.Helper()
				if r.c.r[x86.RCX] != tt.n-done {
					t.Fatalf("RCX is %d, want %d", r.c.r[x86.RCX], tt.n-done)
				}
				if tt.si != 0 && r.c.r[x86.RSI] != tt.si+done*step {
					t.Errorf("RSI is %#x, want %#x", r.c.r[x86.RSI], tt.si+done*step)
				}
				if tt.di != 0 && r.c.r[x86.RDI] != tt.di+done*step {
					t.Errorf("RDI is %#x, want %#x", r.c.r[x86.RDI], tt.di+done*step)
				}
			}
			check(tt.done)
			r.pte(page, page|pteP|pteU|pteW)
			r.mustExec(tt.code...)
			check(tt.n)
		})
	}
}

// TestStringInterrupted: what is pending makes a repeated instruction leave after a piece, and
// go on later.
func TestStringInterrupted(t *testing.T) {
	r := newSysrig(t, 1)
	r.setup(x86.Mode64)
	c := r.c
	for i := range 0x8000 {
		r.mem[rigData+i] = byte(i * 7)
	}
	r.regs(0, map[int]uint64{x86.RSI: rigData, x86.RDI: rigData + 0x10000, x86.RCX: 0x8000})
	r.code(0xf3, 0xa4)
	times := 0
	for c.rip == rigCode {
		c.pending.Or(pendKick)
		left := c.r[x86.RCX]
		st := c.single()
		if st == stFault || c.r[x86.RCX] >= left {
			t.Fatalf("status %d, RCX %#x", st, c.r[x86.RCX])
		}
		if times++; times > 0x8000 {
			t.Fatal("it does not end")
		}
	}
	if times < 4 {
		t.Errorf("left only %d times", times)
	}
	if !bytes.Equal(r.mem[rigData:rigData+0x8000], r.mem[rigData+0x10000:rigData+0x18000]) {
		t.Error("not copied")
	}
}

// TestStringStepped: with TF set there is a debug trap after each iteration, with RF set in all but
// the last.
func TestStringStepped(t *testing.T) {
	r := newSysrig(t, 1)
	r.setup(x86.Mode64)
	r.c.setRFLAGS(x86.TF | x86.Flag1)
	r.regs(0, map[int]uint64{x86.RSI: rigData, x86.RDI: rigData + 0x100, x86.RCX: 3})
	for i := range uint64(3) {
		vec, _ := r.exec(0xf3, 0xa4)
		if vec != x86.VecDB || r.c.exc.db != 1<<14 {
			t.Fatalf("iteration %d: exception %d, DR6 bits %#x", i, vec, r.c.exc.db)
		}
		last := i == 2
		if r.c.r[x86.RCX] != 2-i || (r.c.rip == rigCode) == last || (r.c.flags&x86.RF == 0) != last {
			t.Errorf("iteration %d: RCX %d, RIP %#x, flags %#x", i, r.c.r[x86.RCX], r.c.rip, r.c.flags)
		}
	}
}

// TestStringCode: repeated stores over decoded code are noticed, byte by byte of the page.
func TestStringCode(t *testing.T) {
	r := newSysrig(t, 1)
	r.setup(x86.Mode64)
	c := r.c
	const target = rigData + 0x10
	call := func() uint64 {
		c.rip = target
		b := c.lookup()
		if b == nil {
			t.Fatal("no code")
		}
		c.pending.And(pendSlow)
		c.blocksFrom(b)
		return c.r[x86.RAX]
	}
	ret := []byte{0xb8, 1, 0, 0, 0, 0xf4} // MOV EAX, 1; HLT
	r.put(target, ret...)
	if got := call(); got != 1 {
		t.Fatalf("EAX is %d", got)
	}
	// STOSB over the page, from a piece of code elsewhere.
	c.rip = rigCode
	r.put(rigCode, 0xf3, 0xaa, 0xf4)
	r.regs(0, map[int]uint64{x86.RDI: rigData, x86.RCX: 0x800, x86.RAX: 0x90})
	c.blocksFrom(c.lookup())
	r.put(rigData+0x400, 0xf4)
	c.r[x86.RAX] = 77
	if got := call(); got != 77 {
		t.Errorf("EAX is %d: the old code was executed", got)
	}
}

// TestPortStrings: INS and OUTS.
func TestPortStrings(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	r.c.pending.And(pendSlow)
	r.regs(0, map[int]uint64{x86.RDI: rigData, x86.RSI: rigData, x86.RCX: 3, x86.RDX: 0x1f0})
	r.mustExec(0xf3, 0x66, 0x6d)
	if r.get64(rigData) != 0xfe0ffe0ffe0f || r.c.r[x86.RDI] != rigData+6 || r.c.r[x86.RCX] != 0 {
		t.Errorf("REP INSW: memory %#x, RDI %#x", r.get64(rigData), r.c.r[x86.RDI])
	}
	r.mustExec(0x6f)
	if r.io.out != 0xfe0ffe0f || r.io.size != 4 || r.c.r[x86.RSI] != rigData+4 {
		t.Errorf("OUTSD: %#x, %d bytes", r.io.out, r.io.size)
	}
	// The port is not read where the element cannot be stored.
	r.pte(rigData+0x1000, 0)
	r.io.port = 0
	r.regs(0, map[int]uint64{x86.RDI: rigData + 0x1000})
	if vec, _ := r.exec(0x6c); vec != x86.VecPF || r.io.port != 0 {
		t.Errorf("INSB: exception %d, port %#x", vec, r.io.port)
	}
	r.enter(true, selWide3, selData3)
	r.c.r[x86.RDX] = 0
	r.put(rigTSS+104, 0xff)
	if vec, code := r.exec(0x6e); vec != x86.VecGP || code != 0 {
		t.Errorf("OUTSB at CPL 3: exception %d, %#x", vec, code)
	}
}

// TestLocked: two processors that modify the same words lose no update, with operands
// that are aligned, not aligned, and across pages.
func TestLocked(t *testing.T) {
	const n = 300
	for _, tt := range []struct {
		name string
		at   uint64
		code []byte // once in a loop
	}{
		{"LOCK INC", rigData, []byte{0xf0, 0x48, 0xff, 0x06}},
		{"LOCK ADD", rigData, []byte{0xf0, 0x48, 0x83, 0x06, 0x01}},
		{"LOCK ADD unaligned", rigData + 3, []byte{0xf0, 0x48, 0x83, 0x06, 0x01}},
		{"LOCK ADD across pages", rigData + 0xffd, []byte{0xf0, 0x48, 0x83, 0x06, 0x01}},
		{"LOCK ADD r16", rigData + 6, []byte{0xf0, 0x66, 0x83, 0x06, 0x01}},
		{"LOCK XADD", rigData, []byte{0xb8, 1, 0, 0, 0, 0xf0, 0x48, 0x0f, 0xc1, 0x06}},
		{"LOCK SUB of -1", rigData, []byte{0xf0, 0x48, 0x83, 0x2e, 0xff}},
		{"LOCK CMPXCHG", rigData, []byte{
			0x48, 0x8b, 0x06, // again: mov rax, [rsi]
			0x48, 0x8d, 0x50, 0x01, // lea rdx, [rax+1]
			0xf0, 0x48, 0x0f, 0xb1, 0x16, // lock cmpxchg [rsi], rdx
			0x75, 0xf2, // jne again
		}},
		{"LOCK CMPXCHG16B", rigData, []byte{
			0x48, 0x8b, 0x06, 0x48, 0x8b, 0x56, 0x08, // again: mov rax, [rsi]; mov rdx, [rsi+8]
			0x48, 0x8d, 0x58, 0x01, 0x4c, 0x8d, 0x42, 0x01, // lea rbx, [rax+1]; lea r8, [rdx+1]
			0x49, 0x87, 0xc8, // xchg r8, rcx
			0xf0, 0x48, 0x0f, 0xc7, 0x0e, // lock cmpxchg16b [rsi]
			0x4c, 0x89, 0xc1, // mov rcx, r8
			0x75, 0xe4, // jne again
		}},
		{"XCHG as a spin lock", rigData, []byte{
			0xb8, 1, 0, 0, 0, // mov eax, 1
			0x87, 0x46, 0x40, // again: xchg [rsi+64], eax
			0x85, 0xc0, // test eax, eax
			0x74, 0x04, // je +4
			0xf3, 0x90, // pause
			0xeb, 0xf5, // jmp again
			0x48, 0xff, 0x06, // inc qword [rsi]
			0xc7, 0x46, 0x40, 0, 0, 0, 0, // mov dword [rsi+64], 0
		}},
		{"LOCK BTS as a spin lock", rigData, []byte{
			0xf0, 0x0f, 0xba, 0x6e, 0x40, 0x05, // again: lock bts dword [rsi+64], 5
			0x73, 0x04, // jnc +4
			0xf3, 0x90, // pause
			0xeb, 0xf4, // jmp again
			0x48, 0xff, 0x06, // inc qword [rsi]
			0xf0, 0x0f, 0xba, 0x76, 0x40, 0x05, // lock btr dword [rsi+64], 5
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSysrig(t, 2)
			r.setup(x86.Mode64)
			st := r.state()
			st.GPR[x86.RSI], st.GPR[x86.RCX] = tt.at, n
			code := append([]byte{}, tt.code...)
			code = append(code, 0x48, 0xff, 0xc9, 0x75, byte(-5-len(tt.code)), 0xf4) // dec rcx; jnz; hlt
			r.put(rigCode, code...)
			var wg sync.WaitGroup
			for _, c := range r.acc.cpus {
				s := st
				s.APIC = x86.APIC{}
				if err := c.SetState(&s); err != nil {
					t.Fatal(err)
				}
				wg.Add(1)
				go func() {
					defer wg.Done()
					c.quiet.Store(false)
					c.pending.Or(pendInval)
					for {
						if p := c.pending.Load(); p != 0 {
							c.service(p)
						}
						b := c.lookup()
						if b == nil || c.blocksFrom(b) == stFault {
							break
						}
					}
					c.quiet.Store(true)
				}()
			}
			wg.Wait()
			for i, c := range r.acc.cpus {
				if c.r[x86.RCX] != 0 || c.exc.vec != x86.VecGP {
					t.Fatalf("processor %d: RCX %d, exception %d at %#x", i, c.r[x86.RCX], c.exc.vec, c.rip)
				}
			}
			want := uint64(2 * n)
			if tt.name == "LOCK ADD r16" {
				want = uint64(uint16(want))
			}
			if got := r.get64(tt.at); got != want {
				t.Errorf("the sum is %d, want %d", got, want)
			}
		})
	}
}
