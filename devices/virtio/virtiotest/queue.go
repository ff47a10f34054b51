package virtiotest

import "time"

// Feature bits of the rings.
const (
	Indirect  = 1 << 28
	EventIdx  = 1 << 29
	Packed    = 1 << 34
	RingReset = 1 << 40
)

// A Buffer is what a chain gave back.
type Buffer struct {
	ID  uint16
	Len uint32   // bytes the device says it has written
	In  [][]byte // the device-writable buffers, in guest memory

	segs []Desc
}

// Desc is a descriptor as the driver thinks of it.
type Desc struct {
	Addr  uint64
	Len   uint32
	Write bool
}

// Queue is the driver's side of a virtqueue.
type Queue struct {
	D      *Driver
	Index  int
	Size   int
	Vector int
	// Indirect has each chain in a table of its own.
	Indirect bool

	Desc, Driver, Device uint64 // guest-physical addresses of the areas
	ram                  []byte

	free   []uint16 // descriptors (split) or buffer ids (packed)
	chains map[uint16]chain

	avail, used uint16 // split: indices; packed: positions
	kicked      uint16 // split: avail when the device was last notified
	wrap, uwrap bool   // packed: wrap counters
	batch       []func()
	room        int // packed: free descriptors
}

type chain struct {
	descs []Desc
	used  []uint16 // descriptors taken (split)
	count int      // descriptors taken (packed)
}

// Queue sets queue number i up with size descriptors and enables it.
func (d *Driver) Queue(i, size int) *Queue {
	d.T.Helper()
	q := &Queue{
		D: d, Index: i, Size: size, Vector: i, ram: d.RAM.Data, Indirect: d.Features&Indirect != 0,
		chains: map[uint16]chain{}, wrap: true, uwrap: true, room: size,
	}
	// The driver area of a split ring is only aligned to 2 bytes here, as the
	// specification allows.
	q.Desc = d.rings
	q.Driver = q.Desc + 16*uint64(size)
	if d.Features&Packed == 0 {
		q.Driver += 2
	}
	q.Device = (q.Driver + 6 + 2*uint64(size) + 3) &^ 3
	d.rings = (q.Device + 6 + 8*uint64(size) + 4095) &^ 4095
	clear(d.Bytes(q.Desc, int(d.rings-q.Desc)))
	for n := range size {
		q.free = append(q.free, uint16(n))
	}
	q.Program()
	return q
}

// Program tells the device where the queue is and enables it.
func (q *Queue) Program() {
	d := q.D
	d.Put(QueueSelect, 2, uint64(q.Index))
	d.Put(QueueSize, 2, uint64(q.Size))
	d.Put(QueueVector, 2, uint64(q.Vector))
	d.Put(QueueDesc, 8, q.Desc)
	d.Put(QueueDriver, 4, q.Driver&0xffffffff)
	d.Put(QueueDriver+4, 4, q.Driver>>32)
	d.Put(QueueDevice, 8, q.Device)
	d.Put(QueueEnable, 2, 1)
}

// Move has the queue go on with the device of another driver, whose memory has
// the same content.
func (q *Queue) Move(d *Driver) {
	d.Features = q.D.Features
	d.data = q.D.data
	q.D, q.ram = d, d.RAM.Data
}

func (q *Queue) packed() bool   { return q.D.Features&Packed != 0 }
func (q *Queue) eventIdx() bool { return q.D.Features&EventIdx != 0 }

// Add queues a chain of out buffers (their content) and in buffers (their
// sizes) without publishing it, and returns its id.
func (q *Queue) Add(out [][]byte, in ...int) uint16 {
	var l []Desc
	for _, b := range out {
		a := q.D.Alloc(len(b))
		copy(q.ram[a:], b)
		l = append(l, Desc{a, uint32(len(b)), false})
	}
	for _, n := range in {
		l = append(l, Desc{q.D.Alloc(n), uint32(n), true})
	}
	return q.AddDescs(l)
}

// Free is the number of descriptors that can still be added.
func (q *Queue) Free() int {
	if q.packed() {
		return min(q.room, len(q.free))
	}
	return len(q.free)
}

// AddDescs queues a chain of descriptors without publishing it.
func (q *Queue) AddDescs(l []Desc) uint16 {
	if q.packed() {
		return q.addPacked(l)
	}
	return q.addSplit(l)
}

