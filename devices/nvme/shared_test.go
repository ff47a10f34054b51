package nvme_test

import (
	"bytes"
	"testing"

	"dfemu/devices/nvme"
)

// two makes two controllers of one subsystem with a shared namespace.
func two(t *testing.T) (a, b *driver) {
	s, err := nvme.NewSubsystem(nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{
		{Store: store(t, diskSize), Shared: true}, {Store: store(t, diskSize)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return newDriver(t, nvme.Options{Name: "nvme0", Subsystem: s}), newDriver(t, nvme.Options{Name: "nvme1", Subsystem: s})
}

func TestTwoControllers(t *testing.T) {
	a, b := two(t)
	pa, pb := a.boot(), b.boot()
	want := pattern(512, 7)
	pa.write(9, want, 512)
	if !bytes.Equal(pb.read(9, 1, 512), want) {
		t.Error("content differs")
	}
	pa.ok(sqe{op: 0, nsid: 2})
	pb.fails(sqe{op: 0, nsid: 2}, 0x02) // private, and the first one's
	if id := b.identify(1, 0, 0); le.Uint16(id[78:]) != 1 || id[76]&2 == 0 {
		t.Errorf("CNTLID %d, CMIC %#x", le.Uint16(id[78:]), id[76])
	}
}

func (d *driver) hostID(id byte) {
	a := d.alloc(16)
	clear(d.bytes(a, 16))
	d.bytes(a, 16)[0] = id
	d.admin(sqe{op: 9, prp1: a, dw: [6]uint32{0x81, 1}})
}

func (d *driver) keys(op uint8, dw10 uint32, k1, k2 uint64) sqe {
	a := d.alloc(16)
	le.PutUint64(d.bytes(a, 8), k1)
	le.PutUint64(d.bytes(a+8, 8), k2)
	return sqe{op: op, nsid: 1, prp1: a, dw: [6]uint32{dw10}}
}

// TestReservations goes through the types: who may do what while the first host
// holds the reservation (base specification, figure 392).
func TestReservations(t *testing.T) {
	a, b := two(t)
	pa, pb := a.boot(), b.boot()
	pa.fails(a.keys(0xd, 0, 0, 1), 0x0c) // no host identifier yet
	a.hostID(1)
	b.hostID(2)
	register := func(d *driver, p *pair, key uint64) { d.t.Helper(); p.ok(d.keys(0xd, 0, 0, key)) }
	register(a, pa, 0x11)
	pa.fails(a.keys(0xd, 0, 0, 0x99), 0x83)
	pb.fails(b.keys(0x11, 0|1<<8, 0x22, 0), 0x83) // not registered
	const conflict = 0x83
	for _, c := range []struct {
		kind                                         uint32
		read, write, registeredRead, registeredWrite uint16
	}{
		{1, 0, conflict, 0, conflict},
		{2, conflict, conflict, conflict, conflict},
		{3, 0, conflict, 0, 0},
		{4, conflict, conflict, 0, 0},
		{5, 0, conflict, 0, 0},
		{6, conflict, conflict, 0, 0},
	} {
		pa.ok(a.keys(0x11, 0|c.kind<<8, 0x11, 0))
		rd := b.transfer(2, 0, 1, b.alloc(512), 512)
		wr := b.transfer(1, 0, 1, b.alloc(512), 512)
		pb.fails(rd, c.read)
		pb.fails(wr, c.write)
		pb.ok(b.keys(0xd, 0, 0, 0x22))
		pb.fails(rd, c.registeredRead)
		pb.fails(wr, c.registeredWrite)
		pa.ok(a.transfer(1, 0, 1, a.alloc(512), 512))
		pb.ok(b.keys(0xd, 1, 0x22, 0)) // unregister
		pa.fails(a.keys(0x15, 0|(c.kind%6+1)<<8, 0x11, 0), 0x02)
		pa.ok(a.keys(0x15, 0|c.kind<<8, 0x11, 0))
		pb.ok(wr)
	}
	// Preemption, with its notification.
	register(b, pb, 0x22)
	pa.ok(a.keys(0x11, 0|1<<8, 0x11, 0))
	event := a.q[0].submit(sqe{op: 0xc})
	pb.fails(b.keys(0x11, 1|2<<8, 0x99, 0x11), 0x83)
	pb.ok(b.keys(0x11, 1|2<<8, 0x22, 0x11))
	if r := a.q[0].wait(event); r.dw0 != 6|0<<8|0x80<<16 {
		t.Errorf("event %#x", r.dw0)
	}
	if log := a.logPage(0x80, 0, 64); log[8] != 1 || le.Uint32(log[12:]) != 1 || log[9] != 0 {
		t.Errorf("notification % x", log[:16])
	}
	if log := a.logPage(0x80, 0, 64); log[8] != 0 {
		t.Error("the notification was not taken off")
	}
	pa.fails(a.transfer(1, 0, 1, a.alloc(512), 512), 0x83)
	buf := b.alloc(4096)
	pb.ok(sqe{op: 0xe, nsid: 1, prp1: buf, dw: [6]uint32{127, 1}})
	r := b.bytes(buf, 512)
	if r[4] != 2 || le.Uint16(r[5:]) != 1 || le.Uint16(r[64:]) != 1 || r[66] != 1 || le.Uint64(r[72:]) != 0x22 || r[80] != 2 {
		t.Errorf("report % x", r[:128])
	}
	pb.fails(sqe{op: 0xe, nsid: 1, prp1: buf, dw: [6]uint32{127, 0}}, 0x18)
	// Clear removes everything.
	pb.ok(b.keys(0x15, 1, 0x22, 0))
	pa.ok(a.transfer(1, 0, 1, a.alloc(512), 512))
	// The host identifier cannot change.
	c := a.alloc(16)
	a.bytes(c, 16)[0] = 9
	a.q[0].fails(sqe{op: 9, prp1: c, dw: [6]uint32{0x81, 1}}, 0x0c)
}

// TestShadow drives a queue through shadow doorbells.
func TestShadow(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	s, e := d.allocRing(4096), d.allocRing(4096)
	nvme.Store32(d.bytes(s, 4096), 8, p.tail)
	nvme.Store32(d.bytes(s, 4096), 12, p.head)
	d.q[0].fails(sqe{op: 0x7c, prp1: s + 8, prp2: e}, 0x02)
	d.q[0].fails(sqe{op: 0x7c, prp1: s, prp2: 1 << 40}, 0x04)
	d.admin(sqe{op: 0x7c, prp1: s, prp2: e})
	p.shadow, p.events = s, e
	want := pattern(4096, 1)
	for i := range uint64(200) {
		p.write(8*i, want, 512)
	}
	// Many at once, so that the queue is found busy.
	for round := range 20 {
		n := 60
		for i := range n {
			c := d.transfer(2, uint64(8*i), 8, d.alloc(4096), 4096)
			p.add(c)
			if i%7 == round%7 {
				p.ring()
			}
		}
		p.ring()
		for range n {
			if r := p.reap(); r.status != 0 {
				t.Fatalf("status %#x", r.status)
			}
		}
	}
}

// TestShadowWatch has the watch of a queue look while nobody takes commands: it must leave the shadow tail for the queue's
// goroutine to find, which otherwise could not tell that it has not seen the commands up to there.
func TestShadowWatch(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	p.shadow, p.events = d.allocRing(4096), d.allocRing(4096)
	nvme.Store32(d.bytes(p.shadow, 4096), p.id*8, p.tail)
	nvme.Store32(d.bytes(p.shadow, 4096), p.id*8+4, p.head)
	d.admin(sqe{op: 0x7c, prp1: p.shadow, prp2: p.events})
	p.write(0, pattern(512, 1), 512)
	known := d.dev.KnownTail(p.id)
	p.add(d.transfer(2, 0, 1, d.alloc(4096), 512))
	nvme.Store32(d.bytes(p.shadow, 4096), p.id*8, p.tail)
	d.dev.ExpireWatch(p.id)
	if got := d.dev.KnownTail(p.id); got != known {
		t.Errorf("the tail is taken for %d, want %d: nobody takes the command", got, known)
	}
	d.put(rDoorbells+uint64(p.id)*8, 4, uint64(p.tail))
	if r := p.reap(); r.status != 0 {
		t.Errorf("status %#x", r.status)
	}
}

// TestBuffer puts queues, lists and data into the controller memory buffer.
func TestBuffer(t *testing.T) {
	d := newDriver(t, nvme.Options{Buffer: 1 << 20})
	if v := d.get(rCMBSZ, 4) | d.get(rCMBLOC, 4); v != 0 {
		t.Errorf("the buffer shows before CMBMSC.CRE is set: %#x", v)
	}
	const at = 0x40_0000_0000
	d.put(rCMBMSC, 8, at|3)
	if v := d.get(rCMBSZ, 4); v>>12*4096 != 1<<20 || d.get(rCMBLOC, 4)&7 != 2 {
		t.Errorf("CMBSZ %#x, CMBLOC %#x", v, d.get(rCMBLOC, 4))
	}
	d.start(16)
	// A completion queue in memory, the submission queue in the buffer.
	cq := d.allocRing(16 * 16)
	d.admin(sqe{op: 5, prp1: cq, dw: [6]uint32{1 | 15<<16, 3 | 1<<16}})
	d.admin(sqe{op: 1, prp1: at + 4096, dw: [6]uint32{1 | 15<<16, 1 | 1<<16}})
	p := &pair{d: d, id: 1, size: 16, cq: cq, phase: 1}
	do := func(op uint8, prp1, prp2 uint64, blocks uint32) uint16 {
		w := func(off int, v uint64) { d.mmio.Write(cmbBase+4096+64*uint64(p.tail)+uint64(off), 8, v) }
		p.next++
		w(0, uint64(op)|uint64(p.next)<<16|1<<32)
		w(24, prp1)
		w(32, prp2)
		w(40, 0)
		w(48, uint64(blocks-1))
		if p.tail++; p.tail == p.size {
			p.tail = 0
		}
		d.put(rDoorbells+8, 4, uint64(p.tail))
		return p.wait(p.next).code
	}
	for i := range uint64(64) {
		d.mmio.Write(cmbBase+0x8000+8*i, 8, i*0x0101010101010101)
	}
	if st := do(1, at+0x8000, 0, 1); st != 0 {
		t.Fatalf("write from the buffer: %#x", st)
	}
	// A list in the buffer, data in memory and in the buffer.
	a := d.alloc(4096)
	d.mmio.Write(cmbBase+0x3000, 8, a)
	d.mmio.Write(cmbBase+0x3008, 8, at+0x9000)
	if st := do(2, at+0x5000, at+0x3000, 24); st != 0 {
		t.Fatalf("read to the buffer: %#x", st)
	}
	if got := d.mmio.Read(cmbBase+0x5000+8*5, 8); got != 5*0x0101010101010101 {
		t.Errorf("read %#x", got)
	}
	if st := do(2, at+1<<20-512, at+1<<20, 8); st != 4 {
		t.Errorf("read past the end of the buffer: %#x", st)
	}
}
