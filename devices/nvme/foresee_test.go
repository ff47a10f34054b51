package nvme_test

import (
	"slices"
	"strings"
	"testing"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/nvme"
)

// TestForesee breaks rules while nobody takes commands: who is to be halted at the doorbell hears of it before the doorbell's
// access ends.
func TestForesee(t *testing.T) {
	bad := rw(2, 0, 16)
	bad.prp1, bad.prp2 = 0x600000, 0x601010
	list := rw(2, 0, 64)
	list.prp1, list.prp2 = 0x600000, 0x601004
	entry := rw(1, 0, 64)
	entry.prp1, entry.prp2 = 0x600000, 0x700000
	sgl := rw(2, 0, 1)
	sgl.psdt, sgl.prp1, sgl.prp2 = 1, 0x600000, 7<<60|512
	good := rw(2, 0, 8)
	good.prp1 = 0x600000
	nowhere := rw(2, 0, 16)
	nowhere.prp1, nowhere.prp2 = 0x600000, 1<<40
	fused := rw(1, 0, 1)
	fused.fuse, fused.prp1 = 2, 0x600002
	for _, c := range []struct {
		want string
		c    sqe
	}{
		{"PRP entry 2 is 0x601010", bad},
		{"the PRP list is at 0x601004", list},
		{"the PRP list at 0x700000 has an entry 0x1", entry},
		{"the SGL descriptor in the command has type 0x7", sgl},
		{"NVMe base 2.0, 4.1.1: the data pointer leads to 4096 bytes at 0x10000000000, which are not memory", nowhere},
		{"is for namespace 0x9", sqe{op: 2, nsid: 9}},
		{"I/O command 0x77 is not supported", sqe{op: 0x77, nsid: 1}},
		{"of 8 blocks at 8190", rw(2, 8190, 8)},
		{"", good},
		{"", fused}, // its partner may be missing or not: that shows when it is taken
	} {
		d := newDriver(t, nvme.Options{})
		q := d.boot()
		le.PutUint64(d.bytes(0x700000, 8), 1)
		for _, prompt := range []bool{true, false} {
			w := &devtest.Recorder{}
			classes := devices.ClassStrict
			if prompt {
				classes |= devices.ClassPrompt
			}
			d.dev.Function().Probe().Watch(classes, w, nil)
			d.dev.Pause()
			before := good
			before.prp1 = 0x680000
			q.add(before)
			cid := q.submit(c.c)
			l := w.Violations()
			if want := prompt && c.want != ""; (len(l) == 1) != want || want && !strings.Contains(l[0], c.want) {
				t.Errorf("prompt %v: %q, want one with %q", prompt, l, c.want)
			}
			d.dev.Resume()
			q.wait(cid)
		}
	}
}

