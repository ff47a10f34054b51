//go:build unix

// Package cputest has guests that every accelerator must run with the same
// result, and the rig that runs them: a little memory, a bus that writes down
// what it is asked, and interrupts on demand. The tests of the accelerators
// call [Run], [Kicks] and [State].
package cputest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// Make makes the accelerator under test.
type Make func(cpu.Config) (cpu.Accelerator, error)

// Where things are in the guests' memory.
const (
	ramSize = 8 << 20
	romBase = 0xe0000
	romSize = 0x10000

	gdtAddr     = 0x1000
	idtAddr     = 0x2000
	tssAddr     = 0x3000
	pml4Addr    = 0x4000 // then the table of the next level, then four of 2 MiB pages
	apAddr      = 0x9000
	codeAddr    = 0x10000
	handlerAddr = 0x18000
	defaultAddr = 0x19000 // handlers of vectors that no guest handles
	stackAddr   = 0x28000
	dataAddr    = 0x30000
	tssIOMap    = 104
)

// Selectors.
const (
	selCode32   = 0x08
	selData     = 0x10
	selCode64   = 0x18
	selUserData = 0x30
	selTSS      = 0x40
)

// Ports of the rig.
const (
	portDefault = 0xe0 // a default handler tells its vector
	portAction  = 0xc0 // the number of an action
	portDone    = 0xf4 // ends the run
)

// rig is a machine for one guest. It implements cpu.Platform, and its buses
// cpu.Bus.
type rig struct {
	t   *testing.T
	acc cpu.Accelerator
	ram []byte
	rom []byte

	mu    sync.Mutex
	log   []string
	reads uint32

	done atomic.Bool
	stop chan struct{} // closed when the run is over
	wg   sync.WaitGroup
}

