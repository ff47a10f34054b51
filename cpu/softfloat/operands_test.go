package softfloat

import (
	"math/rand/v2"
	"testing"
)

// operands draws test operands that favour the corners of the formats.
type operands struct{ *rand.Rand }

func newOperands(seed uint64) operands {
	return operands{rand.New(rand.NewPCG(seed, 0x5f10a7))}
}

// fraction draws a significand field of the given width.
func (o operands) fraction(width uint) uint64 {
	all := uint64(1)<<width - 1
	switch o.IntN(8) {
	case 0:
		return 0
	case 1:
		return all
	case 2:
		return 1 << o.UintN(width)
	case 3:
		return all - 1<<o.UintN(width)
	case 4:
		return o.Uint64() & all >> o.UintN(width)
	case 5:
		return o.Uint64() << o.UintN(width) & all
	case 6:
		return uint64(o.IntN(4)) & all
	}
	return o.Uint64() & all
}

// field draws an exponent field of the given width, near the one before or at
// the ends of the range more often than not.
func (o operands) field(width, near uint) uint64 {
	top := uint64(1)<<width - 1
	switch o.IntN(8) {
	case 0:
		return 0
	case 1:
		return top
	case 2:
		return uint64(o.IntN(4))
	case 3:
		return top - uint64(o.IntN(4))
	case 4, 5:
		return (top>>1 + uint64(o.IntN(80)) - 10) & top
	case 6:
		return (uint64(near) + uint64(o.IntN(9)) - 4) & top
	}
	return o.Uint64() & top
}

func (o operands) f16() uint64 { return o.Uint64() & 0xffff }

func (o operands) f32(near uint64) uint64 {
	return o.Uint64()&1<<31 | o.field(8, uint(near>>23&0xff))<<23 | o.fraction(23)
}

func (o operands) f64(near uint64) uint64 {
	return o.Uint64()&1<<63 | o.field(11, uint(near>>52&0x7ff))<<52 | o.fraction(52)
}

func (o operands) f80(near F80) F80 {
	a := F80{
		Mant: o.fraction(63) | 1<<63,
		SE:   uint16(o.Uint64()&1<<15 | o.field(15, uint(near.SE&0x7fff))),
	}
	if a.SE&0x7fff == 0 || o.IntN(32) == 0 {
		a.Mant &^= uint64(o.IntN(2)) << 63
	}
	return a
}

// int draws an integer of any magnitude.
func (o operands) int() uint64 {
	a := o.fraction(63)
	if o.IntN(2) == 0 {
		a = -a
	}
	return a
}

// rounds returns how many operands a test tries per operation and control state.
func rounds() int {
	if testing.Short() {
		return 200
	}
	return 3000
}
