package nvme_test

import (
	"bytes"
	"testing"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/nvme"
)

func TestQueueErrors(t *testing.T) {
	d := newDriver(t, nvme.Options{Queues: 4, QueueEntries: 64})
	a := d.start(16)
	cq := func(id, n, iv, flags uint32, prp uint64) sqe {
		return sqe{op: 5, prp1: prp, dw: [6]uint32{id | (n-1)<<16, flags | iv<<16}}
	}
	sq := func(id, n, cqid, flags uint32, prp uint64) sqe {
		return sqe{op: 1, prp1: prp, dw: [6]uint32{id | (n-1)<<16, flags | cqid<<16}}
	}
	ring := d.allocRing(4096)
	for _, c := range []struct {
		name string
		cmd  sqe
		code uint16
	}{
		{"cq 0", cq(0, 8, 0, 3, ring), 0x101},
		{"cq 5 of 4", cq(5, 8, 0, 3, ring), 0x101},
		{"cq of one entry", cq(1, 1, 0, 3, ring), 0x102},
		{"cq too large", cq(1, 65, 0, 3, ring), 0x102},
		{"cq not contiguous", cq(1, 8, 0, 2, ring), 0x02},
		{"cq not at a page", cq(1, 8, 0, 3, ring+64), 0x13},
		{"vector", cq(1, 8, 5, 3, ring), 0x108},
		{"cq 1", cq(1, 8, 0, 3, ring), 0},
		{"cq 1 again", cq(1, 8, 0, 3, ring), 0x101},
		{"sq without cq", sq(1, 8, 2, 1, ring), 0x100},
		{"sq with the admin cq", sq(1, 8, 0, 1, ring), 0x101},
		{"sq with cq 9", sq(1, 8, 9, 1, ring), 0x101},
		{"sq 0", sq(0, 8, 1, 1, ring), 0x101},
		{"sq too large", sq(1, 65, 1, 1, ring), 0x102},
		{"sq not contiguous", sq(1, 8, 1, 0, ring), 0x02},
		{"sq not at a page", sq(1, 8, 1, 1, ring+8), 0x13},
		{"sq 1", sq(1, 8, 1, 1, d.allocRing(4096)), 0},
		{"sq 2 shares the cq", sq(2, 8, 1, 1, d.allocRing(4096)), 0},
		{"delete cq in use", sqe{op: 4, dw: [6]uint32{1}}, 0x10c},
		{"delete sq 3", sqe{op: 0, dw: [6]uint32{3}}, 0x101},
		{"delete sq 0", sqe{op: 0, dw: [6]uint32{0}}, 0x101},
		{"delete sq 1", sqe{op: 0, dw: [6]uint32{1}}, 0},
		{"delete cq still in use", sqe{op: 4, dw: [6]uint32{1}}, 0x10c},
		{"delete sq 2", sqe{op: 0, dw: [6]uint32{2}}, 0},
		{"delete cq 1", sqe{op: 4, dw: [6]uint32{1}}, 0},
		{"delete cq 1 again", sqe{op: 4, dw: [6]uint32{1}}, 0x101},
		{"sgl in an admin command", sqe{op: 6, psdt: 1, prp1: ring, prp2: 4096, dw: [6]uint32{1}}, 0x02},
		{"fused admin command", sqe{op: 6, fuse: 1, prp1: ring, dw: [6]uint32{1}}, 0x02},
		{"unknown admin command", sqe{op: 0x18}, 0x01},
		{"identify of an unknown kind", sqe{op: 6, prp1: ring, dw: [6]uint32{0x55}}, 0x02},
		{"identify outside memory", sqe{op: 6, prp1: 1 << 50, dw: [6]uint32{1}}, 0x04},
		{"unknown log", sqe{op: 2, prp1: ring, dw: [6]uint32{0x44}}, 0x109},
		{"log with a bad offset", sqe{op: 2, prp1: ring, dw: [6]uint32{2, 0, 2}}, 0x02},
		{"unknown feature", sqe{op: 0xa, dw: [6]uint32{0x70}}, 0x02},
	} {
		if r := a.do(c.cmd); r.code != c.code {
			t.Errorf("%s: status %#x, want %#x", c.name, r.code, c.code)
		}
	}
}

