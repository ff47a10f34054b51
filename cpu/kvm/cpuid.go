//go:build linux && amd64

package kvm

import (
	"fmt"
	"math"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"dfemu/cpu/x86"
)

const (
	// physBits is the most physical address bits that guests are shown, as on
	// the software processors.
	physBits = 46
	// apicHz drives the in-kernel APIC's timer.
	apicHz = 1_000_000_000
	// maxLeaves is room for all of CPUID's output; Linux has at most 256.
	maxLeaves = 256
	// tscTolerance is how far, in parts per million, the host's TSC may be from
	// what was asked for and still be left alone; KVM does the same.
	tscTolerance = 250

	// subleafSignificant flags an entry that holds for one value of ECX.
	subleafSignificant = 1 << 0
)

// setModel decides what CPUID announces, and tells KVM.
//
// The features are those of the software processors that this host's KVM has as
// well. Vendor and model are the host's: guests choose ways to deal with the
// processor's errata and MSRs by them.
func (a *Accel) setModel() error {
	host := &gokvm.CPUID{Nent: maxLeaves, Entries: make([]gokvm.CPUIDEntry2, maxLeaves)}
	if err := gokvm.GetSupportedCPUID(uintptr(a.sys), host); err != nil {
		return fmt.Errorf("kvm: what this host offers (CPUID): %w", err)
	}
	if err := a.setTSC(); err != nil {
		return err
	}
	find := func(leaf, sub uint32) x86.Regs {
		for i := range host.Entries {
			e := &host.Entries[i]
			if e.Function == leaf && (e.Flags&subleafSignificant == 0 || e.Index == sub) {
				return x86.Regs{EAX: e.Eax, EBX: e.Ebx, ECX: e.Ecx, EDX: e.Edx}
			}
		}
		return x86.Regs{}
	}
	features := a.features(find)
	a.avx = find(0xd, 0).EAX&x86.XCR0_AVX != 0
	bits := shownBits(find(0x80000008, 0).EAX)
	a.model = x86.CPUIDConfig{
		Features: features, CPUs: a.cfg.CPUs, TSCHz: a.tscHz, APICHz: apicHz, PhysMax: bits, XCR0: x86.XCR0_X87,
	}
	vendor, model := find(0, 0), find(1, 0)
	paravirtual := find(0x40000001, 0).EAX
	for _, v := range a.cpus {
		cfg := a.model
		cfg.APICID = uint32(v.id)
		table := &gokvm.CPUID{}
		for _, l := range cfg.Leaves() {
			r := l.Regs
			switch l.Leaf {
			case 0:
				r.EBX, r.ECX, r.EDX = vendor.EBX, vendor.ECX, vendor.EDX
			case 1:
				r.EAX = model.EAX
			case 0x40000001:
				r.EAX &= paravirtual
			case 0x80000001:
				r.EAX = model.EAX
			}
			e := gokvm.CPUIDEntry2{Function: l.Leaf, Index: l.Subleaf, Eax: r.EAX, Ebx: r.EBX, Ecx: r.ECX, Edx: r.EDX}
			if l.HasSubleaf {
				e.Flags = subleafSignificant
			}
			table.Entries = append(table.Entries, e)
		}
		table.Nent = uint32(len(table.Entries))
		if err := gokvm.SetCPUID2(uintptr(v.fd), table); err != nil {
			return fmt.Errorf("kvm: cpu%d: set CPUID: %w", v.id, err)
		}
	}
	a.checkModel()
	return nil
}

// checkModel says so when KVM announces more than it was told to: one without
// hardware virtualization lets the host's CPUID through.
func (a *Accel) checkModel() {
	got := &gokvm.CPUID{Nent: maxLeaves, Entries: make([]gokvm.CPUIDEntry2, maxLeaves)}
	if err := gokvm.GetCPUID2(uintptr(a.cpus[0].fd), got); err != nil {
		return // it only serves the message
	}
	for i := range got.Entries {
		e := &got.Entries[i]
		if want := a.model.Leaf(e.Function, e.Index); e.Function == 7 && e.Index == 0 && e.Ebx&^want.EBX != 0 {
			a.logf("this host's KVM shows guests its processor's features, whatever it is told: CPUID leaf 7 has EBX %#x instead of %#x", e.Ebx, want.EBX)
		}
	}
}

// features returns what the guest's processors have.
func (a *Accel) features(find func(leaf, sub uint32) x86.Regs) x86.FeatureSet {
	all := x86.DefaultFeatures()
	if !a.cfg.LA57 {
		all = all.Without(x86.FeatLA57)
	}
	var set x86.FeatureSet
	for f := x86.Feature(1); int(f) < x86.NumFeatures; f++ {
		if !all.Has(f) {
			continue
		}
		b := f.Bit()
		r := find(b.Leaf, b.Subleaf)
		word := [...]uint32{x86.EAX: r.EAX, x86.EBX: r.EBX, x86.ECX: r.ECX, x86.EDX: r.EDX}[b.Reg]
		have := word>>b.Bit&1 != 0
		switch f {
		case x86.FeatHypervisor, x86.FeatAPIC, x86.FeatX2APIC, x86.FeatARAT:
			have = true // KVM's own, whatever the host's processor has
		case x86.FeatTSCDeadline:
			have = a.has(gokvm.CapTSCDeadlineTimer)
		}
		if have {
			set = set.With(f)
		}
	}
	return set
}

// setTSC makes the guest's time-stamp counter run as fast as was asked for, if the
// host can.
func (a *Accel) setTSC() error {
	fd := uintptr(a.cpus[0].fd)
	host, err := gokvm.GetTSCKHz(fd)
	if err != nil {
		return fmt.Errorf("kvm: frequency of the time-stamp counter: %w", err)
	}
	a.tscHz = host * 1000
	want := a.cfg.TSCHz / 1000
	if want == 0 || math.Abs(float64(want)-float64(host)) <= float64(host)*tscTolerance/1e6 {
		return nil
	}
	for _, v := range a.cpus {
		if err := gokvm.SetTSCKHz(uintptr(v.fd), want); err != nil {
			a.logf("the time-stamp counter runs at the host's %d kHz: it cannot be scaled to %d kHz (%v)", host, want, err)
			return nil
		}
	}
	a.tscHz = want * 1000
	return nil
}
