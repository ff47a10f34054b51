//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
)

// SetINTR implements [cpu.Accelerator].
func (a *Accel) SetINTR(level bool) {
	if a.intr.Swap(level) == level || !level {
		return
	}
	for _, v := range a.cpus {
		v.poke()
	}
}

// NMI implements [cpu.Accelerator]. The ioctl that raises an NMI waits until
// the processor leaves KVM_RUN, so each processor makes it for itself.
func (a *Accel) NMI() {
	for _, v := range a.cpus {
		v.nmi.Store(true)
		v.poke()
	}
}

// inject gives the processor what has arrived for it outside the kernel. It
// is called just before KVM_RUN.
func (v *VCPU) inject() error {
	if v.nmi.Swap(false) {
		if err := v.lint1(); err != nil {
			return err
		}
	}
	if !v.a.intr.Load() {
		if v.run.requests().Load()&runWindow != 0 {
			v.run.requests().And(^uint32(runWindow))
		}
		return nil
	}
	// In the middle of an access the answer of ready is not yet about the
	// next instruction: KVM is asked to stop again when it can be interrupted.
	if !v.open && v.run.ready() {
		if err := v.extINT(v.a.cfg.Platform.AckINTR()); err != nil {
			return err
		}
		v.run.setReady(0)
		if !v.a.intr.Load() {
			return nil
		}
	}
	v.run.requests().Or(runWindow)
	return nil
}

// extINT makes the processor take an 8259's interrupt as its next event.
//
// KVM_INTERRUPT is not used. With a split irqchip it keeps the vector where no
// ioctl shows it until the guest is entered, so that a state saved after a
// kick could lack an interrupt that the 8259 considers delivered. (gokvm's
// InjectInterrupt also passes the vector where its address belongs.) As an
// event already accepted it is part of the state at every moment.
func (v *VCPU) extINT(vector uint8) error {
	e, mp := &v.buf.events, &v.buf.mp
	if err := gokvm.GetVCPUEvents(uintptr(v.fd), e); err != nil {
		return fmt.Errorf("kvm: cpu%d: read events: %w", v.id, err)
	}
	e.I.Inject, e.I.Nr, e.I.Soft = 1, vector, 0
	if err := gokvm.SetVCPUEvents(uintptr(v.fd), e); err != nil {
		return fmt.Errorf("kvm: cpu%d: inject interrupt %d: %w", v.id, vector, err)
	}
	// An accepted event does not end HLT by itself.
	if err := gokvm.GetMPState(uintptr(v.fd), mp); err != nil {
		return fmt.Errorf("kvm: cpu%d: read run state: %w", v.id, err)
	}
	if mp.State != gokvm.MPStateHalted {
		return nil
	}
	mp.State = gokvm.MPStateRunnable
	if err := gokvm.SetMPState(uintptr(v.fd), mp); err != nil {
		return fmt.Errorf("kvm: cpu%d: end HLT: %w", v.id, err)
	}
	return nil
}

// Registers in the page of KVM_GET_LAPIC, and fields in them.
const (
	lapicSVR   = 0xf0
	lapicISR   = 0x100
	lapicIRR   = 0x200
	lapicLVT   = 0x320 // timer
	lapicLINT0 = 0x350
	lapicLINT1 = 0x360
	lapicTICR  = 0x380
	lapicTCCR  = 0x390
	lapicTDCR  = 0x3e0

	lvtMode   = 7 << 8
	lvtNMI    = 4 << 8
	lvtExtINT = 7 << 8
	lvtMasked = 1 << 16
	svrEnable = 1 << 8

	baseBSP    = 1 << 8
	baseX2     = 1 << 10
	baseEnable = 1 << 11
	baseAddr   = 0xfee00000
)

// lapicReg reads a register of the page in buf.lapic.
func (v *VCPU) lapicReg(off int) uint32 {
	return binary.LittleEndian.Uint32(v.buf.lapic.Regs[off:])
}

func (v *VCPU) setLapicReg(off int, val uint32) {
	binary.LittleEndian.PutUint32(v.buf.lapic.Regs[off:], val)
}

// lint1 is a pulse on LINT1, which KVM leaves to user space: it is the
// processor's NMI where the local APIC passes it on as one, or is off.
func (v *VCPU) lint1() error {
	if err := gokvm.GetLocalAPIC(uintptr(v.fd), &v.buf.lapic); err != nil {
		return fmt.Errorf("kvm: cpu%d: read the local APIC: %w", v.id, err)
	}
	base, err := v.getMSR(msrAPICBase)
	if err != nil {
		return err
	}
	direct := base&baseEnable == 0 || base&baseBSP != 0 && v.lapicReg(lapicSVR)&svrEnable == 0
	if l := v.lapicReg(lapicLINT1); !direct && (l&lvtMasked != 0 || l&lvtMode != lvtNMI) {
		return nil
	}
	if _, err := ioctlRaw(v.fd, ioctlNMI, 0); err != nil {
		return fmt.Errorf("kvm: cpu%d: raise NMI: %w", v.id, err)
	}
	return nil
}
