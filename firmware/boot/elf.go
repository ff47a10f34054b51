package boot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"
)

// elfFile is what loading needs of an ELF file (System V ABI, chapters 4 and
// 5): the entry point and the program headers, checked.
type elfFile struct {
	data  []byte
	is64  bool
	entry uint64
	progs []prog
}

// prog is one program header.
type prog struct {
	typ                  uint32
	off, vaddr, paddr    uint64
	filesz, memsz, align uint64
}

const (
	ptLoad = 1
	ptNote = 4

	em386    = 3
	emX86_64 = 62

	etExec = 2
	etDyn  = 3

	xenPhys32Entry = 18
)

func isELF(image []byte) bool { return bytes.HasPrefix(image, []byte("\x7fELF")) }

// parseELF reads the headers of an executable for the x86.
func parseELF(image []byte) (*elfFile, error) {
	le := binary.LittleEndian
	if !isELF(image) {
		return nil, fmt.Errorf("boot: not an ELF file")
	}
	if len(image) < 52 {
		return nil, fmt.Errorf("boot: ELF file of %d bytes ends in its header", len(image))
	}
	f := &elfFile{data: image}
	switch class := image[4]; class {
	case 1:
	case 2:
		f.is64 = true
	default:
		return nil, fmt.Errorf("boot: ELF file: EI_CLASS is %d, must be 1 or 2", class)
	}
	if image[5] != 1 {
		return nil, fmt.Errorf("boot: ELF file: EI_DATA is %d, must be 1 (little-endian)", image[5])
	}
	if t := le.Uint16(image[16:]); t != etExec && t != etDyn {
		return nil, fmt.Errorf("boot: ELF file: e_type is %d, not an executable", t)
	}
	if m := le.Uint16(image[18:]); m != em386 && m != emX86_64 {
		return nil, fmt.Errorf("boot: ELF file: e_machine is %d, must be 3 (386) or 62 (x86-64)", m)
	}
	var phoff uint64
	var counts []byte
	want := 32
	if f.is64 {
		if len(image) < 64 {
			return nil, fmt.Errorf("boot: ELF file of %d bytes ends in its header", len(image))
		}
		want = 56
		f.entry, phoff, counts = le.Uint64(image[24:]), le.Uint64(image[32:]), image[54:]
	} else {
		f.entry, phoff, counts = uint64(le.Uint32(image[24:])), uint64(le.Uint32(image[28:])), image[42:]
	}
	size, n := int(le.Uint16(counts)), int(le.Uint16(counts[2:]))
	if n == 0 {
		return nil, fmt.Errorf("boot: ELF file has no program headers")
	}
	if size != want {
		return nil, fmt.Errorf("boot: ELF file: e_phentsize is %d, must be %d", size, want)
	}
	if phoff > uint64(len(image)) || uint64(n*size) > uint64(len(image))-phoff {
		return nil, fmt.Errorf("boot: ELF file: %d program headers at %#x (e_phoff) pass the end of the file", n, phoff)
	}
	for i := 0; i < n; i++ {
		p := f.readProg(image[phoff+uint64(i*size):])
		if err := f.checkProg(i, p); err != nil {
			return nil, err
		}
		f.progs = append(f.progs, p)
	}
	return f, nil
}

func (f *elfFile) readProg(b []byte) prog {
	le := binary.LittleEndian
	if f.is64 {
		return prog{
			typ: le.Uint32(b), off: le.Uint64(b[8:]), vaddr: le.Uint64(b[16:]), paddr: le.Uint64(b[24:]),
			filesz: le.Uint64(b[32:]), memsz: le.Uint64(b[40:]), align: le.Uint64(b[48:]),
		}
	}
	u := func(off int) uint64 { return uint64(le.Uint32(b[off:])) }
	return prog{
		typ: le.Uint32(b), off: u(4), vaddr: u(8), paddr: u(12), filesz: u(16), memsz: u(20), align: u(28),
	}
}

