package interp

// Sizes of the second TLB, in entries. It begins to be when CPL 3 has missed in the first one, for want of room, secondAfter times.
const (
	secondAfter = 2048
	secondMin   = 4 * tlbSize
	secondMax   = 16 * tlbSize
)

// secondTLB has the translations that CPL 3 uses, more of them than the TLB, which takes them from here before page tables are walked. It grows while
// it loses what is still good.
type secondTLB struct {
	// entries are a power of two; while there is no need for more, one that is never good.
	entries []secondEntry
	mask    uint64 // of the offset of an entry in bytes
	gen     uint64 // entries of other generations are gone
	missed  int    // times that the TLB had no room, until there are entries
	filled  int    // entries that came since everything was dropped
	lost    int    // of them, those for which another one of the same address space had to go
}

// secondEntry is a tlbEntry of a generation.
type secondEntry struct {
	r, w uint64
	host hostPage
	gen  uint64
}

// resize makes n places, a power of two, and moves what is good there.
func (t *secondTLB) resize(n int) {
	old := t.entries
	t.entries, t.mask = make([]secondEntry, n), uint64(n-1)<<entryShift
	for i := range old {
		if s := &old[i]; s.gen == t.gen {
			*t.at(s.r) = *s
		}
	}
	t.lost = 0
}

// at returns the place of a page, by its tag, of which it looks at the address and the number of the address space.
func (t *secondTLB) at(tag uint64) *secondEntry {
	return &t.entries[(tag>>12^tag&spaceMask)&uint64(len(t.entries)-1)]
}

// drop forgets everything, and gives up room that was not needed.
func (t *secondTLB) drop() {
	t.gen++
	if n := len(t.entries); n > 1 && t.filled < n/8 {
		if n /= 2; n < secondMin {
			n = 1
		}
		t.resize(n)
	}
	t.missed, t.filled, t.lost = 0, 0, 0
}

// keep is called when the TLB has got e, for CPL 3, in the place of an entry whose tag for loads was old.
func (t *secondTLB) keep(e *tlbEntry, old uint64) {
	if len(t.entries) == 1 {
		if old == 0 || old == e.r || (old^e.r)&pageOffset != 0 {
			return
		}
		if t.missed++; t.missed < secondAfter {
			return
		}
		t.resize(secondMin)
	}
	s := t.at(e.r)
	if s.gen == t.gen && s.r != e.r && (s.r^e.r)&pageOffset == 0 {
		if t.lost++; t.lost > len(t.entries)/4 && len(t.entries) < secondMax {
			t.resize(2 * len(t.entries))
			s = t.at(e.r)
		}
	}
	t.filled++
	*s = secondEntry{e.r, e.w, e.host, t.gen}
}

// again fills the TLB for an access inside one page from the second one, and returns the byte's place in the host, or nil.
func (c *CPU) again(va uint64, acc access, ctx uint64) hostPage {
	tag := va&pageMask | ctx
	s := c.second.at(tag)
	if ctx&(ctxUser|ctxSlow) != ctxUser || s.gen != c.second.gen || s.r != tag || acc == accWrite && s.w != tag {
		return nil
	}
	c.tlb[tlbIndex(va, ctx)] = tlbEntry{r: s.r, w: s.w, host: s.host, delta: hostDelta(s.host, va)}
	return hostAt(s.host, va)
}
