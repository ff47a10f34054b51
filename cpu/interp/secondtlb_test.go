package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// TestSecondTLB has CPL 3 use more pages than the TLB holds: they are walked to once, until something says that they are others.
func TestSecondTLB(t *testing.T) {
	const (
		base  = uint64(1) << 30 // linear, of pages that are rigData and the one behind it in turn
		pages = 3 * tlbSize
		flags = pteP | pteW | pteU
	)
	r := newSysrig(t, 1)
	r.enter(true, selWide3, selData3)
	c := r.c
	// One page table serves all.
	r.put64(rigPML4+0x1000+8, rigPML4+0x4000|flags)
	for i := range uint64(512) {
		r.put64(rigPML4+0x4000+8*i, rigPML4+0x5000|flags)
		r.put64(rigPML4+0x5000+8*i, (rigData+i%2*0x1000)|flags)
	}
	r.put32(rigData, 1)
	r.put32(rigData+0x1000, 2)
	aim := func(i, to uint64) { r.put64(rigPML4+0x5000+8*(i%512), to|flags) }
	load := func(i uint64) uint32 {
		v, ok := loadAt[uint32](c, nil, base+i*pageSize)
		if !ok {
			t.Fatalf("page %d: exception %d %#x", i, c.exc.vec, c.exc.code)
		}
		return v
	}
	pass := func() (walks uint64) {
		walks = c.stats.TLBMisses
		for i := range uint64(pages) {
			if v := load(i); v != uint32(i%2+1) {
				t.Fatalf("page %d: loaded %d", i, v)
			}
		}
		return c.stats.TLBMisses - walks
	}
	pass() // finds out that there is no room
	pass()
	if n := pass(); n > pages/100 {
		t.Fatalf("%d of %d pages were walked to again", n, pages)
	}

	aim(6, rigData+0x1000)
	if load(6) != 1 {
		t.Error("the translation of a page was not kept")
	}
	load(6 + tlbSize) // so that the first TLB has not got it
	c.invalidatePage(base + 6*pageSize)
	if load(6) != 2 {
		t.Error("a page that was invalidated is the old one")
	}
	aim(6, rigData)
	c.invalidatePage(base + 6*pageSize)

	// A store to a page that may only be read.
	r.put64(rigPML4+0x5000+8*8, rigData|pteP|pteU)
	c.invalidatePage(base + 8*pageSize)
	load(8)
	load(8 + tlbSize)
	if storeAt(c, nil, base+8*pageSize, uint32(1)) || c.exc.vec != x86.VecPF {
		t.Errorf("a page was written to that must not be, or exception %d", c.exc.vec)
	}
	aim(8, rigData)
	c.invalidatePage(base + 8*pageSize)

	pass()
	c.s.CR3 = rigPML4
	c.enterSpace(false)
	if n := pass(); n < pages {
		t.Errorf("another address space has %d of %d translations of the first", pages-n, pages)
	}
	c.flushTLB()
	if n := pass(); n < pages {
		t.Errorf("%d of %d translations are there after all were dropped", pages-n, pages)
	}

	// Stores look again whether the page holds code when it may.
	store := func(i uint64) {
		if !storeAt(c, nil, base+i*pageSize+64, uint32(i)) {
			t.Fatalf("page %d: exception %d %#x", i, c.exc.vec, c.exc.code)
		}
	}
	for range 3 {
		for i := range uint64(pages) {
			store(i)
		}
	}
	c.markCode(lineSet{rigData, 1 << 1})
	for i := range uint64(4) {
		store(i)
	}
	if c.acc.code.any(rigData) {
		t.Error("stores to code have not been noticed")
	}

	// What is not needed goes.
	for range 8 {
		c.flushTLB()
	}
	if n := len(c.second.entries); n != 1 {
		t.Errorf("%d entries are left that nobody uses", n)
	}
}

// TestSecondTLBGrows checks that there is room for what is used, up to a limit.
func TestSecondTLBGrows(t *testing.T) {
	var s secondTLB
	s.resize(1)
	s.gen = 1
	tag := func(i uint64) uint64 { return i*pageSize | ctxValid | ctxUser }
	for range 40 {
		for i := range uint64(2 * secondMax) {
			s.keep(&tlbEntry{r: tag(i)}, tag(i+1))
		}
	}
	if len(s.entries) != secondMax {
		t.Errorf("%d entries, want %d", len(s.entries), secondMax)
	}
	for i := uint64(secondMax); i < 2*secondMax; i++ {
		if e := s.at(tag(i)); e.r != tag(i) || e.gen != s.gen {
			t.Fatalf("page %d is not there", i)
		}
	}
}
