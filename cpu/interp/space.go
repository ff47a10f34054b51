package interp

import "dfemu/cpu/x86"

// Address spaces. Entries of the TLB that CPL 3 uses have in their tag a number for the address space they
// are of, so that they outlive a change of CR3 that does not ask for them to go (Intel SDM vol. 3, 4.10.4.1).
// Numbers are given out anew rather than entries searched; when they run out the TLB is emptied.
// Entries that other levels use are of the present address space, or global.

const (
	spaceShift = 4    // of the number in a context
	maxSpace   = 0xff // the highest number
	spaceMask  = maxSpace << spaceShift
	// keptSpaces is how many process-context identifiers are remembered.
	keptSpaces = 16
)

// space is what is remembered of a process-context identifier.
type space struct {
	used  bool
	pcid  uint16
	tag   uint64 // its number, in place
	gen   uint64 // what jgen[1] was
	large [2]largePages
}

// enterSpace makes the TLB that of another CR3; keep tells that translations of its process-context identifier stay.
func (c *CPU) enterSpace(keep bool) {
	c.flushLocal()
	t := &c.sys.spaces
	if now := &t.list[t.now]; now.used {
		now.gen, now.large = c.jgen[1], c.sys.large[0]
	}
	pcid := uint16(0)
	if c.s.CR4&x86.CR4_PCIDE != 0 {
		pcid = uint16(c.s.CR3 & 0xfff)
	}
	i := t.find(pcid)
	s := &t.list[i]
	if !s.used || s.pcid != pcid || !keep {
		if t.last == maxSpace {
			c.flushTLB() // starts again with 0 used
		}
		t.last++
		*s = space{used: true, pcid: pcid, tag: t.last << spaceShift, gen: c.newGeneration()}
	}
	t.now = i
	c.sys.large[0] = s.large
	c.jgen[1] = s.gen
	if c.cpl == 3 {
		c.ctx = c.ctx&^spaceMask | s.tag
	}
}

// spaces is the table of address spaces.
type spaces struct {
	list [keptSpaces]space
	now  int
	last uint64 // the last number given out
	next int    // to be replaced
}

// find returns the place of a process-context identifier, or one to put it.
func (t *spaces) find(pcid uint16) int {
	for i := range t.list {
		if t.list[i].used && t.list[i].pcid == pcid {
			return i
		}
	}
	t.next = (t.next + 1) % keptSpaces
	return t.next
}

// remembers reports whether gen is what jgen[1] was in an address space that is remembered.
func (t *spaces) remembers(gen uint64) bool {
	for i := range t.list {
		if t.list[i].used && t.list[i].gen == gen {
			return true
		}
	}
	return false
}

// tag is the present address space's number, in place in a context.
func (t *spaces) tag() uint64 { return t.list[t.now].tag }

// forget drops what is remembered of a process-context identifier that is not the present one.
func (t *spaces) forget(pcid uint16) {
	for i := range t.list {
		if t.list[i].pcid == pcid && i != t.now {
			t.list[i] = space{}
		}
	}
}

// newGeneration returns a value that jgen has not had.
func (c *CPU) newGeneration() uint64 {
	c.generations++
	return c.generations
}
