package lwkt

import "sync/atomic"

// ThreadID names a thread; 0 is none.
type ThreadID int32

// Priorities, 0 to 31; a higher one runs first.
const (
	PriIdle        = 0
	PriIdleWork    = 1
	PriUserHelper  = 2
	PriUserIdle    = 4
	PriUser        = 6
	PriUserReal    = 8
	PriCompare     = 9
	PriKernelUser  = 10
	PriKernel      = 12
	PriSoftNormal  = 14
	PriSoftTimer   = 16
	PriIntrSupport = 20
	PriIntrLow     = 27
	PriIntrMed     = 28
	PriIntrHigh    = 29
	PriMax         = 31
)

type threadFlags uint32

const (
	flagUsed threadFlags = 1 << iota
	flagIdle
	flagRunq      // on its CPU's run queue
	flagRunning   // is what its CPU runs, or was preempted
	flagPreempted // waits for its preemptor
	flagFloating  // may be moved to idle CPUs
	flagIntr      // may preempt
	flagExiting
)

// Thread is a thread of execution. Its owner CPU alone changes it, but for what is said to
// be atomic or to be under a lock.
type Thread struct {
	id    ThreadID
	cpu   int32 // owner; changed by the owner as it gives the thread away
	flags threadFlags
	pri   uint8
	upri  int32
	ahead bool // has waited, and no tick has found it running since; see SleepAhead

	next, prev ThreadID // run queue
	preempted  ThreadID // what it preempted

	// crit is the nesting of critical sections. The running thread changes it.
	crit atomic.Int32

	toks   [MaxTokens]tokenRef
	ntoks  int
	spins  int  // rounds in which its tokens could not be had
	wanted bool // some of toks are not held

	// Sleep queue; under the bucket's lock.
	ident              uint64
	sleeping           bool
	sleepNext, sleepPv ThreadID
	result             SleepResult

	Name [24]byte // for people
	// Runtime is the time it has run, in nanoseconds.
	Runtime int64
	started int64
}

// ID is the thread's number.
func (t *Thread) ID() ThreadID { return t.id }

// Owner is the CPU the thread belongs to. Only there the answer stays true.
func (t *Thread) Owner() int { return int(atomic.LoadInt32(&t.cpu)) }

// Priority is the thread's fixed priority.
func (t *Thread) Priority() int { return int(t.pri) }

// Used tells whether the thread exists.
func (t *Thread) Used() bool { return t.flags&flagUsed != 0 }

// Idle tells whether it is the idle thread of a CPU.
func (t *Thread) Idle() bool { return t.flags&flagIdle != 0 }

// Runnable tells whether the thread is on a run queue.
func (t *Thread) Runnable() bool { return t.flags&flagRunq != 0 }

// Bound tells whether the thread stays on its CPU until it migrates by itself.
func (t *Thread) Bound() bool { return t.flags&flagFloating == 0 }

// Crit is the nesting of critical sections.
func (t *Thread) Crit() int { return int(t.crit.Load()) }

// CritEnter begins a critical section: until the last one ends, interrupts are kept pending and nothing
// preempts the thread. Only the running thread itself calls it.
func (t *Thread) CritEnter() { t.crit.Add(1) }

// CritExit ends a critical section and tells whether it was the last, after which the
// caller must see to what has become pending.
func (t *Thread) CritExit() bool { return t.crit.Add(-1) == 0 }

// Attr says what a new thread is like.
type Attr struct {
	CPU      int
	Priority int
	Floating bool // may be moved to other CPUs while it does not run
	Intr     bool // an interrupt thread, which may preempt
	Name     string
}

// NewThread takes a thread that is not on a run queue yet; Schedule starts it. It returns 0
// when there are no more. It may be called on any CPU.
func (c *CPU) NewThread(a Attr) ThreadID {
	s := c.sys
	s.freeLock.lock(s.p, c.id)
	id := s.free
	if id != 0 {
		s.free = s.threads[id].next
	}
	s.freeLock.unlock()
	if id == 0 {
		return 0
	}
	t := &s.threads[id]
	t.flags = flagUsed
	if a.Floating {
		t.flags |= flagFloating
	}
	if a.Intr {
		t.flags |= flagIntr
	}
	atomic.StoreInt32(&t.cpu, int32(a.CPU))
	t.pri, t.upri, t.ahead = uint8(a.Priority), 0, false
	t.next, t.prev, t.preempted = 0, 0, 0
	t.crit.Store(0)
	t.ntoks, t.spins, t.wanted = 0, 0, false
	t.sleeping, t.result = false, Woken
	t.Runtime = 0
	t.SetName(a.Name)
	return id
}

// SetName names the thread.
func (t *Thread) SetName(name string) {
	n := copy(t.Name[:], name)
	for ; n < len(t.Name); n++ {
		t.Name[n] = 0
	}
}

// String is the thread's name.
func (t *Thread) String() string {
	n := 0
	for n < len(t.Name) && t.Name[n] != 0 {
		n++
	}
	return string(t.Name[:n])
}

// Exit ends the current thread and switches to another.
func (c *CPU) Exit() {
	t := c.thread(c.cur)
	if t.ntoks != 0 {
		c.sys.p.Panic("lwkt: a thread exits with tokens")
		return
	}
	c.StopTimeout(t.id)
	t.flags |= flagExiting
	c.Deschedule(t.id)
	c.Switch()
	t.flags = 0
	s := c.sys
	s.freeLock.lock(s.p, c.id)
	t.next = s.free
	s.free = t.id
	s.freeLock.unlock()
}

// SetPriority changes the priority of a thread of this CPU.
func (c *CPU) SetPriority(id ThreadID, pri, upri int) {
	t := c.thread(id)
	queued := t.flags&flagRunq != 0
	if queued {
		c.dequeue(t)
	}
	t.pri, t.upri = uint8(pri), int32(upri)
	if queued {
		c.enqueue(t)
		if c.head != c.cur {
			c.resched = true
		}
	}
}

// SetClass changes whether a thread of this CPU is an interrupt thread and whether it may
// be moved.
func (c *CPU) SetClass(id ThreadID, intr, floating bool) {
	t := c.thread(id)
	t.flags &^= flagIntr | flagFloating
	if intr {
		t.flags |= flagIntr
	}
	if floating {
		t.flags |= flagFloating
	}
}
