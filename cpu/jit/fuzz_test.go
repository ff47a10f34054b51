//go:build amd64 && linux

package jit

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfemu/cpu"
	"dfemu/cpu/cputest"
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// Where things are in the memory of a wild guest.
const (
	wildSize   = 1 << 20
	wildTables = 0x80000 // of 2 MiB pages that all map the memory, and what is behind it
	wildCode   = 0x10000
	wildStack  = 0x40000
)

// wild is a machine that executes arbitrary bytes. It implements cpu.Platform, cpu.Bus and cpu.Clock.
type wild struct{ now atomic.Int64 }

func (*wild) AckINTR() uint8            { return 0x20 }
func (*wild) EOI(uint8)                 {}
func (*wild) In(uint16, int) uint32     { return 0x55aa55aa }
func (*wild) Out(uint16, int, uint32)   {}
func (*wild) Read(uint64, int) uint64   { return 0x123456789abcdef }
func (*wild) Write(uint64, int, uint64) {}
func (w *wild) Now() int64              { return w.now.Add(1000) }
func (*wild) Wall() time.Time           { return time.Unix(0, 0) }
func (*wild) NewTimer(func()) cpu.Timer { return wildTimer{} }

type wildTimer struct{}

func (wildTimer) Set(int64) {}
func (wildTimer) Stop()     {}

// wildState makes a state that begins to execute at wildCode in a mode, with registers from r.
func wildState(s *x86.State, mode uint8, r *rand.Rand) {
	for i := range s.GPR {
		s.GPR[i] = r.Uint64() >> r.IntN(64)
		if r.IntN(2) == 0 {
			s.GPR[i] %= wildSize
		}
	}
	s.GPR[x86.RSP] = wildStack
	s.RIP, s.RFLAGS = wildCode, x86.Flag1
	s.CR3 = wildTables
	s.IDTR = x86.Table{Base: 0x1000, Limit: 0xfff}
	s.GDTR = x86.Table{Base: 0x2000, Limit: 0xfff}
	dpl := x86.Attr(0)
	if mode&4 != 0 {
		dpl = x86.AttrDPL
	}
	data := x86.Segment{Selector: 0x10, Limit: 0xffffffff, Attr: x86.AttrP | x86.AttrS | x86.AttrRW | x86.AttrAccessed | x86.AttrDB | x86.AttrG | dpl}
	for i := range s.Seg {
		s.Seg[i] = data
	}
	cs := &s.Seg[x86.CS]
	cs.Selector = 8
	cs.Attr |= x86.AttrCode
	s.CR4 |= x86.CR4_PAE | x86.CR4_OSFXSR | x86.CR4_OSXSAVE | x86.CR4_OSXMMEXCPT
	s.XCR0 = 7
	switch mode & 3 {
	case 0: // real mode
		s.CR0 = x86.CR0_ET
		for i := range s.Seg {
			s.Seg[i] = x86.Segment{Limit: 0xffff, Attr: data.Attr &^ (x86.AttrDB | x86.AttrG | x86.AttrDPL)}
		}
		s.Seg[x86.CS].Selector, s.Seg[x86.CS].Base, s.RIP = wildCode>>4, wildCode, 0
		s.GPR[x86.RSP] = 0xff00
	case 1: // 32-bit protected mode
		s.CR0 = x86.CR0_PE | x86.CR0_ET
	case 2: // compatibility mode
		s.CR0 = x86.CR0_PE | x86.CR0_PG | x86.CR0_ET | x86.CR0_WP
		s.MSR.EFER = x86.EFER_LME | x86.EFER_LMA | x86.EFER_NXE
	default: // 64-bit mode
		s.CR0 = x86.CR0_PE | x86.CR0_PG | x86.CR0_ET | x86.CR0_WP
		s.MSR.EFER = x86.EFER_LME | x86.EFER_LMA | x86.EFER_NXE | x86.EFER_SCE
		cs.Attr = cs.Attr&^x86.AttrDB | x86.AttrL
	}
}

// wildGuest is a guest that executes arbitrary bytes.
type wildGuest struct {
	v     cpu.VCPU
	state x86.State
}

