package inet

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/net/ifnet"
	"dfemu/kernel/net/wire"
)

// cable is a driver whose frames are received by another interface, after change has seen them.
type cable struct {
	to     *ifnet.Interface
	change func([]byte) []byte
}

func (c *cable) Transmit(b []byte) error {
	b = append([]byte(nil), b...)
	if c.change != nil {
		if b = c.change(b); b == nil {
			return nil
		}
	}
	go c.to.Input(b)
	return nil
}

// pair is two hosts on a cable.
func pair(t *testing.T) (a, b *Stack, ia, ib *ifnet.Interface, ca *cable) {
	t.Helper()
	k := kern.New(&kern.Host{})
	host := func(mac byte, c *cable) (*Stack, *ifnet.Interface) {
		set := ifnet.New()
		s := New(k, set)
		i, err := set.Attach(ifnet.Info{Name: "test0", MAC: ifnet.MAC{2, 0, 0, 0, 0, mac}, MTU: 1500}, c)
		if err != nil {
			t.Fatal(err)
		}
		return s, i
	}
	ca, cb := &cable{}, &cable{}
	a, ia = host(1, ca)
	b, ib = host(2, cb)
	ca.to, cb.to = ib, ia
	ia.SetLink(true)
	ib.SetLink(true)
	for i, s := range map[*ifnet.Interface]*Stack{ia: a, ib: b} {
		if err := s.Configure(i, Config{Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, i.MAC[5]}), 24)}); err != nil {
			t.Fatal(err)
		}
	}
	return a, b, ia, ib, ca
}

func ping(t *testing.T, s *Stack, addr string, size int, timeout time.Duration) (Reply, error) {
	t.Helper()
	p, err := s.Pinger(netip.MustParseAddr(addr))
	if err != nil {
		t.Fatal(err)
	}
	return p.Ping(size, timeout)
}

// TestPing pings in both directions, with the smallest and the largest packets.
func TestPing(t *testing.T) {
	a, b, ia, _, _ := pair(t)
	for _, size := range []int{0, 1, 56, MaxEcho(ia)} {
		if r, err := ping(t, a, "10.0.0.2", size, 5*time.Second); err != nil || r.Size != size || r.TTL != defaultTTL {
			t.Errorf("%d bytes: %+v, %v", size, r, err)
		}
	}
	if _, err := ping(t, b, "10.0.0.1", 8, 5*time.Second); err != nil {
		t.Error(err)
	}
	if _, err := ping(t, a, "10.0.0.1", 8, time.Second); err != nil {
		t.Errorf("itself: %v", err)
	}
	if n := a.Neighbors(); len(n) != 1 || n[0].MAC != (ifnet.MAC{2, 0, 0, 0, 0, 2}) {
		t.Errorf("neighbors %+v", n)
	}
	if s := b.Stats(); s.EchoRequests != 4 || s.EchoReplies != 1 {
		t.Errorf("the other side counted %+v", s)
	}
}

// TestPingFails has each thing that can go wrong go wrong.
func TestPingFails(t *testing.T) {
	a, b, ia, ib, ca := pair(t)
	if _, err := ping(t, a, "10.0.0.2", MaxEcho(ia)+1, time.Second); !errors.Is(err, ifnet.ErrSize) {
		t.Errorf("too large: %v", err)
	}
	if _, err := ping(t, a, "10.0.1.2", 1, time.Second); !errors.Is(err, ErrRoute) {
		t.Errorf("no route: %v", err)
	}
	if _, err := ping(t, a, "10.0.0.3", 1, 10*time.Millisecond); !errors.Is(err, ErrTimeout) {
		t.Errorf("nobody: %v", err)
	}
	ca.change = func(f []byte) []byte { f[len(f)-1] ^= 1; return f }
	if _, err := ping(t, a, "10.0.0.2", 1, 10*time.Millisecond); !errors.Is(err, ErrTimeout) {
		t.Errorf("damaged on the way: %v", err)
	}
	ca.change = nil
	if _, err := ping(t, a, "10.0.0.2", 1, 5*time.Second); err != nil {
		t.Errorf("no longer damaged: %v", err)
	}
	ia.SetLink(false)
	if _, err := ping(t, a, "10.0.0.2", 1, time.Second); !errors.Is(err, ifnet.ErrDown) {
		t.Errorf("pulled: %v", err)
	}
	ib.Detach()
	if _, err := ping(t, b, "10.0.0.1", 1, time.Second); !errors.Is(err, ErrRoute) {
		t.Errorf("gone: %v", err)
	}
	if err := ib.Send(make([]byte, 60)); !errors.Is(err, ifnet.ErrGone) {
		t.Errorf("sending by what is gone: %v", err)
	}
}

// TestGateway sends to another network by the gateway.
func TestGateway(t *testing.T) {
	a, _, ia, _, ca := pair(t)
	if err := a.Configure(ia, Config{Addr: netip.MustParsePrefix("10.0.0.1/24"), Gateway: netip.MustParseAddr("10.0.0.2")}); err != nil {
		t.Fatal(err)
	}
	got := make(chan wire.IPv4, 4)
	ca.change = func(f []byte) []byte {
		if e, p, err := wire.ParseEthernet(f); err == nil && e.Type == wire.TypeIPv4 && e.Dst == (wire.MAC{2, 0, 0, 0, 0, 2}) {
			if h, _, err := wire.ParseIPv4(p); err == nil {
				got <- h
			}
		}
		return f
	}
	if _, err := ping(t, a, "192.0.2.1", 1, 100*time.Millisecond); !errors.Is(err, ErrTimeout) {
		t.Errorf("%v", err)
	}
	select {
	case h := <-got:
		if h.Dst != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("the gateway got a packet for %v", h.Dst)
		}
	default:
		t.Error("the gateway got nothing")
	}
}

