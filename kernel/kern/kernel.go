package kern

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Kernel is a running kernel.
type Kernel struct {
	Platform
	log  Log
	pool TokenPool
	mem  memory
}

// New returns the kernel on a platform.
func New(p Platform) *Kernel {
	k := &Kernel{Platform: p}
	k.log.out = p.Console
	return k
}

// Printf writes a line to the log and the console; the newline is added.
func (k *Kernel) Printf(format string, args ...any) {
	k.log.add(k.Now(), fmt.Sprintf(format, args...))
}

// Log is the kernel's messages.
func (k *Kernel) Log() *Log { return &k.log }

// Thread is a kernel thread.
type Thread struct {
	name string
	done Event
}

// Start runs f in a new thread. A panic in f ends the thread alone: it is logged with
// a trace.
func (k *Kernel) Start(a ThreadAttr, f func()) *Thread {
	t := &Thread{name: a.Name, done: Event{k: k}}
	k.StartThread(a, func() {
		defer t.done.Set()
		defer func() {
			if r := recover(); r != nil {
				k.panicked(a.Name, r)
				if a.Failed != nil {
					a.Failed()
				}
			}
		}()
		f()
	})
	return t
}

// Name is the thread's name.
func (t *Thread) Name() string { return t.name }

// Join waits for the thread to end.
func (t *Thread) Join() { t.done.Wait(-1) }

// Recover, deferred, turns a panic into a message that names what failed.
func (k *Kernel) Recover(what string) {
	if r := recover(); r != nil {
		k.panicked(what, r)
	}
}

// panicked writes to the log why what panicked and where.
func (k *Kernel) panicked(what string, why any) {
	at := ""
	if a, ok := why.(interface{ Addr() uintptr }); ok {
		at = fmt.Sprintf(", address %#x", a.Addr())
	}
	k.Printf("%s: panic: %v%s\n%s", what, why, at, debug.Stack())
}

// Event is something that happens once. Make it with NewEvent.
type Event struct {
	k     *Kernel
	state atomic.Uint32
}

// NewEvent returns an event that has not happened.
func (k *Kernel) NewEvent() *Event { return &Event{k: k} }

// Set makes the event happen.
func (e *Event) Set() {
	if e.state.Swap(1) == 0 {
		e.k.Wake(&e.state, 0)
	}
}

// Happened tells whether Set has been called.
func (e *Event) Happened() bool { return e.state.Load() != 0 }

// Wait returns once the event has happened, or with false after a timeout, if that is
// not negative.
func (e *Event) Wait(timeout time.Duration) bool {
	return waitUntil(e.k, &e.state, timeout, func(v uint32) bool { return v != 0 })
}

// waitUntil waits at addr until its value is good.
func waitUntil(k *Kernel, addr *atomic.Uint32, timeout time.Duration, good func(uint32) bool) bool {
	end := k.Now() + timeout
	for {
		v := addr.Load()
		if good(v) {
			return true
		}
		left := time.Duration(-1)
		if timeout >= 0 {
			if left = end - k.Now(); left <= 0 {
				return false
			}
		}
		k.Wait(addr, v, left)
	}
}

// Signals is a set of up to 32 conditions that one thread waits for and others raise.
type Signals struct {
	k     *Kernel
	state atomic.Uint32
}

// NewSignals returns an empty set.
func (k *Kernel) NewSignals() *Signals { return &Signals{k: k} }

// Raise adds conditions and wakes the thread that waits.
func (s *Signals) Raise(mask uint32) {
	if s.state.Or(mask)&mask != mask {
		s.k.Wake(&s.state, 1)
	}
}

// Take waits until there is a condition, or for the timeout if it is not negative, and
// returns and clears all there are.
func (s *Signals) Take(timeout time.Duration) uint32 {
	if !waitUntil(s.k, &s.state, timeout, func(v uint32) bool { return v != 0 }) {
		return 0
	}
	return s.state.Swap(0)
}

// Log is lines of text with times. The latest are kept.
type Log struct {
	mu    sync.Mutex
	lines []string
	out   func([]byte)
}

const logLines = 1000

func (l *Log) add(at time.Duration, text string) {
	line := fmt.Sprintf("[%5d.%06d] %s\n", at/time.Second, at%time.Second/time.Microsecond, text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) >= logLines {
		l.lines = append(l.lines[:0], l.lines[logLines/4:]...)
	}
	l.lines = append(l.lines, line)
	if l.out != nil {
		l.out([]byte(line))
	}
}

// Lines returns what the log has.
func (l *Log) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}
