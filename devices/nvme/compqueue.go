package nvme

import (
	"sync"
	"sync/atomic"

	"dfemu/devices"
)

// A completion is a completion queue entry (base specification, section 3.3.3.2),
// before it has a place in the queue.
type completion struct {
	Result uint64 // double words 0 and 1
	SQ     uint16
	CID    uint16
	Status status
	Quiet  bool // a fault: no interrupt
	Hold   int  // a fault: posted after this many others
}

// maxBacklog is how many completions may wait for room in a full queue before no
// more commands are taken.
const maxBacklog = 64

// A compQueue is a completion queue (base specification, section 3.3.1).
type compQueue struct {
	d      *Device
	id     uint16
	size   uint32 // entries
	base   uint64
	ring   []byte // the queue in memory, or nil when it is not one piece of RAM
	vector uint16
	ien    bool
	refs   int // submission queues; guarded by Device.mu

	busy atomic.Bool // the driver has not consumed everything
	full atomic.Int32

	mu      sync.Mutex
	head    uint32
	tail    uint32
	phase   uint16 // 0 or 1
	backlog []completion
	held    []completion
	unsent  int // posted since the last interrupt
	timer   devices.Timer
	armed   bool // the coalescing timer runs
}

func newCompQueue(d *Device, id uint16, size uint32, base uint64, vector uint16, ien bool) *compQueue {
	q := &compQueue{d: d, id: id, size: size, base: base, vector: vector, ien: ien, phase: 1}
	if v, err := d.mem.View(base, int(size)*cqeSize); err == nil && alignedTo(v, 8) {
		q.ring = v
	}
	q.timer = d.o.Clock.NewTimer(q.expired)
	return q
}

// congested tells whether so much waits for room that no more commands should be taken.
func (q *compQueue) congested() bool { return q.full.Load() >= maxBacklog }

// post puts a completion into the queue; the interrupt comes with [compQueue.notify].
func (q *compQueue) post(c completion) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.Hold > 0 {
		q.held = append(q.held, c)
		return
	}
	q.place(c)
	for i := 0; i < len(q.held); {
		if q.held[i].Hold--; q.held[i].Hold > 0 {
			i++
			continue
		}
		h := q.held[i]
		q.held = append(q.held[:i], q.held[i+1:]...)
		q.place(h)
	}
}

// place puts a completion into the queue or, while that is full, into the
// backlog. The caller holds mu.
func (q *compQueue) place(c completion) {
	if len(q.backlog) == 0 {
		q.loadShadow()
	}
	if len(q.backlog) > 0 || q.next(q.tail) == q.head {
		q.backlog = append(q.backlog, c)
		q.refill()
		return
	}
	q.store(c)
}

func (q *compQueue) next(i uint32) uint32 {
	if i++; i == q.size {
		i = 0
	}
	return i
}

// store writes an entry. The caller holds mu and has seen that there is room.
func (q *compQueue) store(c completion) {
	d := q.d
	head := uint32(0)
	if s := d.sqs[c.SQ].Load(); s != nil {
		head = s.head.Load()
	}
	low := uint64(head)&0xffff | uint64(c.SQ)<<16
	high := uint64(c.CID) | uint64(uint16(c.Status)<<1|q.phase)<<16
	at := q.base + uint64(q.tail)*cqeSize
	if d.probe.Wants(devices.ClassDMA) {
		d.probe.DMA(devices.Transfer{Addr: at, Bytes: cqeSize, Write: true, What: "completion queue entry"})
	}
	if !d.fn.BusMaster() {
		return
	}
	if q.ring != nil {
		// The phase tag is in the second half and published last.
		store64(q.ring, int(q.tail)*cqeSize, c.Result)
		store64(q.ring, int(q.tail)*cqeSize+8, low|high<<32)
		d.mem.Written(at, cqeSize)
	} else {
		var b [cqeSize]byte
		le.PutUint64(b[0:], c.Result)
		le.PutUint64(b[8:], low|high<<32)
		err := d.mem.Write(at, b[:12])
		if err == nil {
			err = d.mem.Write(at+12, b[12:])
		}
		if err != nil {
			d.fatal("completion queue %d cannot be written: %v", q.id, err)
			return
		}
	}
	q.tail = q.next(q.tail)
	if q.tail == 0 {
		q.phase ^= 1
	}
	q.busy.Store(true)
	if !c.Quiet {
		q.unsent++
	}
}

// notify interrupts the driver if something was posted since the last time, or
// lets the coalescing feature put that off (base specification, section 5.27.1.6).
func (q *compQueue) notify() {
	q.mu.Lock()
	n := q.unsent
	if n == 0 {
		q.mu.Unlock()
		return
	}
	if threshold, wait := q.d.coalescing(q); wait > 0 && n < threshold {
		if !q.armed {
			q.armed = true
			q.timer.Set(q.d.o.Clock.Now() + wait)
		}
		q.mu.Unlock()
		return
	}
	q.unsent = 0
	q.mu.Unlock()
	q.interrupt()
}

// expired is called when the coalescing time is over.
func (q *compQueue) expired() {
	q.mu.Lock()
	n := q.unsent
	due := q.armed
	q.unsent, q.armed = 0, false
	q.mu.Unlock()
	if due && n > 0 && q.d.cqs[q.id].Load() == q {
		q.interrupt()
	}
}

// interrupt signals the queue's vector.
func (q *compQueue) interrupt() {
	if !q.ien {
		return
	}
	if q.d.shadow.Load() != nil {
		q.mu.Lock()
		q.watchHead()
		q.mu.Unlock()
	}
	q.d.raise(q.vector)
}

// watchHead asks for the doorbell where the pin is used: it falls when the driver
// has consumed everything. The caller holds mu.
func (q *compQueue) watchHead() {
	for q.d.shadow.Load() != nil && q.busy.Load() && q.d.pinMode() {
		if q.armShadow(); !q.loadShadow() {
			break
		}
	}
}

// setHead is a write of value v to the queue's doorbell. It reports false for
// values that cannot be.
func (q *compQueue) setHead(v uint32) bool {
	q.mu.Lock()
	ok := q.moveHead(v)
	drained := ok && len(q.backlog) > 0 && q.refill()
	more := q.unsent > 0
	q.watchHead()
	q.mu.Unlock()
	if drained || more {
		q.notify()
	}
	if drained {
		q.d.kickFor(q)
	}
	return ok
}

// moveHead takes over a new head. The caller holds mu.
func (q *compQueue) moveHead(v uint32) bool {
	used := (q.tail + q.size - q.head) % q.size
	if v >= q.size || (v+q.size-q.head)%q.size > used {
		return false
	}
	q.head = v
	if q.head == q.tail {
		q.busy.Store(false)
	}
	return true
}

// refill moves the backlog into the queue as far as there is room. It reports
// whether commands may be taken again. The caller holds mu.
func (q *compQueue) refill() bool {
	n := 0
	for n < len(q.backlog) {
		if q.next(q.tail) == q.head {
			// The driver may have moved a shadow head before it could see that the doorbell is wanted.
			if q.armShadow(); !q.loadShadow() {
				break
			}
			continue
		}
		q.store(q.backlog[n])
		n++
	}
	q.backlog = append(q.backlog[:0], q.backlog[n:]...)
	q.full.Store(int32(len(q.backlog)))
	return n > 0
}

// stop ends the queue.
func (q *compQueue) stop() {
	q.timer.Stop()
	q.mu.Lock()
	q.armed, q.unsent = false, 0
	q.backlog, q.held = nil, nil
	q.mu.Unlock()
	q.busy.Store(false)
}
