package apic

import (
	"math"
	"math/bits"
	"sync"

	"dfemu/cpu"
)

// minHostPeriod is the least number of nanoseconds between two wake-ups of the
// host for a periodic timer. Shorter periods coalesce, as if interrupts had
// been off for that long: a guest cannot keep the host busy with its timer.
const minHostPeriod = 20_000

// timer is the APIC timer (SDM 11.5.4). The host's timer runs only while an
// expiry would interrupt; everything else is computed when it is looked at.
type timer struct {
	mu   sync.Mutex
	host cpu.Timer
	// set means that host was set to at and has not called back since.
	set bool
	at  int64

	init   uint32 // initial-count register
	divide uint32 // divide configuration register
	// armed: the count is running (one-shot, periodic), or a deadline is set.
	armed bool
	// start is the clock's time at which the present period began.
	start int64
	// deadline is IA32_TSC_DEADLINE, due the clock's time at which it is reached.
	deadline uint64
	due      int64
}

// divider decodes the divide configuration register (SDM figure 11-10).
func divider(dcr uint32) int64 {
	x := dcr&3 | dcr>>1&4
	if x == 7 {
		return 1
	}
	return 2 << x
}

// period is the length of a count from the initial count to 0, in nanoseconds.
func (t *timer) period() int64 { return int64(t.init) * divider(t.divide) }

// advance brings the timer up to now and latches its interrupt if it has
// expired; missed periods count as one. Called with mu held, as are the others
// that take lvt, the LVT timer entry.
func (a *APIC) advance(now int64, lvt uint32) outcome {
	t := &a.timer
	if !t.armed {
		return nothing
	}
	switch lvt & lvtTimerMode {
	case timerOneShot:
		if now-t.start < t.period() {
			return nothing
		}
		t.armed = false
	case timerPeriodic:
		p := t.period()
		n := (now - t.start) / p
		if n < 1 {
			return nothing
		}
		t.start += n * p
	case timerDeadline:
		if now < t.due {
			return nothing
		}
		t.armed = false
		t.deadline = 0
	default:
		return nothing
	}
	if lvt&lvtMasked != 0 {
		return nothing
	}
	return a.latch(uint8(lvt), false)
}

// next returns the clock's time at which the timer will interrupt.
func (t *timer) next(now int64, lvt uint32) (int64, bool) {
	if !t.armed || lvt&lvtMasked != 0 {
		return 0, false
	}
	switch lvt & lvtTimerMode {
	case timerOneShot:
		return t.start + t.period(), true
	case timerPeriodic:
		p := t.period()
		at := t.start + p
		if early := now + minHostPeriod - at; p < minHostPeriod && early > 0 {
			at += (early + p - 1) / p * p
		}
		return at, true
	case timerDeadline:
		return t.due, t.due != math.MaxInt64
	}
	return 0, false
}

// schedule sets or stops the host's timer.
func (t *timer) schedule(now int64, lvt uint32) {
	if at, ok := t.next(now, lvt); ok {
		if !t.set || t.at != at {
			t.set, t.at = true, at
			t.host.Set(at)
		}
	} else if t.set {
		t.set = false
		t.host.Stop()
	}
}

// count is the current-count register.
func (t *timer) count(now int64, lvt uint32) uint32 {
	if !t.armed || lvt&lvtTimerMode > timerPeriodic {
		return 0
	}
	n := max(now-t.start, 0) / divider(t.divide)
	return t.init - uint32(min(n, int64(t.init)))
}

// withTimer brings the timer up to date, lets f change it, and sees to
// everything that follows from the change. f may be nil.
func (a *APIC) withTimer(f func(t *timer, now int64)) {
	t := &a.timer
	t.mu.Lock()
	now := a.f.cfg.Clock.Now()
	before := a.advance(now, a.lvt[lvtTimer].Load())
	after := nothing
	if f != nil {
		f(t, now)
		after = a.advance(now, a.lvt[lvtTimer].Load())
	}
	t.schedule(now, a.lvt[lvtTimer].Load())
	t.mu.Unlock()
	a.finish(before)
	a.finish(after)
}

