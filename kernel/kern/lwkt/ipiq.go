package lwkt

import (
	"math/bits"
	"sync/atomic"
)

// ringSize is the number of messages between a pair of CPUs.
const ringSize = 256

// message is a call to be made on another CPU.
type message struct {
	fn   IPIFunc
	a, b uint64
}

// Ring carries messages from one CPU to one other. Indices run freely.
type Ring struct {
	windex atomic.Uint32 // written by the source
	_      [60]byte
	rindex atomic.Uint32 // taken out by the target
	xindex atomic.Uint32 // executed by the target
	depth  int32         // executions in progress; the target's
	_      [52]byte
	slots  [ringSize]message
}

func (s *System) ring(source, target int) *Ring { return &s.rings[target*len(s.cpus)+source] }

// Send calls fn(a, b) on another CPU, soon, and on this one at once. It returns a
// sequence number for Wait.
func (c *CPU) Send(target int, fn IPIFunc, a, b uint64) uint32 {
	return c.send(target, fn, a, b, false)
}

// SendPassive is Send without an interrupt, unless the ring fills up: the call is made when the target
// looks at its queues for another reason.
func (c *CPU) SendPassive(target int, fn IPIFunc, a, b uint64) uint32 {
	return c.send(target, fn, a, b, true)
}

func (c *CPU) send(target int, fn IPIFunc, a, b uint64, passive bool) uint32 {
	if target == c.id {
		c.sys.funcs[fn](c, a, b)
		return 0
	}
	r := c.sys.ring(c.id, target)
	t := &c.sys.cpus[target]
	limit := uint32(ringSize / 2)
	if c.ipiDepth > 0 {
		limit = ringSize - 8
	}
	w := r.windex.Load()
	for w-r.rindex.Load() >= limit {
		// The target may wait for us in the same way: take our own messages out.
		t.kick(c)
		c.ProcessIPIs()
		c.sys.p.Pause(c.id)
		w = r.windex.Load()
	}
	r.slots[w%ringSize] = message{fn, a, b}
	r.windex.Store(w + 1)
	t.sources[c.id/64].Or(1 << (c.id % 64))
	c.Stats.IPIsSent++
	if !passive || w+1-r.rindex.Load() > ringSize/4 {
		t.kick(c)
	}
	return w + 1
}

// kick interrupts the CPU t unless it has been already, or looks by itself.
func (t *CPU) kick(c *CPU) {
	if t.polling.Load() == 0 && t.ipiPending.CompareAndSwap(0, 1) {
		c.Stats.IPIHard++
		c.sys.p.SendIPI(t.id)
	}
}

// SendMask sends to each CPU of a set, the ones after the sender first and
// the sender last.
func (c *CPU) SendMask(has func(cpu int) bool, fn IPIFunc, a, b uint64) {
	n := len(c.sys.cpus)
	for i := 1; i <= n; i++ {
		if t := (c.id + i) % n; has(t) {
			c.Send(t, fn, a, b)
		}
	}
}

// slowIPI is how long a CPU may take to execute a message that is waited for before that is told, in nanoseconds.
const slowIPI = 1_000_000_000

// Wait returns when the message of that number to a CPU has been executed. If that takes long the platform is told of it, once.
func (c *CPU) Wait(target int, seq uint32) {
	if target == c.id {
		return
	}
	r := c.sys.ring(c.id, target)
	if int32(r.xindex.Load()-seq) >= 0 {
		return
	}
	for since, told := c.sys.p.Now(), false; int32(r.xindex.Load()-seq) < 0; {
		before := c.sys.p.Now()
		if !told && before-since > slowIPI {
			told = true
			c.sys.p.Slow(target)
		}
		c.ProcessIPIs()
		since += c.sys.p.Now() - before // what others have it do, as to stand still, does not count
		c.sys.p.Pause(c.id)
	}
}

// HasIPIs tells whether messages wait, or an interrupt for them was sent, which ProcessIPIs must
// see even if the messages have been executed meanwhile: only then is another one sent.
func (c *CPU) HasIPIs() bool {
	if c.ipiPending.Load() != 0 {
		return true
	}
	for w := range c.sources {
		if c.sources[w].Load() != 0 {
			return true
		}
	}
	return false
}

// ProcessIPIs executes all messages sent to this CPU.
func (c *CPU) ProcessIPIs() {
	c.ipiPending.Store(0)
	c.ipiDepth++
	for w := range c.sources {
		for v := c.sources[w].Swap(0); v != 0; v &= v - 1 {
			c.drain(w*64 + bits.TrailingZeros64(v))
		}
	}
	c.ipiDepth--
}

func (c *CPU) drain(source int) {
	r := c.sys.ring(source, c.id)
	for {
		i := r.rindex.Load()
		if i == r.windex.Load() {
			return
		}
		m := r.slots[i%ringSize]
		r.rindex.Store(i + 1)
		c.Stats.IPIsProcessed++
		r.depth++
		c.sys.funcs[m.fn](c, m.a, m.b)
		r.depth--
		// A call that is nested in another completes with the outer one.
		if r.depth == 0 {
			r.xindex.Store(r.rindex.Load())
		}
	}
}

// Polling marks that the CPU looks at its queues anyway, so that senders spare the
// interrupt; calls nest.
func (c *CPU) Polling(on bool) {
	if on {
		c.polling.Add(1)
	} else {
		c.polling.Add(-1)
	}
}
