//go:build linux && amd64

package kvm

import (
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"dfemu/cpu/apic"
	"dfemu/cpu/x86"
)

// State implements [cpu.VCPU].
//
// KVM may be about to deliver an event that the processor has already
// accepted. State has no such thing, so the event is taken back where it can be
// raised again, and delivered now, by the interpreter, where it cannot.
func (v *VCPU) State(s *x86.State) error {
	*s = x86.State{}
	if err := v.readCore(s); err != nil {
		return err
	}
	if err := gokvm.GetLocalAPIC(uintptr(v.fd), &v.buf.lapic); err != nil {
		return v.failed("read the local APIC", err)
	}
	if more := s.XCR0 &^ (x86.XCR0_X87 | x86.XCR0_SSE | x86.XCR0_AVX); more != 0 && v.a.first(keyComponents) {
		v.logf("a saved state lacks the components %#x of XCR0, which the guest has turned on though CPUID was not to offer them", more)
	}
	deliver := v.takeBack()
	v.readAPIC(s)
	if v.nmi.Load() {
		if err := v.lint1(); err != nil {
			return err
		}
		v.nmi.Store(false)
		if err := gokvm.GetVCPUEvents(uintptr(v.fd), &v.buf.events); err != nil {
			return v.failed("read events", err)
		}
		s.NMIPending = v.buf.events.N.Pending != 0
	}
	var err error
	if s.TSCOffset, err = v.tscOffset(); err != nil || deliver < 0 {
		return err
	}
	if err := v.deliver(s, uint8(deliver)); err != nil {
		return err
	}
	return v.SetState(s)
}

// SetState implements [cpu.VCPU].
func (v *VCPU) SetState(s *x86.State) error {
	v.nmi.Store(false)
	v.run.setReady(0)
	if err := v.writeSystem(s); err != nil {
		return err
	}
	v.buf.xsave = [xsaveSize]byte{}
	if err := v.writeFPU(s); err != nil {
		return err
	}
	// The deadline comes last: it starts a timer of the APIC, by the TSC.
	deadline := func(m *stateMSR) bool { return m.index == msrTSCDeadline }
	if err := v.setMSRs(&s.MSR, func(m *stateMSR) bool { return !deadline(m) }); err != nil {
		return err
	}
	if err := v.setTSCOffset(s.TSCOffset); err != nil {
		return err
	}
	if err := v.writeAPIC(s); err != nil {
		return err
	}
	if err := v.setMSRs(&s.MSR, deadline); err != nil {
		return err
	}
	if err := v.writeEvents(s); err != nil {
		return err
	}
	v.rip.Store(s.RIP)
	return nil
}

// powerOn gives the processor the state that it has after power-up where
// KVM's differs.
func (v *VCPU) powerOn() error {
	var s x86.State
	if err := v.State(&s); err != nil {
		return err
	}
	s.FPU = x86.FPU{CW: 0x40, Tag: 0xff} // KVM begins after an FNINIT
	s.TSCOffset = 0
	return v.SetState(&s)
}

func (v *VCPU) failed(what string, err error) error {
	return fmt.Errorf("kvm: cpu%d: %s: %w", v.id, what, err)
}

