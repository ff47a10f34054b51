package virtio

import "dfemu/devices"

// What is checked at the instruction that notifies the device, for those who halt the machine there. Chains are taken by
// others, later; while somebody wants to know promptly they wait until a notification has told of them, and every chain is to be told of.

// A Foreseer is a [Model] that can tell by a chain alone whether its driver breaks the specification.
type Foreseer interface {
	// Foresee reports what is wrong with a chain that was made available. It has no other effects, and reads of the guest's memory
	// only what is in the chain; whoever takes the chain looks at it again. It is called by the processor that notified the
	// device, with the queue's lock held.
	Foresee(queue int, c *Chain)
}

// prompt tells whether somebody wants to know of breaches before the notification's access ends.
func (q *Queue) prompt() bool { return q.dev.fn.Probe().Wants(devices.ClassPrompt) }

// foresee looks at the chains that the driver has made available since, and lets them be taken.
func (q *Queue) foresee() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.live || !q.dev.fn.BusMaster() {
		return
	}
	look := func(*Chain) {}
	if f, ok := q.dev.model.(Foreseer); ok {
		look = func(c *Chain) { f.Foresee(q.index, c) }
	}
	c := q.chain()
	defer func() { q.free = append(q.free, c) }()
	// Another processor may have made chains available before it could know that a notification is wanted. It cannot go on with
	// that without end: there is room for so many.
	for range q.max {
		all, err := q.ring.foresee(c, look)
		if err != nil {
			q.dev.Breach(q.index, err)
		}
		if all {
			return
		}
	}
}
