// Package interp executes x86-64 guests on any host: an interpreter that
// decodes blocks of instructions once and then runs them through handlers. It is also
// the reference that translated code is compared with.
//
// A reader starts at Run (run.go), which alternates between what is pending
// and executing blocks; block.go and decode.go make blocks, compile picks the
// handler of an instruction, tlb.go and walk.go get at memory, codemap.go
// keeps decoded code true to memory, exception.go delivers events.
package interp

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"dfemu/cpu"
	"dfemu/cpu/apic"
	"dfemu/cpu/x86"
)

// Accel runs the processors of one machine. It implements [cpu.Accelerator].
type Accel struct {
	cfg    cpu.Config
	mem    memory
	code   codeMap
	cpus   []*CPU
	fabric *apic.Fabric

	heat       uint8 // executions before a block is translated
	sampler    sampler
	dry        *dryRun
	lockstep   bool          // compare each translated block with the interpreter
	translator Translator    // nil: everything is interpreted
	epoch      atomic.Uint32 // of the translator's units

	world    sync.Mutex  // held by the processor that has stopped all others
	stopping atomic.Bool // some processor wants, or has, the others stopped
}

// New makes the processors of a machine, in their power-on state.
func New(cfg cpu.Config) (*Accel, error) { return NewTranslated(cfg, nil, 0) }

// NewTranslated is New with a translator for blocks that have been executed a number of times.
func NewTranslated(cfg cpu.Config, t Translator, times uint8) (*Accel, error) {
	if cfg.CPUs < 1 {
		return nil, fmt.Errorf("interp: %d CPUs: at least one is needed", cfg.CPUs)
	}
	for _, s := range cfg.Memory {
		if s.GPA%pageSize != 0 || len(s.Data)%pageSize != 0 {
			return nil, fmt.Errorf("interp: memory at %#x (%#x bytes) is not whole pages", s.GPA, len(s.Data))
		}
	}
	a := &Accel{cfg: cfg, mem: memory{cfg.Memory}, translator: t, heat: min(times, 254)}
	a.code.cover(cfg.Memory)
	for i := range cfg.CPUs {
		c := &CPU{id: i, acc: a, bus: cfg.NewBus(i), wake: make(chan struct{}, 1)}
		c.hot.NoPage = 0x5a<<56 | rand.Uint64()>>8&pageMask
		c.initSlots()
		c.initGuard()
		c.second.resize(1)
		c.r[regZero] = 0
		c.quiet.Store(true)
		a.cpus = append(a.cpus, c)
	}
	a.connectAPICs()
	for _, c := range a.cpus {
		var s x86.State
		c.powerOn(&s)
		if err := c.SetState(&s); err != nil {
			return nil, err
		}
	}
	a.startSampling()
	return a, nil
}

// Name implements [cpu.Accelerator].
func (a *Accel) Name() string { return "interp" }

// VCPU implements [cpu.Accelerator].
func (a *Accel) VCPU(i int) cpu.VCPU { return a.cpus[i] }

// SendMSI implements [cpu.Accelerator].
func (a *Accel) SendMSI(addr uint64, data uint32) { a.fabric.SendMSI(addr, data) }

// SetINTR implements [cpu.Accelerator].
func (a *Accel) SetINTR(level bool) { a.fabric.SetINTR(level) }

// NMI implements [cpu.Accelerator].
func (a *Accel) NMI() { a.fabric.NMI() }

// Close implements [cpu.Accelerator].
func (a *Accel) Close() error {
	a.stopSampling()
	return nil
}

// Invalidate implements [cpu.Accelerator].
func (a *Accel) Invalidate(gpa, n uint64) {
	for n > 0 {
		part := min(n, pageSize-gpa&pageOffset)
		page := gpa & pageMask
		if a.code.any(page) {
			if hit := a.code.take(page, lines(gpa, int(part))); hit != 0 {
				a.invalidate(lineSet{page, hit}, nil)
			}
		}
		gpa += part
		n -= part
	}
}

// invalidate makes all processors but one drop the blocks in some lines.
func (a *Accel) invalidate(l lineSet, but *CPU) {
	for _, c := range a.cpus {
		if c == but {
			continue
		}
		c.mu.Lock()
		c.inval = append(c.inval, l)
		c.mu.Unlock()
		c.signal(pendInval)
	}
}

// announce tells the other processors that a page now holds code.
func (a *Accel) announce(by *CPU) {
	n := a.code.events.Add(1)
	for _, c := range a.cpus {
		if c != by {
			c.signal(pendInval)
		} else if c.acked.Load() == n-1 {
			c.acked.Store(n)
		}
	}
}

// acknowledged reports whether every processor's TLB reflects an event.
func (a *Accel) acknowledged(seq uint64) bool {
	for _, c := range a.cpus {
		if c.acked.Load() < seq && !c.quiet.Load() {
			return false
		}
	}
	return true
}

// Kick implements [cpu.VCPU].
func (c *CPU) Kick() { c.post(pendKick) }

// RIP implements [cpu.VCPU].
func (c *CPU) RIP() uint64 { return c.curRIP.Load() }

// Stats implements [cpu.VCPU].
func (c *CPU) Stats() cpu.Stats {
	s := c.stats
	s.Instructions = c.icount
	s.Entries, s.Interpreted = c.hot.entered, c.hot.ops
	if c.acc.translator != nil {
		s.Instructions = 0
	}
	return s
}

// State implements [cpu.VCPU].
func (c *CPU) State(s *x86.State) error {
	copy(c.s.GPR[:], c.r[:16])
	c.s.RIP, c.s.RFLAGS = c.rip, c.rflags()
	c.s.NMIPending = c.pending.Load()&pendNMI != 0
	c.saveAPIC()
	*s = c.s
	return nil
}

// SetState implements [cpu.VCPU].
func (c *CPU) SetState(s *x86.State) error {
	c.s = *s
	copy(c.r[:16], s.GPR[:])
	c.rip = s.RIP
	if err := c.restoreAPIC(); err != nil {
		return err
	}
	c.pending.And(^uint32(pendNMI | pendInit | pendSIPI))
	c.sys.trapDB = 0
	if s.NMIPending {
		c.pending.Or(pendNMI)
	}
	c.setRFLAGS(s.RFLAGS)
	c.flushTLB()
	return nil
}

func (c *CPU) logf(format string, args ...any) {
	if c.acc.cfg.Logf != nil {
		c.acc.cfg.Logf("cpu%d: "+format, append([]any{c.id}, args...)...)
	}
}
