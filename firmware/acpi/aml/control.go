package aml

func seq(op []byte, args ...Term) Term {
	return func(e *Encoder) {
		e.put(op)
		e.terms(args)
	}
}

// If runs body when cond is not zero.
func If(cond Term, body ...Term) Term {
	return func(e *Encoder) {
		e.pkg([]byte{0xa0}, func(in *Encoder) {
			cond(in)
			in.terms(body)
		})
	}
}

// Else must directly follow an If.
func Else(body ...Term) Term {
	return func(e *Encoder) { e.pkg([]byte{0xa1}, func(in *Encoder) { in.terms(body) }) }
}

// While runs body as long as cond is not zero.
func While(cond Term, body ...Term) Term {
	return func(e *Encoder) {
		e.pkg([]byte{0xa2}, func(in *Encoder) {
			cond(in)
			in.terms(body)
		})
	}
}

// Break leaves the innermost While.
func Break() Term { return seq([]byte{0xa5}) }

// Continue starts the next turn of the innermost While.
func Continue() Term { return seq([]byte{0x9f}) }

// Noop does nothing.
func Noop() Term { return seq([]byte{0xa3}) }

// Return leaves the method with a value.
func Return(v Term) Term { return seq([]byte{0xa4}, v) }

// Notify tells the operating system that value happened to the object.
func Notify(object, value Term) Term { return seq([]byte{0x86}, object, value) }

// Sleep gives up the processor for a number of milliseconds.
func Sleep(ms Term) Term { return seq([]byte{0x5b, 0x22}, ms) }

// Stall spins for a number of microseconds, at most 100.
func Stall(us Term) Term { return seq([]byte{0x5b, 0x21}, us) }

// Acquire takes a mutex, waiting up to timeout milliseconds; 0xFFFF waits for
// ever. Its value is not zero when the time ran out.
func Acquire(mutex Term, timeout uint16) Term {
	return seq([]byte{0x5b, 0x23}, mutex, func(e *Encoder) { e.u16(timeout) })
}

// Release gives a mutex back.
func Release(mutex Term) Term { return seq([]byte{0x5b, 0x27}, mutex) }

// Signal signals an event.
func Signal(event Term) Term { return seq([]byte{0x5b, 0x24}, event) }

// Wait waits for an event up to timeout milliseconds.
func Wait(event, timeout Term) Term { return seq([]byte{0x5b, 0x25}, event, timeout) }
