package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"dfemu/devices"
)

// user is a network behind NAT: the guest's packets end in a TCP/IP stack of this process,
// and go on as the process's own connections. It is IPv4 only. In a network A/N the
// gateway (which stands for the host) is A+2, the name server A+3, the guest A+15.
type user struct {
	inbox
	o       Options
	env     Env
	stack   *stack.Stack
	link    *link
	gateway netip.Addr
	dns     netip.Addr
	guest   netip.Addr
	subnet  netip.Prefix
	server  string // that names are asked of

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.Mutex
	conns  map[io.Closer]struct{}
	gone   bool
	flows  int // of UDP
	work   sync.WaitGroup
}

const (
	userNIC = 1
	// maxFlows bounds what a guest can have this process open at a time.
	maxFlows    = 512
	maxPending  = 256
	maxTCPConns = 2048
)

// gatewayMAC is the gateway's and the name server's.
var gatewayMAC = [6]byte{0x52, 0x55, 0x0a, 0x00, 0x02, 0x02}

// OpenUser makes a network behind NAT.
func OpenUser(o Options, env Env) (devices.Network, error) {
	u := &user{o: o, env: env, conns: map[io.Closer]struct{}{}, server: o.DNSServer}
	u.inbox.init()
	u.ctx, u.cancel = context.WithCancel(context.Background())
	u.subnet = o.Network.Masked()
	if !o.Network.IsValid() {
		u.subnet = netip.MustParsePrefix("10.0.2.0/24")
	}
	base := u.subnet.Addr().As4()
	host := func(n byte) netip.Addr { a := base; a[3] += n; return netip.AddrFrom4(a) }
	// The smallest network has 16 addresses, the last one for broadcasts.
	u.gateway, u.dns, u.guest = host(2), host(3), host(15)
	if u.subnet.Bits() == 28 {
		u.guest = host(14)
	}
	if u.server == "" {
		u.server = hostResolver("/etc/resolv.conf")
	}
	if err := u.makeStack(); err != nil {
		u.Close()
		return nil, fmt.Errorf("user network: %s", err)
	}
	for _, f := range o.Forwards {
		if err := u.forward(f); err != nil {
			u.Close()
			return nil, fmt.Errorf("hostfwd=%s: %w", f, err)
		}
	}
	return u, nil
}

// hostResolver returns the first name server of the host, or "".
func hostResolver(file string) string {
	p, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(p)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			return netip.AddrPortFrom(a, 53).String()
		}
	}
	return ""
}

func address(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

// stackError makes an error of one of the stack's.
func stackError(what string, err tcpip.Error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s", what, err)
}

func (u *user) makeStack() error {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
		HandleLocal:        false,
	})
	u.stack = s
	u.link = &link{u: u, mtu: 1500}
	if u.o.MTU != 0 {
		u.link.mtu = u.o.MTU
	}
	sack := tcpip.TCPSACKEnabled(true)
	rcv := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 1 << 20, Max: 8 << 20}
	snd := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 1 << 20, Max: 8 << 20}
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &rcv, &snd, &moderate} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return stackError("TCP", err)
		}
	}
	if err := s.CreateNIC(userNIC, u.link); err != nil {
		return stackError("interface", err)
	}
	for _, a := range []netip.Addr{u.gateway, u.dns} {
		pa := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: address(a), PrefixLen: u.subnet.Bits()}}
		if err := s.AddProtocolAddress(userNIC, pa, stack.AddressProperties{}); err != nil {
			return stackError("address", err)
		}
	}
	// Packets to any address are for this stack, and it answers from any.
	if err := s.SetPromiscuousMode(userNIC, true); err != nil {
		return stackError("interface", err)
	}
	if err := s.SetSpoofing(userNIC, true); err != nil {
		return stackError("interface", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: userNIC}})
	t := tcp.NewForwarder(s, 1<<20, maxPending, u.acceptTCP)
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, t.HandlePacket)
	f := udp.NewForwarder(s, u.acceptUDP)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, f.HandlePacket)
	return nil
}

// Properties implements devices.Network.
func (u *user) Properties() devices.NetworkProperties {
	return devices.NetworkProperties{Kind: "user " + u.subnet.String(), Takes: devices.OffloadsAll, Queues: 1, MTU: u.link.mtu, Link: true}
}

// Connect implements devices.Network.
func (u *user) Connect(to devices.FrameReceiver) { u.start(to) }

// Send implements devices.Network.
func (u *user) Send(_ int, frames []devices.Frame) {
	for i := range frames {
		u.link.input(&frames[i])
	}
}

// Close implements devices.Network.
func (u *user) Close() error {
	u.cancel()
	u.mu.Lock()
	u.gone = true
	for c := range u.conns {
		c.Close()
	}
	u.mu.Unlock()
	if u.stop() && u.stack != nil {
		u.work.Wait()
		u.stack.Destroy()
	}
	return nil
}

// track notes a connection, which Close ends. False means that this has happened.
func (u *user) track(c io.Closer) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.gone || len(u.conns) >= 2*maxTCPConns {
		c.Close()
		return false
	}
	u.conns[c] = struct{}{}
	return true
}

func (u *user) forget(c io.Closer) {
	u.mu.Lock()
	delete(u.conns, c)
	u.mu.Unlock()
	c.Close()
}

// begin counts a goroutine of the network, which f is run on. False means that the network
// is closed.
func (u *user) begin(f func()) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.gone {
		return false
	}
	u.work.Add(1)
	go func() {
		defer u.work.Done()
		f()
	}()
	return true
}

// outside is where a packet of the guest to an address and port goes on the host's side.
// False means that it goes nowhere.
func (u *user) outside(to netip.AddrPort) (string, bool) {
	a := to.Addr()
	switch {
	case a == u.dns:
		return u.server, to.Port() == 53 && u.server != ""
	case u.o.Isolated:
		return "", false
	case a == u.gateway:
		return net.JoinHostPort("127.0.0.1", fmt.Sprint(to.Port())), true
	case u.subnet.Contains(a) || a.IsMulticast() || a.IsUnspecified() || a.IsLoopback() || a.As4() == [4]byte{255, 255, 255, 255}:
		return "", false
	}
	return to.String(), true
}
