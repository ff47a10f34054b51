package softfloat

import "math/bits"

// wide is an intermediate result: (hi:lo)/2^127 * 2^exp, with bit 63 of hi
// set unless the value is zero.  The operations that lose bits OR them into
// the last bit of lo, which makes it a sticky bit: rounding at 64 bits or
// fewer cannot tell the difference from the exact value.
type wide struct {
	hi, lo uint64
	exp    int32
	neg    bool
}

// wide returns a finite n as a wide.
func (n num) wide() wide { return wide{hi: n.mant, exp: n.exp, neg: n.neg} }

func (a wide) isZero() bool { return a.hi == 0 }

// sticky returns 1 if x has any bit set.
func sticky(x uint64) uint64 {
	if x != 0 {
		return 1
	}
	return 0
}

// sub128 returns the difference of two 128-bit integers.
func sub128(ahi, alo, bhi, blo uint64) (hi, lo uint64) {
	lo, borrow := bits.Sub64(alo, blo, 0)
	hi, _ = bits.Sub64(ahi, bhi, borrow)
	return hi, lo
}

// shiftRight shifts hi:lo right by n bits, keeping the lost ones sticky.
func shiftRight(hi, lo uint64, n uint32) (uint64, uint64) {
	switch {
	case n == 0:
		return hi, lo
	case n < 64:
		return hi >> n, hi<<(64-n) | lo>>n | sticky(lo<<(64-n))
	case n < 128:
		// A shift by 64-0 bits yields 0 in Go, as wanted for n == 64.
		return 0, hi>>(n-64) | sticky(hi<<(128-n)|lo)
	}
	return 0, sticky(hi | lo)
}

// normalize shifts hi:lo left until bit 127 is set and adjusts exp.
func normalize(neg bool, exp int32, hi, lo uint64) wide {
	if hi == 0 {
		if lo == 0 {
			return wide{}
		}
		hi, lo = lo, 0
		exp -= 64
	}
	n := uint(bits.LeadingZeros64(hi))
	return wide{
		hi:  hi<<n | lo>>(64-n),
		lo:  lo << n,
		exp: exp - int32(n),
		neg: neg,
	}
}

// add returns a+b.  An exact zero comes out positive.
func (a wide) add(b wide) wide {
	switch {
	case b.isZero():
		return a
	case a.isZero():
		return b
	case a.exp < b.exp || a.exp == b.exp && (a.hi < b.hi || a.hi == b.hi && a.lo < b.lo):
		a, b = b, a
	}
	hi, lo := shiftRight(b.hi, b.lo, uint32(a.exp-b.exp))
	if a.neg != b.neg {
		hi, lo = sub128(a.hi, a.lo, hi, lo)
		return normalize(a.neg, a.exp, hi, lo)
	}
	lo, carry := bits.Add64(a.lo, lo, 0)
	hi, carry = bits.Add64(a.hi, hi, carry)
	if carry != 0 {
		hi, lo = shiftRight(hi, lo, 1)
		return wide{hi: hi | integerBit, lo: lo, exp: a.exp + 1, neg: a.neg}
	}
	return wide{hi: hi, lo: lo, exp: a.exp, neg: a.neg}
}

// negated returns -a.
func (a wide) negated() wide {
	a.neg = !a.neg
	return a
}

// scaled returns a * 2^n.
func (a wide) scaled(n int32) wide {
	a.exp += n
	return a
}

// mul returns a*b.
func (a wide) mul(b wide) wide {
	if a.isZero() || b.isZero() {
		return wide{}
	}
	hi, lo, rest := mul128(a.hi, a.lo, b.hi, b.lo)
	w := normalize(a.neg != b.neg, a.exp+b.exp+1, hi, lo)
	if w.hi != hi {
		// At most one bit was shifted in at the right.
		w.lo |= rest >> 63
		rest <<= 1
	}
	w.lo |= sticky(rest)
	return w
}

// mul128 returns the upper half of the 256-bit product of two 128-bit
// integers and the next 64 bits, the last of which is sticky.
func mul128(ahi, alo, bhi, blo uint64) (hi, lo, rest uint64) {
	hi, lo = bits.Mul64(ahi, bhi)
	if alo|blo == 0 {
		return hi, lo, 0
	}
	h1, l1 := bits.Mul64(ahi, blo)
	h2, l2 := bits.Mul64(alo, bhi)
	h3, l3 := bits.Mul64(alo, blo)
	rest, c1 := bits.Add64(l1, l2, 0)
	rest, c2 := bits.Add64(rest, h3, 0)
	lo, c1 = bits.Add64(lo, h1, c1)
	lo, c2 = bits.Add64(lo, h2, c2)
	return hi + c1 + c2, lo, rest | sticky(l3)
}

// div returns a/b for nonzero b.
func (a wide) div(b wide) wide {
	if a.isZero() {
		return wide{}
	}
	if b.lo == 0 {
		return a.divShort(b)
	}
	// Schoolbook division, a bit at a time.  The remainder stays below twice
	// the divisor; over is its bit 128.
	rhi, rlo, over := a.hi, a.lo, uint64(0)
	exp := a.exp - b.exp
	if rhi < b.hi || rhi == b.hi && rlo < b.lo {
		over = rhi >> 63
		rhi, rlo = rhi<<1|rlo>>63, rlo<<1
		exp--
	}
	var hi, lo uint64
	for range 128 {
		hi, lo = hi<<1|lo>>63, lo<<1
		if over != 0 || rhi > b.hi || rhi == b.hi && rlo >= b.lo {
			rhi, rlo = sub128(rhi, rlo, b.hi, b.lo)
			lo |= 1
		}
		over = rhi >> 63
		rhi, rlo = rhi<<1|rlo>>63, rlo<<1
	}
	return wide{hi: hi, lo: lo | sticky(over|rhi|rlo), exp: exp, neg: a.neg != b.neg}
}

// divShort is div for a divisor of 64 significant bits.
func (a wide) divShort(b wide) wide {
	exp := a.exp - b.exp
	top, mid, low := a.hi, a.lo, uint64(0)
	if top >= b.hi {
		top, mid, low = top>>1, top<<63|mid>>1, mid<<63
	} else {
		exp--
	}
	hi, r := bits.Div64(top, mid, b.hi)
	lo, r := bits.Div64(r, low, b.hi)
	return wide{hi: hi, lo: lo | sticky(r), exp: exp, neg: a.neg != b.neg}
}
