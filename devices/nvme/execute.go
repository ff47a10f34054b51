package nvme

import "dfemu/devices"

// execute carries a command out that was just taken, and ends or parks it.
func (q *subQueue) execute(r *request) {
	d := q.d
	if !q.claim(r) {
		q.conflict(r)
		q.complete(r, idConflict, false)
		return
	}
	if d.probe.Wants(devices.ClassCommand) || d.probe.Faulty() {
		r.describe()
		if r.first != nil {
			r.first.describe()
			d.probe.Command(r.first.cmd)
		}
		d.probe.Command(r.cmd)
	}
	if r.first != nil && !q.claim(r.first) {
		q.completeOne(r.first, idConflict, false)
		r.first = nil
		q.complete(r, failedFused, true)
		return
	}
	if st := d.check(r); st != success {
		q.fail(r, st)
		return
	}
	if r.cmd != nil && d.probe.Faulty() && !r.faulted {
		r.faulted = true
		r.effect = d.probe.Decide(r.cmd)
		if q.disturb(r) {
			return
		}
	}
	q.perform(r)
}

// conflict reports that the identifier of a command is that of another one.
func (q *subQueue) conflict(r *request) {
	q.d.strictf(int(q.id), "NVMe base 2.0, 3.3.3.1", "command identifier %#x is used while another command with it is outstanding", r.e.cid)
}

// perform does what a checked command asks for.
func (q *subQueue) perform(r *request) {
	r.shape.page = q.d.pageSize
	r.shape.flip = r.effect.FlipTable
	st, done := success, true
	switch {
	case q.id == admin:
		st, done = q.d.admin(r)
	case q.swift(r):
		q.begin(r)
		return
	default:
		q.startReads() // they do not wait for this
		q.blocking.Add(1)
		start := q.d.o.Clock.Now()
		st = q.d.io(r)
		q.measure(q.d.o.Clock.Now() - start)
		q.blocking.Add(-1)
	}
	if done {
		q.fail(r, st)
	}
}

// measure takes the time of a command into the average.
func (q *subQueue) measure(ns int64) {
	q.d.counters.busy.Add(ns)
	old := q.cost.Load()
	q.cost.Store(old + (ns-old)/4)
}

// disturb applies the part of a fault that comes before a command has effects. It
// reports whether that settled the command for now.
func (q *subQueue) disturb(r *request) bool {
	f := &r.effect
	switch {
	case f.Hang:
		q.park(r, parkedHung)
		return true
	case f.Fail && f.Delay <= 0:
		q.fail(r, effectStatus(f))
		return true
	case f.Delay > 0:
		r.due = q.d.o.Clock.Now() + f.Delay
		q.delay(r)
		return true
	}
	return false
}

// delay parks a command until it is due.
func (q *subQueue) delay(r *request) {
	if r.timer == nil {
		r.timer = q.d.o.Clock.NewTimer(func() { q.delayed(r) })
	}
	t, due := r.timer, r.due
	q.park(r, parkedDelay)
	t.Set(due)
}

// delayed is called when a delayed command is due.
func (q *subQueue) delayed(r *request) {
	if !q.unpark(r, parkedDelay) {
		return // while paused: Resume sets the timer again
	}
	if r.effect.Fail {
		q.fail(r, effectStatus(&r.effect))
	} else {
		q.perform(r)
		q.startReads()
	}
	q.cq.notify()
}

// fail ends a command, and with it the first one of a fused operation, with st.
// It is also how commands succeed.
func (q *subQueue) fail(r *request, st status) {
	if f := r.first; f != nil {
		fs := st
		if st != success {
			// The one that failed says why; the other says that its partner failed.
			if r.firstFailed {
				st = failedFused
			} else {
				fs = failedFused
			}
		}
		if f.cmd == nil && q.d.probe.Wants(devices.ClassCommand) {
			f.describe()
		}
		r.first = nil
		q.completeOne(f, fs, true)
		q.complete(r, st, true)
		q.mu.Lock()
		f.next, q.free = q.free, f
		q.mu.Unlock()
		return
	}
	q.complete(r, st, true)
}

// complete posts r's completion and forgets r.
func (q *subQueue) complete(r *request, st status, owned bool) {
	q.completeOne(r, st, owned)
	q.finish(r)
}

func (q *subQueue) completeOne(r *request, st status, owned bool) {
	d := q.d
	if st != success {
		d.logError(q.id, r, st)
		if st.code() != success && d.errorCount.Load() > 0 {
			st |= more // there is an entry in the error information log
		}
	}
	if r.cmd != nil {
		d.probe.Completion(r.cmd, devices.Status{Code: uint32(st.code()), Name: st.String()})
	}
	c := completion{Result: r.result, SQ: q.id, CID: r.e.cid, Status: st}
	f := &r.effect
	c.Quiet, c.Hold = f.LoseInterrupt, f.Hold
	drop, twice, extra := f.Drop, f.Duplicate, f.ExtraInterrupt
	q.release(r, owned)
	if !drop {
		q.cq.post(c)
		if twice {
			q.cq.post(c)
		}
	}
	if extra {
		q.cq.interrupt()
	}
}

// effectStatus is the status of a fault that lets a command fail.
func effectStatus(f *devices.Effect) status {
	if f.Status == 0 {
		return internalError
	}
	return status(f.Status) & (maxStatusCode | dnr)
}
