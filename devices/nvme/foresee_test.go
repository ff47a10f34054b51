package nvme_test

import (
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
