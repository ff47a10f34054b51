package apic

import (
	"math"
	"testing"
)

func TestDivider(t *testing.T) {
	for dcr, want := range map[uint32]int64{0: 2, 1: 4, 2: 8, 3: 16, 8: 32, 9: 64, 10: 128, 11: 1} {
		if got := divider(dcr); got != want {
			t.Errorf("divide configuration %#x: %d, want %d", dcr, got, want)
		}
	}
}

func TestOneShot(t *testing.T) {
	r := newRig(t, 1).on(false)
	r.clock.jump(12345)
	r.set(0, regTDCR, 0xb)
	r.set(0, regLVTTimer, 0xec)
	r.want(0, regTCCR, 0, "not started")
	r.set(0, regTICR, 1000)
	r.want(0, regTCCR, 1000, "just started")
	if at, ok := r.APIC(0).NextTimer(); !ok || at != 13345 {
		t.Errorf("NextTimer = %d, %v; want 13345", at, ok)
	}
	r.clock.advance(400)
	r.want(0, regTCCR, 600, "on the way")
	r.clock.advance(599)
	r.pending(0, "one tick left", 0)
	r.want(0, regTCCR, 1, "one tick left")
	r.clock.advance(1)
	r.take(0, 0xec)
	r.want(0, regTCCR, 0, "expired")
	r.want(0, regTICR, 1000, "expired")
	r.set(0, regEOI, 0)
	if n := r.clock.advance(1e9); n != 0 {
		t.Errorf("%d more expiries", n)
	}
	// Periodic mode does not start a count that has run out.
	r.set(0, regLVTTimer, timerPeriodic|0xec)
	r.want(0, regTCCR, 0, "expired, then periodic")
	// 0 stops a count.
	r.set(0, regTICR, 1000)
	r.set(0, regTICR, 0)
	r.clock.advance(1e6)
	r.pending(0, "stopped", 0)
}

func TestPeriodic(t *testing.T) {
	r := newRig(t, 1).on(false)
	r.set(0, regTDCR, 0x3) // by 16
	r.set(0, regLVTTimer, timerPeriodic|0xec)
	r.set(0, regTICR, 10_000) // 160 µs
	for i := range 20 {
		r.clock.advance(159_999)
		r.pending(0, "early", 0)
		r.clock.advance(1)
		r.take(0, 0xec)
		r.set(0, regEOI, 0)
		r.want(0, regTCCR, 10_000, "reloaded")
		if want := int64(i+1) * 160_000; r.clock.Now() != want {
			t.Fatalf("drift: %d, want %d", r.clock.Now(), want)
		}
	}
	// The host is late by four and a half periods: one interrupt, and the
	// next at its proper time.
	r.clock.jump(720_000)
	r.clock.advance(0)
	r.take(0, 0xec)
	r.set(0, regEOI, 0)
	r.want(0, regTCCR, 5000, "half a period in")
	r.clock.advance(79_999)
	r.pending(0, "after being late", 0)
	r.clock.advance(1)
	r.take(0, 0xec)
	r.set(0, regEOI, 0)
	// To one-shot: the count runs on, and ends.
	r.clock.advance(80_000)
	r.set(0, regLVTTimer, 0xec)
	r.want(0, regTCCR, 5000, "made one-shot")
	if n := r.clock.advance(1e9); n != 1 {
		t.Errorf("%d expiries after the switch to one-shot, want 1", n)
	}
	r.take(0, 0xec)
}

func TestShortPeriodSparesHost(t *testing.T) {
	r := newRig(t, 1).on(false)
	r.set(0, regTDCR, 0xb)
	r.set(0, regLVTTimer, timerPeriodic|0xec)
	r.set(0, regTICR, 1)
	if n := r.clock.advance(1_000_000); n < 40 || n > 1_000_000/minHostPeriod {
		t.Errorf("%d wake-ups of the host in 1 ms", n)
	}
	r.pending(0, "period of 1 ns", 0xec)
}

