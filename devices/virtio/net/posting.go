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
func (b *posting) finish(q *virtio.Queue, h *holdQueue) {
	n := len(b.chains)
	q.PushAll(b.chains, false)
	for _, s := range b.special {
		switch e := &s.effect; {
		case e.Hang || e.Drop:
			q.Detach(s.chain)
		case e.Hold > 0:
			h.held = append(h.held, held{q.Detach(s.chain), e.Hold + s.at})
		default:
			q.PushAll([]*virtio.Chain{s.chain}, e.LoseInterrupt)
			if e.ExtraInterrupt {
				q.Interrupt()
			}
			n++
		}
	}
	if len(h.held) != 0 {
		h.count(n)
		h.release(false)
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

// holdQueue has the completions that a fault put off.
type holdQueue struct {
	q    *virtio.Queue
	held []held
}

type held struct {
	d     virtio.Detached
	after int // completions that go first
}

func (h *holdQueue) count(n int) {
	for i := range h.held {
		h.held[i].after -= n
	}
}

// release posts those that are due, or all.
func (h *holdQueue) release(all bool) {
	rest := h.held[:0]
	for _, x := range h.held {
		if x.after > 0 && !all {
			rest = append(rest, x)
			continue
		}
		if c := h.q.Attach(x.d); c != nil {
			h.q.PushAll([]*virtio.Chain{c}, false)
		}
	}
	clear(h.held[len(rest):])
	h.held = rest
}
