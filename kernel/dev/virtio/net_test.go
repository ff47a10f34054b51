package virtio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/net/ifnet"
)

// netConfigOf is the configuration of a device with a link.
func netConfigOf(pairs, mtu int) []byte {
	b := []byte{2, 0, 0, 0, 0, 7, netLinkUp, 0, 0, 0, 0, 0}
	binary.LittleEndian.PutUint16(b[netCfgPairs:], uint16(pairs))
	binary.LittleEndian.PutUint16(b[netCfgMTU:], uint16(mtu))
	return b
}

const allNet = netMTU | netMAC | netMerge | netStatus | netCtrl | netMQ

// testNIC is a NIC whose device gives each frame that is sent back, and obeys commands.
type testNIC struct {
	*fake
	set      *ifnet.Set
	got      chan []byte
	a        pci.Attached
	i        *ifnet.Interface
	silent   atomic.Bool // the device does not answer at all
	mu       sync.Mutex
	commands [][]byte
	// header is how many buffers the device says a frame has; 0 for the truth.
	header int
}

func newNIC(t testing.TB, features uint64, pairs, mtu int) *testNIC {
	t.Helper()
	sizes := make([]int, 2*pairs+1)
	for i := range sizes {
		sizes[i] = 256
	}
	f, d := newFake(t, typeNet, features, netConfigOf(pairs, mtu), sizes...)
	n := &testNIC{fake: f, set: ifnet.New(), got: make(chan []byte, 1000)}
	n.set.Handle(func(_ *ifnet.Interface, b []byte) {
		select {
		case n.got <- b:
		default: // a receiver does not wait
		}
	})
	f.notified = func(q int) {
		switch {
		case n.silent.Load():
		case q == 2*pairs || features&netMQ == 0 && q == 2:
			n.command(q)
		case q%2 == 1:
			n.echo(q)
		}
	}
	n.attach(t, d, nil)
	return n
}

func (n *testNIC) attach(t testing.TB, d *pci.Device, want error) {
	t.Helper()
	a, err := Net{Set: n.set, Timeout: 500 * time.Millisecond}.Attach(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	n.a, n.i = a, n.set.Find("vtnet0")
	t.Cleanup(a.Detach)
}

func (n *testNIC) command(q int) {
	for c, ok := n.next(q); ok; c, ok = n.next(q) {
		n.mu.Lock()
		n.commands = append(n.commands, slices.Concat(c.out...))
		n.mu.Unlock()
		if len(c.in) == 0 || len(c.in[0]) == 0 {
			return
		}
		c.in[0][0] = netAckOK
		n.use(q, uint32(c.id), 1)
	}
	n.interrupt(q)
}

// echo sends what a transmit queue has back by the receive queue before it.
func (n *testNIC) echo(q int) {
	for c, ok := n.next(q); ok; c, ok = n.next(q) {
		if b := slices.Concat(c.out...); len(b) >= netHeader { // else the driver resets meanwhile
			n.deliver(q-1, b[netHeader:])
		}
		n.use(q, uint32(c.id), 0)
	}
	n.interrupt(q)
}

// deliver puts a frame into receive buffers.
func (n *testNIC) deliver(q int, frame []byte) {
	var chains []chain
	left := frame
	head := []byte(nil)
	for first := true; first || len(left) > 0; first = false {
		c, ok := n.next(q)
		if !ok || len(c.in) == 0 || len(c.in[0]) < netHeader {
			return
		}
		b := c.in[0]
		k := 0
		if first {
			head, k = b, netHeader
			clear(b[:netHeader])
		}
		m := copy(b[k:], left)
		left = left[m:]
		c.in[0] = b[:k+m]
		chains = append(chains, c)
	}
	count := len(chains)
	if n.header != 0 {
		count = n.header
	}
	binary.LittleEndian.PutUint16(head[10:], uint16(count))
	for _, c := range chains {
		n.use(q, uint32(c.id), uint32(len(c.in[0])))
	}
	n.interrupt(q)
}

// frame is one with n bytes of payload.
func frame(n int, seed byte) []byte {
	b := make([]byte, ifnet.HeaderLen+n)
	for i := range b {
		b[i] = byte(i)*7 + seed
	}
	return b
}

func receive(t testing.TB, n *testNIC) []byte {
	t.Helper()
	select {
	case b := <-n.got:
		return b
	case <-time.After(5 * time.Second):
		t.Fatalf("nothing is received; the log is\n%s", n.h.Log())
	}
	return nil
}

// eventually waits until something is so.
func eventually(t testing.TB, n *testNIC, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s; the log is\n%s", what, n.h.Log())
		}
	}
}