func TestIdentify(t *testing.T) {
	d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{
		Serial: "SN1", Model: "Model X", Firmware: "2.5",
		Namespaces: []nvme.NamespaceOptions{
			{Store: store(t, diskSize), EUI64: 0x0102030405060708},
			{NSID: 5, Store: store(t, diskSize), BlockSize: 4096, NGUID: [16]byte{1, 2, 3}, UUID: [16]byte{9}},
			{NSID: 7, Store: store(t, diskSize), Detached: true},
			{NSID: 9, Store: store(t, diskSize), Zoned: true, ZoneSize: 1 << 20},
		},
	}})
	d.start(16)
	c := d.identify(1, 0, 0)
	for _, x := range []struct {
		what string
		got  string
		want string
	}{
		{"serial", string(c[4:24]), "SN1                 "}, {"model", string(c[24:64]), "Model X                                 "},
		{"firmware", string(c[64:72]), "2.5     "},
	} {
		if x.got != x.want {
			t.Errorf("%s %q, want %q", x.what, x.got, x.want)
		}
	}
	if c[512] != 0x66 || c[513] != 0x44 || le.Uint32(c[516:]) != 256 || c[77] != 9 {
		t.Errorf("SQES %#x, CQES %#x, NN %d, MDTS %d", c[512], c[513], le.Uint32(c[516:]), c[77])
	}
	list := func(cns, csi, after uint32) (l []uint32) {
		b := d.identify(cns, csi, after)
		for i := 0; le.Uint32(b[i:]) != 0; i += 4 {
			l = append(l, le.Uint32(b[i:]))
		}
		return l
	}
	for _, x := range []struct {
		cns, csi, after uint32
		want            []uint32
	}{
		{2, 0, 0, []uint32{1, 5, 9}}, {2, 0, 4, []uint32{5, 9}}, {2, 0, 9, nil}, {0x10, 0, 0, []uint32{1, 5, 7, 9}},
		{7, 0, 0, []uint32{1, 5}}, {7, 2, 0, []uint32{9}}, {0x1a, 0, 1, []uint32{5, 7}},
	} {
		got := list(x.cns, x.csi, x.after)
		if len(got) != len(x.want) {
			t.Errorf("list %#x, command set %d, after %d: %v, want %v", x.cns, x.csi, x.after, got, x.want)
			continue
		}
		for i := range got {
			if got[i] != x.want[i] {
				t.Errorf("list %#x: %v, want %v", x.cns, got, x.want)
			}
		}
	}
	n := d.identify(0, 0, 1)
	if le.Uint64(n) != diskSize/512 || n[26] != 0 || n[130] != 9 || n[134] != 12 || n[120] != 1 || n[127] != 8 {
		t.Errorf("namespace 1: % x", n[:136])
	}
	n = d.identify(0, 0, 5)
	if le.Uint64(n) != diskSize/4096 || n[26] != 1 || !bytes.Equal(n[104:107], []byte{1, 2, 3}) {
		t.Errorf("namespace 5: % x", n[:128])
	}
	if n = d.identify(0, 0, 7); le.Uint64(n) != 0 {
		t.Error("a detached namespace is described")
	}
	if n = d.identify(0x11, 0, 7); le.Uint64(n) != diskSize/512 {
		t.Error("a detached namespace is not described among the allocated ones")
	}
	if n = d.identify(3, 0, 5); n[0] != 2 || n[1] != 16 || n[20] != 3 || n[40] != 4 || n[44] != 0 {
		t.Errorf("descriptors: % x", n[:48])
	}
	if n = d.identify(5, 2, 9); le.Uint64(n[2816:]) != 2048 {
		t.Errorf("zone size %d", le.Uint64(n[2816:]))
	}
	if n = d.identify(0x1c, 0, 0); le.Uint64(d.identifyAll(0x1c|0xffff<<16)) != 5 {
		t.Errorf("command sets % x", n[:8])
	}
	if n = d.identify(8, 0, 1); n[14] != 1 {
		t.Error("namespace 1 is not ready")
	}
	if n = d.identify(0x13, 0, 0); le.Uint16(n) != 1 {
		t.Error("controller list")
	}
	d.q[0].fails(sqe{op: 6, nsid: 300, prp1: d.alloc(4096)}, 0x0b)
	d.q[0].fails(sqe{op: 6, nsid: 0, prp1: d.alloc(4096)}, 0x0b)
	d.q[0].fails(sqe{op: 6, nsid: 7, prp1: d.alloc(4096), dw: [6]uint32{3}}, 0x0b)
	d.q[0].fails(sqe{op: 6, nsid: 0xfffffffe, prp1: d.alloc(4096), dw: [6]uint32{2}}, 0x0b)
}

