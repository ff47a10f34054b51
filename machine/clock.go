package machine

import (
	"sync"
	"sync/atomic"
	"time"

	"dfemu/cpu"
	"dfemu/devices"
)

// clock is the machine's time, driven by the host's monotonic clock while the
// machine runs. It implements [devices.Clock].
type clock struct {
	epoch time.Time // of the host, with its monotonic reading
	wall  time.Time // what the guest's date was at time 0

	// offset is subtracted from the host's nanoseconds since epoch.
	offset atomic.Int64
	// frozen is the time shown while stopped, or -1 while running.
	frozen atomic.Int64

	mu    sync.Mutex
	armed map[*timer]struct{}
}

// newClock returns a stopped clock at 0.
func newClock(wall time.Time) *clock {
	c := &clock{epoch: time.Now(), wall: wall, armed: map[*timer]struct{}{}}
	return c
}

// Now implements [devices.Clock].
func (c *clock) Now() int64 {
	if f := c.frozen.Load(); f >= 0 {
		return f
	}
	return int64(time.Since(c.epoch)) - c.offset.Load()
}

// Wall implements [devices.Clock].
func (c *clock) Wall() time.Time { return c.wall.Add(time.Duration(c.Now())) }

// start lets time go on.
func (c *clock) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.frozen.Load()
	if f < 0 {
		return
	}
	c.offset.Store(int64(time.Since(c.epoch)) - f)
	c.frozen.Store(-1)
	for t := range c.armed {
		t.arm()
	}
}

// stop freezes time. Timer functions that already run are not waited for.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen.Load() >= 0 {
		return
	}
	c.frozen.Store(c.Now())
	for t := range c.armed {
		t.host.Stop()
	}
}

// timer implements [devices.Timer] on the host's timers.
type timer struct {
	c    *clock
	f    func()
	at   int64
	gen  uint64 // tells a late host timer from the present one
	host *time.Timer
}

// NewTimer implements [devices.Clock].
func (c *clock) NewTimer(f func()) devices.Timer { return &timer{c: c, f: f} }

// Set implements [devices.Timer].
func (t *timer) Set(at int64) {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	if t.host != nil {
		t.host.Stop()
	}
	t.at = at
	t.c.armed[t] = struct{}{}
	if t.c.frozen.Load() < 0 {
		t.arm()
	}
}

// Stop implements [devices.Timer].
func (t *timer) Stop() {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.gen++
	delete(t.c.armed, t)
	if t.host != nil {
		t.host.Stop()
	}
}

// arm starts the host timer; c.mu is held.
func (t *timer) arm() {
	t.gen++
	gen := t.gen
	t.host = time.AfterFunc(time.Duration(max(t.at-t.c.Now(), 0)), func() {
		t.c.mu.Lock()
		due := t.gen == gen && t.c.frozen.Load() < 0
		if due {
			delete(t.c.armed, t)
		}
		t.c.mu.Unlock()
		if due {
			t.f()
		}
	})
}

// cpuClock is the clock in the shape that processors want.
type cpuClock struct{ *clock }

// NewTimer implements [cpu.Clock].
func (c cpuClock) NewTimer(f func()) cpu.Timer { return c.clock.NewTimer(f) }
