package x86

import "math/bits"

//go:generate go test -run TestIndexFresh -update-index

// tables are all rows of the opcode table, in the order of Encodings. The
// names are those of the variables, for the generated index.
func tables() []struct {
	name string
	rows []Enc
} {
	return []struct {
		name string
		rows []Enc
	}{
		{"tableOneByte", tableOneByte[:]},
		{"tableX87", tableX87[:]},
		{"table0F", table0F[:]},
		{"table0FFloat", table0FFloat[:]},
		{"table0FPacked", table0FPacked[:]},
		{"table0F38", table0F38[:]},
		{"table0F3A", table0F3A[:]},
		{"tableVEX1", tableVEX1[:]},
		{"tableVEX2", tableVEX2[:]},
		{"tableVEX3", tableVEX3[:]},
	}
}

// Encodings returns a copy of all rows of the opcode table. Inst.Enc points
// to the originals: compare rows by value.
func Encodings() []Enc {
	var all []Enc
	for _, t := range tables() {
		all = append(all, t.rows...)
	}
	return all
}

// span is where in candidates the rows of one opcode are.
type span struct {
	off   uint16
	n     uint8
	modrm bool // a ModRM byte follows the opcode
}

// candidate is one row that an opcode may stand for: it does if the decoder's
// key agrees with val under mask.
type candidate struct {
	mask, val uint32
	enc       *Enc
	vec       vecRule
	vvvv      bool // an operand is in VEX.vvvv
}

// vecRule says how Inst.VecLen is found.
type vecRule uint8

const (
	vecNone vecRule = iota // 0
	vecMMX                 // 8
	vecXMM                 // 16
	vecL                   // 16 or 32 by VEX.L
)

// The decoder's key: what it knows of an instruction that selects the row.
// From bit 0: the ModRM byte, then these.
const (
	keyReg      = 1 << 8 // mod is 3
	keyPfxShift = 9      // last of F3, F2, else 66: two bits
	key66       = 1 << keyPfxShift
	keyF3       = 2 << keyPfxShift
	keyF2       = 3 << keyPfxShift
	keyMode64   = 1 << 11
	keyW        = 1 << 12
	keyL        = 1 << 13
	keyOSShift  = 14 // operand size: 16, 32, 64 are 0, 1, 2
	keyASShift  = 16 // address size likewise
	keyREXB     = 1 << 18
)

// newCandidate makes the candidate for a row.
func newCandidate(e *Enc) candidate {
	c := candidate{enc: e, vec: e.vecRule(), vvvv: e.Uses(InVvvv)}
	want := func(mask, val uint32) {
		c.mask |= mask
		c.val |= val
	}
	switch {
	case e.ModRM&FixedRM != 0:
		want(0xff|keyReg, uint32(e.ModRM&0xff)|keyReg)
	case e.ModRM&HasDigit != 0:
		want(0x38, uint32(e.ModRM&7)<<3)
	}
	if e.ModRM&RegOnly != 0 {
		want(keyReg, keyReg)
	}
	if e.ModRM&MemOnly != 0 {
		want(keyReg, 0)
	}
	switch e.Prefix {
	case PNP:
		want(keyF2, 0)
	case PNF:
		want(keyF3, 0)
	case P66:
		want(keyF2, key66)
	case PF3:
		want(keyF2, keyF3)
	case PF2:
		want(keyF2, keyF2)
	}
	switch e.W {
	case W0:
		want(keyW, 0)
	case W1:
		want(keyW, keyW)
	}
	switch e.L {
	case L0:
		want(keyL, 0)
	case L1:
		want(keyL, keyL)
	}
	for i, a := range [3]Attr32{OnlyOS16, OnlyOS32, OnlyOS64} {
		if e.Attr&a != 0 {
			want(3<<keyOSShift, uint32(i)<<keyOSShift)
		}
	}
	for i, a := range [3]Attr32{OnlyAS16, OnlyAS32, OnlyAS64} {
		if e.Attr&a != 0 {
			want(3<<keyASShift, uint32(i)<<keyASShift)
		}
	}
	if e.Attr&Not64 != 0 {
		want(keyMode64, 0)
	}
	if e.Attr&Only64 != 0 {
		want(keyMode64, keyMode64)
	}
	if e.Attr&NoREXB != 0 {
		want(keyREXB, 0)
	}
	return c
}

// vecRule returns how the vector length of e's instructions is found: where
// VEX.L is not required, some operand's size must depend on it for it to count.
func (e *Enc) vecRule() vecRule {
	r := vecNone
	for _, s := range e.Args {
		i := specs[s]
		switch {
		case e.Map.IsVEX() && (isVecSize(i.RegSize) || isVecSize(i.MemSize)):
			return vecL
		case i.Kind == KindVec:
			r = vecXMM
		case i.Kind == KindMMX && r == vecNone:
			r = vecMMX
		}
	}
	switch {
	case e.Map.IsVEX() && e.Exc != ExcGPR:
		r = vecXMM
		if e.L == L1 || e.Exc == Exc8 {
			r = vecL
		}
	case e.Exc == ExcMMX && r == vecNone: // EMMS
		r = vecMMX
	}
	return r
}

func isVecSize(c SizeCode) bool { return c == SzX || c == SzH || c == SzF || c == SzE }

// specificity orders the candidates of an opcode: a row that asks for more
// comes before one that asks for less.
func (c candidate) specificity() int { return bits.OnesCount32(c.mask) }
