//go:build linux && amd64

package kvm

import (
	"errors"
	"fmt"
	"io/fs"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"

	"dfemu/cpu"
)

const device = "/dev/kvm"

// needed are the extensions without which nothing works here.
var needed = []struct {
	cap  gokvm.Capability
	name string
}{
	{gokvm.CapUserMemory, "guest memory from user space (KVM_CAP_USER_MEMORY)"},
	{gokvm.CapReadOnlyMEM, "read-only guest memory (KVM_CAP_READONLY_MEM)"},
	{gokvm.CapSetTSSAddr, "placing its task state (KVM_CAP_SET_TSS_ADDR)"},
	{gokvm.CapSetIdentityMapAddr, "placing its identity map (KVM_CAP_SET_IDENTITY_MAP_ADDR)"},
	{gokvm.CapEXTCPUID, "CPUID with subleaves (KVM_CAP_EXT_CPUID)"},
	{gokvm.CapIRQChip, "local APICs in the kernel (KVM_CAP_IRQCHIP)"},
	{gokvm.CapEnableCAPVM, "abilities of a machine (KVM_CAP_ENABLE_CAP_VM)"},
	{capSplitIRQChip, "local APICs without an I/O APIC (KVM_CAP_SPLIT_IRQCHIP)"},
	{gokvm.CapIRQRouting, "interrupt routing (KVM_CAP_IRQ_ROUTING)"},
	{gokvm.CapSignalMSI, "interrupt messages (KVM_CAP_SIGNAL_MSI)"},
	{gokvm.CapUserNMI, "NMIs (KVM_CAP_USER_NMI)"},
	{gokvm.CapMPState, "run states (KVM_CAP_MP_STATE)"},
	{gokvm.CapVCPUEvents, "pending events (KVM_CAP_VCPU_EVENTS)"},
	{gokvm.CapDebugRegs, "debug registers (KVM_CAP_DEBUGREGS)"},
	{gokvm.CapXSave, "floating-point state (KVM_CAP_XSAVE)"},
	{gokvm.CapXCRS, "extended control registers (KVM_CAP_XCRS)"},
	{gokvm.CapGetTSCkHz, "the frequency of the time-stamp counter (KVM_CAP_GET_TSC_KHZ)"},
	{gokvm.CapAdjustClock, "setting the paravirtual clock (KVM_CAP_ADJUST_CLOCK)"},
	{capImmediateExit, "immediate exits (KVM_CAP_IMMEDIATE_EXIT)"},
}

// apiVersion is the only version of KVM's interface there has ever been.
const apiVersion = 12

// open opens the KVM device and checks that it has what is needed.
func open() (int, error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return -1, fmt.Errorf("%w: there is no %s: load the module kvm_intel or kvm_amd, and check that virtualization is on in the firmware (or, in a virtual machine, that it is nested)", cpu.ErrNoKVM, device)
	case errors.Is(err, fs.ErrPermission):
		return -1, fmt.Errorf("%w: no permission to open %s: add the user to the group that owns it (usually kvm) and log in again", cpu.ErrNoKVM, device)
	case err != nil:
		return -1, fmt.Errorf("%w: open %s: %w", cpu.ErrNoKVM, device, err)
	}
	if err := checkDevice(fd); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func checkDevice(fd int) error {
	version, err := gokvm.GetAPIVersion(uintptr(fd))
	if err != nil {
		return fmt.Errorf("%w: %s does not answer as KVM does: %w", cpu.ErrNoKVM, device, err)
	}
	if version != apiVersion {
		return fmt.Errorf("%w: %s has API version %d, %d is needed", cpu.ErrNoKVM, device, version, apiVersion)
	}
	for _, n := range needed {
		if have, err := gokvm.CheckExtension(uintptr(fd), n.cap); err != nil || have == 0 {
			return fmt.Errorf("%w: the host's KVM lacks %s: a newer kernel is needed (Linux 4.11 or later)", cpu.ErrNoKVM, n.name)
		}
	}
	return nil
}
