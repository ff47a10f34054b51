//go:build linux && amd64

package kvm

import (
	"fmt"
	"math/bits"
	"sync"
	"time"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
)

// timekeeper makes KVM's clocks, which run with the host's, stand still while
// the machine's clock does.
//
// The machine's clock falls behind the host's by as long as the machine has
// been paused; that difference is the skew. When a processor begins to run and finds
// the skew grown, the paravirtual clock is set back once, and each processor's
// time-stamp counter by exactly the same count, so that they stay in step. Timers of
// the in-kernel APICs that expire during a pause interrupt right after it.
type timekeeper struct {
	a     *Accel
	epoch time.Time

	mu   sync.Mutex
	skew int64 // nanoseconds, as of the last adjustment

	// What anchor has measured.
	measured bool
	base     uint64
	baseSkew int64
}

// slack is how much the skew may change, in nanoseconds, before it counts as a pause.
const slack = 100_000

func (t *timekeeper) init(a *Accel) {
	t.a, t.epoch = a, time.Now()
	t.skew = t.now()
	attr := tscOffsetAttr(&a.cpus[0].buf.tsc)
	_, err := ioctl(a.cpus[0].fd, ioctlHasDeviceAttr, &attr)
	if err != nil {
		return // a kernel before 5.16: the counters themselves are written
	}
	a.caps.tscOffset = t.offsetWorks()
	if !a.caps.tscOffset {
		a.logf("this host's KVM ignores offsets of the time-stamp counter: it goes on while the machine is paused")
	}
}

// offsetWorks finds out whether offsets are kept: a KVM without hardware virtualization accepts
// and ignores them.
func (t *timekeeper) offsetWorks() bool {
	v := t.a.cpus[0]
	old, err := v.readOffset()
	if err != nil || v.writeOffset(old+1<<32) != nil {
		return false
	}
	now, err := v.readOffset()
	return v.writeOffset(old) == nil && err == nil && now == old+1<<32
}

// now returns the present skew.
func (t *timekeeper) now() int64 { return int64(time.Since(t.epoch)) - t.a.cfg.Clock.Now() }

// settle brings the paravirtual clock up to date and returns the skew for
// the time-stamp counters.
func (t *timekeeper) settle(c *gokvm.ClockData) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	lost := now - t.skew
	if lost < slack && lost > -slack {
		return t.skew, nil
	}
	if err := gokvm.GetClock(uintptr(t.a.vm), c); err != nil {
		return 0, fmt.Errorf("kvm: read the paravirtual clock: %w", err)
	}
	*c = gokvm.ClockData{Clock: c.Clock - uint64(min(lost, int64(c.Clock)))}
	if err := gokvm.SetClock(uintptr(t.a.vm), c); err != nil {
		return 0, fmt.Errorf("kvm: set the paravirtual clock: %w", err)
	}
	t.skew = now
	return now, nil
}

// anchor returns what KVM's TSC offset has to be, at the returned skew, for a
// guest's count to equal the machine's. It is measured once after processors have
// run, with the processor v, so that all get the very same offset.
func (t *timekeeper) anchor(v *VCPU) (base uint64, skew int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.measured {
		return t.base, t.baseSkew, nil
	}
	offset, err := v.readOffset()
	if err != nil {
		return 0, 0, err
	}
	count, err := v.getMSR(msrTSC)
	if err != nil {
		return 0, 0, err
	}
	now := t.a.cfg.Clock.Now()
	t.base, t.baseSkew = offset-count+ticks(uint64(max(now, 0)), t.a.tscHz), int64(time.Since(t.epoch))-now
	t.measured = true
	return t.base, t.baseSkew, nil
}

// forget makes anchor measure again.
func (t *timekeeper) forget() {
	t.mu.Lock()
	t.measured = false
	t.mu.Unlock()
}

// catchUp makes the processor's time-stamp counter continue from where it was
// when the machine was paused.
func (v *VCPU) catchUp() error {
	v.a.time.forget()
	skew, err := v.a.time.settle(&v.buf.clock)
	if err != nil || skew == v.skew {
		return err
	}
	back := v.a.since(v.skew, skew)
	v.skew = skew
	if !v.a.caps.tscOffset {
		count, err := v.getMSR(msrTSC)
		if err != nil {
			return err
		}
		return v.setMSR(msrTSC, count-back)
	}
	offset, err := v.readOffset()
	if err != nil {
		return err
	}
	return v.writeOffset(offset - back)
}

// since is how far the host's counter went on between two skews; it may be negative.
func (a *Accel) since(from, to int64) uint64 {
	if to >= from {
		return ticks(uint64(to-from), a.tscHz)
	}
	return -ticks(uint64(from-to), a.tscHz)
}

// tscOffset returns how far the processor's counter is ahead of the machine's.
func (v *VCPU) tscOffset() (uint64, error) {
	if !v.a.caps.tscOffset {
		count, err := v.getMSR(msrTSC)
		return count - v.a.since(v.skew, v.a.time.now()) - v.a.count(), err
	}
	base, skew, err := v.a.time.anchor(v)
	if err != nil {
		return 0, err
	}
	offset, err := v.readOffset()
	return offset - v.a.since(v.skew, skew) - base, err
}

// setTSCOffset sets the processor's counter. Before Linux 5.16 KVM has no way
// to set an offset; it keeps counters in step that are written soon after one another.
func (v *VCPU) setTSCOffset(offset uint64) error {
	if !v.a.caps.tscOffset {
		v.skew = v.a.time.now()
		return v.setMSR(msrTSC, v.a.count()+offset)
	}
	base, skew, err := v.a.time.anchor(v)
	if err != nil {
		return err
	}
	v.skew = skew
	return v.writeOffset(base + offset)
}

func (v *VCPU) readOffset() (uint64, error) {
	attr := tscOffsetAttr(&v.buf.tsc)
	if _, err := ioctl(v.fd, ioctlGetDeviceAttr, &attr); err != nil {
		return 0, v.failed("read the TSC offset", err)
	}
	return v.buf.tsc, nil
}

func (v *VCPU) writeOffset(offset uint64) error {
	v.buf.tsc = offset
	attr := tscOffsetAttr(&v.buf.tsc)
	if _, err := ioctl(v.fd, ioctlSetDeviceAttr, &attr); err != nil {
		return v.failed("set the TSC offset", err)
	}
	return nil
}

// ticks is how often a counter of hz counts in ns nanoseconds.
func ticks(ns, hz uint64) uint64 {
	hi, lo := bits.Mul64(ns, hz)
	q, _ := bits.Div64(hi%1e9, lo, 1e9)
	return q
}

// count is the machine's time-stamp count now, to which a processor's offset is added.
func (a *Accel) count() uint64 { return ticks(uint64(max(a.cfg.Clock.Now(), 0)), a.tscHz) }
