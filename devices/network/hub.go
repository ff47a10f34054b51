package network

import (
	"fmt"
	"net"
	"slices"
	"sync"

	"dfemu/devices"
)

// Hubs are the hubs of a process, by name. The zero value is ready to use.
type Hubs struct {
	mu   sync.Mutex
	hubs map[string]*Hub
}

// Get returns the hub with a name, a new one if there is none.
func (h *Hubs) Get(name string) *Hub {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hubs == nil {
		h.hubs = map[string]*Hub{}
	}
	if h.hubs[name] == nil {
		h.hubs[name] = &Hub{name: name}
	}
	return h.hubs[name]
}

// A Hub is an Ethernet that remembers which member a station is at. A frame
// for a station not heard of goes to all members. The zero Hub has none.
type Hub struct {
	name string

	mu       sync.RWMutex
	members  []member // replaced, never changed in place
	stations map[[6]byte]member
}

// A member takes the frames of the others.
type member interface {
	// deliver takes frames from a goroutine that serves another member. It never
	// waits; the frames belong to the caller on return.
	deliver(frames []devices.Frame)
}

// maxStations bounds what a guest that invents addresses can fill.
const maxStations = 4096

func (h *Hub) join(m member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members = append(slices.Clone(h.members), m)
}

func (h *Hub) leave(m member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members = slices.DeleteFunc(slices.Clone(h.members), func(x member) bool { return x == m })
	for s, x := range h.stations {
		if x == m {
			delete(h.stations, s)
		}
	}
}

// forward carries frames from one member to the others, in runs with one
// destination.
func (h *Hub) forward(from member, frames []devices.Frame) {
	for len(frames) > 0 {
		to, ok := h.route(from, &frames[0])
		n := 1
		for n < len(frames) {
			t, k := h.route(from, &frames[n])
			if t != to || k != ok {
				break
			}
			n++
		}
		switch {
		case !ok: // too short to have addresses
		case to != nil:
			if to != from {
				to.deliver(frames[:n])
			}
		default:
			h.mu.RLock()
			l := h.members
			h.mu.RUnlock()
			for _, m := range l {
				if m != from {
					m.deliver(frames[:n])
				}
			}
		}
		frames = frames[n:]
	}
}

// route learns where a frame's sender is and returns where the receiver is, nil
// for everywhere.
func (h *Hub) route(from member, f *devices.Frame) (to member, ok bool) {
	var b [14]byte
	if f.CopyTo(b[:], 0) < len(b) {
		return nil, false
	}
	dst, src := [6]byte(b[:6]), [6]byte(b[6:12])
	h.mu.RLock()
	known := h.stations[src] == from
	if dst[0]&1 == 0 {
		to = h.stations[dst]
	}
	h.mu.RUnlock()
	if !known && src[0]&1 == 0 {
		h.mu.Lock()
		if h.stations == nil || len(h.stations) >= maxStations {
			h.stations = map[[6]byte]member{}
		}
		if slices.Contains(h.members, from) {
			h.stations[src] = from
		}
		h.mu.Unlock()
	}
	return to, true
}

// port is a network device's connection to a hub.
type port struct {
	inbox
	hub   *Hub
	close []func() error
}

// Port returns a new port of the hub. Closing it leaves the hub.
func (h *Hub) Port() devices.Network { return h.newPort() }

func (h *Hub) newPort() *port {
	p := &port{hub: h}
	p.init()
	return p
}

// Properties implements devices.Network.
func (p *port) Properties() devices.NetworkProperties {
	return devices.NetworkProperties{Kind: "hub " + p.hub.name, Takes: devices.OffloadsAll, Queues: 1, Link: true}
}

// Connect implements devices.Network.
func (p *port) Connect(to devices.FrameReceiver) {
	p.start(to)
	p.hub.join(p)
}

// Send implements devices.Network.
func (p *port) Send(_ int, frames []devices.Frame) { p.hub.forward(p, frames) }

// Close implements devices.Network.
func (p *port) Close() error {
	p.hub.leave(p)
	if !p.stop() {
		return nil
	}
	var err error
	for _, f := range p.close {
		if e := f(); err == nil {
			err = e
		}
	}
	return err
}

// openHub makes a port, and for it the sockets of the options.
func openHub(o Options, env Env) (devices.Network, error) {
	hubs := env.Hubs
	if hubs == nil {
		hubs = &Hubs{}
	}
	h := hubs.Get(cmpOr(o.Hub, "hub0"))
	p := h.newPort()
	add := func(c func() error, err error) error {
		if err == nil {
			p.close = append(p.close, c)
		}
		return err
	}
	var err error
	if o.Listen != "" {
		err = add(h.listen(o.Listen, env))
	}
	if o.Dial != "" && err == nil {
		err = add(h.dial(o.Dial, env))
	}
	if o.UDP != "" && err == nil {
		err = add(h.datagrams(o.UDP, o.UDPPeer, env))
	}
	if err != nil {
		for _, f := range p.close {
			f()
		}
		return nil, fmt.Errorf("hub %s: %w", h.name, err)
	}
	return p, nil
}

// listen lets other hubs connect. The result ends that.
func (h *Hub) listen(socket string, env Env) (func() error, error) {
	network, address, err := splitSocket("listen", socket)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	s := &trunks{}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.add(h, c, env)
		}
	}()
	return func() error {
		err := l.Close()
		s.close()
		return err
	}, nil
}

// dial connects to another hub.
func (h *Hub) dial(socket string, env Env) (func() error, error) {
	network, address, err := splitSocket("connect", socket)
	if err != nil {
		return nil, err
	}
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	s := &trunks{}
	s.add(h, c, env)
	return func() error { s.close(); return nil }, nil
}
