package balloon

import "sort"

// pageSet is a set of page numbers: runs in order that do not touch each other.
type pageSet []run

// run is the pages from first on to before end.
type run struct{ first, end uint64 }

// find returns the index of the first run that ends after page n.
func (s pageSet) find(n uint64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].end > n })
}

// has tells whether any of the pages is in the set.
func (s pageSet) has(first, n uint32) bool {
	i := s.find(uint64(first))
	return i < len(s) && s[i].first < uint64(first)+uint64(n)
}

// add puts pages into the set.
func (s *pageSet) add(first, n uint32) {
	if n == 0 {
		return
	}
	r := run{uint64(first), uint64(first) + uint64(n)}
	l := *s
	i := sort.Search(len(l), func(i int) bool { return l[i].end >= r.first })
	j := i
	for ; j < len(l) && l[j].first <= r.end; j++ {
		r.first, r.end = min(r.first, l[j].first), max(r.end, l[j].end)
	}
	if j == i {
		l = append(l, run{})
		copy(l[i+1:], l[i:])
		l[i] = r
		*s = l
		return
	}
	l[i] = r
	*s = append(l[:i+1], l[j:]...)
}

// remove takes pages out and reports whether all of them were in the set.
func (s *pageSet) remove(first, n uint32) bool {
	from, end := uint64(first), uint64(first)+uint64(n)
	l := *s
	i := l.find(from)
	whole := i < len(l) && l[i].first <= from && l[i].end >= end
	var rest []run
	j := i
	for ; j < len(l) && l[j].first < end; j++ {
		if l[j].first < from {
			rest = append(rest, run{l[j].first, from})
		}
		if l[j].end > end {
			rest = append(rest, run{end, l[j].end})
		}
	}
	switch k := j - i; {
	case len(rest) <= k:
		copy(l[i:], rest)
		*s = append(l[:i+len(rest)], l[j:]...)
	default: // one run becomes two
		l = append(l, run{})
		copy(l[j+1:], l[j:])
		copy(l[i:], rest)
		*s = l
	}
	return whole
}

// runs are the runs as first page and number.
func (s pageSet) runs() [][2]uint32 {
	var l [][2]uint32
	for _, r := range s {
		l = append(l, [2]uint32{uint32(r.first), uint32(r.end - r.first)})
	}
	return l
}
