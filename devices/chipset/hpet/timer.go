package hpet

import "math"

// A timer is one comparator. Field names are the specification's.
type timer struct {
	Conf   uint64 // the writable bits of TIMn_CONF
	Comp   uint64 // comparator; in periodic mode the value of the next match
	Period uint64 // what periodic mode adds to the comparator at each match
	FSB    uint64 // message address (high half) and data
	// Due is the clock's time of the next match, in nanoseconds, while the
	// main counter runs; never if there is none.
	Due int64
}

const never = math.MaxInt64

func (t *timer) periodic() bool { return t.Conf&timPeriodic != 0 }

// mask has the bits of the main counter that the comparator looks at.
func (t *timer) mask() uint64 {
	if t.Conf&tim32 != 0 {
		return math.MaxUint32
	}
	return math.MaxUint64
}

// schedule works out Due for a main counter that shows count since the clock's
// time at. A comparator equal to the counter matches now.
func (t *timer) schedule(count uint64, at int64) {
	t.Due = after(at, (t.Comp-count)&t.mask())
}

// after is the time n counter ticks after at, or never.
func after(at int64, n uint64) int64 {
	if n > uint64(math.MaxInt64-at)/Period {
		return never
	}
	return at + int64(n)*Period
}

// advance moves a comparator that matched on to its next match: in periodic
// mode the first one after now, otherwise once round the counter.
func (t *timer) advance(now int64) {
	period := t.Period & t.mask()
	if !t.periodic() {
		if t.Conf&tim32 == 0 {
			t.Due = never
			return
		}
		period = 1 << 32
		t.Due = after(t.Due, (uint64(now-t.Due)/Period/period+1)*period)
		return
	}
	if period == 0 {
		t.Due = never
		return
	}
	n := uint64(now-t.Due)/Period/period + 1
	t.Comp = (t.Comp + n*period) & t.mask()
	t.Due = after(t.Due, n*period)
}

// wake is when the host has to look at the timer: at the next match, but for
// periods shorter than minGap at the last match before a gap has passed.
func (t *timer) wake(now int64) int64 {
	if t.Due == never || !t.periodic() || t.Due >= now+minGap {
		return t.Due
	}
	period := max(t.Period&t.mask(), 1)
	return after(t.Due, (uint64(now+minGap-t.Due)/Period/period)*period)
}

// writeComp takes a write to the comparator register. In periodic mode a write
// sets the period; with VAL_SET_CNF, which lasts for one write, also the
// comparator itself.
func (t *timer) writeComp(v, mask uint64) {
	if !t.periodic() || t.Conf&timValSet != 0 {
		t.Comp = (t.Comp&^mask | v) & t.mask()
	}
	if t.periodic() {
		t.Period = (t.Period&^mask | v) & t.mask()
	}
	t.Conf &^= timValSet
}
