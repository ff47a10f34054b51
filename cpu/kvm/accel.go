//go:build linux && amd64

package kvm

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// Accel runs the processors of one machine. It implements
// [cpu.Accelerator].
type Accel struct {
	cfg  cpu.Config
	sys  int // /dev/kvm
	vm   int
	cpus []*VCPU

	caps   caps
	tscHz  uint64
	msrs   []stateMSR
	avx    bool            // the host has AVX state
	model  x86.CPUIDConfig // what CPUID announces, but for APIC IDs
	routes routes
	ring   ring
	time   timekeeper

	// intr is the 8259 pair's output.
	intr atomic.Bool

	mu    sync.Mutex
	bells []*bell
	lines []*Line
	known map[uint32]bool // what has been logged once
}

// caps are the optional abilities of the host's KVM.
type caps struct {
	sync       bool // registers in the run page
	tscOffset  bool // the TSC offset of a processor as an attribute
	ioeventfd  bool
	irqfd      bool
	coalesced  int // page of the ring in the run mapping; 0: none
	coalesceIO bool
}

// Where KVM may keep pages of its own, on processors that need them: below
// the largest flash, above the I/O APIC's, the HPET's and the local APIC's registers.
const (
	identityMap = 0xfeffc000 // one page
	taskState   = 0xfeffd000 // three pages
)

// reservedPins are the GSIs for which KVM tells the end of level-triggered
// interrupts: the pins of the I/O APIC in user space.
const reservedPins = 24

// New makes the processors of a machine, in their power-on state. Its memory
// must stay until Close. Where cfg.TSCHz is 0 or the host cannot scale the
// counter, the guest's TSC runs at the host's frequency. Errors that say
// why KVM cannot be used wrap [cpu.ErrNoKVM].
func New(cfg cpu.Config) (cpu.Accelerator, error) {
	a, err := newAccel(cfg)
	if err != nil {
		return nil, err
	}
	return a, nil
}