// TestNet sends frames of all sizes there and back, with each set of features.
func TestNet(t *testing.T) {
	for _, c := range []struct {
		name       string
		features   uint64
		pairs, mtu int
		wantMTU    int
		wantPairs  int
	}{
		{"all", allNet, 2, 9000, 9000, 2},
		{"one pair", allNet &^ netMQ, 1, 1500, 1500, 1},
		{"large buffers", allNet &^ netMerge, 2, 9000, 9000, 2},
		{"nothing", 0, 1, 1500, 1500, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNIC(t, c.features, c.pairs, c.mtu)
			if n.i.MTU != c.wantMTU || n.i.MAC.Multicast() || !n.i.Link() {
				t.Errorf("MTU %d, %v, link %v", n.i.MTU, n.i.MAC, n.i.Link())
			}
			if c.features&netMAC != 0 && n.i.MAC != (ifnet.MAC{2, 0, 0, 0, 0, 7}) {
				t.Errorf("address %v", n.i.MAC)
			}
			if n.guest != c.features|featVersion1 {
				t.Errorf("features %#x are agreed on, want %#x", n.guest, c.features|featVersion1)
			}
			for i, size := range []int{0, 46, 1500, c.wantMTU} {
				want := frame(size, byte(i))
				if err := n.i.Send(want); err != nil {
					t.Fatal(err)
				}
				if got := receive(t, n); !bytes.Equal(got, want) {
					t.Errorf("%d bytes came back as %d, or changed", len(want), len(got))
				}
			}
			if err := n.i.Send(frame(c.wantMTU+1, 0)); !errors.Is(err, ifnet.ErrSize) {
				t.Errorf("too large: %v", err)
			}
			// More than there are buffers, so that all are used again.
			for i := range 1000 {
				want := frame(100+i%50, byte(i))
				if err := n.i.Send(want); err != nil {
					t.Fatal(err)
				}
				if got := receive(t, n); !bytes.Equal(got, want) {
					t.Fatalf("frame %d changed", i)
				}
			}
			if in, out := n.i.Stats.InFrames.Load(), n.i.Stats.OutFrames.Load(); in != 1004 || out != 1004 {
				t.Errorf("%d in, %d out, want 1004 of each", in, out)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if want := [][]byte{{netClassMQ, netSetPairs, byte(c.wantPairs), 0}}; c.wantPairs > 1 && !slices.EqualFunc(n.commands, want, bytes.Equal) {
				t.Errorf("commands % x, want % x", n.commands, want)
			}
		})
	}
}

// TestNetLink pulls the cable.
func TestNetLink(t *testing.T) {
	n := newNIC(t, allNet, 1, 1500)
	var events atomic.Int32
	n.set.Notify(func(_ *ifnet.Interface, e ifnet.Event) { events.Add(1) })
	for _, up := range []bool{false, true} {
		n.fake.mu.Lock()
		n.config[netCfgStatus] ^= netLinkUp
		n.fake.mu.Unlock()
		n.interrupt(-1)
		eventually(t, n, "changed", func() bool { return n.i.Link() == up })
	}
	if events.Load() != 2 || !strings.Contains(n.h.Log(), "vtnet0: link state changed to DOWN") {
		t.Errorf("%d events; the log is\n%s", events.Load(), n.h.Log())
	}
}

// TestNetFull fills the transmit queue of a device that sends nothing, which is then reset, and works again.
func TestNetFull(t *testing.T) {
	n := newNIC(t, allNet, 1, 1500)
	n.silent.Store(true)
	sent := 0
	for ; sent < 1000; sent++ {
		if err := n.i.Send(frame(100, 0)); err != nil {
			if !errors.Is(err, ifnet.ErrFull) && !errors.Is(err, ifnet.ErrDown) {
				t.Fatal(err)
			}
			break
		}
	}
	if sent != netQueueSize {
		t.Errorf("%d frames were sent before the queue was full, want %d", sent, netQueueSize)
	}
	eventually(t, n, "reset", func() bool { return strings.Contains(n.h.Log(), "the device does not send: reset") })
	n.silent.Store(false)
	eventually(t, n, "working again", func() bool { return n.i.Send(frame(100, 9)) == nil })
	if got := receive(t, n); !bytes.Equal(got, frame(100, 9)) {
		t.Error("the frame changed")
	}
}

// TestNetFails has the device report a failure, and never come back.
func TestNetFails(t *testing.T) {
	n := newNIC(t, allNet, 1, 1500)
	n.fake.mu.Lock()
	n.status |= statusNeedsReset
	n.fake.mu.Unlock()
	n.interrupt(-1)
	eventually(t, n, "reset", func() bool {
		return strings.Contains(n.h.Log(), "the device reports a failure: reset") && n.i.Link()
	})
	n.fake.mu.Lock()
	n.status |= statusNeedsReset
	n.stuck = true
	n.fake.mu.Unlock()
	n.interrupt(-1)
	eventually(t, n, "given up", func() bool {
		return strings.Contains(n.h.Log(), "it stays out of use: it does not finish its reset")
	})
	eventually(t, n, "gone", func() bool { return len(n.set.List()) == 0 })
	if err := n.i.Send(frame(1, 0)); !errors.Is(err, ifnet.ErrGone) {
		t.Errorf("sending: %v", err)
	}
}

