package network

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"dfemu/devices"
)

// inNamespace runs f on a thread in a network namespace of its own, which
// vanishes with the thread. Without the right to make one the test is skipped.
func inNamespace(t testing.TB, f func()) {
	t.Helper()
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("no tap devices here: %v", err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			defer close(done)
			f()
			return
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skipf("cannot make a network namespace (this needs root): %v", err)
	}
}

func openTap(t testing.TB, s string) devices.Network {
	o, err := ParseNIC(s)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(o, Env{})
	if err != nil {
		t.Skipf("this host does not allow taps: %v", err)
	}
	return n
}

// guest is a station that answers ARP for 10.9.0.2 and knows the host's address.
type guest struct {
	*nic
	host []byte
}

var guestMAC = []byte{2, 0, 0, 0, 0, 2}

func isARP(p []byte) bool { return len(p) >= 42 && p[12] == 8 && p[13] == 6 }

// isUDP recognizes a datagram to a port.
func isUDP(port uint16) func([]byte) bool {
	return func(p []byte) bool {
		return len(p) >= 42 && p[12] == 8 && p[13] == 0 && p[23] == 17 && binary.BigEndian.Uint16(p[36:]) == port
	}
}

// answer replies to the host's question for the guest's address.
func (g *guest) answer() {
	q := g.take(isARP).Pieces[0]
	r := bytes.Clone(q[:42])
	g.host = bytes.Clone(q[6:12])
	copy(r, q[6:12])
	copy(r[6:], guestMAC)
	r[21] = 2
	copy(r[22:], guestMAC)
	copy(r[28:32], q[38:42])
	copy(r[32:], q[22:32])
	g.send(r)
}

// datagram is a UDP frame from 10.9.0.2 to 10.9.0.1.
func (g *guest) datagram(port uint16, payload []byte) []byte {
	b, o := packet(false, true, 0, payload, 0)
	copy(b, g.host)
	copy(b[6:], guestMAC)
	copy(b[26:], []byte{10, 9, 0, 2, 10, 9, 0, 1})
	binary.BigEndian.PutUint16(b[36:], port)
	sumIPv4(b[14:34])
	l, _ := parse(b, o)
	sumTransport(b[:42], b[42:], l)
	return b
}

func TestTap(t *testing.T) {
	inNamespace(t, func() {
		n := openTap(t, "tap,ifname=dt0,addr=10.9.0.1/24,mtu=1400")
		if p := n.Properties(); p.Kind != "tap dt0" || p.MTU != 1400 || p.Queues != 1 || p.Takes != devices.OffloadsAll {
			t.Errorf("properties %+v", p)
		}
		g := &guest{nic: newNIC(t, n, devices.OffloadsAll)}
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 9, 0, 1)})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		port := uint16(c.LocalAddr().(*net.UDPAddr).Port)
		if _, err := c.WriteToUDPAddrPort([]byte("hello"), netip.MustParseAddrPort("10.9.0.2:77")); err != nil {
			t.Error(err)
			return
		}
		g.answer()
		f := g.take(isUDP(77))
		if f.Needs() != devices.OffloadChecksum {
			t.Errorf("the kernel sends with %+v; an offload was expected to pass", f.Offload)
		}
		var s completer
		if l := s.complete(&f, 0); len(l) != 1 || string(valid(t, flat(l[0]))) != "hello" {
			t.Error("datagram changed")
		}
		// Without offloads the kernel completes the checksum.
		n.Configure(0, 1)
		c.WriteToUDPAddrPort([]byte("again"), netip.MustParseAddrPort("10.9.0.2:77"))
		f = g.take(isUDP(77))
		if f.Needs() != 0 || string(valid(t, f.Pieces[0])) != "again" {
			t.Errorf("%q with %+v", f.Pieces[0], f.Offload)
		}
		buf := make([]byte, 3000)
		receive := func(want []byte) {
			k, _, err := c.ReadFromUDPAddrPort(buf)
			if err != nil || !bytes.Equal(buf[:k], want) {
				t.Errorf("the host got %d bytes, %v; want %d", k, err, len(want))
			}
		}
		g.send(g.datagram(port, []byte("complete")))
		receive([]byte("complete"))
		// A partial checksum, and a datagram that is cut into three.
		b := g.datagram(port, []byte("partial"))
		l := layers{ip: 14, transport: 34, proto: 17, header: 42}
		binary.BigEndian.PutUint16(b[40:], devices.Fold(devices.Sum(0, pseudo(b, l))+17+15))
		o := devices.Offload{Flags: devices.FlagNeedsChecksum, ChecksumStart: 34, ChecksumOffset: 6}
		n.Send(0, []devices.Frame{{Offload: o, Pieces: [][]byte{b[:20], b[20:]}}})
		receive([]byte("partial"))
		data := bytes.Repeat([]byte("0123456789"), 250)
		o.GSO, o.SegmentSize, o.HeaderLen = devices.GSOUDPL4, 1000, 42
		n.Send(0, []devices.Frame{{Offload: o, Pieces: [][]byte{g.datagram(port, data)}}})
		receive(data[:1000])
		receive(data[1000:2000])
		receive(data[2000:])
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if _, err := net.InterfaceByName("dt0"); err == nil {
			t.Error("the interface is still there")
		}
	})
}

