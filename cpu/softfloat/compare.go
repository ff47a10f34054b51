package softfloat

// Relation is the outcome of a comparison.
type Relation uint8

// The four mutually exclusive relations.
const (
	Less Relation = iota
	Equal
	Greater
	Unordered
)

// predicates gives, for the low four bits of a CMPPS immediate, the set of
// relations that satisfy it, as a bit per Relation (SDM vol. 2, CMPPD).
var predicates = [16]uint8{
	0x2, // EQ
	0x1, // LT
	0x3, // LE
	0x8, // UNORD
	0xd, // NEQ
	0xe, // NLT
	0xc, // NLE
	0x7, // ORD
	0xa, // EQ or unordered
	0x9, // NGE
	0xb, // NGT
	0x0, // FALSE
	0x5, // NEQ and ordered
	0x6, // GE
	0x4, // GT
	0xf, // TRUE
}

// satisfies tells whether r meets the CMPPS predicate imm.
func (r Relation) satisfies(imm uint8) bool { return predicates[imm&15]>>r&1 != 0 }

// signals tells whether the CMPPS predicate imm raises IE for quiet NaNs.
// The inequalities do, and bit 4 inverts the choice.
func signals(imm uint8) bool {
	inequality := imm&3 == 1 || imm&3 == 2
	return inequality != (imm&16 != 0)
}

// order compares two host numbers that are not NaNs.
func order[T float32 | float64](a, b T) Relation {
	switch {
	case a < b:
		return Less
	case a > b:
		return Greater
	}
	return Equal
}

// compare compares a and b, raising IE for QNaNs too if signalling is set.
func (e *Env) compare(a, b num, signalling bool) Relation {
	if a.isNaN() || b.isNaN() {
		if signalling || a.class > classQNaN || b.class > classQNaN {
			e.Flags |= IE
		}
		return Unordered
	}
	e.denormal(a.denorm || b.denorm)
	switch {
	case a.class == classZero && b.class == classZero:
		return Equal
	case a.neg != b.neg:
		return lessIf(a.neg)
	case a.class != b.class: // zero < finite < infinity in magnitude
		return lessIf(a.class < b.class != a.neg)
	case a.exp != b.exp:
		return lessIf(a.exp < b.exp != a.neg)
	case a.mant != b.mant:
		return lessIf(a.mant < b.mant != a.neg)
	}
	return Equal
}

func lessIf(less bool) Relation {
	if less {
		return Less
	}
	return Greater
}
