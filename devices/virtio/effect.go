package virtio

import (
	"fmt"
	"slices"

	"dfemu/devices"
)

// What faults do to completions.

// held is a completion that a fault put off.
type held struct {
	c     *Chain
	after int // completions that go first
}

// Finish is [Queue.Push] with what a fault does to the completion: it is lost,
// posted twice or later than others, without its interrupt or with one too many. The
// other parts of the effect are the caller's.
func (q *Queue) Finish(c *Chain, written uint32, e *devices.Effect) {
	c.len, c.quiet = written, e.LoseInterrupt
	q.mu.Lock()
	if e.ExtraInterrupt {
		q.inflight++ // whoever waits for quiet waits for it, too
	}
	l := []*Chain{c}
	if e.Duplicate {
		l = append(l, q.again(c))
	}
	switch {
	case e.Hang || e.Drop:
		q.release(len(l))
		q.mu.Unlock()
	case e.Hold > 0:
		for _, c := range l {
			q.held = append(q.held, held{c, e.Hold})
		}
		q.release(len(l))
		q.mu.Unlock()
	default:
		q.done = append(q.done, l...)
		q.flush()
	}
	if e.ExtraInterrupt {
		q.Interrupt()
		q.mu.Lock()
		q.release(1)
		q.mu.Unlock()
	}
}

// countHeld takes n completions into account and posts what was waiting for
// them. The caller holds mu.
func (q *Queue) countHeld(n int) {
	for i := range q.held {
		q.held[i].after -= n
	}
	q.postHeld(func(h held) bool { return h.after <= 0 })
}

// postHeld moves held completions to those that are done. The caller holds mu.
func (q *Queue) postHeld(due func(held) bool) {
	q.held = slices.DeleteFunc(q.held, func(h held) bool {
		if !due(h) {
			return false
		}
		q.inflight++
		q.done = append(q.done, h.c)
		return true
	})
}

// ChainState is a [Detached] chain in a saved state: where its buffers are, and
// how it is given back.
type ChainState struct {
	ID, Count   uint16
	Descriptors int
	Out, In     []Segment
}

// State describes the chain for a saved state.
func (d Detached) State() ChainState {
	return ChainState{d.c.id, d.c.count, d.c.descs, slices.Clone(d.c.Out), slices.Clone(d.c.In)}
}

// Chain is the chain itself.
func (d Detached) Chain() *Chain { return d.c }

// Valid tells whether the chain is still the device's: that the queue has not
// been reset since.
func (q *Queue) Valid(d Detached) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ring != nil && q.ring == d.r
}

// Adopt makes a detached chain of a saved state, for a queue whose state has been
// restored already. The state is checked.
func (q *Queue) Adopt(s ChainState) (Detached, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := uint16(0)
	switch r := q.ring.(type) {
	case *splitRing:
		size = r.num
	case *packedRing:
		size = r.num
	}
	if s.Count < 1 || s.Count > size || len(s.Out)+len(s.In) > maxSegments {
		return Detached{}, fmt.Errorf("queue %d: a chain of %d descriptors with %d buffers is not possible in a queue of %d", q.index, s.Count, len(s.Out)+len(s.In), size)
	}
	for _, l := range [][]Segment{s.Out, s.In} {
		for _, b := range l {
			if b.Addr+uint64(b.Len) < b.Addr {
				return Detached{}, fmt.Errorf("queue %d: a buffer of %d bytes at %#x wraps around", q.index, b.Len, b.Addr)
			}
		}
	}
	c := &Chain{Out: slices.Clone(s.Out), In: slices.Clone(s.In), q: q, id: s.ID, count: s.Count, descs: s.Descriptors}
	return Detached{c, q.ring}, nil
}
