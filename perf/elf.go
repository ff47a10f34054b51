package perf

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
)

// highHalf is where the addresses of kernels begin.
const highHalf = 1 << 63

// parseELF takes segments and symbols from an ELF file: from the symbol table, or
// what else has the names of its functions.
func (o *Object) parseELF(data []byte) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if f.Machine != elf.EM_X86_64 && f.Machine != elf.EM_386 {
		return fmt.Errorf("ELF file is for %v, not for the x86", f.Machine)
	}
	o.pie = f.Type == elf.ET_DYN
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Memsz == 0 || p.Vaddr+p.Memsz-1 < p.Vaddr {
			continue
		}
		s := segment{vaddr: p.Vaddr, paddr: p.Paddr, memsz: p.Memsz, off: p.Off, exec: p.Flags&elf.PF_X != 0}
		if size := uint64(len(data)); p.Off < size {
			s.data = data[p.Off:][:min(p.Filesz, p.Memsz, size-p.Off)]
		}
		// Per-CPU data of Linux is linked to address 0.
		if p.Vaddr == 0 && f.Type == elf.ET_EXEC && p.Flags&elf.PF_X == 0 {
			continue
		}
		o.segments = append(o.segments, s)
	}
	if len(o.segments) == 0 {
		return errors.New("ELF file has nothing to load")
	}
	if from, _ := o.span(); from >= highHalf {
		o.Kernel = true
	}
	if s := f.Section(".note.gnu.build-id"); s != nil && s.Size < 1024 {
		if note, err := s.Data(); err == nil && len(note) > 16 {
			o.buildID = hex.EncodeToString(note[16:])
		}
	}
	syms := elfSymbols(f, f.Symbols)
	goSyms, lines := goSymbols(f)
	if len(syms) == 0 {
		syms = goSyms
	}
	if len(syms) == 0 {
		syms = elfSymbols(f, f.DynamicSymbols)
	}
	o.lines = lines
	why := error(nil)
	if o.Kernel {
		o.orc = newORC(f)
		o.anchor = o.findBanner()
		if len(syms) == 0 {
			syms, why = o.kallsyms()
		}
	}
	if len(syms) == 0 {
		if why == nil {
			why = errors.New("no symbol table")
		}
		return fmt.Errorf("ELF file has no names of functions: %w; give one that was not stripped", why)
	}
	o.table = NewTable(syms)
	if o.Kernel {
		for i := range o.segments {
			o.segments[i].data = nil // has told all that it has to
		}
	}
	return nil
}

// kallsyms returns the symbols that a kernel has of itself.
func (o *Object) kallsyms() ([]Symbol, error) {
	var last error
	for i := range o.segments {
		syms, err := parseKallsyms(o.segments[i].data, o.segments[i].vaddr)
		if err == nil {
			return syms, nil
		}
		if last == nil || !errors.Is(err, errNoKallsyms) {
			last = err
		}
	}
	return nil, last
}

// elfSymbols returns the functions, and the labels in code, of a symbol table.
func elfSymbols(f *elf.File, table func() ([]elf.Symbol, error)) []Symbol {
	all, err := table()
	if err != nil {
		return nil
	}
	var out []Symbol
	for _, s := range all {
		if s.Name == "" || len(s.Name) > maxELFName || int(s.Section) >= len(f.Sections) || s.Section == elf.SHN_UNDEF {
			continue
		}
		exec := f.Sections[s.Section].Flags&elf.SHF_EXECINSTR != 0
		typ := byte('d')
		switch elf.ST_TYPE(s.Info) {
		case elf.STT_FUNC, elf.STT_LOOS: // STT_GNU_IFUNC is STT_LOOS
			typ = 't'
		case elf.STT_NOTYPE:
			if exec {
				typ = 't'
			}
		case elf.STT_SECTION, elf.STT_FILE, elf.STT_TLS:
			continue
		}
		if typ == 't' && elf.ST_BIND(s.Info) != elf.STB_LOCAL {
			typ = 'T'
		}
		out = append(out, Symbol{Addr: s.Value, Size: s.Size, Name: s.Name, Type: typ})
	}
	return out
}

// maxELFName bounds names in ELF files; those of C++ and Go generics are long.
const maxELFName = 1 << 12
