package interp

import (
	"math/bits"

	"dfemu/cpu/x86"
)

// The fields of the immediate of PCMPxSTRx (Intel SDM vol. 2, 4.1).
const (
	strWords  = 1 << 0 // elements are words, otherwise bytes
	strSigned = 1 << 1
	strAggr   = 3 << 2 // how comparisons are combined
	strNegate = 1 << 4 // the result is inverted
	strMasked = 1 << 5 // only its bits for valid elements of the second operand are
	strHigh   = 1 << 6 // index: of the highest bit; mask: widened to elements
)

// The ways to combine comparisons.
const (
	strEqualAny     = 0 << 2
	strRanges       = 1 << 2
	strEqualEach    = 2 << 2
	strEqualOrdered = 3 << 2
)

// Bits of o.imm above the immediate.
const (
	strExplicit = 1 << 8 // lengths in rAX and rDX
	strWide     = 1 << 9 // which are RAX and RDX
	strIndex    = 1 << 10
)

func compileStringCompare(in *x86.Inst, o *Op) bool {
	var how uint64
	switch in.Op {
	case x86.PCMPESTRI, x86.VPCMPESTRI:
		how = strExplicit | strIndex
	case x86.PCMPESTRM, x86.VPCMPESTRM:
		how = strExplicit
	case x86.PCMPISTRI, x86.VPCMPISTRI:
		how = strIndex
	case x86.PCMPISTRM, x86.VPCMPISTRM:
	default:
		return false
	}
	bindVec(in, o)
	if in.OpSize == 8 {
		how |= strWide
	}
	o.imm |= how
	o.fn = compareStrings
	return true
}

// text is an operand of a string comparison: n valid elements.
type text struct {
	e [16]int32
	n int
}

// textOf takes the elements of v as imm says. The text ends before the first zero.
func textOf(v lane, imm uint64) (t text) {
	b := v.bytes()
	count := 16
	if imm&strWords != 0 {
		count = 8
	}
	t.n = count
	for i := count - 1; i >= 0; i-- {
		switch imm & (strWords | strSigned) {
		case 0:
			t.e[i] = int32(b[i])
		case strSigned:
			t.e[i] = int32(int8(b[i]))
		case strWords:
			t.e[i] = int32(b[2*i]) | int32(b[2*i+1])<<8
		default:
			t.e[i] = int32(int16(uint16(b[2*i]) | uint16(b[2*i+1])<<8))
		}
		if t.e[i] == 0 {
			t.n = i
		}
	}
	return t
}

// explicitLength returns the number of elements that the length in a register names.
func explicitLength(reg, imm uint64, count int) int {
	v := int64(reg)
	if imm&strWide == 0 {
		v = int64(int32(reg))
	}
	if v < 0 {
		v = -v
	}
	if uint64(v) > uint64(count) { // the least integer too, which is its own negative
		return count
	}
	return int(v)
}

func compareStrings(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	v, ok := c.source128(o)
	if !ok {
		return stFault
	}
	imm := o.imm
	count := 16
	if imm&strWords != 0 {
		count = 8
	}
	a, b := textOf(c.xmm(o.dst), imm), textOf(v, imm)
	if imm&strExplicit != 0 {
		a.n = explicitLength(c.r[x86.RAX], imm, count)
		b.n = explicitLength(c.r[x86.RDX], imm, count)
	}
	r := combine(&a, &b, imm&strAggr, count)
	all := uint32(1)<<count - 1
	if imm&strNegate != 0 {
		if imm&strMasked != 0 {
			r ^= uint32(1)<<b.n - 1
		} else {
			r ^= all
		}
	}
	c.setStringResult(o, r, count)
	var f uint64
	if r != 0 {
		f |= x86.CF
	}
	if b.n < count {
		f |= x86.ZF
	}
	if a.n < count {
		f |= x86.SF
	}
	if r&1 != 0 {
		f |= x86.OF
	}
	c.setArith(f)
	return stNext
}

// setStringResult puts the result r, a bit for each of count elements, into ECX or XMM0.
func (c *CPU) setStringResult(o *Op, r uint32, count int) {
	if o.imm&strIndex != 0 {
		i := count
		switch {
		case r == 0:
		case o.imm&strHigh != 0:
			i = bits.Len32(r) - 1
		default:
			i = bits.TrailingZeros32(r)
		}
		c.r[x86.RCX] = uint64(i)
		return
	}
	m := lane{lo: uint64(r)}
	if o.imm&strHigh != 0 {
		if count == 8 {
			m = lane{expandBits(uint64(r), 16), expandBits(uint64(r>>4), 16)}
		} else {
			m = lane{expandBits(uint64(r), 8), expandBits(uint64(r>>8), 8)}
		}
	}
	d := &c.s.Vec[0]
	d[0], d[1] = m.lo, m.hi
	if o.aux&auxVEX != 0 {
		d[2], d[3] = 0, 0
	}
}

// combine compares the elements of a and b and returns a bit for each place.
func combine(a, b *text, how uint64, count int) (r uint32) {
	switch how {
	case strEqualAny: // b[j] is one of a
		for j := range b.n {
			for i := range a.n {
				if a.e[i&15] == b.e[j&15] {
					r |= 1 << j
					break
				}
			}
		}
	case strRanges: // b[j] lies in one of the ranges a[0]–a[1], a[2]–a[3] …
		for j := range b.n {
			for i := 0; i+1 < a.n; i += 2 {
				if v := b.e[j&15]; a.e[i&15] <= v && v <= a.e[(i+1)&15] {
					r |= 1 << j
					break
				}
			}
		}
	case strEqualEach: // a[j] and b[j] are equal, or both behind the end
		for j := range count {
			av, bv := j < a.n, j < b.n
			if av && bv && a.e[j&15] == b.e[j&15] || !av && !bv {
				r |= 1 << j
			}
		}
	default: // a is found at b[j], as far as b goes
		for j := range count {
			ok := true
			for i := 0; i < a.n && i+j < count && ok; i++ {
				ok = i+j < b.n && a.e[i&15] == b.e[(i+j)&15]
			}
			if ok {
				r |= 1 << j
			}
		}
	}
	return r
}
