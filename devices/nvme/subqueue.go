package nvme

import (
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/internal/aio"
)

// States of a queue's goroutine.
const (
	idle    = iota // waiting at its bell
	working        // looking for commands
	again          // working, and something has come since it last looked
)

const (
	fetchBatch  = 32        // entries read from the queue in one go
	notifyEvery = 16        // commands whose completions share an interrupt, at most
	slowAfter   = 25_000    // ns; a store that takes longer gets commands in parallel
	watchPeriod = 1_000_000 // ns until a command that takes long stops holding others up
	maxHelpers  = 16
)

// A subQueue is a submission queue (base specification, section 3.3.1).
type subQueue struct {
	d    *Device
	id   uint16
	size uint32 // entries
	prio uint8
	base uint64
	ring []byte // the queue in memory, or nil when it is not one piece of RAM
	cq   *compQueue

	tail     atomic.Uint32
	head     atomic.Uint32 // written with mu held
	reads    *aio.Queue    // reads of files that nobody waits for; nil if no namespace gains by them
	blocking atomic.Int32  // goroutines that execute a command with calls that wait
	state    atomic.Int32
	bell     bell
	closed   atomic.Bool
	cost     atomic.Int64 // ns that a command takes, a moving average
	watching atomic.Bool
	watch    devices.Timer
	progress atomic.Uint32 // commands taken
	seen     atomic.Uint32 // progress when the watch was set
	wg       sync.WaitGroup

	mu        sync.Mutex
	quiet     sync.Cond // executing fell to 0
	stopped   bool      // nothing more is taken
	executing int
	helpers   int
	pending   *request // fetched, in order
	last      *request // of pending
	waiting   int      // number of pending
	active    []*request
	ready     []*aio.Op // reads that are still to be started
	free      *request
	cids      []uint64 // bits of the command identifiers in use
	entry     [sqeSize]byte
}

func newSubQueue(d *Device, id uint16, size uint32, base uint64, cq *compQueue) *subQueue {
	q := &subQueue{d: d, id: id, size: size, base: base, cq: cq, bell: newBell(), cids: make([]uint64, 1024)}
	q.quiet.L = &q.mu
	if v, err := d.mem.View(base, int(size)*sqeSize); err == nil {
		q.ring = v
	}
	q.cost.Store(watchPeriod)
	q.watch = d.o.Clock.NewTimer(q.watched)
	q.makeReads()
	q.state.Store(working)
	q.wg.Add(1)
	go q.lead()
	return q
}

// kick has commands looked for. It never waits.
func (q *subQueue) kick() {
	if !q.wake() && q.cost.Load() > slowAfter && (q.reads == nil || q.blocking.Load() > 0) {
		q.help()
	}
}

// wake has the queue's goroutine look for commands and reports whether it slept.
func (q *subQueue) wake() bool {
	if q.state.Swap(again) != idle {
		return false
	}
	q.bell.ring()
	return true
}

// lead is the queue's goroutine.
func (q *subQueue) lead() {
	defer q.wg.Done()
	for !q.closed.Load() {
		q.state.Store(working)
		q.work()
		q.armShadow()
		if q.state.CompareAndSwap(working, idle) && !q.closed.Load() {
			q.bell.wait()
		}
	}
}

// work executes commands until there are none.
func (q *subQueue) work() {
	for n := 0; ; n++ {
		r, left := q.take()
		if r == nil {
			break
		}
		slow := q.cost.Load() > slowAfter
		if slow || n%notifyEvery == 0 || q.id == admin {
			q.cq.notify()
		}
		if left > 0 {
			if slow && !q.swift(r) {
				q.help()
			}
			if !q.watching.Load() {
				q.setWatch()
			}
		}
		q.execute(r)
		if left == 0 {
			q.startReads()
		}
	}
	q.startReads()
	q.cq.notify()
}

// help starts another goroutine for what is pending.
func (q *subQueue) help() {
	q.mu.Lock()
	ok := q.helpers < maxHelpers && !q.stopped && q.available()
	if ok {
		q.helpers++
		q.wg.Add(1)
	}
	q.mu.Unlock()
	if ok {
		go q.helper()
	}
}

// helper executes commands until there are none, then ends.
func (q *subQueue) helper() {
	defer q.wg.Done()
	for {
		r, left := q.take()
		if r == nil {
			break
		}
		if left > 0 && q.cost.Load() > slowAfter && !q.swift(r) {
			q.help()
		}
		q.execute(r)
		if left == 0 {
			q.startReads()
		}
		q.cq.notify()
	}
	q.startReads()
	q.mu.Lock()
	q.helpers--
	// A command that came between the last look and here was refused a helper if all were busy.
	more := q.available() && !q.stopped
	q.mu.Unlock()
	if more {
		q.wake()
	}
}

// setWatch sees to it that commands do not wait for long behind a slow one.
func (q *subQueue) setWatch() {
	if q.watching.Swap(true) {
		return
	}
	q.seen.Store(q.progress.Load())
	q.watch.Set(q.d.o.Clock.Now() + watchPeriod)
}

// watched is called when the watch expires.
func (q *subQueue) watched() {
	q.watching.Store(false)
	if q.closed.Load() {
		return
	}
	q.mu.Lock()
	stuck := q.available() && !q.stopped && q.executing > 0
	q.mu.Unlock()
	if !stuck {
		return
	}
	if q.progress.Load() == q.seen.Load() {
		q.cost.Store(watchPeriod)
		q.help()
	}
	q.setWatch()
}

// available tells whether take may find something. The caller holds mu.
func (q *subQueue) available() bool {
	if q.pending != nil || q.head.Load() != q.tail.Load() {
		return true
	}
	v, ok := q.shadowTail()
	return ok && v < q.size && v != q.head.Load()
}

