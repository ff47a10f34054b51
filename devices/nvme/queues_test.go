package nvme_test

import (
	"bytes"
	"testing"

	"dfemu/devices/nvme"
)

// TestManyQueues uses all 128 I/O queue pairs at the same time, each with its
// own vector, then deletes them under load.
func TestManyQueues(t *testing.T) {
	d := newDriver(t, nvme.Options{Queues: 128})
	d.start(32)
	want := pattern(diskSize/4, 6)
	var all []*pair
	for id := 1; id <= 128; id++ {
		all = append(all, d.queue(id, 8))
	}
	all[0].write(0, want, 512)
	for round := range 3 {
		type read struct {
			c    sqe
			slba uint64
		}
		reads := map[*pair][]read{}
		for i, p := range all {
			for k := range 5 {
				slba := uint64(i*13+k*7+round) % 2000
				r := read{d.transfer(2, slba, 1, d.alloc(512), 512), slba}
				p.add(r.c)
				reads[p] = append(reads[p], r)
			}
		}
		for _, p := range all {
			p.ring()
		}
		for _, p := range all {
			for range 5 {
				if c := p.reap(); c.status != 0 || int(c.sq) != p.id {
					t.Fatalf("queue %d: %+v", p.id, c)
				}
			}
			for _, r := range reads[p] {
				if !bytes.Equal(d.bytes(r.c.prp1, 512), want[r.slba*512:][:512]) {
					t.Fatalf("queue %d: block %d differs", p.id, r.slba)
				}
			}
		}
	}
	for id := 1; id <= 128; id++ {
		if d.messages(id) == 0 {
			t.Errorf("no message of vector %d", id)
		}
	}
	for _, p := range all {
		for range 6 {
			p.add(rw(0, 0, 1))
		}
		p.ring()
	}
	for id := range uint32(128) {
		d.admin(sqe{op: 0, dw: [6]uint32{id + 1}})
		d.admin(sqe{op: 4, dw: [6]uint32{id + 1}})
	}
}

// TestBusyQueueIsClean rings for one command after another while the worker is at those before: it may take what a doorbell tells of before
// the doorbell's rules have been looked at, which breaks none.
func TestBusyQueueIsClean(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	w := d.watch()
	p := d.boot()
	for range 300 {
		for range 8 {
			p.submit(rw(2, 0, 1))
		}
		for range 8 {
			p.reap()
		}
	}
	if w.Has("violation") {
		t.Error("a driver that keeps to the rules is complained of")
	}
}
