package inet

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/net/ifnet"
	"dfemu/kernel/net/wire"
)

// Errors of sending.
var (
	ErrRoute   = errors.New("no route to host")         // EHOSTUNREACH
	ErrTimeout = errors.New("no answer")                // ETIMEDOUT
	ErrAddress = errors.New("not an address of a host") // EADDRNOTAVAIL
)

const (
	neighborLife = 20 * time.Minute // as net.link.ether.inet.max_age
	askAgain     = time.Second      // between two ARP requests
	maxNeighbors = 512
	maxQueued    = 4 // packets that wait for one neighbor
	defaultTTL   = 64
)

// Config is an interface's address.
type Config struct {
	Addr    netip.Prefix // the host's address, with the length of its network's
	Gateway netip.Addr   // for other networks; the zero Addr for none
}

// neighbor is what is known of a station on an interface's network.
type neighbor struct {
	mac    ifnet.MAC
	known  bool
	expire time.Duration
	asked  time.Duration
	queue  [][]byte // frames without destination
}

// key names a neighbor.
type key struct {
	on   *ifnet.Interface
	addr netip.Addr
}

// name is what an interface is known by when its driver has been restarted.
type name struct {
	name string
	mac  ifnet.MAC
}

// Stack is the protocols on a set of interfaces. Its methods may be called from any thread.
type Stack struct {
	k   *kern.Kernel
	set *ifnet.Set

	mu        sync.Mutex
	config    map[*ifnet.Interface]Config
	kept      map[name]Config // of interfaces that are suspended
	neighbors map[key]*neighbor
	waiting   map[uint32]*echo // by identifier and sequence number
	nextID    uint16
	ipID      uint16
	stats     Stats
}

// Stats counts what the protocols did.
type Stats struct {
	ARPRequests, ARPReplies   uint64 // that came
	EchoRequests, EchoReplies uint64 // that came; each request is answered
	Fragments, Bad, Others    uint64 // packets that came and were dropped
}

// New puts the protocols on the interfaces of a set.
func New(k *kern.Kernel, set *ifnet.Set) *Stack {
	s := &Stack{k: k, set: set, config: map[*ifnet.Interface]Config{}, kept: map[name]Config{}, neighbors: map[key]*neighbor{}, waiting: map[uint32]*echo{}}
	set.Notify(s.event)
	set.Handle(s.input)
	return s
}

// event forgets what is known by an interface that has gone, or whose cable was pulled. An interface whose driver is restarted has its address again
// as it comes back.
func (s *Stack) event(i *ifnet.Interface, e ifnet.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e {
	case ifnet.Attached:
		n := name{i.Name, i.MAC}
		if c, ok := s.kept[n]; ok {
			s.config[i] = c
			delete(s.kept, n)
		}
		return
	case ifnet.Detached:
		if c, ok := s.config[i]; ok && i.Suspended() {
			s.kept[name{i.Name, i.MAC}] = c
		}
		delete(s.config, i)
	case ifnet.LinkDown:
	default:
		return
	}
	for k := range s.neighbors {
		if k.on == i {
			delete(s.neighbors, k)
		}
	}
}

// Configure gives an interface its address, and tells its network; the zero Config takes the address away.
func (s *Stack) Configure(i *ifnet.Interface, c Config) error {
	a := c.Addr.Addr()
	switch {
	case !c.Addr.IsValid():
		s.mu.Lock()
		delete(s.config, i)
		s.mu.Unlock()
		return nil
	case !a.Is4() || a.IsMulticast() || a.IsUnspecified() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%v: %w", a, ErrAddress)
	case c.Addr.Bits() < 31 && (a == c.Addr.Masked().Addr() || a == broadcast(c.Addr)):
		return fmt.Errorf("%v: %w: it is its network's", c.Addr, ErrAddress)
	case c.Gateway.IsValid() && (!c.Addr.Contains(c.Gateway) || c.Gateway == a):
		return fmt.Errorf("gateway %v: %w: it must be another one of %v", c.Gateway, ErrAddress, c.Addr.Masked())
	}
	s.mu.Lock()
	s.config[i] = c
	s.mu.Unlock()
	if i.Link() {
		return s.arp(i, wire.ARP{Op: wire.ARPRequest, SenderMAC: i.MAC, SenderIP: a, TargetIP: a}, ifnet.Broadcast)
	}
	return nil
}

