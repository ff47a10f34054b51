package net

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/internal/nic"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/virtiotest"
)

// wire is a back end that keeps what is sent and lets the test receive.
type wire struct {
	mu      sync.Mutex
	to      devices.FrameReceiver
	sent    []devices.Frame
	queues  []int // on which frames were sent
	accept  devices.Offloads
	pairs   int
	ready   chan struct{}
	more    chan struct{}
	closed  bool
	nqueues int
	discard bool
	count   int
}

func newWire(queues int) *wire {
	return &wire{nqueues: queues, ready: make(chan struct{}, 1000), more: make(chan struct{}, 1)}
}

func (w *wire) Connect(to devices.FrameReceiver) { w.to = to }
func (w *wire) Properties() devices.NetworkProperties {
	return devices.NetworkProperties{Kind: "test", Takes: devices.OffloadsAll, Queues: w.nqueues, MTU: 1500, Link: true}
}
func (w *wire) Configure(a devices.Offloads, n int) {
	w.mu.Lock()
	w.accept, w.pairs = a, n
	w.mu.Unlock()
}
func (w *wire) Send(q int, frames []devices.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count += len(frames)
	for i := range frames {
		if w.discard {
			break
		}
		w.sent = append(w.sent, nic.Copy(&frames[i]))
		w.queues = append(w.queues, q)
	}
	select {
	case w.more <- struct{}{}:
	default:
	}
}
func (w *wire) Ready(int) {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}
func (w *wire) Close() error { w.closed = true; return nil }

// take waits for n frames sent and forgets them.
func (w *wire) take(t testing.TB, n int) []devices.Frame {
	t.Helper()
	deadline := time.After(virtiotest.Patience)
	for {
		w.mu.Lock()
		if len(w.sent) >= n {
			l := w.sent
			w.sent, w.queues = nil, nil
			w.mu.Unlock()
			if len(l) != n {
				t.Fatalf("%d frames sent, want %d", len(l), n)
			}
			return l
		}
		w.mu.Unlock()
		select {
		case <-w.more:
		case <-deadline:
			t.Fatalf("only %d of %d frames sent", len(w.sent), n)
		}
	}
}

// receive offers frames.
func (w *wire) receive(frames ...[]byte) int {
	var l []devices.Frame
	for _, b := range frames {
		l = append(l, devices.Frame{Pieces: [][]byte{b[:len(b)/3], b[len(b)/3:]}})
	}
	return w.to.Receive(0, l)
}

// card is a device with its driver.
type card struct {
	*virtiotest.Driver
	dev   *Device
	w     *wire
	rx    []*virtiotest.Queue
	tx    []*virtiotest.Queue
	ctl   *virtiotest.Queue
	watch devtest.Recorder
	clock *devtest.Clock
}

var ownMAC = [6]byte{0x52, 0x54, 0, 1, 2, 3}

const (
	all      = featureCsum | featureGuestCsum | featureCtrlGuestOffload | featureGuestTSO4 | featureGuestTSO6 | featureGuestECN | featureHostTSO4 | featureHostTSO6 | featureHostECN | featureMrgRxbuf | featureStatus | featureCtrlVQ | featureCtrlRx | featureCtrlVLAN | featureCtrlRxExtra | featureGuestAnnounce | featureCtrlMACAddr | featureMTU | featureMAC
	plainNIC = featureStatus | featureMAC
)

func newCard(t testing.TB, o Options, w *wire, features uint64) *card {
	t.Helper()
	o.Name, o.MAC, o.Packed = "virtio-net0", ownMAC, true
	clock := devtest.NewClock(time.Unix(0, 0))
	o.Clock = clock
	dev, err := New(o, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	c := &card{Driver: virtiotest.New(t, dev.Function(), true), dev: dev, w: w, clock: clock}
	c.start(features)
	return c
}

func (c *card) start(features uint64) {
	c.Start(features)
	pairs := 1
	if features&featureMQ != 0 {
		pairs = c.dev.o.Pairs
	}
	c.rx, c.tx, c.ctl = nil, nil, nil
	for i := range pairs {
		c.rx = append(c.rx, c.Queue(2*i, 64))
		c.tx = append(c.tx, c.Queue(2*i+1, 64))
	}
	if features&featureCtrlVQ != 0 {
		c.ctl = c.Queue(2*pairs, 16)
	}
	c.Go()
}

// observe attaches the recorder.
func (c *card) observe(decide func(*devices.Command) devices.Effect) {
	c.watch.DisturbBy(decide)
	c.dev.Function().Probe().Watch(devices.ClassCommand|devices.ClassStrict|devices.ClassState, &c.watch, &c.watch)
}

func frame(n int, dst [6]byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 3)
	}
	copy(b, dst[:])
	copy(b[6:], []byte{2, 9, 9, 9, 9, 9, 0x88, 0xb5})
	return b
}

