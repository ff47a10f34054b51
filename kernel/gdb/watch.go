package gdb

// Watch is what a debug register of the processor looks for.
type Watch struct {
	Kind WatchKind
	Addr uint64 // a multiple of Len
	Len  int    // 1, 2, 4 or 8 bytes
}

// WatchKind is a kind of access, by gdb's numbers; 0 is none.
type WatchKind uint8

// Kinds of access. Processors do not know reading alone.
const (
	WatchExec   WatchKind = 1
	WatchWrite  WatchKind = 2
	watchRead   WatchKind = 3
	WatchAccess WatchKind = 4
)

// NWatches is how many debug registers there are.
const NWatches = 4

// watch is a debug register in use: it sees to a piece of what gdb asked for.
type watch struct {
	Watch
	base, n uint64
}

// piece is how many bytes from an address on, of n, one register can look at.
func piece(a, n uint64) uint64 {
	for size := uint64(8); size > 1; size /= 2 {
		if a%size == 0 && n >= size {
			return size
		}
	}
	return 1
}

// watchpoint sets or takes away what gdb calls a hardware breakpoint, of which the length is 1, or a watchpoint.
func (s *Server) watchpoint(kind WatchKind, a, n uint64, set bool) {
	if kind == WatchExec {
		n = 1
	}
	if n == 0 || a+n < a {
		s.fail(errArg)
		return
	}
	there := false
	for i := range s.watches {
		if w := &s.watches[i]; w.Kind == kind && w.base == a && w.n == n {
			there = true
			if !set {
				*w = watch{}
				s.m.Watch(i, Watch{})
			}
		}
	}
	if !set || there {
		s.ok()
		return
	}
	free, need := 0, 0
	for i := range s.watches {
		if s.watches[i].Kind == 0 {
			free++
		}
	}
	for at := a; at < a+n && need <= free; at += piece(at, a+n-at) {
		if !s.m.Mapped(at) {
			s.fail(errFault)
			return
		}
		need++
	}
	if need > free {
		s.fail(errFull)
		return
	}
	at := a
	for i := range s.watches {
		if s.watches[i].Kind != 0 || at == a+n {
			continue
		}
		size := piece(at, a+n-at)
		s.watches[i] = watch{Watch{kind, at, int(size)}, a, n}
		s.m.Watch(i, s.watches[i].Watch)
		at += size
	}
	s.ok()
}

// unwatch gives all registers up.
func (s *Server) unwatch() {
	for i := range s.watches {
		if s.watches[i].Kind != 0 {
			s.watches[i] = watch{}
			s.m.Watch(i, Watch{})
		}
	}
}

// hit returns the first of the registers that have seen something and that gdb still wants.
func (s *Server) hit() (w Watch, ok bool) {
	seen := s.m.Hits()
	for i := range s.watches {
		if seen>>i&1 != 0 && s.watches[i].Kind != 0 {
			return s.watches[i].Watch, true
		}
	}
	return Watch{}, false
}
