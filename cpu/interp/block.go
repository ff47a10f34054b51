package interp

import (
	"bytes"

	"dfemu/cpu/x86"
)

const (
	// maxOps is the most instructions in a block, which also bounds how long
	// an interrupt waits.
	maxOps = 64

	jcacheSize = 4096

	// Bits of a block's key.
	keyMode   = 3      // the mode
	keyFlat   = 1 << 2 // flat 32-bit segments
	keyUser   = 1 << 3 // decoded for CPL 3
	keySingle = 1 << 4 // a single instruction
	keyReal   = 1 << 5 // decoded for real-address or virtual-8086 mode

	blockBuckets = 1 << 14
	// maxBlocks bounds the decoded code a processor keeps; when it is
	// reached, all is dropped and decoded anew.
	maxBlocks = 1 << 16
)

// block is a run of instructions decoded from one place in guest-physical
// memory, which control enters only at its start. It may leave it by any
// branch: conditional ones do not end a block. It belongs to one processor.
type block struct {
	ops  []Op // followed by an op that returns stFall, see newOps; nil while the translation serves
	phys uint64
	size uint64 // bytes
	last uint16 // offset of the last op
	key  uint8
	// dead blocks are never entered again: memory has changed under them.
	dead bool
	// seq is the code-map event at which the block was decoded; until every
	// processor has acknowledged it, code is compared with memory.
	seq uint64
	// phys2 is the physical page of the last byte, where the block's only
	// instruction crosses into another page; otherwise 0.
	phys2 uint64
	code  []byte // the bytes it was decoded from
	heat  uint8  // times executed before it is translated
	cold  uint8  // heat at the last sweep
	exit  exit   // where control leaves it mostly
	votes uint8  // for exit
	unit  *Unit  // its translation

	next *block // in the bucket of the table
}

// blockTable finds blocks by physical address.
type blockTable struct {
	buckets [blockBuckets]*block
	pages   map[uint64][]*block // by each physical page a block has bytes in
	count   int
}

func bucketOf(phys uint64, key uint8) uint64 {
	return (phys*0x9e3779b97f4a7c15 ^ uint64(key)*0xbf58476d1ce4e5b9) >> 50
}

func (t *blockTable) find(phys uint64, key uint8) *block {
	for b := t.buckets[bucketOf(phys, key)]; b != nil; b = b.next {
		if b.phys == phys && b.key == key {
			return b
		}
	}
	return nil
}

func (t *blockTable) insert(b *block) {
	h := bucketOf(b.phys, b.key)
	b.next = t.buckets[h]
	t.buckets[h] = b
	if t.pages == nil {
		t.pages = map[uint64][]*block{}
	}
	t.pages[b.phys&pageMask] = append(t.pages[b.phys&pageMask], b)
	if b.phys2 != 0 {
		t.pages[b.phys2] = append(t.pages[b.phys2], b)
	}
	t.count++
}

// remove takes a block out of its bucket, if it is there; the caller has taken it out of pages.
func (t *blockTable) remove(b *block) {
	for p := &t.buckets[bucketOf(b.phys, b.key)]; *p != nil; p = &(*p).next {
		if *p == b {
			*p = b.next
			t.count--
			return
		}
	}
}

// retain removes the blocks of a page for which keep returns false.
func (t *blockTable) retain(page uint64, keep func(*block) bool) {
	list := t.pages[page]
	kept := list[:0]
	for _, b := range list {
		if keep(b) {
			kept = append(kept, b)
		} else {
			t.remove(b)
		}
	}
	clear(list[len(kept):])
	if len(kept) == 0 {
		delete(t.pages, page)
	} else {
		t.pages[page] = kept
	}
}

// jcacheEntry remembers which block a linear RIP led to.
type jcacheEntry struct {
	rip uint64
	tag uint64 // generation, and the block's key
	b   *block
}

// lines returns the lines of page that b has bytes in.
func (b *block) lines(page uint64) uint64 {
	if b.phys&pageMask == page {
		return lines(b.phys, int(b.size))
	}
	return lines(page, int(b.size-(pageSize-b.phys&pageOffset)))
}

// kill makes sure that b is not entered again, and that it is left after the present
// instruction if it is the one being executed.
func (b *block) kill() {
	b.dead = true
	for i := range b.ops {
		b.ops[i].fn = restart
	}
}

// sweepAfter is how many blocks are decoded between two sweeps.
const sweepAfter = 2048

// sweep forgets blocks that have not been executed since the last sweep: most code is executed once or twice. It is called between two blocks, by
// processors with a translator: only they count executions.
func (c *CPU) sweep() {
	for page := range c.blocks.pages {
		c.blocks.retain(page, func(b *block) bool {
			if b.unit == nil && b.heat == b.cold && b.heat <= c.acc.heat && b.phys2 == 0 {
				b.dead = true
			}
			b.cold = b.heat
			return !b.dead
		})
	}
}

