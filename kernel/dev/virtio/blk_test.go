package virtio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/dev/disk/drivertest"
	"dfemu/kernel/kern/msgport"
	"dfemu/kernel/subr/disk"
)

const (
	allBlk   = blkSize | blkFlush | blkMQ | blkDiscard
	testTime = 40 * time.Millisecond // of a request
)

// blkConfigOf is the configuration of a disk.
func blkConfigOf(sectors uint64, queues int) []byte {
	b := make([]byte, 60)
	binary.LittleEndian.PutUint64(b[blkCapacity:], sectors)
	binary.LittleEndian.PutUint32(b[blkBlockSize:], 512)
	binary.LittleEndian.PutUint16(b[blkNumQueues:], uint16(queues))
	binary.LittleEndian.PutUint32(b[blkMaxDiscard:], 64)
	return b
}

// testDisk is a disk whose device does what it is told to.
type testDisk struct {
	*fake
	t     *testing.T
	a     pci.Attached
	layer *disk.Layer

	mu     sync.Mutex
	data   []byte
	served map[uint32]int // requests by type, as often as the device has seen them
	// answer says what the device does with a request: with ok false it keeps it.
	answer func(typ uint32, sector uint64) (status byte, ok bool)
	quiet  bool // it sends no interrupts
}

// newDisk attaches a disk of 256 sectors.
func newDisk(t *testing.T, features uint64, queues int) *testDisk {
	t.Helper()
	sizes := make([]int, queues)
	for i := range sizes {
		sizes[i] = 16
	}
	f, d := newFake(t, typeBlock, features, blkConfigOf(256, queues), sizes...)
	x := &testDisk{fake: f, t: t, data: make([]byte, 256*512), served: map[uint32]int{}, layer: disk.New(f.k, nil)}
	x.answer = func(uint32, uint64) (byte, bool) { return blkOK, true }
	f.notified = x.serve
	if err := x.attach(d); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *testDisk) attach(d *pci.Device) (err error) {
	x.a, err = Block{Layer: x.layer, Timeout: testTime}.Attach(d, 0)
	x.layer.Sync()
	return err
}

// set changes what the device does.
func (x *testDisk) set(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f()
}

// serve does what is on a queue.
func (x *testDisk) serve(q int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c, ok := x.next(q); ok; c, ok = x.next(q) {
		if len(c.out) == 0 || len(c.out[0]) < 16 || len(c.in) == 0 {
			return // the driver resets meanwhile
		}
		h := c.out[0]
		typ, sector := binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint64(h[8:])
		x.served[typ]++
		status, ok := x.answer(typ, sector)
		if !ok {
			continue
		}
		if at := int(sector) * 512; status == blkOK && at <= len(x.data) {
			switch typ {
			case blkIn:
				copy(c.in[0], x.data[at:])
			case blkOut:
				copy(x.data[at:], c.out[1])
			case blkGetID:
				copy(c.in[0], "BLK-1")
			}
		}
		c.in[len(c.in)-1][0] = status
		x.use(q, uint32(c.id), 1)
	}
	if !x.quiet {
		x.interrupt(q)
	}
}

// node is the whole disk.
func (x *testDisk) node() *disk.Node {
	x.t.Helper()
	n := x.layer.Find("vbd0")
	if n == nil {
		x.t.Fatalf("there is no disk\n%s", x.h.Log())
	}
	return n
}

// await waits until the kernel has said something.
func (x *testDisk) await(text string) {
	x.t.Helper()
	x.h.Await(x.t, text)
}

// holdFirst makes the device keep the first n requests of a type.
func holdFirst(typ uint32, n int) func(uint32, uint64) (byte, bool) {
	return func(t uint32, _ uint64) (byte, bool) {
		if t != typ || n == 0 {
			return blkOK, true
		}
		n--
		return 0, false
	}
}

// TestBlock writes, flushes, reads and deletes on devices with one and with several queues.
func TestBlock(t *testing.T) {
	for _, c := range []struct {
		features uint64
		queues   int
	}{{0, 1}, {allBlk, 1}, {allBlk, 2}} {
		t.Run(fmt.Sprintf("%#x/%d", c.features, c.queues), func(t *testing.T) {
			x := newDisk(t, c.features, c.queues)
			defer x.a.Detach()
			n := x.node()
			if s := n.Disk().Info().Serial; s != "BLK-1" {
				t.Errorf("serial number %q", s)
			}
			want := bytes.Repeat([]byte("0123456789abcdef"), 64)
			if _, err := n.WriteAt(want, 1024); err != nil {
				t.Error(err)
			}
			if err := n.Flush(); err != nil {
				t.Error(err)
			}
			got := make([]byte, len(want))
			if _, err := n.ReadAt(got, 1024); err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %q, %v", got, err)
			}
			err := n.Delete(0, 512)
			if c.features&blkDiscard == 0 != errors.Is(err, disk.ErrSupported) {
				t.Errorf("delete: %v", err)
			}
			x.set(func() {
				if flushed := x.served[blkDoFlush] > 0; flushed != (c.features&blkFlush != 0) {
					t.Errorf("flushed: %v", flushed)
				}
			})
		})
	}
}

