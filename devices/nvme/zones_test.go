package nvme_test

import (
	"bytes"
	"testing"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/nvme"
)

// zoned makes a namespace of 4 zones of 1 MiB with a capacity of 768 KiB, in
// blocks of 4 KiB: zone n starts at block 256·n and has 192 blocks.
func zoned(t *testing.T, open, active int) (*driver, *pair, devices.Block) {
	b := pool(t, 5<<20)
	d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{{
		Store: b, BlockSize: 4096, Zoned: true, ZoneSize: 1 << 20, ZoneCapacity: 768 << 10, MaxOpen: open, MaxActive: active,
	}}}})
	return d, d.boot(), b
}

func act(slba uint64, action uint32) sqe {
	return sqe{op: 0x79, nsid: 1, dw: [6]uint32{uint32(slba), 0, 0, action}}
}

// zones returns state and write pointer of the zones.
func (d *driver) zones(p *pair) (states []uint8, wps []uint64) {
	d.t.Helper()
	a := d.alloc(4096)
	p.ok(sqe{op: 0x7a, nsid: 1, prp1: a, dw: [6]uint32{0, 0, 1023, 0}})
	b := d.bytes(a, 4096)
	for i := range le.Uint64(b) {
		z := b[64+64*i:]
		states = append(states, z[1]>>4)
		wps = append(wps, le.Uint64(z[24:]))
	}
	return states, wps
}

func (d *driver) expectZones(p *pair, what string, want ...uint8) {
	d.t.Helper()
	if s, wp := d.zones(p); !bytes.Equal(s, want) {
		d.t.Errorf("%s: states %x (write pointers %d), want %x", what, s, wp, want)
	}
}

func TestZones(t *testing.T) {
	d, p, _ := zoned(t, 0, 0)
	a := d.alloc(64 << 10)
	put := func(op uint8, slba uint64, n uint32) sqe { return d.transfer(op, slba, n, a, int(n)*4096) }
	d.expectZones(p, "at first", 1, 1, 1, 1)
	copy(d.bytes(a, 8192), pattern(8192, 8))
	p.ok(put(1, 0, 2))
	p.fails(put(1, 0, 1), 0x1bc)
	p.fails(put(1, 3, 1), 0x1bc)
	p.ok(put(1, 2, 1))
	if r := p.ok(put(0x7d, 256, 2)); r.dw0 != 256 {
		t.Errorf("appended at %d", r.dw0)
	}
	if r := p.ok(put(0x7d, 256, 2)); r.dw0 != 258 {
		t.Errorf("appended at %d", r.dw0)
	}
	p.fails(put(0x7d, 257, 1), 0x02)
	if !bytes.Equal(p.read(258, 2, 4096), pattern(8192, 8)) {
		t.Error("what was appended differs")
	}
	d.expectZones(p, "two open", 2, 2, 1, 1)
	p.ok(act(0, 1))
	d.expectZones(p, "closed", 4, 2, 1, 1)
	p.ok(act(0, 3))
	p.ok(act(512, 3))
	d.expectZones(p, "opened", 3, 2, 3, 1)
	p.ok(act(512, 2))
	p.ok(act(256, 2))
	d.expectZones(p, "finished", 3, 0xe, 0xe, 1)
	p.fails(put(1, 260, 1), 0x1b9)
	p.fails(act(768, 1), 0x1bf)
	p.fails(act(768, 5), 0x1bf)
	p.fails(act(3, 4), 0x02)
	p.fails(act(1024, 4), 0x80)
	p.fails(act(0, 9), 0x02)
	p.ok(act(256, 4))
	d.expectZones(p, "reset", 3, 1, 0xe, 1)
	if got := p.read(258, 2, 4096); bytes.Count(got, []byte{0}) != len(got) {
		t.Error("a zone that was reset has content")
	}
	// Up to the capacity, not further.
	for i := range uint64(12) {
		p.ok(put(1, 768+16*i, 16))
	}
	d.expectZones(p, "filled", 3, 1, 0xe, 0xe)
	p.ok(put(1, 256, 8))
	p.fails(put(0x7d, 256, 200), 0x1b8)
	all := act(0, 4)
	all.dw[3] |= 1 << 8
	p.ok(all)
	d.expectZones(p, "all reset", 1, 1, 1, 1)
	// A descriptor extension.
	x := act(512, 0x10)
	x.prp1 = a
	p.ok(x)
	d.expectZones(p, "described", 1, 1, 4, 1)
	p.fails(x, 0x1bf)
	b := d.alloc(4096)
	p.ok(sqe{op: 0x7a, nsid: 1, prp1: b, dw: [6]uint32{512, 0, 1023, 1 | 4<<8}})
	if g := d.bytes(b, 4096); le.Uint64(g) != 1 || g[64+2] != 1<<7 || !bytes.Equal(g[128:192], pattern(8192, 8)[:64]) {
		t.Errorf("extended report % x", g[:200])
	}
	// A report with less room than zones.
	p.ok(sqe{op: 0x7a, nsid: 1, prp1: b, dw: [6]uint32{0, 0, 31, 0}})
	if n := le.Uint64(d.bytes(b, 8)); n != 4 {
		t.Errorf("%d zones match", n)
	}
	p.ok(sqe{op: 0x7a, nsid: 1, prp1: b, dw: [6]uint32{0, 0, 31, 0 | 1<<16}})
	if n := le.Uint64(d.bytes(b, 8)); n != 1 {
		t.Errorf("%d zones in a partial report", n)
	}
	// Zones that wear out.
	d.admin(sqe{op: 9, dw: [6]uint32{0xb, 1 << 27}})
	event := d.q[0].submit(sqe{op: 0xc})
	if !d.dev.Subsystem().SetZoneState(1, 3, 0xd) || d.dev.Subsystem().SetZoneState(1, 3, 1) {
		t.Error("SetZoneState")
	}
	if r := d.q[0].wait(event); r.dw0 != 2|0xef<<8|0xbf<<16 {
		t.Errorf("event %#x", r.dw0)
	}
	if log := d.logPage(0xbf, 1, 4096); le.Uint16(log) != 1 || le.Uint64(log[8:]) != 768 {
		t.Errorf("changed zones % x", log[:16])
	}
	p.fails(put(1, 768, 1), 0x1ba)
	p.ok(act(768, 5))
	p.fails(put(2, 768, 1), 0x1bb)
	d.expectZones(p, "offline", 1, 1, 4, 0xf)
}