// newOps returns a copy of ops with the op behind it that ends a block.
func newOps(ops []Op) []Op {
	all := make([]Op, len(ops)+1)
	last := &all[copy(all, ops)]
	*last = Op{fn: blockEnd}
	if n := len(ops); n > 0 {
		last.start, last.next, last.count = ops[n-1].next, ops[n-1].next, ops[n-1].count
	}
	return all[:len(ops)]
}

// blockEnd is reached when control falls through the end of a block.
func blockEnd(*CPU, *Op) status { return stFall }

// restart leaves a block that has changed under the processor.
func restart(*CPU, *Op) status { return stRestart }

// dropLines kills the blocks that have bytes in some lines of a page.
func (c *CPU) dropLines(l lineSet) {
	if t := c.acc.translator; t != nil {
		t.Drop(l.page, l.mask)
		// Another processor may have been the first to ask for it, and the table of this one still lead to what is gone.
		if n := t.Dropped(); n != c.dropped {
			c.dropped = n
			c.dropTargets()
		}
	}
	c.blocks.retain(l.page, func(b *block) bool {
		switch {
		case b.dead: // a block of two pages, dropped for the other one
			return false
		case b.lines(l.page)&l.mask == 0:
			return true
		}
		b.kill()
		c.stats.Invalidations++
		return false
	})
}

// dropAll forgets all decoded code.
func (c *CPU) dropAll() {
	for _, list := range c.blocks.pages {
		for _, b := range list {
			b.kill()
		}
	}
	c.blocks = blockTable{}
	c.dropTargets()
}

// lookup returns the block at c.rip, or nil with an exception pending.
func (c *CPU) lookup() *block {
	e := &c.jcache[(c.rip^c.rip>>12)&(jcacheSize-1)]
	tag := c.jgen[c.level()]<<8 | uint64(c.key)
	if e.rip == c.rip && e.tag == tag && !e.b.dead {
		return e.b
	}
	b := c.find(c.key)
	if b != nil && b.phys2 == 0 && c.settled(b) {
		*e = jcacheEntry{c.rip, tag, b}
		c.noteCode((c.rip + c.codeBase()) & c.linearMask())
	}
	return b
}

// find returns the block at c.rip for a key, decoding it if need be.
func (c *CPU) find(key uint8) *block {
	va, ok := c.fetchAddress(c.rip)
	if !ok {
		return nil
	}
	phys, host, ok := c.fetchPage(va)
	if !ok {
		return nil
	}
	if b := c.blocks.find(phys, key); b != nil {
		if b.phys2 != 0 {
			p2, _, ok := c.fetchPage((va + pageSize) & pageMask)
			if !ok {
				return nil
			}
			if p2 != b.phys2 {
				return c.decode(va, phys, host, key)
			}
		}
		if c.settled(b) || c.unchanged(b, host) {
			return b
		}
		c.dropLines(lineSet{b.phys & pageMask, b.lines(b.phys & pageMask)})
	}
	return c.decode(va, phys, host, key)
}

// settled reports whether stores to b's memory by any processor are certain
// to be noticed.
func (c *CPU) settled(b *block) bool {
	if b.seq == 0 {
		return true
	}
	if c.acc.acknowledged(b.seq) {
		b.seq = 0
		return true
	}
	return false
}

// unchanged compares b with the memory it was decoded from.
func (c *CPU) unchanged(b *block, host hostPage) bool {
	n := min(int(b.size), pageSize-int(b.phys&pageOffset))
	if !bytes.Equal(b.code[:n], hostBytes(host, n)) {
		return false
	}
	if b.phys2 == 0 {
		return true
	}
	page, _ := c.acc.mem.page(b.phys2)
	return page != nil && bytes.Equal(b.code[n:], hostBytes(page, int(b.size)-n))
}

// codeBase and linearMask take RIP to the linear address of the code.
func (c *CPU) codeBase() uint64 {
	if c.mode == x86.Mode64 {
		return 0
	}
	return c.s.Seg[x86.CS].Base
}

func (c *CPU) linearMask() uint64 { return c.ripMask() }

// fetchAddress returns the linear address of an instruction pointer.
func (c *CPU) fetchAddress(rip uint64) (uint64, bool) {
	if c.mode == x86.Mode64 {
		return rip, true
	}
	cs := &c.s.Seg[x86.CS]
	if rip > uint64(cs.Limit) {
		c.gp(0)
		return 0, false
	}
	return (rip + cs.Base) & 0xffffffff, true
}

// fetchPage translates va for instruction fetch. host is nil outside RAM.
func (c *CPU) fetchPage(va uint64) (phys uint64, host hostPage, ok bool) {
	e := &c.itlb[va>>12&(itlbSize-1)]
	tag := va&pageMask | c.ctx&(ctxUser|spaceMask) | ctxValid
	if e.tag == tag {
		return e.phys | va&pageOffset, hostAt(e.host, va), true
	}
	phys, host, ok = c.translate(nil, va, accFetch, c.ctx&(ctxUser|spaceMask)|ctxValid)
	if ok && host != nil {
		*e = itlbEntry{tag, phys & pageMask, hostAdd(host, -int(va&pageOffset)), c.sys.walkedGlobal}
	}
	return phys, host, ok
}
