package virtio_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/pci"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/virtiotest"
)

// attend has an audience for an idle device, whose driver has not begun.
func attend(t *testing.T) (*virtio.Device, *virtiotest.Driver, *devtest.Recorder) {
	t.Helper()
	dev := virtio.New(virtio.Config{
		Name: "idle", Type: 1, Queues: []int{64, 64}, Packed: true, Features: 1<<3 | 1<<4,
		FeatureNames: map[uint64]string{1 << 3: "CHEESE", 1 << 4: "BREAD"}, Requires: map[uint64]uint64{1 << 3: 1 << 4}, RequiresSection: "5.99",
	})
	t.Cleanup(func() { dev.Close() })
	d := virtiotest.New(t, dev.Function(), true)
	a := &devtest.Recorder{}
	dev.Function().Probe().Watch(devices.ClassStrict, a, nil)
	return dev, d, a
}

// confirm reads what a driver has to read again.
func confirm(d *virtiotest.Driver) {
	d.Get(virtiotest.Status, 1)
	d.Get(virtiotest.ConfigVector, 2)
	for i := range uint64(2) {
		d.Put(virtiotest.QueueSelect, 2, i)
		d.Get(virtiotest.QueueVector, 2)
	}
}

// ready brings the device up without a fault.
func ready(d *virtiotest.Driver, features uint64) *virtiotest.Queue {
	d.Put(virtiotest.Status, 1, 0)
	d.Get(virtiotest.Status, 1)
	d.Start(features)
	q := d.Queue(0, 16)
	confirm(d)
	d.Go()
	return q
}

