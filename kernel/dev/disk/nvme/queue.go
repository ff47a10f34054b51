package nvme

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/kernel/dev/dma"
	"dfemu/kernel/kern"
	"dfemu/kernel/subr/disk"
)

// command is a request to the controller.
type command struct {
	// What is asked.
	op    uint8
	nsid  uint32
	prp1  uint64
	prp2  uint64
	dw10  [6]uint32
	bio   *disk.Bio // or
	done  *kern.Event
	space *namespace

	// What became of it.
	id      uint16 // while a slot has it
	status  status
	result  uint32
	err     error // set when the controller did not answer it
	since   time.Duration
	tries   int
	forever bool // an asynchronous event request may take as long as it likes
}

// A command's identifier is its slot and, above slotBits, how often that was used: of a slot that is used again, a completion
// that comes twice is not taken for the new command's.
const slotBits = 10

// sq is a submission queue.
type sq struct {
	c     *controller
	id    int
	cq    *cq
	depth int
	mem   kern.DMA
	prp   kern.DMA

	mu      sync.Mutex
	tail    int
	slots   []*command
	uses    []uint16 // of each slot
	free    []uint16
	waiting []*command
	stopped bool
}

// cq is a completion queue.
type cq struct {
	c     *controller
	id    int
	depth int
	mem   kern.DMA
	sqs   []*sq

	mu      sync.Mutex
	head    int
	phase   uint32
	stopped bool // the controller does not know it
	bad     atomic.Int64
	count   atomic.Uint64
}

func (c *controller) newSQ(id, depth int, q *cq) (*sq, error) {
	mem, err := c.k.AllocDMA(depth*sqEntry, pageSize, 0)
	if err != nil {
		return nil, err
	}
	s := &sq{c: c, id: id, cq: q, depth: depth, mem: mem}
	if id != 0 {
		if s.prp, err = c.k.AllocDMA((depth-1)*prpSlot, pageSize, 0); err != nil {
			c.k.FreeDMA(mem)
			return nil, err
		}
	}
	s.reset()
	q.sqs = append(q.sqs, s)
	return s, nil
}

func (c *controller) newCQ(id, depth int) (*cq, error) {
	mem, err := c.k.AllocDMA(depth*cqEntry, pageSize, 0)
	if err != nil {
		return nil, err
	}
	q := &cq{c: c, id: id, depth: depth, mem: mem}
	q.reset()
	return q, nil
}

// reset empties the queue; the controller does not use it.
func (s *sq) reset() {
	s.tail = 0
	s.slots = make([]*command, s.depth-1)
	if s.uses == nil {
		s.uses = make([]uint16, s.depth-1)
	}
	s.free = s.free[:0]
	for i := s.depth - 2; i >= 0; i-- {
		s.free = append(s.free, uint16(i))
	}
}

func (q *cq) reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.mem.Bytes)
	q.head, q.phase, q.stopped = 0, 1, false
}

// stop keeps the queue's doorbell from being written.
func (q *cq) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
}

func (q *cq) bell() uint64 { return regBells + uint64(2*q.id+1)*q.c.stride }
func (s *sq) bell() uint64 { return regBells + uint64(2*s.id)*s.c.stride }

// submit sends a command, or lets it wait for room.
func (s *sq) submit(m *command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || len(s.free) == 0 || len(s.waiting) > 0 {
		s.waiting = append(s.waiting, m)
		return
	}
	s.put(m)
	s.ring()
}

// put writes a command into the queue, which has room; it is locked.
func (s *sq) put(m *command) {
	slot := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.slots[slot] = m
	s.uses[slot]++
	m.id = slot | s.uses[slot]<<slotBits
	m.since = s.c.k.Now()
	if m.bio != nil && m.op != ioFlush && m.op != ioDataset {
		m.prp1, m.prp2 = s.lists(int(slot), m.bio.Mem.Phys, int(m.bio.Length))
	}
	if m.op == ioDataset && m.bio != nil {
		// The range, in the memory for the list: attributes, blocks, first block.
		r := s.prp.Bytes[int(slot)*prpSlot:]
		binary.LittleEndian.PutUint32(r, 0)
		binary.LittleEndian.PutUint32(r[4:], uint32(m.bio.Length>>m.space.shift))
		binary.LittleEndian.PutUint64(r[8:], uint64(m.bio.Offset)>>m.space.shift)
		m.prp1, m.prp2 = s.prp.Phys+uint64(slot)*prpSlot, 0
	}
	e := s.mem.Bytes[s.tail*sqEntry:][:sqEntry]
	clear(e)
	le := binary.LittleEndian
	le.PutUint32(e, uint32(m.op)|uint32(m.id)<<16)
	le.PutUint32(e[4:], m.nsid)
	le.PutUint64(e[24:], m.prp1)
	le.PutUint64(e[32:], m.prp2)
	for i, v := range m.dw10 {
		le.PutUint32(e[40+4*i:], v)
	}
	s.tail = (s.tail + 1) % s.depth
}

