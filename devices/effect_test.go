package devices

import (
	"math/bits"
	"slices"
	"testing"
)

func TestFlips(t *testing.T) {
	count := func(p []byte) (n int) {
		for _, b := range p {
			n += bits.OnesCount8(b)
		}
		return n
	}
	for _, c := range []struct{ size, flips, want int }{{512, 3, 3}, {1, 8, 8}, {1, 100, 8}, {2, 15, 15}, {0, 5, 0}, {64, 0, 0}, {100, 1, 1}} {
		e := Effect{FlipData: uint64(c.flips), Seed: 9}
		l := e.Flips(uint64(c.size))
		whole, parts := make([]byte, c.size), make([]byte, c.size)
		Flip(whole, 0, l)
		for at := 0; at < c.size; at += 7 {
			Flip(parts[at:min(at+7, c.size)], uint64(at), l)
		}
		if count(whole) != c.want || !slices.Equal(whole, parts) || !slices.IsSorted(l) {
			t.Errorf("%+v: %d bits, in parts %d", c, count(whole), count(parts))
		}
		other := Effect{FlipData: uint64(c.flips), Seed: 10}
		if c.want > 0 && c.want < 8*c.size && slices.Equal(other.Flips(uint64(c.size)), l) {
			t.Errorf("%+v: another seed flips the same bits", c)
		}
		if !slices.Equal(e.Flips(uint64(c.size)), l) {
			t.Errorf("%+v: the same seed flips other bits", c)
		}
	}
}
