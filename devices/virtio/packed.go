package virtio

import (
	"encoding/binary"
)

// packedRing is a packed virtqueue (section 2.8).
type packedRing struct {
	q        *Queue
	num      uint16
	desc     shared
	driver   shared // event suppression, written by the driver
	device   shared // event suppression, written here
	next     lap    // next descriptor to be taken
	seen     lap    // while prompt: where what notifications told of ends
	done     lap    // next descriptor to be given back
	total    int64  // descriptors given back since the start
	told     int64  // total when the driver was last told
	event    int64  // event suppression as last stored, or -1
	eventIdx bool
	busy     inFlight
}

// lap is a position in the ring and the wrap counter that goes with it.
type lap struct {
	i    uint16
	wrap bool
}

func (p lap) plus(n, num uint16) lap {
	// Both are at most 32768, so the sum fits.
	if i := uint32(p.i) + uint32(n); i >= uint32(num) {
		return lap{uint16(i - uint32(num)), !p.wrap}
	}
	return lap{p.i + n, p.wrap}
}

// nowhere is a position that no ring has.
var nowhere = lap{i: 1<<16 - 1}

// minusLap is how many descriptors the position is behind q, in a ring of num; more than that if it is not.
func (p lap) minusLap(q lap, num uint16) int {
	n := int(p.i) - int(q.i)
	if p.wrap != q.wrap {
		n += int(num)
	}
	if n < 0 {
		return int(num) + 1
	}
	return n
}

// word is the position as it is written in event suppression structures.
func (p lap) word() uint16 {
	if p.wrap {
		return p.i | 1<<15
	}
	return p.i
}

// Flags of event suppression (section 2.8.10).
const (
	eventEnable  = 0
	eventDisable = 1
	eventDesc    = 2
)

func newPackedRing(q *Queue, num int, desc, driver, device uint64, eventIdx bool) (*packedRing, error) {
	r := &packedRing{q: q, num: uint16(num), event: -1, eventIdx: eventIdx, next: lap{0, true}, seen: lap{0, true}, done: lap{0, true}}
	if desc%16 != 0 || driver%4 != 0 || device%4 != 0 {
		return nil, Rule("2.8.11", "areas at %#x, %#x, %#x: must be aligned to 16, 4 and 4", desc, driver, device)
	}
	var err error
	if r.desc, _, err = newShared(q.mem, desc, num*descSize); err != nil {
		return nil, err
	}
	if r.driver, _, err = newShared(q.mem, driver, 4); err != nil {
		return nil, err
	}
	if r.device, _, err = newShared(q.mem, device, 4); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *packedRing) more() bool {
	return r.available(r.next) && (r.next != r.seen || !r.q.prompt())
}

// available tells whether the descriptor at a position is the driver's gift.
func (r *packedRing) available(at lap) bool {
	flags := uint16(r.desc.load32(int(at.i)*descSize+12) >> 16)
	return flags&descAvail != 0 == at.wrap && flags&descUsed != 0 != at.wrap
}

func (r *packedRing) pop(c *Chain) (bool, error) {
	if !r.more() {
		return false, nil
	}
	after, err := r.load(c, r.next)
	if err != nil {
		return false, err
	}
	r.check(c, &r.busy)
	r.next = after
	return true, nil
}

// load reads the chain at a position, and returns the one after it.
func (r *packedRing) load(c *Chain, at lap) (lap, error) {
	for n := uint16(1); ; n++ {
		d := packedDescriptor(r.desc.b[int(at.i)*descSize:])
		at = at.plus(1, r.num)
		c.id, c.count = d.other, n
		if d.flags&descIndirect != 0 {
			if n != 1 || d.flags&descNext != 0 {
				return at, Rule("2.8.19", "indirect descriptor that is not alone")
			}
			return at, r.readTable(c, d)
		}
		if err := c.add(d); err != nil {
			return at, err
		}
		if d.flags&descNext == 0 {
			return at, nil
		}
		if n == r.num {
			return at, Rule("2.8.17", "chain longer than the ring of %d", r.num)
		}
	}
}

func (r *packedRing) foresee(c *Chain, look func(c *Chain)) (bool, error) {
	r.checkEvent(r.driver.load32(0))
	known := r.seen.minusLap(r.next, r.num)
	if known > int(r.num) {
		known = 0 // it is of a time before somebody wanted to know
	}
	at, busy := r.next, r.busy.clone()
	for n := 0; n < int(r.num) && r.available(at); n += int(c.count) {
		c.clear()
		after, err := r.load(c, at)
		if err != nil {
			r.seen = nowhere // whoever takes chains gets here
			return true, err
		}
		if n < known {
			busy.set(c.id)
		} else {
			r.check(c, &busy)
			look(c)
		}
		at = after
	}
	r.seen = at
	r.setNotify(true)
	return !r.available(at), nil
}

// readTable takes all descriptors of an indirect table, in order; of their
// flags only WRITE counts (section 2.8.7).
func (r *packedRing) readTable(c *Chain, d descriptor) error {
	t, err := r.q.table(d)
	if err != nil {
		return err
	}
	for ; len(t) > 0; t = t[descSize:] {
		if err := c.add(packedDescriptor(t)); err != nil {
			return err
		}
	}
	return nil
}

func (r *packedRing) push(l []*Chain) {
	for _, c := range l {
		at := int(r.done.i) * descSize
		binary.LittleEndian.PutUint32(r.desc.b[at+8:], c.len)
		flags := uint32(0)
		if r.done.wrap {
			flags = descAvail | descUsed
		}
		if c.len != 0 {
			flags |= descWrite
		}
		r.desc.store32(at+12, uint32(c.id)|flags<<16)
		r.q.mem.Written(r.desc.addr+uint64(at), descSize)
		r.done = r.done.plus(c.count, r.num)
		r.total += int64(c.count)
		r.busy.clear(c.id)
	}
}

func (r *packedRing) wantsInterrupt() bool {
	old := r.told
	r.told = r.total
	w := r.driver.load32(0)
	r.checkEvent(w)
	switch w >> 16 & 3 {
	case eventEnable:
		return true
	case eventDesc:
		if !r.eventIdx {
			return true
		}
		// The descriptor named is on this lap or the one before; was it given
		// back just now?
		event := r.total - int64(r.done.i) + int64(w&0x7fff)
		if w>>15&1 != 0 != r.done.wrap {
			event -= int64(r.num)
		}
		return event >= old && event < r.total
	}
	return false
}

func (r *packedRing) setNotify(on bool) {
	next := r.next
	if r.q.prompt() && r.seen.i < r.num {
		on, next = true, r.seen // each chain is to be told of
	}
	w := uint32(eventDisable) << 16
	if on && r.eventIdx {
		w = eventDesc<<16 | uint32(next.word())
	} else if on {
		w = eventEnable << 16
	}
	if r.event == int64(w) {
		return
	}
	r.event = int64(w)
	r.device.store32(0, w)
	r.q.mem.Written(r.device.addr, 4)
}

func (r *packedRing) save() [2]uint16 { return [2]uint16{r.next.word(), r.done.word()} }

func (r *packedRing) restore(s [2]uint16) {
	// A position of 15 bits may be beyond this ring if the state is not from
	// it.
	unpack := func(w uint16) lap { return lap{min(w&0x7fff, r.num-1), w>>15 != 0} }
	r.next, r.done = unpack(s[0]), unpack(s[1])
	r.seen, r.total, r.told = r.next, 0, 0
}