func TestTapQueues(t *testing.T) {
	inNamespace(t, func() {
		n := openTap(t, "tap,ifname=dt1,queues=3,addr=10.9.0.1/24")
		if p := n.Properties(); p.Queues != 3 {
			t.Errorf("%d queues", p.Queues)
		}
		g := &guest{nic: newNIC(t, n, 0)}
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 9, 0, 1)})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		peer := netip.MustParseAddrPort("10.9.0.2:77")
		c.WriteToUDPAddrPort([]byte{0}, peer)
		g.answer()
		g.take(isUDP(77))
		for _, queues := range []int{3, 1, 2, 3} {
			n.Configure(0, queues)
			for range 4 {
				if _, err := c.WriteToUDPAddrPort([]byte{1}, peer); err != nil {
					t.Error(err)
				}
				g.take(isUDP(77))
			}
		}
		port := uint16(c.LocalAddr().(*net.UDPAddr).Port)
		for q := range 3 {
			n.Send(q, []devices.Frame{{Pieces: [][]byte{g.datagram(port, []byte{9, byte(q)})}}})
			b := make([]byte, 10)
			if k, _, err := c.ReadFromUDPAddrPort(b); k != 2 || b[1] != byte(q) || err != nil {
				t.Errorf("queue %d: %d bytes, %v", q, k, err)
			}
		}
		n.Close()
	})
}

func TestTapErrors(t *testing.T) {
	inNamespace(t, func() {
		n := openTap(t, "tap,ifname=dt2")
		defer n.Close()
		for _, o := range []Options{
			{Kind: "tap", Interface: "dt2"}, {Kind: "tap", Interface: "lo"}, {Kind: "tap", Bridge: "none"}, {Kind: "tap", FDs: []int{1 << 19}},
		} {
			if n, err := Open(o, Env{}); err == nil {
				t.Errorf("%+v: no error", o)
				n.Close()
			}
		}
	})
}

// BenchmarkTapSend sends full segments of 64 KiB, which the kernel drops.
func BenchmarkTapSend(b *testing.B) {
	inNamespace(b, func() {
		n := openTap(b, "tap,ifname=dt3,addr=10.9.0.1/24")
		newNIC(b, n, devices.OffloadsAll)
		p, o := packet(false, false, 0, make([]byte, 64000), 0x10)
		o.SegmentSize = 1448
		f := []devices.Frame{{Offload: o, Pieces: [][]byte{p}}}
		b.SetBytes(int64(len(p)))
		b.ReportAllocs()
		for b.Loop() {
			n.Send(0, f)
		}
	})
}

func TestTapDescriptors(t *testing.T) {
	inNamespace(t, func() {
		first := openTap(t, "tap,ifname=dt4,queues=2,addr=10.9.0.1/24")
		var fds []int
		for _, q := range first.(*tap).queues {
			q.control(func(fd int) error {
				n, err := unix.Dup(fd)
				fds = append(fds, n)
				return err
			})
		}
		first.Close()
		n, err := Open(Options{Kind: "tap", FDs: fds}, Env{})
		if err != nil {
			t.Error(err)
			return
		}
		if p := n.Properties(); p.Kind != "tap dt4" || p.Queues != 2 {
			t.Errorf("%+v", p)
		}
		g := &guest{nic: newNIC(t, n, 0)}
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 9, 0, 1)})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		c.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("10.9.0.2:77"))
		g.answer()
		g.take(isUDP(77))
		n.Close()
		f, err := os.CreateTemp(t.TempDir(), "x")
		if err != nil {
			t.Error(err)
			return
		}
		fd, _ := unix.Dup(int(f.Fd()))
		if n, err := Open(Options{Kind: "tap", FDs: []int{fd}}, Env{}); err == nil {
			n.Close()
			t.Error("a file is a tap")
		}
		f.Close()
	})
}
