package e1000e

import (
	"encoding/binary"
	"errors"
	"fmt"

	"dfemu/devices"
)

// packet is a frame on its way out. Its first bytes are copied before they are
// changed: guest memory stays as it is.
type packet struct {
	f    *devices.Frame
	head []byte // a copy of the first bytes, or nil
	size int
}

// own copies the first n bytes, if that has not happened yet.
func (p *packet) own(n int) bool {
	if p.head != nil {
		return len(p.head) >= n
	}
	if n > p.size {
		return false
	}
	// Room for a tag and for padding.
	p.head = make([]byte, n, max(n+4, 64))
	return p.f.CopyTo(p.head, 0) == n
}

// finish puts the copy in front of what is left of the pieces.
func (p *packet) finish() {
	if p.head == nil {
		return
	}
	skip := p.skip()
	l := make([][]byte, 1, len(p.f.Pieces)+1)
	l[0] = p.head
	for _, b := range p.f.Pieces {
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		l = append(l, b[skip:])
		skip = 0
	}
	p.f.Pieces = l
}

// skip is how many bytes of the pieces the copy stands for.
func (p *packet) skip() int {
	total := p.f.Len()
	return total - (p.size - len(p.head))
}

// pad makes the packet as long as the shortest on the wire.
func (p *packet) pad() {
	if p.head == nil || len(p.head) != p.size {
		b := make([]byte, p.size, 64)
		if p.head != nil {
			n := copy(b, p.head)
			p.f.CopyTo(b[n:], p.skip())
		} else {
			p.f.CopyTo(b, 0)
		}
		p.head = b
	}
	p.head = append(p.head, make([]byte, 60-p.size)...)
	p.f.Pieces = nil
	p.size = 60
}

// tag inserts a VLAN tag.
func (p *packet) tag(vet, vlan uint16) {
	if !p.own(minFrame) {
		return
	}
	p.head = append(p.head, 0, 0, 0, 0)
	copy(p.head[16:], p.head[12:len(p.head)-4])
	binary.BigEndian.PutUint16(p.head[12:], vet)
	binary.BigEndian.PutUint16(p.head[14:], vlan)
	p.size += 4
	o := &p.f.Offload
	if o.Flags&devices.FlagNeedsChecksum != 0 {
		o.ChecksumStart += 4
	}
	if o.HeaderLen != 0 {
		o.HeaderLen += 4
	}
}

// offload does what the descriptors ask for, or has the back end do it.
func (p *packet) offload(st *txState) error {
	if st.Legacy {
		if st.Cmd&cmdIC == 0 {
			return nil
		}
		return p.checksum(int(st.CSS), int(st.CSO), 0)
	}
	c := &st.Context
	if st.Cmd&cmdTSE != 0 {
		return p.segment(c)
	}
	if st.Popts&poptsIXSM != 0 {
		if err := p.ipChecksum(c); err != nil {
			return err
		}
	}
	if st.Popts&poptsTXSM != 0 {
		return p.checksum(int(c.TUCSS), int(c.TUCSO), int(c.TUCSE))
	}
	return nil
}

var errOutside = errors.New("a checksum's bytes are outside the packet")

// checksum has the sum of the bytes from start to end (inclusive; 0 means the packet's
// end) stored at field. What is there counts: the driver puts the pseudo-header's sum there.
func (p *packet) checksum(start, field, end int) error {
	if start >= p.size || field+2 > p.size || end != 0 && end < start {
		return fmt.Errorf("%w: from %d, stored at %d, in %d bytes", errOutside, start, field, p.size)
	}
	if (end == 0 || end >= p.size-1) && field >= start {
		p.f.Flags |= devices.FlagNeedsChecksum
		p.f.ChecksumStart, p.f.ChecksumOffset = uint16(start), uint16(field-start)
		return nil
	}
	// What no back end knows is done here.
	whole := p.head
	if len(whole) != p.size {
		b := make([]byte, p.size, p.size+64)
		n := copy(b, p.head)
		p.f.CopyTo(b[n:], p.skipNow())
		whole = b
	}
	if end == 0 || end >= p.size {
		end = p.size - 1
	}
	binary.BigEndian.PutUint16(whole[field:], ^devices.Fold(devices.Sum(0, whole[start:end+1])))
	p.head = whole
	return nil
}

// skipNow is skip while there may be no copy yet.
func (p *packet) skipNow() int {
	if p.head == nil {
		return 0
	}
	return p.skip()
}

// ipChecksum stores the checksum of the IPv4 header.
func (p *packet) ipChecksum(c *contextDesc) error {
	start, field, end := int(c.IPCSS), int(c.IPCSO), int(c.IPCSE)+1
	if end == 1 {
		end = p.size
	}
	if start >= end || field+2 > end || end > min(p.size, maxTransmit) {
		return fmt.Errorf("IP header: %w: %d to %d, stored at %d, in %d bytes", errOutside, start, end-1, field, p.size)
	}
	if !p.own(end) {
		return errOutside
	}
	binary.BigEndian.PutUint16(p.head[field:], ^devices.Fold(devices.Sum(0, p.head[start:end])))
	return nil
}

// segment prepares the packet for being cut into segments (section 7.3). The
// driver left lengths and the length's part of the pseudo-header out.
func (p *packet) segment(c *contextDesc) error {
	ip, tcp, field, header := int(c.IPCSS), int(c.TUCSS), int(c.TUCSO), int(c.HeaderLen)
	v4 := c.Cmd&tuIP != 0
	ipLen := 40
	if v4 {
		ipLen = 20
	}
	switch {
	case c.Cmd&tuTCP == 0:
		return errors.New("segmentation of UDP, which is not possible here")
	case c.MSS == 0 || header == 0 || header > p.size:
		return fmt.Errorf("segments of %d bytes with headers of %d in a packet of %d", c.MSS, header, p.size)
	case ip < minFrame || ip+ipLen > tcp || field != tcp+16 || tcp+20 > header:
		return fmt.Errorf("headers at %d and %d with the checksum at %d, %d bytes in all: that is no TCP", ip, tcp, field, header)
	case p.size-ip > 65535+40:
		return fmt.Errorf("a packet of %d bytes to be segmented", p.size)
	case !p.own(header):
		return errOutside
	}
	be := binary.BigEndian
	h := p.head
	o := &p.f.Offload
	if v4 {
		if p.size-ip > 65535 {
			return fmt.Errorf("an IPv4 packet of %d bytes", p.size-ip)
		}
		be.PutUint16(h[ip+2:], uint16(p.size-ip))
		f := int(c.IPCSO)
		if f+2 > header {
			return errOutside
		}
		h[f], h[f+1] = 0, 0
		be.PutUint16(h[f:], ^devices.Fold(devices.Sum(0, h[ip:tcp])))
		o.GSO = devices.GSOTCPv4
	} else {
		be.PutUint16(h[ip+4:], uint16(min(p.size-ip-40, 65535)))
		o.GSO = devices.GSOTCPv6
	}
	be.PutUint16(h[field:], devices.Fold(uint64(be.Uint16(h[field:]))+uint64(p.size-tcp)))
	o.Flags = devices.FlagNeedsChecksum
	o.HeaderLen, o.SegmentSize = uint16(header), c.MSS
	o.ChecksumStart, o.ChecksumOffset = uint16(tcp), 16
	if p.size-header <= int(c.MSS) {
		o.GSO, o.SegmentSize, o.HeaderLen = 0, 0, 0 // a single segment
	}
	return nil
}
