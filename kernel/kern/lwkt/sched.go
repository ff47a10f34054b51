package lwkt

import (
	"math/bits"
	"sync/atomic"
)

// TickInterval is the time between scheduler ticks while threads compete, in
// nanoseconds.
const TickInterval = 5_000_000

// maxPreemptNesting is how many preemptors may be stacked on a preempted thread.
const maxPreemptNesting = 2

// before tells whether t goes in front of o on a run queue.
func (t *Thread) before(o *Thread) bool {
	if t.pri != o.pri {
		return t.pri > o.pri
	}
	return t.upri > o.upri || t.upri == o.upri && t.ahead && !o.ahead
}

// enqueue puts a thread on the run queue behind its equals. The place is looked for from
// both ends at once.
func (c *CPU) enqueue(t *Thread) {
	t.flags |= flagRunq
	c.queued++
	c.load.Store(int32(c.queued))
	if c.head == 0 {
		t.next, t.prev = 0, 0
		c.head, c.tail = t.id, t.id
		return
	}
	front, back := c.head, c.tail
	for {
		if f := c.thread(front); t.before(f) {
			c.insert(t, f.prev, front)
			return
		} else if b := c.thread(back); !t.before(b) {
			c.insert(t, back, b.next)
			return
		} else {
			front, back = f.next, b.prev
		}
	}
}

func (c *CPU) insert(t *Thread, prev, next ThreadID) {
	t.prev, t.next = prev, next
	if prev == 0 {
		c.head = t.id
	} else {
		c.thread(prev).next = t.id
	}
	if next == 0 {
		c.tail = t.id
	} else {
		c.thread(next).prev = t.id
	}
}

func (c *CPU) dequeue(t *Thread) {
	if t.prev == 0 {
		c.head = t.next
	} else {
		c.thread(t.prev).next = t.next
	}
	if t.next == 0 {
		c.tail = t.prev
	} else {
		c.thread(t.next).prev = t.prev
	}
	t.next, t.prev = 0, 0
	t.flags &^= flagRunq
	c.queued--
	c.load.Store(int32(c.queued))
}

// Schedule makes a thread runnable. If another CPU owns it, one message goes there.
func (c *CPU) Schedule(id ThreadID) {
	t := c.thread(id)
	if owner := int(atomic.LoadInt32(&t.cpu)); owner != c.id {
		c.Send(owner, ipiSchedule, uint64(id), 0)
		return
	}
	c.scheduleOwn(t)
}

// scheduleIPI is Schedule on the CPU that owned the thread when the message was sent.
func scheduleIPI(c *CPU, id, _ uint64) { c.Schedule(ThreadID(id)) }

func (c *CPU) scheduleOwn(t *Thread) {
	if t.flags&flagUsed == 0 || t.flags&(flagRunq|flagExiting) != 0 {
		return
	}
	c.StopTimeout(t.id)
	if t.flags&flagFloating != 0 && t.flags&flagRunning == 0 && !c.IsIdle() {
		if to := c.claimIdle(); to >= 0 {
			c.give(t, to)
			return
		}
	}
	c.enqueue(t)
	if c.head == t.id {
		c.resched = true
	}
	if t.flags&flagIntr != 0 {
		c.preempt(t)
	}
}

// give hands a thread that is on no run queue and does not run to another CPU.
func (c *CPU) give(t *Thread, to int) {
	c.Stats.Migrated++
	atomic.StoreInt32(&t.cpu, int32(to))
	c.Send(to, ipiSchedule, uint64(t.id), 0)
}

// claimIdle takes an idle CPU's mark, so that one thread at a time is sent there.
func (c *CPU) claimIdle() int {
	for w := range c.sys.idle {
		for v := c.sys.idle[w].Load(); v != 0; v &= v - 1 {
			i := w*64 + bits.TrailingZeros64(v)
			if i != c.id && c.sys.idle.claim(i) {
				return i
			}
		}
	}
	return -1
}

// Deschedule takes a thread of this CPU off the run queue. The current thread goes on
// until Switch.
func (c *CPU) Deschedule(id ThreadID) {
	if t := c.thread(id); t.flags&flagRunq != 0 {
		c.dequeue(t)
	}
}

// preempt lets t, which has just been made runnable, run at once in place of the current thread if the
// rules allow it. The current thread keeps its tokens and runs again as soon as t blocks.
func (c *CPU) preempt(t *Thread) {
	cur := c.thread(c.cur)
	if c.IsIdle() || t.pri <= cur.pri || cur.crit.Load() != 0 || t.ntoks != 0 || t.preempted != 0 || cur.flags&flagRunning == 0 {
		return
	}
	depth := 0
	for p := cur; p.preempted != 0; p = c.thread(p.preempted) {
		if depth++; depth >= maxPreemptNesting {
			return
		}
	}
	c.account(cur)
	cur.flags |= flagPreempted
	t.preempted = cur.id
	t.flags |= flagRunning
	t.started = c.sys.p.Now()
	c.cur = t.id
	c.Stats.Preemptions++
	if c.head == t.id {
		c.resched = false
	}
}

