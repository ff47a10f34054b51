package apic

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"dfemu/cpu"
)

// fakeClock is a clock that stands until a test moves it.
type fakeClock struct {
	mu     sync.Mutex
	now    int64
	timers []*fakeTimer
}

type fakeTimer struct {
	c  *fakeClock
	f  func()
	at int64 // math.MaxInt64 while stopped
}

func (c *fakeClock) Now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Wall() time.Time { return time.Unix(0, c.Now()) }

func (c *fakeClock) NewTimer(f func()) cpu.Timer {
	t := &fakeTimer{c: c, f: f, at: math.MaxInt64}
	c.timers = append(c.timers, t)
	return t
}

func (t *fakeTimer) Set(at int64) {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.at = at
}

func (t *fakeTimer) Stop() { t.Set(math.MaxInt64) }

// advance moves the clock by ns, stopping at each expiry on the way, and
// returns how many there were.
func (c *fakeClock) advance(ns int64) (fired int) {
	c.mu.Lock()
	end := c.now + ns
	c.mu.Unlock()
	for {
		c.mu.Lock()
		var next *fakeTimer
		for _, t := range c.timers {
			if t.at <= end && (next == nil || t.at < next.at) {
				next = t
			}
		}
		if next == nil {
			c.now = max(c.now, end)
			c.mu.Unlock()
			return fired
		}
		c.now = max(c.now, next.at)
		next.at = math.MaxInt64
		c.mu.Unlock()
		next.f()
		fired++
	}
}

// jump moves the clock without calling timers, as a host does that is late.
func (c *fakeClock) jump(ns int64) {
	c.mu.Lock()
	c.now += ns
	c.mu.Unlock()
}

// rig is a machine's APICs and a record of what they say.
type rig struct {
	*Fabric
	t      *testing.T
	clock  *fakeClock
	mu     sync.Mutex
	events []string // "1:interrupt", "2:SIPI 0x9a"
	eois   []uint8
	tsc    uint64 // offset of the guest's count
}

func newRig(t *testing.T, cpus int) *rig {
	r := &rig{t: t, clock: &fakeClock{}}
	r.Fabric = New(Config{
		CPUs:        cpus,
		Clock:       r.clock,
		TSCHz:       2e9,
		TSC:         func(_ int, now int64) uint64 { return uint64(now)*2 + r.tsc },
		SuppressEOI: true,
		PhysBits:    40,
		EOI: func(v uint8) {
			r.mu.Lock()
			r.eois = append(r.eois, v)
			r.mu.Unlock()
		},
		Notify: func(id int, e Event, v uint8) {
			s := fmt.Sprintf("%d:%v", id, e)
			if e == SIPI {
				s += fmt.Sprintf(" %#x", v)
			}
			r.mu.Lock()
			r.events = append(r.events, s)
			r.mu.Unlock()
		},
	})
	return r
}

// on turns all APICs on by software, and to x2APIC mode if asked.
func (r *rig) on(x2 bool) *rig {
	for _, a := range r.apics {
		if x2 {
			b, _ := a.ReadMSR(MSRBase)
			if !a.WriteMSR(MSRBase, b|baseX2) {
				r.t.Fatal("no x2APIC mode")
			}
			a.WriteMSR(MSRFirst+regSVR, 0x1ff)
		} else {
			a.Write(regSVR<<4, 4, 0x1ff)
		}
	}
	return r
}

// told returns and forgets the events so far.
func (r *rig) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.events
	r.events = nil
	return e
}

func (r *rig) expect(what string, want ...string) {
	r.t.Helper()
	if got := r.told(); !slices.Equal(got, want) {
		r.t.Errorf("%s: events %q, want %q", what, got, want)
	}
}

// pending checks what Pending returns; 0 stands for nothing.
func (r *rig) pending(id int, what string, want uint8) {
	r.t.Helper()
	if v, ok := r.apics[id].Pending(); v != want || ok != (want != 0) {
		r.t.Errorf("%s: processor %d has %#x (%v) pending, want %#x", what, id, v, ok, want)
	}
}

// take accepts vector, which must be pending.
func (r *rig) take(id int, want uint8) {
	r.t.Helper()
	r.pending(id, "take", want)
	if got := r.apics[id].Accept(want); got != want {
		r.t.Errorf("Accept(%#x) = %#x", want, got)
	}
}

func (r *rig) reg(id int, reg uint32) uint32 { return uint32(r.apics[id].Read(uint64(reg)<<4, 4)) }

func (r *rig) set(id int, reg, v uint32) { r.apics[id].Write(uint64(reg)<<4, 4, uint64(v)) }

func (r *rig) want(id int, reg, want uint32, what string) {
	r.t.Helper()
	if got := r.reg(id, reg); got != want {
		r.t.Errorf("%s: register %#x is %#x, want %#x", what, reg<<4, got, want)
	}
}

// got lists the processors that have vector in IRR, as digits, and clears it.
func (r *rig) got(vector uint8) (ids string) {
	for i, a := range r.apics {
		if v, ok := a.Pending(); ok && v == vector {
			a.Accept(v)
			a.eoi()
			ids += fmt.Sprintf("%x", i)
		}
	}
	return ids
}