// wildMemory returns memory of a size of at least wildSize with page tables.
func wildMemory(t *testing.T, size int) []byte {
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	le := binary.LittleEndian
	le.PutUint64(mem[wildTables:], wildTables+0x1000|7)
	for i := range uint64(4) {
		le.PutUint64(mem[wildTables+0x1000+8*i:], wildTables+0x2000|7)
	}
	le.PutUint64(mem[wildTables+0x2000:], 0x87)
	for i := uint64(1); i < 8; i++ {
		le.PutUint64(mem[wildTables+0x2000+8*i:], 0x87|i%3<<21)
	}
	return mem
}

// newWild makes one that has code wherever it starts. It is closed with the test.
func newWild(t *testing.T, mk cputest.Make, code []byte, mode uint8, seed uint64, lockstep bool) *wildGuest {
	mem := wildMemory(t, wildSize)
	for at := wildCode; at < wildCode+0x2000; at += max(len(code), 1) {
		copy(mem[at:], code)
	}
	return newWildIn(t, wildAccel(t, mk, mem, 1, lockstep), mode, seed)
}

// newWildIn makes a guest of the first processor.
func newWildIn(t *testing.T, a cpu.Accelerator, mode uint8, seed uint64) *wildGuest {
	g := &wildGuest{v: a.VCPU(0)}
	if err := g.v.State(&g.state); err != nil {
		t.Fatal(err)
	}
	wildState(&g.state, mode, rand.New(rand.NewPCG(seed, 1)))
	return g
}

// wildAccel makes processors. They are closed with the test.
func wildAccel(t *testing.T, mk cputest.Make, mem []byte, cpus int, lockstep bool) cpu.Accelerator {
	w := &wild{}
	a, err := mk(cpu.Config{
		CPUs: cpus, Memory: []cpu.Slot{{Data: mem}}, Clock: w, Platform: w, NewBus: func(int) cpu.Bus { return w },
		TSCHz: 1e9, Lockstep: lockstep,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// run executes the guest, from its state on, until the processor stops or for the given time, and returns why it ended.
func (g *wildGuest) run(t *testing.T, d time.Duration) cpu.Exit {
	if err := g.v.SetState(&g.state); err != nil {
		t.Fatal(err)
	}
	kick := time.AfterFunc(d, g.v.Kick)
	defer kick.Stop()
	exit, err := g.v.Run()
	if div := (*interp.Divergence)(nil); errors.As(err, &div) {
		t.Fatal(div)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := g.v.State(&g.state); err != nil {
		t.Fatal(err)
	}
	return exit
}

// TestAccessWrapsAround reads 16 bytes at address -8 when the page at 0 is the one that the base register reached last.
func TestAccessWrapsAround(t *testing.T) {
	code := []byte{
		0x31, 0xc0, // xor eax, eax
		0x0f, 0x10, 0x00, // movups xmm0, [rax]
		0x48, 0xc7, 0xc0, 0xf8, 0xff, 0xff, 0xff, // mov rax, -8
		0x0f, 0x10, 0x00, // movups xmm0, [rax]
		0xeb, 0xfe, // jmp .
	}
	for seed := range uint64(2) {
		if e := newWild(t, NewEager, code, 3, seed, seed == 0).run(t, time.Minute); e.Reason != cpu.ExitShutdown {
			t.Errorf("seed %d: %v instead of the fault of a page that is not there", seed, e.Reason)
		}
	}
}

// FuzzWild executes arbitrary bytes in every mode.
func FuzzWild(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 120 {
		p := make([]byte, 16+r.IntN(4096))
		for k := range p {
			p[k] = byte(r.Uint32())
			if r.IntN(3) == 0 { // opcodes that are common
				p[k] = []byte{0x48, 0x89, 0x8b, 0x01, 0x0f, 0x83, 0xe8, 0xc3, 0x66, 0xc4, 0xf0, 0x75}[r.IntN(12)]
			}
		}
		f.Add(p, uint8(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, code []byte, mode uint8, seed uint64) {
		newWild(t, NewEager, code, mode&7, seed, seed&1 == 0).run(t, time.Millisecond)
	})
}
