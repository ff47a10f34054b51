package virtio

import (
	"encoding/binary"
	"errors"

	"dfemu/devices"
)

// A Segment is a piece of a buffer in guest-physical memory. Nothing is known
// of its address but that it does not wrap.
type Segment struct {
	Addr uint64
	Len  uint32
}

// A Chain is one buffer the driver made available: what the device reads (Out),
// then what it writes (In). It belongs to the device from Pop to Push.
type Chain struct {
	Out, In []Segment

	q     *Queue
	id    uint16 // head (split) or buffer id (packed)
	count uint16 // descriptors taken from the ring
	len   uint32 // bytes written, when completed
	quiet bool   // completed without an interrupt
	descs int    // descriptors it consists of, those of a table included
}

// clear makes the chain an empty one.
func (c *Chain) clear() {
	c.Out, c.In, c.len, c.quiet, c.descs = c.Out[:0], c.In[:0], 0, false, 0
}

// maxSegments bounds the length of one chain, so that a hostile one costs
// little. Drivers stay below the queue size or, with indirect tables, near the
// limits their device states.
const maxSegments = 1024

// ErrShort reports a buffer that is too small for what must be in it.
var ErrShort = errors.New("virtio: buffer too short")

// Total returns the bytes in the segments.
func Total(segs []Segment) uint64 {
	var n uint64
	for _, s := range segs {
		n += uint64(s.Len)
	}
	return n
}

// Read copies what the device-readable part has from byte off on into p, all of
// it or an error.
func (c *Chain) Read(off uint64, p []byte) error {
	return each(c.Out, off, len(p), func(addr uint64, at, n int) error {
		return c.q.mem.Read(addr, p[at:at+n])
	})
}

// Write copies p into the device-writable part from byte off on, all of it or
// an error.
func (c *Chain) Write(off uint64, p []byte) error {
	return each(c.In, off, len(p), func(addr uint64, at, n int) error {
		if err := c.q.mem.Write(addr, p[at:at+n]); err != nil {
			return err
		}
		c.q.mem.Written(addr, n)
		return nil
	})
}

// Descriptors is how many descriptors the chain consists of, without the one that
// names an indirect table.
func (c *Chain) Descriptors() int { return c.descs }

// Memory is the memory the chain's segments are in.
func (c *Chain) Memory() devices.Memory { return c.q.mem }

// each calls f for each piece of the n bytes from byte off of the segments on;
// at counts from 0 to n.
func each(segs []Segment, off uint64, n int, f func(addr uint64, at, n int) error) error {
	at := 0
	for _, s := range segs {
		if at == n {
			break
		}
		if off >= uint64(s.Len) {
			off -= uint64(s.Len)
			continue
		}
		k := int(min(uint64(s.Len)-off, uint64(n-at)))
		if err := f(s.Addr+off, at, k); err != nil {
			return err
		}
		at += k
		off = 0
	}
	if at < n {
		return ErrShort
	}
	return nil
}

// Slice returns the n bytes from byte off of the segments on as segments.
func Slice(segs []Segment, off, n uint64) ([]Segment, error) {
	var l []Segment
	for _, s := range segs {
		if n == 0 {
			break
		}
		if off >= uint64(s.Len) {
			off -= uint64(s.Len)
			continue
		}
		k := min(uint64(s.Len)-off, n)
		l = append(l, Segment{s.Addr + off, uint32(k)})
		n -= k
		off = 0
	}
	if n != 0 {
		return nil, ErrShort
	}
	return l, nil
}

// Flags of a descriptor (sections 2.7.5 and 2.8.1 to 2.8.7).
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4
	descAvail    = 1 << 7
	descUsed     = 1 << 15
	descSize     = 16
)

// descriptor is the copy of one descriptor.
type descriptor struct {
	addr  uint64
	len   uint32
	flags uint16 // at offset 12 (split) or 14 (packed)
	other uint16 // next (split, at 14) or buffer id (packed, at 12)
}

func splitDescriptor(b []byte) descriptor {
	_ = b[15]
	le := binary.LittleEndian
	return descriptor{le.Uint64(b), le.Uint32(b[8:]), le.Uint16(b[12:]), le.Uint16(b[14:])}
}

func packedDescriptor(b []byte) descriptor {
	d := splitDescriptor(b)
	d.flags, d.other = d.other, d.flags
	return d
}

// add appends the buffer of a descriptor.
func (c *Chain) add(d descriptor) error {
	c.descs++
	if len(c.Out)+len(c.In) >= maxSegments {
		return c.q.rule("2.7.4.2", "2.8.17", "chain of more than %d buffers", maxSegments)
	}
	if d.addr+uint64(d.len) < d.addr {
		return c.q.rule("2.7.5", "2.8.13", "buffer of %d bytes at %#x wraps around", d.len, d.addr)
	}
	if d.flags&descWrite == 0 {
		if len(c.In) != 0 {
			return c.q.rule("2.7.4.2", "2.8.17", "device-readable buffer after a device-writable one")
		}
		c.Out = appendSegment(c.Out, d)
		return nil
	}
	c.In = appendSegment(c.In, d)
	return nil
}

// appendSegment joins buffers that are neighbours in memory.
func appendSegment(l []Segment, d descriptor) []Segment {
	if n := len(l); n != 0 {
		p := &l[n-1]
		if p.Addr+uint64(p.Len) == d.addr && uint64(p.Len)+uint64(d.len) < 1<<32 {
			p.Len += d.len
			return l
		}
	}
	return append(l, Segment{d.addr, d.len})
}

// table returns a copy of the indirect table that a descriptor names.
func (q *Queue) table(d descriptor) ([]byte, error) {
	switch {
	case q.features&FeatureIndirectDesc == 0:
		return nil, q.rule("2.7.5.3.1", "2.8.19", "indirect descriptor, which was not negotiated")
	case d.len == 0 || d.len%descSize != 0:
		return nil, q.rule("2.7.5.3", "2.8.7", "indirect table of %d bytes: descriptors have %d", d.len, descSize)
	case d.len > maxSegments*descSize:
		return nil, q.rule("2.7.4.2", "2.8.19", "indirect table of %d descriptors: more than %d", d.len/descSize, maxSegments)
	}
	if cap(q.scratch) < int(d.len) {
		q.scratch = make([]byte, d.len)
	}
	t := q.scratch[:d.len]
	if err := q.mem.Read(d.addr, t); err != nil {
		return nil, q.rule("2.7.5.3", "2.8.7", "indirect table: %v", err)
	}
	return t, nil
}
