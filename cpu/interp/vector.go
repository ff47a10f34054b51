package interp

import "dfemu/cpu/x86"

// compileVector puts the handler for in into o. done tells that the instruction
// is of this group, end that nothing may follow in the same block.
func compileVector(c *CPU, in *x86.Inst, o *Op) (done, end bool) { return false, false }
