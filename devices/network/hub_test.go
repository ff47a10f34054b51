package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
)

const patience = 20 * time.Second

// nic is a network device that keeps what it receives.
type nic struct {
	t    testing.TB
	net  devices.Network
	mu   sync.Mutex
	got  []devices.Frame
	room int // frames it still takes; -1 for any number
	more chan struct{}
	link []bool
}

func newNIC(t testing.TB, n devices.Network, accept devices.Offloads) *nic {
	c := &nic{t: t, net: n, room: -1, more: make(chan struct{}, 1)}
	n.Connect(c)
	n.Configure(accept, 1)
	t.Cleanup(func() { n.Close() })
	return c
}

// Receive implements devices.FrameReceiver.
func (c *nic) Receive(_ int, frames []devices.Frame) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		select {
		case c.more <- struct{}{}:
		default:
		}
	}()
	for i := range frames {
		if c.room == 0 {
			return i
		}
		if c.room > 0 {
			c.room--
		}
		b := make([]byte, frames[i].Len())
		frames[i].CopyTo(b, 0)
		c.got = append(c.got, devices.Frame{Offload: frames[i].Offload, Pieces: [][]byte{b}})
	}
	return len(frames)
}

// LinkChanged implements devices.FrameReceiver.
func (c *nic) LinkChanged(up bool) { c.mu.Lock(); c.link = append(c.link, up); c.mu.Unlock() }

// take waits for a frame for which ok is true and returns it.
func (c *nic) take(ok func([]byte) bool) devices.Frame {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		for i, f := range c.got {
			if ok == nil || ok(f.Pieces[0]) {
				c.got = append(c.got[:i:i], c.got[i+1:]...)
				c.mu.Unlock()
				return f
			}
		}
		c.mu.Unlock()
		select {
		case <-c.more:
		case <-deadline:
			c.t.Fatal("no such frame arrived")
		}
	}
}

func (c *nic) count() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.got) }

func (c *nic) setRoom(n int) {
	c.mu.Lock()
	c.room = n
	c.mu.Unlock()
	c.net.Ready(0)
}

func (c *nic) send(p ...[]byte) {
	var l []devices.Frame
	for _, b := range p {
		l = append(l, devices.Frame{Pieces: [][]byte{b[:1], b[1:]}})
	}
	c.net.Send(0, l)
}

func ether(dst, src byte, n int) []byte {
	b := make([]byte, n)
	copy(b, []byte{2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 0x88, 0xb5, byte(n)})
	if dst == 0xff {
		copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	}
	return b
}

func TestHub(t *testing.T) {
	var hubs Hubs
	h := hubs.Get("lan")
	if hubs.Get("lan") != h || hubs.Get("x") == h {
		t.Fatal("hubs are not found by name")
	}
	a, b, c := newNIC(t, h.Port(), devices.OffloadsAll), newNIC(t, h.Port(), 0), newNIC(t, h.Port(), 0)
	a.send(ether(2, 1, 60)) // 2 is not known: to all
	if f := b.take(nil); !bytes.Equal(f.Pieces[0], ether(2, 1, 60)) {
		t.Error("frame changed")
	}
	c.take(nil)
	b.send(ether(1, 2, 61), ether(0xff, 2, 62), ether(1, 2, 63)) // 1 is known
	for _, want := range []int{61, 62, 63} {
		if f := a.take(nil); f.Len() != want {
			t.Errorf("%d bytes, want %d", f.Len(), want)
		}
	}
	if f := c.take(nil); f.Len() != 62 || c.count() != 0 {
		t.Error("a third station gets frames that are not for it")
	}
	a.send(ether(1, 1, 60), []byte{1, 2, 3}) // to itself, and too short
	if a.count()+b.count()+c.count() != 0 {
		t.Error("frames out of nothing")
	}
	// Offloads: a takes all, b needs segments.
	p, o := packet(false, false, 0, make([]byte, 3000), 0x10)
	o.SegmentSize = 1000
	copy(p, ether(0xff, 3, 14)[:12])
	c.net.Send(0, []devices.Frame{{Offload: o, Pieces: [][]byte{p}}})
	if f := a.take(nil); f.GSO != devices.GSOTCPv4 || f.Len() != len(p) {
		t.Errorf("a got %d bytes with %+v", f.Len(), f.Offload)
	}
	for range 3 {
		valid(t, b.take(nil).Pieces[0])
	}
}

func TestHubBackPressure(t *testing.T) {
	var h Hub
	a, b := newNIC(t, h.Port(), 0), newNIC(t, h.Port(), 0)
	b.setRoom(2)
	for n := range 10 {
		a.send(ether(0xff, 1, 60+n))
	}
	if b.count() != 2 {
		t.Fatalf("%d frames with room for 2", b.count())
	}
	b.setRoom(3)
	for n := range 5 {
		if f := b.take(nil); f.Len() != 60+n {
			t.Fatalf("frame %d has %d bytes", n, f.Len())
		}
	}
	b.setRoom(-1)
	for n := 5; n < 10; n++ {
		if f := b.take(nil); f.Len() != 60+n {
			t.Fatalf("frame %d has %d bytes", n, f.Len())
		}
	}
	b.setRoom(0)
	for range 2 * backlogFrames {
		a.send(ether(0xff, 1, 60))
	}
	p := b.net.(*port)
	p.mu.Lock()
	if n := len(p.backlog); n != backlogFrames {
		t.Errorf("backlog of %d, want %d", n, backlogFrames)
	}
	p.mu.Unlock()
}