func TestStrictInitialization(t *testing.T) {
	const v1 = 1 << 32
	for _, c := range []struct {
		name string
		do   func(d *virtiotest.Driver)
		want string // "" for nothing
	}{
		{"all well", func(d *virtiotest.Driver) { ready(d, 1<<4|1<<3) }, ""},
		{"reset not waited for", func(d *virtiotest.Driver) {
			ready(d, 0)
			d.Put(virtiotest.Status, 1, 0)
			d.Put(virtiotest.Status, 1, 1)
		}, "4.1.4.3.2: device_status is written before a read"},
		{"bit taken back", func(d *virtiotest.Driver) { ready(d, 0); d.Put(virtiotest.Status, 1, 3|8) }, "2.1.1: device_status is written without DRIVER_OK"},
		{"driver needs reset", func(d *virtiotest.Driver) { d.Put(virtiotest.Status, 1, 1|0x40) }, "2.1: device_status is written with DEVICE_NEEDS_RESET"},
		{"reserved bit", func(d *virtiotest.Driver) { d.Put(virtiotest.Status, 1, 1|0x20) }, "2.1: device_status is written with 0x20"},
		{"no acknowledge", func(d *virtiotest.Driver) { d.Put(virtiotest.Status, 1, 2) }, "3.1.1: DRIVER is set without ACKNOWLEDGE"},
		{"features first", func(d *virtiotest.Driver) {
			d.Put(virtiotest.DriverFeatureSelect, 4, 1)
			d.Put(virtiotest.DriverFeature, 4, 1)
			d.Put(virtiotest.Status, 1, 1)
			d.Put(virtiotest.Status, 1, 9)
		}, "3.1.1: FEATURES_OK is set without DRIVER"},
		{"after failed", func(d *virtiotest.Driver) { d.Put(virtiotest.Status, 1, 0x81); d.Put(virtiotest.Status, 1, 0x83) }, "3.1.1: DRIVER is set after FAILED"},
		{"no features ok", func(d *virtiotest.Driver) { d.Put(virtiotest.Status, 1, 3); d.Put(virtiotest.Status, 1, 7) }, "3.1.1: DRIVER_OK is set without FEATURES_OK"},
		{"not read again", func(d *virtiotest.Driver) {
			d.Put(virtiotest.DriverFeatureSelect, 4, 1)
			d.Put(virtiotest.DriverFeature, 4, 1)
			d.Put(virtiotest.Status, 1, 3)
			d.Put(virtiotest.Status, 1, 11)
			d.Put(virtiotest.Status, 1, 15)
		}, "3.1.1: DRIVER_OK is set before device_status was read again"},
		{"version 0", func(d *virtiotest.Driver) { d.Negotiate(1 << 4) }, "6.1: VIRTIO_F_VERSION_1"},
		{"not offered", func(d *virtiotest.Driver) { d.Negotiate(v1 | 1<<9) }, "2.2.1: features bit 9 are accepted"},
		{"dependency", func(d *virtiotest.Driver) { d.Negotiate(v1 | 1<<3) }, "5.99: CHEESE is accepted without BREAD"},
		{"features late", func(d *virtiotest.Driver) { d.Negotiate(v1); d.Put(virtiotest.DriverFeature, 4, 1) }, "3.1.1: driver_feature is written after FEATURES_OK"},
		{"vector not read", func(d *virtiotest.Driver) { d.Start(0); d.Queue(0, 8); d.Go() }, "4.1.5.1.2.2: an MSI-X vector"},
		{"queue size", func(d *virtiotest.Driver) { d.Start(0); d.Put(virtiotest.QueueSize, 2, 24) }, "4.1.4.3.2: queue_size 24"},
		{"no size", func(d *virtiotest.Driver) { d.Start(1 << 34); d.Put(virtiotest.QueueSize, 2, 0) }, "4.1.4.3.2: queue_size 0"},
		{"too large", func(d *virtiotest.Driver) { d.Start(0); d.Put(virtiotest.QueueSize, 2, 128) }, "4.1.4.3: queue_size 128: the device's limit is 64"},
		{"any size of a packed one", func(d *virtiotest.Driver) { d.Start(1 << 34); d.Put(virtiotest.QueueSize, 2, 24) }, ""},
		{"no such queue", func(d *virtiotest.Driver) { d.Put(virtiotest.QueueSelect, 2, 7); d.Put(virtiotest.QueueSize, 2, 16) }, "4.1.4.3: queue_size is written with queue_select 7"},
		{"while enabled", func(d *virtiotest.Driver) {
			ready(d, 0)
			d.Put(virtiotest.QueueSelect, 2, 0)
			d.Put(virtiotest.QueueDesc, 8, 0x1000)
		}, "4.1.4.3.2: queue_desc is written while"},
		{"disabled", func(d *virtiotest.Driver) { d.Start(0); d.Put(virtiotest.QueueEnable, 2, 0) }, "4.1.4.3.2: 0 is written to queue_enable"},
		{"before features ok", func(d *virtiotest.Driver) { d.Queue(0, 8) }, "3.1.1: the queue is enabled before FEATURES_OK"},
		{"after driver ok", func(d *virtiotest.Driver) { ready(d, 0); d.Queue(1, 8) }, "3.1.1: the queue is enabled after DRIVER_OK"},
		{"after driver ok, with reset", func(d *virtiotest.Driver) { ready(d, virtiotest.RingReset); d.Queue(1, 8) }, ""},
		{"reset not negotiated", func(d *virtiotest.Driver) { ready(d, 0); d.Put(virtiotest.QueueReset, 2, 1) }, "2.6.1: queue_reset is written without"},
		{"reset with 2", func(d *virtiotest.Driver) { ready(d, virtiotest.RingReset); d.Put(virtiotest.QueueReset, 2, 2) }, "4.1.4.3: 2 is written to queue_reset"},
		{"areas unaligned", func(d *virtiotest.Driver) {
			d.Start(0)
			d.Put(virtiotest.QueueDesc, 8, 0x1008)
			d.Put(virtiotest.QueueEnable, 2, 1)
		}, "2.7.1: areas at 0x1008"},
		{"packed areas unaligned", func(d *virtiotest.Driver) {
			d.Start(1 << 34)
			d.Put(virtiotest.QueueDesc, 8, 0x1008)
			d.Put(virtiotest.QueueEnable, 2, 1)
		}, "2.8.11: areas at 0x1008"},
		{"early notification", func(d *virtiotest.Driver) { d.Start(0); d.Queue(0, 8).Notify() }, "3.1.1: the queue is notified before DRIVER_OK"},
		{"queue off", func(d *virtiotest.Driver) { ready(d, 0); d.MMIO.Write(d.Notify+4, 2, 1) }, "4.1.4.3: the queue is notified and is not enabled"},
		{"wrong value", func(d *virtiotest.Driver) { ready(d, 0); d.MMIO.Write(d.Notify, 2, 1) }, "4.1.5.2: the value 0x1 is written where queue 0"},
		{"wide notification", func(d *virtiotest.Driver) { ready(d, 0); d.MMIO.Write(d.Notify, 4, 0) }, "4.1.5.2: a notification of 4 bytes"},
		{"no bus master", func(d *virtiotest.Driver) {
			q := ready(d, 0)
			d.SetConfig(pci.RegCommand, 2, pci.CommandMemory)
			q.Notify()
		}, "3.1.1: the queue is notified while Bus Master Enable is 0"},
		{"ISR with MSI-X", func(d *virtiotest.Driver) { d.MMIO.Read(d.ISR, 1) }, "4.1.4.5.2: the ISR status is read"},
		{"window", func(d *virtiotest.Driver) {
			for off := int(d.Config(pci.RegCapPtr, 1)); off != 0; off = int(d.Config(off+1, 1)) {
				if d.Config(off, 1) == pci.CapVendor && d.Config(off+3, 1) == 5 {
					d.SetConfig(off+4, 1, 4)
					d.SetConfig(off+12, 4, 3)
					d.Config(off+16, 4)
				}
			}
		}, "4.1.4.9: cap.length 3"},
	} {
		_, d, a := attend(t)
		c.do(d)
		l := a.Violations()
		if c.want == "" && len(l) != 0 || c.want != "" && (len(l) != 1 || !strings.HasPrefix(l[0], "virtio 1.2, "+c.want)) {
			t.Errorf("%s: %q, want %q", c.name, l, c.want)
		}
	}
}

