// Package program compares software processors with one another on whole
// programs: what single instructions cannot show, because it is about blocks
// of translated code, and what links, caches and invalidates them.
//
// A program is generated from a number: functions with branches, loops, jump
// tables and calls, memory traffic, instructions taken at random from the
// opcode table, stores into code, edits of page tables, exceptions with handlers
// that mend or skip, device accesses and interrupts, at CPL 0 or CPL 3 of long mode. It ends by
// itself. Its final state, its memory and what it did to the bus must be the same on every processor.
//
// A reader starts at Compare (compare.go). generate.go, element.go and pool.go
// make a Program, asm.go assembles it, kernel.go is the code that handles its events,
// machine.go runs it on an accelerator, and diff.go says what must be equal.
//
// What the manuals leave undefined, programs do not look at: flags are
// set before they are tested, and instructions with undefined results are left out.
package program
