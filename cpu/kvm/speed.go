//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// HardwareSpeed is how many instructions a second, of a loop in ring 0, tell
// a processor from software that pretends: the slowest hosts with
// virtualization do many times more, the fastest emulators far fewer.
const HardwareSpeed = 200_000_000

// Usable reports whether KVM opens, has all that is needed and runs a guest
// at hardware speed. The reason says so in one line, with the speed measured, or what is
// missing and what to do about it. It takes some milliseconds.
func Usable() (ok bool, reason string) {
	speed, err := Speed()
	if err != nil {
		return false, err.Error()
	}
	if speed < HardwareSpeed {
		return false, fmt.Sprintf("KVM runs %s in ring 0, a processor with virtualization at least %s: it is emulated",
			perSecond(speed), perSecond(HardwareSpeed))
	}
	return true, fmt.Sprintf("KVM runs %s in ring 0", perSecond(speed))
}

func perSecond(n float64) string { return fmt.Sprintf("%.1f million instructions a second", n/1e6) }

// The scratch machine: page tables, and a page of code.
const (
	scratchSize = 0x4000
	scratchPML4 = 0x1000
	scratchPDPT = 0x2000
	scratchCode = 0x3000
	scratchPD   = 0x0000
	scratchPort = 0xf4
)

// scratchLoop counts ECX down and tells the port when it is 0.
const scratchLoop = "\xff\xc9" + // dec ecx
	"\x75\xfc" + // jnz loop
	"\xe6\xf4" // out 0xf4, al

// Speed measures how many instructions a second a short loop runs at in ring 0 of
// a scratch machine in 64-bit mode.
func Speed() (float64, error) {
	ram, err := unix.Mmap(-1, 0, scratchSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return 0, fmt.Errorf("memory of the scratch machine: %w", err)
	}
	defer func() { _ = unix.Munmap(ram) }()
	m := &scratch{start: time.Now()}
	a, err := newAccel(cpu.Config{
		CPUs: 1, Memory: []cpu.Slot{{Data: ram}},
		Clock: m, Platform: m, NewBus: func(int) cpu.Bus { return m },
	})
	if err != nil {
		return 0, err
	}
	m.v = a.cpus[0]
	speed, err := m.measure(ram)
	return speed, errors.Join(err, a.Close())
}

func (m *scratch) measure(ram []byte) (float64, error) {
	binary.LittleEndian.PutUint64(ram[scratchPML4:], scratchPDPT|3)
	binary.LittleEndian.PutUint64(ram[scratchPDPT:], 0x83) // one page of 1 GiB
	if !m.v.a.model.Features.Has(x86.FeatPage1GB) {
		binary.LittleEndian.PutUint64(ram[scratchPDPT:], scratchPD|3)
		binary.LittleEndian.PutUint64(ram[scratchPD:], 0x83) // one of 2 MiB
	}
	copy(ram[scratchCode:], scratchLoop)
	// A short loop first: where it takes long, the answer is known.
	var elapsed time.Duration
	loops := uint64(10_000)
	for {
		d, err := m.loop(loops)
		if err != nil {
			return 0, err
		}
		elapsed = d
		if elapsed > 2*time.Millisecond || loops > 1<<26 {
			break
		}
		loops *= 8
	}
	return 2 * float64(loops) / max(elapsed, 1).Seconds(), nil
}

// loop runs n turns of the loop.
func (m *scratch) loop(n uint64) (time.Duration, error) {
	var s x86.State
	if err := m.v.State(&s); err != nil {
		return 0, err
	}
	const data = x86.AttrP | x86.AttrS | x86.AttrRW | x86.AttrAccessed | x86.AttrG
	for i := range s.Seg {
		s.Seg[i] = x86.Segment{Selector: 0x10, Limit: 0xffffffff, Attr: data | x86.AttrDB}
	}
	s.Seg[x86.CS] = x86.Segment{Selector: 8, Limit: 0xffffffff, Attr: data | x86.AttrCode | x86.AttrL}
	s.CR0, s.CR3, s.CR4 = x86.CR0_PE|x86.CR0_ET|x86.CR0_NE|x86.CR0_PG, scratchPML4, x86.CR4_PAE
	s.MSR.EFER = x86.EFER_LME | x86.EFER_LMA
	s.RIP, s.RFLAGS = scratchCode, x86.Flag1
	s.GPR[x86.RCX] = n
	if err := m.v.SetState(&s); err != nil {
		return 0, err
	}
	m.done = false
	limit := time.AfterFunc(scratchLimit, m.v.Kick)
	defer limit.Stop()
	begin := time.Now()
	exit, err := m.v.Run()
	elapsed := time.Since(begin)
	switch {
	case err != nil:
		return 0, err
	case exit.Reason != cpu.ExitKicked:
		return 0, fmt.Errorf("%w: the scratch machine stopped: %v", cpu.ErrNoKVM, exit.Reason)
	case !m.done:
		return 0, fmt.Errorf("%w: %d instructions took more than %v: it is emulated", cpu.ErrNoKVM, 2*n, scratchLimit)
	}
	return elapsed, nil
}

// scratchLimit is the longest that the measurement takes.
const scratchLimit = 200 * time.Millisecond

// scratch is all that is around the scratch machine's processor. It implements
// cpu.Bus, cpu.Platform and cpu.Clock.
type scratch struct {
	v     *VCPU
	start time.Time
	done  bool
}

func (m *scratch) In(uint16, int) uint32 { return ^uint32(0) }

func (m *scratch) Out(port uint16, _ int, _ uint32) {
	if port == scratchPort {
		m.done = true
		m.v.Kick()
	}
}

func (m *scratch) Read(uint64, int) uint64   { return ^uint64(0) }
func (m *scratch) Write(uint64, int, uint64) {}
func (m *scratch) AckINTR() uint8            { return 0 }
func (m *scratch) EOI(uint8)                 {}
func (m *scratch) Now() int64                { return int64(time.Since(m.start)) }
func (m *scratch) Wall() time.Time           { return time.Now() }

// NewTimer returns a timer that never fires: the interpreter, which would set
// it, has nothing to do with the loop.
func (m *scratch) NewTimer(func()) cpu.Timer { return noTimer{} }

type noTimer struct{}

func (noTimer) Set(int64) {}
func (noTimer) Stop()     {}