func newAccel(cfg cpu.Config) (*Accel, error) {
	if cfg.CPUs < 1 {
		return nil, fmt.Errorf("kvm: %d CPUs: at least one is needed", cfg.CPUs)
	}
	sys, err := open()
	if err != nil {
		return nil, err
	}
	a := &Accel{cfg: cfg, sys: sys, vm: -1, msrs: stateMSRs(), known: map[uint32]bool{}}
	if err := a.create(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// create makes the virtual machine and all that is in it.
func (a *Accel) create() error {
	if limit, err := a.extension(gokvm.CapMAXVCPUS); err == nil && limit > 0 && a.cfg.CPUs > limit {
		return fmt.Errorf("kvm: %d CPUs: this host's KVM has at most %d in a machine", a.cfg.CPUs, limit)
	}
	err := again(func() error {
		fd, err := gokvm.CreateVM(uintptr(a.sys))
		a.vm = int(fd)
		return err
	})
	if err != nil {
		a.vm = -1
		return fmt.Errorf("%w: create a virtual machine: %w", cpu.ErrNoKVM, err)
	}
	if err := a.place(); err != nil {
		return err
	}
	if err := a.enableCaps(); err != nil {
		return err
	}
	if err := a.routes.init(a.vm); err != nil {
		return err
	}
	for i := range a.cfg.Memory {
		if err := a.addSlot(i, &a.cfg.Memory[i]); err != nil {
			return err
		}
	}
	size, err := gokvm.GetVCPUMMmapSize(uintptr(a.sys))
	if err != nil {
		return fmt.Errorf("kvm: size of the run page: %w", err)
	}
	if size < runMinSize {
		return fmt.Errorf("%w: its run page has %d bytes, at least %d are needed", cpu.ErrNoKVM, size, runMinSize)
	}
	for i := range a.cfg.CPUs {
		v, err := a.newVCPU(i, int(size))
		if err != nil {
			return fmt.Errorf("kvm: cpu%d: %w", i, err)
		}
		a.cpus = append(a.cpus, v)
	}
	if err := a.setModel(); err != nil {
		return err
	}
	a.time.init(a)
	for _, v := range a.cpus {
		if err := v.powerOn(); err != nil {
			return fmt.Errorf("kvm: cpu%d: %w", v.id, err)
		}
	}
	return nil
}

// place tells KVM where in the guest's address space its own pages may be.
// It comes before the processors are made.
func (a *Accel) place() error {
	at := uint64(identityMap)
	if _, err := ioctl(a.vm, ioctlSetIdentityMap, &at); err != nil {
		return fmt.Errorf("kvm: place the identity map: %w", err)
	}
	if err := gokvm.SetTSSAddr(uintptr(a.vm), taskState); err != nil {
		return fmt.Errorf("kvm: place the task state: %w", err)
	}
	return nil
}

// extension asks for a capability; 0 means that KVM does not have it.
func (a *Accel) extension(c gokvm.Capability) (int, error) {
	n, err := gokvm.CheckExtension(uintptr(a.sys), c)
	return int(n), err
}

func (a *Accel) has(c gokvm.Capability) bool {
	n, err := a.extension(c)
	return err == nil && n > 0
}

// enable turns a capability of the machine on.
func (a *Accel) enable(c gokvm.Capability, args ...uint64) error {
	e := &enableCap{Cap: uint32(c)}
	copy(e.Args[:], args)
	_, err := ioctl(a.vm, ioctlEnableCap, e)
	return err
}

// enableCaps turns on what is used.
func (a *Accel) enableCaps() error {
	if err := a.enable(capSplitIRQChip, reservedPins); err != nil {
		return fmt.Errorf("%w: local APICs without an I/O APIC (split irqchip): %w", cpu.ErrNoKVM, err)
	}
	// In x2APIC mode, the registers' own format of IDs.
	if n, err := a.extension(capX2APICAPI); err == nil && n&1 != 0 {
		if err := a.enable(capX2APICAPI, 1); err != nil {
			return fmt.Errorf("kvm: x2APIC IDs: %w", err)
		}
	}
	// Without this, KVM raises #UD for instructions of programs that it
	// cannot emulate, though the guest's processor has them.
	if a.has(gokvm.CapExitOnEmulationFailure) {
		if err := a.enable(gokvm.CapExitOnEmulationFailure, 1); err != nil {
			return fmt.Errorf("kvm: exit on emulation failure: %w", err)
		}
	}
	n, err := a.extension(gokvm.CapSyncRegs)
	a.caps.sync = err == nil && n&syncRegs != 0
	a.caps.ioeventfd = a.has(gokvm.CapIOEventFD)
	a.caps.irqfd = a.has(gokvm.CapIRQFD)
	if n, err := a.extension(gokvm.CapCoalescedMMIO); err == nil {
		a.caps.coalesced = n
	}
	a.caps.coalesceIO = a.has(gokvm.CapCoalescedPIO)
	return nil
}

// addSlot maps a piece of guest memory.
func (a *Accel) addSlot(i int, s *cpu.Slot) error {
	if s.GPA%pageSize != 0 || len(s.Data)%pageSize != 0 || len(s.Data) == 0 {
		return fmt.Errorf("kvm: memory at %#x (%#x bytes) is not whole pages", s.GPA, len(s.Data))
	}
	r := &gokvm.UserspaceMemoryRegion{
		Slot:          uint32(i),
		GuestPhysAddr: s.GPA,
		MemorySize:    uint64(len(s.Data)),
		UserspaceAddr: hostAddress(s.Data),
	}
	if s.ReadOnly {
		r.SetMemReadonly()
	}
	if err := gokvm.SetUserMemoryRegion(uintptr(a.vm), r); err != nil {
		return fmt.Errorf("kvm: map %#x bytes of memory at %#x: %w", len(s.Data), s.GPA, err)
	}
	return nil
}

const pageSize = 4096

// Name implements [cpu.Accelerator].
func (a *Accel) Name() string { return "kvm" }

// VCPU implements [cpu.Accelerator].
func (a *Accel) VCPU(i int) cpu.VCPU { return a.cpus[i] }

// TSCHz returns the frequency of the guest's time-stamp counter.
func (a *Accel) TSCHz() uint64 { return a.tscHz }

// Invalidate implements [cpu.Accelerator]. KVM decodes nothing ahead.
func (a *Accel) Invalidate(gpa, n uint64) {}

// Close implements [cpu.Accelerator].
func (a *Accel) Close() error {
	a.mu.Lock()
	bells, lines := a.bells, a.lines
	a.bells, a.lines = nil, nil
	a.mu.Unlock()
	var err error
	for _, b := range bells {
		err = errors.Join(err, b.close())
	}
	for _, l := range lines {
		err = errors.Join(err, l.close())
	}
	for _, v := range a.cpus {
		err = errors.Join(err, v.close())
	}
	a.cpus = nil
	if a.vm >= 0 {
		err = errors.Join(err, unix.Close(a.vm))
		a.vm = -1
	}
	if a.sys >= 0 {
		err = errors.Join(err, unix.Close(a.sys))
		a.sys = -1
	}
	return err
}

func (a *Accel) logf(format string, args ...any) {
	if a.cfg.Logf != nil {
		a.cfg.Logf("kvm: "+format, args...)
	}
}

// Keys of what is logged once, besides messages' data and addresses.
const (
	keyComponents  = 1 << 30
	keyInstruction = 1 << 31 // plus the instruction
)

// first reports whether key has not been asked about before; it keeps logs short.
func (a *Accel) first(key uint32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[key] || len(a.known) > 4096 {
		return false
	}
	a.known[key] = true
	return true
}
