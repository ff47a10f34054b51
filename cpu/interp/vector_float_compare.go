package interp

import (
	"dfemu/cpu/softfloat"
	"dfemu/cpu/x86"
)

// relationFlags are ZF, PF and CF for the outcome of a comparison (SDM vol. 2,
// COMISD; vol. 1, table 8-7).
var relationFlags = [4]uint64{
	softfloat.Less:      x86.CF,
	softfloat.Equal:     x86.ZF,
	softfloat.Greater:   0,
	softfloat.Unordered: x86.ZF | x86.PF | x86.CF,
}

// comiss is COMISS and UCOMISS.
func comiss(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b, ok := c.fpSource32(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	a := uint32(c.s.Vec[o.dst&15][0])
	var r softfloat.Relation
	if o.imm&fpAlt != 0 {
		r = e.CompareQuiet32(a, b)
	} else {
		r = e.Compare32(a, b)
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.setArith(relationFlags[r&3])
	return stNext
}

// comisd is COMISD and UCOMISD.
func comisd(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b, ok := c.fpSource64(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	a := c.s.Vec[o.dst&15][0]
	var r softfloat.Relation
	if o.imm&fpAlt != 0 {
		r = e.CompareQuiet64(a, b)
	} else {
		r = e.Compare64(a, b)
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.setArith(relationFlags[r&3])
	return stNext
}
