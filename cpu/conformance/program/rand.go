package program

import "math/bits"

// rng makes the same numbers from a seed on every machine (splitmix64).
type rng uint64

func (r *rng) u64() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// n returns a number below k.
func (r *rng) n(k int) int {
	hi, _ := bits.Mul64(r.u64(), uint64(k))
	return int(hi)
}

// pct is true in p of a hundred cases.
func (r *rng) pct(p int) bool { return r.n(100) < p }

// pick returns one of the values.
func pick[T any](r *rng, v ...T) T { return v[r.n(len(v))] }

// value returns an integer, a boundary more often than not.
func (r *rng) value() uint64 {
	v := r.u64()
	switch r.n(8) {
	case 0:
		return v & 0xf
	case 1:
		return ^uint64(0)
	case 2:
		return 1 << (v & 63)
	case 3:
		return 1<<(v&63) - 1
	case 4:
		return uint64(int64(v) >> r.n(64))
	case 5: // two floats of single precision near 1
		return v&0x807fffff807fffff | 0x3f8000003f800000
	case 6: // one of double precision
		return v&0x800fffffffffffff | 0x3ff0000000000000
	}
	return v
}