// descriptor writes a descriptor of a split queue.
func descriptor(q *virtiotest.Queue, i int, addr uint64, n uint32, flags, next uint16) {
	b := q.D.Bytes(q.Desc+16*uint64(i), 16)
	binary.LittleEndian.PutUint64(b, addr)
	binary.LittleEndian.PutUint32(b[8:], n)
	binary.LittleEndian.PutUint16(b[12:], flags)
	binary.LittleEndian.PutUint16(b[14:], next)
}

// offer makes a descriptor available without more ado.
func offer(q *virtiotest.Queue, head uint16, index uint16) {
	ring := q.D.Bytes(q.Driver, 4+2*q.Size)
	binary.LittleEndian.PutUint16(ring[4+2*(int(index-1)%q.Size):], head)
	binary.LittleEndian.PutUint16(ring[2:], index)
}

// badChain is a way to break rules with the chains of a split queue.
type badChain struct {
	name     string
	features uint64
	do       func(q *virtiotest.Queue)
	want     string // "" for nothing
}

func badChains() []badChain {
	const next, write, indirect = 1, 2, 4
	return []badChain{
		{"all well", 0, func(q *virtiotest.Queue) { descriptor(q, 0, 0x100, 8, 0, 0); offer(q, 0, 1) }, ""},
		{"loop", 0, func(q *virtiotest.Queue) { descriptor(q, 0, 0x100, 8, next, 0); offer(q, 0, 1) }, "2.7.5.2: chain with a loop"},
		{"head outside", 0, func(q *virtiotest.Queue) { offer(q, 99, 1) }, "2.7.5: descriptor 99 in a table of 16"},
		{"next outside", 0, func(q *virtiotest.Queue) { descriptor(q, 0, 0x100, 8, next, 16); offer(q, 0, 1) }, "2.7.5: descriptor 16"},
		{"index ahead", 0, func(q *virtiotest.Queue) { offer(q, 0, 17) }, "2.7.6.1: available index is 17 ahead"},
		{"read after write", 0, func(q *virtiotest.Queue) {
			descriptor(q, 0, 0x100, 8, next|write, 1)
			descriptor(q, 1, 0x200, 8, 0, 0)
			offer(q, 0, 1)
		}, "2.7.4.2: device-readable buffer after"},
		{"wraps", 0, func(q *virtiotest.Queue) { descriptor(q, 0, ^uint64(0), 8, 0, 0); offer(q, 0, 1) }, "2.7.5: buffer of 8 bytes at 0xffffffffffffffff wraps"},
		{"nowhere", 0, func(q *virtiotest.Queue) { descriptor(q, 0, virtiotest.RAMSize-4, 8, 0, 0); offer(q, 0, 1) }, "2.7.5: chain 0 has a buffer of 8 bytes at"},
		{"indirect not accepted", 0, func(q *virtiotest.Queue) { descriptor(q, 0, 0x100, 16, indirect, 0); offer(q, 0, 1) }, "2.7.5.3.1: indirect descriptor, which was not"},
		{"indirect with next", virtiotest.Indirect, func(q *virtiotest.Queue) { descriptor(q, 0, 0x100, 16, indirect|next, 1); offer(q, 0, 1) }, "2.7.5.3.1: descriptor 0 is indirect and has"},
		{"indirect of 20 bytes", virtiotest.Indirect, func(q *virtiotest.Queue) { descriptor(q, 0, 0x100, 20, indirect, 0); offer(q, 0, 1) }, "2.7.5.3: indirect table of 20"},
		{"indirect table nowhere", virtiotest.Indirect, func(q *virtiotest.Queue) { descriptor(q, 0, 1<<40, 16, indirect, 0); offer(q, 0, 1) }, "2.7.5.3: indirect table: DMA"},
		{"indirect in indirect", virtiotest.Indirect, func(q *virtiotest.Queue) {
			q.D.Bytes(0x100+12, 1)[0] = indirect
			descriptor(q, 0, 0x100, 16, indirect, 0)
			offer(q, 0, 1)
		}, "2.7.5.3.1: indirect descriptor in an"},
		{"loop in a table", virtiotest.Indirect, func(q *virtiotest.Queue) {
			q.D.Bytes(0x100+12, 1)[0] = next
			descriptor(q, 0, 0x100, 16, indirect, 0)
			offer(q, 0, 1)
		}, "2.7.5.2: chain with a loop in an indirect table of 1"},
		{"next outside a table", virtiotest.Indirect, func(q *virtiotest.Queue) {
			b := q.D.Bytes(0x100, 32)
			b[12], b[14] = next, 9
			descriptor(q, 0, 0x100, 32, indirect, 0)
			offer(q, 0, 1)
		}, "2.7.5.3: descriptor 9 in an indirect table of 2"},
		{"longer than the queue", virtiotest.Indirect, func(q *virtiotest.Queue) {
			b := q.D.Bytes(0x1000, 17*16)
			for i := range 16 {
				b[16*i+12], b[16*i+14], b[16*i+1] = next, byte(i+1), byte(i)
			}
			descriptor(q, 0, 0x1000, 17*16, indirect, 0)
			offer(q, 0, 1)
		}, "2.7.5.3.1: chain 0 of 17 descriptors in a queue of 16"},
		{"twice at a time", 0, func(q *virtiotest.Queue) {
			descriptor(q, 3, 0x100, 8, 0, 0)
			offer(q, 3, 1)
			offer(q, 3, 2)
		}, "2.7.13: chain 3 is made available while"},
		{"flags", 0, func(q *virtiotest.Queue) {
			q.D.Bytes(q.Driver, 1)[0] = 4
			descriptor(q, 3, 0x100, 8, 0, 0)
			offer(q, 3, 1)
		}, "2.7.7.1: flags of the available ring are 0x4"},
		{"flags with an event", virtiotest.EventIdx, func(q *virtiotest.Queue) {
			q.D.Bytes(q.Driver, 1)[0] = 1
			descriptor(q, 3, 0x100, 8, 0, 0)
			offer(q, 3, 1)
		}, "2.7.7.1: flags of the available ring are 0x1: must be 0"},
	}
}