// readCore reads all but the local APIC and the time-stamp counter.
func (v *VCPU) readCore(s *x86.State) error {
	fd, b := uintptr(v.fd), &v.buf
	// Reading the run state makes KVM act on an INIT or start-up IPI that
	// has arrived, so it comes first.
	if err := gokvm.GetMPState(fd, &b.mp); err != nil {
		return v.failed("read the run state", err)
	}
	if _, err := ioctl(v.fd, ioctlGetRegs, &b.regs); err != nil {
		return v.failed("read registers", err)
	}
	if _, err := ioctl(v.fd, ioctlGetSregs, &b.sregs); err != nil {
		return v.failed("read system registers", err)
	}
	if err := gokvm.GetDebugRegs(fd, &b.debug); err != nil {
		return v.failed("read debug registers", err)
	}
	if err := gokvm.GetXCRS(fd, &b.xcrs); err != nil {
		return v.failed("read XCR0", err)
	}
	if _, err := ioctl(v.fd, ioctlGetXSAVE, &b.xsave); err != nil {
		return v.failed("read floating-point state", err)
	}
	if err := gokvm.GetVCPUEvents(fd, &b.events); err != nil {
		return v.failed("read events", err)
	}
	if err := v.getMSRs(&s.MSR); err != nil {
		return err
	}
	switch b.mp.State {
	case gokvm.MPStateHalted:
		s.Run = x86.Halted
	case gokvm.MPStateUninitialized, gokvm.MPStateInitReceived:
		s.Run = x86.WaitForSIPI
	default:
		s.Run = x86.Running
	}
	getRegs(s, &b.regs)
	getSregs(s, &b.sregs)
	copy(s.DR[:4], b.debug.DB[:])
	s.DR[6], s.DR[7] = b.debug.DR6, b.debug.DR7
	for i := range min(b.xcrs.NrXRCS, uint32(len(b.xcrs.Registers))) {
		if x := &b.xcrs.Registers[i]; x.XRC == 0 {
			s.XCR0 = x.Value
		}
	}
	unpackFPU(s, &b.xsave)
	e := &b.events
	s.IntrShadow = e.I.Shadow != 0
	// An NMI that is being delivered is one that is still to come.
	s.NMIPending = e.N.Pending != 0 || e.N.Inject != 0
	s.NMIBlocked = e.N.Masked != 0 && e.N.Inject == 0
	return nil
}

// takeBack looks at the events in buf.events that have been accepted but not
// delivered. An exception is forgotten: RIP is that of the instruction that
// raised it, and will again; so is a software interrupt. A vector of the
// local APIC goes back from ISR to IRR in buf.lapic. What remains, an 8259's
// vector or a debug trap, is returned; -1 stands for nothing.
func (v *VCPU) takeBack() (vector int) {
	e := &v.buf.events
	if (e.E.Inject != 0 || e.E.Pending != 0) && e.E.Nr == x86.VecDB {
		return x86.VecDB
	}
	if e.I.Inject == 0 || e.I.Soft != 0 {
		return -1
	}
	at, bit := int(e.I.Nr>>5)*16, uint32(1)<<(e.I.Nr&31)
	isr := v.lapicReg(lapicISR + at)
	if isr&bit == 0 {
		return int(e.I.Nr)
	}
	v.setLapicReg(lapicISR+at, isr&^bit)
	v.setLapicReg(lapicIRR+at, v.lapicReg(lapicIRR+at)|bit)
	return -1
}

// readAPIC sets the local APIC of s from buf.lapic.
func (v *VCPU) readAPIC(s *x86.State) {
	s.APIC.ID = uint32(v.id)
	apic.SetPage(&s.APIC, &v.buf.lapic.Regs)
	left, initial := v.lapicReg(lapicTCCR), v.lapicReg(lapicTICR)
	if mode := v.lapicReg(lapicLVT) >> 17 & 3; initial != 0 && left != 0 && mode <= 1 {
		// The timer counts nanoseconds, after the divider.
		s.APIC.TimerStart = v.a.cfg.Clock.Now() - int64(initial-min(left, initial))<<divider(v.lapicReg(lapicTDCR))
	}
}

// divider is the binary logarithm of what the timer's input is divided by.
func divider(tdcr uint32) uint { return uint((tdcr&3|tdcr>>1&4)+1) & 7 }

