package virtio_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"dfemu/devices/devtest"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/virtiotest"
)

// formats are all combinations of what a driver may negotiate for its rings.
func formats(t *testing.T, f func(t *testing.T, features uint64)) {
	for i := range 8 {
		var features uint64
		var name []string
		for bit, n := range []string{"indirect", "event", "packed"} {
			if i>>bit&1 != 0 {
				features |= []uint64{virtiotest.Indirect, virtiotest.EventIdx, virtiotest.Packed}[bit]
				name = append(name, n)
			}
		}
		t.Run("split+"+strings.Join(name, "+"), func(t *testing.T) { f(t, features) })
	}
}

// TestRings sends random chains and checks that each comes back once, with its
// own content.
func TestRings(t *testing.T) {
	formats(t, func(t *testing.T, features uint64) {
		for _, size := range []int{1, 2, 7, 8, 64} {
			packed := features&virtiotest.Packed != 0
			if size&(size-1) != 0 && !packed || size < 2 && features&virtiotest.Indirect == 0 {
				continue
			}
			e := newEcho(1+size/16, true)
			_, q := start(t, e, features, size)
			rnd := rand.New(rand.NewPCG(uint64(size), features))
			want := map[uint16][]byte{}
			for done, n := 0, 300; done < n; {
				for len(want) < n-done && (len(want) == 0 || rnd.IntN(4) != 0) {
					out, in, all := randomChain(rnd, min(size, 6))
					if need := len(out) + len(in); q.Free() < need && !(q.Indirect && q.Free() > 0) {
						break
					}
					want[q.Add(out, in...)] = all
					if rnd.IntN(3) == 0 {
						q.Kick()
					}
				}
				q.Kick()
				for _, b := range q.Wait(1 + rnd.IntN(len(want))) {
					w := want[b.ID]
					if w == nil {
						t.Fatalf("size %d: %d came back unasked", size, b.ID)
					}
					delete(want, b.ID)
					got := bytes.Join(b.In, nil)
					if n := min(len(w), len(got)); int(b.Len) != n || !bytes.Equal(got[:n], w[:n]) {
						t.Fatalf("size %d: %d bytes %x, want %x", size, b.Len, got, w)
					}
					done++
				}
			}
			if err := e.broken.Load(); err != nil {
				t.Fatal(*err)
			}
			e.Close()
		}
	})
}

// randomChain makes up to n buffers, at least one of them out and one in.
func randomChain(r *rand.Rand, n int) (out [][]byte, in []int, all []byte) {
	for range 1 + r.IntN(max(n-1, 1)) {
		b := make([]byte, 1+r.IntN(40))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		out = append(out, b)
		all = append(all, b...)
		if len(out) == n-1 {
			break
		}
	}
	for range 1 + r.IntN(max(n-len(out), 1)) {
		in = append(in, 1+r.IntN(60))
		if len(out)+len(in) >= n {
			break
		}
	}
	return out, in, all
}

// TestWrap takes the indices of a split ring past 65535 and a packed ring
// through many laps.
func TestWrap(t *testing.T) {
	for _, f := range []uint64{virtiotest.EventIdx, virtiotest.EventIdx | virtiotest.Packed} {
		e := newEcho(1, true)
		_, q := start(t, e, f, 64)
		for range 70000 / 32 {
			for range 32 {
				q.Add([][]byte{{1}}, 1)
			}
			q.Kick()
			for _, b := range q.Wait(32) {
				if b.Len != 1 {
					t.Fatalf("length %d", b.Len)
				}
			}
		}
		e.Close()
	}
}

// TestNoInterrupt checks that a driver that polls is not interrupted.
func TestNoInterrupt(t *testing.T) {
	for _, f := range []uint64{0, virtiotest.Packed} {
		e := newEcho(1, true)
		d, q := start(t, e, f, 8)
		q.Quiet(true)
		for range 20 {
			q.Add([][]byte{{1}}, 1)
			q.Kick()
			for _, ok := q.Take(); !ok; _, ok = q.Take() {
				runtime.Gosched()
			}
		}
		e.Pause() // until the last chain's Push has returned
		if n := d.Interrupts(0); n != 0 {
			t.Errorf("features %#x: %d interrupts", f, n)
		}
		e.Resume()
		q.Quiet(false)
		q.Do([][]byte{{1}}, 1)
		e.Pause()
		if n := d.Interrupts(0); n != 1 {
			t.Errorf("features %#x: %d interrupts for one buffer", f, n)
		}
		e.Close()
	}
}

