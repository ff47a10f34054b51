package machine

import (
	"sync"

	"dfemu/devices"
)

// wiredOR joins several sources into one interrupt input: it is high while any
// of them is.
type wiredOR struct {
	mu   sync.Mutex
	high int
	out  devices.Line
}

// source returns a new source of the input.
func (w *wiredOR) source() devices.Line { return &orSource{w: w} }

type orSource struct {
	w     *wiredOR
	level bool
}

// Set implements [devices.Line].
func (s *orSource) Set(level bool) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if level == s.level {
		return
	}
	s.level = level
	if level {
		s.w.high++
	} else {
		s.w.high--
	}
	s.w.out.Set(s.w.high > 0)
}