// TestNetLies has the device say what cannot be: each frame is dropped and counted, and the next one that is well comes.
func TestNetLies(t *testing.T) {
	for _, c := range []struct {
		name string
		lie  func(n *testNIC)
	}{
		{"no such buffer", func(n *testNIC) { n.use(0, 5000, 100) }},
		{"a buffer it gave back already", func(n *testNIC) {
			n.deliver(0, frame(10, 1))
			<-n.got
			n.use(1, 0, 0)
			n.interrupt(1)
		}},
		{"shorter than a header", func(n *testNIC) { c, _ := n.next(0); n.use(0, uint32(c.id), 5) }},
		{"longer than the buffer", func(n *testNIC) { c, _ := n.next(0); n.use(0, uint32(c.id), 1<<31) }},
		{"a frame of too many buffers", func(n *testNIC) { n.header = 0xffff; n.deliver(0, frame(10, 1)); n.header = 0 }},
		{"a frame without room for addresses", func(n *testNIC) { c, _ := n.next(0); clear(c.in[0]); n.use(0, uint32(c.id), netHeader+3) }},
		{"a frame larger than the MTU", func(n *testNIC) { n.deliver(0, frame(3000, 1)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNIC(t, allNet, 1, 1500)
			n.serial.Lock()
			c.lie(n)
			n.interrupt(0)
			n.serial.Unlock()
			if err := n.i.Send(frame(50, 3)); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, n); !bytes.Equal(got, frame(50, 3)) {
				t.Errorf("% x", got)
			}
			eventually(t, n, "counted or told", func() bool {
				return n.i.Stats.InErrors.Load() > 0 || strings.Contains(n.h.Log(), "which it does not have")
			})
		})
	}
}

// TestNetNoAnswer has the control queue dead: one pair of queues is used.
func TestNetNoAnswer(t *testing.T) {
	f, d := newFake(t, typeNet, allNet, netConfigOf(2, 1500), 64, 64, 64, 64, 64)
	set := ifnet.New()
	a, err := Net{Set: set, Timeout: 20 * time.Millisecond}.Attach(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Detach()
	if !strings.Contains(f.h.Log(), "one pair of queues is used: command 4.0: the device does not answer") || a.(*nic).using.Load() != 1 {
		t.Errorf("the log is\n%s", f.h.Log())
	}
}

// TestNetRefused looks for each reason not to attach, and that nothing is left.
func TestNetRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(f *fake)
		want   string
	}{
		{"version 0", func(f *fake) { f.features &^= featVersion1 }, "no device of version 1"},
		{"no reset", func(f *fake) { f.stuck = true }, "does not finish its reset"},
		{"queue of 3", func(f *fake) { f.queues[1].size, f.queues[1].max = 3, 3 }, "queue 1 has 3 entries"},
		{"too few queues", func(f *fake) { f.queues = f.queues[:2] }, "it has 2 queues, 5 are needed"},
		{"no pairs", func(f *fake) { f.config[netCfgPairs] = 0 }, "it has 0 pairs"},
		{"address of a group", func(f *fake) { f.config[0] = 1 }, "not the address of a station"},
		{"MTU of 5", func(f *fake) { f.config[netCfgMTU], f.config[netCfgMTU+1] = 5, 0 }, "its MTU is 5 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, d := newFake(t, typeNet, allNet, netConfigOf(2, 1500), 64, 64, 64, 64, 64)
			c.change(f)
			set := ifnet.New()
			if _, err := (Net{Set: set}).Attach(d, 0); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if len(set.List()) != 0 || f.status&statusDriverOK != 0 {
				t.Error("an interface is left, or the device runs")
			}
		})
	}
}

// FuzzNetUsed has a device that writes anything into its rings and buffers. The driver must survive, and still carry frames after a reset.
func FuzzNetUsed(f *testing.F) {
	f.Add([]byte{0, 0, 0, 100, 0, 1, 1, 0, 1, 0, 20, 0})
	f.Add([]byte{0, 3, 0, 14, 0, 255, 1, 9, 9, 9, 9, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := newNIC(t, allNet, 1, 1500)
		n.serial.Lock()
		for b = b[:min(len(b), 3000)]; len(b) >= 6; b = b[6:] {
			q := int(b[0] % 3)
			if c, ok := n.next(q); ok && len(c.in) > 0 && len(c.in[0]) >= netHeader {
				c.in[0][10], c.in[0][11] = b[4], b[5]
			}
			n.use(q, uint32(b[1]), uint32(b[2])<<8|uint32(b[3]))
			n.interrupt(q)
		}
		n.serial.Unlock()
		n.fake.mu.Lock()
		n.status |= statusNeedsReset
		n.fake.mu.Unlock()
		n.interrupt(-1)
		eventually(t, n, "reset", func() bool { return strings.Contains(n.h.Log(), "reports a failure: reset") })
		for end := time.Now().Add(5 * time.Second); ; {
			if time.Now().After(end) {
				t.Fatalf("no frame comes back; the log is\n%s", n.h.Log())
			}
			if n.i.Send(frame(77, 1)) == nil {
				if got := receive(t, n); bytes.Equal(got, frame(77, 1)) {
					return
				}
			}
		}
	})
}