func (f *elfFile) checkProg(i int, p prog) error {
	if p.typ != ptLoad && p.typ != ptNote {
		return nil
	}
	size := uint64(len(f.data))
	if p.off > size || p.filesz > size-p.off {
		return fmt.Errorf("boot: ELF program header %d: p_offset %#x and p_filesz %#x pass the %#x bytes of the file", i, p.off, p.filesz, size)
	}
	if p.typ != ptLoad {
		return nil
	}
	if p.filesz > p.memsz {
		return fmt.Errorf("boot: ELF program header %d: p_filesz %#x is over p_memsz %#x", i, p.filesz, p.memsz)
	}
	if p.paddr+p.memsz < p.paddr {
		return fmt.Errorf("boot: ELF program header %d: p_paddr %#x and p_memsz %#x wrap", i, p.paddr, p.memsz)
	}
	return nil
}

// loads are the segments to load, by physical address.
func (f *elfFile) loads() []prog {
	var out []prog
	for _, p := range f.progs {
		if p.typ == ptLoad && p.memsz > 0 {
			out = append(out, p)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].paddr < out[j].paddr })
	return out
}

// pvhEntry is the address in the Xen note for a physical 32-bit entry point.
func (f *elfFile) pvhEntry() (uint32, bool) {
	for _, p := range f.progs {
		if p.typ != ptNote {
			continue
		}
		align := uint64(4)
		if p.align == 8 {
			align = 8
		}
		if v, ok := findNote(f.data[p.off:p.off+p.filesz], align); ok {
			return v, true
		}
	}
	return 0, false
}

func findNote(b []byte, align uint64) (uint32, bool) {
	le := binary.LittleEndian
	up := func(n uint64) uint64 { return (n + align - 1) &^ (align - 1) }
	for len(b) >= 12 {
		namesz, descsz, typ := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		descAt := up(12 + namesz)
		end := descAt + descsz
		if end > uint64(len(b)) {
			return 0, false
		}
		if typ == xenPhys32Entry && bytes.Equal(b[12:12+namesz], []byte("Xen\x00")) && descsz >= 4 {
			return le.Uint32(b[descAt:]), true
		}
		b = b[min(up(end), uint64(len(b))):]
	}
	return 0, false
}

// loadELF writes the segments at their physical addresses.
func (l *loader) loadELF(f *elfFile) error {
	loads := f.loads()
	if len(loads) == 0 {
		return fmt.Errorf("boot: ELF file has nothing to load (no PT_LOAD)")
	}
	for i, p := range loads {
		what := fmt.Sprintf("ELF segment %d", i)
		if err := l.claim(what, p.paddr, p.memsz); err != nil {
			return err
		}
		if err := l.write(what, p.paddr, f.data[p.off:p.off+p.filesz]); err != nil {
			return err
		}
		if err := l.zero(what, p.paddr+p.filesz, p.memsz-p.filesz); err != nil {
			return err
		}
	}
	return nil
}

// physical turns an entry point into a physical address: it may be one, or a
// virtual address of a segment.
func (f *elfFile) physical(entry uint64) (uint64, error) {
	for _, p := range f.loads() {
		if entry >= p.paddr && entry-p.paddr < p.memsz {
			return entry, nil
		}
	}
	for _, p := range f.loads() {
		if entry >= p.vaddr && entry-p.vaddr < p.memsz {
			return p.paddr + (entry - p.vaddr), nil
		}
	}
	return 0, fmt.Errorf("boot: ELF entry point %#x is in no segment", entry)
}

// mode is the processor mode in which the file is entered at a physical address.
func (f *elfFile) mode(entry uint64) (Mode, error) {
	switch {
	case f.is64:
		return Long, nil
	case entry > 0xffffffff:
		return 0, fmt.Errorf("boot: 32-bit ELF entry point %#x is over 4 GiB", entry)
	}
	return Protected, nil
}

// plainELF enters an ELF file at e_entry, a 64-bit one in 64-bit mode.
func (l *loader) plainELF(image []byte) (Entry, error) {
	f, err := parseELF(image)
	if err != nil {
		return Entry{}, err
	}
	entry, err := f.physical(f.entry)
	if err != nil {
		return Entry{}, err
	}
	mode, err := f.mode(entry)
	if err != nil {
		return Entry{}, err
	}
	if err := l.loadELF(f); err != nil {
		return Entry{}, err
	}
	return l.flatEntry(mode, entry)
}
