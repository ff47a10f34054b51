package e1000e

import (
	"encoding/binary"

	"dfemu/devices"
)

// filter is a snapshot of the address and VLAN tables (section 7.1.1).
type filter struct {
	addrs  [16][6]byte
	valid  uint16
	groups [128]uint32
	vlans  [128]uint32
	key    [10]uint32
	table  [32]uint32
	fields uint32 // of MRQC
}

// snapshot copies the tables. The caller holds mu.
func (f *filter) snapshot(d *Device) {
	copy(f.groups[:], d.mem[0x5200/4:])
	copy(f.vlans[:], d.mem[0x5600/4:])
	copy(f.key[:], d.mem[0x5c80/4:])
	copy(f.table[:], d.mem[0x5c00/4:])
	f.fields = d.get(0x5818) >> 16
	f.valid = 0
	for i := range f.addrs {
		lo, hi := d.get(0x5400+8*i), d.get(0x5404+8*i)
		if hi>>31 != 0 {
			f.valid |= 1 << i
			binary.LittleEndian.PutUint32(f.addrs[i][:], lo)
			binary.LittleEndian.PutUint16(f.addrs[i][4:], uint16(hi))
		}
	}
}

// pass tells whether the driver wants a packet.
func (f *filter) pass(b []byte, c *setup) bool {
	if c.rctl&rctlVFE != 0 && binary.BigEndian.Uint16(b[12:]) == c.vet {
		tag := uint32(binary.BigEndian.Uint16(b[14:]))
		id := tag & 0xfff
		if f.vlans[id>>5]>>(id&31)&1 == 0 {
			return false
		}
		if c.rctl&rctlCFIEN != 0 && tag>>12&1 != c.rctl/rctlCFI&1 {
			return false
		}
	}
	dst := [6]byte(b)
	if dst == broadcast {
		return c.rctl&rctlBAM != 0 || c.rctl&rctlMPE != 0
	}
	if dst[0]&1 == 0 && c.rctl&rctlUPE != 0 || dst[0]&1 != 0 && c.rctl&rctlMPE != 0 {
		return true
	}
	for i, a := range f.addrs {
		if f.valid>>i&1 != 0 && a == dst {
			return true
		}
	}
	if dst[0]&1 == 0 {
		return false
	}
	shift := [...]uint{4, 3, 2, 0}[c.rctl>>12&3]
	h := (uint32(dst[5])<<8 | uint32(dst[4])) >> shift & 0xfff
	return f.groups[h>>5]>>(h&31)&1 != 0
}

// headers is where a packet's headers are.
type headers struct {
	ip, transport int // 0 if there is none
	v6, fragment  bool
	proto         uint8
	end           int // of the IP packet
}

// dissect finds the headers of a packet.
func dissect(b []byte) headers {
	var h headers
	at := 12
	for range 2 {
		if len(b) >= at+4 && (b[at] == 0x81 && b[at+1] == 0 || b[at] == 0x88 && b[at+1] == 0xa8) {
			at += 4
		}
	}
	if len(b) < at+2 {
		return h
	}
	kind := binary.BigEndian.Uint16(b[at:])
	at += 2
	p := b[at:]
	switch {
	case kind == 0x0800 && len(p) >= 20 && p[0]>>4 == 4:
		n, total := 4*int(p[0]&15), int(binary.BigEndian.Uint16(p[2:]))
		if n < 20 || total < n || total > len(p) {
			return h
		}
		h.ip, h.end, h.proto = at, at+total, p[9]
		h.fragment = binary.BigEndian.Uint16(p[6:])&0x3fff != 0
		h.transport = at + n
	case kind == 0x86dd && len(p) >= 40 && p[0]>>4 == 6:
		total := 40 + int(binary.BigEndian.Uint16(p[4:]))
		if total > len(p) {
			return h
		}
		h.ip, h.end, h.proto, h.v6 = at, at+total, p[6], true
		h.transport = at + 40
	}
	return h
}