// timerFired is called by the host's timer, on any goroutine. It may be late
// or for a time that has been changed since: what is due is computed anew.
func (a *APIC) timerFired() {
	a.timer.mu.Lock()
	a.timer.set = false
	a.timer.mu.Unlock()
	a.withTimer(nil)
}

// timerReset disarms the timer without interrupting.
func (a *APIC) timerReset() {
	t := &a.timer
	t.mu.Lock()
	defer t.mu.Unlock()
	a.lvt[lvtTimer].Store(lvtMasked)
	t.init, t.divide, t.armed, t.start, t.deadline, t.due = 0, 0, false, 0, 0, 0
	t.schedule(0, lvtMasked)
}

// setTimerLVT writes the LVT timer entry. A switch between one-shot and
// periodic lets the count run on; one to or from TSC-deadline mode disarms the
// timer (SDM 11.5.4.1).
func (a *APIC) setTimerLVT(v uint32) {
	a.withTimer(func(t *timer, _ int64) {
		old := a.lvt[lvtTimer].Swap(v)
		if (old^v)&lvtTimerMode != 0 && max(old&lvtTimerMode, v&lvtTimerMode) > timerPeriodic {
			t.armed = false
			t.init = 0
			t.deadline = 0
		}
	})
}

// setInitialCount starts a count; 0 stops it.
func (a *APIC) setInitialCount(v uint32) {
	a.withTimer(func(t *timer, now int64) {
		if a.lvt[lvtTimer].Load()&lvtTimerMode > timerPeriodic {
			return
		}
		t.init = v
		t.start = now
		t.armed = v != 0
	})
}

// setDivide changes the rate at which a running count goes on from where it is.
func (a *APIC) setDivide(v uint32) {
	a.withTimer(func(t *timer, now int64) {
		done := t.init - t.count(now, a.lvt[lvtTimer].Load())
		t.divide = v
		t.start = now - int64(done)*divider(v)
	})
}

// currentCount reads the current-count register.
func (a *APIC) currentCount() (n uint32) {
	a.withTimer(func(t *timer, now int64) { n = t.count(now, a.lvt[lvtTimer].Load()) })
	return n
}

// deadline reads IA32_TSC_DEADLINE.
func (a *APIC) deadline() (v uint64) {
	a.withTimer(func(t *timer, _ int64) { v = t.deadline })
	return v
}

// setDeadline writes IA32_TSC_DEADLINE. It is ignored in the other modes.
func (a *APIC) setDeadline(v uint64) {
	a.withTimer(func(t *timer, now int64) {
		if a.lvt[lvtTimer].Load()&lvtTimerMode != timerDeadline {
			return
		}
		t.deadline = v
		t.armed = v != 0
		t.due = a.reaches(v, now)
	})
}

// TSCChanged is called after the guest's time-stamp count was changed
// (IA32_TIME_STAMP_COUNTER, IA32_TSC_ADJUST), which moves an armed deadline.
func (a *APIC) TSCChanged() {
	a.withTimer(func(t *timer, now int64) {
		if t.armed && a.lvt[lvtTimer].Load()&lvtTimerMode == timerDeadline {
			t.due = a.reaches(t.deadline, now)
		}
	})
}

// reaches returns the clock's time at which the time-stamp count is v or more,
// math.MaxInt64 where that is beyond the clock.
func (a *APIC) reaches(v uint64, now int64) int64 {
	tsc := a.f.cfg.TSC(int(a.id), now)
	if v <= tsc {
		return now
	}
	hz := a.f.cfg.TSCHz
	hi, lo := bits.Mul64(v-tsc, 1e9)
	// Rounded up: a count read in the handler is never below the deadline.
	lo, carry := bits.Add64(lo, hz-1, 0)
	hi += carry
	if hi >= hz {
		return math.MaxInt64
	}
	ns, _ := bits.Div64(hi, lo, hz)
	if ns > uint64(math.MaxInt64-now) {
		return math.MaxInt64
	}
	return now + int64(ns)
}

// NextTimer returns the clock's time at which the timer will next interrupt; ok
// is false while it will not. It may be called from any goroutine.
func (a *APIC) NextTimer() (at int64, ok bool) {
	t := &a.timer
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next(a.f.cfg.Clock.Now(), a.lvt[lvtTimer].Load())
}
