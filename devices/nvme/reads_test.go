package nvme_test

import (
	"bytes"
	"testing"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/nvme"
)

// onFile is a driver of a controller whose queues are served from a file past the page cache.
func onFile(t *testing.T) (*driver, *pair, *devtest.File, []byte) {
	content := pattern(diskSize, 3)
	f := devtest.NewFile(t, content)
	d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{{Store: f}}}})
	return d, d.boot(), f, content
}

// TestReads has more reads and writes under way than the queue has entries, with commands among them that are
// waited for.
func TestReads(t *testing.T) {
	d, q, f, content := onFile(t)
	const size, n, rounds = 16 << 10, 50, 8
	type part struct {
		addr  uint64
		block uint64
		write bool
	}
	for round := range rounds {
		parts := map[uint16]part{}
		for i := range n {
			p := part{d.alloc(size), uint64((i*7 + round) % 64 * size / 512), i%3 == 0}
			op := uint8(2)
			if p.write {
				// Where nothing is read at the same time.
				p.block += diskSize / 2 / 512
				op = 1
				data := pattern(size, uint64(i+100*round))
				copy(d.bytes(p.addr, size), data)
				copy(content[p.block*512:], data)
			}
			parts[q.add(d.transfer(op, p.block, size/512, p.addr, size))] = p
		}
		flush := q.add(sqe{op: 0, nsid: 1})
		q.ring()
		if c := q.wait(flush); c.status != 0 {
			t.Fatalf("Flush: %#x", c.status)
		}
		for cid, p := range parts {
			if c := q.wait(cid); c.status != 0 {
				t.Fatalf("%+v: status %#x", p, c.status)
			}
			if !p.write && !bytes.Equal(d.bytes(p.addr, size), content[p.block*512:][:size]) {
				t.Fatalf("%+v: content differs", p)
			}
		}
	}
	if got := q.read(diskSize/2/512, 1024, 512); !bytes.Equal(got, content[diskSize/2:][:len(got)]) {
		t.Error("what was written is not there")
	}
	if f.Offered.Load() < n || f.Flushes.Load() != rounds {
		t.Errorf("%d transfers were on the file, with %d flushes", f.Offered.Load(), f.Flushes.Load())
	}
}

// TestReadsErrors reads what the host cannot, and goes on.
func TestReadsErrors(t *testing.T) {
	d, q, f, content := onFile(t)
	if err := f.Truncate(diskSize / 2); err != nil {
		t.Fatal(err)
	}
	a := d.alloc(8192)
	q.fails(d.transfer(2, diskSize/2/512-8, 16, a, 8192), 0x281)
	q.fails(sqe{op: 2, nsid: 1, prp1: a + 1, dw: [6]uint32{}}, 0x13)
	q.fails(sqe{op: 5, nsid: 1, prp1: a, dw: [6]uint32{diskSize / 512}}, 0x80)
	if got := q.read(8, 8, 512); !bytes.Equal(got, content[4096:8192]) {
		t.Error("content differs")
	}
}

// TestReadsFused compares and writes as one among other commands, which holds others up.
func TestReadsFused(t *testing.T) {
	d, q, _, content := onFile(t)
	for i := range 20 {
		a, b := d.alloc(512), d.alloc(512)
		copy(d.bytes(a, 512), content[:512])
		copy(content, pattern(512, uint64(i)))
		copy(d.bytes(b, 512), content[:512])
		var reads []uint16
		for range 5 {
			reads = append(reads, q.add(d.transfer(2, 16, 16, d.alloc(8192), 8192)))
		}
		first, second := d.transfer(5, 0, 1, a, 512), d.transfer(1, 0, 1, b, 512)
		first.fuse, second.fuse = 1, 2
		both := []uint16{q.add(first), q.add(second)}
		for range 5 {
			reads = append(reads, q.add(d.transfer(2, 16, 16, d.alloc(8192), 8192)))
		}
		q.ring()
		for _, cid := range append(both, reads...) {
			if c := q.wait(cid); c.status != 0 {
				t.Fatalf("round %d: command %d: status %#x", i, cid, c.status)
			}
		}
	}
}

// TestReadsFaults delays commands, which are executed late.
func TestReadsFaults(t *testing.T) {
	d, q, _, content := onFile(t)
	w := &devtest.Recorder{}
	w.DisturbBy(func(c *devices.Command) devices.Effect {
		switch {
		case c.LBA == 8:
			return devices.Effect{Delay: 1000}
		case c.LBA == 16:
			return devices.Effect{FlipData: 1, Seed: 5}
		}
		return devices.Effect{}
	})
	d.dev.Function().Probe().Watch(0, nil, w)
	a, b := d.alloc(4096), d.alloc(4096)
	late := q.submit(d.transfer(2, 8, 8, a, 4096))
	q.ok(d.transfer(2, 16, 8, b, 4096))
	if bytes.Equal(d.bytes(b, 4096), content[8192:12288]) {
		t.Error("no bit was inverted")
	}
	d.clock.Advance(1000)
	if c := q.wait(late); c.status != 0 || !bytes.Equal(d.bytes(a, 4096), content[4096:8192]) {
		t.Errorf("the delayed command: status %#x", c.status)
	}
}

// TestReadsResets disables and pauses the controller with commands under way.
func TestReadsResets(t *testing.T) {
	d, q, _, content := onFile(t)
	const n, size = 60, 16384
	a := d.alloc(n * size)
	for range 10 {
		for i := range uint64(n) {
			q.add(d.transfer(2, 0, size/512, a+i*size, size))
		}
		q.ring()
		d.dev.Pause()
		d.dev.Resume()
		d.stop()
		q = d.boot()
	}
	if got := q.read(8, 8, 512); !bytes.Equal(got, content[4096:8192]) {
		t.Error("content differs")
	}
}
