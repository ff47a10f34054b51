package ticks

import (
	"math"
	"testing"
)

func TestAt(t *testing.T) {
	for _, c := range []struct {
		ns   int64
		hz   uint64
		want int64
	}{
		{0, 1193182, 0},
		{-5, 1193182, 0},
		{838, 1193182, 0},
		{839, 1193182, 1},
		{1e9, 1193182, 1193182},
		{1e9 * 86400 * 365, 3579545, 3579545 * 86400 * 365},
		{math.MaxInt64, 3579545, 33015475257663328},
	} {
		if got := At(c.ns, c.hz); got != c.want {
			t.Errorf("At(%d, %d) = %d, want %d", c.ns, c.hz, got, c.want)
		}
	}
	if got := Ns(math.MaxInt64, 32768); got != math.MaxInt64 {
		t.Errorf("Ns does not saturate: %d", got)
	}
}

// FuzzInverse checks that Ns names the very nanosecond at which At steps.
func FuzzInverse(f *testing.F) {
	f.Add(int64(1), uint64(1193182))
	f.Add(int64(1<<40), uint64(3579545))
	f.Add(int64(7), uint64(32768))
	f.Fuzz(func(t *testing.T, n int64, hz uint64) {
		hz = hz%100_000_000 + 1
		if n <= 0 || n > 1<<50 || hz > second {
			return
		}
		ns := Ns(n, hz)
		if ns == math.MaxInt64 {
			return
		}
		if At(ns, hz) != n || At(ns-1, hz) != n-1 {
			t.Errorf("Ns(%d, %d) = %d, but At gives %d there and %d before", n, hz, ns, At(ns, hz), At(ns-1, hz))
		}
	})
}