func TestMaskedTimer(t *testing.T) {
	r := newRig(t, 1).on(false)
	r.set(0, regTDCR, 0xb)
	r.set(0, regLVTTimer, lvtMasked|timerPeriodic|0xec)
	r.set(0, regTICR, 50_000)
	if n := r.clock.advance(120_000); n != 0 {
		t.Errorf("host woken %d times for a masked timer", n)
	}
	r.want(0, regTCCR, 30_000, "counts while masked")
	r.set(0, regLVTTimer, timerPeriodic|0xec)
	r.pending(0, "what expired while masked is lost", 0)
	r.clock.advance(30_000)
	r.take(0, 0xec)
}

func TestDivideWhileRunning(t *testing.T) {
	r := newRig(t, 1).on(false)
	r.set(0, regTDCR, 0xb)
	r.set(0, regLVTTimer, 0xec)
	r.set(0, regTICR, 1000)
	r.clock.advance(600)
	r.set(0, regTDCR, 0x0) // by 2
	r.want(0, regTCCR, 400, "rate changed")
	r.clock.advance(799)
	r.pending(0, "at the new rate", 0)
	r.clock.advance(1)
	r.pending(0, "at the new rate", 0xec)
}

func TestDeadline(t *testing.T) {
	r := newRig(t, 1).on(false)
	a := r.APIC(0)
	r.tsc = 1_000_000
	a.WriteMSR(MSRDeadline, 5)
	if v, _ := a.ReadMSR(MSRDeadline); v != 0 {
		t.Errorf("deadline %d was taken in one-shot mode", v)
	}
	deadline := func(want uint64) {
		t.Helper()
		if v, ok := a.ReadMSR(MSRDeadline); v != want || !ok {
			t.Errorf("IA32_TSC_DEADLINE is %d, want %d", v, want)
		}
	}
	r.set(0, regLVTTimer, timerDeadline|0xec)
	a.WriteMSR(MSRDeadline, 1_002_001) // 1000.5 ns from now
	deadline(1_002_001)
	r.set(0, regTICR, 77)
	r.want(0, regTICR, 0, "initial count is ignored")
	r.want(0, regTCCR, 0, "current count")
	r.clock.advance(1000)
	r.pending(0, "early", 0)
	r.clock.advance(1)
	r.take(0, 0xec)
	r.set(0, regEOI, 0)
	deadline(0)

	a.WriteMSR(MSRDeadline, 1) // has passed
	r.take(0, 0xec)
	r.set(0, regEOI, 0)
	deadline(0)

	a.WriteMSR(MSRDeadline, 2_000_000)
	a.WriteMSR(MSRDeadline, 0)
	r.clock.advance(1e9)
	r.pending(0, "disarmed", 0)

	// The guest moves its time-stamp counter.
	tsc := uint64(r.clock.Now())*2 + r.tsc
	a.WriteMSR(MSRDeadline, tsc+20_000)
	r.tsc += 10_000
	a.TSCChanged()
	r.clock.advance(4999)
	r.pending(0, "moved", 0)
	r.clock.advance(1)
	r.take(0, 0xec)
	r.set(0, regEOI, 0)

	// A deadline that the clock never reaches.
	a.WriteMSR(MSRDeadline, math.MaxUint64)
	deadline(math.MaxUint64)
	if at, ok := a.NextTimer(); ok && at <= r.clock.Now() {
		t.Errorf("NextTimer = %d", at)
	}
	r.pending(0, "far away", 0)

	// Another mode disarms it, in both directions.
	r.set(0, regLVTTimer, 0xec)
	deadline(0)
	r.set(0, regTICR, 100)
	r.set(0, regLVTTimer, timerDeadline|0xec)
	r.set(0, regLVTTimer, 0xec)
	r.want(0, regTICR, 0, "after deadline mode")
	if n := r.clock.advance(1e9); n != 0 {
		t.Errorf("%d expiries after the mode was changed", n)
	}
	r.pending(0, "after deadline mode", 0)
}