func (d *driver) identifyAll(dw10 uint32) []byte {
	a := d.alloc(4096)
	d.admin(sqe{op: 6, prp1: a, dw: [6]uint32{dw10}})
	return d.bytes(a, 4096)
}

func TestFeatures(t *testing.T) {
	d := newDriver(t, nvme.Options{Queues: 4})
	d.start(16)
	get := func(id, sel, dw11 uint32) uint32 {
		t.Helper()
		return d.admin(sqe{op: 0xa, nsid: 1, prp1: d.alloc(4096), dw: [6]uint32{id | sel<<8, dw11}}).dw0
	}
	set := func(id, v uint32) sqe { return sqe{op: 9, dw: [6]uint32{id, v}} }
	for _, c := range []struct{ id, v uint32 }{{1, 0x01020304}, {2, 1}, {6, 0}, {8, 0x0304}, {0xa, 1}, {0xb, 0x300}, {0x11, 0}, {0x80, 7}} {
		d.admin(set(c.id, c.v))
		if got := get(c.id, 0, 0); got != c.v {
			t.Errorf("feature %#x is %#x, want %#x", c.id, got, c.v)
		}
	}
	// A saved value outlives a reset, others do not.
	d.admin(set(1|1<<31, 0x0a0b0c01))
	d.stop()
	d.start(16)
	if get(1, 0, 0) != 0x0a0b0c01 || get(1, 2, 0) != 0x0a0b0c01 || get(1, 1, 0) != 7 {
		t.Errorf("saved feature: current %#x, saved %#x, default %#x", get(1, 0, 0), get(1, 2, 0), get(1, 1, 0))
	}
	if get(0x80, 0, 0) != 0 || get(6, 0, 0) != 1 {
		t.Error("a value that was not saved outlives a reset")
	}
	if c := get(1, 3, 0); c != 5 {
		t.Errorf("capabilities of Arbitration: %#x", c)
	}
	if c := get(0x84, 3, 0); c != 6 {
		t.Errorf("capabilities of write protection: %#x", c)
	}
	a := d.q[0]
	a.fails(set(7|1<<31, 0), 0x10d)
	a.fails(set(7, 0xffff), 0x02)
	a.fails(sqe{op: 9, nsid: 1, dw: [6]uint32{1, 0}}, 0x10f)
	a.fails(sqe{op: 9, nsid: 1, dw: [6]uint32{0x83, 1}}, 0x10e)
	a.fails(set(2, 9), 0x02)
	a.fails(sqe{op: 0xa, nsid: 44, dw: [6]uint32{5}}, 0x0b)
	d.queue(1, 16)
	a.fails(set(7, 1), 0x0c)
	// Vectors.
	d.admin(set(9, 1|1<<16))
	if got := get(9, 0, 1); got != 1|1<<16 {
		t.Errorf("vector 1: %#x", got)
	}
	a.fails(set(9, 77), 0x02)
	// The time goes on.
	b := d.alloc(4096)
	le.PutUint64(d.bytes(b, 8), 5000)
	c := set(0xe, 0)
	c.prp1 = b
	d.admin(c)
	d.clock.Advance(2e9)
	d.admin(sqe{op: 0xa, prp1: b, dw: [6]uint32{0xe}})
	if got := le.Uint64(d.bytes(b, 8)); got&(1<<48-1) != 7000 || got>>48&0xe != 2 {
		t.Errorf("timestamp %#x", got)
	}
	// Write protection of a namespace.
	d.admin(sqe{op: 9, nsid: 1, dw: [6]uint32{0x84, 1}})
	w := rw(1, 0, 1)
	w.prp1 = b
	d.q[1].fails(w, 0x20)
	d.admin(sqe{op: 9, nsid: 1, dw: [6]uint32{0x84, 0}})
	d.q[1].ok(w)
}