// TestBlockErrors has the device fail requests: the right errors come, and the next request is done.
func TestBlockErrors(t *testing.T) {
	x := newDisk(t, allBlk, 1)
	defer x.a.Detach()
	for _, c := range []struct {
		status byte
		want   error
	}{{blkIOErr, disk.ErrIO}, {blkUnsupported, disk.ErrSupported}, {77, disk.ErrIO}, {blkNoStatus, disk.ErrIO}} {
		x.set(func() { x.answer = func(uint32, uint64) (byte, bool) { return c.status, true } })
		if _, err := x.node().ReadAt(make([]byte, 512), 0); !errors.Is(err, c.want) {
			t.Errorf("status %d: %v, want %v", c.status, err, c.want)
		}
		x.set(func() { x.answer = holdFirst(0, 0) })
		if _, err := x.node().ReadAt(make([]byte, 512), 0); err != nil {
			t.Errorf("after status %d: %v", c.status, err)
		}
	}
}

// TestBlockRetry has the device keep requests: they are sent again after a reset, but not without end, and neighbours are done.
func TestBlockRetry(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  uint32
		keep int
		do   func(n *disk.Node) error
		want error
	}{
		{"read", blkIn, 1, func(n *disk.Node) error { _, err := n.ReadAt(make([]byte, 512), 0); return err }, nil},
		{"write", blkOut, 1, func(n *disk.Node) error { _, err := n.WriteAt(make([]byte, 512), 0); return err }, nil},
		{"flush", blkDoFlush, 1, (*disk.Node).Flush, nil},
		{"delete", blkDoDiscard, 1, func(n *disk.Node) error { return n.Delete(512, 512) }, nil},
		{"as often as can be", blkIn, blkMaxTries - 1, func(n *disk.Node) error { _, err := n.ReadAt(make([]byte, 512), 0); return err }, nil},
		{"too often", blkIn, blkMaxTries, func(n *disk.Node) error { _, err := n.ReadAt(make([]byte, 512), 0); return err }, disk.ErrTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newDisk(t, allBlk, 1)
			defer x.a.Detach()
			var before int
			x.set(func() { x.answer = holdFirst(c.typ, c.keep); before = x.served[c.typ] })
			if err := c.do(x.node()); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			x.set(func() {
				if n := x.served[c.typ] - before; n != min(c.keep+1, blkMaxTries) {
					t.Errorf("the device has seen it %d times", n)
				}
			})
			if _, err := x.node().WriteAt(bytes.Repeat([]byte{1}, 1024), 2048); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			x.await("vtblk0: a request is not answered for")
		})
	}
}

// TestBlockRetryOrder fills the queue and more while the device keeps all: each request is done after the reset, and what was sent comes first, in its order.
func TestBlockRetryOrder(t *testing.T) {
	x := newDisk(t, allBlk, 1)
	defer x.a.Detach()
	const requests = 12 // the queue has room for five
	var order []uint64
	kept := 0
	x.set(func() {
		x.answer = func(_ uint32, sector uint64) (byte, bool) {
			if kept++; kept <= 5 {
				return 0, false
			}
			order = append(order, sector)
			return blkOK, true
		}
	})
	n, port := x.node(), msgport.NewSpin(x.k, "test")
	for i := range requests {
		b := disk.NewBio(x.k, port)
		mem, err := x.layer.Buffer(512)
		if err != nil {
			t.Fatal(err)
		}
		b.Cmd, b.Offset, b.Length, b.Mem = disk.Write, int64(i)*512, 512, mem
		n.Send(b)
	}
	for range requests {
		if m := port.Wait(); m.Err != nil {
			t.Error(m.Err)
		}
	}
	x.set(func() {
		for i, s := range order {
			if s != uint64(i) {
				t.Fatalf("done in the order %d", order)
			}
		}
	})
}