// TestEventIdxInterrupts checks that an interrupt comes exactly for the buffer
// asked for.
func TestEventIdxInterrupts(t *testing.T) {
	for _, f := range []uint64{virtiotest.EventIdx, virtiotest.EventIdx | virtiotest.Packed} {
		e := newEcho(1, true)
		d, q := start(t, e, f, 64)
		q.Do([][]byte{{1}}, 1)
		e.Pause()
		e.Resume()
		before := d.Interrupts(0)
		// Nothing was armed since, so nothing is signalled.
		for range 10 {
			q.Add([][]byte{{1}}, 1)
		}
		q.Publish()
		q.Notify()
		for n := 0; n < 10; {
			if _, ok := q.Take(); ok {
				n++
			} else {
				runtime.Gosched()
			}
		}
		e.Pause()
		e.Resume()
		if n := d.Interrupts(0) - before; n != 0 {
			t.Errorf("features %#x: %d interrupts that were not asked for", f, n)
		}
		e.Close()
	}
}

func TestGoroutinesEnd(t *testing.T) {
	ended := devtest.Goroutines(t)
	e := newEcho(8, false)
	_, q := start(t, e, 0, 64)
	for range 30 {
		q.Add([][]byte{{1}}, 1)
	}
	q.Kick()
	q.Wait(30)
	e.Close()
	ended()
}

// TestHostileRings gives the device rings that make no sense: it must stop and
// say so.
func TestHostileRings(t *testing.T) {
	type ring = virtiotest.Queue
	const bad = 1 << 40
	d16 := func(q *ring, i int, addr uint64, n uint32, last uint32) {
		b := q.D.Bytes(q.Desc+16*uint64(i), 16)
		for k := range 8 {
			b[k] = byte(addr >> (8 * k))
		}
		for k := range 4 {
			b[8+k], b[12+k] = byte(n>>(8*k)), byte(last>>(8*k))
		}
	}
	split := func(q *ring, head uint16, idx uint16) {
		b := q.D.Bytes(q.Driver, 6)
		b[4], b[5] = byte(head), byte(head>>8)
		b[2], b[3] = byte(idx), byte(idx>>8)
	}
	for _, c := range []struct {
		name     string
		features uint64
		set      func(q *ring)
		want     string
	}{
		{"index far ahead", 0, func(q *ring) { split(q, 0, 9) }, "ahead"},
		{"head outside", 0, func(q *ring) { split(q, 8, 1) }, "descriptor 8"},
		{"loop", 0, func(q *ring) { d16(q, 0, 0, 4, 1); split(q, 0, 1) }, "loop"},
		{"next outside", 0, func(q *ring) { d16(q, 0, 0, 4, 1|100<<16); split(q, 0, 1) }, "descriptor 100"},
		{"out after in", 0, func(q *ring) { d16(q, 0, 0, 4, 3|1<<16); d16(q, 1, 0, 4, 0); split(q, 0, 1) }, "after a device-writable"},
		{"wrapping buffer", 0, func(q *ring) { d16(q, 0, ^uint64(0), 4, 0); split(q, 0, 1) }, "wraps"},
		{"not RAM", 0, func(q *ring) {
			d16(q, 0, bad, 4, 1|1<<16)
			d16(q, 1, bad, 4, 2)
			split(q, 0, 1)
		}, "not RAM"},
		{"indirect not negotiated", 0, func(q *ring) { d16(q, 0, 0, 16, 4); split(q, 0, 1) }, "not negotiated"},
		{"indirect with next", virtiotest.Indirect, func(q *ring) { d16(q, 0, 0, 16, 5); split(q, 0, 1) }, "successor"},
		{"indirect of odd size", virtiotest.Indirect, func(q *ring) { d16(q, 0, 0, 17, 4); split(q, 0, 1) }, "17 bytes"},
		{"indirect, huge", virtiotest.Indirect, func(q *ring) { d16(q, 0, 0, 0xfffffff0, 4); split(q, 0, 1) }, "more than"},
		{"indirect, not RAM", virtiotest.Indirect, func(q *ring) { d16(q, 0, bad, 16, 4); split(q, 0, 1) }, "not RAM"},
		{"indirect in indirect", virtiotest.Indirect, func(q *ring) {
			d16(q, 1, 0, 16, 4)
			d16(q, 0, q.Desc+16, 16, 4)
			split(q, 0, 1)
		}, "in an indirect table"},
		{"indirect loop", virtiotest.Indirect, func(q *ring) {
			d16(q, 1, 0, 4, 1)
			d16(q, 0, q.Desc+16, 16, 4)
			split(q, 0, 1)
		}, "loop"},
		{"packed, endless", virtiotest.Packed, func(q *ring) {
			for i := range 8 {
				d16(q, i, 0, 4, (1|1<<7)<<16)
			}
		}, "longer than the ring"},
		{"packed, indirect in chain", virtiotest.Packed | virtiotest.Indirect, func(q *ring) {
			d16(q, 0, 0, 4, (1|1<<7)<<16)
			d16(q, 1, 0, 16, (4|1<<7)<<16)
		}, "not alone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEcho(1, true)
			defer e.Close()
			d := virtiotest.New(t, e.Function(), true)
			d.Start(c.features)
			q := d.Queue(0, 8)
			c.set(q)
			d.Go()
			d.WaitInterrupt(2) // the change of the status is announced
			if d.Get(virtiotest.Status, 1)&virtio.StatusNeedsReset == 0 {
				t.Error("NEEDS_RESET is not set")
			}
			if err := e.broken.Load(); err == nil || !strings.Contains((*err).Error(), c.want) {
				t.Errorf("reported %v, want something with %q", err, c.want)
			}
			// A reset mends it.
			d.Start(0)
			q = d.Queue(0, 8)
			d.Go()
			if b := q.Do([][]byte{{7}}, 1); b.Len != 1 {
				t.Error("does not work after reset")
			}
		})
	}
}

