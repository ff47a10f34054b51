package conformance

import "math/bits"

// rng is a small generator of random numbers (xoshiro256**), so that a case is
// the same on every machine and in every version of Go.
type rng [4]uint64

// newRNG returns the generator of one case.
func newRNG(seed, index uint64) rng {
	var r rng
	x := seed*0x9e3779b97f4a7c15 ^ index*0xd1342543de82ef95
	for i := range r {
		x += 0x9e3779b97f4a7c15
		z := x
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		r[i] = z ^ z>>31
	}
	return r
}

func (r *rng) u64() uint64 {
	v := bits.RotateLeft64(r[1]*5, 7) * 9
	t := r[1] << 17
	r[2] ^= r[0]
	r[3] ^= r[1]
	r[1] ^= r[2]
	r[0] ^= r[3]
	r[2] ^= t
	r[3] = bits.RotateLeft64(r[3], 45)
	return v
}

// n returns a number below k.
func (r *rng) n(k int) int {
	hi, _ := bits.Mul64(r.u64(), uint64(k))
	return int(hi)
}

// pct is true in p of a hundred cases.
func (r *rng) pct(p int) bool { return r.n(100) < p }

// pick returns one of the values.
func pick[T any](r *rng, v []T) T { return v[r.n(len(v))] }
