// Package devtest stands in for a machine in device tests: memory, interrupt
// lines, message-signalled interrupts and a clock that moves only when told.
// A device under test is driven through its registers, with no CPU at all.
package devtest

import (
	"sync"
	"time"

	"dfemu/devices"
)

// RAM is guest memory from address Base on. It implements [devices.Memory].
type RAM struct {
	Base uint64
	Data []byte
	mu   sync.Mutex
	// Dirty counts the calls of Written.
	Dirty int
}

// NewRAM returns size bytes of memory at address 0.
func NewRAM(size int) *RAM { return &RAM{Data: make([]byte, size)} }

// View implements [devices.Memory].
func (m *RAM) View(addr uint64, n int) ([]byte, error) {
	off := addr - m.Base
	if n < 0 || addr < m.Base || off > uint64(len(m.Data)) || uint64(n) > uint64(len(m.Data))-off {
		return nil, &devices.MemoryError{Addr: addr, Size: uint64(n), Why: "not RAM"}
	}
	return m.Data[off : off+uint64(n) : off+uint64(n)], nil
}

// Read implements [devices.Memory].
func (m *RAM) Read(addr uint64, p []byte) error {
	v, err := m.View(addr, len(p))
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(p, v)
	return err
}

// Write implements [devices.Memory].
func (m *RAM) Write(addr uint64, p []byte) error {
	v, err := m.View(addr, len(p))
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(v, p)
	return err
}

// Written implements [devices.Memory].
func (m *RAM) Written(addr uint64, n int) {
	m.mu.Lock()
	m.Dirty++
	m.mu.Unlock()
}

// Line is an interrupt input that remembers what was done to it.
type Line struct {
	mu     sync.Mutex
	level  bool
	rises  int
	Change func(level bool) // called on each change, if set
}

// Set implements [devices.Line].
func (l *Line) Set(level bool) {
	l.mu.Lock()
	changed := l.level != level
	if changed && level {
		l.rises++
	}
	l.level = level
	f := l.Change
	l.mu.Unlock()
	if changed && f != nil {
		f(level)
	}
}

// Level returns the line's present level.
func (l *Line) Level() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.level }

// Rises returns how often the line went from low to high.
func (l *Line) Rises() int { l.mu.Lock(); defer l.mu.Unlock(); return l.rises }

// Message is one message-signalled interrupt.
type Message struct {
	Addr uint64
	Data uint32
}

// MSI collects message-signalled interrupts. It implements [devices.MSI].
type MSI struct {
	mu   sync.Mutex
	msgs []Message
	C    chan Message // if not nil, also receives each message
}

// SendMSI implements [devices.MSI].
func (m *MSI) SendMSI(addr uint64, data uint32) {
	m.mu.Lock()
	m.msgs = append(m.msgs, Message{addr, data})
	m.mu.Unlock()
	if m.C != nil {
		m.C <- Message{addr, data}
	}
}

// Take returns the messages collected since the last call.
func (m *MSI) Take() []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.msgs
	m.msgs = nil
	return r
}

// Clock is a clock that moves only in Advance. It implements [devices.Clock].
type Clock struct {
	mu     sync.Mutex
	now    int64
	epoch  time.Time
	timers []*timer
}

// NewClock returns a clock at 0 whose wall time starts at epoch.
func NewClock(epoch time.Time) *Clock { return &Clock{epoch: epoch} }

// Now implements [devices.Clock].
func (c *Clock) Now() int64 { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

// Wall implements [devices.Clock].
func (c *Clock) Wall() time.Time { return c.epoch.Add(time.Duration(c.Now())) }

type timer struct {
	c  *Clock
	f  func()
	at int64
	on bool
}

// NewTimer implements [devices.Clock].
func (c *Clock) NewTimer(f func()) devices.Timer {
	t := &timer{c: c, f: f}
	c.mu.Lock()
	c.timers = append(c.timers, t)
	c.mu.Unlock()
	return t
}

func (t *timer) Set(at int64) { t.c.mu.Lock(); t.at, t.on = at, true; t.c.mu.Unlock() }
func (t *timer) Stop()        { t.c.mu.Lock(); t.on = false; t.c.mu.Unlock() }

// Armed returns how many timers are set: what would wake a host.
func (c *Clock) Armed() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.timers {
		if t.on {
			n++
		}
	}
	return n
}

// Advance moves the clock on by d nanoseconds and calls, in the order of their
// times and on the caller's goroutine, the timers that expire on the way.
func (c *Clock) Advance(d int64) {
	c.mu.Lock()
	end := c.now + d
	for {
		var next *timer
		for _, t := range c.timers {
			if t.on && t.at <= end && (next == nil || t.at < next.at) {
				next = t
			}
		}
		if next == nil {
			break
		}
		next.on = false
		c.now = max(c.now, next.at)
		c.mu.Unlock()
		next.f()
		c.mu.Lock()
	}
	c.now = end
	c.mu.Unlock()
}