// header makes a virtio_net_hdr.
func header(o devices.Offload) []byte {
	var h [hdrSize]byte
	encode(&h, o, 0)
	h[hdrFlags] = o.Flags
	return h[:]
}

func (c *card) command(class, code byte, data []byte) byte {
	c.T.Helper()
	b := c.ctl.Do([][]byte{{class, code}, data}, 1)
	return b.In[0][0]
}

func TestTransmit(t *testing.T) {
	for name, f := range map[string]uint64{
		"split": 0, "event": virtiotest.EventIdx, "packed": virtiotest.Packed | virtiotest.EventIdx | virtiotest.Indirect,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCard(t, Options{}, newWire(1), all|f)
			o := devices.Offload{Flags: devices.FlagNeedsChecksum, GSO: devices.GSOTCPv4, HeaderLen: 54, SegmentSize: 1448, ChecksumStart: 34, ChecksumOffset: 16}
			big := frame(30000, broadcast)
			for round := range 20 {
				small := frame(60+round, ownMAC)
				c.tx[0].Add([][]byte{header(devices.Offload{}), small})
				c.tx[0].Add([][]byte{append(header(o), big[:50]...), big[50:1000], big[1000:]})
				c.tx[0].Add([][]byte{header(devices.Offload{})[:5], header(devices.Offload{})[5:], small[:1], small[1:]})
				c.tx[0].Kick()
				l := c.w.take(t, 3)
				if !bytes.Equal(l[0].Pieces[0], small) || l[0].Offload != (devices.Offload{}) {
					t.Fatalf("round %d: first frame %d bytes %+v", round, l[0].Len(), l[0].Offload)
				}
				if !bytes.Equal(l[1].Pieces[0], big) || l[1].Offload != o {
					t.Fatalf("round %d: second frame %d bytes %+v", round, l[1].Len(), l[1].Offload)
				}
				if !bytes.Equal(l[2].Pieces[0], small) {
					t.Fatalf("round %d: third frame differs", round)
				}
				for _, b := range c.tx[0].Wait(3) {
					if b.Len != 0 {
						t.Errorf("a transmit chain came back with length %d", b.Len)
					}
				}
			}
		})
	}
}

func TestReceive(t *testing.T) {
	for name, f := range map[string]uint64{
		"split": 0, "event": virtiotest.EventIdx, "packed": virtiotest.Packed | virtiotest.EventIdx | virtiotest.Indirect,
	} {
		for _, merge := range []bool{false, true} {
			t.Run(fmt.Sprint(name, merge), func(t *testing.T) {
				features := uint64(all) &^ featureMrgRxbuf
				size := 40000
				if merge {
					features, size = all, 1500
				}
				c := newCard(t, Options{}, newWire(1), features|f)
				c.command(classRx, rxPromisc, []byte{1})
				o := devices.Offload{Flags: devices.FlagNeedsChecksum, GSO: devices.GSOTCPv6, HeaderLen: 74, SegmentSize: 1428, ChecksumStart: 54, ChecksumOffset: 16}
				for round := range 10 {
					for c.rx[0].Free() > 2 {
						if merge {
							c.rx[0].Add(nil, size)
						} else {
							c.rx[0].Add(nil, 12, size)
						}
					}
					c.rx[0].Kick()
					big, small := frame(20000+round, ownMAC), frame(64, broadcast)
					n := c.w.to.Receive(0, []devices.Frame{{Offload: o, Pieces: [][]byte{big[:9], big[9:]}}, {Pieces: [][]byte{small}}})
					if n != 2 {
						t.Fatalf("round %d: %d of 2 frames taken", round, n)
					}
					for i, want := range [][]byte{big, small} {
						b := c.rx[0].Wait(1)[0]
						got := bytes.Join(b.In, nil)[:b.Len]
						h := got[:hdrSize]
						parts := int(binary.LittleEndian.Uint16(h[hdrNumBuffers:]))
						if wantParts := (len(want) + hdrSize + size - 1) / size; merge && parts != wantParts || !merge && parts != 1 {
							t.Fatalf("num_buffers %d, want %d", parts, wantParts)
						}
						got = got[hdrSize:]
						for range parts - 1 {
							b := c.rx[0].Wait(1)[0]
							got = append(bytes.Clone(got), b.In[0][:b.Len]...)
						}
						if !bytes.Equal(got, want) {
							t.Fatalf("round %d: frame %d differs: %d bytes, want %d", round, i, len(got), len(want))
						}
						if wantH := header(o); i == 0 && !bytes.Equal(h[:hdrNumBuffers], wantH[:hdrNumBuffers]) {
							t.Errorf("header % x, want % x", h, wantH)
						}
					}
				}
			})
		}
	}
}

