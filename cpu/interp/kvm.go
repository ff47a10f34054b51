package interp

import (
	"encoding/binary"

	"dfemu/cpu/kvmclock"
)

// KVM's paravirtual MSRs beyond those of package kvmclock. CPUID announces none of the
// features they belong to; they may be written as turned off.
const (
	msrKVMAsyncPF     = 0x4b564d02
	msrKVMStealTime   = 0x4b564d03
	msrKVMPVEOI       = 0x4b564d04
	msrKVMPollControl = 0x4b564d05
)

func (c *CPU) readKVM(n uint32) (uint64, bool) {
	m := &c.s.MSR
	switch n {
	case kvmclock.MSRWallClock, kvmclock.MSRWallClockLegacy:
		return m.KVMWallClock, true
	case kvmclock.MSRSystemTime, kvmclock.MSRSystemTimeLegacy:
		return m.KVMSystemTime, true
	case msrKVMAsyncPF:
		return m.KVMAsyncPF, true
	case msrKVMStealTime:
		return m.KVMStealTime, true
	case msrKVMPVEOI:
		return m.KVMPVEOI, true
	case msrKVMPollControl:
		return m.KVMPollControl, true
	}
	return 0, false
}

func (c *CPU) writeKVM(n uint32, v uint64) bool {
	m := &c.s.MSR
	switch n {
	case kvmclock.MSRWallClock, kvmclock.MSRWallClockLegacy:
		m.KVMWallClock = v
		clk := c.acc.cfg.Clock
		w := kvmclock.NewWallClock(clk.Wall(), uint64(max(clk.Now(), 0)))
		w.Store(c.versionAt(v), c.putAt(v))
	case kvmclock.MSRSystemTime, kvmclock.MSRSystemTimeLegacy:
		m.KVMSystemTime = v
		c.updateKVMClock()
	case msrKVMPollControl:
		if v > 1 {
			return false
		}
		m.KVMPollControl = v
	case msrKVMAsyncPF, msrKVMStealTime, msrKVMPVEOI:
		return v == 0
	default:
		return false
	}
	return true
}

// updateKVMClock writes the guest's pvclock structure, if there is one. All processors get the
// same contents as long as their time-stamp counts are the same.
func (c *CPU) updateKVMClock() {
	at := c.s.MSR.KVMSystemTime
	if at&kvmclock.Enable == 0 {
		return
	}
	at &^= 3
	var flags uint8
	if c.s.TSCOffset == 0 {
		flags = kvmclock.TSCStable
	}
	kvmclock.NewTimeInfo(c.acc.cfg.TSCHz, c.s.TSCOffset, 0, flags).Store(c.versionAt(at), c.putAt(at))
}

// versionAt reads the version at the start of a structure in guest-physical memory.
func (c *CPU) versionAt(gpa uint64) uint32 {
	var b [4]byte
	for i := range b {
		if page, _ := c.acc.mem.page(gpa + uint64(i)); page != nil {
			b[i] = hostLoad[uint8](hostAt(page, gpa+uint64(i)))
		}
	}
	return binary.LittleEndian.Uint32(b[:])
}

// putAt returns a function that writes at an offset from a guest-physical address. What
// is not RAM is left out.
func (c *CPU) putAt(gpa uint64) func(int, []byte) {
	return func(off int, b []byte) {
		at := gpa + uint64(off)
		for len(b) > 0 {
			n := 1
			page, readOnly := c.acc.mem.page(at)
			switch {
			case page == nil || readOnly:
			case at&3 == 0 && len(b) >= 4:
				n = 4
				hostStore(hostAt(page, at), binary.LittleEndian.Uint32(b))
				c.codeWritten(at, 4)
			default:
				hostStore(hostAt(page, at), b[0])
				c.codeWritten(at, 1)
			}
			at += uint64(n)
			b = b[n:]
		}
	}
}
