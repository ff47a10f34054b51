//go:build unix

package cputest

import (
	"sync"
	"time"

	"dfemu/cpu"
)

// clock is the host's time since the rig was made. It implements cpu.Clock.
type clock struct{ start time.Time }

func newClock() *clock { return &clock{time.Now()} }

func (c *clock) Now() int64      { return int64(time.Since(c.start)) }
func (c *clock) Wall() time.Time { return time.Now() }

func (c *clock) NewTimer(f func()) cpu.Timer { return &timer{c: c, f: f} }

type timer struct {
	c    *clock
	f    func()
	mu   sync.Mutex
	host *time.Timer
}

func (t *timer) Set(at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.host != nil {
		t.host.Stop()
	}
	t.host = time.AfterFunc(time.Duration(max(at-t.c.Now(), 0)), t.f)
}

func (t *timer) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.host != nil {
		t.host.Stop()
	}
}