// Config returns an interface's address.
func (s *Stack) Config(i *ifnet.Interface) (Config, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.config[i]
	return c, ok
}

// Stats returns the counters.
func (s *Stack) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Neighbor is a station of a network.
type Neighbor struct {
	On   *ifnet.Interface
	Addr netip.Addr
	MAC  ifnet.MAC
}

// Neighbors returns the stations that are known.
func (s *Stack) Neighbors() []Neighbor {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Neighbor
	for k, n := range s.neighbors {
		if n.known && n.expire > s.k.Now() {
			out = append(out, Neighbor{k.on, k.addr, n.mac})
		}
	}
	return out
}

// broadcast is a network's broadcast address.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// route returns by which interface and to whom there a packet for an address goes. The stack is locked.
func (s *Stack) route(dst netip.Addr) (i *ifnet.Interface, c Config, next netip.Addr, err error) {
	best := -1
	for _, o := range s.set.List() {
		oc, ok := s.config[o]
		if ok && oc.Addr.Contains(dst) && oc.Addr.Bits() > best {
			i, c, next, best = o, oc, dst, oc.Addr.Bits()
		} else if ok && oc.Gateway.IsValid() && best < 0 && i == nil {
			i, c, next = o, oc, oc.Gateway
		}
	}
	if i == nil {
		return nil, c, dst, ErrRoute
	}
	return i, c, next, nil
}

// send sends an IPv4 packet; the stack is locked. A packet for a station that is not known waits for it.
func (s *Stack) send(dst netip.Addr, protocol uint8, payload []byte) error {
	i, c, next, err := s.route(dst)
	if err != nil {
		return err
	}
	if wire.IPv4Len+len(payload) > i.MTU {
		return ifnet.ErrSize
	}
	s.ipID++
	b := wire.Ethernet{Src: i.MAC, Type: wire.TypeIPv4}.Append(make([]byte, 0, wire.EthernetLen+wire.IPv4Len+len(payload)))
	b = wire.IPv4{ID: s.ipID, TTL: defaultTTL, Protocol: protocol, Src: c.Addr.Addr(), Dst: dst}.Append(b, payload)
	n := s.neighbor(key{i, next})
	if n == nil {
		return ErrRoute
	}
	if n.known {
		copy(b, n.mac[:])
		return i.Send(b)
	}
	if len(n.queue) < maxQueued {
		n.queue = append(n.queue, b)
	}
	return s.ask(i, c, next, n)
}

// neighbor finds a neighbor, or makes room for a new one. The stack is locked.
func (s *Stack) neighbor(k key) *neighbor {
	now := s.k.Now()
	n := s.neighbors[k]
	if n != nil {
		if n.known && n.expire <= now {
			n.known = false
		}
		return n
	}
	if len(s.neighbors) >= maxNeighbors {
		for o, x := range s.neighbors {
			if !x.known && now-x.asked > askAgain || x.known && x.expire <= now {
				delete(s.neighbors, o)
			}
		}
		if len(s.neighbors) >= maxNeighbors {
			return nil
		}
	}
	n = &neighbor{asked: -askAgain}
	s.neighbors[k] = n
	return n
}

// ask asks for a neighbor's address, unless it was asked for just now.
func (s *Stack) ask(i *ifnet.Interface, c Config, addr netip.Addr, n *neighbor) error {
	now := s.k.Now()
	if now-n.asked < askAgain {
		return nil
	}
	err := s.arp(i, wire.ARP{Op: wire.ARPRequest, SenderMAC: i.MAC, SenderIP: c.Addr.Addr(), TargetIP: addr}, ifnet.Broadcast)
	if err == nil {
		n.asked = now
	}
	return err
}

