package virtio

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/dev/disk/drivertest"
	"dfemu/kernel/dev/dma"
	"dfemu/kernel/kern"
	"dfemu/kernel/kern/kerntest"
)

// Where the structures of a fake are in its BAR 0; the MSI-X table is BAR 1.
const (
	fakeBAR    = 0xf0000000
	fakeTable  = 0xf0010000
	fakeNotify = 0x1000
	fakeConfig = 0x2000
	fakeSize   = 0x4000
)

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
	h        *drivertest.Host
	k        *kern.Kernel
	features uint64
	config   []byte
	table    *kerntest.Space
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

// newFake makes a device of a type with queues of the sizes given.
func newFake(t testing.TB, typ int, features uint64, config []byte, sizes ...int) (*fake, *pci.Device) {
	t.Helper()
	h := drivertest.New()
	f := &fake{h: h, k: h.K, features: features | featVersion1, config: config, vector: noVector, table: kerntest.NewSpace(0x1000), notified: func(int) {}}
	for _, s := range sizes {
		f.queues = append(f.queues, &fakeQueue{size: s, max: s, vector: noVector})
	}
	h.Registers[fakeBAR], h.Registers[fakeTable] = f, f.table
	c := kerntest.NewSpace(4096)
	c.Mask = bytes.Repeat([]byte{0xff}, 4096)
	c.Put(0, vendor|uint32(modernBase+typ)<<16)
	c.Put(4, 1<<(16+4))
	for at, size := range map[int]uint32{0x10: fakeSize, 0x14: 0x1000, 0x18: 0, 0x1c: 0, 0x20: 0, 0x24: 0} {
		c.Allow(at, -size)
	}
	c.Put(0x10, fakeBAR)
	c.Put(0x14, fakeTable)
	c.Put(0x34, 0x40)
	at := 0x40
	add := func(typ int, off, size, extra uint32) {
		c.Put(at, pci.CapVendor|uint32(at+20)<<8|20<<16|uint32(typ)<<24)
		c.Put(at+8, off)
		c.Put(at+12, size)
		c.Put(at+16, extra)
		at += 20
	}
	add(capCommon, 0, cfgSize, 0)
	add(capNotify, fakeNotify, 0x1000, 4)
	add(capISR, 0x800, 1, 0)
	add(capDevice, fakeConfig, uint32(len(config)), 0)
	c.Put(at, pci.CapMSIX|uint32(len(sizes))<<16) // one more than there are queues
	c.Put(at+4, 1)                                // in BAR 1
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
	f.h.RaiseMessage(f.table.Read32(uint64(v)*16 + 8))
}