// TestBadQueues enables queues that cannot work.
func TestBadQueues(t *testing.T) {
	for _, c := range []struct {
		name                 string
		features             uint64
		size                 uint64
		desc, driver, device uint64
	}{
		{"size 0", 0, 0, 0x1000, 0x2000, 0x3000},
		{"size 3", 0, 3, 0x1000, 0x2000, 0x3000},
		{"too large", 0, 128, 0x1000, 0x2000, 0x3000},
		{"packed, too large", virtiotest.Packed, 65, 0x1000, 0x2000, 0x3000},
		{"unaligned table", 0, 8, 0x1008, 0x2000, 0x3000},
		{"unaligned driver area", 0, 8, 0x1000, 0x2001, 0x3000},
		{"unaligned device area", 0, 8, 0x1000, 0x2000, 0x3002},
		{"table not RAM", 0, 8, 1 << 40, 0x2000, 0x3000},
		{"device area not RAM", 0, 8, 0x1000, 0x2000, virtiotest.RAMSize - 8},
		{"end of the address space", 0, 8, 0x1000, ^uint64(0) &^ 1, 0x3000},
		{"packed, unaligned", virtiotest.Packed, 8, 0x1000, 0x2002, 0x3000},
	} {
		e := newEcho(1, true)
		d := virtiotest.New(t, e.Function(), true)
		d.Start(c.features)
		d.Put(virtiotest.QueueSize, 2, c.size)
		d.Put(virtiotest.QueueDesc, 8, c.desc)
		d.Put(virtiotest.QueueDriver, 8, c.driver)
		d.Put(virtiotest.QueueDevice, 8, c.device)
		d.Put(virtiotest.QueueEnable, 2, 1)
		d.Go()
		if d.Get(virtiotest.Status, 1)&virtio.StatusNeedsReset == 0 {
			t.Errorf("%s: NEEDS_RESET is not set", c.name)
		}
		d.MMIO.Write(d.Notify, 2, 0)
		e.Close()
	}
}

func ExampleTotal() {
	fmt.Println(virtio.Total([]virtio.Segment{{Addr: 0, Len: 1 << 31}, {Addr: 0, Len: 1 << 31}}))
	// Output: 4294967296
}
