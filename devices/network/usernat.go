package network

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	dialTimeout = 30 * time.Second
	udpIdle     = 60 * time.Second
	copyBuffer  = 256 << 10
)

// target is where the guest sent a packet.
func target(id stack.TransportEndpointID) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(id.LocalAddress.As4()), id.LocalPort)
}

// acceptTCP is called, on a goroutine of its own, for each connection that the guest
// begins. The guest sees it accepted when the host's side stands.
func (u *user) acceptTCP(r *tcp.ForwarderRequest) {
	done := make(chan struct{})
	ok := u.begin(func() {
		defer close(done)
		r.Complete(!u.connectTCP(r))
	})
	if ok {
		<-done
	} else {
		r.Complete(false)
	}
}

func (u *user) connectTCP(r *tcp.ForwarderRequest) bool {
	to, ok := u.outside(target(r.ID()))
	if !ok {
		return false
	}
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(u.ctx, "tcp", to)
	if err != nil {
		return false
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil {
		c.Close()
		return false
	}
	return u.splice(c.(*net.TCPConn), gonet.NewTCPConn(&wq, ep))
}

// half is a connection whose writing side can be closed by itself.
type half interface {
	net.Conn
	CloseWrite() error
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}

// splice passes data between two connections until both sides have ended.
func (u *user) splice(a, b half) bool {
	if !u.track(a) {
		b.Close()
		return false
	}
	if !u.track(b) {
		u.forget(a)
		return false
	}
	var both sync.WaitGroup
	both.Add(2)
	pump := func(to, from half) {
		defer both.Done()
		p := copyBuffers.Get().(*[]byte)
		defer copyBuffers.Put(p)
		for {
			n, err := from.Read(*p)
			if n > 0 {
				if _, e := to.Write((*p)[:n]); e != nil {
					err = e
				}
			}
			if err == io.EOF {
				if to.CloseWrite() == nil {
					return
				}
			}
			if err != nil {
				// One direction is broken: so is the connection.
				a.Close()
				b.Close()
				return
			}
		}
	}
	ok := u.begin(func() { pump(a, b) }) && u.begin(func() { pump(b, a) })
	if !ok {
		u.forget(a)
		u.forget(b)
		return false
	}
	return u.begin(func() {
		both.Wait()
		u.forget(a)
		u.forget(b)
	})
}

// acceptUDP is called for the first datagram of a flow.
func (u *user) acceptUDP(r *udp.ForwarderRequest) {
	to, ok := u.outside(target(r.ID()))
	if !ok || !u.takeFlow() {
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil {
		u.dropFlow()
		return
	}
	guest := gonet.NewUDPConn(&wq, ep)
	ok = u.begin(func() {
		defer u.dropFlow()
		host, err := net.Dial("udp", to)
		if err != nil {
			guest.Close()
			return
		}
		u.relay(guest, host)
	})
	if !ok {
		guest.Close()
		u.dropFlow()
	}
}

func (u *user) takeFlow() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.flows >= maxFlows {
		return false
	}
	u.flows++
	return true
}

func (u *user) dropFlow() {
	u.mu.Lock()
	u.flows--
	u.mu.Unlock()
}

// relay passes datagrams between two sockets until neither has seen one for a
// while.
func (u *user) relay(a, b net.Conn) {
	if !u.track(a) {
		b.Close()
		return
	}
	defer u.forget(a)
	if !u.track(b) {
		return
	}
	defer u.forget(b)
	idle := time.AfterFunc(udpIdle, func() { a.Close(); b.Close() })
	defer idle.Stop()
	pump := func(to, from net.Conn) {
		p := make([]byte, 65536)
		for {
			n, err := from.Read(p)
			if err != nil && !isRefused(err) {
				break
			}
			idle.Reset(udpIdle)
			if err == nil {
				to.Write(p[:n]) // a datagram that is not taken is lost
			}
		}
		a.Close()
		b.Close()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		pump(a, b)
	}()
	pump(b, a)
	<-done
}

// forward listens on the host for a port of the guest.
func (u *user) forward(f Forward) error {
	to := f.GuestAddr
	if !to.IsValid() {
		to = u.guest
	}
	guest := tcpip.FullAddress{NIC: userNIC, Addr: address(to), Port: f.GuestPort}
	if f.UDP {
		return u.forwardUDP(f, guest)
	}
	l, err := net.Listen("tcp", f.Host.String())
	if err != nil {
		return err
	}
	if !u.track(l) {
		return net.ErrClosed
	}
	u.begin(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			ok := u.begin(func() {
				g, err := gonet.DialContextTCP(u.ctx, u.stack, guest, ipv4.ProtocolNumber)
				if err != nil {
					c.Close()
					return
				}
				u.splice(c.(*net.TCPConn), g)
			})
			if !ok {
				c.Close()
			}
		}
	})
	return nil
}

// forwardUDP passes datagrams to a port of the host on to the guest, and its
// answers back.
func (u *user) forwardUDP(f Forward, guest tcpip.FullAddress) error {
	l, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(f.Host))
	if err != nil {
		return err
	}
	if !u.track(l) {
		return net.ErrClosed
	}
	u.begin(func() {
		var mu sync.Mutex
		peers := map[netip.AddrPort]*gonet.UDPConn{}
		p := make([]byte, 65536)
		for {
			n, from, err := l.ReadFromUDPAddrPort(p)
			if err != nil {
				return
			}
			mu.Lock()
			g := peers[from]
			mu.Unlock()
			if g == nil {
				if !u.takeFlow() {
					continue
				}
				if g, err = gonet.DialUDP(u.stack, &tcpip.FullAddress{NIC: userNIC, Addr: address(u.gateway)}, &guest, ipv4.ProtocolNumber); err != nil {
					u.dropFlow()
					continue
				}
				mu.Lock()
				peers[from] = g
				mu.Unlock()
				ok := u.begin(func() {
					defer u.dropFlow()
					u.answers(l, from, g)
					mu.Lock()
					delete(peers, from)
					mu.Unlock()
				})
				if !ok {
					g.Close()
					return
				}
			}
			g.Write(p[:n]) // a datagram that is not taken is lost
		}
	})
	return nil
}

// answers sends what comes from the guest back to a peer of the host.
func (u *user) answers(l *net.UDPConn, to netip.AddrPort, g net.Conn) {
	if !u.track(g) {
		return
	}
	defer u.forget(g)
	idle := time.AfterFunc(udpIdle, func() { g.Close() })
	defer idle.Stop()
	p := make([]byte, 65536)
	for {
		n, err := g.Read(p)
		if err != nil {
			return
		}
		idle.Reset(udpIdle)
		l.WriteToUDPAddrPort(p[:n], to)
	}
}
