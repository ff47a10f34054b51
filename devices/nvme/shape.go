package nvme

import (
	"encoding/binary"

	"dfemu/devices"
)

// A segment is a piece of memory that data goes to or comes from. A bucket is a
// stretch of data that is dropped (SGL bit bucket).
type segment struct {
	addr   uint64
	len    uint64
	bucket bool
}

// A shape works out where a command's data is: PRPs (base specification, section
// 4.1.1) or SGLs (section 4.1.2). Its slices are used again.
type shape struct {
	d     *Device
	queue int // for reports
	segs  []segment
	page  uint64 // bytes of a memory page
	flip  uint64 // bits to invert in the first list entry that is read
	quiet bool   // lists read are not reported
	tab   [4096]byte
}

// table reads a piece of a list in memory. A fault may damage the copy.
func (s *shape) table(addr uint64, n int, what string) ([]byte, error) {
	b := s.tab[:n]
	if !s.quiet && s.d.probe.Wants(devices.ClassDMA) {
		s.d.probe.DMA(devices.Transfer{Addr: addr, Bytes: n, What: what})
	}
	if err := s.d.mem.Read(addr, b); err != nil {
		return nil, err
	}
	if s.flip != 0 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^s.flip)
		s.flip = 0
	}
	return b, nil
}

// add appends a piece, joined with the one before where both are one.
func (s *shape) add(addr, n uint64) {
	if k := len(s.segs); k > 0 {
		if l := &s.segs[k-1]; !l.bucket && l.addr+l.len == addr {
			l.len += n
			return
		}
	}
	s.segs = append(s.segs, segment{addr: addr, len: n})
}

// parse fills segs with the n bytes that e's data pointer describes.
func (s *shape) parse(e *entry, n uint64, write bool) status {
	s.segs = s.segs[:0]
	if n == 0 {
		return success
	}
	prp1, prp2 := e.prp1, e.prp2
	honest := s.flip == 0 // the addresses are the driver's
	if s.flip != 0 && !s.usesTable(e, n) {
		// There is no table in memory: the entry itself is the table.
		prp1 ^= s.flip
		s.flip = 0
	}
	st := invalidField
	switch e.psdt {
	case 0:
		st = s.prps(prp1, prp2, n)
	case 1, 2:
		st = s.sgl(prp1, prp2, n, write)
	default:
		s.d.strictf(s.queue, "NVMe base 2.0, figure 87", "PSDT of 11b is reserved")
	}
	if st == success && honest && s.d.probe.Wants(devices.ClassStrict) {
		s.checkMemory(e)
	}
	return st
}

// checkMemory reports data that is to be where no memory is.
func (s *shape) checkMemory(e *entry) {
	clause := "NVMe base 2.0, 4.1.1"
	if e.psdt != 0 {
		clause = "NVMe base 2.0, 4.1.2"
	}
	for i := range s.segs {
		p := &s.segs[i]
		if !p.bucket && p.len > 0 && !devices.Reaches(s.d.mem, p.addr, p.len) {
			s.d.strictf(s.queue, clause, "the data pointer leads to %d bytes at %#x, which are not memory", p.len, p.addr)
			return
		}
	}
}

// usesTable tells whether the data pointer of e leads to a list or a segment.
func (s *shape) usesTable(e *entry, n uint64) bool {
	if e.psdt == 0 {
		return n > 2*s.page-e.prp1&(s.page-1)
	}
	return e.prp2>>60 >= sglSegment
}

func (s *shape) prps(prp1, prp2, n uint64) status {
	off := prp1 & (s.page - 1)
	if prp1&3 != 0 {
		s.d.strictf(s.queue, "NVMe base 2.0, 4.1.1", "PRP entry 1 is %#x: bits 1:0 must be 0", prp1)
		return prpOffsetInvalid
	}
	first := min(n, s.page-off)
	s.add(prp1, first)
	n -= first
	if n == 0 {
		return success
	}
	if n <= s.page {
		if prp2&(s.page-1) != 0 {
			s.d.strictf(s.queue, "NVMe base 2.0, 4.1.1", "PRP entry 2 is %#x: the offset in the page must be 0", prp2)
			return prpOffsetInvalid
		}
		s.add(prp2, n)
		return success
	}
	if prp2&7 != 0 {
		s.d.strictf(s.queue, "NVMe base 2.0, 4.1.1", "the PRP list is at %#x: bits 2:0 must be 0", prp2)
		return prpOffsetInvalid
	}
	return s.prpList(prp2, n)
}

