package network

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"dfemu/devices"
)

// station is a guest with a TCP/IP stack of its own at the other end of the cable. It
// takes no offloads, so that all sums and sizes are checked by that stack.
type station struct {
	t     testing.TB
	net   devices.Network
	stack *stack.Stack
	ch    *channel.Endpoint
	quit  chan struct{}
	done  chan struct{}
}

func (s *station) Receive(_ int, frames []devices.Frame) int {
	for i := range frames {
		b := make([]byte, frames[i].Len())
		frames[i].CopyTo(b, 0)
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
		s.ch.InjectInbound(0, pkt)
		pkt.DecRef()
	}
	return len(frames)
}

func (s *station) LinkChanged(bool) {}

func newStation(t testing.TB, spec string) *station {
	t.Helper()
	o, err := ParseNIC(spec)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(o, Env{})
	if err != nil {
		t.Fatal(err)
	}
	s := &station{t: t, net: n, ch: channel.New(4096, 1500+14, tcpip.LinkAddress("\x02\x00\x00\x00\x00\x02")), quit: make(chan struct{}), done: make(chan struct{})}
	s.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	if err := s.stack.CreateNIC(1, ethernet.New(s.ch)); err != nil {
		t.Fatal(err)
	}
	a := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4([4]byte{10, 0, 2, 15}), PrefixLen: 24}}
	if err := s.stack.AddProtocolAddress(1, a, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	gw := tcpip.AddrFrom4([4]byte{10, 0, 2, 2})
	s.stack.SetRouteTable([]tcpip.Route{{Destination: a.AddressWithPrefix.Subnet(), NIC: 1}, {Destination: header.IPv4EmptySubnet, Gateway: gw, NIC: 1}})
	n.Connect(s)
	n.Configure(0, 1)
	wake := make(chan struct{}, 1)
	s.ch.AddNotify(notify(wake))
	go func() {
		defer close(s.done)
		for {
			select {
			case <-wake:
			case <-s.quit:
				return
			}
			for pkt := s.ch.Read(); pkt != nil; pkt = s.ch.Read() {
				n.Send(0, []devices.Frame{{Pieces: pkt.AsSlices()}})
				pkt.DecRef()
			}
		}
	}()
	t.Cleanup(func() {
		close(s.quit)
		<-s.done
		n.Close()
		s.stack.Destroy()
	})
	return s
}

type notify chan struct{}

func (n notify) WriteNotify() {
	select {
	case n <- struct{}{}:
	default:
	}
}

func full(a string, port int) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFrom4(netip.MustParseAddr(a).As4()), Port: uint16(port)}
}