// TestNeighbors has more stations ask than are remembered.
func TestNeighbors(t *testing.T) {
	a, _, ia, _, _ := pair(t)
	if err := a.Configure(ia, Config{Addr: netip.MustParsePrefix("10.0.0.1/16")}); err != nil {
		t.Fatal(err)
	}
	for n := range maxNeighbors + 100 {
		from := netip.AddrFrom4([4]byte{10, 0, byte(1 + n/256), byte(n)})
		mac := wire.MAC{2, 1, 0, 0, byte(n >> 8), byte(n)}
		ia.Input(wire.ARP{Op: wire.ARPRequest, SenderMAC: mac, SenderIP: from, TargetIP: netip.MustParseAddr("10.0.0.1")}.
			Append(wire.Ethernet{Dst: ifnet.Broadcast, Src: mac, Type: wire.TypeARP}.Append(nil)))
	}
	if n := len(a.Neighbors()); n != maxNeighbors {
		t.Errorf("%d neighbors are remembered, want %d", n, maxNeighbors)
	}
	if s := a.Stats(); s.ARPRequests != maxNeighbors+100 {
		t.Errorf("%d requests were answered", s.ARPRequests)
	}
}

// TestSuspended restarts the driver of an interface, and takes one away: only the first has its address when it is back.
func TestSuspended(t *testing.T) {
	set := ifnet.New()
	s := New(kern.New(&kern.Host{}), set)
	mac := ifnet.MAC{2, 0, 0, 0, 0, 1}
	attach := func(mac ifnet.MAC) *ifnet.Interface {
		t.Helper()
		i, err := set.Attach(ifnet.Info{Name: "test0", MAC: mac, MTU: 1500}, &cable{})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	want := Config{Addr: netip.MustParsePrefix("10.0.0.1/24"), Gateway: netip.MustParseAddr("10.0.0.9")}
	i := attach(mac)
	if err := s.Configure(i, want); err != nil {
		t.Fatal(err)
	}
	i.Suspend()
	if _, ok := s.Config(i); ok {
		t.Error("an interface that has gone has an address")
	}
	i = attach(mac)
	if c, ok := s.Config(i); !ok || c != want {
		t.Errorf("the address is %v, want %v", c, want)
	}
	i.Suspend()
	i = attach(ifnet.MAC{2, 0, 0, 0, 0, 2})
	if c, ok := s.Config(i); ok {
		t.Errorf("another interface has the address %v", c)
	}
	i.Detach()
	i = attach(mac)
	if c, ok := s.Config(i); !ok || c != want {
		t.Errorf("the address is %v, want %v", c, want)
	}
	i.Detach()
	if c, ok := s.Config(attach(mac)); ok {
		t.Errorf("an interface that was taken away has the address %v", c)
	}
}

// TestConfigure refuses what is no address of a host.
func TestConfigure(t *testing.T) {
	a, _, ia, _, _ := pair(t)
	for _, c := range [][2]string{{"10.0.0.0/24", ""}, {"10.0.0.255/24", ""}, {"224.0.0.1/24", ""}, {"127.0.0.1/8", ""}, {"::1/64", ""}, {"10.0.0.1/24", "10.0.1.1"}, {"10.0.0.1/24", "10.0.0.1"}} {
		cfg := Config{Addr: netip.MustParsePrefix(c[0])}
		if c[1] != "" {
			cfg.Gateway = netip.MustParseAddr(c[1])
		}
		if err := a.Configure(ia, cfg); !errors.Is(err, ErrAddress) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// FuzzInput gives a host any frame: it answers or does not, and keeps no more than it should.
func FuzzInput(f *testing.F) {
	echo := wire.ICMP{Type: wire.ICMPEcho, ID: 1, Data: []byte("x")}.Append(nil)
	me, you := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9")
	f.Add(wire.IPv4{TTL: 1, Protocol: wire.ProtocolICMP, Src: you, Dst: me}.Append(wire.Ethernet{Dst: wire.MAC{2}, Type: wire.TypeIPv4}.Append(nil), echo))
	f.Add(wire.ARP{Op: wire.ARPRequest, SenderIP: you, TargetIP: me}.Append(wire.Ethernet{Dst: wire.MAC{2}, Type: wire.TypeARP}.Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		set := ifnet.New()
		s := New(kern.New(&kern.Host{}), set)
		i, err := set.Attach(ifnet.Info{Name: "test0", MAC: ifnet.MAC{2}, MTU: 1500}, sink{t})
		if err != nil {
			t.Fatal(err)
		}
		i.SetLink(true)
		if err := s.Configure(i, Config{Addr: netip.PrefixFrom(me, 24)}); err != nil {
			t.Fatal(err)
		}
		i.Input(b)
		if n := len(s.Neighbors()); n > 1 {
			t.Errorf("one frame made %d neighbors", n)
		}
	})
}

// sink takes frames, which must be what Ethernet carries.
type sink struct{ t *testing.T }

func (s sink) Transmit(b []byte) error {
	if _, _, err := wire.ParseEthernet(b); err != nil {
		s.t.Errorf("sent % x: %v", b, err)
	}
	return nil
}