func TestBackPressure(t *testing.T) {
	c := newCard(t, Options{}, newWire(1), featureMrgRxbuf|plainNIC|virtiotest.EventIdx)
	for range 3 {
		c.rx[0].Add(nil, 1000)
	}
	c.rx[0].Kick()
	f := frame(1800, ownMAC) // two buffers
	if n := c.w.receive(f, f, f); n != 1 {
		t.Fatalf("%d frames taken, want 1", n)
	}
	// The third buffer is still the driver's to fill up.
	c.rx[0].Add(nil, 1000)
	if !c.rx[0].Publish() {
		t.Fatal("the device does not want to be told of buffers")
	}
	c.rx[0].Notify()
	<-c.w.ready
	if n := c.w.receive(f, f); n != 1 {
		t.Fatalf("%d frames taken, want 1", n)
	}
	for i, b := range c.rx[0].Wait(4) {
		if want := []uint32{1000, 812}[i&1]; b.Len != want {
			t.Errorf("buffer %d: %d bytes, want %d", i, b.Len, want)
		}
	}
	// Paused, nothing is stored; the back end is told when it goes on.
	c.rx[0].Add(nil, 4000)
	c.rx[0].Kick()
	c.dev.Pause()
	if n := c.w.receive(f); n != 0 {
		t.Error("a frame was stored while paused")
	}
	for len(c.w.ready) > 0 {
		<-c.w.ready
	}
	c.dev.Resume()
	<-c.w.ready
	if n := c.w.receive(f); n != 1 {
		t.Error("no frame after resuming")
	}
	c.rx[0].Wait(1)
	// Without a driver frames vanish instead of holding up the back end.
	c.Put(virtiotest.Status, 1, 0)
	if n := c.w.receive(f, f); n != 2 {
		t.Error("a device without a driver holds frames up")
	}
}

