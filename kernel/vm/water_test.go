package vm

import "testing"

// TestWater looks at the levels of small, usual and large memories, and at what may be had above them.
func TestWater(t *testing.T) {
	for _, c := range []struct{ total, reserve, free, spare int }{
		{1000, 256, 256, 0}, {1000, 256, 300, 44}, {8192, 256, 100, 0}, {64 << 10, 2048, 4096, 2048}, {1 << 20, 4096, 1 << 20, 1<<20 - 4096},
	} {
		w := WaterFor(c.total)
		if w.Reserve != c.reserve || w.Low <= w.Reserve {
			t.Errorf("of %d pages: %+v, want a reserve of %d below the low level", c.total, w, c.reserve)
		}
		if s := w.Spare(c.free); s != c.spare {
			t.Errorf("of %d pages with %d free: %d to spare, want %d", c.total, c.free, s, c.spare)
		}
	}
}
