package program

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// Factory makes an accelerator.
type Factory func(cpu.Config) (cpu.Accelerator, error)

// Access is one access to something outside memory.
type Access struct {
	Port  bool // otherwise memory-mapped
	Write bool
	Size  uint8
	Addr  uint64
	Value uint64 // written, or the answer
}

// Outcome is what a program leaves behind.
type Outcome struct {
	State  x86.State
	RAM    []byte   // guest-physical memory
	Bus    []Access // at most maxAccesses
	Events uint64   // exceptions and interrupts handled
	Reason cpu.Reason
	Stats  cpu.Stats
	Time   time.Duration
}

// Rig says how a program is run.
type Rig struct {
	// Timeout is how long a program may take before it counts as stuck. 0: 20 seconds.
	Timeout time.Duration
	// Disturb makes Run return at many accesses to the bus, copies the state out
	// and in, and drops all decoded code: nothing of that may change the outcome.
	Disturb bool
}

// maxAccesses bounds Outcome.Bus.
const maxAccesses = 1 << 16

// machine is a machine with one processor, the program's devices and no clock. It implements
// cpu.Bus, cpu.Platform and cpu.Clock.
type machine struct {
	acc     cpu.Accelerator
	vcpu    cpu.VCPU
	disturb bool
	ended   bool
	timeout atomic.Bool
	bus     []Access
	reads   uint64
}

func (m *machine) note(a Access) {
	if len(m.bus) < maxAccesses {
		m.bus = append(m.bus, a)
	}
	if m.disturb && len(m.bus)%3 == 0 {
		m.vcpu.Kick()
	}
}

// answer is what a device answers: something else each time.
func (m *machine) answer(size int) uint64 {
	m.reads++
	r := rng(m.reads)
	return r.u64() & (1<<(8*size-1)<<1 - 1)
}

// In implements [cpu.Bus].
func (m *machine) In(port uint16, size int) uint32 {
	v := m.answer(size)
	m.note(Access{Port: true, Size: uint8(size), Addr: uint64(port), Value: v})
	return uint32(v)
}

// Out implements [cpu.Bus].
func (m *machine) Out(port uint16, size int, v uint32) {
	m.note(Access{Port: true, Write: true, Size: uint8(size), Addr: uint64(port), Value: uint64(v)})
	switch port {
	case portEnd:
		m.ended = true
		m.vcpu.Kick()
	case portInterrupt:
		m.acc.SetINTR(true)
	}
}

// Read implements [cpu.Bus].
func (m *machine) Read(gpa uint64, size int) uint64 {
	v := m.answer(size)
	m.note(Access{Size: uint8(size), Addr: gpa, Value: v})
	return v
}

// Write implements [cpu.Bus].
func (m *machine) Write(gpa uint64, size int, v uint64) {
	m.note(Access{Write: true, Size: uint8(size), Addr: gpa, Value: v})
}

// AckINTR implements [cpu.Platform].
func (m *machine) AckINTR() uint8 {
	m.acc.SetINTR(false)
	return vecExternal
}

// EOI implements [cpu.Platform].
func (*machine) EOI(uint8) {}

// The clock stands still.

func (*machine) Now() int64                { return 0 }
func (*machine) Wall() time.Time           { return time.Time{} }
func (*machine) NewTimer(func()) cpu.Timer { return noTimer{} }

type noTimer struct{}

func (noTimer) Set(int64) {}
func (noTimer) Stop()     {}

// Run runs a program on a new accelerator until it ends or the processor shuts down. An error
// is one of the host, or says that the program did not end.
func Run(make Factory, p *Program, rig Rig) (*Outcome, error) {
	ram, free, err := guestMemory(ramSize)
	if err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	m := &machine{disturb: rig.Disturb}
	p.build(ram)
	m.acc, err = make(cpu.Config{CPUs: 1, Memory: []cpu.Slot{{GPA: 0, Data: ram}}, Clock: m, Platform: m,
		NewBus: func(int) cpu.Bus { return m }, TSCHz: 1e9})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("program: %w", err), free())
	}
	m.vcpu = m.acc.VCPU(0)
	out, err := m.run(p, ram, rig)
	return out, errors.Join(err, m.acc.Close(), free())
}

// run runs p, which is in ram.
func (m *machine) run(p *Program, ram []byte, rig Rig) (*Outcome, error) {
	out := &Outcome{}
	s := &out.State
	if err := m.vcpu.State(s); err != nil {
		return nil, err
	}
	p.start(s)
	if err := m.vcpu.SetState(s); err != nil {
		return nil, err
	}
	limit := rig.Timeout
	if limit == 0 {
		limit = 20 * time.Second
	}
	alarm := time.AfterFunc(limit, func() {
		m.timeout.Store(true)
		m.vcpu.Kick()
	})
	defer alarm.Stop()
	began := time.Now()
	for {
		exit, err := m.vcpu.Run()
		if err != nil {
			return nil, err
		}
		out.Reason = exit.Reason
		if m.ended || exit.Reason == cpu.ExitShutdown {
			break
		}
		if m.timeout.Load() {
			return nil, fmt.Errorf("program: seed %d on %s: has not ended after %v, RIP %#x", p.Seed, m.acc.Name(), limit, m.vcpu.RIP())
		}
		if rig.Disturb {
			if err := m.shake(s); err != nil {
				return nil, err
			}
		}
	}
	out.Time = time.Since(began)
	out.Stats = m.vcpu.Stats()
	if err := m.vcpu.State(s); err != nil {
		return nil, err
	}
	out.RAM = append([]byte(nil), ram...)
	out.Bus = m.bus
	for n := range 8 {
		out.Events |= uint64(ram[physCtrl+ctrlEvents+n]) << (8 * n)
	}
	return out, nil
}

// shake copies the state out and in and drops decoded code.
func (m *machine) shake(s *x86.State) error {
	if err := m.vcpu.State(s); err != nil {
		return err
	}
	m.acc.Invalidate(0, ramSize)
	return m.vcpu.SetState(s)
}