func TestFilter(t *testing.T) {
	c := newCard(t, Options{}, newWire(1), all)
	group := [6]byte{1, 0, 0x5e, 0, 0, 1}
	other := [6]byte{2, 2, 2, 2, 2, 2}
	tagged := frame(64, ownMAC)
	copy(tagged[12:], []byte{0x81, 0, 0x20, 100})
	table := func(uni, multi [][6]byte) []byte {
		b := binary.LittleEndian.AppendUint32(nil, uint32(len(uni)))
		for _, m := range uni {
			b = append(b, m[:]...)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(multi)))
		for _, m := range multi {
			b = append(b, m[:]...)
		}
		return b
	}
	passes := func(f []byte) bool { return c.dev.filter.Load().pass(f) }
	check := func(what string, own, bcast, grp, oth, tag bool) {
		t.Helper()
		got := []bool{passes(frame(60, ownMAC)), passes(frame(60, broadcast)), passes(frame(60, group)), passes(frame(60, other)), passes(tagged)}
		if want := []bool{own, bcast, grp, oth, tag}; !slices.Equal(got, want) {
			t.Errorf("%s: own, broadcast, multicast, other, tagged pass %v, want %v", what, got, want)
		}
	}
	do := func(class, code byte, data ...byte) {
		t.Helper()
		if ack := c.command(class, code, data); ack != ackOK {
			t.Errorf("command %d.%d: ack %d", class, code, ack)
		}
	}
	check("after DRIVER_OK", true, true, false, false, false)
	do(classVLAN, vlanAdd, 100, 0)
	check("VLAN 100", true, true, false, false, true)
	do(classVLAN, vlanDel, 100, 0)
	do(classMAC, macTableSet, table([][6]byte{other}, [][6]byte{group})...)
	check("table", true, true, true, true, false)
	do(classMAC, macTableSet, table(nil, nil)...)
	do(classRx, rxAllMulti, 1)
	check("all multicast", true, true, true, false, false)
	do(classRx, rxNoMulti, 1)
	check("no multicast", true, true, false, false, false)
	do(classRx, rxNoBcast, 1)
	check("no broadcast", true, false, false, false, false)
	do(classRx, rxAllUni, 1)
	check("all unicast", true, false, false, true, false)
	do(classRx, rxNoUni, 1)
	check("no unicast", false, false, false, false, false)
	do(classRx, rxPromisc, 1)
	check("promiscuous", true, true, true, true, false)
	many := make([][6]byte, maxMACs+1)
	do(classRx, rxPromisc, 0)
	do(classRx, rxNoMulti, 0)
	do(classRx, rxAllMulti, 0)
	do(classMAC, macTableSet, table(nil, many)...)
	check("too many groups", false, false, true, false, false)
	do(classMAC, macAddrSet, other[:]...)
	if c.dev.MAC() != other || c.DeviceConfig(0, 4) != 0x02020202 {
		t.Error("the address was not taken over")
	}
	for _, bad := range []struct {
		class, code byte
		data        []byte
	}{
		{classRx, 6, []byte{1}}, {classRx, 0, nil}, {classRx, 0, []byte{1, 1}}, {classMAC, macAddrSet, make([]byte, 5)}, {classMAC, 2, nil},
		{classMAC, macTableSet, []byte{1, 0, 0, 0}}, {classMAC, macTableSet, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}}, {classMAC, macTableSet, make([]byte, 9)},
		{classVLAN, 0, []byte{0, 0x10}}, {classVLAN, 2, []byte{0, 0}}, {classVLAN, 0, nil}, {classAnnounce, 1, nil}, {classMQ, 0, []byte{1, 0}}, {9, 0, nil},
		{classOffloads, 0, make([]byte, 7)}, {classOffloads, 0, []byte{0, 0, 0, 0, 0, 0, 0, 0x80}}, {classOffloads, 1, make([]byte, 8)},
	} {
		if ack := c.command(bad.class, bad.code, bad.data); ack != ackErr {
			t.Errorf("command %d.%d with % x: ack %d", bad.class, bad.code, bad.data, ack)
		}
	}
}

func TestConfig(t *testing.T) {
	if err := configRegisters.Check(); err != nil {
		t.Error(err)
	}
	c := newCard(t, Options{Pairs: 3, MTU: 9000}, newWire(4), all|featureMQ|featureSpeedDuplex)
	for _, x := range []struct {
		off  uint64
		size int
		want uint64
	}{{0, 4, 0x01005452}, {4, 2, 0x0302}, {6, 2, 1}, {8, 2, 3}, {10, 2, 9000}, {12, 4, 10000}, {16, 1, 1}, {6, 4, 0x00030001}} {
		if got := c.DeviceConfig(x.off, x.size); got != x.want {
			t.Errorf("configuration %#x: %#x, want %#x", x.off, got, x.want)
		}
	}
	c.observe(nil)
	gen := c.Get(virtiotest.Generation, 1)
	last := 7
	before := c.Interrupts(last)
	if err := c.dev.SetLink(0, false); err != nil {
		t.Error(err)
	}
	if c.DeviceConfig(6, 2) != 0 || c.Get(virtiotest.Generation, 1) == gen || c.Interrupts(last) != before+1 {
		t.Errorf("link down: status %#x, %d interrupts", c.DeviceConfig(6, 2), c.Interrupts(last)-before)
	}
	c.tx[0].Do([][]byte{header(devices.Offload{}), frame(60, broadcast)})
	c.w.take(t, 0)
	c.dev.SetLink(0, true)
	c.w.to.LinkChanged(false)
	if c.DeviceConfig(6, 2) != 0 {
		t.Error("link up without a connection")
	}
	c.w.to.LinkChanged(true)
	if l := c.watch.Take("state"); !slices.Equal(l, []string{"link down", "link up", "link down", "link up"}) {
		t.Errorf("states %q", l)
	}
	if c.dev.SetLink(1, true) == nil {
		t.Error("there is a port 1")
	}
	c.dev.Announce()
	if c.DeviceConfig(6, 2) != 3 {
		t.Error("no announcement")
	}
	if c.command(classAnnounce, announceAck, nil) != ackOK || c.DeviceConfig(6, 2) != 1 {
		t.Error("announcement not acknowledged")
	}
}