// examine checks a packet's checksums and chooses its queue (sections 7.1.10
// and 7.1.8).
func (d *Device) examine(c *setup, b []byte, f *devices.Frame, i *rxInfo) {
	h := dissect(b)
	if c.rxcsum&rxcsumPCSD == 0 {
		if s := int(c.rxcsum & 0xff); s < len(b) {
			i.sum = devices.Fold(devices.Sum(0, b[s:]))
		}
	}
	if h.ip == 0 {
		i.status |= rxIXSM
	} else {
		checks(c, b, h, f.Flags&devices.FlagDataValid != 0, i)
	}
	i.hashed = c.rxcsum&rxcsumPCSD != 0
	if c.hash {
		i.rssType, i.rssHash = c.filter.hash(b, h)
		if i.rssType != 0 && c.spread {
			e := c.filter.table[i.rssHash&0x7f>>2] >> (8 * (i.rssHash & 3))
			i.queue = int(e >> 7 & 1)
		}
	}
}

// checks verifies the checksums of an IP packet.
func checks(c *setup, b []byte, h headers, known bool, i *rxInfo) {
	if !h.v6 {
		i.ipID = binary.BigEndian.Uint16(b[h.ip+4:])
		i.status |= rxIPIDV
		if c.rxcsum&rxcsumIPOFL != 0 {
			i.status |= rxIPCS
			if devices.Fold(devices.Sum(0, b[h.ip:h.transport])) != 0xffff {
				i.errors |= rxIPE
			}
		}
	}
	if c.rxcsum&rxcsumTUOFL == 0 || h.fragment {
		return
	}
	n := h.end - h.transport
	switch {
	case h.proto == 6 && n >= 20:
		i.status |= rxTCPCS
	case h.proto == 17 && n >= 8:
		if b[h.transport+6] == 0 && b[h.transport+7] == 0 {
			return // sent without a checksum
		}
		i.status |= rxUDPCS | rxTCPCS | rxUDPV
	default:
		return
	}
	if known {
		return
	}
	pseudo := b[h.ip+12 : h.ip+20]
	if h.v6 {
		pseudo = b[h.ip+8 : h.ip+40]
	}
	s := devices.Sum(uint64(h.proto)+uint64(n), pseudo)
	if devices.Fold(devices.Sum(s, b[h.transport:h.end])) != 0xffff {
		i.errors |= rxTCPE
	}
}

// Kinds of RSS hashes, and the bits of MRQC that turn them on.
const (
	rssTCPv4 = 1
	rssIPv4  = 2
	rssTCPv6 = 3
	rssIPv6  = 5

	mrqcTCPv4 = 1 << 0
	mrqcIPv4  = 1 << 1
	mrqcTCPv6 = 1 << 2
	mrqcIPv6X = 1 << 3
	mrqcIPv6  = 1 << 4
)

// hash is the receive-side scaling hash of a packet, kind 0 if it has none.
func (f *filter) hash(b []byte, h headers) (kind uint8, v uint32) {
	if h.ip == 0 {
		return 0, 0
	}
	tcp := h.proto == 6 && !h.fragment && h.end-h.transport >= 20
	var in [36]byte
	n := 0
	if h.v6 {
		n = copy(in[:], b[h.ip+8:h.ip+40])
	} else {
		n = copy(in[:], b[h.ip+12:h.ip+20])
	}
	switch {
	case !h.v6 && tcp && f.fields&mrqcTCPv4 != 0:
		kind = rssTCPv4
	case !h.v6 && f.fields&mrqcIPv4 != 0:
		kind = rssIPv4
	case h.v6 && tcp && f.fields&mrqcTCPv6 != 0:
		kind = rssTCPv6
	case h.v6 && f.fields&(mrqcIPv6|mrqcIPv6X) != 0:
		kind = rssIPv6
	default:
		return 0, 0
	}
	if kind == rssTCPv4 || kind == rssTCPv6 {
		n += copy(in[n:], b[h.transport:h.transport+4])
	}
	return kind, toeplitz(&f.key, in[:n])
}

// toeplitz is the hash function of receive-side scaling (section 7.1.8.2). The
// key's bytes are in the registers from the lowest on.
func toeplitz(key *[10]uint32, in []byte) uint32 {
	var k [44]byte
	for i, w := range key {
		binary.LittleEndian.PutUint32(k[4*i:], w)
	}
	var v uint32
	window := uint64(binary.BigEndian.Uint32(k[:]))<<32 | uint64(binary.BigEndian.Uint32(k[4:]))
	for i, b := range in {
		for bit := range 8 {
			if b>>(7-bit)&1 != 0 {
				v ^= uint32(window >> 32)
			}
			window <<= 1
		}
		if i+8 < len(k) {
			window |= uint64(k[i+8])
		}
	}
	return v
}
