package lwkt

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// host is the platform below the scheduler in tests. Each thread is a goroutine; of all goroutines
// that are at home on a CPU one runs, the one that was passed the CPU. So the race detector
// sees whether a CPU's queues are touched by another.
type host struct {
	t       testing.TB
	sys     System
	cpus    []*hostCPU
	threads []*hostThread
	start   time.Time
	stop    atomic.Bool
	panics  atomic.Pointer[string]
	idlers  sync.WaitGroup
}

type hostCPU struct {
	kick  chan struct{}
	baton chan struct{} // to the idle goroutine
	timer atomic.Int64
}

type hostThread struct {
	h    *host
	id   ThreadID
	cpu  int
	run  chan int // the CPU it is passed
	done chan struct{}
}

func memory(cpus, threads int) Memory {
	m := Memory{
		CPUs: make([]CPU, cpus), Threads: make([]Thread, threads+cpus+1), Rings: make([]Ring, cpus*cpus),
		Callouts: make([]Callout, 2*threads+cpus+1), Heaps: make([][]CalloutID, cpus),
	}
	for i := range m.Heaps {
		m.Heaps[i] = make([]CalloutID, len(m.Callouts))
	}
	return m
}

func newHost(t testing.TB, cpus, threads int) *host {
	h := &host{t: t, start: time.Now(), threads: make([]*hostThread, threads+cpus+1)}
	for range cpus {
		h.cpus = append(h.cpus, &hostCPU{kick: make(chan struct{}, 1), baton: make(chan struct{}, 1)})
	}
	h.sys.Init(h, memory(cpus, threads))
	for i := range cpus {
		h.idlers.Add(1)
		go h.idle(i)
	}
	t.Cleanup(func() {
		h.stop.Store(true)
		for i := range h.cpus {
			h.SendIPI(i)
		}
		h.idlers.Wait()
		if p := h.panics.Load(); p != nil {
			t.Errorf("the kernel panicked: %s", *p)
		}
	})
	return h
}

// SendIPI implements Platform.
func (h *host) SendIPI(cpu int) {
	select {
	case h.cpus[cpu].kick <- struct{}{}:
	default:
	}
}

// Now implements Platform.
func (h *host) Now() int64 { return int64(time.Since(h.start)) + 1 }

// SetTimer implements Platform.
func (h *host) SetTimer(cpu int, when int64) { h.cpus[cpu].timer.Store(when) }

// Pause implements Platform.
func (h *host) Pause(int) { runtime.Gosched() }

// Slow implements Platform.
func (h *host) Slow(int) {}

// Panic implements Platform.
func (h *host) Panic(msg string) { h.panics.Store(&msg) }

// leave is the way out of the kernel; it returns what runs next.
func (h *host) leave(c *CPU) ThreadID {
	if h.sys.Thread(c.Current()).Crit() == 0 {
		if c.HasIPIs() {
			c.ProcessIPIs()
		}
		if when := h.cpus[c.id].timer.Load(); when != 0 && h.Now() >= when {
			h.cpus[c.id].timer.Store(0)
			c.Timer()
		}
		if c.WantResched() {
			c.Switch()
		}
	}
	c.ArmTimer()
	return c.Current()
}

// pass hands the CPU to what it runs.
func (h *host) pass(c *CPU) {
	if c.IsIdle() {
		h.cpus[c.id].baton <- struct{}{}
	} else {
		h.threads[c.Current()].run <- c.id
	}
}

// idle is a CPU's idle loop; it has the CPU at first.
func (h *host) idle(cpu int) {
	defer h.idlers.Done()
	c, hc := h.sys.CPU(cpu), h.cpus[cpu]
	c.Online()
	for {
		if !c.IsIdle() {
			h.pass(c)
			<-hc.baton
		}
		h.leave(c)
		if !c.IsIdle() {
			continue
		}
		if h.stop.Load() {
			return
		}
		if c.WantResched() {
			runtime.Gosched()
			continue
		}
		c.Pull()
		wait := 50 * time.Millisecond
		if when := hc.timer.Load(); when != 0 {
			wait = min(wait, max(0, time.Duration(when-h.Now())))
		}
		select {
		case <-hc.kick:
		case <-time.After(wait):
		}
	}
}

// spawn starts a thread from outside; its CPU is interrupted to take it in.
func (h *host) spawn(a Attr, f func(t *hostThread)) *hostThread {
	// Threads are taken from the free list under a lock: any CPU will do.
	id := h.sys.CPU(a.CPU).NewThread(a)
	if id == 0 {
		h.t.Fatal("no thread is free")
	}
	t := &hostThread{h: h, id: id, run: make(chan int, 1), done: make(chan struct{})}
	h.threads[id] = t
	go func() {
		t.cpu = <-t.run
		f(t)
		c := h.sys.CPU(t.cpu)
		close(t.done)
		c.Exit()
		h.leave(c)
		h.pass(c)
	}()
	return t
}

// startHere schedules threads of one CPU from a starter that runs there.
func (h *host) startOn(cpu int, list ...*hostThread) {
	c := h.sys.CPU(cpu)
	r := &h.sys
	// The test is no CPU: it uses a slot that none does, the CPU's ring to itself.
	ring := r.ring(cpu, cpu)
	for _, t := range list {
		w := ring.windex.Load()
		ring.slots[w%ringSize] = message{ipiSchedule, uint64(t.id), 0}
		ring.windex.Store(w + 1)
	}
	c.sources[cpu/64].Or(1 << (cpu % 64))
	h.SendIPI(cpu)
}

// kernel does f in the kernel on the thread's CPU.
func (t *hostThread) kernel(f func(c *CPU)) {
	c := t.h.sys.CPU(t.cpu)
	if c.Current() != t.id {
		t.h.t.Errorf("thread %d runs on CPU %d while that runs %d", t.id, t.cpu, c.Current())
	}
	f(c)
	if t.h.leave(c) != t.id {
		t.h.pass(c)
		t.cpu = <-t.run
	}
	if own := t.h.sys.Thread(t.id).Owner(); own != t.cpu {
		t.h.t.Errorf("thread %d of CPU %d runs on CPU %d", t.id, own, t.cpu)
	}
}

// poll lets interrupts in.
func (t *hostThread) poll() { t.kernel(func(*CPU) {}) }

func join(t testing.TB, list []*hostThread) {
	t.Helper()
	for _, x := range list {
		select {
		case <-x.done:
		case <-time.After(30 * time.Second):
			t.Fatalf("thread %d does not end", x.id)
		}
	}
}