func TestQueues(t *testing.T) {
	c := newCard(t, Options{Pairs: 4}, newWire(1), all|featureMQ)
	if c.command(classMQ, mqPairsSet, []byte{0, 0}) != ackErr || c.command(classMQ, mqPairsSet, []byte{5, 0}) != ackErr {
		t.Error("impossible numbers of pairs accepted")
	}
	if c.command(classMQ, mqPairsSet, []byte{4, 0}) != ackOK || c.w.pairs != 4 {
		t.Errorf("%d pairs in use", c.w.pairs)
	}
	if c.w.accept != devices.OffloadChecksum|devices.OffloadTSO4|devices.OffloadTSO6|devices.OffloadECN {
		t.Errorf("accepts %#x", c.w.accept)
	}
	c.command(classRx, rxPromisc, []byte{1})
	flow := func(src, dst uint16, reply bool) []byte {
		b := frame(60, ownMAC)
		copy(b[12:], []byte{8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2})
		if reply {
			copy(b[26:], []byte{10, 0, 0, 2, 10, 0, 0, 1})
		}
		binary.BigEndian.PutUint16(b[34:], src)
		binary.BigEndian.PutUint16(b[36:], dst)
		return b
	}
	// What is sent on a pair is answered on it.
	for i := range 4 {
		c.tx[i].Do([][]byte{header(devices.Offload{}), flow(uint16(5000+i), 80, false)})
		c.rx[i].Add(nil, 2000)
		c.rx[i].Kick()
	}
	c.w.take(t, 4)
	for _, i := range []int{2, 0, 3, 1} {
		if c.w.receive(flow(80, uint16(5000+i), true)) != 1 {
			t.Fatal("not taken")
		}
		if b := c.rx[i].Wait(1); b[0].Len != 72 {
			t.Errorf("pair %d: %d bytes", i, b[0].Len)
		}
	}
	if a := c.command(classOffloads, offloadsSet, []byte{2, 0, 0, 0, 0, 0, 0, 0}); a != ackOK || c.w.accept != devices.OffloadChecksum {
		t.Errorf("ack %d, accepts %#x", a, c.w.accept)
	}
}

func TestStrict(t *testing.T) {
	c := newCard(t, Options{}, newWire(1), featureCsum|featureHostTSO4|plainNIC)
	c.observe(nil)
	f := frame(100, broadcast)
	num := header(devices.Offload{})
	num[hdrNumBuffers] = 1
	for _, x := range []struct {
		h    []byte
		f    []byte
		sent int
	}{
		{header(devices.Offload{Flags: 1, ChecksumStart: 14, ChecksumOffset: 85}), f, 0},
		{header(devices.Offload{Flags: 1, GSO: devices.GSOTCPv6, SegmentSize: 9}), f, 0},
		{header(devices.Offload{GSO: devices.GSOTCPv4, SegmentSize: 9}), f, 0},
		{header(devices.Offload{Flags: 1, GSO: devices.GSOTCPv4}), f, 0},
		{header(devices.Offload{Flags: 1, GSO: 0x80}), f, 0},
		{header(devices.Offload{Flags: 1, GSO: 3, SegmentSize: 1}), f, 0},
		{header(devices.Offload{}), f[:13], 0},
		{header(devices.Offload{})[:11], nil, 0},
		{num, f, 1},
		{header(devices.Offload{Flags: 0x80}), f, 1},
	} {
		c.watch.Forget()
		c.tx[0].Do([][]byte{x.h, x.f})
		c.w.take(t, x.sent)
		l := c.watch.Violations()
		if len(l) != 1 {
			t.Errorf("header % x: violations %q", x.h, l)
		}
		// Who is to be halted at the notification hears the same before that ends.
		c.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, &c.watch, nil)
		c.dev.Pause()
		c.tx[0].Add([][]byte{x.h, x.f})
		c.tx[0].Notify()
		c.tx[0].Kick()
		if prompt := c.watch.Violations(); !slices.Equal(prompt, l) {
			t.Errorf("header % x: violations %q at the notification, then %q", x.h, prompt, l)
		}
		c.dev.Resume()
		c.tx[0].Wait(1)
		c.w.take(t, x.sent)
		c.observe(nil)
	}
	// A buffer that is no memory.
	c.watch.Forget()
	c.tx[0].AddDescs([]virtiotest.Desc{{Addr: 1 << 40, Len: 100}})
	c.tx[0].Kick()
	c.tx[0].Wait(1)
	c.rx[0].AddDescs([]virtiotest.Desc{{Addr: 1 << 40, Len: 2000, Write: true}})
	c.rx[0].Add(nil, 20)
	c.rx[0].Kick()
	c.w.receive(f, f)
	if _, ok := c.rx[0].TakeRaw(); !ok || c.rx[0].Wait(1)[0].Len != 0 {
		t.Error("the buffers come back with content")
	}
	if l := c.watch.Violations(); len(l) != 3 {
		t.Errorf("violations %q", l)
	}
	if !c.dev.Active() {
		t.Error("the device broke")
	}
}