// echoTCP is a server on the host that sends back what it gets, and then ends.
func echoTCP(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no loopback network here: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func echoUDP(t testing.TB) int {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Skipf("no loopback network here: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			c.WriteToUDPAddrPort(append([]byte("re: "), b[:n]...), from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func TestUserTCP(t *testing.T) {
	port := echoTCP(t)
	s := newStation(t, "user")
	c, err := gonet.DialTCP(s.stack, full("10.0.2.2", port), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 3<<20)
	for i := range want {
		want[i] = byte(i * i >> 3)
	}
	go func() {
		c.Write(want)
		c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(want), err)
	}
	c.Close()
	// A port where nobody listens refuses.
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	closed := l.Addr().(*net.TCPAddr).Port
	l.Close()
	if c, err := gonet.DialTCP(s.stack, full("10.0.2.2", closed), ipv4.ProtocolNumber); err == nil {
		c.Close()
		t.Error("a closed port accepts")
	}
}

func TestUserUDP(t *testing.T) {
	port := echoUDP(t)
	s := newStation(t, fmt.Sprintf("user,dns=127.0.0.1:%d", port))
	for _, a := range []tcpip.FullAddress{full("10.0.2.2", port), full("10.0.2.3", 53)} {
		c, err := gonet.DialUDP(s.stack, nil, &a, ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []string{"one", "two"} {
			c.Write([]byte(m))
			b := make([]byte, 100)
			c.SetReadDeadline(time.Now().Add(patience))
			if n, err := c.Read(b); err != nil || string(b[:n]) != "re: "+m {
				t.Errorf("%v: %q, %v", a, b[:n], err)
			}
		}
		c.Close()
	}
}

func TestUserIsolated(t *testing.T) {
	port := echoTCP(t)
	s := newStation(t, "user,isolated")
	if c, err := gonet.DialTCP(s.stack, full("10.0.2.2", port), ipv4.ProtocolNumber); err == nil {
		c.Close()
		t.Error("an isolated guest reaches the host")
	}
}

// forwarded returns the host's ends of a network's two forwards, whose ports the host has chosen.
func forwarded(t *testing.T, n devices.Network) (tcpAddr, udpAddr string) {
	t.Helper()
	u := n.(*user)
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.conns {
		switch l := c.(type) {
		case *net.TCPListener:
			tcpAddr = l.Addr().String()
		case *net.UDPConn:
			udpAddr = l.LocalAddr().String()
		}
	}
	if tcpAddr == "" || udpAddr == "" {
		t.Fatalf("forwards are %q and %q", tcpAddr, udpAddr)
	}
	return tcpAddr, udpAddr
}

func TestUserForward(t *testing.T) {
	s := newStation(t, "user,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=udp:127.0.0.1:0-:23")
	tcpAddr, udpAddr := forwarded(t, s.net)
	l, err := gonet.ListenTCP(s.stack, full("10.0.2.15", 22), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c)
		c.Close()
	}()
	c, err := net.Dial("tcp", tcpAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("hello"))
	c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	a := full("10.0.2.15", 23)
	g, err := gonet.DialUDP(s.stack, &a, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	h, err := net.Dial("udp", udpAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	h.Write([]byte("ping"))
	b := make([]byte, 100)
	n, from, err := g.ReadFrom(b)
	if err != nil || string(b[:n]) != "ping" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	g.WriteTo([]byte("pong"), from)
	h.SetReadDeadline(time.Now().Add(patience))
	if n, err := h.Read(b); err != nil || string(b[:n]) != "pong" {
		t.Errorf("%q, %v", b[:n], err)
	}
	o, _ := ParseNIC("user,hostfwd=tcp:" + tcpAddr + "-:22")
	if n, err := Open(o, Env{}); err == nil {
		n.Close()
		t.Error("a port is forwarded twice")
	}
}

// ping is an ICMP echo request in a frame.
func ping(to [4]byte) []byte {
	b := make([]byte, 14+20+8+4)
	copy(b, gatewayMAC[:])
	copy(b[6:], guestMAC)
	copy(b[12:], []byte{8, 0, 0x45, 0, 0, 32, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 2, 15})
	copy(b[30:], to[:])
	sumIPv4(b[14:34])
	copy(b[34:], []byte{8, 0, 0, 0, 0, 7, 0, 1, 'a', 'b', 'c', 'd'})
	binary.BigEndian.PutUint16(b[36:], ^devices.Fold(devices.Sum(0, b[34:])))
	return b
}

func TestUserPing(t *testing.T) {
	o, _ := ParseNIC("user")
	n, err := Open(o, Env{})
	if err != nil {
		t.Fatal(err)
	}
	c := newNIC(t, n, 0)
	c.send(ping([4]byte{8, 8, 8, 8}), ping([4]byte{10, 0, 2, 2}))
	// The gateway asks who we are first.
	q := c.take(isARP).Pieces[0]
	if !bytes.Equal(q[38:42], []byte{10, 0, 2, 15}) || !bytes.Equal(q[6:12], gatewayMAC[:]) {
		t.Errorf("question % x", q)
	}
	r := bytes.Clone(q[:42])
	copy(r, gatewayMAC[:])
	copy(r[6:], guestMAC)
	r[21] = 2
	copy(r[22:], guestMAC)
	copy(r[28:], []byte{10, 0, 2, 15})
	copy(r[32:], q[22:32])
	c.send(r)
	p := c.take(func(p []byte) bool { return p[13] == 0 && p[23] == 1 }).Pieces[0]
	if !bytes.Equal(p[26:34], []byte{10, 0, 2, 2, 10, 0, 2, 15}) || p[34] != 0 || string(p[42:46]) != "abcd" {
		t.Errorf("answer % x", p)
	}
	// The gateway may have asked more than once.
	for c.count() != 0 {
		if f := c.take(nil); !isARP(f.Pieces[0]) {
			t.Error("a ping beyond the gateway is answered")
		}
	}
}

func discover(kind byte, opts ...byte) []byte {
	p := make([]byte, dhcpFixed)
	p[0], p[1], p[2] = 1, 1, 6
	copy(p[4:], "xid!")
	copy(p[28:], guestMAC)
	p = append(p, dhcpCookie[:]...)
	if kind != 0 {
		p = append(p, optType, 1, kind)
	}
	p = append(append(p, opts...), optEnd)
	return udpFrame([6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, [6]byte(guestMAC), [4]byte{}, [4]byte{255, 255, 255, 255}, 68, 67, p)
}

func TestDHCP(t *testing.T) {
	o, _ := ParseNIC("user,net=10.5.0.0/24,hostname=box,mtu=9000,dns=1.1.1.1:53")
	n, err := Open(o, Env{})
	if err != nil {
		t.Fatal(err)
	}
	c := newNIC(t, n, 0)
	option := func(p []byte, code byte) []byte {
		for p = p[14+20+8+dhcpFixed+4:]; p[0] != optEnd; p = p[2+p[1]:] {
			if p[0] == code {
				return p[2 : 2+p[1]]
			}
		}
		return nil
	}
	for _, x := range []struct {
		name  string
		frame []byte
		kind  byte
		yours []byte
	}{
		{"discover", discover(dhcpDiscover), dhcpOffer, []byte{10, 5, 0, 15}},
		{"request", discover(dhcpRequest, optRequested, 4, 10, 5, 0, 15), dhcpAck, []byte{10, 5, 0, 15}},
		{"request of another", discover(dhcpRequest, optRequested, 4, 10, 5, 0, 16), dhcpNak, []byte{0, 0, 0, 0}},
		{"inform", discover(dhcpInform), dhcpAck, []byte{0, 0, 0, 0}},
	} {
		c.send(x.frame)
		p := c.take(nil).Pieces[0]
		valid(t, p)
		if got := option(p, optType); len(got) != 1 || got[0] != x.kind {
			t.Errorf("%s: type %v, want %d", x.name, got, x.kind)
		}
		if h := p[42:]; !bytes.Equal(h[16:20], x.yours) || string(h[4:8]) != "xid!" || h[0] != 2 {
			t.Errorf("%s: % x", x.name, h[:44])
		}
		if x.kind == dhcpNak {
			continue
		}
		if !bytes.Equal(option(p, optRouter), []byte{10, 5, 0, 2}) || !bytes.Equal(option(p, optDNS), []byte{10, 5, 0, 3}) || !bytes.Equal(option(p, optMask), []byte{255, 255, 255, 0}) ||
			string(option(p, optHostName)) != "box" || !bytes.Equal(option(p, optMTU), []byte{0x23, 0x28}) {
			t.Errorf("%s: options % x", x.name, p[42+dhcpFixed:])
		}
	}
	c.send(discover(dhcpRequest, optServer, 4, 1, 2, 3, 4), discover(7), discover(0))
	if p := c.take(nil).Pieces[0]; option(p, optType) != nil || c.count() != 0 {
		t.Error("BOOTP gets a DHCP answer, or others are answered")
	}
}

func TestHostResolver(t *testing.T) {
	f := filepath.Join(t.TempDir(), "resolv.conf")
	os.WriteFile(f, []byte("# x\nsearch a\nnameserver bad\nnameserver 9.9.9.9\nnameserver 8.8.8.8\n"), 0o600)
	if s := hostResolver(f); s != "9.9.9.9:53" {
		t.Errorf("resolver %q", s)
	}
	if s := hostResolver(f + "x"); s != "" {
		t.Errorf("resolver %q", s)
	}
}

func TestUserClose(t *testing.T) {
	before := runtime.NumGoroutine()
	port := echoTCP(t)
	s := newStation(t, "user,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=udp:127.0.0.1:0-:22")
	c, err := gonet.DialTCP(s.stack, full("10.0.2.2", port), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("x"))
	s.net.Close()
	c.Close()
	s.stack.Destroy()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before+4 && time.Now().Before(end); {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before+4 { // the echo server, and the station's
		p := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before:\n%s", n, before, p[:runtime.Stack(p, true)])
	}
}

// FuzzUserFrames sends frames of any content into the stack.
func FuzzUserFrames(f *testing.F) {
	f.Add(discover(dhcpDiscover), byte(0))
	f.Add(discover(dhcpRequest, optRequested, 4, 10, 0, 2, 15), byte(1))
	f.Add(ping([4]byte{10, 0, 2, 2}), byte(2))
	b, _ := packet(false, false, 0, make([]byte, 40), 2)
	copy(b, gatewayMAC[:])
	f.Add(b, byte(3))
	f.Add(append(append(bytes.Clone(gatewayMAC[:]), guestMAC...), 8, 6, 0, 1, 8, 0, 6, 4, 0, 1), byte(5))
	o, _ := ParseNIC("user,isolated,dns=127.0.0.1:1")
	n, err := Open(o, Env{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { n.Close() })
	c := &nic{t: f, net: n, room: -1, more: make(chan struct{}, 1)}
	n.Connect(c)
	f.Fuzz(func(t *testing.T, b []byte, cut byte) {
		k := min(int(cut), len(b))
		n.Send(0, []devices.Frame{{Pieces: [][]byte{b[:k], b[k:]}}})
		if m, ok := parseDHCP(b); ok {
			n.(*user).dhcpReply(&m, dhcpAck, [4]byte{10, 0, 2, 15})
		}
		c.mu.Lock()
		c.got = nil
		c.mu.Unlock()
	})
}

// BenchmarkUserTCP sends to a server on the host that throws all away.
func BenchmarkUserTCP(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Skip(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, c)
		}
	}()
	s := newStation(b, "user")
	c, err := gonet.DialTCP(s.stack, full("10.0.2.2", l.Addr().(*net.TCPAddr).Port), ipv4.ProtocolNumber)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}
