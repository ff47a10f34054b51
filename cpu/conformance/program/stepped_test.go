package program

import (
	"sync/atomic"

	"dfemu/cpu"
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// stepped is an accelerator that decodes each instruction anew, executes it and forgets it: without blocks, without
// anything kept from one instruction to the next but the state. It has one processor.
type stepped struct {
	step  *interp.Stepper
	state x86.State
	kick  atomic.Bool
	intr  atomic.Bool
	plat  cpu.Platform
	stats cpu.Stats
}

func newStepped(cfg cpu.Config) (cpu.Accelerator, error) {
	a := &stepped{plat: cfg.Platform}
	var err error
	a.step, err = interp.NewStepper(cfg, x86.DefaultFeatures())
	if err != nil {
		return nil, err
	}
	on, err := interp.New(cfg)
	if err != nil {
		return nil, err
	}
	return a, on.VCPU(0).State(&a.state) // as it is at power-on
}

func (*stepped) Name() string              { return "stepped" }
func (a *stepped) VCPU(int) cpu.VCPU       { return a }
func (*stepped) SendMSI(uint64, uint32)    {}
func (a *stepped) SetINTR(level bool)      { a.intr.Store(level) }
func (*stepped) NMI()                      {}
func (*stepped) Invalidate(uint64, uint64) {}
func (*stepped) Close() error              { return nil }
func (a *stepped) Kick()                   { a.kick.Store(true) }
func (a *stepped) RIP() uint64             { return a.state.RIP }
func (a *stepped) Stats() cpu.Stats        { return a.stats }

func (a *stepped) State(s *x86.State) error {
	*s = a.state
	return nil
}

func (a *stepped) SetState(s *x86.State) error {
	a.state = *s
	return nil
}

func (a *stepped) Run() (cpu.Exit, error) {
	s := &a.state
	for {
		if a.kick.Swap(false) {
			return cpu.Exit{Reason: cpu.ExitKicked}, nil
		}
		if a.intr.Load() && s.RFLAGS&x86.IF != 0 && !s.IntrShadow {
			s.Run = x86.Running
			if ok, err := a.step.Deliver(s, a.plat.AckINTR()); !ok {
				return cpu.Exit{Reason: cpu.ExitShutdown}, err
			}
		}
		if s.Run == x86.Halted {
			continue // only the alarm ends that
		}
		a.stats.Instructions++
		if _, ok, err := a.step.Step(s); !ok {
			return cpu.Exit{Reason: cpu.ExitShutdown}, err
		}
	}
}
