package nic

import (
	"sync"

	"dfemu/devices"
)

// A Worker runs its function on a goroutine of its own, started by the first
// Kick, each time it was kicked. Kicks during a run make for one more run.
type Worker struct {
	Run func() // set before the first Kick

	mu      sync.Mutex
	started bool
	closed  bool
	wake    chan struct{}
	wg      sync.WaitGroup
}

// Kick has the function run. It never waits.
func (w *Worker) Kick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if !w.started {
		w.started = true
		w.wake = make(chan struct{}, 1)
		w.wg.Add(1)
		go func() {
			defer w.wg.Done()
			for range w.wake {
				w.Run()
			}
		}()
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Close waits for a run under way and ends the goroutine.
func (w *Worker) Close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		if w.started {
			close(w.wake)
		}
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// DelayLine has what a fault delays. Init comes before any other method.
type DelayLine struct {
	clock  devices.Clock
	mu     sync.Mutex
	closed bool
	timers map[*late]struct{}
	wg     sync.WaitGroup
}

type late struct{ t devices.Timer }

// Init sets the clock, which may be nil if nothing is ever delayed.
func (l *DelayLine) Init(c devices.Clock) {
	l.clock = c
	l.timers = map[*late]struct{}{}
}

// Works tells whether there is a clock to delay by.
func (l *DelayLine) Works() bool { return l.clock != nil }

// After has f called ns nanoseconds from now, unless the line is closed before.
func (l *DelayLine) After(ns int64, f func()) {
	x := &late{}
	x.t = l.clock.NewTimer(func() {
		l.mu.Lock()
		_, due := l.timers[x]
		delete(l.timers, x)
		if !due || l.closed {
			l.mu.Unlock()
			return
		}
		l.wg.Add(1)
		l.mu.Unlock()
		defer l.wg.Done()
		f()
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.timers[x] = struct{}{}
		x.t.Set(l.clock.Now() + ns)
	}
}

// Close drops what has not been called, and waits for what is being called.
func (l *DelayLine) Close() {
	l.mu.Lock()
	l.closed = true
	for x := range l.timers {
		x.t.Stop()
	}
	clear(l.timers)
	l.mu.Unlock()
	l.wg.Wait()
}