func (*Stack) arp(i *ifnet.Interface, a wire.ARP, to ifnet.MAC) error {
	return i.Send(a.Append(wire.Ethernet{Dst: to, Src: i.MAC, Type: wire.TypeARP}.Append(make([]byte, 0, 60))))
}

// input takes a frame.
func (s *Stack) input(i *ifnet.Interface, frame []byte) {
	h, p, err := wire.ParseEthernet(frame)
	if err != nil || h.Dst != i.MAC && !ifnet.MAC(h.Dst).Multicast() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.config[i]
	if !ok {
		return
	}
	switch h.Type {
	case wire.TypeARP:
		s.inputARP(i, c, p)
	case wire.TypeIPv4:
		s.inputIPv4(i, c, h, p)
	default:
		s.stats.Others++
	}
}

// inputARP answers requests, and learns as RFC 826 says.
func (s *Stack) inputARP(i *ifnet.Interface, c Config, p []byte) {
	a, err := wire.ParseARP(p)
	if err != nil || ifnet.MAC(a.SenderMAC).Multicast() {
		s.stats.Bad++
		return
	}
	me := c.Addr.Addr()
	k := key{i, a.SenderIP}
	// Who asks for this host will soon send to it. Others' requests change only what is known already.
	if c.Addr.Contains(a.SenderIP) && a.SenderIP != me && (a.TargetIP == me || s.neighbors[k] != nil) {
		if n := s.neighbor(k); n != nil {
			n.mac, n.known, n.expire = a.SenderMAC, true, s.k.Now()+neighborLife
			for _, b := range n.queue {
				copy(b, n.mac[:])
				_ = i.Send(b) // the interface counts what it cannot send
			}
			n.queue = nil
		}
	}
	switch {
	case a.Op == wire.ARPRequest && a.TargetIP == me:
		s.stats.ARPRequests++
		_ = s.arp(i, wire.ARP{Op: wire.ARPReply, SenderMAC: i.MAC, SenderIP: me, TargetMAC: a.SenderMAC, TargetIP: a.SenderIP}, a.SenderMAC) // as above
	case a.Op == wire.ARPReply:
		s.stats.ARPReplies++
	}
}

func (s *Stack) inputIPv4(i *ifnet.Interface, c Config, e wire.Ethernet, p []byte) {
	h, p, err := wire.ParseIPv4(p)
	switch {
	case err != nil, ifnet.MAC(e.Src).Multicast(), h.Src.IsMulticast(), h.Src == c.Addr.Addr():
		s.stats.Bad++
		return
	case h.Dst != c.Addr.Addr():
		return // for all, or for a router
	case h.Fragment():
		s.stats.Fragments++
		return
	case h.Protocol != wire.ProtocolICMP:
		s.stats.Others++
		return
	}
	m, err := wire.ParseICMP(p)
	if err != nil {
		s.stats.Bad++
		return
	}
	switch {
	case m.Type == wire.ICMPEcho && m.Code == 0:
		s.stats.EchoRequests++
		m.Type = wire.ICMPEchoReply
		s.ipID++
		b := wire.Ethernet{Dst: e.Src, Src: i.MAC, Type: wire.TypeIPv4}.Append(make([]byte, 0, wire.EthernetLen+wire.IPv4Len+len(p)))
		b = wire.IPv4{ID: s.ipID, TTL: defaultTTL, Protocol: wire.ProtocolICMP, Src: h.Dst, Dst: h.Src}.Append(b, m.Append(nil))
		_ = i.Send(b) // the interface counts what it cannot send
	case m.Type == wire.ICMPEchoReply && m.Code == 0:
		s.stats.EchoReplies++
		s.answer(h, m)
	default:
		s.stats.Others++
	}
}
