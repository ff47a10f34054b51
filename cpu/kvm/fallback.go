//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"dfemu/cpu"
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// stepper is the interpreter behind a processor, made when it is first needed.
type stepper struct {
	*interp.Stepper
	v        *VCPU
	apicPage uint64 // of the state being worked on; 1: none
}

func (v *VCPU) stepper() (*stepper, error) {
	if v.step != nil {
		return v.step, nil
	}
	p := &stepper{v: v}
	cfg := v.a.cfg
	cfg.TSCHz = v.a.tscHz
	cfg.NewBus = func(int) cpu.Bus { return p }
	// As on a processor, hiding a feature does not take its instructions away.
	s, err := interp.NewStepper(cfg, x86.DefaultFeatures())
	if err != nil {
		return nil, fmt.Errorf("kvm: cpu%d: %w", v.id, err)
	}
	p.Stepper = s
	v.step = p
	return p, nil
}

// interpret executes the instruction that KVM has given up on. ok is false
// when the processor has shut down.
func (v *VCPU) interpret() (ok bool, err error) {
	var s x86.State
	if err := v.readCore(&s); err != nil {
		return false, err
	}
	if s.TSCOffset, err = v.tscOffset(); err != nil {
		return false, err
	}
	p, err := v.stepper()
	if err != nil {
		return false, err
	}
	v.rip.Store(s.RIP)
	p.place(&s)
	before := s
	op, ok, err := p.Step(&s)
	if err != nil {
		return false, err
	}
	v.interpreted.Add(1)
	if v.a.first(keyInstruction | uint32(op)) {
		v.logf("%v at %#x is not emulated by this host's KVM: the interpreter executes it", op, before.RIP)
	}
	if !ok {
		return false, nil
	}
	return true, v.writeChanges(&s, &before, op)
}

// writeChanges gives KVM what an instruction has changed.
func (v *VCPU) writeChanges(s, before *x86.State, op x86.Op) error {
	events := v.buf.events // as readCore found them
	system := s.Seg != before.Seg || s.LDTR != before.LDTR || s.TR != before.TR ||
		s.GDTR != before.GDTR || s.IDTR != before.IDTR || s.MSR.EFER != before.MSR.EFER ||
		s.CR0 != before.CR0 || s.CR2 != before.CR2 || s.CR3 != before.CR3 || s.CR4 != before.CR4
	flush := op == x86.INVPCID || op == x86.INVLPG
	if flush {
		// KVM forgets the translations it holds when CR4 changes.
		t := *s
		t.CR4 ^= x86.CR4_PGE
		if err := v.writeSystem(&t); err != nil {
			return err
		}
	}
	if system || flush || s.DR != before.DR {
		if err := v.writeSystem(s); err != nil {
			return err
		}
	} else {
		setRegs(&v.buf.regs, s)
		if err := gokvm.SetRegs(uintptr(v.fd), &v.buf.regs); err != nil {
			return v.failed("set registers", err)
		}
	}
	if s.FPU != before.FPU || s.Vec != before.Vec || s.MXCSR != before.MXCSR || s.XCR0 != before.XCR0 {
		if err := v.writeFPU(s); err != nil {
			return err
		}
	}
	if s.TSCOffset != before.TSCOffset {
		if err := v.setTSCOffset(s.TSCOffset); err != nil {
			return err
		}
	}
	if s.MSR != before.MSR {
		changed := func(m *stateMSR) bool { return *m.field(&s.MSR) != *m.field(&before.MSR) }
		if err := v.setMSRs(&s.MSR, changed); err != nil {
			return err
		}
	}
	if s.Run != before.Run {
		if err := v.writeEvents(s); err != nil {
			return err
		}
	}
	// KVM has queued #UD for the instruction; the rest stays.
	v.buf.events = events
	e := &v.buf.events
	e.E, e.ExceptionHasPayload, e.ExceptionPayload = gokvm.Exception{}, 0, 0
	e.I.Shadow = 0
	if s.IntrShadow {
		e.I.Shadow = shadowSTI
	}
	if s.NMIBlocked != before.NMIBlocked {
		e.N.Masked = 0
		if s.NMIBlocked {
			e.N.Masked = 1
		}
	}
	if err := gokvm.SetVCPUEvents(uintptr(v.fd), e); err != nil {
		return v.failed("set events", err)
	}
	v.run.setReady(0)
	v.rip.Store(s.RIP)
	return nil
}

// deliver makes the processor of s enter an interrupt's handler.
func (v *VCPU) deliver(s *x86.State, vector uint8) error {
	p, err := v.stepper()
	if err != nil {
		return err
	}
	p.place(s)
	ok, err := p.Deliver(s, vector)
	if err == nil && !ok {
		err = fmt.Errorf("kvm: cpu%d: the processor shut down while interrupt %d was delivered", v.id, vector)
	}
	return err
}

// place notes where the local APIC of a state is.
func (p *stepper) place(s *x86.State) {
	p.apicPage = 1
	if s.MSR.APICBase&(baseEnable|baseX2) == baseEnable {
		p.apicPage = s.MSR.APICBase &^ (pageSize - 1)
	}
}

// In, Out, Read and Write implement [cpu.Bus] for the interpreter.
func (p *stepper) In(port uint16, size int) uint32 {
	p.v.exits.Add(1)
	return p.v.bus.In(port, size)
}

func (p *stepper) Out(port uint16, size int, val uint32) {
	p.v.exits.Add(1)
	p.v.bus.Out(port, size, val)
}

func (p *stepper) Read(gpa uint64, size int) uint64 {
	if gpa&^(pageSize-1) != p.apicPage {
		p.v.exits.Add(1)
		return p.v.bus.Read(gpa, size)
	}
	off := gpa & (pageSize - 1)
	if err := gokvm.GetLocalAPIC(uintptr(p.v.fd), &p.v.buf.lapic); err != nil || off+8 > uint64(len(p.v.buf.lapic.Regs)) {
		return ^uint64(0)
	}
	return binary.LittleEndian.Uint64(p.v.buf.lapic.Regs[off:])
}

func (p *stepper) Write(gpa uint64, size int, val uint64) {
	if gpa&^(pageSize-1) != p.apicPage {
		p.v.exits.Add(1)
		p.v.bus.Write(gpa, size, val)
		return
	}
	p.v.logf("the interpreter cannot write %#x to the in-kernel APIC's register %#x", val, gpa&(pageSize-1))
}
