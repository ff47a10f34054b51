package kern

import (
	"sync/atomic"
	"time"

	"dfemu/kernel/kern/lwkt"
)

// Platform is the machine below the kernel.
type Platform interface {
	// CPUs is the number of CPUs.
	CPUs() int
	// CPU is the CPU that the calling thread runs on. It is out of date at once
	// unless the thread is bound.
	CPU() int
	// Now is the time since the system started.
	Now() time.Duration
	// StartThread runs f in a new thread.
	StartThread(a ThreadAttr, f func())
	// Wait blocks while *addr is val, until Wake is called for addr or the timeout, if it is
	// not negative, is over. It may return early. It returns false on timeout.
	Wait(addr *atomic.Uint32, val uint32, timeout time.Duration) bool
	// Wake wakes n threads that wait at addr, all for n < 1.
	Wake(addr *atomic.Uint32, n int)
	// AllocDMA returns zeroed, physically contiguous memory of at least size bytes, aligned
	// to align, a power of two, that ends at or below limit (0: anywhere).
	AllocDMA(size, align int, limit uint64) (DMA, error)
	// Available is how many bytes can be had without touching what is kept for the kernel itself.
	Available() int64
	// WaitLowMemory returns when there is little left, or with false after a timeout, if that is not negative, or earlier. One thread waits.
	WaitLowMemory(timeout time.Duration) bool
	// FreeDMA gives the memory back.
	FreeDMA(DMA)
	// MapRegisters makes size bytes of a device's memory at a physical address accessible.
	MapRegisters(phys, size uint64) (Registers, error)
	// NewInterrupt makes an interrupt that is sent as a message to a CPU (-1: any).
	NewInterrupt(cpu int) (*Interrupt, error)
	// NewPin makes the interrupt of a level-triggered pin that is active low, given by its global system interrupt,
	// on a CPU (-1: any). It does not come until its Rearm is called, and then once for each call.
	NewPin(gsi uint32, cpu int) (*Interrupt, error)
	// GetToken, TryToken and ReleaseToken are those of lwkt.CPU, for the calling kernel thread.
	GetToken(t *Token, mode TokenMode)
	TryToken(t *Token, mode TokenMode) bool
	ReleaseToken(t *Token)
	// CritEnter and CritExit bound a critical section of the calling thread: nothing preempts
	// it, it stays on its CPU, and interrupts are kept pending. It must not block.
	CritEnter()
	CritExit()
	// SendPassive sets *flag to 1 on another CPU when that next looks at its messages, without an
	// interrupt. The flag must stay reachable until then.
	SendPassive(cpu int, flag *atomic.Uint32)
	// Migrate moves the calling kernel thread to a CPU.
	Migrate(cpu int)
	// Console writes to the console.
	Console(p []byte)
}

// DMA is memory that devices can reach. The device may change it at any time: read once, check,
// use the copy.
type DMA struct {
	Phys  uint64
	Bytes []byte
}

// Registers are device registers in memory. Offsets and sizes are in bytes; an access must lie within
// Size and be aligned, and is made in one piece and in order.
type Registers interface {
	Size() uint64
	Read8(off uint64) uint8
	Read16(off uint64) uint16
	Read32(off uint64) uint32
	Read64(off uint64) uint64
	Write8(off uint64, v uint8)
	Write16(off uint64, v uint16)
	Write32(off uint64, v uint32)
	Write64(off uint64, v uint64)
}

// Token is a serializing token; see [lwkt.Token]. The zero Token is free. Only threads made by
// StartThread take tokens. While a thread holds tokens it blocks only to lose them for that time.
type Token = lwkt.Token

// TokenMode is how a token is taken.
type TokenMode = lwkt.Mode

// Ways to take a token.
const (
	Exclusive = lwkt.Exclusive
	Shared    = lwkt.Shared
)

// Priority is that of a thread, 0 to 31; see the constants.
type Priority int

// Priorities of kernel threads; a higher one runs first.
const (
	Daemon      Priority = 12
	SoftNormal  Priority = 14
	SoftTimer   Priority = 16
	IntrSupport Priority = 20
	IntrLow     Priority = 27
	IntrMed     Priority = 28
	IntrHigh    Priority = 29
)

// ThreadAttr says what a thread is like.
type ThreadAttr struct {
	Name     string // at most 23 bytes are kept
	Priority Priority
	// CPU binds the thread to CPU-1; 0 leaves the choice to the scheduler.
	CPU int
	// Intr lets the thread preempt others of lower priority as soon as it becomes
	// runnable.
	Intr bool
	// Expendable lets the platform end the thread when memory is out: where its own code touches new memory it has a panic, rather than one of the
	// last pages, which are for those who cannot do without. It must not call what takes locks that a panic leaves taken, as drivers do.
	Expendable bool
	// Failed, if not nil, is called when a panic has ended the thread.
	Failed func()
}