func put(b []byte, addr uint64, n uint32, last32 uint32) {
	le.PutUint64(b, addr)
	le.PutUint32(b[8:], n)
	le.PutUint32(b[12:], last32)
}

func flags(d Desc, next bool) uint16 {
	var f uint16
	if next {
		f |= 1
	}
	if d.Write {
		f |= 2
	}
	return f
}

// table writes an indirect table.
func (q *Queue) table(l []Desc) Desc {
	a := q.D.Alloc(16 * len(l))
	for i, d := range l {
		if q.packed() {
			put(q.ram[a+16*uint64(i):], d.Addr, d.Len, uint32(flags(d, false))<<16)
		} else {
			put(q.ram[a+16*uint64(i):], d.Addr, d.Len, uint32(flags(d, i < len(l)-1))|uint32(i+1)<<16)
		}
	}
	return Desc{a, uint32(16 * len(l)), false}
}

func (q *Queue) addSplit(l []Desc) uint16 {
	c := chain{descs: l}
	indirect := uint16(0)
	if q.Indirect {
		l = []Desc{q.table(l)}
		indirect = 4
	}
	n := len(q.free) - len(l)
	c.used = append(c.used, q.free[n:]...)
	q.free = q.free[:n]
	for i, d := range l {
		next := uint16(0)
		if i < len(l)-1 {
			next = c.used[i+1]
		}
		put(q.ram[q.Desc+16*uint64(c.used[i]):], d.Addr, d.Len, uint32(flags(d, i < len(l)-1)|indirect)|uint32(next)<<16)
	}
	head := c.used[0]
	q.chains[head] = c
	// Not a plain store: in a driver area aligned to 2 bytes the device loads
	// an entry of the ring along with the index.
	store16(q.ram, q.Driver+4+2*uint64(int(q.avail)%q.Size), head)
	q.avail++
	return head
}

func (q *Queue) addPacked(l []Desc) uint16 {
	id := q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	c := chain{descs: l, count: len(l)}
	indirect := uint16(0)
	if q.Indirect {
		l, c.count, indirect = []Desc{q.table(l)}, 1, 4
	}
	q.chains[id] = c
	q.room -= c.count
	for i, d := range l {
		f := flags(d, i < len(l)-1) | indirect
		if q.wrap {
			f |= 1 << 7
		} else {
			f |= 1 << 15
		}
		at := q.Desc + 16*uint64(q.avail)
		le.PutUint64(q.ram[at:], d.Addr)
		le.PutUint32(q.ram[at+8:], d.Len)
		v := uint32(id) | uint32(f)<<16
		q.batch = append(q.batch, func() { store32(q.ram, at+12, v) })
		if q.avail++; int(q.avail) == q.Size {
			q.avail, q.wrap = 0, !q.wrap
		}
	}
	return id
}

// Publish makes what was added available and reports whether the device wants
// to be notified.
func (q *Queue) Publish() bool {
	if q.packed() {
		// The first descriptor's flags are written last.
		for i := len(q.batch) - 1; i >= 0; i-- {
			q.batch[i]()
		}
		n := len(q.batch)
		q.batch = nil
		return n > 0 && q.wantedPacked(n)
	}
	old := q.kicked
	store16(q.ram, q.Driver+2, q.avail)
	q.kicked = q.avail
	if q.eventIdx() {
		event := load16(q.ram, q.Device+4+8*uint64(q.Size))
		return q.avail-event-1 < q.avail-old
	}
	return load16(q.ram, q.Device)&1 == 0
}

func (q *Queue) wantedPacked(n int) bool {
	w := load32(q.ram, q.Device)
	switch w >> 16 & 3 {
	case 0:
		return true
	case 1:
		return false
	}
	// Was the descriptor named one of the last n?
	off := int(w & 0x7fff)
	if w>>15&1 != 0 != q.wrap {
		off -= q.Size
	}
	return off < int(q.avail) && off >= int(q.avail)-n
}

// Kick publishes and notifies the device if it wants that.
func (q *Queue) Kick() {
	if q.Publish() {
		q.Notify()
	}
}

// Notify notifies the device.
func (q *Queue) Notify() {
	q.D.MMIO.Write(q.D.Notify+uint64(q.Index)*q.D.Multiplier, 2, uint64(q.Index))
}

