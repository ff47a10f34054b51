package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// idle is a translator that translates nothing.
type idle struct{}

func (idle) Translate(*Request) *Unit   { return nil }
func (idle) Enter(*CPU, uintptr)        {}
func (idle) Goroutine() uintptr         { return 0 }
func (idle) Site(uint32) (*Unit, *Site) { return nil, nil }
func (idle) Link(uint32, *Unit)         {}
func (idle) Drop(uint64, uint64)        {}
func (idle) Dropped() uint64            { return 0 }
func (idle) Simplify(*Unit)             {}
func (idle) Full() bool                 { return false }
func (idle) Recycle()                   {}

// TestSweep executes three times more blocks than there are between two sweeps, three times: those that are executed
// but now and then are not kept, and are executed all the same.
func TestSweep(t *testing.T) {
	r := newSysrig(t, 1)
	r.acc.translator, r.acc.heat = idle{}, 16
	r.enter(true, selWide0, selData0)
	const blocks = 3 * sweepAfter
	at := uint64(rigData)
	for range blocks {
		r.put(at, 0xff, 0xc0, 0xeb, 0x00) // inc eax; jmp to what follows
		at += 4
	}
	r.put(at, 0xf4) // hlt
	c := r.c
	c.r[x86.RAX] = 0
	for range 3 {
		c.rip = rigData
		for c.rip != at {
			b := c.lookup()
			if b == nil {
				t.Fatalf("exception %d at %#x", c.exc.vec, c.rip)
			}
			c.interpretBlock(b)
		}
	}
	if got := c.r[x86.RAX]; got != 3*blocks {
		t.Errorf("%d blocks were executed, want %d", got, 3*blocks)
	}
	if n := c.blocks.count; n > 2*sweepAfter {
		t.Errorf("%d blocks are kept of %d", n, blocks)
	}
}
