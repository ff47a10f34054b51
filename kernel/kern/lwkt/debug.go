package lwkt

// Used by debuggers, while all that could change what they look at stands still.

// TokenAt returns the i-th token of a thread, how it is taken, and whether it is held or waited for.
func (t *Thread) TokenAt(i int) (tok *Token, mode Mode, held bool) {
	if i < 0 || i >= t.ntoks {
		return nil, 0, false
	}
	r := &t.toks[i]
	return r.tok.token(), r.mode, r.held
}

// RingState returns the indices of the messages from one CPU to another: written, taken out, executed.
func (s *System) RingState(source, target int) (w, r, x uint32) {
	g := s.ring(source, target)
	return g.windex.Load(), g.rindex.Load(), g.xindex.Load()
}
