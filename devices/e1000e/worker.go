package e1000e

import (
	"sync"

	"dfemu/devices"
)

// A worker runs its function on a goroutine of its own, started by the first
// kick, each time it was kicked. Kicks during a run make for one more run.
type worker struct {
	run func()

	mu      sync.Mutex
	started bool
	closed  bool
	wake    chan struct{}
	wg      sync.WaitGroup
}

// kick has the function run. It never waits.
func (w *worker) kick() {
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
				w.run()
			}
		}()
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// close waits for a run under way and ends the goroutine.
func (w *worker) close() {
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

// delayLine has the packets that a fault delays.
type delayLine struct {
	clock  devices.Clock
	mu     sync.Mutex
	closed bool
	timers map[*late]struct{}
	wg     sync.WaitGroup
}

type late struct{ t devices.Timer }

func (l *delayLine) init(c devices.Clock) {
	l.clock = c
	l.timers = map[*late]struct{}{}
}

// after has f called ns nanoseconds from now, unless the device is closed before.
func (l *delayLine) after(ns int64, f func()) {
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

func (l *delayLine) close() {
	l.mu.Lock()
	l.closed = true
	for x := range l.timers {
		x.t.Stop()
	}
	clear(l.timers)
	l.mu.Unlock()
	l.wg.Wait()
}