func TestHostMemory(t *testing.T) {
	d := newDriver(t, nvme.Options{HostMemory: 1 << 20})
	d.start(16)
	if n := le.Uint32(d.identify(1, 0, 0)[272:]); n != 256 {
		t.Errorf("HMPRE %d", n)
	}
	list := d.alloc(4096)
	le.PutUint64(d.bytes(list, 8), d.alloc(1<<16))
	le.PutUint32(d.bytes(list+8, 4), 16)
	on := sqe{op: 9, dw: [6]uint32{0xd, 1, 16, uint32(list), 0, 1}}
	bad := on
	bad.dw[2] = 17
	d.q[0].fails(bad, 0x02)
	d.admin(on)
	d.q[0].fails(on, 0x0c)
	b := d.alloc(4096)
	if r := d.admin(sqe{op: 0xa, prp1: b, dw: [6]uint32{0xd}}); r.dw0 != 1 || le.Uint32(d.bytes(b, 4)) != 16 || le.Uint64(d.bytes(b+4, 8)) != list {
		t.Errorf("feature %#x, attributes % x", r.dw0, d.bytes(b, 16))
	}
	d.admin(sqe{op: 9, dw: [6]uint32{0xd, 0}})
	bad.dw[2], bad.dw[3] = 16, 8
	d.q[0].fails(bad, 0x02)
	bad.dw[3], bad.dw[4] = 0, 1<<20
	d.q[0].fails(bad, 0x04)
}

func TestEvents(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	a := d.start(16)
	d.admin(sqe{op: 9, dw: [6]uint32{0xb, 0x71f}})
	aer := sqe{op: 0xc}
	ids := map[uint16]bool{}
	for range 5 {
		ids[a.submit(aer)] = true
	}
	// next returns the answer to one of the requests: the controller may take them in any order.
	next := func() cqe {
		t.Helper()
		r := a.reap()
		if !ids[r.cid] {
			t.Fatalf("a completion of command %d, want one of %v", r.cid, ids)
		}
		delete(ids, r.cid)
		return r
	}
	if r := next(); r.code != 0x105 {
		t.Errorf("one too many: status %#x", r.code)
	}
	// Abort takes one back.
	var last uint16
	for last = range ids {
	}
	if r := d.admin(sqe{op: 8, dw: [6]uint32{uint32(last) << 16}}); r.dw0&1 != 0 {
		t.Error("not aborted")
	}
	if r := next(); r.cid != last || r.code != 7 {
		t.Errorf("aborted request: command %d, status %#x", r.cid, r.code)
	}
	if r := d.admin(sqe{op: 8, dw: [6]uint32{0x1234 << 16}}); r.dw0&1 != 1 {
		t.Error("a command that is not there was aborted")
	}
	// A doorbell of a queue that does not exist.
	d.put(rDoorbells+8*50, 4, 1)
	if r := next(); r.dw0 != 0|0<<8|1<<16 {
		t.Errorf("event %#x", r.dw0)
	}
	// The same type is masked until the log is read, others are not.
	d.put(rDoorbells+8*51, 4, 1)
	d.admin(sqe{op: 9, dw: [6]uint32{4, 300}})
	if r := next(); r.dw0 != 1|1<<8|2<<16 {
		t.Errorf("event %#x", r.dw0)
	}
	d.logPage(1|1<<15, 0, 64) // retain
	if len(a.stash) != 0 {
		t.Error("an event came in spite of RAE")
	}
	d.logPage(1, 0, 64)
	if r := next(); r.dw0 != 0|0<<8|1<<16 {
		t.Errorf("event %#x", r.dw0)
	}
	// A tail outside of the queue, kept until there is a request.
	d.logPage(1, 0, 64)
	d.put(rDoorbells, 4, 99)
	if r := a.do(aer); r.dw0 != 0|1<<8|1<<16 {
		t.Errorf("event %#x", r.dw0)
	}
}

