//go:build linux && amd64

package kvm

import (
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"dfemu/cpu/x86"
)

// maxMSRs is more than State has.
const maxMSRs = 64

// MSRs that are named elsewhere in this package.
const (
	msrTSC         = 0x10
	msrAPICBase    = 0x1b
	msrTSCDeadline = 0x6e0
)

// stateMSR is an MSR that is a field of x86.MSRs.
type stateMSR struct {
	index uint32
	field func(*x86.MSRs) *uint64
}

// stateMSRs returns the MSRs of x86.State that have no other place in KVM's
// structures.
func stateMSRs() (list []stateMSR) {
	add := func(index uint32, field func(*x86.MSRs) *uint64) {
		list = append(list, stateMSR{index, field})
	}
	add(0x174, func(m *x86.MSRs) *uint64 { return &m.SysenterCS })
	add(0x175, func(m *x86.MSRs) *uint64 { return &m.SysenterESP })
	add(0x176, func(m *x86.MSRs) *uint64 { return &m.SysenterEIP })
	add(0xc0000081, func(m *x86.MSRs) *uint64 { return &m.STAR })
	add(0xc0000082, func(m *x86.MSRs) *uint64 { return &m.LSTAR })
	add(0xc0000083, func(m *x86.MSRs) *uint64 { return &m.CSTAR })
	add(0xc0000084, func(m *x86.MSRs) *uint64 { return &m.FMASK })
	add(0xc0000102, func(m *x86.MSRs) *uint64 { return &m.KernelGSBase })
	add(0xc0000103, func(m *x86.MSRs) *uint64 { return &m.TSCAux })
	add(0x277, func(m *x86.MSRs) *uint64 { return &m.PAT })
	add(0x1a0, func(m *x86.MSRs) *uint64 { return &m.MiscEnable })
	add(0x3b, func(m *x86.MSRs) *uint64 { return &m.TSCAdjust })
	add(0x48, func(m *x86.MSRs) *uint64 { return &m.SpecCtrl })
	add(0xda0, func(m *x86.MSRs) *uint64 { return &m.XSS })
	add(0x17a, func(m *x86.MSRs) *uint64 { return &m.MCGStatus })
	add(0x1d9, func(m *x86.MSRs) *uint64 { return &m.DebugCtl })
	for i, index := range [11]uint32{0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f} {
		add(index, func(m *x86.MSRs) *uint64 { return &m.MTRRFixed[i] })
	}
	for i := range 16 {
		add(0x200+uint32(i), func(m *x86.MSRs) *uint64 { return &m.MTRRPhys[i] })
	}
	add(0x2ff, func(m *x86.MSRs) *uint64 { return &m.MTRRDefType })
	add(0x4b564d02, func(m *x86.MSRs) *uint64 { return &m.KVMAsyncPF })
	add(0x4b564d03, func(m *x86.MSRs) *uint64 { return &m.KVMStealTime })
	add(0x4b564d04, func(m *x86.MSRs) *uint64 { return &m.KVMPVEOI })
	add(0x4b564d05, func(m *x86.MSRs) *uint64 { return &m.KVMPollControl })
	add(0x4b564d00, func(m *x86.MSRs) *uint64 { return &m.KVMWallClock })
	add(0x4b564d01, func(m *x86.MSRs) *uint64 { return &m.KVMSystemTime })
	add(msrTSCDeadline, func(m *x86.MSRs) *uint64 { return &m.TSCDeadline })
	return list
}

// msrs makes the ioctl for the first n entries of the buffer and returns how
// many of them KVM has done.
func (v *VCPU) msrs(req uintptr, n int) (int, error) {
	v.buf.msrs.N = uint32(n)
	return ioctl(v.fd, req, &v.buf.msrs)
}

func (v *VCPU) getMSR(index uint32) (uint64, error) {
	v.buf.msrs.Entries[0] = gokvm.MSREntry{Index: index}
	if n, err := v.msrs(ioctlGetMSRs, 1); err != nil || n != 1 {
		return 0, fmt.Errorf("kvm: cpu%d: read MSR %#x: refused (%v)", v.id, index, err)
	}
	return v.buf.msrs.Entries[0].Data, nil
}

func (v *VCPU) setMSR(index uint32, value uint64) error {
	v.buf.msrs.Entries[0] = gokvm.MSREntry{Index: index, Data: value}
	if n, err := v.msrs(ioctlSetMSRs, 1); err != nil || n != 1 {
		return fmt.Errorf("kvm: cpu%d: write %#x to MSR %#x: refused (%v)", v.id, value, index, err)
	}
	return nil
}

// getMSRs reads the MSRs of m. Those that this KVM does not have read as 0:
// which they are is found by reading, because KVM's list of MSRs leaves some
// out that can be read and written (the MTRRs, before Linux 6.5).
func (v *VCPU) getMSRs(m *x86.MSRs) error {
	list := v.a.msrs
	for len(list) > 0 {
		for i := range list {
			v.buf.msrs.Entries[i] = gokvm.MSREntry{Index: list[i].index}
		}
		n, err := v.msrs(ioctlGetMSRs, len(list))
		if err != nil {
			return fmt.Errorf("kvm: cpu%d: read MSRs: %w", v.id, err)
		}
		for i := range n {
			*list[i].field(m) = v.buf.msrs.Entries[i].Data
		}
		if n < len(list) {
			*list[n].field(m) = 0
			n++
		}
		list = list[n:]
	}
	return nil
}

// setMSRs writes those MSRs of m for which want holds. One that this KVM does
// not have is an error unless it is to be 0.
func (v *VCPU) setMSRs(m *x86.MSRs, want func(*stateMSR) bool) error {
	n := 0
	for i := range v.a.msrs {
		if s := &v.a.msrs[i]; want(s) {
			v.buf.msrs.Entries[n] = gokvm.MSREntry{Index: s.index, Data: *s.field(m)}
			n++
		}
	}
	for n > 0 {
		done, err := v.msrs(ioctlSetMSRs, n)
		if err != nil {
			return fmt.Errorf("kvm: cpu%d: write MSRs: %w", v.id, err)
		}
		if done >= n {
			return nil
		}
		if e := &v.buf.msrs.Entries[done]; e.Data != 0 {
			return fmt.Errorf("kvm: cpu%d: this host's KVM refuses %#x for MSR %#x", v.id, e.Data, e.Index)
		}
		n -= done + 1
		copy(v.buf.msrs.Entries[:n], v.buf.msrs.Entries[done+1:])
	}
	return nil
}