func TestStrictChains(t *testing.T) {
	for _, c := range badChains() {
		dev, d, a := attend(t)
		q := ready(d, c.features)
		c.do(q)
		for dev.Queue(0).Pop() != nil {
			defer dev.Queue(0).Push(&virtio.Chain{}, 0)
		}
		l := a.Violations()
		if c.want == "" && len(l) != 0 || c.want != "" && (len(l) != 1 || !strings.HasPrefix(l[0], "virtio 1.2, "+c.want)) {
			t.Errorf("%s: %q, want %q", c.name, l, c.want)
		}
	}
}

// TestStrictLong makes a chain available that is too long, which is more than there is memory for.
func TestStrictLong(t *testing.T) {
	dev, d, a := attend(t)
	q := ready(d, 0)
	descriptor(q, 0, 0, 0xffffffff, 1, 1)
	descriptor(q, 1, 1<<40, 0xffffffff, 0, 0)
	offer(q, 0, 1)
	dev.Queue(0).Push(dev.Queue(0).Pop(), 0)
	if l := a.Violations(); len(l) != 3 || !strings.HasPrefix(l[0], "virtio 1.2, 2.7.5.2: chain 0 of 8589934590 bytes") || !strings.HasPrefix(l[2], "virtio 1.2, 2.7.5: chain 0 has a buffer of 4294967295 bytes at 0x10000000000") {
		t.Errorf("%q", l)
	}
}