func pool(t *testing.T, n int) devices.Block {
	b, err := block.NewMemory(make([]byte, n), false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestManagement creates, attaches, uses, formats, detaches and deletes namespaces.
func TestManagement(t *testing.T) {
	p := pool(t, 32<<20)
	d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Pool: p, MaxNamespaces: 3, PoolZoneSize: 1 << 20}})
	a := d.start(16)
	d.admin(sqe{op: 9, dw: [6]uint32{0xb, 0x100}})
	event := a.submit(sqe{op: 0xc})
	free := func() uint64 { return le.Uint64(d.identify(1, 0, 0)[296:]) }
	all := free()
	if all != 32<<20-64<<10 {
		t.Errorf("%d bytes free", all)
	}
	create := func(blocks uint64, lbaf uint8, csi uint32) sqe {
		b := d.alloc(4096)
		clear(d.bytes(b, 4096))
		le.PutUint64(d.bytes(b, 8), blocks)
		le.PutUint64(d.bytes(b+8, 8), blocks)
		d.bytes(b+26, 1)[0] = lbaf
		return sqe{op: 0xd, prp1: b, dw: [6]uint32{0, csi << 24}}
	}
	attach := func(nsid, sel uint32, ids ...uint16) sqe {
		b := d.alloc(4096)
		clear(d.bytes(b, 4096))
		le.PutUint16(d.bytes(b, 2), uint16(len(ids)))
		for i, id := range ids {
			le.PutUint16(d.bytes(b+2+uint64(2*i), 2), id)
		}
		return sqe{op: 0x15, nsid: nsid, prp1: b, dw: [6]uint32{sel}}
	}
	if r := d.admin(create(8192, 0, 0)); r.dw0 != 1 {
		t.Fatalf("created namespace %d", r.dw0)
	}
	if free() != all-4<<20 {
		t.Errorf("%d bytes free after a namespace of 4 MiB", free())
	}
	for _, c := range []struct {
		name string
		cmd  sqe
		code uint16
	}{
		{"too large", create(1<<30, 0, 0), 0x115}, {"huge", create(1<<62, 1, 0), 0x115}, {"nothing", create(0, 0, 0), 0x02},
		{"format", create(8, 2, 0), 0x10a}, {"command set", create(8, 0, 1), 0x129}, {"zones in part", create(100, 1, 2), 0x02},
		{"attach what is not there", attach(2, 0, 0), 0x0b}, {"attach to nobody", attach(1, 0), 0x11c},
		{"attach to a controller that is not there", attach(1, 0, 4), 0x11c}, {"detach", attach(1, 1, 0), 0x11a},
		{"select", attach(1, 2, 0), 0x02}, {"delete nothing", sqe{op: 0xd, nsid: 3, dw: [6]uint32{1}}, 0x0b},
	} {
		if r := a.do(c.cmd); r.code != c.code {
			t.Errorf("%s: status %#x, want %#x", c.name, r.code, c.code)
		}
	}
	d.admin(attach(1, 0, 0))
	a.fails(attach(1, 0, 0), 0x118)
	if r := a.wait(event); r.dw0 != 2|0<<8|4<<16 {
		t.Errorf("event %#x", r.dw0)
	}
	if log := d.logPage(4, 0xffffffff, 4096); le.Uint32(log) != 1 || le.Uint32(log[4:]) != 0 {
		t.Errorf("changed namespaces: % x", log[:8])
	}
	q := d.queue(1, 16)
	want := pattern(8192, 3)
	q.write(8176, want, 512)
	if !bytes.Equal(q.read(8176, 16, 512), want) {
		t.Error("content differs")
	}
	d.admin(create(2048, 1, 0))
	d.admin(create(768, 1, 2)) // three zones
	a.fails(create(16, 1, 0), 0x116)
	// Format with blocks of 4096 bytes empties it.
	d.admin(sqe{op: 0x80, nsid: 1, dw: [6]uint32{1}})
	if n := d.identify(0, 0, 1); le.Uint64(n) != 1024 || n[26] != 1 {
		t.Errorf("%d blocks of format %d", le.Uint64(n), n[26])
	}
	if got := q.read(1022, 2, 4096); bytes.Count(got, []byte{0}) != len(got) {
		t.Error("formatted namespace is not empty")
	}
	a.fails(sqe{op: 0x80, nsid: 1, dw: [6]uint32{5}}, 0x10a)
	a.fails(sqe{op: 0x80, nsid: 1, dw: [6]uint32{0 | 2<<9}}, 0x02)
	a.fails(sqe{op: 0x80, nsid: 9}, 0x0b)
	q.write(3, want, 4096)

	// The table outlives the machine.
	o := nvme.Options{Sub: nvme.SubsystemOptions{Pool: p, MaxNamespaces: 3, PoolZoneSize: 1 << 20}}
	if err := d.dev.Close(); err != nil {
		t.Fatal(err)
	}
	d2 := newDriver(t, o)
	q2 := d2.boot()
	if !bytes.Equal(q2.read(3, 2, 4096), want) {
		t.Error("content of a created namespace is gone")
	}
	if n := d2.identify(5, 2, 3); le.Uint64(n[2816+16:]) != 256 {
		t.Error("zoned namespace is gone")
	}
	d2.admin(sqe{op: 0x15, nsid: 2, prp1: func() uint64 { b := d2.alloc(4096); le.PutUint16(d2.bytes(b, 2), 1); return b }(), dw: [6]uint32{1}})
	d2.admin(sqe{op: 0xd, nsid: 2, dw: [6]uint32{1}})
	d2.admin(sqe{op: 0xd, nsid: 0xffffffff, dw: [6]uint32{1}})
	if le.Uint64(d2.identify(1, 0, 0)[296:]) != all {
		t.Error("not all is free")
	}
	q2.fails(rw(1, 0, 1), 0x02)
}

