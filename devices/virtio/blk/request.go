package blk

import (
	"encoding/binary"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

// A request is a chain, understood and checked against the layout of section
// 5.2.6; the range is not checked against the disk.
type request struct {
	kind   uint32
	sector uint64
	data   []virtio.Segment // to or from the guest, according to kind
	size   uint64           // bytes in data
	status uint64           // where in the device-writable part the status byte is
	other  uint64           // bytes of the chain that belong to nothing
	ranges []sectors        // of a discard or write-zeroes request
	flips  []uint64         // bits of the data that a fault inverts, ascending
}

// parse makes a request of a chain. An error means that there is no place for a
// status.
func parse(c *virtio.Chain) (request, error) {
	out, in := virtio.Total(c.Out), virtio.Total(c.In)
	if out < headerSize || in < 1 {
		return request{}, virtio.Rule("5.2.6", "request of %d and %d bytes: too few for a header and a status byte", out, in)
	}
	var h [headerSize]byte
	if err := c.Read(0, h[:]); err != nil {
		return request{}, virtio.Rule("5.2.6", "request header: %v", err)
	}
	r := request{
		kind:   binary.LittleEndian.Uint32(h[0:]),
		sector: binary.LittleEndian.Uint64(h[8:]),
		status: in - 1,
	}
	var err error
	if r.kind == typeIn || r.kind == typeGetID {
		r.size, r.other = in-1, out-headerSize
		r.data, err = virtio.Slice(c.In, 0, r.size)
	} else {
		r.size, r.other = out-headerSize, in-1
		r.data, err = virtio.Slice(c.Out, headerSize, r.size)
	}
	if err == nil && r.clears() {
		r.readRanges(c.Memory())
	}
	return r, err
}

// transfers tells whether the request reads or writes the disk; clears, whether it
// discards or zeroes ranges.
func (r *request) transfers() bool { return r.kind == typeIn || r.kind == typeOut }
func (r *request) clears() bool    { return r.kind == typeDiscard || r.kind == typeWriteZeroes }

// A sectors is one range to be discarded or zeroed.
type sectors struct {
	first uint64
	n     uint32
	flags uint32
}

// readRanges reads the ranges of a discard or write-zeroes request. There are none
// if the data is not a table of them.
func (r *request) readRanges(m devices.Memory) {
	r.ranges = nil
	if r.size == 0 || r.size%rangeSize != 0 || r.size > maxRanges*rangeSize {
		return
	}
	b := make([]byte, r.size)
	n := 0
	for _, s := range r.data {
		if m.Read(s.Addr, b[n:n+int(s.Len)]) != nil {
			return
		}
		n += int(s.Len)
	}
	devices.Flip(b, 0, r.flips)
	for ; len(b) > 0; b = b[rangeSize:] {
		r.ranges = append(r.ranges, sectors{
			binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]),
		})
	}
}

// span is the sectors from the first to the last that the request is about.
func (r *request) span() (first, n uint64) {
	switch {
	case r.transfers():
		return r.sector, r.size / sectorSize
	case len(r.ranges) == 0:
		return 0, 0
	}
	first, end := ^uint64(0), uint64(0)
	for _, s := range r.ranges {
		first, end = min(first, s.first), max(end, s.first+uint64(s.n))
	}
	if end < first {
		return 0, 0 // beyond all disks
	}
	return first, end - first
}
