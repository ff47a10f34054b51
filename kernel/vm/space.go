package vm

// Prot is what may be done with memory.
type Prot uint8

// Protections.
const (
	Read  Prot = 1
	Write Prot = 2
	Exec  Prot = 4
)

// Region is a range of addresses that is in use.
type Region struct {
	Start, End uint64
	Prot       Prot
}

// Space says what an address space holds: regions in order, none of which touch or
// overlap unless their protections differ.
type Space struct {
	regions []Region // of which n are used
	n       int
	lo, hi  uint64
}

// Init makes an empty space of the addresses from lo to hi that can hold len(regions) regions.
func (s *Space) Init(regions []Region, lo, hi uint64) { *s = Space{regions: regions, lo: lo, hi: hi} }

// Len is the number of regions.
func (s *Space) Len() int { return s.n }

// At returns a region by its place.
func (s *Space) At(i int) Region { return s.regions[i] }

// search returns the place of the first region that ends after a.
func (s *Space) search(a uint64) int {
	lo, hi := 0, s.n
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		if s.regions[m].End > a {
			hi = m
		} else {
			lo = m + 1
		}
	}
	return lo
}

// Lookup returns the protection at an address.
func (s *Space) Lookup(a uint64) (Prot, bool) {
	if i := s.search(a); i < s.n && s.regions[i].Start <= a {
		return s.regions[i].Prot, true
	}
	return 0, false
}

// Within tells whether a range lies in the space.
func (s *Space) Within(start, end uint64) bool { return s.lo <= start && start < end && end <= s.hi }

// Empty tells whether nothing of a range is in use.
func (s *Space) Empty(start, end uint64) bool {
	i := s.search(start)
	return i == s.n || s.regions[i].Start >= end
}

// Find returns the lowest address, aligned to align, of size free bytes from start on, or 0.
func (s *Space) Find(start, size, align uint64) uint64 {
	a := (max(start, s.lo) + align - 1) &^ (align - 1)
	for i := s.search(a); ; i++ {
		if a+size > s.hi || a+size < a {
			return 0
		}
		if i == s.n || a+size <= s.regions[i].Start {
			return a
		}
		if e := s.regions[i].End; e > a {
			a = (e + align - 1) &^ (align - 1)
		}
	}
}

// Set puts a range into use with a protection, whatever was there. It returns false if
// there is no room for another region; the range is then out of use, or as it was.
func (s *Space) Set(start, end uint64, p Prot) bool {
	if !s.Clear(start, end) {
		return false
	}
	i := s.search(start)
	before := i > 0 && s.regions[i-1].End == start && s.regions[i-1].Prot == p
	after := i < s.n && s.regions[i].Start == end && s.regions[i].Prot == p
	switch {
	case before && after:
		s.regions[i-1].End = s.regions[i].End
		s.remove(i)
	case before:
		s.regions[i-1].End = end
	case after:
		s.regions[i].Start = start
	case s.n == len(s.regions):
		return false
	default:
		s.insert(i, Region{start, end, p})
	}
	return true
}

// Clear takes a range out of use. It returns false if a region would have to be split and there is no
// room.
func (s *Space) Clear(start, end uint64) bool {
	for i := s.search(start); i < s.n && s.regions[i].Start < end; {
		r := &s.regions[i]
		switch {
		case r.Start >= start && r.End <= end:
			s.remove(i)
			continue
		case r.Start < start && r.End > end:
			if s.n == len(s.regions) {
				return false
			}
			s.insert(i+1, Region{end, r.End, r.Prot})
			r.End = start
			return true
		case r.Start < start:
			r.End = start
		default:
			r.Start = end
		}
		i++
	}
	return true
}

func (s *Space) insert(i int, r Region) {
	for j := s.n; j > i; j-- {
		s.regions[j] = s.regions[j-1]
	}
	s.regions[i] = r
	s.n++
}

func (s *Space) remove(i int) {
	s.n--
	for j := i; j < s.n; j++ {
		s.regions[j] = s.regions[j+1]
	}
}