func TestDamagedPool(t *testing.T) {
	for name, spoil := range map[string]func(b []byte){
		"other content": func(b []byte) { copy(b, "some file system") },
		"checksum":      func(b []byte) { copy(b, "dfemuNVP\x02\x00\x00\x00\x00\x00\x00\x00[]") },
		"length":        func(b []byte) { copy(b, "dfemuNVP\xff\xff\xff\xff\x00\x00\x00\x00[]") },
	} {
		b := make([]byte, 1<<20)
		spoil(b)
		m, _ := block.NewMemory(b, false)
		if s, err := nvme.NewSubsystem(nvme.SubsystemOptions{Pool: m}); err == nil {
			s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestFirmware(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	a := d.start(16)
	b := d.alloc(8192)
	copy(d.bytes(b, 8), "REV-0002")
	load := sqe{op: 0x11, prp1: b, dw: [6]uint32{1023, 0}}
	a.fails(sqe{op: 0x10, dw: [6]uint32{2 | 0<<3}}, 0x107) // nothing was downloaded
	d.admin(load)
	a.fails(sqe{op: 0x11, prp1: b, dw: [6]uint32{1023, 3}}, 0x02)
	a.fails(sqe{op: 0x10, dw: [6]uint32{1 | 1<<3}}, 0x106)
	a.fails(sqe{op: 0x10, dw: [6]uint32{5 | 1<<3}}, 0x106)
	a.fails(sqe{op: 0x10, dw: [6]uint32{2 | 1<<3}}, 0x111) // active after a reset
	if log := d.logPage(3, 0, 512); log[0] != 1|2<<4 || string(log[16:24]) != "REV-0002" {
		t.Errorf("log % x", log[:32])
	}
	d.stop()
	a = d.start(16)
	if id := d.identify(1, 0, 0); string(id[64:72]) != "REV-0002" {
		t.Errorf("revision %q", id[64:72])
	}
	a.fails(sqe{op: 0x10, dw: [6]uint32{3 | 3<<3}}, 0x106)
	d.admin(sqe{op: 0x10, dw: [6]uint32{1 | 3<<3}})
	if id := d.identify(1, 0, 0); string(id[64:72]) != "1.0     " {
		t.Errorf("revision %q", id[64:72])
	}
}

func TestSelfTestAndTelemetry(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	a := d.start(16)
	run := sqe{op: 0x14, nsid: 1, dw: [6]uint32{1}}
	d.admin(run)
	a.fails(run, 0x11d)
	d.clock.Advance(1e9)
	if log := d.logPage(6, 0, 564); log[0] != 1 || log[1] != 50 {
		t.Errorf("after a second: % x", log[:4])
	}
	d.clock.Advance(2e9)
	log := d.logPage(6, 0, 564)
	if log[0] != 0 || log[4] != 0x10 || log[6]&1 != 1 || le.Uint32(log[16:]) != 1 || log[32] != 0xf {
		t.Errorf("at the end: % x", log[:36])
	}
	run.dw[0] = 2
	d.admin(run)
	run.dw[0] = 0xf
	d.admin(run)
	if log := d.logPage(6, 0, 564); log[4] != 0x21 {
		t.Errorf("aborted: %#x", log[4])
	}
	run.dw[0] = 7
	a.fails(run, 0x02)
	if log := d.logPage(7|1<<8, 0, 1024); log[0] != 7 || le.Uint16(log[8:]) != 1 || !bytes.HasPrefix(log[512:], []byte("CC 0x460061")) {
		t.Errorf("telemetry: % x %q", log[:16], log[512:540])
	}
	for _, id := range []uint32{0, 5, 0x12, 0x81} {
		if log := d.logPage(id, 0, 512); bytes.Count(log, []byte{0}) == len(log) {
			t.Errorf("log %#x is empty", id)
		}
	}
}

func TestSanitize(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	d.admin(sqe{op: 9, dw: [6]uint32{0xb, 0}})
	for _, c := range []struct{ dw10, pattern uint32 }{{2, 0}, {3 | 1<<4, 0xa5a5a5a5}} {
		p.write(5, pattern(512, 1), 512)
		event := d.q[0].submit(sqe{op: 0xc})
		d.admin(sqe{op: 0x84, dw: [6]uint32{c.dw10, c.pattern}})
		if r := d.q[0].wait(event); r.dw0 != 6|1<<8|0x81<<16 {
			t.Errorf("event %#x", r.dw0)
		}
		if log := d.logPage(0x81, 0, 512); le.Uint16(log) != 0xffff || log[2] != 1 {
			t.Errorf("log % x", log[:8])
		}
		if got := p.read(5, 1, 512); le.Uint32(got) != c.pattern || le.Uint32(got[508:]) != c.pattern {
			t.Errorf("block begins with % x", got[:8])
		}
	}
	d.q[0].fails(sqe{op: 0x84, dw: [6]uint32{4}}, 0x02)
}