// take returns the next command, and how many more there are at least. It
// returns nil while the queue stands still.
func (q *subQueue) take() (r *request, left int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped || q.d.paused.Load() {
		return nil, 0
	}
	if q.pending == nil {
		q.fetch()
	}
	r = q.pending
	if r == nil {
		return nil, 0
	}
	q.pending = r.next
	if q.pending == nil {
		q.last = nil
	}
	r.next = nil
	q.waiting--
	q.executing++
	r.alone = q.executing == 1 && q.waiting == 0
	r.slot = len(q.active)
	q.active = append(q.active, r)
	q.progress.Add(1)
	return r, q.waiting
}

// fetch reads entries from the queue's memory. The caller holds mu.
func (q *subQueue) fetch() {
	q.loadShadow()
	tail, head := q.tail.Load(), q.head.Load()
	if head == tail || q.cq.congested() || !q.d.fn.BusMaster() {
		return
	}
	var fused *request
	for n := 0; head != tail && (n < fetchBatch || fused != nil); n++ {
		if q.ring != nil {
			copy(q.entry[:], q.ring[head*sqeSize:])
		} else if err := q.d.mem.Read(q.base+uint64(head)*sqeSize, q.entry[:]); err != nil {
			q.d.fatal("submission queue %d cannot be read: %v", q.id, err)
			q.stopped = true
			break
		}
		if q.d.probe.Wants(devices.ClassDMA) {
			q.d.probe.DMA(devices.Transfer{Addr: q.base + uint64(head)*sqeSize, Bytes: sqeSize, What: "submission queue entry"})
		}
		if head++; head == q.size {
			head = 0
		}
		r := q.newRequest()
		r.e = parseEntry(&q.entry)
		fused = q.pair(fused, r)
	}
	if fused != nil {
		q.append(fused) // its partner is missing: execute reports it
	}
	q.head.Store(head)
}

// pair joins the commands of a fused operation (base specification, section
// 3.4.2): the second takes the first along. It returns r when that is a first one.
func (q *subQueue) pair(fused, r *request) *request {
	if fused != nil {
		if r.e.fuse == fuseSecond {
			r.first = fused
			q.append(r)
			return nil
		}
		q.append(fused)
	}
	if r.e.fuse == fuseFirst {
		return r
	}
	q.append(r)
	return nil
}

func (q *subQueue) append(r *request) {
	if q.last == nil {
		q.pending = r
	} else {
		q.last.next = r
	}
	q.last = r
	q.waiting++
}

// newRequest returns an empty request. The caller holds mu.
func (q *subQueue) newRequest() *request {
	r := q.free
	if r == nil {
		r = &request{q: q}
		r.shape.d, r.shape.queue = q.d, int(q.id)
		return r
	}
	q.free = r.next
	r.reset()
	return r
}

// claim marks r's command identifier as in use and reports whether it was free.
func (q *subQueue) claim(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	w, bit := &q.cids[r.e.cid/64], uint64(1)<<(r.e.cid%64)
	if *w&bit != 0 {
		return false
	}
	*w |= bit
	return true
}

// park leaves a command that was taken alone. Its goroutine goes on with others.
func (q *subQueue) park(r *request, why parking) {
	q.mu.Lock()
	r.parked = why
	q.leave()
	q.mu.Unlock()
}

// leave counts one execution less. The caller holds mu.
func (q *subQueue) leave() {
	if q.executing--; q.executing == 0 {
		q.quiet.Broadcast()
	}
}

// unpark takes a parked command back; it reports false if the command is gone or not parked for that reason.
func (q *subQueue) unpark(r *request, why parking) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped || q.d.paused.Load() || r.parked != why || r.slot >= len(q.active) || q.active[r.slot] != r {
		return false
	}
	r.parked = running
	q.executing++
	return true
}

// release forgets a command that ends. owned says that it holds its command
// identifier. The completion is posted afterwards: then the driver may use the
// identifier again.
func (q *subQueue) release(r *request, owned bool) {
	q.mu.Lock()
	q.drop(r, owned)
	q.mu.Unlock()
}

// drop is release with mu held.
func (q *subQueue) drop(r *request, owned bool) {
	last := len(q.active) - 1
	if r.slot <= last && q.active[r.slot] == r {
		q.active[r.slot] = q.active[last]
		q.active[r.slot].slot = r.slot
		q.active[last] = nil
		q.active = q.active[:last]
	}
	if owned {
		q.cids[r.e.cid/64] &^= 1 << (r.e.cid % 64)
	}
}

// finish is called when the completion of a command has been posted.
func (q *subQueue) finish(r *request) {
	q.mu.Lock()
	if f := r.first; f != nil {
		r.first = nil
		f.next = q.free
		q.free = f
	}
	r.next = q.free
	q.free = r
	q.leave()
	q.mu.Unlock()
}

// rest waits until no command is being executed. Pausing has to have begun.
func (q *subQueue) rest() {
	q.mu.Lock()
	for q.executing > 0 {
		q.quiet.Wait()
	}
	q.mu.Unlock()
}

// stop ends the queue: nothing more is taken, commands being executed are
// waited for, and the others forgotten. It returns those not executed.
func (q *subQueue) stop() (left []*request) {
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
	q.closed.Store(true)
	q.watch.Stop()
	q.wake()
	q.wg.Wait()
	q.rest()
	q.bell.close()
	q.reads.Close()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.active {
		if r.timer != nil {
			r.timer.Stop()
		}
		left = append(left, r)
	}
	for r := q.pending; r != nil; r = r.next {
		if r.first != nil {
			left = append(left, r.first)
		}
		left = append(left, r)
	}
	q.active, q.pending, q.last, q.waiting = nil, nil, nil, 0
	return left
}
