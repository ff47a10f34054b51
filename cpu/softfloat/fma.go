package softfloat

import "math"

// FMAOp selects the signs a fused multiply-add applies to a*b and c.  NaN
// operands are not affected, which is why the caller cannot simply flip the
// signs of the operands.
//
// The first NaN among a, b and c, in this order, becomes the result.  The
// processor's order for the three instruction forms is (SDM vol. 1, section
// 14.5.1):
//
//	VFMADD132: a = operand 1, b = operand 3, c = operand 2
//	VFMADD213: a = operand 2, b = operand 1, c = operand 3
//	VFMADD231: a = operand 2, b = operand 3, c = operand 1
type FMAOp uint8

// The signs of the FMA instruction families.
const (
	NegProduct FMAOp = 1 << iota
	NegAddend

	MulAdd    FMAOp = 0                      // VFMADD: a*b + c
	MulSub    FMAOp = NegAddend              // VFMSUB: a*b - c
	NegMulAdd FMAOp = NegProduct             // VFNMADD: -(a*b) + c
	NegMulSub FMAOp = NegProduct | NegAddend // VFNMSUB: -(a*b) - c
)

// addToOdd returns p+c with an inexact sum rounded to the neighbour whose
// last bit is set.  With that sticky bit in place, rounding the sum again, to
// binary32, cannot go wrong.  The operands must be in the range of binary32
// or of the product of two such numbers.
func addToOdd(p, c float64) float64 {
	sum := p + c
	// The rounding error of a sum is itself a number: see Knuth's TwoSum.
	part := sum - p
	err := (p - (sum - part)) + (c - part)
	b := math.Float64bits(sum)
	if err == 0 || b&1 != 0 {
		return sum
	}
	if (err > 0) == (sum > 0) {
		return math.Float64frombits(b + 1)
	}
	return math.Float64frombits(b - 1)
}
