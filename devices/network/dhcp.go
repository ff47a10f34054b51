package network

import (
	"encoding/binary"

	"dfemu/devices"
)

// The dynamic host configuration protocol (RFC 2131): there is one lease, which
// never ends in practice.

// DHCP message types (RFC 2132, section 9.6).
const (
	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpRequest  = 3
	dhcpAck      = 5
	dhcpNak      = 6
	dhcpInform   = 8
)

// Options.
const (
	optMask      = 1
	optRouter    = 3
	optDNS       = 6
	optHostName  = 12
	optMTU       = 26
	optRequested = 50
	optLease     = 51
	optType      = 53
	optServer    = 54
	optEnd       = 255
)

const (
	dhcpFixed = 236 // bytes before the cookie
	dhcpLease = 86400
)

var dhcpCookie = [4]byte{99, 130, 83, 99}

// A dhcpMessage is what is of interest in a client's message.
type dhcpMessage struct {
	kind      byte // 0: plain BOOTP
	xid       [4]byte
	flags     uint16
	client    [4]byte // ciaddr
	hardware  [16]byte
	requested [4]byte
	server    [4]byte
}

// parseDHCP reads a message from a client in an Ethernet frame. False means that the frame is
// something else.
func parseDHCP(b []byte) (m dhcpMessage, ok bool) {
	if len(b) < 14+20+8+dhcpFixed || binary.BigEndian.Uint16(b[12:]) != 0x0800 {
		return m, false
	}
	ip := b[14:]
	n := 4 * int(ip[0]&15)
	if ip[0]>>4 != 4 || n < 20 || ip[9] != 17 || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 || len(ip) < n+8+dhcpFixed {
		return m, false
	}
	u := ip[n:]
	if binary.BigEndian.Uint16(u) != 68 || binary.BigEndian.Uint16(u[2:]) != 67 {
		return m, false
	}
	p := u[8:]
	if p[0] != 1 || p[1] != 1 || p[2] != 6 { // a request over Ethernet
		return m, false
	}
	m.xid = [4]byte(p[4:])
	m.flags = binary.BigEndian.Uint16(p[10:])
	m.client = [4]byte(p[12:])
	m.hardware = [16]byte(p[28:])
	p = p[dhcpFixed:]
	if len(p) < 4 || [4]byte(p) != dhcpCookie {
		return m, true
	}
	for p = p[4:]; len(p) >= 1 && p[0] != optEnd; {
		if p[0] == 0 {
			p = p[1:]
			continue
		}
		if len(p) < 2 || len(p) < 2+int(p[1]) {
			break
		}
		v := p[2 : 2+p[1]]
		switch {
		case p[0] == optType && len(v) == 1:
			m.kind = v[0]
		case p[0] == optRequested && len(v) == 4:
			m.requested = [4]byte(v)
		case p[0] == optServer && len(v) == 4:
			m.server = [4]byte(v)
		}
		p = p[2+len(v):]
	}
	return m, true
}

// dhcp returns the answer to a client's message in a frame, as a frame, or nil if the frame is
// no such message or needs no answer.
func (u *user) dhcp(b []byte) []byte {
	m, ok := parseDHCP(b)
	if !ok {
		return nil
	}
	kind := byte(dhcpAck)
	yours := u.guest.As4()
	switch m.kind {
	case dhcpDiscover:
		kind = dhcpOffer
	case dhcpRequest:
		want := m.requested
		if want == [4]byte{} {
			want = m.client
		}
		if m.server != [4]byte{} && m.server != u.gateway.As4() {
			return nil // meant for another server
		}
		if want != yours {
			kind, yours = dhcpNak, [4]byte{}
		}
	case dhcpInform:
		yours = [4]byte{}
	case 0: // BOOTP
	default:
		return nil
	}
	return u.dhcpReply(&m, kind, yours)
}

func (u *user) dhcpReply(m *dhcpMessage, kind byte, yours [4]byte) []byte {
	p := make([]byte, dhcpFixed, 400)
	p[0], p[1], p[2] = 2, 1, 6
	copy(p[4:], m.xid[:])
	binary.BigEndian.PutUint16(p[10:], m.flags)
	copy(p[12:], m.client[:])
	copy(p[16:], yours[:])
	gw, dns := u.gateway.As4(), u.dns.As4()
	copy(p[20:], gw[:])
	copy(p[28:], m.hardware[:])
	p = append(p, dhcpCookie[:]...)
	opt := func(code byte, v ...byte) { p = append(append(p, code, byte(len(v))), v...) }
	if m.kind != 0 {
		opt(optType, kind)
		opt(optServer, gw[:]...)
	}
	if kind != dhcpNak {
		mask := ^uint32(0) << (32 - u.subnet.Bits())
		opt(optMask, binary.BigEndian.AppendUint32(nil, mask)...)
		opt(optRouter, gw[:]...)
		if u.server != "" {
			opt(optDNS, dns[:]...)
		}
		if u.o.HostName != "" {
			opt(optHostName, []byte(u.o.HostName)...)
		}
		if u.link != nil && u.link.mtu != 1500 {
			opt(optMTU, binary.BigEndian.AppendUint16(nil, uint16(u.link.mtu))...)
		}
		if m.kind != dhcpInform && m.kind != 0 {
			opt(optLease, binary.BigEndian.AppendUint32(nil, dhcpLease)...)
		}
	}
	p = append(p, optEnd)
	for len(p) < 300 { // the least that BOOTP clients take
		p = append(p, 0)
	}
	// Sent to the client's hardware address, or to all if it wants that or has no
	// address to be sent to (section 4.1).
	dst, to := [6]byte(m.hardware[:6]), yours
	switch {
	case kind == dhcpNak || m.flags&0x8000 != 0:
		dst, to = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, [4]byte{255, 255, 255, 255}
	case m.client != [4]byte{}:
		to = m.client
	}
	return udpFrame(dst, gatewayMAC, gw, to, 67, 68, p)
}

// udpFrame makes a UDP datagram in an Ethernet frame.
func udpFrame(dst, src [6]byte, from, to [4]byte, sport, dport uint16, payload []byte) []byte {
	b := make([]byte, 42, 42+len(payload))
	be := binary.BigEndian
	copy(b, dst[:])
	copy(b[6:], src[:])
	be.PutUint16(b[12:], 0x0800)
	b[14], b[22], b[23] = 0x45, 64, 17
	be.PutUint16(b[16:], uint16(28+len(payload)))
	copy(b[26:], from[:])
	copy(b[30:], to[:])
	sumIPv4(b[14:34])
	be.PutUint16(b[34:], sport)
	be.PutUint16(b[36:], dport)
	be.PutUint16(b[38:], uint16(8+len(payload)))
	sumTransport(b, payload, layers{ip: 14, transport: 34, proto: 17, header: 42})
	return append(b, payload...)
}

var _ devices.Network = (*user)(nil)
