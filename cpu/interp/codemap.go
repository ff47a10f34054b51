package interp

import (
	"sync/atomic"

	"dfemu/cpu"
)

// memory is guest RAM as processors see it: a few slots.
type memory struct {
	slots []cpu.Slot
}

// slot returns the slot that a guest-physical address is in, or nil, and the address's offset in it.
func (m *memory) slot(phys uint64) (s *cpu.Slot, off uint64) {
	for i := range m.slots {
		s := &m.slots[i]
		if off := phys - s.GPA; off < uint64(len(s.Data)) {
			return s, off
		}
	}
	return nil, 0
}

// page returns the host page of a guest-physical address, or nil.
func (m *memory) page(phys uint64) (p hostPage, readOnly bool) {
	s, off := m.slot(phys)
	if s == nil {
		return nil, false
	}
	return slicePage(s.Data, off&pageMask), s.ReadOnly
}

// span returns the host's place of n bytes, whole pages, at a guest-physical address, if they are in one slot.
func (m *memory) span(phys, n uint64) (hostPage, bool) {
	s, off := m.slot(phys)
	if s == nil || n > uint64(len(s.Data))-off {
		return nil, false
	}
	return slicePage(s.Data, off&pageMask), true
}

// lineShift is the granularity at which stores are compared with code: 64-byte lines,
// of which a page has as many as a word has bits.
const lineShift = 6

// lineSet is some lines of one page.
type lineSet struct {
	page uint64 // physical
	mask uint64
}

// lines returns the lines that n bytes at phys touch within phys's page.
func lines(phys uint64, n int) uint64 {
	first := phys & pageOffset >> lineShift
	last := min(phys&pageOffset+uint64(n)-1, pageOffset) >> lineShift
	return ^uint64(0) << first & (^uint64(0) >> (63 - last))
}

// codeMap knows which lines of guest memory some processor has decoded code
// from. All methods may be called from any goroutine.
//
// A processor that decodes a line marks it before it reads the bytes. A
// processor whose TLB lets it store to the page without looking here may still
// do so until it has emptied the store half of its TLB, which it does between two
// blocks; until every processor has (see settled), blocks of the page are
// compared with memory each time before they are executed. From then on each
// store to the page comes here after it was made, and finds the mark.
type codeMap struct {
	slots []codeSlot
	// events counts the pages marked; each processor acknowledges a count
	// once its TLB reflects it.
	events atomic.Uint64
}

type codeSlot struct {
	gpa   uint64
	pages []atomic.Uint64 // a mask of lines for each page
}

// cover makes the map for some memory; it is called once, before any other method.
func (m *codeMap) cover(slots []cpu.Slot) {
	for _, s := range slots {
		m.slots = append(m.slots, codeSlot{s.GPA, make([]atomic.Uint64, len(s.Data)/pageSize)})
	}
}

// from returns the masks of the page at phys and those after it in the same slot.
func (m *codeMap) from(phys uint64) []atomic.Uint64 {
	for i := range m.slots {
		s := &m.slots[i]
		if n := (phys - s.gpa) / pageSize; phys >= s.gpa && n < uint64(len(s.pages)) {
			return s.pages[n:]
		}
	}
	return nil
}

// mask returns the mask of the page at phys, or nil.
func (m *codeMap) mask(phys uint64) *atomic.Uint64 {
	if l := m.from(phys); len(l) > 0 {
		return &l[0]
	}
	return nil
}

// any reports whether the page holds decoded code.
func (m *codeMap) any(phys uint64) bool {
	p := m.mask(phys)
	return p != nil && p.Load() != 0
}

// anyIn reports whether one of the pages of n bytes, which are in one slot, holds decoded code.
func (m *codeMap) anyIn(phys, n uint64) bool {
	l := m.from(phys)
	if len(l) == 0 {
		return true // nobody knows
	}
	for i := range l[:n/pageSize] {
		if l[i].Load() != 0 {
			return true
		}
	}
	return false
}

// mark adds lines of a page. fresh tells that the page had none, so that
// processors may have direct stores to it.
func (m *codeMap) mark(page, set uint64) (fresh bool) {
	p := m.mask(page)
	return p != nil && p.Or(set) == 0
}

// take removes those lines of set that were marked, and returns them. It is a
// full barrier between the store that made it necessary and the look at the map.
func (m *codeMap) take(page, set uint64) uint64 {
	p := m.mask(page)
	if p == nil {
		return 0
	}
	return p.And(^set) & set
}

// codeWritten is called after this processor wrote n bytes at phys, in one
// page that holds code.
func (c *CPU) codeWritten(phys uint64, n int) {
	page, set := phys&pageMask, lines(phys, n)
	if c.strays.missed(page) {
		set = ^uint64(0)
	}
	if hit := c.acc.code.take(page, set); hit != 0 {
		l := lineSet{page, hit}
		c.dropLines(l)
		c.acc.invalidate(l, c)
	}
}

// A stray is a page that code was decoded from once, and that is stored to now, as one is that had a program which has ended. Each of
// these stores comes by the code map. When there were many the page's code is forgotten; where that was wrong, since the page has both code and
// data, it is decoded anew and twice as many stores are borne with the next time.
type stray struct {
	page      uint64 // physical
	n, enough uint32
}

// firstEnough is how many stores are borne with at first.
const firstEnough = 256

// strays are some of the pages that are stored to, by a hash of their addresses.
type strays [64]stray

// missed counts a store to a page that has code. It reports whether the code is to be forgotten.
func (t *strays) missed(page uint64) bool {
	s := &t[(page>>12^page>>18)%uint64(len(t))]
	if s.page != page || s.enough == 0 {
		*s = stray{page: page, enough: firstEnough}
	}
	if s.n++; s.n < s.enough {
		return false
	}
	s.n, s.enough = 0, min(2*s.enough, 1<<30)
	return true
}
