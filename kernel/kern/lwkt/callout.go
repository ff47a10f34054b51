package lwkt

import "sync/atomic"

// CalloutID names a callout. The first ones are the threads' timeouts, under the
// threads' numbers.
type CalloutID int32

// Callout is a call at a time. Only the CPU it was set on touches it.
type Callout struct {
	when int64
	pos  int32 // in the heap of its CPU, -1 if not set
	cpu  int32 // where it was set
	fn   IPIFunc
	arg  uint64
}

// timeout marks a callout that ends a thread's sleep.
const timeoutFunc IPIFunc = maxIPIFuncs

// SetTimeout ends the sleep of a thread of this CPU at a time.
func (c *CPU) SetTimeout(id ThreadID, when int64) {
	c.setCallout(CalloutID(id), when, timeoutFunc, uint64(id))
}

// StopTimeout undoes SetTimeout.
func (c *CPU) StopTimeout(id ThreadID) { c.stopCallout(CalloutID(id)) }

// SetCallout calls fn(arg, 0) on this CPU at the time when, in the kernel. A callout that is set already is
// moved.
func (c *CPU) SetCallout(id CalloutID, when int64, fn IPIFunc, arg uint64) {
	o := &c.sys.callouts[id]
	if cpu := int(atomic.LoadInt32(&o.cpu)); cpu != c.id && cpu < len(c.sys.cpus) {
		c.Wait(cpu, c.Send(cpu, ipiStopCallout, uint64(id), 0))
	}
	c.setCallout(id, when, fn, arg)
}

// StopCallout undoes SetCallout. When it returns the function is not running and
// will not be called.
func (c *CPU) StopCallout(id CalloutID) {
	if cpu := int(atomic.LoadInt32(&c.sys.callouts[id].cpu)); cpu != c.id {
		c.Wait(cpu, c.Send(cpu, ipiStopCallout, uint64(id), 0))
		return
	}
	c.stopCallout(id)
}

func stopCalloutIPI(c *CPU, id, _ uint64) { c.stopCallout(CalloutID(id)) }

func setCalloutIPI(c *CPU, id, when uint64) {
	o := &c.sys.callouts[id]
	c.setCallout(CalloutID(id), int64(when), o.fn, o.arg)
}

func (c *CPU) setCallout(id CalloutID, when int64, fn IPIFunc, arg uint64) {
	c.stopCallout(id)
	o := &c.sys.callouts[id]
	o.when, o.fn, o.arg = when, fn, arg
	atomic.StoreInt32(&o.cpu, int32(c.id))
	c.heap[c.ncall] = id
	o.pos = int32(c.ncall)
	c.ncall++
	c.up(c.ncall - 1)
}

func (c *CPU) stopCallout(id CalloutID) {
	o := &c.sys.callouts[id]
	if o.pos < 0 || int(atomic.LoadInt32(&o.cpu)) != c.id {
		return
	}
	i := int(o.pos)
	o.pos = -1
	c.ncall--
	if i == c.ncall {
		return
	}
	c.place(i, c.heap[c.ncall])
	c.down(i)
	c.up(i)
}

func (c *CPU) place(i int, id CalloutID) {
	c.heap[i] = id
	c.sys.callouts[id].pos = int32(i)
}

func (c *CPU) less(i, j int) bool {
	return c.sys.callouts[c.heap[i]].when < c.sys.callouts[c.heap[j]].when
}

func (c *CPU) swap(i, j int) {
	a, b := c.heap[i], c.heap[j]
	c.place(i, b)
	c.place(j, a)
}

func (c *CPU) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !c.less(i, p) {
			return
		}
		c.swap(i, p)
		i = p
	}
}

func (c *CPU) down(i int) {
	for {
		k := 2*i + 1
		if k >= c.ncall {
			return
		}
		if k+1 < c.ncall && c.less(k+1, k) {
			k++
		}
		if !c.less(k, i) {
			return
		}
		c.swap(i, k)
		i = k
	}
}

// Timer runs the callouts that are due and the scheduler's tick. It is called when the
// timer goes off, and may be called at any time.
func (c *CPU) Timer() {
	// The timer may have gone off a little early by the clock: it must be set again in any case.
	c.armed = -1
	now := c.sys.p.Now()
	for c.ncall > 0 {
		id := c.heap[0]
		o := &c.sys.callouts[id]
		if o.when > now {
			break
		}
		c.stopCallout(id)
		c.Stats.Callouts++
		if o.fn == timeoutFunc {
			c.EndSleep(ThreadID(o.arg), TimedOut)
		} else {
			c.sys.funcs[o.fn](c, o.arg, 0)
		}
	}
	if c.nextTick != 0 && now >= c.nextTick {
		c.nextTick = 0
		c.Tick()
	}
}

// ArmTimer sets the timer to when something is due next. A CPU calls it as it leaves the kernel;
// one that is idle, or has a single thread, has no ticks.
func (c *CPU) ArmTimer() {
	if c.queued > 1 || c.queued == 1 && c.head != c.cur {
		if c.nextTick == 0 {
			c.nextTick = c.sys.p.Now() + TickInterval
		}
	} else {
		c.nextTick = 0
	}
	next := c.nextTick
	if c.ncall > 0 {
		if w := c.sys.callouts[c.heap[0]].when; next == 0 || w < next {
			next = w
		}
	}
	if next != c.armed {
		c.armed = next
		c.sys.p.SetTimer(c.id, next)
	}
}
