package devices

import (
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// A Space is an address space of the machine (ports, or memory-mapped I/O)
// into which regions are mapped. Lookups take no lock: they read a snapshot,
// so that a handler may itself map and unmap regions (a BAR that moves).
// The zero Space is empty and ready to use.
type Space struct {
	mu   sync.Mutex
	maps atomic.Pointer[[]Mapping]

	// Trace, when not nil, sees every access after it was served. It must be
	// set before the first access.
	Trace func(a Access)
}

// A Mapping is one region at one place in a [Space].
type Mapping struct {
	Name     string // for traces and listings, as "ahci0 BAR5"
	Base     uint64 // address of offset 0
	Size     uint64 // bytes, never 0
	Priority int    // where mappings overlap the higher one answers
	Region   Region
}

// An Access describes one served access, for traces.
type Access struct {
	Mapping *Mapping // nil: nothing answered
	Addr    uint64
	Size    int
	Write   bool
	Value   uint64
	Err     error
}

// Map adds a mapping and returns a function that removes it again.
func (s *Space) Map(m Mapping) (unmap func(), err error) {
	if m.Size == 0 || m.Base+m.Size-1 < m.Base {
		return nil, fmt.Errorf("map %s at %#x: impossible size %#x", m.Name, m.Base, m.Size)
	}
	p := &m
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(append(slices.Clone(s.load()), *p))
	var once sync.Once
	return func() {
		once.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			l := slices.Clone(s.load())
			i := slices.IndexFunc(l, func(o Mapping) bool {
				return o.Base == m.Base && o.Size == m.Size && o.Name == m.Name && o.Priority == m.Priority
			})
			if i >= 0 {
				s.store(slices.Delete(l, i, i+1))
			}
		})
	}, nil
}

// Mappings returns what is mapped, ordered by base address.
func (s *Space) Mappings() []Mapping { return slices.Clone(s.load()) }

func (s *Space) load() []Mapping {
	if p := s.maps.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *Space) store(l []Mapping) {
	sort.SliceStable(l, func(i, j int) bool { return l[i].Base < l[j].Base })
	s.maps.Store(&l)
}

// Find returns the mapping that answers the size bytes at addr, or nil.
func (s *Space) Find(addr uint64, size int) *Mapping {
	l := s.load()
	n := sort.Search(len(l), func(i int) bool { return l[i].Base > addr })
	var best *Mapping
	for i := n - 1; i >= 0; i-- {
		m := &l[i]
		if addr-m.Base < m.Size && m.Size-(addr-m.Base) >= uint64(size) &&
			(best == nil || m.Priority > best.Priority) {
			best = m
		}
	}
	return best
}

// Read serves a read of size bytes (1, 2, 4, 8) at addr. Where nothing answers, or
// the device refuses, it returns all ones.
func (s *Space) Read(addr uint64, size int) uint64 {
	m := s.Find(addr, size)
	v, err := uint64(0), ErrNoRegister
	if m != nil {
		v, err = m.Region.Read(addr-m.Base, size)
	}
	if err != nil {
		v = Ones(size)
	}
	v &= Ones(size)
	if s.Trace != nil {
		s.Trace(Access{Mapping: m, Addr: addr, Size: size, Value: v, Err: err})
	}
	return v
}

// Write serves a write of the low size bytes of v at addr. Where nothing
// answers the value is lost, as on the real bus.
func (s *Space) Write(addr uint64, size int, v uint64) {
	v &= Ones(size)
	m := s.Find(addr, size)
	err := ErrNoRegister
	if m != nil {
		err = m.Region.Write(addr-m.Base, size, v)
	}
	if s.Trace != nil {
		s.Trace(Access{Mapping: m, Addr: addr, Size: size, Write: true, Value: v, Err: err})
	}
}