// ring tells the controller what was put.
func (s *sq) ring() { s.c.regs.Write32(s.bell(), uint32(s.tail)) }

// lists returns the two PRP entries for memory in one piece (4.3): the second is a page, or the address of a list of
// pages.
func (s *sq) lists(slot int, phys uint64, n int) (prp1, prp2 uint64) {
	prp1 = phys
	done := pageSize - int(phys%pageSize)
	if done >= n {
		return prp1, 0
	}
	next := phys + uint64(done)
	if n-done <= pageSize {
		return prp1, next
	}
	list := s.prp.Bytes[slot*prpSlot:][:prpSlot]
	for i := 0; done < n; i++ {
		binary.LittleEndian.PutUint64(list[8*i:], next)
		next += pageSize
		done += pageSize
	}
	return prp1, s.prp.Phys + uint64(slot)*prpSlot
}

// process takes the completions there are and returns how many they were.
func (q *cq) process() int {
	var done []*command
	q.mu.Lock()
	n := 0
	for n < 2*q.depth && !q.stopped {
		e := q.head * cqEntry
		w := dma.Load32(q.mem.Bytes, e+12)
		if w>>16&1 != q.phase {
			break
		}
		result, where := dma.Load32(q.mem.Bytes, e), dma.Load32(q.mem.Bytes, e+8)
		if q.head++; q.head == q.depth {
			q.head, q.phase = 0, q.phase^1
		}
		n++
		if m := q.take(int(where>>16), uint16(w)); m != nil {
			m.status, m.result = status(w>>17), result
			done = append(done, m)
		} else if bad := q.bad.Add(1); bad == 1 {
			q.c.k.Printf("%s: completion queue %d: a completion of command %d on queue %d, which was not sent", q.c.name, q.id, w&0xffff, where>>16)
		}
	}
	if n > 0 {
		// Before a command's identifier is used again.
		q.c.regs.Write32(q.bell(), uint32(q.head))
	}
	q.mu.Unlock()
	q.count.Add(uint64(n))
	for _, s := range q.sqs {
		s.refill()
	}
	for _, m := range done {
		q.c.complete(m)
	}
	return n
}

// waits tells whether there is a completion that has not been taken.
func (q *cq) waits() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.stopped && dma.Load32(q.mem.Bytes, q.head*cqEntry+12)>>16&1 == q.phase
}

// take returns the command that a completion is for, whose slot is free from then on.
func (q *cq) take(id int, cid uint16) *command {
	slot := int(cid & (1<<slotBits - 1))
	for _, s := range q.sqs {
		if s.id != id {
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if slot >= len(s.slots) || s.slots[slot] == nil || s.slots[slot].id != cid {
			return nil
		}
		m := s.slots[slot]
		s.slots[slot] = nil
		s.free = append(s.free, uint16(slot))
		return m
	}
	return nil
}

// refill sends what waits, as far as there is room.
func (s *sq) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for !s.stopped && n < len(s.waiting) && len(s.free) > 0 {
		s.put(s.waiting[n])
		n++
	}
	if n > 0 {
		s.waiting = s.waiting[n:]
		s.ring()
	}
}

// hold keeps commands from being sent.
func (s *sq) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// stop keeps commands from being sent, and takes those the controller has. It must not use the
// queue any more.
func (s *sq) stop() []*command {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	var out []*command
	for _, m := range s.slots {
		if m != nil {
			out = append(out, m)
		}
	}
	s.reset()
	return out
}

// drain takes the commands that wait.
func (s *sq) drain() []*command {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiting
	s.waiting = nil
	return w
}

// underWay is a command as it was when it was looked at.
type underWay struct {
	m     *command // nil for none
	id    uint16
	op    uint8
	since time.Duration
}

// oldest is the command that has been under way for the longest time.
func (s *sq) oldest() (u underWay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.slots {
		if o != nil && !o.forever && (u.m == nil || o.since < u.since) {
			u = underWay{o, o.id, o.op, o.since}
		}
	}
	return u
}

// oldestIs tells whether u is still the oldest.
func (s *sq) oldestIs(u underWay) bool {
	return s.oldest() == u
}