func newRig(t *testing.T, mk Make, cpus int) *rig {
	t.Helper()
	r := &rig{t: t, stop: make(chan struct{})}
	r.ram, r.rom = pages(t, ramSize), pages(t, romSize)
	binary.LittleEndian.PutUint64(r.rom, 0xfeedfacecafef00d)
	acc, err := mk(cpu.Config{
		CPUs: cpus,
		// The read-only slot lies inside what would be RAM.
		Memory: []cpu.Slot{
			{GPA: 0, Data: r.ram[:romBase]},
			{GPA: romBase, Data: r.rom, ReadOnly: true},
			{GPA: romBase + romSize, Data: r.ram[romBase+romSize:]},
		},
		Clock:    newClock(),
		Platform: r,
		NewBus:   func(id int) cpu.Bus { return &bus{r, id} },
		TSCHz:    1_000_000_000,
		Logf:     func(format string, args ...any) { t.Logf(format, args...) },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.acc = acc
	t.Cleanup(func() {
		close(r.stop)
		r.wg.Wait()
		if err := acc.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// pages returns page-aligned memory outside the Go heap.
func pages(t *testing.T, n int) []byte {
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(p) })
	return p
}

func (r *rig) note(format string, args ...any) {
	r.mu.Lock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
	r.mu.Unlock()
}

// AckINTR implements cpu.Platform.
func (r *rig) AckINTR() uint8 {
	r.note("ack")
	r.acc.SetINTR(false)
	return vecPIC
}

// EOI implements cpu.Platform.
func (r *rig) EOI(vector uint8) { r.note("eoi %x", vector) }

// Vectors that the rig sends.
const (
	vecEdge  = 0x50
	vecLevel = 0x51
	vecTimer = 0x52
	vecPIC   = 0x60
)

// act does what a guest asks through the port of actions.
func (r *rig) act(n uint32) {
	const dest0, assert, level = 0xfee00000, 1 << 14, 1 << 15
	switch n {
	case 1:
		r.later(func() { r.acc.SendMSI(dest0, vecEdge) })
	case 2:
		r.acc.SendMSI(dest0, vecLevel|level|assert)
	case 3:
		r.acc.SetINTR(true)
	case 4:
		r.later(func() { r.acc.SetINTR(true) })
	case 5:
		r.acc.NMI()
	case 6:
		r.wg.Go(func() {
			for {
				r.acc.NMI()
				select {
				case <-r.stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
}

// later calls f on another goroutine, most likely after the guest has halted.
func (r *rig) later(f func()) {
	r.wg.Go(func() {
		select {
		case <-r.stop:
		case <-time.After(5 * time.Millisecond):
		}
		f()
	})
}

// bus is one processor's.
type bus struct {
	r  *rig
	id int
}

// In implements cpu.Bus: a value that depends on the port and on how many
// reads there have been.
func (b *bus) In(port uint16, size int) uint32 {
	b.r.mu.Lock()
	b.r.reads++
	v := 0x44332211 + uint32(port)*0x01010101 + b.r.reads
	b.r.mu.Unlock()
	b.r.note("in%d %x", size, port)
	if size < 4 {
		v &= 1<<(8*size) - 1
	}
	return v
}

// Out implements cpu.Bus.
func (b *bus) Out(port uint16, size int, v uint32) {
	b.r.note("out%d %x %x", size, port, v)
	switch port {
	case portAction:
		b.r.act(v)
	case portDone:
		b.r.done.Store(true)
		b.r.acc.VCPU(0).Kick()
	}
}

// Read implements cpu.Bus: every byte depends on its address.
func (b *bus) Read(gpa uint64, size int) (v uint64) {
	b.r.note("read%d %x", size, gpa)
	for i := range uint64(size) {
		v |= ((gpa+i)*0x1d + 7) & 0xff << (8 * i)
	}
	return v
}

// Write implements cpu.Bus.
func (b *bus) Write(gpa uint64, size int, v uint64) { b.r.note("write%d %x %x", size, gpa, v) }

// load puts code, written as in the guests' tables, at an address.
func (r *rig) load(addr int, code string) {
	p, err := hex.DecodeString(code)
	if err != nil {
		r.t.Fatalf("code at %#x: %v", addr, err)
	}
	copy(r.ram[addr:], p)
	r.acc.Invalidate(uint64(addr), uint64(len(p)))
}

// put64 writes a word of memory.
func (r *rig) put64(addr int, v uint64) { binary.LittleEndian.PutUint64(r.ram[addr:], v) }

// tables writes the descriptor tables, the page tables, and handlers for all vectors.
func (r *rig) tables(m Mode, vectors []uint8) {
	for i, d := range []uint64{
		0,
		0x00cf9b000000ffff, 0x00cf93000000ffff, // 32-bit code, data
		0x00af9b000000ffff, 0x00cf93000000ffff, // 64-bit code, data
		0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff, // the same for CPL 3
		0x00008b000067 | tssAddr<<16, 0,
	} {
		r.put64(gdtAddr+8*i, d)
	}
	r.put64(tssAddr+4, stackAddr)
	binary.LittleEndian.PutUint16(r.ram[tssAddr+102:], tssIOMap)
	r.put64(pml4Addr, pml4Addr+0x1000|7)
	for i := range 4 {
		r.put64(pml4Addr+0x1000+8*i, uint64(pml4Addr+0x2000+0x1000*i)|7)
	}
	for i := range 4 * 512 {
		r.put64(pml4Addr+0x2000+8*i, uint64(i)<<21|0xe7)
	}
	for v := range 256 {
		at := defaultAddr + 8*v
		copy(r.ram[at:], []byte{0xb0, byte(v), 0xe6, portDefault, 0xe6, portDone, 0xf4})
		for _, h := range vectors {
			if int(h) == v {
				at = handlerAddr
			}
		}
		switch m {
		case Real:
			binary.LittleEndian.PutUint32(r.ram[4*v:], uint32(at&0xf|at>>4<<16))
		case Protected:
			r.put64(idtAddr+8*v, gate(at, selCode32))
		case Long:
			r.put64(idtAddr+16*v, gate(at, selCode64))
			r.put64(idtAddr+16*v+8, 0)
		}
	}
	r.acc.Invalidate(0, ramSize-1)
}

// gate is an interrupt gate to a handler below 4 GiB, open to CPL 3.
func gate(at int, sel uint64) uint64 {
	return uint64(at)&0xffff | uint64(at)>>16<<48 | sel<<16 | 0xee00<<32
}

// start sets processor 0 to the first instruction of the guest.
func (r *rig) start(m Mode) x86.State {
	r.t.Helper()
	var s x86.State
	v := r.acc.VCPU(0)
	if err := v.State(&s); err != nil {
		r.t.Fatal(err)
	}
	s.GPR = [16]uint64{x86.RSP: stackAddr}
	s.RIP, s.RFLAGS = codeAddr, x86.Flag1
	s.GDTR = x86.Table{Base: gdtAddr, Limit: 0x4f}
	s.IDTR = x86.Table{Base: idtAddr, Limit: 0xfff}
	s.CR0 = x86.CR0_PE | x86.CR0_ET | x86.CR0_NE
	const data = x86.AttrP | x86.AttrS | x86.AttrRW | x86.AttrAccessed
	const flat = data | x86.AttrG | x86.AttrDB
	code := x86.Segment{Selector: selCode32, Limit: 0xffffffff, Attr: flat | x86.AttrCode}
	for i := range s.Seg {
		s.Seg[i] = x86.Segment{Selector: selData, Limit: 0xffffffff, Attr: flat}
	}
	s.TR = x86.Segment{Selector: selTSS, Base: tssAddr, Limit: 0x67, Attr: x86.AttrP | 0xb}
	s.LDTR = x86.Segment{Attr: x86.AttrUnusable}
	switch m {
	case Real:
		s.CR0 &^= x86.CR0_PE
		s.RIP, s.GPR[x86.RSP] = 0, 0x8000
		s.IDTR = x86.Table{Limit: 0x3ff}
		for i := range s.Seg {
			s.Seg[i] = x86.Segment{Selector: dataAddr >> 4, Base: dataAddr, Limit: 0xffff, Attr: data}
		}
		code = x86.Segment{Selector: codeAddr >> 4, Base: codeAddr, Limit: 0xffff, Attr: data | x86.AttrCode}
		s.Seg[x86.SS] = x86.Segment{Selector: 0x2000, Base: 0x20000, Limit: 0xffff, Attr: data}
	case Long:
		s.CR0 |= x86.CR0_PG
		s.CR3, s.CR4 = pml4Addr, x86.CR4_PAE|x86.CR4_OSFXSR|x86.CR4_OSXMMEXCPT
		s.MSR.EFER = x86.EFER_LME | x86.EFER_LMA
		code = x86.Segment{Selector: selCode64, Limit: 0xffffffff, Attr: data | x86.AttrG | x86.AttrL | x86.AttrCode}
	}
	s.Seg[x86.CS] = code
	s.Run = x86.Running
	if err := v.SetState(&s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// run runs all processors until the guest is done, and returns why the first stopped.
func (r *rig) run(cpus int) cpu.Exit {
	r.t.Helper()
	for i := 1; i < cpus; i++ {
		v := r.acc.VCPU(i)
		r.wg.Go(func() {
			for !r.done.Load() {
				if _, err := v.Run(); err != nil {
					r.t.Error(err)
					return
				}
			}
		})
	}
	defer func() {
		r.done.Store(true)
		for i := 1; i < cpus; i++ {
			r.acc.VCPU(i).Kick()
		}
	}()
	timer := time.AfterFunc(timeout, func() {
		r.note("timed out at RIP %#x", r.acc.VCPU(0).RIP())
		r.done.Store(true)
		r.acc.VCPU(0).Kick()
	})
	defer timer.Stop()
	for {
		exit, err := r.acc.VCPU(0).Run()
		if err != nil {
			r.t.Fatalf("%v; so far: %q", err, r.log)
		}
		if exit.Reason != cpu.ExitKicked || r.done.Load() {
			return exit
		}
	}
}

// timeout is when a guest that should have ended is given up.
const timeout = 10 * time.Second