// Take returns the next buffer the device has given back.
func (q *Queue) Take() (Buffer, bool) {
	b, ok := q.TakeRaw()
	for i, s := range b.segs {
		b.In[i] = q.ram[s.Addr : s.Addr+uint64(s.Len)]
	}
	return b, ok
}

// TakeRaw is Take for buffers that are not in guest memory: In is of nil
// slices.
func (q *Queue) TakeRaw() (Buffer, bool) {
	var b Buffer
	if q.packed() {
		at := q.Desc + 16*uint64(q.used)
		w := load32(q.ram, at+12)
		if w>>23&1 != 0 != q.uwrap || w>>31&1 != 0 != q.uwrap {
			return b, false
		}
		b.ID, b.Len = uint16(w), le.Uint32(q.ram[at+8:])
		c := q.finish(&b)
		q.room += c.count
		if q.used += uint16(c.count); int(q.used) >= q.Size {
			q.used, q.uwrap = q.used-uint16(q.Size), !q.uwrap
		}
		q.free = append(q.free, b.ID)
		return b, true
	}
	if load16(q.ram, q.Device+2) == q.used {
		return b, false
	}
	e := q.ram[q.Device+4+8*uint64(int(q.used)%q.Size):]
	b.ID, b.Len = uint16(le.Uint32(e)), le.Uint32(e[4:])
	q.used++
	c := q.finish(&b)
	q.free = append(q.free, c.used...)
	return b, true
}

func (q *Queue) finish(b *Buffer) chain {
	c, ok := q.chains[b.ID]
	if !ok {
		q.D.T.Fatalf("queue %d: device gave back %d, which it did not have", q.Index, b.ID)
	}
	delete(q.chains, b.ID)
	for _, d := range c.descs {
		if d.Write {
			b.In = append(b.In, nil)
			b.segs = append(b.segs, d)
		}
	}
	return c
}

// arm asks for an interrupt when the next buffer is given back.
func (q *Queue) arm() {
	switch {
	case !q.eventIdx():
	case q.packed():
		w := uint32(q.used) | 2<<16
		if q.uwrap {
			w |= 1 << 15
		}
		store32(q.ram, q.Driver, w)
	default:
		store16(q.ram, q.Driver+4+2*uint64(q.Size), q.used)
	}
}

// Quiet asks for no interrupts (without event index).
func (q *Queue) Quiet(on bool) {
	v := uint16(0)
	if on {
		v = 1
	}
	if q.packed() {
		store32(q.ram, q.Driver, uint32(v)<<16)
		return
	}
	store16(q.ram, q.Driver, v)
}

// Poll returns n buffers that the device has given back. It looks for them and needs no interrupt.
func (q *Queue) Poll(n int) (l []Buffer) {
	q.D.T.Helper()
	for end := time.Now().Add(Patience); len(l) < n; {
		b, ok := q.Take()
		switch {
		case ok:
			l = append(l, b)
		case time.Now().After(end):
			q.D.T.Fatalf("queue %d: %d of %d buffers came back", q.Index, len(l), n)
		default:
			time.Sleep(50 * time.Microsecond)
		}
	}
	return l
}

// Wait returns the next n buffers, as a driver does that relies on interrupts.
func (q *Queue) Wait(n int) []Buffer {
	q.D.T.Helper()
	var l []Buffer
	deadline := time.After(Patience)
	for {
		for len(l) < n {
			b, ok := q.Take()
			if !ok {
				break
			}
			l = append(l, b)
		}
		if len(l) == n {
			return l
		}
		q.arm()
		if q.ready() {
			continue
		}
		select {
		case <-q.D.interrupts[q.Vector]:
		case <-deadline:
			q.D.T.Fatalf("queue %d: %d of %d buffers came back; status %#x", q.Index, len(l), n, q.D.Get(Status, 1))
		}
	}
}

// ready tells whether Take would find a buffer.
func (q *Queue) ready() bool {
	if q.packed() {
		w := load32(q.ram, q.Desc+16*uint64(q.used)+12)
		return w>>23&1 != 0 == q.uwrap && w>>31&1 != 0 == q.uwrap
	}
	return load16(q.ram, q.Device+2) != q.used
}

// Do adds one chain, notifies, and waits for it.
func (q *Queue) Do(out [][]byte, in ...int) Buffer {
	q.D.T.Helper()
	q.Add(out, in...)
	q.Kick()
	return q.Wait(1)[0]
}
