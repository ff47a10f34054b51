package net

import (
	"dfemu/devices"
	"dfemu/devices/virtio"
)

// posting is a batch of completions under way.
type posting struct {
	chains   []*virtio.Chain
	special  []special
	effect   devices.Effect // on the chains of the next add
	finished []finished
}

// special is a completion disturbed by a fault. It is posted by itself.
type special struct {
	chain  *virtio.Chain
	effect devices.Effect
	at     int // completions of the batch before it
}

// finished is a command whose end is to be reported.
type finished struct {
	c *devices.Command
	s devices.Status
}

// disturbed tells whether an effect concerns the completion.
func disturbed(e *devices.Effect) bool {
	return e.Hang || e.Drop || e.Hold > 0 || e.LoseInterrupt || e.ExtraInterrupt
}

// add completes chains, all of one frame.
func (b *posting) add(l []*virtio.Chain) {
	if !disturbed(&b.effect) {
		b.chains = append(b.chains, l...)
		return
	}
	for _, c := range l {
		b.special = append(b.special, special{c, b.effect, len(b.chains)})
	}
}

// divert takes chain i of the batch out of it, to be posted as the effect says.
func (b *posting) divert(i int, e devices.Effect) {
	b.special = append(b.special, special{b.chains[i], e, i})
	b.chains = append(b.chains[:i], b.chains[i+1:]...)
}

// finish gives the chains back.
func (b *posting) finish(q *virtio.Queue) {
	// What is held back waits for completions of this batch already.
	for _, s := range b.special {
		if e := s.effect; e.Hold > 0 && !e.Hang && !e.Drop {
			e.Hold += s.at
			b.one(q, s.chain, e)
		}
	}
	q.PushAll(b.chains, false)
	for _, s := range b.special {
		if e := s.effect; e.Hold <= 0 || e.Hang || e.Drop {
			b.one(q, s.chain, e)
		}
	}
	b.chains, b.special = b.chains[:0], b.special[:0]
	if len(b.finished) != 0 {
		p := q.Device().Function().Probe()
		for _, f := range b.finished {
			p.Completion(f.c, f.s)
		}
		b.finished = b.finished[:0]
	}
}

// one gives back a chain whose completion is disturbed. That frames are duplicated has been
// seen to.
func (b *posting) one(q *virtio.Queue, c *virtio.Chain, e devices.Effect) {
	e.Duplicate = false
	q.Finish(c, c.Written(), &e)
}
