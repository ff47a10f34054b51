package virtio

import (
	"encoding/binary"
	"sync"

	"dfemu/kernel/dev/dma"
	"dfemu/kernel/kern"
)

// Descriptor flags (2.7.5).
const (
	descNext  = 1
	descWrite = 2 // the device writes it
)

// queue is a split queue. The descriptor table is shadowed: the device's copy is not trusted.
type queue struct {
	v                 *device
	index, size       int
	intr              int // which interrupt is its
	mem               kern.DMA
	availOff, usedOff int
	doorbell          uint64

	mu       sync.Mutex
	next     []uint16 // free list, and the chains in use
	free     uint16
	nfree    int
	avail    uint16
	used     uint16
	tokens   []any // by head
	chainLen []uint16
	bad      int
}

// buffer is a piece of a chain.
type buffer struct {
	phys  uint64
	n     uint32
	write bool // by the device
}

func newQueue(v *device, index, size int) (*queue, error) {
	q := &queue{v: v, index: index, size: size, nfree: size}
	q.availOff = 16 * size
	q.usedOff = (q.availOff + 6 + 2*size + 4095) &^ 4095
	mem, err := v.k.AllocDMA(q.usedOff+8+8*size, 4096, 0)
	if err != nil {
		return nil, err
	}
	q.mem = mem
	q.next, q.tokens, q.chainLen = make([]uint16, size), make([]any, size), make([]uint16, size)
	q.clear()
	return q, nil
}

// clear empties the queue; the device does not use it.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.mem.Bytes)
	for i := range q.next {
		q.next[i] = uint16(i + 1)
	}
	q.free, q.nfree, q.avail, q.used = 0, q.size, 0, 0
}

// put adds a chain, and returns false if there is no room. The token comes back by take. kick tells the
// device.
func (q *queue) put(token any, bufs ...buffer) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(bufs) > q.nfree {
		return false
	}
	head, i := q.free, q.free
	for n, b := range bufs {
		d := q.mem.Bytes[16*int(i):]
		flags := uint16(0)
		if b.write {
			flags |= descWrite
		}
		if n < len(bufs)-1 {
			flags |= descNext
		}
		binary.LittleEndian.PutUint64(d, b.phys)
		binary.LittleEndian.PutUint32(d[8:], b.n)
		binary.LittleEndian.PutUint16(d[12:], flags)
		binary.LittleEndian.PutUint16(d[14:], q.next[i])
		if n < len(bufs)-1 {
			i = q.next[i]
		}
	}
	q.free = q.next[i]
	q.nfree -= len(bufs)
	q.tokens[head], q.chainLen[head] = token, uint16(len(bufs))
	binary.LittleEndian.PutUint16(q.mem.Bytes[q.availOff+4+2*(int(q.avail)%q.size):], head)
	q.avail++
	// The index is the upper half of the first word; the flags are 0: the device interrupts.
	dma.Store32(q.mem.Bytes, q.availOff, uint32(q.avail)<<16)
	return true
}

// kick tells the device to look at the queue, unless it does not want that.
func (q *queue) kick() {
	if dma.Load32(q.mem.Bytes, q.usedOff)&1 == 0 {
		q.v.notify.w16(q.doorbell, uint16(q.index))
	}
}

// take returns the next chain the device has used, and how many bytes it wrote.
func (q *queue) take() (token any, n uint32, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for uint16(dma.Load32(q.mem.Bytes, q.usedOff)>>16) != q.used {
		e := q.usedOff + 4 + 8*(int(q.used)%q.size)
		id, n := dma.Load32(q.mem.Bytes, e), dma.Load32(q.mem.Bytes, e+4)
		q.used++
		if id >= uint32(q.size) || q.tokens[id] == nil {
			// A device that lies: what it says is not used.
			if q.bad++; q.bad == 1 {
				q.v.k.Printf("%s: queue %d: the device returned chain %d, which it does not have", q.v.name, q.index, id)
			}
			continue
		}
		token = q.tokens[id]
		q.tokens[id] = nil
		last := uint16(id)
		for range q.chainLen[id] - 1 {
			last = q.next[last]
		}
		q.next[last] = q.free
		q.free = uint16(id)
		q.nfree += int(q.chainLen[id])
		return token, n, true
	}
	return nil, 0, false
}

// drain returns all tokens the device has; it must be reset.
func (q *queue) drain() []any {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []any
	for i, t := range q.tokens {
		if t != nil {
			out = append(out, t)
			q.tokens[i] = nil
		}
	}
	return out
}
