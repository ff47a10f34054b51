package scsi

import (
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

// UnitOptions describes a disk.
type UnitOptions struct {
	Serial   string // at most 20 bytes; "" makes one of the address
	Vendor   string // at most 8 characters; "" means DFEMU
	Product  string // at most 16 characters; "" means DISK
	Revision string // at most 4 characters; "" means 1.0
	// BlockSize is the logical block size in bytes, 512 or 4096; 0 means 512. PhysicalSize is the physical one, at least as
	// large; 0 means 4096.
	BlockSize, PhysicalSize int
}

// unit is a disk.
type unit struct {
	at     address
	o      UnitOptions
	store  devices.Block
	blocks atomic.Uint64

	mu         sync.Mutex
	attentions []sense // pending unit attentions, oldest first
	through    bool    // each write is durable when it completes: WCE is 0
	stopped    bool

	reservations reservations
}

func newUnit(at address, o UnitOptions, store devices.Block) (*unit, error) {
	def := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	def(&o.Vendor, "DFEMU")
	def(&o.Product, "DISK")
	def(&o.Revision, "1.0")
	def(&o.Serial, fmt.Sprintf("dfemu-%d-%d", at.target, at.lun))
	if o.BlockSize == 0 {
		o.BlockSize = 512
	}
	if o.PhysicalSize == 0 {
		o.PhysicalSize = max(4096, o.BlockSize)
	}
	switch {
	case len(o.Serial) > 20 || len(o.Vendor) > 8 || len(o.Product) > 16 || len(o.Revision) > 4:
		return nil, fmt.Errorf("serial %q, vendor %q, product %q or revision %q is longer than 20, 8, 16 or 4 bytes", o.Serial, o.Vendor, o.Product, o.Revision)
	case o.BlockSize != 512 && o.BlockSize != 4096:
		return nil, fmt.Errorf("blocks of %d bytes: must be 512 or 4096", o.BlockSize)
	case o.exponent() < 0:
		return nil, fmt.Errorf("physical blocks of %d bytes: must be a power of two, at least the logical %d", o.PhysicalSize, o.BlockSize)
	}
	u := &unit{at: at, o: o, store: store, attentions: []sense{sensePowerOn}}
	u.resize()
	if u.blocks.Load() == 0 {
		return nil, fmt.Errorf("a disk of %d bytes: at least one block of %d is needed", store.Size(), o.BlockSize)
	}
	return u, nil
}

// exponent is the binary logarithm of physical blocks in logical ones, or -1.
func (o *UnitOptions) exponent() int {
	for e := range 16 {
		if o.BlockSize<<e == o.PhysicalSize {
			return e
		}
	}
	return -1
}

func (u *unit) resize() { u.blocks.Store(uint64(u.store.Size()) / uint64(u.o.BlockSize)) }

// name is a number that is the same for the same serial: an NAA locally assigned identifier (SPC-4, 7.8.6.6.4).
func (u *unit) name() uint64 { return localName(u.o.Vendor + "\x00" + u.o.Serial) }

func localName(of string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(of)) // a hash takes everything
	return h.Sum64()&^(0xf<<60) | 3<<60
}

// inside tells whether blocks are on the disk.
func (u *unit) inside(lba, n uint64) bool {
	size := u.blocks.Load()
	return lba <= size && n <= size-lba
}

// attention has the next command end with a unit attention.
func (u *unit) attention(s sense) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.attentions {
		if a == s {
			return
		}
	}
	u.attentions = append(u.attentions, s)
}

func (u *unit) takeAttention() (sense, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.attentions) == 0 {
		return sense{}, false
	}
	s := u.attentions[0]
	u.attentions = u.attentions[1:]
	return s, true
}

// reset puts the unit into its power-on state; s is what the initiator is told. Persistent reservations stay (SPC-4,
// 5.13.5): only a loss of power ends them.
func (u *unit) reset(s sense) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.attentions = []sense{s}
	u.stopped, u.through, u.reservations.Reserved = false, false, false
}

// settle makes a write durable if it has to be.
func (u *unit) settle(fua bool) error {
	u.mu.Lock()
	through := u.through
	u.mu.Unlock()
	if fua || through {
		return u.store.Flush()
	}
	return nil
}

// chunk is the most bytes moved through a buffer at once.
const chunk = 256 << 10

// move copies n bytes between the disk at off and guest memory: directly where that is one piece or the store takes
// several, else through a buffer.
func (t *task) move(off int64, n uint64, write bool) error {
	c := t.req.Chain
	segs, at := c.In, t.in
	if write {
		segs, at = c.Out, t.out
	}
	l, err := virtio.Slice(segs, at, n)
	if err != nil {
		return err
	}
	m := c.Memory()
	var bufs [][]byte
	for _, s := range l {
		b, err := m.View(s.Addr, int(s.Len))
		if err != nil {
			return err
		}
		if len(b) != 0 {
			bufs = append(bufs, b)
		}
	}
	if write && t.req.Effect.FlipData != 0 {
		p := make([]byte, 0, n)
		for _, b := range bufs {
			p = append(p, b...)
		}
		t.req.Flip(p)
		bufs = [][]byte{p}
	}
	store := t.unit.store
	v, many := store.(devices.VectorBlock)
	switch {
	case len(bufs) == 0:
	case len(bufs) == 1 && write:
		_, err = store.WriteAt(bufs[0], off)
	case len(bufs) == 1:
		_, err = store.ReadAt(bufs[0], off)
	case many && write:
		err = v.WriteVAt(bufs, off)
	case many:
		err = v.ReadVAt(bufs, off)
	default:
		err = t.buffered(bufs, off, n, write)
	}
	if !write {
		t.flip(l, n)
		// Also after an error some of it may have changed.
		for _, s := range l {
			m.Written(s.Addr, int(s.Len))
		}
	}
	return err
}

// flip inverts bits of the n bytes that were stored in guest memory, as a fault says.
func (t *task) flip(l []virtio.Segment, n uint64) {
	flips := t.req.Effect.Flips(n)
	if len(flips) == 0 {
		return
	}
	at := uint64(0)
	for _, s := range l {
		if b, err := t.req.Chain.Memory().View(s.Addr, int(s.Len)); err == nil {
			devices.Flip(b, at, flips)
		}
		at += uint64(s.Len)
	}
}

func (t *task) buffered(bufs [][]byte, off int64, n uint64, write bool) error {
	p, _ := t.d.buffers.Get().(*[]byte)
	if p == nil {
		b := make([]byte, chunk)
		p = &b
	}
	defer t.d.buffers.Put(p)
	for n > 0 {
		b := (*p)[:min(n, chunk)]
		if !write {
			if _, err := t.unit.store.ReadAt(b, off); err != nil {
				return err
			}
		}
		for at := 0; at < len(b); {
			k := 0
			if write {
				k = copy(b[at:], bufs[0])
			} else {
				k = copy(bufs[0], b[at:])
			}
			at += k
			if bufs[0] = bufs[0][k:]; len(bufs[0]) == 0 {
				bufs = bufs[1:]
			}
		}
		if write {
			if _, err := t.unit.store.WriteAt(b, off); err != nil {
				return err
			}
		}
		off += int64(len(b))
		n -= uint64(len(b))
	}
	return nil
}
