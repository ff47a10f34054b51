// Package cpu is what a virtual processor is: its state, the interfaces
// between it and the machine around it, and the ways to run it.
//
// An [Accelerator] runs all processors of one machine and owns what they
// share: guest memory as they see it, local APICs, the invalidation of decoded
// code. A [VCPU] is one logical processor. Ports and memory-mapped I/O leave
// it through [Bus]; everything else it needs of the machine is in [Platform].
package cpu

import (
	"errors"
	"time"

	"dfemu/cpu/x86"
)

// Bus serves one processor's accesses outside RAM. Sizes are 1, 2, 4 or 8 bytes
// (ports: at most 4); accesses never cross a page. Where nothing answers, reads
// are all ones and writes are lost. Called on the goroutine that runs the VCPU.
type Bus interface {
	In(port uint16, size int) uint32
	Out(port uint16, size int, v uint32)
	Read(gpa uint64, size int) uint64
	Write(gpa uint64, size int, v uint64)
}

// Platform is what the processors share of the machine around them.
// Its methods may be called from any VCPU's goroutine.
type Platform interface {
	// AckINTR is the interrupt-acknowledge cycle to the 8259 pair; it returns
	// the vector.
	AckINTR() uint8
	// EOI reports the end of a level-triggered interrupt to the I/O APICs.
	EOI(vector uint8)
}

// Clock is the machine's time (see devices.Clock): nanoseconds since
// power-on, standing still while the machine is paused.
type Clock interface {
	Now() int64
	Wall() time.Time
	// NewTimer returns a stopped timer. f is called on any goroutine but never from inside Set.
	NewTimer(f func()) Timer
}

// Timer calls its function when the clock reaches the time it was Set to.
type Timer interface {
	Set(at int64)
	Stop()
}

// Slot is a piece of guest-physical memory that processors access directly.
type Slot struct {
	GPA      uint64 // page-aligned
	Data     []byte // page-aligned host memory outside the Go heap, whole pages
	ReadOnly bool   // stores leave through Bus.Write (flash)
}

// Config is what an accelerator needs to make processors.
type Config struct {
	CPUs     int // logical processors, APIC IDs 0 … CPUs-1
	Memory   []Slot
	Clock    Clock
	Platform Platform
	NewBus   func(id int) Bus
	// TSCHz is the frequency of the guest's time-stamp counter.
	TSCHz uint64
	// LA57 makes processors announce 5-level paging, if they have it. It costs
	// guests that use it a level in each walk.
	LA57 bool
	// Sample, if not nil, is called for each processor that executes, once in SamplePeriod, between two blocks of
	// the guest: on the goroutine of its Run. It is for profiles; processors in hardware do not offer it.
	Sample       func(id int, s *Sample)
	SamplePeriod time.Duration
	// Lockstep makes an accelerator that translates compare each block with the interpreter; Run fails
	// at the first difference. It is for one processor.
	Lockstep bool
	// Logf reports what a person debugging a guest wants to know: undefined
	// instructions, unknown MSRs. It may be nil.
	Logf func(format string, args ...any)
}

// Sample is where a processor is.
type Sample struct {
	RIP, RSP, RBP uint64
	CR3           uint64
	CPL           uint8
	Mode          x86.Mode
	// Read reads guest memory at a linear address, as far as it is there, and returns the number of bytes.
	// It changes nothing. It may only be called before Sample returns.
	Read func(va uint64, p []byte) int
}

// Accelerator runs the processors of one machine.
type Accelerator interface {
	// Name is the word of --accel: "interp", "jit", "kvm".
	Name() string
	// VCPU returns processor i.
	VCPU(i int) VCPU
	// SendMSI delivers a message-signalled interrupt (also those that I/O
	// APICs make): the 32-bit data written to addr in the 0xFEE00000 window.
	SendMSI(addr uint64, data uint32)
	// SetINTR drives the 8259 pair's interrupt output, wired to LINT0 of
	// every processor.
	SetINTR(level bool)
	// NMI raises LINT1 of every processor.
	NMI()
	// Invalidate tells that [gpa, gpa+n) was changed by something other than
	// a processor, so that decoded or translated code is dropped.
	Invalidate(gpa, n uint64)
	// Close releases host resources; no VCPU may be running.
	Close() error
}

// VCPU is one logical processor.
type VCPU interface {
	// Run executes the guest on the calling goroutine until there is
	// something for the machine to do. A halted processor waits inside Run.
	// An error means that the host failed, not the guest.
	Run() (Exit, error)
	// Kick makes a present or the next call of Run return ExitKicked soon. It
	// may be called from any goroutine, and no kick is lost.
	Kick()
	// State copies the processor's state out, SetState in. Only while Run is
	// not executing.
	State(s *x86.State) error
	SetState(s *x86.State) error
	// RIP and CPL tell where the guest is, for traces: exact when called from
	// inside the VCPU's own Bus calls, approximate otherwise.
	RIP() uint64
	// Stats returns counters for people: instructions, exits.
	Stats() Stats
}

// Stats counts what a processor has done since it was made.
type Stats struct {
	Instructions uint64 // retired; 0 where the accelerator cannot tell
	Exits        uint64 // port and memory-mapped I/O accesses
	Blocks       uint64 // blocks decoded or translated
	Interpreted  uint64 // instructions executed by the interpreter in the accelerator's place
	// What a translating accelerator has done besides.
	Entries       uint64 // times translated code was entered
	TLBMisses     uint64 // walks of the guest's page tables
	Invalidations uint64 // code dropped because memory under it changed
}

// Reason says why Run returned.
type Reason uint8

// The reasons.
const (
	ExitKicked   Reason = iota // Kick was called
	ExitShutdown               // triple fault: the processor has shut down
	ExitDebug                  // a breakpoint set by the debugger
	ExitReset                  // the guest asked for INIT of this processor through a shared path
)

// String names the reason.
func (r Reason) String() string {
	switch r {
	case ExitKicked:
		return "kicked"
	case ExitShutdown:
		return "shutdown (triple fault)"
	case ExitDebug:
		return "debug"
	case ExitReset:
		return "reset"
	}
	return "unknown"
}

// Exit is why Run returned.
type Exit struct {
	Reason Reason
}

// ErrNoKVM is wrapped by errors that say why /dev/kvm cannot be used.
var ErrNoKVM = errors.New("KVM is not usable")