func TestHubStationsBounded(t *testing.T) {
	var h Hub
	a, b := newNIC(t, h.Port(), 0), newNIC(t, h.Port(), 0)
	f := ether(0xff, 1, 60)
	for i := range 3 * maxStations {
		binary.BigEndian.PutUint32(f[8:], uint32(i))
		a.send(f)
	}
	if len(h.stations) > maxStations {
		t.Errorf("%d stations remembered", len(h.stations))
	}
	b.net.Close()
	for _, m := range h.stations {
		if m == b.net.(member) {
			t.Error("a port that was closed is remembered")
		}
	}
}

// freePort is a port of the host that nobody uses at this moment.
func freePort(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket(network, "127.0.0.1:0")
		if err != nil {
			t.Skipf("the host does not let this test listen: %v", err)
		}
		defer c.Close()
		return c.LocalAddr().String()
	}
	l, err := net.Listen(network, "127.0.0.1:0")
	if err != nil {
		t.Skipf("the host does not let this test listen: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

// openTrunk opens two hubs that are joined by a socket. Somebody else may take a port between its choice and its use: others are
// tried then.
func openTrunk(t *testing.T, kind string, env Env) (devices.Network, devices.Network) {
	t.Helper()
	for {
		var o, p Options
		switch kind {
		case "unix":
			s := "unix:" + filepath.Join(t.TempDir(), "s")
			o, p = Options{Kind: "hub", Listen: s}, Options{Kind: "hub", Dial: s}
		case "tcp":
			s := "tcp:" + freePort(t, "tcp")
			o, p = Options{Kind: "hub", Listen: s}, Options{Kind: "hub", Dial: s}
		case "udp":
			a, b := freePort(t, "udp"), freePort(t, "udp")
			o, p = Options{Kind: "hub", UDP: a, UDPPeer: b}, Options{Kind: "hub", UDP: b, UDPPeer: a}
		}
		one, err := Open(o, env)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		two, err := Open(p, env)
		if err == nil {
			return one, two
		}
		one.Close()
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func TestTrunks(t *testing.T) {
	for _, kind := range []string{"unix", "tcp", "udp"} {
		t.Run(kind, func(t *testing.T) {
			env := Env{Warn: func(err error) { t.Log(err) }}
			n1, n2 := openTrunk(t, kind, env)
			a := newNIC(t, n1, devices.OffloadsAll)
			b := newNIC(t, n2, devices.OffloadsAll)
			// The listening side may learn of the connection a moment later.
			b.send(ether(0xff, 2, 70))
			a.take(nil)
			p, o := packet(false, false, 0, make([]byte, 3000), 0x10)
			o.SegmentSize = 1400
			copy(p, ether(2, 1, 14)[:12])
			a.net.Send(0, []devices.Frame{{Offload: o, Pieces: [][]byte{p}}})
			for range 3 {
				valid(t, b.take(nil).Pieces[0])
			}
			a.net.Close()
			b.net.Close()
		})
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 3, 1, 2, 3, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		b := make([]byte, maxFrame+1)
		r := bytes.NewReader(p)
		for {
			if _, err := readFrame(r, b); err != nil {
				return
			}
		}
	})
}

// sink is a file in memory that can be full.
type sink struct {
	bytes.Buffer
	limit  int
	closed bool
}

func (s *sink) Write(p []byte) (int, error) {
	if s.Len()+len(p) > s.limit {
		return 0, errors.New("no space left on device")
	}
	return s.Buffer.Write(p)
}

func (s *sink) Close() error { s.closed = true; return nil }

func TestCapture(t *testing.T) {
	var h Hub
	file := &sink{limit: 24 + 2*16 + 60 + 61}
	clock := devtest.NewClock(time.Unix(1000, 0))
	clock.Advance(5)
	var warned []error
	n, err := Capture(h.Port(), file, clock, func(err error) { warned = append(warned, err) })
	if err != nil {
		t.Fatal(err)
	}
	a, b := newNIC(t, n, 0), newNIC(t, h.Port(), 0)
	a.send(ether(0xff, 1, 60))
	b.take(nil)
	b.send(ether(1, 2, 61))
	a.take(nil)
	p := file.Bytes()
	le := binary.LittleEndian
	if le.Uint32(p) != 0xa1b23c4d || le.Uint32(p[20:]) != 1 || len(p) != file.limit {
		t.Fatalf("% x", p[:24])
	}
	if r := p[24:]; le.Uint32(r) != 1000 || le.Uint32(r[4:]) != 5 || le.Uint32(r[8:]) != 60 || le.Uint32(r[12:]) != 60 || !bytes.Equal(r[16:76], ether(0xff, 1, 60)) {
		t.Errorf("first record % x", r[:76])
	}
	a.send(ether(0xff, 1, 60), ether(0xff, 1, 60))
	a.send(ether(0xff, 1, 60))
	for range 3 {
		b.take(nil) // the network goes on
	}
	if len(warned) != 1 {
		t.Errorf("warnings: %v", warned)
	}
	a.net.Close()
	if !file.closed {
		t.Error("file not closed")
	}
}
