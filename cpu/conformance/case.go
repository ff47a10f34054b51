package conformance

import "dfemu/cpu/x86"

// Regs is the state that an instruction at CPL 3 can see and change.
type Regs struct {
	GPR            [16]uint64
	RIP, RFLAGS    uint64
	Sel            [6]uint16 // selectors, indexed by x86.ES … x86.GS
	FSBase, GSBase uint64
	FPU            x86.FPU
	Vec            [16][4]uint64
	MXCSR          uint32
}

// Memory is the data pages that can be written.
type Memory = [dataSize]byte

// Case is one instruction and the state before it.
type Case struct {
	Seed, Index uint64 // what it was made from
	Form        *Form
	Code        []byte   // at Regs.RIP; within the code pages
	Inst        x86.Inst // what x86.Decode makes of the start of Code
	Tail        x86.Op   // the instruction after it that tests its flags, if there is one
	Regs        Regs
	Mem         Memory
	// Operand is the linear address of the explicit memory operand, if there is one.
	Operand uint64

	code [32]byte
	only string // what selection returns, for the report
}

// Step reports whether the instruction runs under the trap flag: the case then
// ends right after it. Otherwise the HLT that follows ends it.
func (c *Case) Step() bool { return c.Regs.RFLAGS&x86.TF != 0 }

// Fault is the exception that ended a case.
type Fault struct {
	Vector int // or -1: the processor has shut down
	Code   uint32
	CR2    uint64 // page faults only
}

// Result is the state after a case.
type Result struct {
	Regs  Regs
	Fault Fault
	Mem   Memory
}

// Executor runs cases on some processor. It is used by one goroutine.
type Executor interface {
	// Run runs a batch of at most MaxBatch cases, independently of one
	// another, and fills in as many results. An error is one of the host.
	Run(cases []Case, results []Result) error
	Close() error
}

// MaxBatch is the most cases that one call of Executor.Run takes.
const MaxBatch = 128
