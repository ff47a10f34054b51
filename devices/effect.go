package devices

import (
	"math/rand/v2"
	"slices"
)

// Flips returns the bits that the fault inverts in data of size bytes, in ascending order: FlipData of
// them, or all if there are fewer. Bit n is bit n%8 of byte n/8.
func (e *Effect) Flips(size uint64) []uint64 {
	bits := 8 * size
	want := min(e.FlipData, bits)
	if want == 0 {
		return nil
	}
	if want == bits {
		all := make([]uint64, bits)
		for i := range all {
			all[i] = uint64(i)
		}
		return all
	}
	rng := rand.New(rand.NewPCG(e.Seed, e.Seed))
	picked := make(map[uint64]struct{}, want)
	for uint64(len(picked)) < want {
		picked[rng.Uint64N(bits)] = struct{}{}
	}
	l := make([]uint64, 0, want)
	for at := range picked {
		l = append(l, at)
	}
	slices.Sort(l)
	return l
}

// Flip inverts those of the bits of some data that are in p, which is what the data has
// from byte off on.
func Flip(p []byte, off uint64, flips []uint64) {
	i, _ := slices.BinarySearch(flips, 8*off)
	for _, bit := range flips[i:] {
		n := bit/8 - off
		if n >= uint64(len(p)) {
			return
		}
		p[n] ^= 1 << (bit % 8)
	}
}
