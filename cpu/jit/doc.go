// Package jit executes x86-64 guests on amd64 hosts by translating their code: most instructions are copied, with the
// guest's registers renamed to the host's and memory operands led through a software TLB.
//
// It is the second tier of package interp, which remains the reference and executes what is rare: the interpreter
// decodes a block when it is reached, and hands it over once it has been executed often. Translated code works
// on the interpreter's own CPU, so that the two can take turns at any instruction.
//
// A reader starts at translator.Translate (unit.go), which makes a unit of a block; emit.go rewrites
// one instruction, memory.go and group.go check its address, flags.go decides where the guest's flags are, control.go
// and stack.go transfer control, stubs.go is the common code, cache.go keeps units true to memory.
package jit
