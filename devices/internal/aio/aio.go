// Package aio moves data between memory and files of the host with many transfers under way and nobody waiting for each.
//
// It is for what takes the host's disk some time: small reads past the page cache with others beside them. A goroutine in a
// system call that blocks keeps others of the few that Go runs at a time from being run for longer than such a read takes.
// Other transfers are made faster by plain calls: what the page cache has, a single one, writes (the kernel completes those that
// nobody waits for on threads of its own), and large ones, of which the most time goes into finding their pages.
package aio

import (
	"errors"
	"io"
	"sync"

	"dfemu/devices"
)

// ErrUnsupported reports a host without the means. Transfers are made with plain calls there.
var ErrUnsupported = errors.ErrUnsupported

const (
	// depth is how many transfers of a queue the host works on at a time, the others wait for their turn.
	depth = 128
	// maxPieces is the most buffers of a transfer.
	maxPieces = 1024
	// MaxBytes is how much a read moves at most that is made here.
	MaxBytes = 64 << 10
)

// An Op is a read of a file. The caller fills in the exported fields and may use it again after it has landed.
type Op struct {
	FD   int      // of the file; it stays open until the transfer has landed
	Off  int64    // bytes from the file's start
	Bufs [][]byte // they stay valid until the transfer has landed
	// Owner is the caller's.
	Owner any
	// Err is the outcome, set when the transfer lands: all of it was moved, or an error.
	Err error

	vec  vector
	slot int
}

// A Queue starts transfers and lands them.
type Queue struct {
	land func([]*Op)
	ctx  context
	done chan struct{}

	mu       sync.Mutex
	quiet    sync.Cond // inflight fell to 0
	inflight int       // with the kernel
	backlog  []*Op     // not yet
	slots    []*Op     // by their number, while the kernel has them
	free     []int
}

// New returns a queue. land is given transfers that ended, all that did at about the same time, on goroutines of the queue's;
// it may be called by several at a time.
// Where the host cannot do this the error wraps [ErrUnsupported].
func New(land func([]*Op)) (*Queue, error) {
	q := &Queue{land: land, slots: make([]*Op, depth), done: make(chan struct{})}
	q.quiet.L = &q.mu
	for i := range q.slots {
		q.free = append(q.free, i)
	}
	if err := q.ctx.setup(depth); err != nil {
		return nil, err
	}
	go q.reap()
	return q, nil
}

// Start begins transfers, with one system call for all of them. It does not wait for the disk, though it may for the file
// system. It may be called from any goroutine.
func (q *Queue) Start(l []*Op) {
	for _, o := range l {
		o.Err = nil
		o.vec.set(o.Bufs)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.backlog = append(q.backlog, l...)
	q.submit()
}

// submit gives the kernel what it takes of the backlog. The caller holds mu.
func (q *Queue) submit() {
	n := min(len(q.free), len(q.backlog))
	if n == 0 {
		return
	}
	l := q.backlog[:n]
	for _, o := range l {
		o.slot = q.free[len(q.free)-1]
		q.free = q.free[:len(q.free)-1]
		q.slots[o.slot] = o
	}
	q.inflight += n
	taken := q.ctx.submit(l)
	for _, o := range l[taken:] {
		q.forget(o)
	}
	if taken < n {
		// It does not want the next one, or has no memory. The plain call says why, or does it.
		o := l[taken]
		go q.byHand(o)
		q.inflight++
		taken++
	}
	rest := copy(q.backlog, q.backlog[taken:])
	clear(q.backlog[rest:])
	q.backlog = q.backlog[:rest]
	if rest > 0 && len(q.free) > 0 {
		q.submit()
	}
}

// forget takes a transfer back from the kernel's. The caller holds mu.
func (q *Queue) forget(o *Op) {
	q.slots[o.slot] = nil
	q.free = append(q.free, o.slot)
	q.inflight--
}

// byHand makes a transfer with plain calls.
func (q *Queue) byHand(o *Op) {
	o.Err = o.vec.read(o.FD, o.Off)
	q.land([]*Op{o})
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.inflight--; q.inflight == 0 {
		q.quiet.Broadcast()
	}
}

// reap lands transfers until the queue is closed.
func (q *Queue) reap() {
	defer close(q.done)
	var landed []*Op
	for {
		answers, ok := q.ctx.wait()
		if !ok {
			return
		}
		landed = landed[:0]
		q.mu.Lock()
		for _, a := range answers {
			o := q.slots[a.slot]
			q.forget(o)
			if q.ended(o, a.n) {
				landed = append(landed, o)
			}
		}
		q.inflight += len(landed) // until they have landed
		q.submit()
		q.mu.Unlock()
		if len(landed) > 0 {
			q.land(landed)
			// A processor that this interrupted is kept for this thread's next pause, which is in the kernel; with another
			// goroutine in its place an idle thread takes it at once.
			go nothing()
		}
		q.mu.Lock()
		if q.inflight -= len(landed); q.inflight == 0 {
			q.quiet.Broadcast()
		}
		q.mu.Unlock()
		clear(landed)
	}
}

func nothing() {}

// ended takes the kernel's answer to a transfer: bytes moved, or an error below 0. What was moved in part goes on. The caller
// holds mu.
func (q *Queue) ended(o *Op, n int) bool {
	switch {
	case n < 0 && interrupted(n):
	case n < 0:
		o.Err = hostError(n)
		return true
	case o.vec.advance(n):
		return true
	case n == 0:
		o.Err = io.ErrUnexpectedEOF
		return true
	}
	o.Off += int64(max(n, 0))
	q.backlog = append(q.backlog, o)
	return false
}

// Close waits until all transfers have landed, and ends the queue. No more are started. A nil queue, which is what is there
// without the means for one, has nothing to end.
func (q *Queue) Close() {
	if q == nil {
		return
	}
	q.mu.Lock()
	for q.inflight > 0 || len(q.backlog) > 0 {
		q.quiet.Wait()
	}
	q.mu.Unlock()
	q.ctx.stop()
	<-q.done
	q.ctx.destroy()
}

// Descriptor returns the descriptor of a file of the host on which a read of bufs from the store at byte off is to be made here
// rather than with the store's own methods.
func Descriptor(b devices.Block, bufs [][]byte, off int64) (fd int, ok bool) {
	f, is := b.(devices.DescriptorBlock)
	if !is || len(bufs) > maxPieces {
		return 0, false
	}
	n := 0
	for _, p := range bufs {
		if n += len(p); n > MaxBytes {
			return 0, false
		}
	}
	return f.Descriptor(bufs, off)
}

// Suits tells whether a queue is of use for a store.
func Suits(b devices.Block) bool {
	_, ok := Descriptor(b, nil, 0)
	return ok
}