// account adds the time since a thread was switched to.
func (c *CPU) account(t *Thread) {
	now := c.sys.p.Now()
	t.Runtime += now - t.started
	t.started = now
}

// Switch chooses what the CPU runs next; Current tells what it is. The old thread's tokens
// are released and the new one's are all held again.
func (c *CPU) Switch() {
	old := c.thread(c.cur)
	c.resched = false
	c.Stats.Switches++
	c.account(old)
	if old.ntoks != 0 {
		c.releaseTokens(old)
	}
	old.flags &^= flagRunning
	if p := old.preempted; p != 0 {
		old.preempted = 0
		t := c.thread(p)
		t.flags &^= flagPreempted
		t.started = old.started
		c.cur = p
		c.resched = c.head != p
		return
	}
	contended := false
	for id := c.head; id != 0; id = c.thread(id).next {
		t := c.thread(id)
		if t.ntoks != 0 && !c.acquireTokens(t) {
			contended = true
			continue
		}
		c.run(t, old.started)
		// A better thread waits for a token: it is tried again at the next tick.
		return
	}
	c.run(c.thread(c.idleThread), old.started)
	// With a token to wait for, the idle thread must not halt.
	c.resched = contended
}

func (c *CPU) run(t *Thread, now int64) {
	if idle := t.id == c.idleThread; idle != (c.cur == c.idleThread) || idle {
		if idle {
			c.Stats.Idles++
			c.sys.idle.set(c.id)
		} else {
			c.sys.idle.clear(c.id)
		}
	}
	t.started = now
	t.flags |= flagRunning
	c.cur = t.id
}

// Block takes the current thread off the run queue and switches.
func (c *CPU) Block() {
	c.Deschedule(c.cur)
	c.Switch()
}

// Yield lets equals of the current thread run first.
func (c *CPU) Yield() {
	if t := c.thread(c.cur); t.flags&flagRunq != 0 && t.preempted == 0 {
		t.ahead = false
		c.dequeue(t)
		c.enqueue(t)
	}
	c.Switch()
}

// HasLower tells whether a thread of lower priority than the current one is runnable.
func (c *CPU) HasLower() bool {
	return c.tail != 0 && c.thread(c.tail).pri < c.thread(c.cur).pri
}

// Migrate moves the current thread to another CPU and switches.
func (c *CPU) Migrate(to int) {
	t := c.thread(c.cur)
	if to == c.id {
		return
	}
	c.Deschedule(t.id)
	c.StopTimeout(t.id)
	c.Switch()
	c.Stats.Migrated++
	atomic.StoreInt32(&t.cpu, int32(to))
	c.Send(to, ipiSchedule, uint64(t.id), 0)
}

// Tick is the scheduler clock: threads of one priority take turns.
func (c *CPU) Tick() {
	c.Stats.Ticks++
	if c.IsIdle() {
		return
	}
	cur := c.thread(c.cur)
	cur.ahead = false
	if c.head != c.cur {
		c.resched = true
	} else if n := cur.next; n != 0 && c.thread(n).pri == cur.pri {
		c.dequeue(cur)
		cur.flags |= flagRunq
		c.queued++
		c.load.Store(int32(c.queued))
		after := n
		for {
			m := c.thread(after).next
			if m == 0 || c.thread(m).pri != cur.pri {
				break
			}
			after = m
		}
		c.insert(cur, after, c.thread(after).next)
		c.resched = true
	}
	if c.queued > 1 {
		if to := c.claimIdle(); to >= 0 && !c.shed(to) {
			c.sys.idle.set(to)
		}
	}
}

// shed gives the last thread that may move, and does not run, to another CPU.
func (c *CPU) shed(to int) bool {
	for id := c.tail; id != 0; id = c.thread(id).prev {
		t := c.thread(id)
		if id != c.cur && t.flags&flagFloating != 0 && t.flags&(flagRunning|flagPreempted) == 0 && t.crit.Load() == 0 {
			c.dequeue(t)
			c.give(t, to)
			return true
		}
	}
	return false
}

// Pull asks the CPU with the most threads for one. An idle CPU calls it before it
// halts.
func (c *CPU) Pull() {
	best, most := -1, int32(1)
	for i := range c.sys.cpus {
		if n := c.sys.cpus[i].load.Load(); i != c.id && n > most {
			best, most = i, n
		}
	}
	if best >= 0 {
		c.Send(best, ipiPull, uint64(c.id), 0)
	}
}

// pullIPI gives a thread away if the CPU that asked is still idle.
func pullIPI(c *CPU, to, _ uint64) {
	if c.queued > 1 && c.sys.idle.claim(int(to)) && !c.shed(int(to)) {
		c.sys.idle.set(int(to))
	}
}

// SwitchTo ends up in the thread id on a CPU that has just started, in place of the
// idle thread: the thread that boots the system.
func (c *CPU) SwitchTo(id ThreadID) {
	t := c.thread(id)
	if t.flags&flagRunq == 0 {
		c.enqueue(t)
	}
	c.run(t, c.sys.p.Now())
}
