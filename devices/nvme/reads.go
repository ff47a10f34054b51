package nvme

import "dfemu/devices/internal/aio"

// Reads of files that the host's page cache is not used for are started and land later, so that nobody waits for each: those
// that have other commands beside them.

// started is what a command answers that lands later.
const started status = 1<<16 - 1

// makeReads makes a queue for reads if a namespace gains by it and the host has the means.
func (q *subQueue) makeReads() {
	if q.id == admin {
		return
	}
	for _, ns := range q.d.attached() {
		if aio.Suits(ns.store) {
			// Without the means, all is done with calls that wait.
			q.reads, _ = aio.New(q.land)
			return
		}
	}
}

// swift tells whether a command may be one that lands later.
func (q *subQueue) swift(r *request) bool {
	if q.reads == nil || r.alone || r.e.op != opRead || r.first != nil || r.e.dw[12]&rwFUA != 0 {
		return false
	}
	ns := q.d.space(r.e.nsid)
	return ns != nil && r.e.blocks()<<ns.geometry().shift <= aio.MaxBytes
}

// begin executes a swift command.
func (q *subQueue) begin(r *request) {
	ns := r.ns
	r.swift = true
	st := q.d.usable(r, ns)
	if st != success {
		q.fail(r, st)
		return
	}
	if !ns.guard.TryRLock() {
		q.startReads() // whoever has it may wait for these
		ns.guard.RLock()
	}
	if st = q.d.guarded(r, ns); st != started {
		ns.guard.RUnlock()
		q.fail(r, st)
	}
}

// prepare has a read started by startReads. It reports false for those that are for the store's own methods.
func (q *subQueue) prepare(r *request, ns *namespace, off int64) bool {
	if !r.view() {
		return false
	}
	fd, ok := aio.Descriptor(ns.store, r.bufs, off)
	if !ok {
		return false
	}
	r.reportData(false)
	r.op.FD, r.op.Off, r.op.Bufs, r.op.Owner = fd, off, r.bufs, r
	q.mu.Lock()
	q.ready = append(q.ready, &r.op)
	q.mu.Unlock()
	return true
}

// startReads starts what was prepared. Whoever prepares calls it, when there are no more commands and before it waits.
func (q *subQueue) startReads() {
	if q.reads == nil {
		return
	}
	q.mu.Lock()
	l := q.ready
	q.ready = nil
	q.mu.Unlock()
	if len(l) > 0 {
		q.reads.Start(l)
	}
}

// land ends the commands whose reads have ended, with one interrupt.
func (q *subQueue) land(l []*aio.Op) {
	for _, o := range l {
		r := o.Owner.(*request)
		r.received()
		r.ns.guard.RUnlock()
		q.fail(r, ioStatus(o.Err, false))
	}
	q.cq.notify()
}
