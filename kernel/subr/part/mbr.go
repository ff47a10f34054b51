package part

import (
	"encoding/binary"
	"fmt"
)

const (
	mbrTable = 446
	mbrEntry = 16
)

// entry is one of the four of a boot record.
type entry struct {
	status, typ  byte
	start, count uint64
}

func (e entry) extended() bool { return e.typ == 0x05 || e.typ == 0x0f || e.typ == 0x85 }

// sound tells whether the entry's first byte is one that a table has.
func (e entry) sound() bool { return e.status&0x7f == 0 }

// record reads a boot record; ok is false if it is none. An entry that is not sound may be code, if others are not either.
func record(b []byte) (es [4]entry, ok bool) {
	if b[510] != 0x55 || b[511] != 0xaa {
		return es, false
	}
	for i := range es {
		e := b[mbrTable+mbrEntry*i:]
		es[i] = entry{e[0], e[4], uint64(binary.LittleEndian.Uint32(e[8:])), uint64(binary.LittleEndian.Uint32(e[12:]))}
	}
	return es, true
}

// boots tells whether a sector begins with a jump, as file systems' boot sectors do, which have code in the place of a table.
func boots(b []byte) bool { return b[0] == 0xeb && b[2] == 0x90 || b[0] == 0xe9 }

// mbr reads an MBR and the logical slices of its extended ones.
func (r *reader) mbr(first []byte) bool {
	es, ok := record(first)
	if !ok {
		return false
	}
	sound, damaged := false, false
	for _, e := range es {
		sound = sound || e.sound() && e.typ != 0 && e.start != 0 && e.start < r.sectors && e.count != 0 && e.count <= r.sectors-e.start
		damaged = damaged || !e.sound()
	}
	if damaged && (!sound || boots(first)) {
		return false
	}
	used := 0
	for i, e := range es {
		if !e.sound() {
			r.problem("slice %d: its entry is damaged, it begins with %#02x", i+1, e.status)
			continue
		}
		if e.typ == 0 || e.typ == mbrProtective {
			continue
		}
		used++
		if !r.fits(e.start, e.count, fmt.Sprintf("slice %d", i+1)) {
			continue
		}
		if e.extended() {
			r.logical(e)
			continue
		}
		r.add(i+1, e)
	}
	// The four come first, then the logical ones.
	primary, logical := []Slice(nil), []Slice(nil)
	for _, s := range r.t.Slices {
		if s.Number <= 4 {
			primary = append(primary, s)
		} else {
			logical = append(logical, s)
		}
	}
	r.t.Slices = append(primary, logical...)
	return used > 0
}

// add makes an entry a slice.
func (r *reader) add(number int, e entry) {
	if r.overlaps(e.start, e.count) {
		r.problem("slice %d, sectors %d to %d, overlaps another", number, e.start, e.start+e.count-1)
		return
	}
	r.t.Slices = append(r.t.Slices, Slice{Number: number, Start: e.start, Count: e.count, Type: fmt.Sprintf("%02x", e.typ)})
}

// fits tells whether a range is on the disk and not empty, and says so if not.
func (r *reader) fits(start, count uint64, what string) bool {
	if start == 0 || count == 0 || start >= r.sectors || count > r.sectors-start {
		r.problem("%s, %d sectors at %d, is outside the disk of %d sectors", what, count, start, r.sectors)
		return false
	}
	return true
}

// logical follows the chain of boot records in an extended slice. Each names a logical slice, relative to
// itself, and the next record, relative to the extended slice.
func (r *reader) logical(ext entry) {
	seen := map[uint64]bool{}
	number := 5
	for _, s := range r.t.Slices {
		number = max(number, s.Number+1)
	}
	at := ext.start
	for range maxLogical {
		if seen[at] {
			r.problem("the chain of logical slices comes back to sector %d", at)
			return
		}
		seen[at] = true
		b, err := r.read(at, r.size)
		if err != nil {
			r.problem("logical slice %d: %v", number, err)
			return
		}
		es, ok := record(b)
		if !ok {
			r.problem("there is no boot record for logical slice %d in sector %d", number, at)
			return
		}
		next := uint64(0)
		for _, e := range es[:2] {
			switch {
			case !e.sound():
				r.problem("logical slice %d: its entry is damaged, it begins with %#02x", number, e.status)
				number++
			case e.typ == 0:
			case e.extended():
				next = e.start
			default:
				e.start += at
				inside := e.start > ext.start && e.start-ext.start <= ext.count && e.count <= ext.count-(e.start-ext.start)
				if r.fits(e.start, e.count, fmt.Sprintf("logical slice %d", number)) {
					if inside {
						r.add(number, e)
					} else {
						r.problem("logical slice %d, %d sectors at %d, is outside the extended slice", number, e.count, e.start)
					}
				}
				number++
			}
		}
		if next == 0 {
			return
		}
		if next >= ext.count {
			r.problem("the boot record of logical slice %d is outside the extended slice", number)
			return
		}
		at = ext.start + next
	}
	r.problem("only the first %d logical slices are used", maxLogical)
}