// TestStrictControl: the commands that are wrong are known at the notification, too.
func TestStrictControl(t *testing.T) {
	c := newCard(t, Options{Pairs: 2}, newWire(2), all&^featureCtrlVLAN|featureMQ)
	c.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, &c.watch, nil)
	for _, x := range []struct {
		class, code byte
		data        []byte
		want        string
	}{
		{classRx, rxPromisc, []byte{1}, ""},
		{classRx, rxPromisc, nil, "VIRTIO_NET_CTRL_RX_PROMISC: its data have another length"},
		{classRx, 77, []byte{1}, "control class 0 command 77: no such command"},
		{classMAC, macAddrSet, []byte{2, 0, 0, 0, 0, 1}, ""},
		{classMAC, macTableSet, []byte{9, 0, 0, 0}, "MAC_TABLE_SET: its data have another length"},
		{classVLAN, vlanAdd, []byte{1, 0}, "VLAN_ADD: its feature was not negotiated"},
		{classAnnounce, 4, nil, "control class 3 command 4: no such command"},
		{classMQ, mqPairsSet, []byte{2, 0}, ""},
		{classMQ, mqPairsSet, []byte{3, 0}, "MQ_VQ_PAIRS_SET: 3 queue pairs: the device has 2"},
		{classOffloads, offloadsSet, []byte{0, 0, 0, 0, 0, 0, 0, 1}, "GUEST_OFFLOADS_SET: offloads 0x100000000000000"},
		{99, 0, nil, "control class 99 command 0: no such command"},
	} {
		c.watch.Forget()
		c.dev.Pause()
		c.ctl.Add([][]byte{{x.class, x.code}, x.data}, 1)
		c.ctl.Kick()
		prompt := c.watch.Violations()
		c.dev.Resume()
		c.ctl.Wait(1)
		later := c.watch.Violations()
		if x.want == "" && len(prompt)+len(later) != 0 || x.want != "" && (len(prompt) != 1 || !strings.Contains(prompt[0], "5.1.6.5: ") || !strings.Contains(prompt[0], x.want)) {
			t.Errorf("class %d command %d: %q, want %q", x.class, x.code, prompt, x.want)
		}
	}
}

