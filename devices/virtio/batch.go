package virtio

// What network devices need besides Pop and Push: many chains in one step, and
// chains that go back untouched.

// ID is the identifier under which the chain is given back: the head
// descriptor's index (split) or the buffer id (packed).
func (c *Chain) ID() uint16 { return c.id }

// SetWritten states how many bytes were stored in the device-writable part, for
// [Queue.PushAll].
func (c *Chain) SetWritten(n uint32) { c.len = n }

// Written is what SetWritten was told.
func (c *Chain) Written() uint32 { return c.len }

// PopN is [Queue.Pop] for up to n chains, which are appended to l.
func (q *Queue) PopN(l []*Chain, n int) []*Chain {
	q.mu.Lock()
	defer q.mu.Unlock()
	for ; n > 0 && q.usable(); n-- {
		c := q.pop()
		if c == nil {
			break
		}
		l = append(l, c)
	}
	return l
}

// Unpop puts chains back into the ring as if they had not been taken. They must
// be the ones taken last, all by the caller.
func (q *Queue) Unpop(l []*Chain) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := len(l) - 1; i >= 0; i-- {
		c := l[i]
		switch r := q.ring.(type) {
		case *splitRing:
			r.next--
			r.busy.clear(c.id)
		case *packedRing:
			r.next = r.next.minus(c.count, r.num)
			r.busy.clear(c.id)
		}
		q.free = append(q.free, c)
	}
	q.release(len(l))
}

// minus goes n descriptors back in a ring of num.
func (p lap) minus(n, num uint16) lap {
	if n > p.i {
		return lap{uint16(uint32(p.i) + uint32(num) - uint32(n)), !p.wrap}
	}
	return lap{p.i - n, p.wrap}
}

// release ends the hold that n chains have on pausing and reset. The caller
// holds mu.
func (q *Queue) release(n int) {
	q.inflight -= n
	if q.inflight == 0 {
		q.idle.Broadcast()
	}
}

// PushAll is [Queue.Push] for several chains: the driver sees all of them at once
// or none, in their order, and is interrupted at most once. SetWritten was called on each. With
// quiet the driver is not interrupted.
func (q *Queue) PushAll(l []*Chain, quiet bool) {
	if len(l) == 0 {
		return
	}
	q.mu.Lock()
	for _, c := range l {
		c.quiet = quiet
	}
	q.done = append(q.done, l...)
	q.flush()
}

// A Detached chain belongs to the device, but pausing and reset do not wait for
// it: a completion that is lost or put off by a fault.
type Detached struct {
	c *Chain
	r ring
}

// Detach takes a chain out of the count of those that must be given back.
func (q *Queue) Detach(c *Chain) Detached {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(1)
	return Detached{c, q.ring}
}

// Attach undoes Detach. It returns nil if the queue has been reset since, or stands still.
func (q *Queue) Attach(d Detached) *Chain {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.usable() || q.ring != d.r {
		return nil
	}
	q.inflight++
	return d.c
}

// Again returns a second hold on a chain, to be given back like the first: the
// duplicate completion of a fault.
func (q *Queue) Again(c *Chain) *Chain {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.again(c)
}

func (q *Queue) again(c *Chain) *Chain {
	q.inflight++
	return &Chain{q: q, id: c.id, count: c.count, len: c.len, quiet: c.quiet}
}

// Interrupt sends the queue's interrupt, whether the driver wants one or not.
func (q *Queue) Interrupt() { q.dev.interruptQueue(q) }

// Device is the device the queue belongs to.
func (q *Queue) Device() *Device { return q.dev }