func TestZoneLimits(t *testing.T) {
	d, p, _ := zoned(t, 1, 2)
	a := d.alloc(4096)
	put := func(slba uint64) sqe { return d.transfer(1, slba, 1, a, 4096) }
	p.ok(put(0))
	p.ok(put(256)) // closes the first
	d.expectZones(p, "one open", 4, 2, 1, 1)
	p.fails(put(512), 0x1bd)
	p.ok(act(256, 3))
	p.fails(put(1), 0x1be)
	p.ok(act(0, 2))
	p.fails(put(512), 0x1be)
	p.ok(act(256, 1))
	p.ok(put(512))
	d.expectZones(p, "in the end", 0xe, 4, 2, 1)
}

// TestZonesPersist closes the controller and looks again.
func TestZonesPersist(t *testing.T) {
	d, p, b := zoned(t, 0, 0)
	p.ok(d.transfer(1, 0, 3, d.alloc(12288), 12288))
	p.ok(act(512, 2))
	if err := d.dev.Close(); err != nil {
		t.Fatal(err)
	}
	o := nvme.NamespaceOptions{Store: b, BlockSize: 4096, Zoned: true, ZoneSize: 1 << 20, ZoneCapacity: 768 << 10}
	d2 := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{o}}})
	p2 := d2.boot()
	d2.expectZones(p2, "loaded", 4, 1, 0xe, 1)
	if _, wp := d2.zones(p2); wp[0] != 3 {
		t.Errorf("write pointer %d", wp[0])
	}
	// A damaged table is refused.
	image := make([]byte, 5<<20)
	if _, err := b.ReadAt(image, 0); err != nil {
		t.Fatal(err)
	}
	image[4<<20+100] ^= 1
	o.Store, _ = block.NewMemory(image, false)
	if s, err := nvme.NewSubsystem(nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{o}}); err == nil {
		s.Close()
		t.Error("a damaged table of zones is accepted")
	}
}
