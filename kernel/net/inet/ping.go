package inet

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/net/ifnet"
	"dfemu/kernel/net/wire"
)

// Reply is the answer to an echo request.
type Reply struct {
	Seq  uint16
	Size int // of the data, in bytes
	TTL  uint8
	Time time.Duration
}

// echo is a request that waits for its reply.
type echo struct {
	dst   netip.Addr
	data  []byte
	sent  time.Duration
	reply Reply
	wrong bool // the reply has other data
	done  *kern.Event
}

// MaxEcho is the most data of an echo request on an interface.
func MaxEcho(i *ifnet.Interface) int { return i.MTU - wire.IPv4Len - 8 }

// Pinger sends echo requests to an address.
type Pinger struct {
	s   *Stack
	dst netip.Addr
	id  uint16
	seq uint16
}

// Pinger returns one for an address.
func (s *Stack) Pinger(dst netip.Addr) (*Pinger, error) {
	if !dst.Is4() || dst.IsMulticast() || dst.IsUnspecified() {
		return nil, fmt.Errorf("%v: %w", dst, ErrAddress)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	return &Pinger{s: s, dst: dst, id: s.nextID}, nil
}

// Ping sends a request with size bytes of data and waits for its reply, or a timeout. The reply to an own address is no packet.
func (p *Pinger) Ping(size int, timeout time.Duration) (Reply, error) {
	s := p.s
	if size < 0 || size > ifnet.MaxMTU {
		return Reply{}, ifnet.ErrSize
	}
	seq := p.seq
	p.seq++
	e := &echo{dst: p.dst, data: make([]byte, size), done: s.k.NewEvent(), reply: Reply{Seq: seq, Size: size}}
	for i := range e.data {
		e.data[i] = byte(i + int(seq))
	}
	id := uint32(p.id)<<16 | uint32(seq)
	s.mu.Lock()
	for _, c := range s.config {
		if c.Addr.Addr() == p.dst {
			s.mu.Unlock()
			e.reply.TTL = defaultTTL
			return e.reply, nil
		}
	}
	e.sent = s.k.Now()
	s.waiting[id] = e
	err := s.send(p.dst, wire.ProtocolICMP, wire.ICMP{Type: wire.ICMPEcho, ID: p.id, Seq: seq, Data: e.data}.Append(nil))
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
	}()
	if err != nil {
		return Reply{}, err
	}
	for end := e.sent + timeout; !e.done.Wait(min(askAgain, max(end-s.k.Now(), 0))); {
		if s.k.Now() >= end {
			return Reply{}, ErrTimeout
		}
		s.mu.Lock()
		if i, c, next, err := s.route(p.dst); err == nil {
			if n := s.neighbors[key{i, next}]; n != nil && !n.known {
				_ = s.ask(i, c, next, n) // the time-out tells
			}
		}
		s.mu.Unlock()
	}
	if e.wrong {
		return e.reply, fmt.Errorf("the reply's data are not those that were sent")
	}
	return e.reply, nil
}

// answer gives a reply to whom it is for. The stack is locked.
func (s *Stack) answer(h wire.IPv4, m wire.ICMP) {
	e := s.waiting[uint32(m.ID)<<16|uint32(m.Seq)]
	if e == nil || e.dst != h.Src || e.done.Happened() {
		return
	}
	e.reply.Size, e.reply.TTL, e.reply.Time = len(m.Data), h.TTL, s.k.Now()-e.sent
	e.wrong = !bytes.Equal(m.Data, e.data)
	e.done.Set()
}
