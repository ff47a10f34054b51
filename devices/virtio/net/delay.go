package net

import (
	"sync"

	"dfemu/devices"
)

// delayLine has the frames that a fault delays.
type delayLine struct {
	d      *Device
	mu     sync.Mutex
	closed bool
	timers map[*delayed]struct{}
	wg     sync.WaitGroup
}

type delayed struct{ t devices.Timer }

func (l *delayLine) init(d *Device) {
	l.d = d
	l.timers = map[*delayed]struct{}{}
}

// after has f called ns nanoseconds from now, unless the device is closed before.
func (l *delayLine) after(ns int64, f func()) {
	x := &delayed{}
	x.t = l.d.o.Clock.NewTimer(func() {
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
		x.t.Set(l.d.o.Clock.Now() + ns)
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
