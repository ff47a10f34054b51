package interp

import "dfemu/cpu/x86"

//go:generate go run ./internal/genalu

// compileInteger puts the handler for in into o. done tells that the instruction
// is of this group, end that nothing may follow in the same block.
func compileInteger(c *CPU, in *x86.Inst, o *Op) (done, end bool) {
	switch {
	case compileALU(in, o), compileMove(in, o), compileUnary(in, o), compileRotate(in, o), compileMulDiv(in, o),
		compileBit(in, o), compileExchange(in, o), compileBMI(c, in, o), compileBCD(in, o), compileMiscInteger(in, o):
		return true, false
	}
	return false, false
}
