package lwkt

// SleepResult says how a sleep ended.
type SleepResult int32

// How a sleep ends.
const (
	Woken SleepResult = iota
	TimedOut
	Interrupted
)

// bucket is the sleep queues of the idents with one hash, in order of arrival.
type bucket struct {
	lock       spinlock
	head, tail ThreadID
}

func (s *System) bucket(ident uint64) *bucket {
	return &s.buckets[(ident>>2*0x9e3779b97f4a7c15)>>56%sleepHash]
}

// SleepLock keeps threads that sleep on ident from being woken until SleepOn or SleepUnlock,
// so that a condition can be looked at.
func (c *CPU) SleepLock(ident uint64) { c.sys.bucket(ident).lock.lock(c.sys.p, c.id) }

// SleepUnlock ends SleepLock without a sleep.
func (c *CPU) SleepUnlock(ident uint64) { c.sys.bucket(ident).lock.unlock() }

// SleepOn ends SleepLock and puts the current thread to sleep on ident, until the time
// when (0: without end), and switches. The result is the thread's Result once it runs again.
func (c *CPU) SleepOn(ident uint64, when int64) {
	t := c.thread(c.cur)
	b := c.sys.bucket(ident)
	t.ident, t.sleeping, t.result = ident, true, Woken
	t.sleepNext, t.sleepPv = 0, b.tail
	if b.tail == 0 {
		b.head = t.id
	} else {
		c.thread(b.tail).sleepNext = t.id
	}
	b.tail = t.id
	b.lock.unlock()
	if when != 0 {
		c.SetTimeout(t.id, when)
	}
	c.Block()
}

// SleepAhead is SleepOn for a thread that waits for what others do, as a disk: when it wakes it goes in front of its equals, which compute, rather than wait
// for a time slice of each. A tick that finds it running, or a Yield, makes it one of them again.
func (c *CPU) SleepAhead(ident uint64, when int64) {
	c.thread(c.cur).ahead = true
	c.SleepOn(ident, when)
}

// Result is how the thread's last sleep ended.
func (t *Thread) Result() SleepResult { return t.result }

// Sleeping tells whether the thread is on a sleep queue, and on which. It may be out
// of date at once.
func (t *Thread) Sleeping() (ident uint64, ok bool) { return t.ident, t.sleeping }

func (b *bucket) remove(s *System, t *Thread) {
	if t.sleepPv == 0 {
		b.head = t.sleepNext
	} else {
		s.threads[t.sleepPv].sleepNext = t.sleepNext
	}
	if t.sleepNext == 0 {
		b.tail = t.sleepPv
	} else {
		s.threads[t.sleepNext].sleepPv = t.sleepPv
	}
	t.sleeping = false
}

// Wakeup wakes the first n threads that sleep on ident, all for n < 1, and returns
// how many there were.
func (c *CPU) Wakeup(ident uint64, n int) int {
	b := c.sys.bucket(ident)
	woken := 0
	for {
		b.lock.lock(c.sys.p, c.id)
		id := b.head
		for id != 0 && c.thread(id).ident != ident {
			id = c.thread(id).sleepNext
		}
		if id == 0 {
			b.lock.unlock()
			return woken
		}
		t := c.thread(id)
		b.remove(c.sys, t)
		t.result = Woken
		b.lock.unlock()
		c.Schedule(t.id)
		woken++
		if woken == n {
			return woken
		}
	}
}

// EndSleep ends the sleep of a thread of this CPU for another reason than a wake-up.
// It returns false if the thread is not asleep any more.
func (c *CPU) EndSleep(id ThreadID, why SleepResult) bool {
	t := c.thread(id)
	// Only this CPU puts the thread on a queue: ident stays.
	b := c.sys.bucket(t.ident)
	b.lock.lock(c.sys.p, c.id)
	if !t.sleeping {
		b.lock.unlock()
		return false
	}
	b.remove(c.sys, t)
	t.result = why
	b.lock.unlock()
	c.Schedule(id)
	return true
}