func TestFaults(t *testing.T) {
	send := func(c *card) (second uint16) {
		for range 2 {
			second = c.tx[0].Add([][]byte{header(devices.Offload{}), frame(100, broadcast)})
		}
		c.tx[0].Kick()
		return second
	}
	once := func(e devices.Effect) func(*devices.Command) devices.Effect {
		var mu sync.Mutex
		n := 0
		return func(*devices.Command) devices.Effect {
			mu.Lock()
			defer mu.Unlock()
			if n++; n == 1 {
				return e
			}
			return devices.Effect{}
		}
	}
	want := frame(100, broadcast)
	for name, x := range map[string]struct {
		e              devices.Effect
		sent, returned int
	}{
		"fail": {devices.Effect{Fail: true}, 1, 2}, "hang": {devices.Effect{Hang: true}, 1, 1}, "drop": {devices.Effect{Drop: true}, 2, 1},
		"duplicate": {devices.Effect{Duplicate: true}, 3, 2}, "hold": {devices.Effect{Hold: 1}, 2, 2}, "lose": {devices.Effect{LoseInterrupt: true}, 2, 2},
		"short": {devices.Effect{ShortOn: true, Short: 20}, 2, 2}, "flip": {devices.Effect{FlipData: 3, Seed: 5}, 2, 2}, "table": {devices.Effect{FlipTable: 1 << 31}, 1, 2},
		"delay": {devices.Effect{Delay: 1000}, 2, 2},
	} {
		t.Run("transmit "+name, func(t *testing.T) {
			c := newCard(t, Options{}, newWire(1), plainNIC)
			c.observe(once(x.e))
			second := send(c)
			wait := c.tx[0].Wait
			if name == "lose" {
				wait = c.tx[0].Poll // the interrupt may be that of both
			}
			l := wait(x.returned)
			if name == "hold" && l[0].ID != second {
				t.Errorf("chain %d came back first, want %d", l[0].ID, second)
			}
			if name == "delay" {
				c.w.take(t, 1)
				c.clock.Advance(2000)
				c.w.take(t, 1)
				return
			}
			frames := c.w.take(t, x.sent)
			switch name {
			case "short":
				if frames[0].Len() != 20 {
					t.Errorf("%d bytes", frames[0].Len())
				}
			case "flip":
				d := 0
				for i, b := range frames[0].Pieces[0] {
					for v := b ^ want[i]; v != 0; v &= v - 1 {
						d++
					}
				}
				if d == 0 || d > 3 || !bytes.Equal(frames[1].Pieces[0], want) {
					t.Errorf("%d bits differ", d)
				}
			case "hang", "drop", "hold":
				// Neither pausing nor reset waits for what is held back.
				c.dev.Pause()
				c.dev.Resume()
				c.Start(plainNIC)
			}
		})
	}
	for name, x := range map[string]struct {
		e        devices.Effect
		returned int
	}{
		"fail": {devices.Effect{Fail: true}, 1}, "drop": {devices.Effect{Drop: true}, 1}, "duplicate": {devices.Effect{Duplicate: true}, 3},
		"hold": {devices.Effect{Hold: 1}, 2}, "delay": {devices.Effect{Delay: 1000}, 2},
	} {
		t.Run("receive "+name, func(t *testing.T) {
			c := newCard(t, Options{}, newWire(1), plainNIC)
			c.observe(once(x.e))
			for range 4 {
				c.rx[0].Add(nil, 200)
			}
			c.rx[0].Kick()
			if n := c.w.receive(want, want); n != 2 {
				t.Fatalf("%d frames taken", n)
			}
			c.clock.Advance(2000)
			c.rx[0].Wait(x.returned)
			if _, more := c.rx[0].Take(); more {
				t.Error("one too many")
			}
		})
	}
	t.Run("control", func(t *testing.T) {
		c := newCard(t, Options{}, newWire(1), all)
		c.observe(once(devices.Effect{Fail: true}))
		if c.command(classRx, rxPromisc, []byte{1}) != ackErr || c.dev.filter.Load().Promisc {
			t.Error("a command that fails is carried out")
		}
		if c.command(classRx, rxPromisc, []byte{1}) != ackOK {
			t.Error("the next fails too")
		}
	})
}

