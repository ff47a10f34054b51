package interp

import (
	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// A Stepper executes single instructions on behalf of another accelerator,
// which holds the processor's state and lets other processors run in the same
// memory meanwhile. It belongs to one goroutine at a time.
//
// It has no local APIC: accesses to the APIC's registers in memory go to the
// bus, and APIC, CR8, MSR.APICBase and MSR.TSCDeadline of a state are left alone.
type Stepper struct{ c *CPU }

// NewStepper returns a Stepper for the memory and the bus (that of processor
// 0) of cfg, and a processor that announces features.
func NewStepper(cfg cpu.Config, features x86.FeatureSet) (*Stepper, error) {
	cfg.CPUs = 1
	a, err := New(cfg)
	if err != nil {
		return nil, err
	}
	a.cpus[0].setFeatures(features)
	return &Stepper{a.cpus[0]}, nil
}

// Step executes the instruction at s.RIP, or one iteration of it if it is
// repeated, and delivers the exception that it raises, if it does. Pending
// interrupts are not looked at. It returns which instruction that was, if it
// got as far as decoding one. ok is false when the processor has shut down.
func (p *Stepper) Step(s *x86.State) (op x86.Op, ok bool, err error) {
	c := p.c
	err = p.with(s, func() bool {
		c.dec.in = x86.Inst{}
		st := c.single()
		op = c.dec.in.Op
		ok = true
		if st == stFault || st == stTrap {
			ok = c.deliverFault()
		}
		return ok
	})
	return op, ok && err == nil, err
}

// Deliver makes the processor enter the handler of an external interrupt, or of
// a debug exception whose cause is in DR6 already. ok is false when the
// processor has shut down.
func (p *Stepper) Deliver(s *x86.State, vector uint8) (ok bool, err error) {
	err = p.with(s, func() bool {
		if vector == x86.VecDB {
			p.c.exc = exception{vec: vector}
			ok = p.c.deliverFault()
		} else {
			ok = p.c.interrupt(vector)
		}
		return ok
	})
	return ok && err == nil, err
}

// with puts s into the processor, calls f, and copies the state out again.
func (p *Stepper) with(s *x86.State, f func() bool) error {
	c := p.c
	t := *s
	t.APIC = x86.APIC{ID: uint32(c.id)}
	t.MSR.APICBase = apicOff
	t.MSR.TSCDeadline = 0
	c.sys.trapDB = 0
	if err := c.SetState(&t); err != nil {
		return err
	}
	// Others have written to memory without telling: nothing that was decoded holds.
	for page := range c.blocks.pages {
		c.dropLines(lineSet{page, ^uint64(0)})
	}
	c.s.Run = x86.Running
	if f() && c.sys.trapDB != 0 {
		c.exc = exception{vec: x86.VecDB, db: c.sys.trapDB}
		c.sys.trapDB = 0
		c.deliverFault()
	}
	if err := c.State(&t); err != nil {
		return err
	}
	t.APIC, t.CR8 = s.APIC, s.CR8
	t.MSR.APICBase, t.MSR.TSCDeadline = s.MSR.APICBase, s.MSR.TSCDeadline
	t.NMIPending = s.NMIPending
	*s = t
	return nil
}

// apicOff is an IA32_APIC_BASE with the APIC turned off.
const apicOff = 0xfee00000
