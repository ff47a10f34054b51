package perf

import "bytes"

// Programs are known by their code: what guest memory has at an address is
// compared with the files, so that a name is never given to another program's
// code that happens to be at the same address.
const (
	// matchLen is how much code is compared, minMatch how much there must be.
	matchLen = 48
	minMatch = 16
	pageMask = 4096 - 1
	// maxSpaces bounds the address spaces whose programs are remembered.
	maxSpaces = 4096
)

// place is where a program is in an address space.
type place struct {
	obj  int    // index of the program
	bias uint64 // its address in memory less that in the file
}

// locator finds the programs of one processor's guest.
type locator struct {
	programs []*Object
	known    map[uint64][]place // by CR3
}

// locate returns the program whose code is at an address, and the address in its file.
func (l *locator) locate(read reader, cr3, addr uint64) (obj int, link uint64, ok bool) {
	if len(l.programs) == 0 {
		return 0, 0, false
	}
	// The low bits are a PCID and, with page-table isolation, which half is in use.
	cr3 = cr3 << 1 >> 1 &^ (2*pageMask + 1)
	var buf [matchLen]byte
	n := read(addr, buf[:])
	if n < minMatch {
		return 0, 0, false
	}
	code := buf[:n]
	for _, p := range l.known[cr3] {
		if matches(l.programs[p.obj].code(addr-p.bias), code) {
			return p.obj, addr - p.bias, true
		}
	}
	found := 0
	var at place
	for i, o := range l.programs {
		switch {
		case o.HasBase:
			if matches(o.code(addr-o.Base), code) {
				at, found = place{i, o.Base}, found+1
			}
		case !o.pie:
			if matches(o.code(addr), code) {
				at, found = place{i, 0}, found+1
			}
		default:
			found += o.search(addr, code, func(bias uint64) { at = place{i, bias} })
		}
	}
	if found != 1 {
		return 0, 0, false // not there, or not certain
	}
	if l.known == nil || len(l.known) >= maxSpaces {
		l.known = map[uint64][]place{}
	}
	l.known[cr3] = append(l.known[cr3], at)
	return at.obj, addr - at.bias, true
}

// matches reports whether a file's code and memory are the same, as far as both go.
func matches(file, memory []byte) bool {
	n := min(len(file), len(memory))
	return n >= minMatch && bytes.Equal(file[:n], memory[:n])
}

// search calls found with each bias at which a program that may be anywhere has the code
// at addr, and returns how many there are, at most 2.
func (o *Object) search(addr uint64, code []byte, found func(bias uint64)) (n int) {
	for i := range o.segments {
		s := &o.segments[i]
		if !s.exec {
			continue
		}
		for off := (addr - s.vaddr) & pageMask; off < uint64(len(s.data)); off += pageMask + 1 {
			if matches(s.data[off:], code) {
				found(addr - (s.vaddr + off))
				if n++; n > 1 {
					return n
				}
			}
		}
	}
	return n
}