func TestSave(t *testing.T) {
	c := newCard(t, Options{Pairs: 2}, newWire(1), all|featureMQ)
	c.command(classMQ, mqPairsSet, []byte{2, 0})
	c.command(classVLAN, vlanAdd, []byte{5, 0})
	c.command(classMAC, macAddrSet, []byte{2, 7, 7, 7, 7, 7})
	c.command(classOffloads, offloadsSet, []byte{2, 0, 0, 0, 0, 0, 0, 0})
	c.rx[0].Add(nil, 2000)
	c.rx[0].Publish()
	c.dev.Pause()
	p, err := c.dev.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(1)
	dev, err := New(Options{Name: "virtio-net0", MAC: ownMAC, Pairs: 2, Packed: true}, w)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	d := virtiotest.New(t, dev.Function(), true)
	copy(d.RAM.Data, c.RAM.Data)
	dev.Pause()
	if err := dev.RestoreState(p); err != nil {
		t.Fatal(err)
	}
	dev.Resume()
	for i := range p[:len(p)-1] {
		if i%97 == 0 && dev.RestoreState(p[:i]) == nil {
			t.Errorf("%d bytes of %d are a state", i, len(p))
		}
	}
	dev.Pause()
	if err := dev.RestoreState(p); err != nil {
		t.Fatal(err)
	}
	dev.Resume()
	if w.pairs != 2 || w.accept != devices.OffloadChecksum || dev.MAC() != [6]byte{2, 7, 7, 7, 7, 7} || dev.filter.Load().VLANs[0] != 1<<5 {
		t.Errorf("%d pairs, accepts %#x, MAC % x", w.pairs, w.accept, dev.MAC())
	}
	if dev.state.status() != statusLinkUp|statusAnnounce {
		t.Error("no announcement after moving")
	}
	c.rx[0].Move(d)
	if n := w.receive(frame(60, [6]byte{2, 7, 7, 7, 7, 7})); n != 1 {
		t.Fatal("not taken")
	}
	c.rx[0].Wait(1)
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{MAC: [6]byte{1}}, {}, {MAC: ownMAC, Pairs: 65}, {MAC: ownMAC, Pairs: -1}, {MAC: ownMAC, QueueSize: 100}, {MAC: ownMAC, MTU: 10},
	} {
		if _, err := New(o, newWire(1)); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

// FuzzDevice lets a driver's bytes loose on headers, commands and frames.
func FuzzDevice(f *testing.F) {
	devtest.HostileMemory(f)
	f.Add([]byte{0, 20, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, uint64(all))
	f.Add([]byte{1, 3, 0, 0, 1, 2, 4, 0, 4, 1, 0, 2, 60, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 8, 0}, uint64(all|featureMQ))
	f.Add([]byte{3, 0, 4, 0, 2, 30, 5, 5, 5}, uint64(virtiotest.Packed|featureCtrlVQ))
	f.Fuzz(func(t *testing.T, p []byte, features uint64) {
		dev, err := New(Options{Name: "fuzz", MAC: ownMAC, Pairs: 2, QueueSize: 64, Packed: true}, newWire(1))
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		w := dev.net.(*wire)
		d := virtiotest.New(t, dev.Function(), true)
		features &= d.Offered()
		c := &card{Driver: d, dev: dev, w: w}
		c.start(features)
		c.observe(func(k *devices.Command) devices.Effect {
			var e devices.Effect
			if k.Bytes%5 == 1 {
				e = devices.Effect{FlipData: k.Bytes, Seed: k.Bytes, ShortOn: k.Bytes%2 == 0, Short: int64(k.Bytes) / 2, Hold: int(k.Bytes % 3), Duplicate: k.Bytes%7 == 1, FlipTable: 1 << (k.Bytes % 32)}
			}
			return e
		})
		for len(p) >= 2 {
			op, n := p[0], min(int(p[1]), len(p)-2)
			data := p[2 : 2+n]
			p = p[2+n:]
			switch q := c.tx[0]; op % 5 {
			case 0:
				if q.Free() > 2 {
					q.Add([][]byte{data, make([]byte, int(op)*8)})
					q.Kick()
				}
			case 1:
				if c.ctl != nil && c.ctl.Free() > 2 {
					c.ctl.Add([][]byte{data}, 1)
					c.ctl.Kick()
				}
			case 2:
				w.to.Receive(0, []devices.Frame{{Pieces: [][]byte{data, make([]byte, int(op)*16)}}, {Pieces: [][]byte{data}}})
			case 3:
				if c.rx[0].Free() > 2 {
					c.rx[0].Add(nil, 1+int(op)*4)
					c.rx[0].Kick()
				}
			case 4:
				dev.Pause()
				dev.Resume()
			}
			for _, q := range []*virtiotest.Queue{c.tx[0], c.rx[0], c.ctl} {
				for q != nil {
					if _, ok := q.TakeRaw(); !ok {
						break
					}
				}
			}
		}
		dev.Pause()
		s, err := dev.SaveState()
		if err != nil {
			t.Fatal(err)
		}
		if err := dev.RestoreState(s); err != nil {
			t.Fatal(err)
		}
		dev.Resume()
		dev.Reset()
		d.Enable(true)
		c.observe(nil)
		c.start(plainNIC)
		w.mu.Lock()
		w.sent = nil
		w.mu.Unlock()
		c.tx[0].Do([][]byte{header(devices.Offload{}), frame(60, broadcast)})
		w.take(t, 1)
	})
}

var _ devices.FrameReceiver = (*Device)(nil)
var _ devices.Linked = (*Device)(nil)
var _ devices.Saver = (*Device)(nil)
var _ devices.Pauser = (*Device)(nil)
var _ virtio.Model = (*Device)(nil)