// TestForeseeAdmin does the same with admin commands, and with commands whose identifiers or partners are what is wrong.
func TestForeseeAdmin(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	w := &devtest.Recorder{}
	d.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, w, nil)
	data := d.alloc(4096)
	command := func(op uint8, dw ...uint32) sqe {
		c := sqe{op: op, prp1: data}
		copy(c.dw[:], dw)
		return c
	}
	at := func(c sqe, prp1, prp2 uint64) sqe { c.prp1, c.prp2 = prp1, prp2; return c }
	on := func(c sqe) sqe { c.nsid = 1; return c }
	for _, x := range []struct {
		q    *pair
		c    sqe
		want string
	}{
		{d.q[0], command(6, 1), ""},
		{d.q[0], command(6, 0x77), "Identify with CNS 0x77 is not supported"},
		{d.q[0], at(command(6, 1), data+2048, data+4096+8), "PRP entry 2 is"},
		{d.q[0], command(5, 63<<16|1, 3), "Create I/O Completion Queue: identifier 1 is not possible, or in use"},
		{d.q[0], command(5, 63<<16|2, 2), "Create I/O Completion Queue: PC is 0"},
		{d.q[0], at(command(5, 63<<16|2, 3), data+8, 0), "Create I/O Completion Queue: PRP entry 1 is"},
		{d.q[0], command(1, 63<<16|1, 1<<16|1), "Create I/O Submission Queue: identifier 1 is not possible, or in use"},
		{d.q[0], command(1, 63<<16|2, 2<<16|1), "Create I/O Submission Queue 2: completion queue 2 does not exist"},
		{d.q[0], command(0, 2), "Delete I/O Submission Queue: there is no queue 2"},
		{d.q[0], command(4, 2), "Delete I/O Completion Queue: there is no queue 2"},
		{d.q[0], command(4, 1), "completion queue 1 is deleted before its 1 submission queues"},
		{d.q[0], command(2, 0x7f<<16|2, 0, 0), ""},
		{d.q[0], command(2, 0x7f<<16|0x55), "log page 0x55 is not supported"},
		{d.q[0], command(2, 0xffff<<16|2, 0xfff), "Get Log Page asks for"},
		{d.q[0], command(9, 7, 3<<16|3), "Number of Queues is set after I/O queues have been created"},
		{d.q[0], command(9, 6, 1<<20), "Set Features Volatile Write Cache: reserved bits"},
		{d.q[0], at(command(0x7c), data, data+8), "the doorbell buffers at"},
		{p, on(at(command(9, 0, 4), data+2, 0)), "PRP entry 1 is"},
		{p, on(command(0x19, 0, 0, 1<<8)), "Copy with descriptor format 1"},
		{p, on(command(0xd)), "Reservation Register without a host identifier"},
		{p, on(command(9, 0, 4)), ""},
	} {
		w.Forget()
		d.dev.Pause()
		cid := x.q.submit(x.c)
		l := w.Violations()
		if x.want == "" && len(l) != 0 || x.want != "" && (len(l) != 1 || !strings.Contains(l[0], x.want)) {
			t.Errorf("opcode %#x, %#x: %q at the doorbell, want %q", x.c.op, x.c.dw, l, x.want)
		}
		d.dev.Resume()
		x.q.wait(cid)
	}
	// Memory that is lent to the controller, whose descriptors have fewer pages than is said, and a zone.
	memory := command(9, 0xd, 1, 9)
	memory.dw[3], memory.dw[5] = uint32(d.alloc(4096)), 1
	z, zq, _ := zoned(t, 0, 0)
	for _, x := range []struct {
		d    *driver
		q    *pair
		c    sqe
		want string
	}{
		{d, d.q[0], memory, "the descriptors of the host memory buffer have 0 pages; HSIZE says 9"}, {z, zq, act(1, 3), "Zone Management Send for block 1, which does not start a zone"},
	} {
		w.Forget()
		x.d.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, w, nil)
		x.d.dev.Pause()
		cid := x.q.submit(x.c)
		if l := w.Violations(); len(l) != 1 || !strings.Contains(l[0], x.want) {
			t.Errorf("%q at the doorbell, want %q", l, x.want)
		}
		x.d.dev.Resume()
		x.q.wait(cid)
	}
	w.Forget()
	// An identifier that belongs to a command that waits, or to another one of the same doorbell.
	d.dev.Pause()
	read := func(cid int) sqe {
		c := rw(2, 0, 8)
		c.prp1, c.cid = d.alloc(4096), cid // memory of its own: they are executed at a time
		return c
	}
	for i, want := range []int{0, 1} {
		p.submit(read(300))
		if l := w.Violations(); len(l) != want || want != 0 && !strings.Contains(l[0], "command identifier 0x12c is used") {
			t.Errorf("command %d: %q", i, l)
		}
	}
	p.add(read(301))
	p.submit(read(301))
	if l := w.Violations(); len(l) != 1 || !strings.Contains(l[0], "command identifier 0x12d is used") {
		t.Errorf("two at once: %q", l)
	}
	d.dev.Resume()
	for range 4 {
		p.reap()
	}
	w.Forget()
	c := read(300)
	for range 200 { // it may be used again when the command has ended
		p.submit(c)
		p.reap()
	}
	if l := w.Violations(); len(l) != 0 {
		t.Errorf("one after the other: %q", l)
	}
}

// TestForeseeShadow does the same with shadow doorbells: the driver is asked to ring for each command.
func TestForeseeShadow(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	p.shadow, p.events = d.allocRing(4096), d.allocRing(4096)
	nvme.Store32(d.bytes(p.shadow, 4096), p.id*8, p.tail)
	nvme.Store32(d.bytes(p.shadow, 4096), p.id*8+4, p.head)
	w := &devtest.Recorder{}
	d.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, w, nil)
	d.admin(sqe{op: 0x7c, prp1: p.shadow, prp2: p.events})
	for range 20 {
		for i := range 30 {
			p.add(d.transfer(2, uint64(8*i), 8, d.alloc(4096), 4096))
			if i%3 != 0 {
				p.ring()
			}
		}
		p.ring()
		for range 30 {
			if r := p.reap(); r.status != 0 {
				t.Fatalf("status %#x", r.status)
			}
		}
	}
	if l := w.Violations(); len(l) != 0 {
		t.Fatalf("good commands: %q", l)
	}
	d.dev.Pause()
	for range 3 {
		p.submit(d.transfer(2, 0, 8, d.alloc(4096), 4096))
		if got := d.dev.KnownTail(p.id); got != p.tail {
			t.Errorf("the tail is known as %d, want %d: the driver did not ring", got, p.tail)
		}
	}
	p.submit(sqe{op: 0x77, nsid: 1})
	if l := w.Violations(); len(l) != 1 || !strings.Contains(l[0], "I/O command 0x77 is not supported") {
		t.Errorf("%q", l)
	}
	d.dev.Resume()
	for range 4 {
		p.reap()
	}
}

// TestBlame looks at what breaches are put down to: accesses to registers, or what a queue holds.
func TestBlame(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	w := &devtest.Recorder{}
	d.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, w, nil)
	check := func(what string, want ...devices.Origin) {
		t.Helper()
		if l := w.Origins(); !slices.Equal(l, want) {
			t.Errorf("%s: %v, want %v; %q", what, l, want, w.Violations())
		}
	}
	d.put(rDoorbells+8, 4, 1<<16|uint64(p.tail))
	check("a doorbell", devices.ByAccess, devices.ByAccess)
	d.put(rAQA, 4, 0x1f001f)
	check("AQA", devices.ByAccess)
	d.dev.Pause()
	p.submit(sqe{op: 0x77, nsid: 1})
	check("a command", devices.ByQueue)
	d.dev.Resume()
	p.reap()
	w.Origins()
	d.stop()
	d.put(rAQA, 4, 0)
	d.put(rCC, 4, ccEnable)
	check("CC.EN", devices.ByAccess)
}
