package kern

import "time"

// When an interrupt is a storm: in stormWindow it came idleLimit times with nothing to do, and at most once in stormRatio
// with something. It is over when that is less than stormCalm times in calmWindow.
const (
	stormWindow = 100 * time.Millisecond
	idleLimit   = 2000
	stormRatio  = 16
	calmWindow  = 250 * time.Millisecond
	stormCalm   = 25
	// blindLimit is for handlers that do not tell: so often in stormWindow.
	blindLimit = 10000
	// holdTime is how long an interrupt that storms is left alone each time.
	holdTime = time.Millisecond
)

// storm watches how often an interrupt comes, and holds it back when that is too often. Its thread alone uses it.
type storm struct {
	since      time.Duration
	calls      int // of the handler since then
	idle, busy int // calls that have told that there was nothing, or something, to do
	on         bool
}

// Idle, called by a handler, tells that its device had nothing to say; Busy tells that it had. Handlers that call them are
// judged by what was for nothing, others by how often they are called.
func (i *Interrupt) Idle() { i.storm.idle++ }

// Busy is the contrary of Idle.
func (i *Interrupt) Busy() { i.storm.busy++ }

// watch is called after each call of the handler.
func (i *Interrupt) watch(name string) {
	s := &i.storm
	s.calls++
	window := stormWindow
	if s.on {
		window = calmWindow
	}
	// The clock is not looked at each time.
	if !s.on && s.calls%256 != 0 {
		return
	}
	now := i.k.Now()
	if s.since == 0 {
		s.since = now
	}
	idle, limit := s.idle, idleLimit
	if s.idle+s.busy == 0 {
		idle, limit = s.calls, blindLimit
	}
	switch over := now-s.since >= window; {
	case !s.on && idle >= limit && !over && s.busy*stormRatio <= idle:
		i.k.Printf("%s: interrupt storm: %d interrupts in %v for nothing: it is held back", name, idle, (now - s.since).Round(time.Millisecond))
		*s = storm{since: now, on: true}
	case s.on && over && idle < stormCalm:
		i.k.Printf("%s: the interrupt storm is over", name)
		*s = storm{since: now}
	case over:
		*s = storm{since: now, on: s.on}
	}
}

// holdBack leaves an interrupt that storms alone for a time.
func (i *Interrupt) holdBack() {
	if !i.storm.on {
		return
	}
	if i.Mask != nil {
		i.Mask(true)
	}
	i.k.Wait(&i.never, 0, holdTime)
	if i.Mask != nil {
		i.Mask(false)
	}
}
