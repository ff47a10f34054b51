// Package e820 lays out the physical memory of a PC: where its RAM is, where
// the hole for devices below 4 GiB, and what an operating system is told of
// it (the "Query System Address Map" call of the BIOS, INT 15h AX=E820h;
// ACPI Specification 6.4, chapter 15).
//
// All is plain data: nothing here keeps state.
package e820

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// Type is the type of a range of addresses (ACPI 6.4, table 15.5).
type Type uint32

// Types of address ranges.
const (
	RAM         Type = 1
	Reserved    Type = 2
	ACPI        Type = 3 // free once the tables have been read
	ACPINVS     Type = 4 // kept over sleep states
	Unusable    Type = 5
	Persistent  Type = 7
	entryLength      = 20
)

// String names the type as Linux does.
func (t Type) String() string {
	switch t {
	case RAM:
		return "usable"
	case Reserved:
		return "reserved"
	case ACPI:
		return "ACPI data"
	case ACPINVS:
		return "ACPI NVS"
	case Unusable:
		return "unusable"
	case Persistent:
		return "persistent"
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Entry is one range of physical addresses.
type Entry struct {
	// Addr is the first address, and Size how many bytes follow.
	Addr, Size uint64
	Type       Type
}

// End is the address behind the entry.
func (e Entry) End() uint64 { return e.Addr + e.Size }

// String gives first and last address and the type.
func (e Entry) String() string {
	return fmt.Sprintf("%#x-%#x %v", e.Addr, e.End()-1, e.Type)
}

// Map is a list of entries, sorted by address and without overlap.
type Map []Entry

// Normalize returns a Map of the entries. Where they overlap, any type wins
// over RAM, and otherwise the higher type; neighbours of the same type are
// joined. Entries whose end is over 2^64 are an error.
func Normalize(entries []Entry) (Map, error) {
	var cuts []uint64
	for _, e := range entries {
		if e.Addr+e.Size < e.Addr {
			return nil, fmt.Errorf("e820: range of %#x bytes at %#x passes the end of the address space", e.Size, e.Addr)
		}
		if e.Size != 0 {
			cuts = append(cuts, e.Addr, e.End())
		}
	}
	sort.Slice(cuts, func(i, j int) bool { return cuts[i] < cuts[j] })
	var m Map
	for i := 0; i+1 < len(cuts); i++ {
		lo, hi := cuts[i], cuts[i+1]
		if lo == hi {
			continue
		}
		var t Type
		for _, e := range entries {
			if e.Size != 0 && e.Addr <= lo && hi <= e.End() {
				t = max(t, e.Type)
			}
		}
		if t == 0 {
			continue
		}
		if n := len(m); n > 0 && m[n-1].End() == lo && m[n-1].Type == t {
			m[n-1].Size += hi - lo
			continue
		}
		m = append(m, Entry{lo, hi - lo, t})
	}
	return m, nil
}

// With returns a copy of m in which the range has the type, whatever it was.
func (m Map) With(e Entry) (Map, error) {
	if e.Addr+e.Size < e.Addr {
		return nil, fmt.Errorf("e820: range of %#x bytes at %#x passes the end of the address space", e.Size, e.Addr)
	}
	out := []Entry{e}
	for _, o := range m {
		if o.Addr < e.Addr {
			out = append(out, Entry{o.Addr, min(o.End(), e.Addr) - o.Addr, o.Type})
		}
		if o.End() > e.End() {
			lo := max(o.Addr, e.End())
			out = append(out, Entry{lo, o.End() - lo, o.Type})
		}
	}
	return Normalize(out)
}

// Contains reports whether [addr, addr+size) lies in one entry of type t.
func (m Map) Contains(t Type, addr, size uint64) bool {
	for _, e := range m {
		if e.Type == t && addr >= e.Addr && addr <= e.End() && size <= e.End()-addr {
			return true
		}
	}
	return false
}

// FindHigh returns the highest address in RAM at which size bytes fit, a
// multiple of align (a power of two), at or above lo and ending at or below hi.
func (m Map) FindHigh(size, align, lo, hi uint64) (uint64, bool) {
	if align == 0 || align&(align-1) != 0 {
		return 0, false
	}
	for i := len(m) - 1; i >= 0; i-- {
		e := m[i]
		end, start := min(e.End(), hi), max(e.Addr, lo)
		if e.Type != RAM || end < start || size > end-start {
			continue
		}
		if a := (end - size) &^ (align - 1); a >= start {
			return a, true
		}
	}
	return 0, false
}

// Top is the address behind the last RAM.
func (m Map) Top() uint64 {
	var top uint64
	for _, e := range m {
		if e.Type == RAM {
			top = max(top, e.End())
		}
	}
	return top
}

// Total is the size of all RAM.
func (m Map) Total() uint64 {
	var n uint64
	for _, e := range m {
		if e.Type == RAM {
			n += e.Size
		}
	}
	return n
}

// AppendBinary appends the entries as the BIOS returns them, 20 bytes each,
// which is also the form of the fw_cfg file "etc/e820".
func (m Map) AppendBinary(b []byte) ([]byte, error) {
	le := binary.LittleEndian
	for _, e := range m {
		b = le.AppendUint64(b, e.Addr)
		b = le.AppendUint64(b, e.Size)
		b = le.AppendUint32(b, uint32(e.Type))
	}
	return b, nil
}