// writeAPIC sets the in-kernel local APIC from s.
func (v *VCPU) writeAPIC(s *x86.State) error {
	v.buf.lapic.Regs = apic.Page(&s.APIC)
	// The software processors treat LINT0 of the bootstrap processor as the
	// INTR pin until its APIC is on; KVM does so by what LINT0 holds.
	if s.MSR.APICBase&baseBSP != 0 && v.lapicReg(lapicSVR)&svrEnable == 0 && v.lapicReg(lapicLINT0)&lvtMasked != 0 {
		v.setLapicReg(lapicLINT0, lvtExtINT)
	}
	if err := gokvm.SetLocalAPIC(uintptr(v.fd), &v.buf.lapic); err != nil {
		return v.failed("set the local APIC", err)
	}
	return nil
}

// writeSystem sets general, system, debug and extended control registers.
func (v *VCPU) writeSystem(s *x86.State) error {
	fd, b := uintptr(v.fd), &v.buf
	setSregs(&b.sregs, s)
	if err := gokvm.SetSregs(fd, &b.sregs); err != nil {
		return v.failed(fmt.Sprintf("set system registers (CR0 %#x, CR3 %#x, CR4 %#x, EFER %#x, APIC base %#x)",
			s.CR0, s.CR3, s.CR4, s.MSR.EFER, s.MSR.APICBase), err)
	}
	setRegs(&b.regs, s)
	if err := gokvm.SetRegs(fd, &b.regs); err != nil {
		return v.failed("set registers", err)
	}
	b.debug = gokvm.DebugRegs{DR6: s.DR[6], DR7: s.DR[7]}
	copy(b.debug.DB[:], s.DR[:4])
	if err := gokvm.SetDebugRegs(fd, &b.debug); err != nil {
		return v.failed(fmt.Sprintf("set debug registers (DR6 %#x, DR7 %#x)", s.DR[6], s.DR[7]), err)
	}
	return nil
}

// writeFPU sets XCR0, the x87 and the vector registers; other components are
// taken from buf.xsave.
func (v *VCPU) writeFPU(s *x86.State) error {
	b := &v.buf
	b.xcrs = gokvm.XCRS{NrXRCS: 1}
	b.xcrs.Registers[0].Value = s.XCR0
	if err := gokvm.SetXCRS(uintptr(v.fd), &b.xcrs); err != nil {
		return v.failed(fmt.Sprintf("set XCR0 to %#x", s.XCR0), err)
	}
	packFPU(&b.xsave, s, v.a.avx)
	if _, err := ioctl(v.fd, ioctlSetXSAVE, &b.xsave); err != nil {
		return v.failed("set floating-point state", err)
	}
	return nil
}

// Flags of kvm_vcpu_events: which optional fields are given.
const (
	eventsNMIPending = 1 << 0
	eventsShadow     = 1 << 2
)

// writeEvents sets what is pending, and the run state. Events that KVM had accepted
// are gone.
func (v *VCPU) writeEvents(s *x86.State) error {
	fd, b := uintptr(v.fd), &v.buf
	b.events = gokvm.VCPUEvents{Flags: eventsNMIPending | eventsShadow}
	if s.NMIPending {
		b.events.N.Pending = 1
	}
	if s.NMIBlocked {
		b.events.N.Masked = 1
	}
	if s.IntrShadow {
		b.events.I.Shadow = shadowSTI
	}
	if err := gokvm.SetVCPUEvents(fd, &b.events); err != nil {
		return v.failed("set events", err)
	}
	switch s.Run {
	case x86.Halted:
		b.mp.State = gokvm.MPStateHalted
	case x86.WaitForSIPI:
		// Unlike an uninitialized processor this one needs no INIT first.
		b.mp.State = gokvm.MPStateInitReceived
	default:
		b.mp.State = gokvm.MPStateRunnable
	}
	if err := gokvm.SetMPState(fd, &b.mp); err != nil {
		return v.failed("set the run state", err)
	}
	return nil
}

// shadowSTI is the interrupt shadow of STI: MOV SS has one of its own (1),
// which blocks debug traps as well and cannot be told apart in State.
const shadowSTI = 2
