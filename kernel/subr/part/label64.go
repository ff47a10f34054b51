package part

import (
	"encoding/binary"
	"hash/crc32"
)

// Offsets in a disklabel64, which is at the start of a slice.
const (
	labelMagic    = 0xc4464c59
	labelAtMagic  = 512
	labelAtCRC    = 516
	labelAtCount  = 524
	labelAtUUID   = 528
	labelAtParts  = 712
	labelPartSize = 64
	labelMaxParts = 16
	labelSize     = labelAtParts + labelMaxParts*labelPartSize
)

// label reads the disklabel64 of a slice, if it has one.
func (r *reader) label(s *Slice) bool {
	if s.Count*uint64(r.size) < labelSize {
		return false
	}
	b, err := r.read(s.Start, labelSize)
	if err != nil {
		r.problem("slice %d: %v", s.Number, err)
		return false
	}
	le := binary.LittleEndian
	if le.Uint32(b[labelAtMagic:]) != labelMagic {
		return false
	}
	n := le.Uint32(b[labelAtCount:])
	if n > labelMaxParts {
		r.problem("slice %d: a label with %d partitions", s.Number, n)
		return false
	}
	crc := le.Uint32(b[labelAtCRC:])
	le.PutUint32(b[labelAtCRC:], 0)
	if crc32.ChecksumIEEE(b[labelAtMagic:labelAtParts+n*labelPartSize]) != crc {
		r.problem("slice %d: the label has a wrong checksum", s.Number)
		return false
	}
	s.LabelUUID = uuid(b[labelAtUUID:])
	whole := s.Count * uint64(r.size)
	for i := range n {
		p := b[labelAtParts+i*labelPartSize:]
		off, size := le.Uint64(p), le.Uint64(p[8:])
		if size == 0 {
			continue
		}
		letter := 'a' + byte(i)
		if off > whole || size > whole-off || off%uint64(r.size) != 0 || size%uint64(r.size) != 0 {
			r.problem("slice %d: partition %c, %d bytes at %d, does not fit into %d bytes", s.Number, letter, size, off, whole)
			continue
		}
		s.Parts = append(s.Parts, Partition{
			Letter: letter, Offset: off, Size: size, FSType: p[16],
			Type: uuid(p[32:]), UUID: uuid(p[48:]),
		})
	}
	return true
}
