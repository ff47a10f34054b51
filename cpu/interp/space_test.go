package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// TestSpaces checks that what CPL 3 uses outlives a change of CR3 that keeps it, and no other.
func TestSpaces(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide3, selData3)
	c := r.c
	c.s.CR4 |= x86.CR4_PCIDE
	pte := uint64(rigPML4 + 0x3000 + rigData>>12*8)
	r.put16(rigData, 1)
	r.put16(rigData+0x1000, 2)
	load := func() uint16 {
		v, ok := loadAt[uint16](c, nil, rigData)
		if !ok {
			t.Fatalf("load: exception %d %#x", c.exc.vec, c.exc.code)
		}
		return v
	}
	enter := func(pcid uint64, keep bool) {
		c.s.CR3 = rigPML4 | pcid
		c.enterSpace(keep)
	}
	aim := func(to uint64) { r.put64(pte, to|pteP|pteW|pteU) }
	enter(1, false)
	aim(rigData)
	load()
	aim(rigData + 0x1000)
	if load() != 1 {
		t.Skip("translations are not cached")
	}
	enter(2, true)
	if got := load(); got != 2 {
		t.Errorf("another address space: loaded %d", got)
	}
	aim(rigData)
	walks := c.stats.TLBMisses
	enter(1, true)
	if got := load(); got != 1 {
		t.Errorf("back in the first: loaded %d", got)
	}
	enter(2, true)
	if got := load(); got != 2 {
		t.Errorf("back in the second: loaded %d", got)
	}
	if n := c.stats.TLBMisses - walks; n != 0 {
		t.Errorf("the page has one place in the TLB for both: page tables were walked %d times", n)
	}
	enter(1, true)
	aim(rigData + 0x1000)
	enter(1, false)
	if got := load(); got != 2 {
		t.Errorf("the first, emptied: loaded %d", got)
	}
	// Numbers run out.
	for i := range uint64(3 * maxSpace) {
		enter(i%5, i%3 == 0)
		aim(rigData + i%2*0x1000)
		c.invalidatePage(rigData)
		if got := load(); got != uint16(i%2+1) {
			t.Fatalf("switch %d: loaded %d", i, got)
		}
	}
}