func TestStrictPacked(t *testing.T) {
	for _, c := range []struct {
		flags, event uint16
		features     uint64
		want         string
	}{
		{1, 0, 0, ""},
		{3, 0, 0, "2.8.10: event suppression flags are 0x3"},
		{2, 0, 0, "2.8.10: event suppression flags are 2, which needs"},
		{2, 16, virtiotest.EventIdx, "2.8.10: the event is at descriptor 16 of 16"},
		{2, 15, virtiotest.EventIdx, ""},
	} {
		dev, d, a := attend(t)
		q := ready(d, virtiotest.Packed|c.features)
		b := d.Bytes(q.Driver, 4)
		binary.LittleEndian.PutUint16(b, c.event)
		binary.LittleEndian.PutUint16(b[2:], c.flags)
		q.Add([][]byte{{1}})
		q.Publish()
		dev.Queue(0).Push(dev.Queue(0).Pop(), 0)
		l := a.Violations()
		if c.want == "" && len(l) != 0 || c.want != "" && (len(l) != 1 || !strings.HasPrefix(l[0], "virtio 1.2, "+c.want)) {
			t.Errorf("%+v: %q", c, l)
		}
	}
	dev, d, a := attend(t)
	q := ready(d, virtiotest.Packed)
	for i := range 2 {
		// The same identifier in two descriptors.
		b := d.Bytes(q.Desc+16*uint64(i), 16)
		binary.LittleEndian.PutUint32(b[8:], 1)
		binary.LittleEndian.PutUint16(b[12:], 5)
		binary.LittleEndian.PutUint16(b[14:], 1<<7)
	}
	l := dev.Queue(0).PopN(nil, 2)
	dev.Queue(0).PushAll(l, true)
	if v := a.Violations(); len(l) != 2 || len(v) != 1 || !strings.HasPrefix(v[0], "virtio 1.2, 2.8.21.1: chain 5") {
		t.Errorf("%d chains, %q", len(l), v)
	}
}

// badPackedChain is one of the ways to break rules that packed queues have, too: two descriptors, of which the second is good.
type badPackedChain struct {
	name     string
	features uint64
	first    virtiotest.Desc
	flags    uint16
	want     string
}

func badPackedChains() []badPackedChain {
	const next, write, indirect = 1, 2, 4
	return []badPackedChain{
		{"read after write", 0, virtiotest.Desc{Addr: 0x100, Len: 8}, next | write, "2.8.17: device-readable buffer after"},
		{"wraps", 0, virtiotest.Desc{Addr: ^uint64(0), Len: 8}, 0, "2.8.13: buffer of 8 bytes"},
		{"indirect not accepted", 0, virtiotest.Desc{Addr: 0x100, Len: 16}, indirect, "2.8.19: indirect descriptor, which was not"},
		{"indirect with next", virtiotest.Indirect, virtiotest.Desc{Addr: 0x100, Len: 16}, indirect | next, "2.8.19: indirect descriptor that is not alone"},
		{"indirect of 20 bytes", virtiotest.Indirect, virtiotest.Desc{Addr: 0x100, Len: 20}, indirect, "2.8.7: indirect table of 20"},
		{"indirect table nowhere", virtiotest.Indirect, virtiotest.Desc{Addr: 1 << 40, Len: 16}, indirect, "2.8.7: indirect table: DMA"},
	}
}

// offer makes the chain available.
func (c *badPackedChain) offer(d *virtiotest.Driver, q *virtiotest.Queue) {
	const avail = 1 << 7
	for i, x := range []struct {
		virtiotest.Desc
		flags uint16
	}{{c.first, c.flags}, {virtiotest.Desc{Addr: 0x200, Len: 8}, 0}} {
		b := d.Bytes(q.Desc+16*uint64(i), 16)
		binary.LittleEndian.PutUint64(b, x.Addr)
		binary.LittleEndian.PutUint32(b[8:], x.Len)
		binary.LittleEndian.PutUint16(b[14:], avail|x.flags)
	}
}

