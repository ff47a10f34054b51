package virtio

import "dfemu/devices"

// What is checked at the instruction that notifies the device, for those who halt the machine there. Chains are taken by
// others, later; while somebody wants to know promptly they wait until a notification has told of them, and every chain is to be told of.

// A Foreseer is a [Model] that can tell whether its driver breaks the specification by what it has made available.
type Foreseer interface {
	// Foresee reports what is wrong with a chain that was made available, and notes what it changes for those after it. It has no
	// other effects, and reads of the guest's memory only what is in the chain. It is called once for each chain of a queue, in their
	// order, by the processor that notified the device, with the queue's lock held. Whoever takes the chain may look at it again.
	Foresee(queue int, c *Chain)
}

// Prompt tells whether somebody wants to know of breaches before a notification's access ends. Then a chain is foreseen before it is taken.
func (d *Device) Prompt() bool { return d.fn.Probe().Wants(devices.ClassPrompt) }

func (q *Queue) prompt() bool { return q.dev.Prompt() }

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