// TestBlockSilent has a device that answers nothing any more: the caller gets an error, and after some resets it is given up.
func TestBlockSilent(t *testing.T) {
	x := newDisk(t, allBlk, 1)
	defer x.a.Detach()
	n := x.node()
	x.set(func() { x.answer = func(uint32, uint64) (byte, bool) { return 0, false } })
	for !n.Disk().Gone() {
		if _, err := n.ReadAt(make([]byte, 512), 0); !errors.Is(err, disk.ErrTimeout) && !errors.Is(err, disk.ErrGone) {
			t.Fatal(err)
		}
	}
	x.await("vtblk0: it stays out of use: 5 resets have not helped")
	x.await("vbd0: removed")
}

// TestBlockStuck has a device that does not finish its reset: what it had fails, and it is given up.
func TestBlockStuck(t *testing.T) {
	x := newDisk(t, allBlk, 1)
	n := x.node()
	x.set(func() { x.answer = func(uint32, uint64) (byte, bool) { return 0, false } })
	x.fake.mu.Lock()
	x.stuck = true
	x.fake.mu.Unlock()
	if _, err := n.ReadAt(make([]byte, 512), 0); !errors.Is(err, disk.ErrTimeout) {
		t.Errorf("%v, want %v", err, disk.ErrTimeout)
	}
	x.await("vtblk0: it stays out of use: it does not finish its reset")
	if _, err := n.ReadAt(make([]byte, 512), 0); !errors.Is(err, disk.ErrGone) {
		t.Errorf("%v, want %v", err, disk.ErrGone)
	}
	x.fake.mu.Lock()
	x.stuck = false
	x.fake.mu.Unlock()
	x.a.Detach()
}

// TestBlockNeedsReset has the device report a failure while it has a request: that is sent again.
func TestBlockNeedsReset(t *testing.T) {
	x := newDisk(t, allBlk, 1)
	defer x.a.Detach()
	kept := false
	x.set(func() {
		x.answer = func(uint32, uint64) (byte, bool) {
			if kept {
				return blkOK, true
			}
			kept = true
			x.fake.mu.Lock()
			defer x.fake.mu.Unlock()
			x.status |= statusNeedsReset
			return 0, false
		}
	})
	if err := x.node().Flush(); err != nil {
		t.Error(err)
	}
	x.await("vtblk0: the device reports a failure: reset")
}

// TestBlockLostInterrupt has answers of which no interrupt tells.
func TestBlockLostInterrupt(t *testing.T) {
	x := newDisk(t, allBlk, 1)
	defer x.a.Detach()
	x.set(func() { x.quiet = true })
	if err := x.node().Flush(); err != nil {
		t.Error(err)
	}
	x.await("vtblk0: an interrupt was lost")
}

// TestBlockDetach takes a disk away that has requests and that others wait for.
func TestBlockDetach(t *testing.T) {
	x := newDisk(t, allBlk, 1)
	x.set(func() { x.answer = func(uint32, uint64) (byte, bool) { return 0, false } })
	n, port := x.node(), msgport.NewSpin(x.k, "test")
	for range 12 {
		b := disk.NewBio(x.k, port)
		b.Cmd = disk.Flush
		n.Send(b)
	}
	x.a.Detach()
	for range 12 {
		if m := port.Wait(); !errors.Is(m.Err, disk.ErrGone) && !errors.Is(m.Err, disk.ErrTimeout) {
			t.Error(m.Err)
		}
	}
}

// TestBlockNoMemory has each allocation of memory fail, one at a time.
func TestBlockNoMemory(t *testing.T) {
	for n := 1; ; n++ {
		f, d := newFake(t, typeBlock, allBlk, blkConfigOf(256, 2), 16, 16)
		x := &testDisk{fake: f, t: t, data: make([]byte, 256*512), served: map[uint32]int{}, layer: disk.New(f.k, nil)}
		x.answer = holdFirst(0, 0)
		f.notified = x.serve
		f.h.FailAlloc(n)
		err := x.attach(d)
		all, kept := f.h.Allocs()
		if all < n {
			x.a.Detach()
			if n < 5 {
				t.Errorf("only %d allocations were made to fail", n-1)
			}
			return
		}
		if err != nil {
			if !errors.Is(err, drivertest.ErrMemory) || kept != 0 {
				t.Errorf("allocation %d failed: %v, %d pieces of memory are kept", n, err, kept)
			}
			continue
		}
		x.await(drivertest.ErrMemory.Error())
		if _, err := x.node().ReadAt(make([]byte, 100), 0); err != nil {
			t.Errorf("after a failed allocation: %v", err)
		}
		x.a.Detach()
	}
}
