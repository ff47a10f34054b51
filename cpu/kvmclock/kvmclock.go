// Package kvmclock computes the structures of the KVM paravirtual clock, which
// a guest reads instead of asking a device for the time (Linux kernel
// documentation, virt/kvm/x86/msr.rst and virt/kvm/x86/cpuid.rst).
//
// A guest turns its time-stamp count into nanoseconds with
//
//	delta = TSC - tsc_timestamp
//	delta <<= tsc_shift            (>>= -tsc_shift where that is negative)
//	ns = delta*tsc_to_system_mul >> 32 + system_time
//
// in unsigned 64-bit arithmetic, the product being of 96 bits. The package is
// pure: it knows neither guest memory nor a clock.
package kvmclock

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// The MSRs by which a guest says where its structures are. They hold the
// physical address; in those of the system time, bit 0 turns it on, and so the
// address is aligned to at least 2.
const (
	MSRWallClockLegacy  = 0x11
	MSRSystemTimeLegacy = 0x12
	MSRWallClock        = 0x4b564d00
	MSRSystemTime       = 0x4b564d01
)

// Enable is bit 0 of a system-time MSR.
const Enable = 1

// Sizes of the structures, in bytes.
const (
	TimeInfoSize  = 32
	WallClockSize = 12
)

// Flags of pvclock_vcpu_time_info.
const (
	// TSCStable: the times of different processors are monotonic among each
	// other. All processors must then be given the same TimeInfo, and see the
	// same time-stamp counts.
	TSCStable = 1 << 0
	// GuestStopped: the machine was paused; the guest clears it.
	GuestStopped = 1 << 1
)

// Scale returns the factor and shift by which a guest turns ticks of a counter
// of hz (0 is taken for 1) into nanoseconds. The factor has its top bit set, so
// its relative error is at most 2⁻³²; there is none at 1 GHz.
func Scale(hz uint64) (mul uint32, shift int8) {
	hz = max(hz, 1)
	for shift = 31; ; shift-- {
		// 1e9·2^(32-shift) / hz doubles with every turn from at most 2e9, so
		// the first with 32 bits is found, at the latest at shift -34.
		hi, lo := shift128(1e9, uint(32-int(shift)))
		if hi >= hz {
			continue
		}
		q, r := bits.Div64(hi, lo, hz)
		if q < 1<<31 {
			continue
		}
		if r >= hz-r && q < 1<<32-1 {
			q++ // to nearest
		}
		return uint32(q), shift
	}
}

// shift128 returns x<<n for n in 0 … 127.
func shift128(x uint64, n uint) (hi, lo uint64) {
	if n >= 64 {
		return x << (n - 64), 0
	}
	return x >> (64 - n), x << n
}

// TimeInfo is pvclock_vcpu_time_info without its version.
type TimeInfo struct {
	TSC   uint64 // tsc_timestamp: the guest's time-stamp count …
	NS    uint64 // system_time: … at this many nanoseconds since power-on
	Mul   uint32 // tsc_to_system_mul
	Shift int8   // tsc_shift
	Flags uint8
}

// NewTimeInfo says that the guest's time-stamp count, which runs at hz, was tsc
// when ns nanoseconds had passed since power-on.
func NewTimeInfo(hz, tsc, ns uint64, flags uint8) TimeInfo {
	mul, shift := Scale(hz)
	return TimeInfo{TSC: tsc, NS: ns, Mul: mul, Shift: shift, Flags: flags}
}

// Encode returns the structure as it lies in guest memory. An odd version marks
// one that is being changed.
func (t TimeInfo) Encode(version uint32) (b [TimeInfoSize]byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], version)
	le.PutUint64(b[8:], t.TSC)
	le.PutUint64(b[16:], t.NS)
	le.PutUint32(b[24:], t.Mul)
	b[28] = uint8(t.Shift)
	b[29] = t.Flags
	return b
}

// Store writes the structure in the order that lets a guest on another processor
// notice a change half done: an odd version, the contents, the next even
// version. put writes b at an offset into the structure; its writes must become
// visible in order, and those of four bytes at once. version is the one that
// guest memory holds, or the last that Store returned; the new one is returned.
func (t TimeInfo) Store(version uint32, put func(offset int, b []byte)) uint32 {
	odd := version + 1 | 1
	b := t.Encode(odd)
	store(b[:], odd, put)
	return odd + 1
}

// WallClock is pvclock_wall_clock without its version: the date and time at
// power-on, to which a guest adds the system time.
type WallClock struct {
	Sec  uint32 // since 1970
	NSec uint32
}

// NewWallClock computes the time at power-on from the time now, when ns
// nanoseconds have passed since. Times that 32 bits of seconds cannot hold are
// held at the nearest that they can.
func NewWallClock(now time.Time, ns uint64) WallClock {
	sec := now.Unix() - int64(ns/1e9)
	nsec := int64(now.Nanosecond()) - int64(ns%1e9)
	if nsec < 0 {
		sec--
		nsec += 1e9
	}
	switch {
	case sec < 0:
		return WallClock{}
	case sec > 1<<32-1:
		return WallClock{1<<32 - 1, 1e9 - 1}
	}
	return WallClock{uint32(sec), uint32(nsec)}
}

// Encode returns the structure as it lies in guest memory.
func (w WallClock) Encode(version uint32) (b [WallClockSize]byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], version)
	le.PutUint32(b[4:], w.Sec)
	le.PutUint32(b[8:], w.NSec)
	return b
}

// Store writes the structure as TimeInfo.Store does.
func (w WallClock) Store(version uint32, put func(offset int, b []byte)) uint32 {
	odd := version + 1 | 1
	b := w.Encode(odd)
	store(b[:], odd, put)
	return odd + 1
}

// store writes b, which begins with the version odd.
func store(b []byte, odd uint32, put func(offset int, b []byte)) {
	put(0, b[:4])
	put(4, b[4:])
	var even [4]byte
	binary.LittleEndian.PutUint32(even[:], odd+1)
	put(0, even[:])
}
