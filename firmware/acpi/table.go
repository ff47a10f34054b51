package acpi

import "encoding/binary"

// table is one table, with what must be patched when its place is known.
type table struct {
	sig   string
	data  []byte
	align uint32
	// pointers are the places that hold the address of another table.
	pointers []pointer
	// sums are the places of a checksum over [start, start+length).
	sums []checksum
}

// pointer is size bytes at off that hold the address of table target, an
// index into Tables.
type pointer struct {
	off, size, target int
}

type checksum struct {
	off, start, length int
}

const headerLen = 36

// header starts a table with the header of section 5.2.6. The length and the
// checksum are filled in by finish.
func (c *Config) header(sig string, revision uint8) *writer {
	w := &writer{sig: sig}
	w.str(sig, 4)
	w.u32(0)
	w.u8(revision, 0)
	w.str(c.OEMID, 6)
	w.str(c.OEMTableID, 8)
	w.u32(1)
	w.str("DFEM", 4)
	w.u32(1)
	return w
}

// writer appends the fields of a table in order.
type writer struct {
	sig      string
	b        []byte
	pointers []pointer
}

func (w *writer) u8(v ...byte)   { w.b = append(w.b, v...) }
func (w *writer) u16(v uint16)   { w.b = binary.LittleEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32)   { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64)   { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) zero(n int)     { w.b = append(w.b, make([]byte, n)...) }
func (w *writer) bytes(p []byte) { w.b = append(w.b, p...) }

// str appends s, cut or padded with spaces to n bytes.
func (w *writer) str(s string, n int) {
	for i := 0; i < n; i++ {
		c := byte(' ')
		if i < len(s) {
			c = s[i]
		}
		w.u8(c)
	}
}

// ptr appends size bytes for the address of another table.
func (w *writer) ptr(size, target int) {
	w.pointers = append(w.pointers, pointer{len(w.b), size, target})
	w.zero(size)
}

// gas appends a generic address structure for an I/O port block (section
// 5.2.3.2). Access is 1 for bytes, 2 for words and 3 for double words.
func (w *writer) gas(port uint16, bits, access uint8) {
	if port == 0 {
		w.zero(12)
		return
	}
	w.u8(1, bits, 0, access)
	w.u64(uint64(port))
}

// finish sets the length in the header and plans the checksum.
func (w *writer) finish() table {
	binary.LittleEndian.PutUint32(w.b[4:], uint32(len(w.b)))
	return table{
		sig:      w.sig,
		data:     w.b,
		align:    16,
		pointers: w.pointers,
		sums:     []checksum{{9, 0, len(w.b)}},
	}
}

// sum returns the byte that makes the bytes of p add up to zero.
func sum(p []byte) byte {
	var s byte
	for _, b := range p {
		s += b
	}
	return -s
}
