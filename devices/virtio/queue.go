package virtio

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"dfemu/devices"
)

// ring is one of the two formats of virtqueues. Its methods are called with the
// queue's lock held.
type ring interface {
	// pop takes the next chain into c and reports whether there was one.
	pop(c *Chain) (bool, error)
	// more tells whether the driver has made another chain available.
	more() bool
	// foresee reports breaches in the chains that were made available and not taken yet, calls look with each in c, and lets
	// them be taken. It reports whether there are none beyond them.
	foresee(c *Chain, look func(c *Chain)) (all bool, err error)
	// push gives chains back.
	push(l []*Chain)
	// wantsInterrupt tells whether the driver is to be told of the chains
	// pushed since it was last asked.
	wantsInterrupt() bool
	// setNotify tells the driver whether to notify the device of new chains.
	setNotify(on bool)
	save() [2]uint16
	restore(s [2]uint16)
}

// A Queue is a virtqueue. Its methods may be called from any goroutine.
type Queue struct {
	dev   *Device
	index int
	max   int // largest size
	mem   devices.Memory

	mu       sync.Mutex
	idle     sync.Cond // signalled when inflight falls to 0
	ring     ring      // nil while not enabled
	features uint64
	live     bool // DRIVER_OK, and the ring makes sense
	paused   bool // nothing new is taken
	inflight int  // chains between Pop and Push
	free     []*Chain
	done     []*Chain // completed, not yet in the ring
	flushing bool     // a goroutine is moving done into the ring
	spare    []*Chain
	held     []held // completions that a fault put off
	scratch  []byte // copy of an indirect table

	cfg    queueConfig   // guarded by Device.mu
	vector atomic.Uint32 // follows cfg.vector
}

// queueConfig is what the driver writes into the common configuration.
type queueConfig struct {
	size                 uint16
	vector               uint16
	enabled              bool
	desc, driver, device uint64
	unread               bool // the vector was written and not yet read
}

// noVector is the vector number that means none (section 4.1.5.1.2).
const noVector = 0xffff

func newQueue(d *Device, index, size int) *Queue {
	q := &Queue{dev: d, index: index, max: size, mem: d.fn.DMA()}
	q.idle.L = &q.mu
	q.reset()
	return q
}

// reset puts the configuration into its state after reset. The caller holds
// Device.mu.
func (q *Queue) reset() {
	q.cfg = queueConfig{size: uint16(q.max), vector: noVector}
	q.vector.Store(noVector)
}

// enable sets the ring up as configured. c is a copy of cfg.
func (q *Queue) enable(c queueConfig, features uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.size == 0 || int(c.size) > q.max {
		return Rule("4.1.4.3", "%d descriptors: must be 1 to %d", c.size, q.max)
	}
	q.features = features
	eventIdx := features&FeatureEventIdx != 0
	var r ring
	var err error
	if features&FeatureRingPacked != 0 {
		r, err = newPackedRing(q, int(c.size), c.desc, c.driver, c.device, eventIdx)
	} else {
		r, err = newSplitRing(q, int(c.size), c.desc, c.driver, c.device, eventIdx)
	}
	if err != nil {
		return err
	}
	q.ring = r
	return nil
}

// setLive lets chains be taken.
func (q *Queue) setLive() {
	q.mu.Lock()
	q.live = q.ring != nil
	q.mu.Unlock()
}

// stop takes no more chains, waits until those taken are given back, and
// forgets the ring.
func (q *Queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.live = false
	for q.inflight > 0 {
		q.idle.Wait()
	}
	q.ring, q.held = nil, nil
}

// pause takes no more chains until resume, and waits until those taken are
// given back. Completions that a fault holds back are posted.
func (q *Queue) pause() {
	q.mu.Lock()
	q.paused = true
	for q.inflight > 0 {
		q.idle.Wait()
	}
	q.postHeld(func(held) bool { return true })
	q.flush()
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.inflight > 0 {
		q.idle.Wait()
	}
}

