package blk

import (
	"encoding/binary"
	"errors"
	"fmt"

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
}

var errNoStatus = errors.New("request without a header and a status byte")

// parse makes a request of a chain. An error means that there is no place for a
// status.
func parse(c *virtio.Chain) (request, error) {
	out, in := virtio.Total(c.Out), virtio.Total(c.In)
	if out < headerSize || in < 1 {
		return request{}, errNoStatus
	}
	var h [headerSize]byte
	if err := c.Read(0, h[:]); err != nil {
		return request{}, fmt.Errorf("request header: %w", err)
	}
	r := request{
		kind:   binary.LittleEndian.Uint32(h[0:]),
		sector: binary.LittleEndian.Uint64(h[8:]),
		status: in - 1,
	}
	var err error
	if r.kind == typeIn || r.kind == typeGetID {
		r.size = in - 1
		r.data, err = virtio.Slice(c.In, 0, r.size)
	} else {
		r.size = out - headerSize
		r.data, err = virtio.Slice(c.Out, headerSize, r.size)
	}
	return r, err
}

// A sectors is one range to be discarded or zeroed.
type sectors struct {
	first uint64
	n     uint32
	flags uint32
}

// ranges reads the ranges of a discard or write-zeroes request.
func ranges(c *virtio.Chain, r request) ([]sectors, bool) {
	if r.size == 0 || r.size%rangeSize != 0 || r.size > maxRanges*rangeSize {
		return nil, false
	}
	b := make([]byte, r.size)
	if c.Read(headerSize, b) != nil {
		return nil, false
	}
	var l []sectors
	for ; len(b) > 0; b = b[rangeSize:] {
		l = append(l, sectors{
			binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]),
		})
	}
	return l, true
}
