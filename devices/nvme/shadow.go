package nvme

import "dfemu/devices"

// Shadow doorbells (base specification, sections 5.8 and B.5): the driver stores
// tails and heads in a page of memory and writes the doorbell only when it passes
// the event index that the controller has left in a second page. The admin queues
// keep their doorbells.

// shadowPages are the two pages, laid out like the doorbells.
type shadowPages struct {
	doorbells, events []byte
	addr, eventAddr   uint64
}

// loadShadow takes the tail from memory. Only who goes on to take commands may call it: the queue's goroutine, before it
// sleeps, looks for a tail other than the one taken over here.
func (q *subQueue) loadShadow() {
	v, ok := q.shadowTail()
	if !ok || v == q.tail.Load() {
		return // without shadow doorbells the tail is the doorbell's alone, which may be written just now
	}
	if v >= q.size {
		q.d.strictf(int(q.id), "NVMe base 2.0, 3.3.1.5", "the shadow tail of submission queue %d is %d; it has %d entries", q.id, v, q.size)
		return
	}
	q.tail.Store(v)
}

// shadowTail is the tail in memory, which need not make sense, if the queue has a shadow doorbell.
func (q *subQueue) shadowTail() (v uint32, ok bool) {
	s := q.d.shadow.Load()
	if s == nil || q.id == admin || !q.d.fn.BusMaster() || q.d.prompt() {
		return 0, false
	}
	return load32(s.doorbells, int(q.id)*8), true
}

// prompt tells whether somebody wants to know of breaches before a doorbell's access ends. Then the driver is asked to write the
// doorbell for each command, and the shadow tail alone tells of none.
func (d *Device) prompt() bool { return d.probe.Wants(devices.ClassPrompt) }

// foreseeShadow follows a doorbell that set the tail to v while somebody wants to know of breaches promptly: it asks for the
// doorbell of the next command. Another processor may have missed that it is wanted.
func (q *subQueue) foreseeShadow(v uint32) {
	s := q.d.shadow.Load()
	if s == nil || q.id == admin || !q.d.fn.BusMaster() {
		return
	}
	at := int(q.id) * 8
	for range q.size {
		store32(s.events, at, v)
		q.d.mem.Written(s.eventAddr+uint64(at), 4)
		next := load32(s.doorbells, at)
		if next == v || next >= q.size {
			return
		}
		q.tail.Store(next)
		q.foresee(v, next, nil)
		v = next
	}
}

// armShadow asks the driver to write the doorbell for the next command. Whether
// there is one already is seen afterwards: then the queue stays awake.
func (q *subQueue) armShadow() {
	s := q.d.shadow.Load()
	if s == nil || q.id == admin || !q.d.fn.BusMaster() {
		return
	}
	at := int(q.id) * 8
	tail, prompt := q.tail.Load(), q.d.prompt()
	if load32(s.events, at) != tail {
		store32(s.events, at, tail)
		q.d.mem.Written(s.eventAddr+uint64(at), 4)
	} else if prompt {
		return // the driver has known that the doorbell is wanted
	}
	if v := load32(s.doorbells, at); v != tail && v < q.size {
		if prompt && q.tail.CompareAndSwap(tail, v) {
			q.foresee(tail, v, nil)
		}
		q.state.Store(again)
	}
}

// loadShadow takes the head from memory and reports whether it moved. The caller
// holds mu.
func (q *compQueue) loadShadow() bool {
	s := q.d.shadow.Load()
	if s == nil || q.id == admin {
		return false
	}
	v := load32(s.doorbells, int(q.id)*8+4)
	if v == q.head {
		return false
	}
	if !q.moveHead(v) {
		q.d.strictf(int(q.id), "NVMe base 2.0, 3.3.1.5", "the shadow head of completion queue %d is %d, beyond what was posted", q.id, v)
		return false
	}
	return true
}

// armShadow asks the driver to write the doorbell when it next consumes entries.
// The caller holds mu.
func (q *compQueue) armShadow() {
	s := q.d.shadow.Load()
	if s == nil || q.id == admin || !q.d.fn.BusMaster() {
		return
	}
	at := int(q.id)*8 + 4
	store32(s.events, at, q.head)
	q.d.mem.Written(s.eventAddr+uint64(at), 4)
}

// checkDoorbellBuffer tells whether buffers are where they can be.
func (d *Device) checkDoorbellBuffer(e *entry) status {
	if a, b := e.prp1, e.prp2; a&(d.pageSize-1) != 0 || b&(d.pageSize-1) != 0 {
		d.strictf(admin, "NVMe base 2.0, 5.8", "the doorbell buffers at %#x and %#x do not start at a page", a, b)
		return invalidField
	}
	return success
}

// doorbellBuffer is the command Doorbell Buffer Config.
func (d *Device) doorbellBuffer(r *request) status {
	if st := d.checkDoorbellBuffer(&r.e); st != success {
		return st
	}
	a, b := r.e.prp1, r.e.prp2
	n := maxQueues * 8
	s := &shadowPages{addr: a, eventAddr: b}
	var err error
	if s.doorbells, err = d.mem.View(a, n); err != nil {
		return dataTransferError
	}
	if s.events, err = d.mem.View(b, n); err != nil {
		return dataTransferError
	}
	if !alignedTo(s.doorbells, 4) || !alignedTo(s.events, 4) {
		return internalError
	}
	d.shadow.Store(s)
	d.statef("shadow doorbells at %#x, event indexes at %#x", a, b)
	d.kickAll()
	return success
}
