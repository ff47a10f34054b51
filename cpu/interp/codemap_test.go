package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// TestStrays stores to a page that had code, elsewhere in it, until the code is forgotten, and executes it again, changed meanwhile.
func TestStrays(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	c := r.c
	const code, stores = rigData, rigData + pageSize
	r.put(code, 0xff, 0xc0, 0xeb, 0x00, 0xf4) // inc eax; jmp to what follows; hlt
	r.put(stores, 0x89, 0x0f, 0xeb, 0xfc)     // mov [rdi], ecx; jmp back
	execute := func(at uint64, blocks int) {
		t.Helper()
		c.rip = at
		for range blocks {
			b := c.lookup()
			if b == nil {
				t.Fatalf("exception %d at %#x", c.exc.vec, c.rip)
			}
			c.interpretBlock(b)
		}
	}
	c.r[x86.RAX], c.r[x86.RCX], c.r[x86.RDI] = 0, 7, code+0x800
	for limit := firstEnough; limit <= 4*firstEnough; limit *= 2 {
		execute(code, 1)
		execute(stores, limit-1)
		if !r.acc.code.any(code) {
			t.Fatalf("the code is forgotten after fewer than %d stores", limit)
		}
		execute(stores, 1)
		if r.acc.code.any(code) {
			t.Fatalf("the code is not forgotten after %d stores", limit)
		}
		if w := c.tlb[code>>12&(tlbSize-1)].w; w != 0 {
			t.Errorf("stores are direct before the next one is looked up: %#x", w)
		}
		execute(stores, 2)
		if w := c.tlb[code>>12&(tlbSize-1)].w; w == 0 {
			t.Error("stores are not direct when the code is forgotten")
		}
		r.put(code+1, r.mem[code+1]^8) // inc and dec change places, which needs no telling now
	}
	if got := int32(c.r[x86.RAX]); got != 1 { // up, down, up
		t.Errorf("EAX is %d, want 1", got)
	}
}
