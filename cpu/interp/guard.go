package interp

// Translated code looks now and then whether it is to leave: because something is pending, or because the Go runtime wants its goroutine to stop,
// which it says in the goroutine's descriptor. Both are one look at what Hot.Guard points to: the descriptor, or, when something may
// be pending, Hot.Alarm, which has in that place for good what the runtime writes there.
//
// Invariant: while a processor executes translated code with a bit of pending set, Guard points to Alarm. Whoever sets a bit from another
// goroutine sets Guard after it; the processor sees to it whenever it enters translated code, and is the only one to take it back.

const (
	// StackGuard is where in a goroutine's descriptor the runtime says that it wants the goroutine to stop: the stack limit that function
	// prologues compare with, in bytes from the start.
	StackGuard = 16
	// StackPreempt is what that is then.
	StackPreempt = -1314
)

// signal sets bits of pending. Any goroutine may call it; post wakes the processor, too.
func (c *CPU) signal(bits uint32) {
	c.pending.Or(bits)
	c.hot.Guard.Store(c.hot.alarm())
}

// setGuard makes Guard point to what it is to before translated code is entered.
func (c *CPU) setGuard() {
	h := &c.hot
	switch pending := c.pending.Load() != 0; {
	case pending == (h.Guard.Load() != h.goroutine):
	case pending:
		h.Guard.Store(h.alarm())
	default:
		h.Guard.Store(h.goroutine)
		if c.pending.Load() != 0 { // set before Guard was, and so perhaps unseen
			h.Guard.Store(h.alarm())
		}
	}
}

// initGuard is called once.
func (c *CPU) initGuard() {
	p := int64(StackPreempt)
	c.hot.Alarm[StackGuard/8] = uint64(p)
}
