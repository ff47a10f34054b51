package virtio

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/dev/dma"
	"dfemu/kernel/kern"
)

// Where the structures of a fake are in its BAR 0; the MSI-X table is BAR 1.
const (
	fakeBAR    = 0xf0000000
	fakeTable  = 0xf0010000
	fakeNotify = 0x1000
	fakeConfig = 0x2000
	fakeSize   = 0x4000
)

// host is a machine whose interrupts are found by their messages.
type host struct {
	kern.Host
	out  safeBuffer
	mu   sync.Mutex
	ints map[uint32]*kern.Interrupt
}

func (h *host) NewInterrupt(cpu int) (*kern.Interrupt, error) {
	i, err := h.Host.NewInterrupt(cpu)
	if err == nil {
		h.mu.Lock()
		h.ints[i.Data] = i
		h.mu.Unlock()
	}
	return i, err
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// fakeQueue is the device's side of a queue.
type fakeQueue struct {
	size, max         int
	desc, avail, used uint64
	vector            uint16
	enabled           bool
	seen, done        uint16
}

// chain is what a driver has made available.
type chain struct {
	id      uint16
	out, in [][]byte
}

// fake is a virtio device. Its registers are at BAR 0.
type fake struct {
	h        *host
	k        *kern.Kernel
	features uint64
	config   []byte
	table    *memory
	// notified is called in a goroutine of its own, one at a time, when the driver notifies a queue.
	notified func(q int)
	stuck    bool // it never finishes a reset

	mu        sync.Mutex
	status    uint8
	guest     uint64
	sel, gsel uint32
	queue     int
	vector    uint16
	queues    []*fakeQueue
	resets    int
	serial    sync.Mutex
}

// memory is registers without effect.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (m *memory) Size() uint64 { return uint64(len(m.b)) }
func (m *memory) get(off uint64, n int) (v uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b [8]byte
	copy(b[:n], m.b[off:])
	return binary.LittleEndian.Uint64(b[:])
}
func (m *memory) set(off uint64, n int, v uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	copy(m.b[off:], b[:n])
}
func (m *memory) Read8(o uint64) uint8       { return uint8(m.get(o, 1)) }
func (m *memory) Read16(o uint64) uint16     { return uint16(m.get(o, 2)) }
func (m *memory) Read32(o uint64) uint32     { return uint32(m.get(o, 4)) }
func (m *memory) Read64(o uint64) uint64     { return m.get(o, 8) }
func (m *memory) Write8(o uint64, v uint8)   { m.set(o, 1, uint64(v)) }
func (m *memory) Write16(o uint64, v uint16) { m.set(o, 2, uint64(v)) }
func (m *memory) Write32(o uint64, v uint32) { m.set(o, 4, uint64(v)) }
func (m *memory) Write64(o uint64, v uint64) { m.set(o, 8, v) }

// confSpace is configuration space whose BARs have sizes.
type confSpace struct {
	memory
	sizes map[uint64]uint32
}

func (c *confSpace) Write32(o uint64, v uint32) {
	if s, ok := c.sizes[o]; ok {
		v &= -s
	} else if o >= 0x10 && o < 0x28 {
		return
	}
	c.set(o, 4, uint64(v))
}

// newFake makes a device of a type with queues of the sizes given.
func newFake(t testing.TB, typ int, features uint64, config []byte, sizes ...int) (*fake, *pci.Device) {
	t.Helper()
	h := &host{ints: map[uint32]*kern.Interrupt{}}
	h.Out = &h.out
	f := &fake{h: h, features: features | featVersion1, config: config, vector: noVector, table: &memory{b: make([]byte, 0x1000)}, notified: func(int) {}}
	for _, s := range sizes {
		f.queues = append(f.queues, &fakeQueue{size: s, max: s, vector: noVector})
	}
	h.Registers = map[uint64]kern.Registers{fakeBAR: f, fakeTable: f.table}
	f.k = kern.New(h)
	c := &confSpace{memory{b: make([]byte, 4096)}, map[uint64]uint32{0x10: fakeSize, 0x14: 0x1000}}
	c.set(0, 4, uint64(vendor)|uint64(modernBase+typ)<<16)
	c.set(6, 2, 1<<4)
	c.set(0x10, 4, fakeBAR)
	c.set(0x14, 4, fakeTable)
	c.set(0x34, 1, 0x40)
	at := uint64(0x40)
	add := func(typ int, off, size, extra uint32) {
		c.set(at, 4, uint64(pci.CapVendor)|uint64(at+20)<<8|20<<16|uint64(typ)<<24)
		c.set(at+8, 4, uint64(off))
		c.set(at+12, 4, uint64(size))
		c.set(at+16, 4, uint64(extra))
		at += 20
	}
	add(capCommon, 0, cfgSize, 0)
	add(capNotify, fakeNotify, 0x1000, 4)
	add(capISR, 0x800, 1, 0)
	add(capDevice, fakeConfig, uint32(len(config)), 0)
	c.set(at, 4, pci.CapMSIX|uint64(len(sizes))<<16) // one more than there are queues
	c.set(at+4, 4, 1)                                // in BAR 1
	return f, pci.NewDevice(f.k, pci.Address{}, c)
}

func (f *fake) Size() uint64 { return fakeSize }

func (f *fake) read(off uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off >= fakeConfig {
		var b [8]byte
		if int(off-fakeConfig) < len(f.config) {
			copy(b[:], f.config[off-fakeConfig:])
		}
		return binary.LittleEndian.Uint64(b[:])
	}
	q := &fakeQueue{}
	if f.queue < len(f.queues) {
		q = f.queues[f.queue]
	}
	switch off {
	case cfgFeature:
		return f.features >> (32 * (f.sel & 1)) & 0xffffffff
	case cfgNumQueues:
		return uint64(len(f.queues))
	case cfgStatus:
		return uint64(f.status)
	case cfgConfigVector:
		return uint64(f.vector)
	case cfgQueueSize:
		return uint64(q.size)
	case cfgQueueVector:
		return uint64(q.vector)
	case cfgQueueNotify:
		return uint64(f.queue)
	}
	return 0
}

func (f *fake) write(off uint64, v uint64) {
	if off >= fakeNotify && off < fakeConfig {
		go func() {
			f.serial.Lock()
			defer f.serial.Unlock()
			f.notified(int(v))
		}()
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	q := &fakeQueue{}
	if f.queue < len(f.queues) {
		q = f.queues[f.queue]
	}
	switch off {
	case cfgFeatureSel:
		f.sel = uint32(v)
	case cfgGuestSel:
		f.gsel = uint32(v)
	case cfgGuest:
		f.guest = f.guest&^(0xffffffff<<(32*(f.gsel&1))) | v<<(32*(f.gsel&1))
	case cfgStatus:
		if v == 0 {
			f.resets++
			if f.stuck {
				f.status = 1
				return
			}
			for i, o := range f.queues {
				f.queues[i] = &fakeQueue{size: o.max, max: o.max, vector: noVector}
			}
			f.guest = 0
		} else if v&statusFeaturesOK != 0 && f.guest&^f.features != 0 {
			v &^= statusFeaturesOK
		}
		f.status = uint8(v)
	case cfgConfigVector:
		f.vector = uint16(v)
	case cfgQueueSelect:
		f.queue = int(v)
	case cfgQueueSize:
		q.size = int(v)
	case cfgQueueVector:
		q.vector = uint16(v)
	case cfgQueueEnable:
		q.enabled = true
	case cfgQueueDesc, cfgQueueDesc + 4:
		set(&q.desc, off-cfgQueueDesc, v)
	case cfgQueueAvail, cfgQueueAvail + 4:
		set(&q.avail, off-cfgQueueAvail, v)
	case cfgQueueUsed, cfgQueueUsed + 4:
		set(&q.used, off-cfgQueueUsed, v)
	}
}

func set(p *uint64, half, v uint64) { *p = *p&^(0xffffffff<<(8*half)) | v<<(8*half) }

func (f *fake) Read8(o uint64) uint8       { return uint8(f.read(o)) }
func (f *fake) Read16(o uint64) uint16     { return uint16(f.read(o)) }
func (f *fake) Read32(o uint64) uint32     { return uint32(f.read(o)) }
func (f *fake) Read64(o uint64) uint64     { return f.read(o) }
func (f *fake) Write8(o uint64, v uint8)   { f.write(o, uint64(v)) }
func (f *fake) Write16(o uint64, v uint16) { f.write(o, uint64(v)) }
func (f *fake) Write32(o uint64, v uint32) { f.write(o, uint64(v)) }
func (f *fake) Write64(o uint64, v uint64) { f.write(o, v); f.write(o+4, v>>32) }

// live returns a queue that the driver has set up, or nil.
func (f *fake) live(n int) *fakeQueue {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status&statusDriverOK == 0 || n >= len(f.queues) || !f.queues[n].enabled {
		return nil
	}
	return f.queues[n]
}

// next takes the next chain of a queue.
func (f *fake) next(n int) (c chain, ok bool) {
	q := f.live(n)
	if q == nil {
		return c, false
	}
	avail := f.h.Memory(q.avail, 4+2*q.size)
	if avail == nil {
		return c, false
	}
	if uint16(dma.Load32(avail, 0)>>16) == q.seen {
		return c, false
	}
	c.id = binary.LittleEndian.Uint16(avail[4+2*(int(q.seen)%q.size):])
	q.seen++
	i := c.id
	for range q.size {
		d := f.h.Memory(q.desc+16*uint64(i), 16)
		if d == nil {
			break
		}
		b := f.h.Memory(binary.LittleEndian.Uint64(d), int(binary.LittleEndian.Uint32(d[8:])))
		flags := binary.LittleEndian.Uint16(d[12:])
		if flags&descWrite != 0 {
			c.in = append(c.in, b)
		} else {
			c.out = append(c.out, b)
		}
		if flags&descNext == 0 {
			return c, true
		}
		i = binary.LittleEndian.Uint16(d[14:])
	}
	return c, false // the driver resets meanwhile
}

// use returns a chain as if n bytes had been written.
func (f *fake) use(queue int, id, n uint32) {
	q := f.live(queue)
	if q == nil {
		return
	}
	used := f.h.Memory(q.used, 4+8*q.size)
	if used == nil {
		return
	}
	e := 4 + 8*(int(q.done)%q.size)
	dma.Store32(used, e, id)
	dma.Store32(used, e+4, n)
	q.done++
	dma.Store32(used, 0, uint32(q.done)<<16)
}

// interrupt sends a queue's interrupt, or with -1 that of the configuration.
func (f *fake) interrupt(queue int) {
	f.mu.Lock()
	v := f.vector
	if queue >= 0 {
		v = f.queues[queue].vector
	}
	f.mu.Unlock()
	if v == noVector {
		return
	}
	data := f.table.Read32(uint64(v)*16 + 8)
	f.h.mu.Lock()
	i := f.h.ints[data]
	f.h.mu.Unlock()
	if i != nil {
		i.Raise(f.k)
	}
}
