package interp

// Packed arithmetic inside one quadword. h8, h16 and h32 have the top bit of
// each element set; a function of an element's width takes one of them, or
// the width in bits, which callers give as constants.
const (
	h8  = 0x8080808080808080
	h16 = 0x8000800080008000
	h32 = 0x8000000080000000
)

// fill widens top bits (t has no others) to masks of whole elements w bits wide.
func fill(t uint64, w uint) uint64 { return t<<1 - t>>(w-1) }

// pick takes the bits of a where m is set, those of b elsewhere.
func pick(m, a, b uint64) uint64 { return b ^ (a^b)&m }

// packedAdd and packedSub wrap around.
func packedAdd(h, a, b uint64) uint64 { return (a&^h + b&^h) ^ (a^b)&h }
func packedSub(h, a, b uint64) uint64 { return ((a | h) - b&^h) ^ (a^^b)&h }

// carryOut and borrowOut return the top bits of elements where a + b = s
// carries, and where a - b borrows.
func carryOut(h, a, b, s uint64) uint64 { return (a&b | (a|b)&^s) & h }
func borrowOut(h, a, b uint64) uint64 {
	return (^a&b | (^a|b)&packedSub(h, a, b)) & h
}

// equal returns the top bits of elements where a and b are equal.
func equal(h, a, b uint64) uint64 {
	x := a ^ b
	return ^((x&^h + ^h) | x) & h
}

// saturate replaces the elements of s that overflowed (top bits in over) by the greatest or
// least value with the sign of a.
func saturate(h, s, a, over uint64, w uint) uint64 {
	return pick(fill(over, w), ^h+a&h>>(w-1), s)
}

func paddb(a, b uint64) uint64 { return packedAdd(h8, a, b) }
func paddw(a, b uint64) uint64 { return packedAdd(h16, a, b) }
func paddd(a, b uint64) uint64 { return packedAdd(h32, a, b) }
func paddq(a, b uint64) uint64 { return a + b }
func psubb(a, b uint64) uint64 { return packedSub(h8, a, b) }
func psubw(a, b uint64) uint64 { return packedSub(h16, a, b) }
func psubd(a, b uint64) uint64 { return packedSub(h32, a, b) }
func psubq(a, b uint64) uint64 { return a - b }

func addSigned(h, a, b uint64, w uint) uint64 {
	s := packedAdd(h, a, b)
	return saturate(h, s, a, (s^a)&(s^b)&h, w)
}

func subSigned(h, a, b uint64, w uint) uint64 {
	s := packedSub(h, a, b)
	return saturate(h, s, a, (a^b)&(s^a)&h, w)
}

func addUnsigned(h, a, b uint64, w uint) uint64 {
	s := packedAdd(h, a, b)
	return s | fill(carryOut(h, a, b, s), w)
}

func subUnsigned(h, a, b uint64, w uint) uint64 {
	return packedSub(h, a, b) &^ fill(borrowOut(h, a, b), w)
}

func paddsb(a, b uint64) uint64  { return addSigned(h8, a, b, 8) }
func paddsw(a, b uint64) uint64  { return addSigned(h16, a, b, 16) }
func paddusb(a, b uint64) uint64 { return addUnsigned(h8, a, b, 8) }
func paddusw(a, b uint64) uint64 { return addUnsigned(h16, a, b, 16) }
func psubsb(a, b uint64) uint64  { return subSigned(h8, a, b, 8) }
func psubsw(a, b uint64) uint64  { return subSigned(h16, a, b, 16) }
func psubusb(a, b uint64) uint64 { return subUnsigned(h8, a, b, 8) }
func psubusw(a, b uint64) uint64 { return subUnsigned(h16, a, b, 16) }

func pand(a, b uint64) uint64  { return a & b }
func pandn(a, b uint64) uint64 { return ^a & b }
func por(a, b uint64) uint64   { return a | b }
func pxor(a, b uint64) uint64  { return a ^ b }

func pcmpeqb(a, b uint64) uint64 { return fill(equal(h8, a, b), 8) }
func pcmpeqw(a, b uint64) uint64 { return fill(equal(h16, a, b), 16) }
func pcmpeqd(a, b uint64) uint64 { return fill(equal(h32, a, b), 32) }

func pcmpeqq(a, b uint64) uint64 {
	if a == b {
		return ^uint64(0)
	}
	return 0
}

// above returns masks of the elements where a > b, unsigned; greater, signed.
func above(h, a, b uint64, w uint) uint64   { return fill(borrowOut(h, b, a), w) }
func greater(h, a, b uint64, w uint) uint64 { return above(h, a^h, b^h, w) }

func pcmpgtb(a, b uint64) uint64 { return greater(h8, a, b, 8) }
func pcmpgtw(a, b uint64) uint64 { return greater(h16, a, b, 16) }
func pcmpgtd(a, b uint64) uint64 { return greater(h32, a, b, 32) }

func pcmpgtq(a, b uint64) uint64 {
	if int64(a) > int64(b) {
		return ^uint64(0)
	}
	return 0
}

func pmaxsb(a, b uint64) uint64 { return pick(greater(h8, a, b, 8), a, b) }
func pmaxsw(a, b uint64) uint64 { return pick(greater(h16, a, b, 16), a, b) }
func pmaxsd(a, b uint64) uint64 { return pick(greater(h32, a, b, 32), a, b) }
func pmaxub(a, b uint64) uint64 { return pick(above(h8, a, b, 8), a, b) }
func pmaxuw(a, b uint64) uint64 { return pick(above(h16, a, b, 16), a, b) }
func pmaxud(a, b uint64) uint64 { return pick(above(h32, a, b, 32), a, b) }
func pminsb(a, b uint64) uint64 { return pick(greater(h8, a, b, 8), b, a) }
func pminsw(a, b uint64) uint64 { return pick(greater(h16, a, b, 16), b, a) }
func pminsd(a, b uint64) uint64 { return pick(greater(h32, a, b, 32), b, a) }
func pminub(a, b uint64) uint64 { return pick(above(h8, a, b, 8), b, a) }
func pminuw(a, b uint64) uint64 { return pick(above(h16, a, b, 16), b, a) }
func pminud(a, b uint64) uint64 { return pick(above(h32, a, b, 32), b, a) }

// The average rounds up: a + b = 2(a|b) - (a^b).
func pavgb(a, b uint64) uint64 { return (a | b) - (a^b)>>1&^h8 }

func pavgw(a, b uint64) uint64 { return (a | b) - (a^b)>>1&^h16 }

// negate changes the sign of the elements of a where the mask m is set.
func negate(h, a, m uint64) uint64 { return packedSub(h, a^m, m) }

// sign gives the elements of a the sign of b's: negated, zero or unchanged.
func sign(h, a, b uint64, w uint) uint64 {
	return negate(h, a, fill(b&h, w)) &^ fill(equal(h, b, 0), w)
}

func psignb(a, b uint64) uint64 { return sign(h8, a, b, 8) }
func psignw(a, b uint64) uint64 { return sign(h16, a, b, 16) }
func psignd(a, b uint64) uint64 { return sign(h32, a, b, 32) }

func pabsb(_, b uint64) uint64 { return negate(h8, b, fill(b&h8, 8)) }
func pabsw(_, b uint64) uint64 { return negate(h16, b, fill(b&h16, 16)) }
func pabsd(_, b uint64) uint64 { return negate(h32, b, fill(b&h32, 32)) }

func movsldup(_, b uint64) uint64 { return b&0xffffffff | b<<32 }
func movshdup(_, b uint64) uint64 { return b>>32 | b>>32<<32 }
