package virtio

import (
	"encoding/binary"
)

// splitRing is a split virtqueue (section 2.7).
type splitRing struct {
	q     *Queue
	num   uint16
	desc  []byte // descriptor table
	avail shared // driver area
	skip  int    // where the driver area begins in avail: 0 or 2
	used  shared // device area

	next     uint16 // next index in the available ring
	seen     uint16 // while prompt: where what notifications told of ends
	done     uint16 // index to be published in the used ring
	told     uint16 // done when the driver was last told
	quiet    bool   // the driver need not notify (without event index)
	event    int    // event index as last stored, or -1
	eventIdx bool
	busy     inFlight
}

const (
	availNoInterrupt = 1
	usedNoNotify     = 1
)

func newSplitRing(q *Queue, num int, desc, driver, device uint64, eventIdx bool) (*splitRing, error) {
	r := &splitRing{q: q, num: uint16(num), event: -1, eventIdx: eventIdx}
	switch {
	case num&(num-1) != 0:
		return nil, Rule("4.1.4.3.2", "%d descriptors: must be a power of two", num)
	case desc%16 != 0 || driver%2 != 0 || device%4 != 0:
		return nil, Rule("2.7.1", "areas at %#x, %#x, %#x: must be aligned to 16, 2 and 4", desc, driver, device)
	}
	var err error
	if r.desc, err = q.mem.View(desc, num*descSize); err != nil {
		return nil, err
	}
	if r.avail, r.skip, err = newShared(q.mem, driver, 6+2*num); err != nil {
		return nil, err
	}
	if r.used, _, err = newShared(q.mem, device, 6+8*num); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *splitRing) availIdx() uint16 { return r.avail.load16(r.skip + 2) }

// held tells that what comes next is not to be taken before a notification.
func (r *splitRing) held() bool { return r.next == r.seen && r.q.prompt() }

func (r *splitRing) more() bool { return r.availIdx() != r.next && !r.held() }

func (r *splitRing) pop(c *Chain) (bool, error) {
	n, err := r.ahead()
	if n == 0 || err != nil || r.held() {
		return false, err
	}
	if err := r.load(c, r.next); err != nil {
		return false, err
	}
	r.check(c, &r.busy)
	r.next++
	return true, nil
}

// ahead is how many chains are available.
func (r *splitRing) ahead() (uint16, error) {
	n := r.availIdx() - r.next
	if n > r.num {
		return n, Rule("2.7.6.1", "available index is %d ahead in a ring of %d: it went back, or too far", n, r.num)
	}
	return n, nil
}

// head is the first descriptor of the chain at an index of the available ring.
func (r *splitRing) head(i uint16) uint16 { return r.avail.load16(r.skip + 4 + 2*int(i&(r.num-1))) }

// load reads the chain at an index of the available ring.
func (r *splitRing) load(c *Chain, i uint16) error {
	c.id, c.count = r.head(i), 1
	return r.walk(c, c.id)
}

func (r *splitRing) foresee(c *Chain, look func(c *Chain)) (bool, error) {
	n, err := r.ahead()
	known := r.seen - r.next
	if known > n {
		known = 0 // it is of a time before somebody wanted to know
	}
	r.seen = r.next + n
	if err != nil {
		return true, err
	}
	busy := r.busy.clone()
	for i := range n {
		if i < known {
			busy.set(r.head(r.next + i))
			continue
		}
		c.clear()
		if err := r.load(c, r.next+i); err != nil {
			return true, err
		}
		r.check(c, &busy)
		look(c)
	}
	r.setNotify(true)
	return r.availIdx() == r.seen, nil
}

// walk follows the chain from descriptor i of the table on.
func (r *splitRing) walk(c *Chain, i uint16) error {
	for range r.num {
		if i >= r.num {
			return Rule("2.7.5", "descriptor %d in a table of %d", i, r.num)
		}
		d := splitDescriptor(r.desc[int(i)*descSize:])
		if d.flags&descIndirect != 0 {
			if d.flags&descNext != 0 {
				return Rule("2.7.5.3.1", "descriptor %d is indirect and has a successor", i)
			}
			return r.walkTable(c, d)
		}
		if err := c.add(d); err != nil {
			return err
		}
		if d.flags&descNext == 0 {
			return nil
		}
		i = d.other
	}
	return Rule("2.7.5.2", "chain with a loop: more descriptors than the %d there are", r.num)
}

func (r *splitRing) walkTable(c *Chain, d descriptor) error {
	t, err := r.q.table(d)
	if err != nil {
		return err
	}
	n := len(t) / descSize
	i := 0
	for range n {
		if i >= n {
			return Rule("2.7.5.3", "descriptor %d in an indirect table of %d", i, n)
		}
		d := splitDescriptor(t[i*descSize:])
		if d.flags&descIndirect != 0 {
			return Rule("2.7.5.3.1", "indirect descriptor in an indirect table")
		}
		if err := c.add(d); err != nil {
			return err
		}
		if d.flags&descNext == 0 {
			return nil
		}
		i = int(d.other)
	}
	return Rule("2.7.5.2", "chain with a loop in an indirect table of %d", n)
}

func (r *splitRing) push(l []*Chain) {
	end := 0
	for _, c := range l {
		at := 4 + 8*int(r.done&(r.num-1))
		binary.LittleEndian.PutUint32(r.used.b[at:], uint32(c.id))
		binary.LittleEndian.PutUint32(r.used.b[at+4:], c.len)
		end = max(end, at+8)
		r.done++
		r.busy.clear(c.id)
	}
	r.publish()
	r.q.mem.Written(r.used.addr, end)
}

// publish stores the used ring's flags and index, which are one word.
func (r *splitRing) publish() {
	w := uint32(r.done) << 16
	if r.quiet && !r.eventIdx {
		w |= usedNoNotify
	}
	r.used.store32(0, w)
}

func (r *splitRing) wantsInterrupt() bool {
	old := r.told
	r.told = r.done
	if r.eventIdx {
		event := r.avail.load16(r.skip + 4 + 2*int(r.num))
		return r.done-event-1 < r.done-old
	}
	return r.avail.load16(r.skip)&availNoInterrupt == 0
}

func (r *splitRing) setNotify(on bool) {
	next := r.next
	if r.q.prompt() {
		on, next = true, r.seen // each chain is to be told of
	}
	if !r.eventIdx {
		if r.quiet == on {
			r.quiet = !on
			r.publish()
			r.q.mem.Written(r.used.addr, 4)
		}
		return
	}
	// Without a new event index the driver stays quiet by itself.
	if on && r.event != int(next) {
		r.event = int(next)
		at := 4 + 8*int(r.num)
		r.used.store16(at, next)
		r.q.mem.Written(r.used.addr+uint64(at), 2)
	}
}

func (r *splitRing) save() [2]uint16 { return [2]uint16{r.next, r.done} }

func (r *splitRing) restore(s [2]uint16) {
	r.next, r.done, r.told, r.seen = s[0], s[1], s[1], s[0]
	r.quiet = true // unknown: have it stored when notifications are wanted
}
