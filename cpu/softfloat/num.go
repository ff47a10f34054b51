package softfloat

import "math/bits"

// format describes a floating-point format by its parameters in the sense of
// IEEE 754 section 3.3.
type format struct {
	prec       uint  // significand bits, the integer bit included
	ebits      uint  // width of the exponent field
	emin, emax int32 // exponents of the least and greatest normal numbers
	flush      bool  // results are subject to FTZ
	x87        bool  // a register format of the x87 unit
}

// The formats.  ext24 and ext53 are the double-extended format under reduced
// precision control, which narrows the significand but not the exponent.
var (
	binary16 = format{prec: 11, ebits: 5, emin: -14, emax: 15}
	binary32 = format{prec: 24, ebits: 8, emin: -126, emax: 127, flush: true}
	binary64 = format{prec: 53, ebits: 11, emin: -1022, emax: 1023, flush: true}
	ext64    = format{prec: 64, ebits: 15, emin: -16382, emax: 16383, x87: true}
	ext53    = format{prec: 53, ebits: 15, emin: -16382, emax: 16383, x87: true}
	ext24    = format{prec: 24, ebits: 15, emin: -16382, emax: 16383, x87: true}
)

// class orders the kinds of values such that everything from classQNaN on
// needs the attention of the NaN rules.
type class uint8

const (
	classZero class = iota
	classFinite
	classInf
	classQNaN
	classSNaN
	classUnsupported // an encoding the x87 unit rejects
)

const (
	integerBit = 1 << 63 // of a num's significand
	quietBit   = 1 << 62
)

// num is an unpacked value.  A finite one is mant/2^63 * 2^exp with bit 63 of
// mant set, even if it was denormal.  NaNs keep their significand, left
// aligned, so that conversions between formats are mere shifts.
type num struct {
	mant  uint64
	exp   int32
	class class
	neg   bool
	// denorm marks an operand that raises DE.
	denorm bool
}

func (n num) isNaN() bool { return n.class >= classQNaN }

// zero and infinity return values with the given sign.
func zero(neg bool) num     { return num{class: classZero, neg: neg} }
func infinity(neg bool) num { return num{class: classInf, neg: neg, mant: integerBit} }

// indefinite is the QNaN that answers invalid operations.
func indefinite() num {
	return num{class: classQNaN, neg: true, mant: integerBit | quietBit}
}

// quiet turns a NaN quiet.
func (n num) quiet() num {
	if n.class == classUnsupported {
		return indefinite()
	}
	n.class = classQNaN
	n.mant |= quietBit
	return n
}

// negated returns n with its sign flipped, leaving NaNs alone as the
// subtract instructions do.
func (n num) negated() num {
	if !n.isNaN() {
		n.neg = !n.neg
	}
	return n
}

// unpack splits the encoding b of format f.
func unpack(f *format, b uint64) num {
	fracBits := f.prec - 1
	frac := b & (1<<fracBits - 1)
	field := int32(b >> fracBits & (1<<f.ebits - 1))
	n := num{neg: b>>(fracBits+f.ebits)&1 != 0}
	switch field {
	case 0:
		if frac == 0 {
			return n
		}
		shift := bits.LeadingZeros64(frac)
		n.class, n.denorm = classFinite, true
		n.mant = frac << shift
		n.exp = f.emin - int32(fracBits) + 63 - int32(shift)
	case 1<<f.ebits - 1:
		n.mant = integerBit | frac<<(64-f.prec)
		switch {
		case frac == 0:
			n.class = classInf
		case n.mant&quietBit != 0:
			n.class = classQNaN
		default:
			n.class = classSNaN
		}
	default:
		n.class = classFinite
		n.mant = integerBit | frac<<(64-f.prec)
		n.exp = field - f.emax
	}
	return n
}

// pack encodes n, which must be representable, in format f.
func (n num) pack(f *format) uint64 {
	fracBits := f.prec - 1
	field, sig := n.encode(f)
	b := uint64(field)<<fracBits | sig>>(64-f.prec)&(1<<fracBits-1)
	if n.neg {
		b |= 1 << (fracBits + f.ebits)
	}
	return b
}

// encode returns the exponent field of n in format f and the significand,
// integer bit included, left aligned.
func (n num) encode(f *format) (field uint32, sig uint64) {
	switch {
	case n.class == classZero:
		return 0, 0
	case n.class != classFinite:
		return 1<<f.ebits - 1, n.mant
	case n.exp < f.emin:
		return 0, n.mant >> uint(f.emin-n.exp)
	}
	return uint32(n.exp + f.emax), n.mant
}

// unpack32 and unpack64 unpack SSE operands, which DAZ applies to.

func (e *Env) unpack32(a uint32) num { return e.unpackSSE(&binary32, uint64(a)) }
func (e *Env) unpack64(a uint64) num { return e.unpackSSE(&binary64, a) }

func (e *Env) unpackSSE(f *format, a uint64) num {
	n := unpack(f, a)
	if n.denorm && e.DAZ {
		return zero(n.neg)
	}
	return n
}

func pack32(n num) uint32 { return uint32(n.pack(&binary32)) }
func pack64(n num) uint64 { return n.pack(&binary64) }
