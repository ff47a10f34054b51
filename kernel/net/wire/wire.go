package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Errors of parsing.
var (
	ErrShort    = errors.New("the packet is too short")
	ErrFormat   = errors.New("the header is none of the protocol's")
	ErrChecksum = errors.New("the checksum is wrong")
)

// Protocols that an Ethernet frame may carry.
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
)

// MAC is an Ethernet address.
type MAC = [6]byte

// EthernetLen is the length of an Ethernet header in bytes.
const EthernetLen = 14

// Ethernet is a frame's header.
type Ethernet struct {
	Dst, Src MAC
	Type     uint16
}

// ParseEthernet reads a frame. The payload may be longer than what it carries: short frames are padded.
func ParseEthernet(b []byte) (h Ethernet, payload []byte, err error) {
	if len(b) < EthernetLen {
		return h, nil, fmt.Errorf("ethernet: %w", ErrShort)
	}
	copy(h.Dst[:], b)
	copy(h.Src[:], b[6:])
	h.Type = binary.BigEndian.Uint16(b[12:])
	return h, b[EthernetLen:], nil
}

// Append appends the header to b.
func (h Ethernet) Append(b []byte) []byte {
	b = append(append(b, h.Dst[:]...), h.Src[:]...)
	return binary.BigEndian.AppendUint16(b, h.Type)
}

// Operations of ARP.
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ARP is a packet of ARP for IPv4 on Ethernet.
type ARP struct {
	Op                   uint16
	SenderMAC, TargetMAC MAC
	SenderIP, TargetIP   netip.Addr
}

const arpLen = 28

// ParseARP reads an ARP packet.
func ParseARP(b []byte) (a ARP, err error) {
	if len(b) < arpLen {
		return a, fmt.Errorf("arp: %w", ErrShort)
	}
	if binary.BigEndian.Uint16(b) != 1 || binary.BigEndian.Uint16(b[2:]) != TypeIPv4 || b[4] != 6 || b[5] != 4 {
		return a, fmt.Errorf("arp: %w: it is not about IPv4 on Ethernet", ErrFormat)
	}
	a.Op = binary.BigEndian.Uint16(b[6:])
	copy(a.SenderMAC[:], b[8:])
	a.SenderIP = netip.AddrFrom4([4]byte(b[14:18]))
	copy(a.TargetMAC[:], b[18:])
	a.TargetIP = netip.AddrFrom4([4]byte(b[24:28]))
	return a, nil
}

// Append appends the packet to b. Both protocol addresses must be IPv4.
func (a ARP) Append(b []byte) []byte {
	b = append(b, 0, 1, TypeIPv4>>8, TypeIPv4&0xff, 6, 4)
	b = binary.BigEndian.AppendUint16(b, a.Op)
	s, t := a.SenderIP.As4(), a.TargetIP.As4()
	b = append(append(b, a.SenderMAC[:]...), s[:]...)
	return append(append(b, a.TargetMAC[:]...), t[:]...)
}

// IPv4Len is the length of an IPv4 header without options in bytes.
const IPv4Len = 20

// ProtocolICMP is ICMP's number in IPv4.
const ProtocolICMP = 1

// IPv4 is the header of a packet.
type IPv4 struct {
	ID       uint16
	TTL      uint8
	Protocol uint8
	Src, Dst netip.Addr
	// DontFragment, MoreFragments and Offset (in bytes) are about fragments.
	DontFragment, MoreFragments bool
	Offset                      int
}

// Fragment tells whether the packet is a part of one.
func (h IPv4) Fragment() bool { return h.MoreFragments || h.Offset != 0 }

// ParseIPv4 reads a packet; the payload is what its length says, without padding. Options are passed over.
func ParseIPv4(b []byte) (h IPv4, payload []byte, err error) {
	if len(b) < IPv4Len {
		return h, nil, fmt.Errorf("ipv4: %w", ErrShort)
	}
	n, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case b[0]>>4 != 4 || n < IPv4Len:
		return h, nil, fmt.Errorf("ipv4: %w", ErrFormat)
	case total < n || total > len(b):
		return h, nil, fmt.Errorf("ipv4: %w", ErrShort)
	case Checksum(b[:n]) != 0:
		return h, nil, fmt.Errorf("ipv4: %w", ErrChecksum)
	}
	frag := binary.BigEndian.Uint16(b[6:])
	h = IPv4{
		ID: binary.BigEndian.Uint16(b[4:]), TTL: b[8], Protocol: b[9],
		Src: netip.AddrFrom4([4]byte(b[12:16])), Dst: netip.AddrFrom4([4]byte(b[16:20])),
		DontFragment: frag>>14&1 != 0, MoreFragments: frag>>13&1 != 0, Offset: int(frag&0x1fff) * 8,
	}
	return h, b[n:total], nil
}

// Append appends header and payload to b. Both addresses must be IPv4, and the payload at most 65515 bytes.
func (h IPv4) Append(b, payload []byte) []byte {
	at := len(b)
	frag := uint16(h.Offset / 8)
	if h.DontFragment {
		frag |= 1 << 14
	}
	if h.MoreFragments {
		frag |= 1 << 13
	}
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(IPv4Len+len(payload)))
	b = binary.BigEndian.AppendUint16(b, h.ID)
	b = binary.BigEndian.AppendUint16(b, frag)
	b = append(b, h.TTL, h.Protocol, 0, 0)
	s, d := h.Src.As4(), h.Dst.As4()
	b = append(append(b, s[:]...), d[:]...)
	binary.BigEndian.PutUint16(b[at+10:], Checksum(b[at:at+IPv4Len]))
	return append(b, payload...)
}

// Types of ICMP messages.
const (
	ICMPEchoReply    = 0
	ICMPUnreachable  = 3
	ICMPEcho         = 8
	ICMPTimeExceeded = 11
)

// ICMP is a message. ID and Seq are those of echoes.
type ICMP struct {
	Type, Code uint8
	ID, Seq    uint16
	Data       []byte
}

const icmpLen = 8

// ParseICMP reads a message. Its data are b's.
func ParseICMP(b []byte) (m ICMP, err error) {
	switch {
	case len(b) < icmpLen:
		return m, fmt.Errorf("icmp: %w", ErrShort)
	case Checksum(b) != 0:
		return m, fmt.Errorf("icmp: %w", ErrChecksum)
	}
	return ICMP{Type: b[0], Code: b[1], ID: binary.BigEndian.Uint16(b[4:]), Seq: binary.BigEndian.Uint16(b[6:]), Data: b[icmpLen:]}, nil
}

// Append appends the message to b.
func (m ICMP) Append(b []byte) []byte {
	at := len(b)
	b = append(b, m.Type, m.Code, 0, 0)
	b = binary.BigEndian.AppendUint16(b, m.ID)
	b = binary.BigEndian.AppendUint16(b, m.Seq)
	b = append(b, m.Data...)
	binary.BigEndian.PutUint16(b[at+2:], Checksum(b[at:]))
	return b
}

// Checksum is the Internet checksum of b (RFC 1071); it is 0 of what contains its right checksum.
func Checksum(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) >= 2; b = b[2:] {
		if sum += uint32(b[0])<<8 | uint32(b[1]); sum>>31 != 0 {
			sum = sum&0xffff + sum>>16
		}
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
