package virtio_test

import (
	"encoding/binary"
	"testing"

	"dfemu/devices/devtest"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/virtiotest"
)

// FuzzRings lets a device loose on rings and tables of random content. It must
// come to rest, and work again after a reset.
func FuzzRings(f *testing.F) {
	desc := func(addr uint64, n uint32, flags, next uint16) []byte {
		b := binary.LittleEndian.AppendUint64(nil, addr)
		b = binary.LittleEndian.AppendUint32(b, n)
		b = binary.LittleEndian.AppendUint16(b, flags)
		return binary.LittleEndian.AppendUint16(b, next)
	}
	const all = virtiotest.Indirect | virtiotest.EventIdx | virtiotest.Packed
	// A chain of two and its entry; then the same with a loop, and an indirect
	// one.
	f.Add(append(desc(0x1000, 8, 1, 1), desc(0x2000, 8, 2, 0)...), []byte{0, 0, 1, 0, 0, 0}, uint64(0))
	f.Add(append(desc(0x1000, 8, 1, 1), desc(0x2000, 8, 1, 0)...), []byte{0, 0, 1, 0, 0, 0}, uint64(virtiotest.EventIdx))
	f.Add(append(desc(virtiotestDesc+16, 32, 4, 0), append(desc(0x1000, 8, 1, 1), desc(0x2000, 8, 2, 0)...)...), []byte{0, 0, 1, 0, 0, 0}, uint64(virtiotest.Indirect))
	f.Add(append(desc(0x1000, 8, 7, 1|1<<7), desc(0x2000, 8, 7, 2|1<<7)...), []byte{0, 0, 0, 0}, uint64(all))
	f.Add(desc(virtiotestDesc, 0xfffffff0, 7, 4|1<<7), []byte{5, 0, 2, 0}, uint64(all))
	f.Add([]byte{}, []byte{0, 0, 0xff, 0xff, 9, 9}, uint64(0))
	// The same with breaches told at the notification.
	f.Add(append(desc(0x1000, 8, 1, 1), desc(0x2000, 8, 1, 0)...), []byte{0, 0, 1, 0, 0, 0}, uint64(virtiotest.EventIdx|promptly))
	f.Add(append(desc(0x1000, 8, 7, 1|1<<7), desc(0x2000, 8, 7, 2|1<<7)...), []byte{0, 0, 0, 0}, uint64(all|promptly))
	f.Fuzz(func(t *testing.T, table, driver []byte, features uint64) {
		e := newEcho(2, true)
		defer e.Close()
		if features&promptly != 0 {
			e.Function().Probe().Watch(prompt, &devtest.Recorder{}, nil)
		}
		features &= all
		d := virtiotest.New(t, e.Function(), true)
		d.Start(features)
		q := d.Queue(0, 16)
		if q.Desc != virtiotestDesc {
			t.Fatalf("seeds expect the table at %#x, it is at %#x", virtiotestDesc, q.Desc)
		}
		copy(d.Bytes(q.Desc, 256), table)
		copy(d.Bytes(q.Driver, 6+32), driver)
		d.Go()
		q.Notify()
		e.Pause()
		e.Resume()
		d.Start(0)
		q = d.Queue(0, 8)
		d.Go()
		if b := q.Do([][]byte{{1}}, 1); b.Len != 1 {
			t.Errorf("%d bytes", b.Len)
		}
	})
}

// promptly stands for an observer of breaches where a feature of the driver would.
const promptly = 1 << 0

// virtiotestDesc is where the first queue's descriptors are.
const virtiotestDesc = 1 << 20

// FuzzRegisters reads and writes anywhere in the device's memory BAR, with what
// looks like a driver's steps among it.
func FuzzRegisters(f *testing.F) {
	step := func(off uint16, size, v byte) []byte { return []byte{byte(off), byte(off >> 8), size, v} }
	f.Add([]byte{})
	var s []byte
	for _, st := range [][3]int{
		{virtiotest.Status, 1, 1}, {virtiotest.Status, 1, 3}, {virtiotest.DriverFeatureSelect, 4, 1},
		{virtiotest.DriverFeature, 4, 1}, {virtiotest.Status, 1, 11}, {virtiotest.QueueSize, 2, 8},
		{virtiotest.QueueDesc, 8, 0x10}, {virtiotest.QueueDriver, 8, 0x20}, {virtiotest.QueueDevice, 8, 0x40},
		{virtiotest.QueueEnable, 2, 1}, {virtiotest.Status, 1, 15}, {0x3000, 2, 0}, {virtiotest.QueueReset, 2, 1}, {virtiotest.Status, 1, 0},
	} {
		s = append(s, step(uint16(st[0]), byte(st[1]), byte(st[2]))...)
	}
	f.Add(s)
	f.Add(step(0x2000, 8, 1))
	f.Add(step(0x1000, 1, 1))
	f.Fuzz(func(t *testing.T, p []byte) {
		e := newEcho(1, true)
		defer e.Close()
		d := virtiotest.New(t, e.Function(), true)
		for ; len(p) >= 4; p = p[4:] {
			off := uint64(p[0]) | uint64(p[1])<<8&0x3f00
			size := int(p[2] & 15)
			if size != 2 && size != 4 && size != 8 {
				size = 1
			}
			d.MMIO.Write(d.Common+off, size, uint64(p[3]))
			d.MMIO.Read(d.Common+off, size)
		}
		st := d.Get(virtiotest.Status, 1)
		if st&virtio.StatusDriverOK != 0 && st&virtio.StatusFeaturesOK == 0 {
			t.Errorf("status %#x", st)
		}
		e.Reset()
		d.Enable(true)
		d.Start(0)
		q := d.Queue(0, 8)
		d.Go()
		q.Do([][]byte{{1}}, 1)
	})
}