func (q *Queue) resume() {
	q.mu.Lock()
	q.paused = false
	q.mu.Unlock()
}

// usable tells whether the ring may be touched. The caller holds mu.
func (q *Queue) usable() bool {
	return q.live && !q.paused && q.dev.fn.BusMaster()
}

// Index is the queue's number.
func (q *Queue) Index() int { return q.index }

// Pop takes the next chain the driver has made available. It returns nil if
// there is none, or while the queue stands still (paused, reset, broken). A
// chain taken must be given back with [Queue.Push] without waiting for the
// guest: pausing and reset wait for it.
func (q *Queue) Pop() *Chain {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.usable() {
		return nil
	}
	return q.pop()
}

func (q *Queue) pop() *Chain {
	c := q.chain()
	ok, err := q.ring.pop(c)
	if err != nil {
		q.broken(err)
	}
	if !ok {
		q.free = append(q.free, c)
		return nil
	}
	q.inflight++
	return c
}

// chain returns an empty chain.
func (q *Queue) chain() *Chain {
	n := len(q.free)
	if n == 0 {
		return &Chain{q: q}
	}
	c := q.free[n-1]
	q.free = q.free[:n-1]
	c.clear()
	return c
}

// Broken stops the device because the driver broke the rules in a way that no
// answer exists for.
func (q *Queue) Broken(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.broken(err)
}

func (q *Queue) broken(err error) {
	if q.live {
		q.dev.Breach(q.index, err)
	}
	q.live = false
	q.dev.needsReset(fmt.Errorf("queue %d: %w", q.index, err))
}

// Next is Pop for those that take all chains there are. It tells the driver to
// notify of new chains only when none is left; more reports that there is
// another one, for which no notification may come.
func (q *Queue) Next() (c *Chain, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.usable() {
		if c = q.pop(); c != nil {
			if more = q.usable() && q.ring.more(); !more {
				q.ring.setNotify(true)
				more = q.ring.more()
			} else {
				q.ring.setNotify(false)
			}
			return c, more
		}
		if !q.usable() {
			break
		}
		q.ring.setNotify(true)
		if !q.ring.more() {
			break
		}
	}
	return nil, false
}

// SetNotify tells the driver whether it needs to notify the device of new
// chains. After turning notifications on it reports whether chains are
// available already, for which no notification may come.
func (q *Queue) SetNotify(on bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.usable() {
		return false
	}
	q.ring.setNotify(on)
	return on && q.ring.more()
}

// Push gives a chain back, with written bytes stored in its device-writable
// part from its start, and interrupts the driver if it wants that. Chains that
// are completed while another goroutine is in Push are given back by that one,
// in one step.
func (q *Queue) Push(c *Chain, written uint32) {
	c.len, c.quiet = written, false
	q.mu.Lock()
	q.done = append(q.done, c)
	q.flush()
}

// flush moves done into the ring and interrupts the driver unless all chains are
// quiet, or leaves both to the goroutine that is at it already. The caller holds
// mu; flush releases it.
func (q *Queue) flush() {
	if q.flushing {
		q.mu.Unlock()
		return
	}
	q.flushing = true
	for len(q.done) > 0 {
		l := q.done
		q.done, q.spare = q.spare[:0], nil
		signal := false
		// A broken ring is left alone; so is one that is no longer reachable.
		if q.live && q.dev.fn.BusMaster() {
			q.ring.push(l)
			signal = q.ring.wantsInterrupt() && slices.ContainsFunc(l, func(c *Chain) bool { return !c.quiet })
			if len(q.held) != 0 {
				q.countHeld(len(l))
			}
		}
		n := len(l)
		q.free = append(q.free, l...)
		clear(l)
		q.spare = l
		if signal {
			q.mu.Unlock()
			q.dev.interruptQueue(q)
			q.mu.Lock()
		}
		q.inflight -= n
	}
	q.flushing = false
	if q.inflight == 0 {
		q.idle.Broadcast()
	}
	q.mu.Unlock()
}
