package part

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Table is what a disk is divided into.
type Table struct {
	// Kind is "GPT", "MBR", "disklabel64" or "" for none.
	Kind string
	// Slices are in the order of their numbers, without those that are empty.
	Slices []Slice
	// Problems says what is wrong with the table. Slices that are not
	// sound are left out.
	Problems []string
}

// Slice is one entry of a GPT or MBR. A label that fills the disk is in slice 0 with Whole set.
type Slice struct {
	// Number is the entry's: 1 to 4 for the MBR's own, 5 and up for logical ones; from 0 for GPT.
	Number int
	// Whole tells that there is no table, and the slice is all of the disk.
	Whole bool
	// Start and Count are in sectors.
	Start, Count uint64
	// Type names what the slice is for: a UUID, or an MBR's type as two hexadecimal digits.
	Type string
	// UUID is the slice's own; "" for MBR.
	UUID string
	// Label is its name, for GPT.
	Label string
	// Parts are the partitions of a disklabel64 in the slice.
	Parts []Partition
	// LabelUUID is the disklabel64's.
	LabelUUID string
}

// Partition is one entry of a disklabel64.
type Partition struct {
	Letter byte // 'a' to 'p'
	// Offset and Size are in bytes; Offset counts from the start of the slice.
	Offset, Size uint64
	FSType       uint8
	Type, UUID   string
}

// Limits of what is read.
const (
	maxEntries = 128 // of a GPT
	maxLogical = 60  // logical slices
	minSector  = 512
	maxSector  = 4096
)

// reader reads whole sectors of a disk.
type reader struct {
	r       io.ReaderAt
	size    int
	sectors uint64
	t       *Table
}

// problem notes what is wrong.
func (r *reader) problem(format string, args ...any) {
	if len(r.t.Problems) < 16 {
		r.t.Problems = append(r.t.Problems, fmt.Sprintf(format, args...))
	}
}

// read returns n bytes from the start of a sector.
func (r *reader) read(lba uint64, n int) ([]byte, error) {
	n = (n + r.size - 1) / r.size * r.size
	if lba >= r.sectors || uint64(n/r.size) > r.sectors-lba {
		return nil, fmt.Errorf("sector %d is outside the disk of %d sectors", lba, r.sectors)
	}
	b := make([]byte, n)
	if _, err := r.r.ReadAt(b, int64(lba)*int64(r.size)); err != nil {
		return nil, err
	}
	return b, nil
}

// Probe reads the table of a disk with sectors of size bytes (512 to 4096, a power of two). The error is one of
// reading.
func Probe(d io.ReaderAt, size int, sectors uint64) (Table, error) {
	var t Table
	if size < minSector || size > maxSector || size&(size-1) != 0 {
		return t, fmt.Errorf("partition table: sectors of %d bytes are not supported", size)
	}
	if sectors == 0 || sectors > 1<<63/uint64(size)-1 {
		return t, fmt.Errorf("partition table: a disk of %d sectors is not supported", sectors)
	}
	r := &reader{d, size, sectors, &t}
	first, err := r.read(0, size)
	if err != nil {
		return t, fmt.Errorf("partition table: %w", err)
	}
	switch {
	case r.gpt(first):
		t.Kind = "GPT"
	case r.mbr(first):
		t.Kind = "MBR"
	default:
		s := Slice{Whole: true, Count: sectors}
		if r.label(&s) {
			t.Kind = "disklabel64"
			t.Slices = []Slice{s}
		}
		return t, nil
	}
	for i := range t.Slices {
		r.label(&t.Slices[i])
	}
	return t, nil
}

// uuid writes the 16 bytes of a UUID in the form GPT and DragonFly store them in.
func uuid(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
