package virtio_test

import (
	"testing"

	"dfemu/devices/virtio"
	"dfemu/devices/virtio/virtiotest"
)

// newIdle is a device whose queue nobody serves.
func newIdle(t *testing.T) *virtio.Device {
	d := virtio.New(virtio.Config{Name: "idle", Type: 1, Queues: []int{64}, Packed: true})
	t.Cleanup(func() { d.Close() })
	return d
}

func TestBatch(t *testing.T) {
	for name, f := range map[string]uint64{
		"split": 0, "split event": virtiotest.EventIdx, "packed": virtiotest.Packed, "packed indirect": virtiotest.Packed | virtiotest.Indirect | virtiotest.EventIdx,
	} {
		t.Run(name, func(t *testing.T) {
			dev := newIdle(t)
			d := virtiotest.New(t, dev.Function(), true)
			d.Start(f)
			q := d.Queue(0, 16)
			d.Go()
			dq := dev.Queue(0)
			next := uint32(0)
			// Rounds enough to wrap around in the middle of a batch.
			for round := range 12 {
				var ids []uint16
				for n := range 5 {
					ids = append(ids, q.Add([][]byte{make([]byte, n+1)}, 8, 8))
				}
				q.Publish()
				l := dq.PopN(nil, 64)
				if len(l) != 5 {
					t.Fatalf("round %d: %d chains, want 5", round, len(l))
				}
				dq.Unpop(l[2:])
				if again := dq.PopN(nil, 2); len(again) != 2 || again[0].ID() != ids[2] {
					t.Fatalf("round %d: taken again: %v", round, again)
				} else {
					l = append(l[:2], again...)
				}
				l = dq.PopN(l, 9)
				before := d.Interrupts(0)
				for i, c := range l {
					if c.ID() != ids[i] || virtio.Total(c.Out) != uint64(i+1) {
						t.Fatalf("round %d: chain %d has id %d and %d bytes, want id %d", round, i, c.ID(), virtio.Total(c.Out), ids[i])
					}
					c.SetWritten(next + uint32(i))
				}
				dq.PushAll(l, round%2 == 1)
				for i, b := range q.Wait(5) {
					if b.ID != ids[i] || b.Len != next+uint32(i) {
						t.Fatalf("round %d: got id %d length %d, want %d %d", round, b.ID, b.Len, ids[i], next+uint32(i))
					}
				}
				if n := d.Interrupts(0) - before; f&virtiotest.EventIdx == 0 && n != 1-round%2 {
					t.Errorf("round %d: %d interrupts", round, n)
				}
				next += 5
			}
		})
	}
}

func TestDetach(t *testing.T) {
	dev := newIdle(t)
	d := virtiotest.New(t, dev.Function(), true)
	d.Start(0)
	q := d.Queue(0, 16)
	d.Go()
	dq := dev.Queue(0)
	q.Add(nil, 4)
	q.Add(nil, 4)
	q.Publish()
	l := dq.PopN(nil, 2)
	a, b := dq.Detach(l[0]), dq.Detach(l[1])
	dev.Pause() // does not wait for them
	if dq.Attach(a) != nil {
		t.Error("attached while paused")
	}
	dev.Resume()
	c := dq.Attach(a)
	if c == nil {
		t.Fatal("not attached")
	}
	twice := dq.Again(c)
	dq.PushAll([]*virtio.Chain{c, twice}, false)
	q.Wait(1)
	if got := d.Bytes(q.Device+2, 1)[0]; got != 2 {
		t.Errorf("used index %d after a duplicate completion, want 2", got)
	}
	d.Start(0)
	d.Queue(0, 16)
	d.Go()
	if dq.Attach(b) != nil {
		t.Error("attached after reset")
	}
}