// TestStrictPackedChains: what both formats forbid is told with the section of the packed one.
func TestStrictPackedChains(t *testing.T) {
	for _, c := range badPackedChains() {
		dev, d, a := attend(t)
		q := ready(d, virtiotest.Packed|c.features)
		c.offer(d, q)
		if dev.Queue(0).Pop() != nil {
			t.Errorf("%s: it is taken", c.name)
		}
		if l := a.Violations(); len(l) != 1 || !strings.HasPrefix(l[0], "virtio 1.2, "+c.want) {
			t.Errorf("%s: %q, want %q", c.name, l, c.want)
		}
	}
}

// TestStrictUnpop: a chain that goes back into the ring may be taken again.
func TestStrictUnpop(t *testing.T) {
	for _, features := range []uint64{0, virtiotest.Packed} {
		dev, d, a := attend(t)
		q := ready(d, features)
		q.Add([][]byte{{1}})
		q.Publish()
		dq := dev.Queue(0)
		dq.Unpop(dq.PopN(nil, 1))
		l := dq.PopN(nil, 1)
		dq.PushAll(l, true)
		if v := a.Violations(); len(l) != 1 || len(v) != 0 {
			t.Errorf("%d chains, %q", len(l), v)
		}
	}
}

// TestTraceNames checks that accesses to all structures are reported with their names.
func TestTraceNames(t *testing.T) {
	dev, d, a := attend(t)
	dev.Function().Probe().Watch(devices.ClassRegister|devices.ClassState, a, nil)
	ready(d, 1<<4)
	d.MMIO.Read(d.ISR, 1)
	d.SetConfig(pci.RegCommand, 2, pci.CommandMemory)
	got := strings.Join(a.Lines(), "\n")
	for _, want := range []string{
		"register device_status write=true value=0xb ", "register driver_feature write=true value=0x10 ", "register queue_enable write=true value=0x1 ", "register num_queues write=false value=0x2 ", "state features 0x100000010: BREAD VERSION_1",
		"state queue 0: enabled with 16 descriptors", "state driver is ready", "register ISR_status write=false value=0x0 ", "register Command write=true value=0x2 ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestFinish checks what becomes of a completion by each effect; package blk tests the
// same from a driver's side.
func TestFinish(t *testing.T) {
	for _, c := range []struct {
		e    devices.Effect
		want string // the numbers of the chains in the order they come back
		irqs int
	}{
		{devices.Effect{}, "012", 3},
		{devices.Effect{Drop: true}, "12", 2},
		{devices.Effect{Hang: true}, "12", 2},
		{devices.Effect{Duplicate: true}, "0012", 3},
		{devices.Effect{Hold: 1}, "102", 3},
		{devices.Effect{Hold: 2}, "120", 3},
		{devices.Effect{Hold: 3}, "120", 3}, // the pause ends it
		{devices.Effect{LoseInterrupt: true}, "012", 2},
		{devices.Effect{ExtraInterrupt: true}, "012", 4},
		{devices.Effect{Drop: true, ExtraInterrupt: true}, "12", 3},
	} {
		dev, d, _ := attend(t)
		q := ready(d, 0)
		dq := dev.Queue(0)
		heads := map[uint16]int{}
		for i := range 3 {
			heads[q.Add([][]byte{{1}})] = i
		}
		q.Publish()
		for i, ch := range dq.PopN(nil, 3) {
			e := c.e
			if i > 0 {
				e = devices.Effect{}
			}
			dq.Finish(ch, 0, &e)
		}
		dev.Pause()
		ring := d.Bytes(q.Device, 4+8*16)
		got := ""
		for i := range binary.LittleEndian.Uint16(ring[2:]) {
			got += fmt.Sprint(heads[uint16(binary.LittleEndian.Uint32(ring[4+8*int(i):]))])
		}
		if got != c.want || d.Interrupts(0) != c.irqs {
			t.Errorf("%+v: %s with %d interrupts, want %s with %d", c.e, got, d.Interrupts(0), c.want, c.irqs)
		}
		dev.Resume()
	}
}