// prpList reads a list. Each round takes what fits into the scratch buffer and
// does not leave the list's page, in which the last entry leads on to the next.
func (s *shape) prpList(list, n uint64) status {
	hops := 0
	for {
		pages := (n + s.page - 1) / s.page
		room := (s.page - list&(s.page-1)) / 8 // entries up to the end of the page
		take := min(pages, room, uint64(len(s.tab)/8))
		chain := take == room && take < pages // the last of them is a pointer
		b, err := s.table(list, int(take*8), "PRP list")
		if err != nil {
			return dataTransferError
		}
		for i := range take {
			p := le.Uint64(b[8*i:])
			if chain && i == take-1 {
				if p&7 != 0 {
					s.d.strictf(s.queue, "NVMe base 2.0, 4.1.1", "the PRP list goes on at %#x: bits 2:0 must be 0", p)
					return prpOffsetInvalid
				}
				list = p
				break
			}
			if p&(s.page-1) != 0 {
				s.d.strictf(s.queue, "NVMe base 2.0, 4.1.1", "the PRP list at %#x has an entry %#x: the offset in the page must be 0", list, p)
				return prpOffsetInvalid
			}
			k := min(n, s.page)
			s.add(p, k)
			n -= k
		}
		if n == 0 {
			return success
		}
		if !chain {
			list += take * 8
		} else if room == 1 {
			// A list whose only entry leads on makes no progress; a driver could tie a knot of these.
			if hops++; hops > maxHops {
				return prpOffsetInvalid
			}
		}
	}
}

// Types of SGL descriptors (base specification, figure 103).
const (
	sglData     = 0
	sglBucket   = 1
	sglSegment  = 2
	sglLast     = 3
	sglDescSize = 16
	maxSGL      = 4096 // descriptors in a command
	maxHops     = 256  // pointers followed in a row
)

func (s *shape) sgl(lo, hi, n uint64, write bool) status {
	addr, length, kind := lo, uint64(uint32(hi)), uint8(hi>>56)
	if hi>>32&0xffffff != 0 {
		s.d.strictf(s.queue, "NVMe base 2.0, figure 104", "reserved bytes of the SGL descriptor are not 0")
	}
	switch kind >> 4 {
	case sglData:
		if kind&0xf != 0 {
			return sglTypeInvalid
		}
		if length < n {
			return sglLengthInvalid
		}
		s.add(addr, n)
		return success
	case sglSegment, sglLast:
		return s.sglSegments(addr, length, kind, n, write)
	case sglBucket:
		if write || length < n {
			return sglLengthInvalid
		}
		s.segs = append(s.segs, segment{len: n, bucket: true})
		return success
	}
	s.d.strictf(s.queue, "NVMe base 2.0, 4.1.2", "the SGL descriptor in the command has type %#x", kind)
	return sglTypeInvalid
}

// sglSegments follows a chain of segments.
func (s *shape) sglSegments(addr, length uint64, kind uint8, n uint64, write bool) status {
	count := uint64(0)
	for {
		if kind&0xf != 0 {
			return sglTypeInvalid
		}
		last := kind>>4 == sglLast
		if length == 0 || length%sglDescSize != 0 {
			s.d.strictf(s.queue, "NVMe base 2.0, 4.1.2", "an SGL segment is %d bytes long: must be a multiple of 16, and not 0", length)
			return sglSegmentInvalid
		}
		entries := length / sglDescSize
		if count += entries; count > maxSGL {
			return sglCountInvalid
		}
		next := false
		for entries > 0 && !next {
			take := min(entries, uint64(len(s.tab))/sglDescSize)
			b, err := s.table(addr, int(take*sglDescSize), "SGL segment")
			if err != nil {
				return dataTransferError
			}
			addr += take * sglDescSize
			entries -= take
			for i := range take {
				d := b[i*sglDescSize:][:sglDescSize]
				a, l, k := le.Uint64(d), uint64(le.Uint32(d[8:])), d[15]
				final := entries == 0 && i == take-1
				switch {
				case k&0xf != 0 || k>>4 > sglLast:
					s.d.strictf(s.queue, "NVMe base 2.0, 4.1.2", "an SGL descriptor has type %#x", k)
					return sglTypeInvalid
				case k>>4 >= sglSegment:
					if last || !final {
						s.d.strictf(s.queue, "NVMe base 2.0, 4.1.2", "a pointer to an SGL segment must be the last of its segment, and not in the last one")
						return sglSegmentInvalid
					}
					addr, length, kind, next = a, l, k, true
				case k>>4 == sglBucket && write:
					// Nothing is taken from a bucket.
				case n == 0 || l == 0:
				default:
					l = min(l, n)
					n -= l
					if k>>4 == sglBucket {
						s.segs = append(s.segs, segment{len: l, bucket: true})
					} else {
						s.add(a, l)
					}
				}
			}
		}
		if next {
			continue
		}
		if !last {
			s.d.strictf(s.queue, "NVMe base 2.0, 4.1.2", "an SGL segment that is not the last has no pointer to the next")
			return sglSegmentInvalid
		}
		if n != 0 {
			s.d.strictf(s.queue, "NVMe base 2.0, 4.1.2", "the SGL is %d bytes shorter than the data", n)
			return sglLengthInvalid
		}
		return success
	}
}
