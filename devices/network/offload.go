package network

import (
	"encoding/binary"

	"dfemu/devices"
)

// maxFrame is the largest frame there is: Ethernet header, two tags, and an IP packet of
// 65535 bytes behind its own fixed header.
const maxFrame = 14 + 8 + 40 + 65535

// maxSegments bounds the work that one frame makes. A TCP of today has segments of
// 48 bytes at least, which makes 1366 of the longest packet.
const maxSegments = 2048

// A completer does in software what the next one on a frame's way cannot. It is
// used by one goroutine at a time.
type completer struct {
	buf     []byte // the frame in one piece
	headers []byte // of the segments
	frames  []devices.Frame
	pieces  [][]byte
}

// complete returns the frames that f becomes for someone who takes the given
// offloads: f itself if nothing is to be done, none if f makes no sense. They are valid
// until the next call and as long as f is.
func (c *completer) complete(f *devices.Frame, takes devices.Offloads) []devices.Frame {
	missing := f.Needs() &^ takes
	if missing == 0 {
		return append(c.frames[:0], *f)
	}
	n := f.Len()
	if n > maxFrame {
		return nil
	}
	// A copy, because guest memory must not change between the check and the use.
	if cap(c.buf) < n {
		c.buf = make([]byte, maxFrame)
	}
	b := c.buf[:n]
	if f.CopyTo(b, 0) != n {
		return nil
	}
	if missing&^devices.OffloadChecksum != 0 {
		return c.segment(b, f.Offload)
	}
	return c.sum(b, f.Offload)
}

// sum completes the checksum of a frame.
func (c *completer) sum(b []byte, o devices.Offload) []devices.Frame {
	start, field := int(o.ChecksumStart), int(o.ChecksumStart)+int(o.ChecksumOffset)
	if start > len(b) || field+2 > len(b) {
		return nil
	}
	v := ^devices.Fold(devices.Sum(0, b[start:]))
	if v == 0 {
		v = 0xffff // 0 means no checksum in UDP, and is the same value elsewhere
	}
	binary.BigEndian.PutUint16(b[field:], v)
	c.pieces = append(c.pieces[:0], b)
	c.frames = append(c.frames[:0], devices.Frame{Pieces: c.pieces[:1:1]})
	return c.frames
}

// layers is where the headers of an IP packet are in a frame.
type layers struct {
	ip, transport int
	v6            bool
	proto         uint8 // 6 or 17
	header        int   // bytes up to the payload
}

// etherType returns the type of a frame and where its payload starts, behind up
// to two tags.
func etherType(b []byte) (kind uint16, at int) {
	at = 12
	for range 3 {
		if len(b) < at+2 {
			return 0, len(b)
		}
		kind = binary.BigEndian.Uint16(b[at:])
		at += 2
		if kind != 0x8100 && kind != 0x88a8 {
			break
		}
		at += 2
	}
	return kind, at
}

// parse finds the headers of a frame that is to be segmented. The transport
// header is where the sender says.
func parse(b []byte, o devices.Offload) (l layers, ok bool) {
	kind, at := etherType(b)
	l.ip, l.transport = at, int(o.ChecksumStart)
	switch kind {
	case 0x0800:
		if len(b) < at+20 || b[at]>>4 != 4 {
			return l, false
		}
		n := 4 * int(b[at]&15)
		if n < 20 || at+n != l.transport {
			return l, false
		}
		l.proto = b[at+9]
	case 0x86dd:
		if len(b) < at+40 || b[at]>>4 != 6 || l.transport < at+40 {
			return l, false
		}
		l.v6 = true
		l.proto = 6
		if o.GSO == devices.GSOUDPL4 {
			l.proto = 17
		}
	default:
		return l, false
	}
	switch {
	case l.proto == 6 && len(b) >= l.transport+20:
		n := 4 * int(b[l.transport+12]>>4)
		l.header = l.transport + n
		return l, n >= 20 && l.header < len(b) && o.GSO&^devices.GSOECN == gsoOf(l.v6)
	case l.proto == 17 && len(b) > l.transport+8:
		l.header = l.transport + 8
		return l, o.GSO == devices.GSOUDPL4
	}
	return l, false
}

func gsoOf(v6 bool) uint8 {
	if v6 {
		return devices.GSOTCPv6
	}
	return devices.GSOTCPv4
}

const (
	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpCWR = 0x80
)

// segment cuts a frame into segments with complete checksums.
func (c *completer) segment(b []byte, o devices.Offload) []devices.Frame {
	l, ok := parse(b, o)
	size := int(o.SegmentSize)
	if !ok || size == 0 {
		return nil
	}
	payload := b[l.header:]
	count := (len(payload) + size - 1) / size
	if count > maxSegments {
		return nil
	}
	if need := count * l.header; cap(c.headers) < need {
		c.headers = make([]byte, need)
	}
	c.frames, c.pieces = c.frames[:0], c.pieces[:0]
	if cap(c.pieces) < 2*count {
		c.pieces = make([][]byte, 0, 2*count)
	}
	be := binary.BigEndian
	for i := range count {
		h := c.headers[i*l.header : (i+1)*l.header : (i+1)*l.header]
		copy(h, b)
		part := payload[i*size : min((i+1)*size, len(payload))]
		last := i == count-1
		t := h[l.transport:]
		if l.proto == 6 {
			be.PutUint32(t[4:], be.Uint32(t[4:])+uint32(i*size))
			if !last {
				t[13] &^= tcpFIN | tcpPSH
			}
			if i > 0 {
				t[13] &^= tcpCWR
			}
		} else {
			be.PutUint16(t[4:], uint16(8+len(part)))
		}
		if l.v6 {
			be.PutUint16(h[l.ip+4:], uint16(l.header-l.ip-40+len(part)))
		} else {
			be.PutUint16(h[l.ip+2:], uint16(l.header-l.ip+len(part)))
			be.PutUint16(h[l.ip+4:], be.Uint16(h[l.ip+4:])+uint16(i))
			sumIPv4(h[l.ip:l.transport])
		}
		sumTransport(h, part, l)
		k := len(c.pieces)
		c.pieces = append(c.pieces, h, part)
		c.frames = append(c.frames, devices.Frame{Pieces: c.pieces[k : k+2 : k+2]})
	}
	return c.frames
}

// sumIPv4 completes the checksum of an IPv4 header.
func sumIPv4(h []byte) {
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^devices.Fold(devices.Sum(0, h)))
}

// sumTransport completes the checksum of the TCP or UDP packet with the headers
// h and the given payload. Transport headers have even lengths.
func sumTransport(h, payload []byte, l layers) {
	field := l.transport + 16
	if l.proto == 17 {
		field = l.transport + 6
	}
	h[field], h[field+1] = 0, 0
	s := devices.Sum(0, pseudo(h, l))
	s += uint64(l.proto) + uint64(l.header-l.transport+len(payload))
	s = devices.Sum(devices.Sum(s, h[l.transport:]), payload)
	v := ^devices.Fold(s)
	if v == 0 && l.proto == 17 {
		v = 0xffff
	}
	binary.BigEndian.PutUint16(h[field:], v)
}

// pseudo is the addresses of a packet.
func pseudo(h []byte, l layers) []byte {
	if l.v6 {
		return h[l.ip+8 : l.ip+40]
	}
	return h[l.ip+12 : l.ip+20]
}
