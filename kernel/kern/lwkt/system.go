package lwkt

import "sync/atomic"

// Limits.
const (
	MaxCPUs   = 256
	MaxTokens = 32 // tokens a thread may hold at once

	maxIPIFuncs = 64
	sleepHash   = 256 // buckets of sleep queues, a power of two
)

// Platform is the machine below the scheduler. Its methods must obey the rules of
// the package: no allocation, no blocking.
type Platform interface {
	// SendIPI makes a CPU, never the caller's, call ProcessIPIs soon.
	SendIPI(cpu int)
	// Now is the time since an arbitrary point, in nanoseconds, the same on all CPUs.
	Now() int64
	// SetTimer makes the calling CPU call Timer at the time when; never, for 0.
	SetTimer(cpu int, when int64)
	// Pause is called in loops that wait for another CPU.
	Pause(cpu int)
	// Slow is told that a CPU has not executed a message for a second for which another waits.
	Slow(cpu int)
	// Panic ends the system: a rule of the kernel was broken.
	Panic(msg string)
}

// IPIFunc names a function that can be called on another CPU; see
// [System.RegisterIPI].
type IPIFunc uint32

// The functions the package itself sends. Others start at FirstIPIFunc.
const (
	ipiSchedule IPIFunc = iota
	ipiPull
	ipiSync
	ipiStopCallout
	ipiSetCallout
	FirstIPIFunc
)

// System is all CPUs and threads of one kernel.
type System struct {
	p       Platform
	cpus    []CPU
	threads []Thread
	rings   []Ring // [target*n+source]
	funcs   [maxIPIFuncs]func(c *CPU, a, b uint64)

	freeLock spinlock
	free     ThreadID // list of threads that are not in use

	idle    cpuMask // CPUs that run their idle thread
	buckets [sleepHash]bucket
	sync    cpusync

	callouts []Callout
}

// Memory is what a System lives in. CPUs says how many CPUs there are, Rings has one element
// for each ordered pair of them. The first thread is never used, the next ones are the
// CPUs' idle threads. Callouts has one element for each thread and
// as many more as other callouts are to be had, Heaps for each CPU as many as
// Callouts.
type Memory struct {
	CPUs     []CPU
	Threads  []Thread
	Rings    []Ring
	Callouts []Callout
	Heaps    [][]CalloutID
}

// Init sets a system up. Nothing may run yet.
func (s *System) Init(p Platform, m Memory) {
	s.p = p
	s.cpus, s.threads, s.rings, s.callouts = m.CPUs, m.Threads, m.Rings, m.Callouts
	n := len(s.cpus)
	for i := range s.cpus {
		c := &s.cpus[i]
		c.sys, c.id, c.heap = s, i, m.Heaps[i]
		c.idleThread = ThreadID(1 + i)
		t := &s.threads[c.idleThread]
		t.id, t.cpu, t.flags, t.pri = c.idleThread, int32(i), flagUsed|flagIdle|flagRunning, PriIdle
		c.cur = c.idleThread
	}
	for i := len(s.threads) - 1; i > n; i-- {
		s.threads[i].id = ThreadID(i)
		s.threads[i].next = s.free
		s.free = ThreadID(i)
	}
	for i := range s.callouts {
		s.callouts[i].pos = -1
	}
	s.funcs[ipiSchedule] = scheduleIPI
	s.funcs[ipiPull] = pullIPI
	s.funcs[ipiSync] = syncIPI
	s.funcs[ipiStopCallout] = stopCalloutIPI
	s.funcs[ipiSetCallout] = setCalloutIPI
}

// RegisterIPI makes f callable on other CPUs under a name from FirstIPIFunc on.
func (s *System) RegisterIPI(name IPIFunc, f func(c *CPU, a, b uint64)) { s.funcs[name] = f }

// CPUs is the number of CPUs.
func (s *System) CPUs() int { return len(s.cpus) }

// CPU returns a CPU.
func (s *System) CPU(i int) *CPU { return &s.cpus[i] }

// Thread returns a thread.
func (s *System) Thread(id ThreadID) *Thread { return &s.threads[id] }

// Threads is one more than the highest thread number.
func (s *System) Threads() int { return len(s.threads) }

// Online marks that the CPU has started and is idle.
func (c *CPU) Online() { c.sys.idle.set(c.id) }

// Platform returns what the system runs on.
func (s *System) Platform() Platform { return s.p }

// CPU is a processor and the queues that only it touches.
type CPU struct {
	sys        *System
	id         int
	cur        ThreadID // what it runs
	idleThread ThreadID
	head, tail ThreadID // run queue, best first
	queued     int
	resched    bool  // another thread should run
	nextTick   int64 // time of the next scheduler tick, 0 for none

	ipiDepth int
	heap     []CalloutID // callouts by time, a binary heap
	ncall    int
	armed    int64 // what the timer is set to

	// What other CPUs read and write.
	load       atomic.Int32     // threads on the run queue
	sources    [4]atomic.Uint64 // CPUs that have sent messages
	ipiPending atomic.Uint32
	polling    atomic.Int32 // looks at its queues without being interrupted

	Stats Stats
}

// Stats counts what a CPU has done. Only that CPU writes it.
type Stats struct {
	Switches, Preemptions, Ticks, Idles        uint64
	IPIsSent, IPIsProcessed, IPIHard, Migrated uint64
	TokenContention, Callouts                  uint64
}

// ID is the CPU's number.
func (c *CPU) ID() int { return c.id }

// System is what the CPU belongs to.
func (c *CPU) System() *System { return c.sys }

// Current is the thread the CPU runs.
func (c *CPU) Current() ThreadID { return c.cur }

// IsIdle tells whether no thread runs but the idle thread.
func (c *CPU) IsIdle() bool { return c.cur == c.idleThread }

// Load is the number of threads that run or could; it may be asked from any CPU.
func (c *CPU) Load() int { return int(c.load.Load()) }

// WantResched tells whether the CPU should call Switch when it leaves the kernel. While the current thread has tokens it should
// not, whoever waits: it would lose them in the midst of what they protect. It should once the last is released.
func (c *CPU) WantResched() bool { return c.resched && c.thread(c.cur).ntoks == 0 }

func (c *CPU) thread(id ThreadID) *Thread { return &c.sys.threads[id] }

// spinlock is held for a few instructions, with interrupts off.
type spinlock struct{ v atomic.Uint32 }

func (l *spinlock) lock(p Platform, cpu int) {
	for !l.v.CompareAndSwap(0, 1) {
		p.Pause(cpu)
	}
}

func (l *spinlock) unlock() { l.v.Store(0) }

// cpuMask is a set of CPUs.
type cpuMask [MaxCPUs / 64]atomic.Uint64

func (m *cpuMask) set(i int)        { m[i/64].Or(1 << (i % 64)) }
func (m *cpuMask) clear(i int)      { m[i/64].And(^uint64(1 << (i % 64))) }
func (m *cpuMask) claim(i int) bool { return m[i/64].And(^uint64(1<<(i%64)))>>(i%64)&1 != 0 }
