// Package conformance compares processors: instructions generated from every
// row of the opcode table run on the real one and on others, and must leave the
// same registers, flags, memory and faults behind.
//
// A reader starts at Run (run.go). forms.go lists what the table can encode,
// gen*.go make a Case of a form and a random number, native*.go run cases on
// the processor of the host, soft.go on an accelerator of package cpu, batch.go
// on all of them, and compare.go says what may differ: only what the manuals leave
// undefined, each with its reason in undefined.go. The report counts how often each
// reason was needed. Package program compares whole programs.
//
// A case is one instruction at CPL 3, in 64-bit or in compatibility mode, with
// all state that it can see. It ends with the exception that the instruction
// raises, with the debug exception of a single step, or with the #GP of a HLT:
// the memory around the instruction is full of them.
package conformance
