package blk

import (
	"math/rand/v2"
	"slices"
	"sync"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

// disturb applies what a fault does to a request's data.
func disturb(r *request, e *devices.Effect) {
	if e.ShortOn && e.Short < int64(r.size) {
		n := uint64(max(e.Short, 0))
		switch {
		case r.transfers():
			n -= n % sectorSize // a disk transfers whole sectors
		case r.clears():
			n -= n % rangeSize
		}
		r.data, _ = virtio.Slice(r.data, 0, n) // there are more than n
		r.size = n
	}
	if e.FlipTable != 0 && len(r.data) != 0 {
		rng := rand.New(rand.NewPCG(e.Seed, 1))
		r.data = slices.Clone(r.data)
		s := &r.data[rng.IntN(len(r.data))]
		// Adding the length must not wrap, as for each segment.
		if a := s.Addr ^ e.FlipTable; a+uint64(s.Len) >= a {
			s.Addr = a
		}
	}
	r.flips = e.Flips(r.size)
}

// delays has the requests that a fault delays.
type delays struct {
	d      *Device
	mu     sync.Mutex
	closed bool
	all    map[*delayed]struct{}
}

// delayed is one of them.
type delayed struct {
	q      *virtio.Queue
	at     virtio.Detached
	r      request
	cmd    *devices.Command
	effect devices.Effect
	due    int64
	timer  devices.Timer
}

func (l *delays) init(d *Device) {
	l.d = d
	l.all = map[*delayed]struct{}{}
}

// put has a request carried out ns from now.
func (l *delays) put(q *virtio.Queue, c *virtio.Chain, r *request, cmd *devices.Command, e devices.Effect, ns int64) {
	x := &delayed{q: q, r: *r, cmd: cmd, effect: e}
	// Entered while the queue still waits for the chain, so that a reset cannot miss it.
	l.add(x, ns, func() { x.at = q.Detach(c) })
}

// add enters a request. The caller's detach is called with the lock held.
func (l *delays) add(x *delayed, ns int64, detach func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	detach()
	if l.closed {
		return
	}
	clock := l.d.o.Clock
	x.due = clock.Now() + max(ns, 0)
	x.timer = clock.NewTimer(func() { l.expired(x) })
	l.all[x] = struct{}{}
	x.timer.Set(x.due)
}

// retry is how long a request waits that is due while its queue stands still, in ns.
const retry = 1_000_000

// expired carries a request out that is due.
func (l *delays) expired(x *delayed) {
	l.mu.Lock()
	_, due := l.all[x]
	if !due || l.closed {
		l.mu.Unlock()
		return
	}
	c := x.q.Attach(x.at)
	if c == nil && x.q.Valid(x.at) {
		x.timer.Set(l.d.o.Clock.Now() + retry)
		l.mu.Unlock()
		return
	}
	delete(l.all, x)
	l.mu.Unlock()
	if c != nil {
		l.d.perform(x.q, c, &x.r, x.cmd, &x.effect)
	}
}

// forget drops all requests: the device is reset.
func (l *delays) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := range l.all {
		x.timer.Stop()
	}
	clear(l.all)
}

// close is forget, for good.
func (l *delays) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.forget()
}
