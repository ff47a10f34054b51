package nvme_test

import (
	"bytes"
	"testing"

	"dfemu/devices"
	"dfemu/devices/nvme"
)

// TestSaveRestore saves a controller in the middle of requests: one waits for an
// event, one is delayed, one hangs, some have not been begun, one completion is
// held back. Another controller goes on with them.
func TestSaveRestore(t *testing.T) {
	disk := store(t, diskSize)
	zdisk := pool(t, 5<<20)
	options := func() nvme.Options {
		return nvme.Options{Buffer: 4096, Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{
			{Store: disk}, {Store: zdisk, BlockSize: 4096, Zoned: true, ZoneSize: 1 << 20},
		}}}
	}
	d := newDriver(t, options())
	p := d.boot()
	d.hostID(3)
	d.admin(sqe{op: 9, dw: [6]uint32{0xb, 0x100}})
	d.admin(sqe{op: 9, dw: [6]uint32{1 | 1<<31, 0x01010101}})
	p.ok(d.keys(0xd, 0, 0, 5))
	p.ok(d.keys(0x11, 0|1<<8, 5, 0))
	p.ok(rw(4, 40, 2))
	z := d.transfer(1, 0, 2, d.alloc(8192), 8192)
	z.nsid = 2
	p.ok(z)
	d.mmio.Write(cmbBase+8, 8, 0x1122334455667788)
	event := d.q[0].submit(sqe{op: 0xc})
	w := d.watch()
	w.DisturbBy(func(c *devices.Command) devices.Effect {
		switch {
		case c.Name == "Read" && c.LBA == 1:
			return devices.Effect{Delay: 5e6}
		case c.Name == "Read" && c.LBA == 2:
			return devices.Effect{Hang: true}
		case c.Name == "Read" && c.LBA == 3:
			return devices.Effect{Hold: 2}
		}
		return devices.Effect{}
	})
	read := func(slba uint64) sqe { return d.transfer(2, slba, 1, d.alloc(512), 512) }
	delayed, hung, held := read(1), read(2), read(3)
	idDelayed := p.submit(delayed)
	idHung := p.submit(hung)
	idHeld := p.submit(held)
	p.ok(sqe{op: 0, nsid: 1})
	d.dev.Pause()
	pending := read(7)
	idPending := p.submit(pending)
	state, err := d.dev.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	// A second controller in a second machine with the same memory.
	o := options()
	o.Clock = d.clock
	e := newDriver(t, o)
	if err := e.dev.RestoreState(state); err == nil {
		t.Error("restored while it is not paused")
	}
	e.dev.Pause()
	copy(e.ram.Data, d.ram.Data)
	for _, bad := range [][]byte{nil, []byte("{}"), state[:len(state)/2], bytes.Replace(state, []byte(`"Head":`), []byte(`"Head":9`), -1)} {
		if err := e.dev.RestoreState(bad); err == nil {
			t.Errorf("restored from %d bad bytes", len(bad))
		}
	}
	if err := e.dev.RestoreState(state); err != nil {
		t.Fatal(err)
	}
	again, err := e.dev.SaveState()
	if err != nil || !bytes.Equal(state, again) {
		t.Errorf("the state differs after it was restored (%v)", err)
	}
	e.data, e.rings = d.data, d.rings
	for i, q := range d.q {
		if q != nil {
			c := *q
			c.d = e
			e.q[i] = &c
		}
	}
	p = e.q[1]
	e.dev.Resume()
	want := make([]byte, 512)
	check := func(c sqe, what string) {
		t.Helper()
		if _, err := disk.ReadAt(want, int64(c.dw[0])*512); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.bytes(c.prp1, 512), want) {
			t.Errorf("%s: content differs", what)
		}
	}
	if r := p.wait(idPending); r.status != 0 {
		t.Errorf("pending read: %#x", r.status)
	}
	check(pending, "pending read")
	p.ok(sqe{op: 0, nsid: 1})
	if r := p.wait(idHeld); r.status != 0 {
		t.Errorf("held read: %#x", r.status)
	}
	d.clock.Advance(5e6)
	if r := p.wait(idDelayed); r.status != 0 {
		t.Errorf("delayed read: %#x", r.status)
	}
	check(delayed, "delayed read")
	for _, c := range p.stash {
		if c.cid == idHung {
			t.Error("the hung read has completed")
		}
	}
	if r := e.admin(sqe{op: 0xa, dw: [6]uint32{1 | 2<<8}}); r.dw0 != 0x01010101 {
		t.Errorf("saved feature %#x", r.dw0)
	}
	p.fails(read(40), 0x281)
	report := e.alloc(4096)
	p.ok(sqe{op: 0xe, nsid: 1, prp1: report, dw: [6]uint32{127, 1}})
	if r := e.bytes(report, 128); r[4] != 1 || le.Uint64(r[72:]) != 5 {
		t.Errorf("reservation % x", r)
	}
	za := e.alloc(4096)
	p.ok(sqe{op: 0x7a, nsid: 2, prp1: za, dw: [6]uint32{0, 0, 1023, 0}})
	if b := e.bytes(za, 128); b[65]>>4 != 2 || le.Uint64(b[64+24:]) != 2 {
		t.Errorf("zone % x", b[64:])
	}
	if v := e.mmio.Read(cmbBase+8, 8); v != 0x1122334455667788 {
		t.Errorf("controller memory buffer %#x", v)
	}
	e.admin(sqe{op: 0x80, nsid: 2, dw: [6]uint32{1}}) // no event for the one who formats
	e.admin(sqe{op: 9, nsid: 1, dw: [6]uint32{0x84, 1}})
	if r := e.q[0].wait(event); r.dw0 != 2|4<<16 {
		t.Errorf("event %#x", r.dw0)
	}
}
