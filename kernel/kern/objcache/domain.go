package objcache

import (
	"sync"
	"sync/atomic"

	"dfemu/kernel/kern"
)

// Domain is what makes data per CPU.
type Domain interface {
	// CPUs is the number of CPUs.
	CPUs() int
	// Enter begins a section on a CPU, which it returns: until Exit nothing else is in a section on
	// that CPU. Sections do not nest and do not block.
	Enter() int
	Exit(cpu int)
	// Passive sets *flag to 1 on behalf of another CPU, without interrupting it, soon.
	Passive(cpu int, flag *atomic.Uint32)
}

// Critical is the Domain of a running kernel: sections are critical sections.
type Critical struct{ K *kern.Kernel }

// CPUs implements Domain.
func (c Critical) CPUs() int { return c.K.CPUs() }

// Enter implements Domain.
func (c Critical) Enter() int {
	c.K.CritEnter()
	return c.K.CPU()
}

// Exit implements Domain.
func (c Critical) Exit(int) { c.K.CritExit() }

// Passive implements Domain.
func (c Critical) Passive(cpu int, flag *atomic.Uint32) { c.K.SendPassive(cpu, flag) }

// Locked is a Domain in which CPUs are locks, for tests and for platforms without critical
// sections.
type Locked struct {
	locks []sync.Mutex
	next  atomic.Uint32
	// Sent counts the calls of Passive.
	Sent atomic.Int64
}

// NewLocked returns a Domain of n CPUs. Sections are spread over them in turn.
func NewLocked(n int) *Locked { return &Locked{locks: make([]sync.Mutex, n)} }

// CPUs implements Domain.
func (l *Locked) CPUs() int { return len(l.locks) }

// Enter implements Domain.
func (l *Locked) Enter() int {
	cpu := int(l.next.Add(1)) % len(l.locks)
	l.locks[cpu].Lock()
	return cpu
}

// Exit implements Domain.
func (l *Locked) Exit(cpu int) { l.locks[cpu].Unlock() }

// Passive implements Domain.
func (l *Locked) Passive(_ int, flag *atomic.Uint32) {
	l.Sent.Add(1)
	flag.Store(1)
}
