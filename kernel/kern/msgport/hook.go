package msgport

// Hooks change what a port does. Each gets the port's own way as next, which it may call, or not.
type Hooks struct {
	// Put takes a message that was sent: it returns ErrAsync if it was queued, else the answer, which the
	// sender then has without a switch. It runs in the sender's thread.
	Put func(m *Msg, next func(*Msg) error) error
	// Get returns the next message, or nil. It runs in the thread that asks, each time that does, also when there is
	// nothing in the queue: so it may poll a device.
	Get func(next func() *Msg) *Msg
	// Reply takes a message back.
	Reply func(m *Msg, next func(*Msg))
}

// Hook puts hooks in front of what the port does; hooks that are nil leave it as it is. The latest comes first. It is
// called before the port is used.
func (p *Port) Hook(h Hooks) { p.b = hooked{p.b, h} }

type hooked struct {
	backend
	h Hooks
}

func (b hooked) put(p *Port, m *Msg) error {
	if b.h.Put == nil {
		return b.backend.put(p, m)
	}
	return b.h.Put(m, func(m *Msg) error { return b.backend.put(p, m) })
}

func (b hooked) get(p *Port) *Msg {
	if b.h.Get == nil {
		return b.backend.get(p)
	}
	return b.h.Get(func() *Msg { return b.backend.get(p) })
}

func (b hooked) reply(p *Port, m *Msg) {
	if b.h.Reply == nil {
		b.backend.reply(p, m)
		return
	}
	b.h.Reply(m, func(m *Msg) { b.backend.reply(p, m) })
}

// Poke makes a thread that waits for the port's messages look again: its Get hook may have something.
func (p *Port) Poke() { p.notify() }
