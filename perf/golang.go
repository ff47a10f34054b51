package perf

import (
	"debug/elf"
	"debug/gosym"
)

// goSymbols returns the functions of a program in Go, which every such program
// has for its own use (.gopclntab), and what tells the line of an address. Both are
// nil for other programs.
func goSymbols(f *elf.File) (syms []Symbol, lines func(uint64) (string, int)) {
	pcln := f.Section(".gopclntab")
	if pcln == nil {
		pcln = f.Section(".data.rel.ro.gopclntab")
	}
	text := f.Section(".text")
	if pcln == nil || text == nil {
		return nil, nil
	}
	data, err := pcln.Data()
	if err != nil {
		return nil, nil
	}
	// The package is written for files that the Go linker made.
	defer func() {
		if recover() != nil {
			syms, lines = nil, nil
		}
	}()
	start, ok := goText(f, text, data)
	if !ok {
		return nil, nil
	}
	t, err := gosym.NewTable(nil, gosym.NewLineTable(data, start))
	if err != nil || len(t.Funcs) == 0 {
		return nil, nil
	}
	for i := range t.Funcs {
		fn := &t.Funcs[i]
		if fn.Sym == nil || fn.End <= fn.Entry || len(fn.Name) > maxELFName {
			continue
		}
		syms = append(syms, Symbol{Addr: fn.Entry, Size: fn.End - fn.Entry, Name: fn.Name, Type: 'T'})
	}
	return syms, func(pc uint64) (file string, line int) {
		defer func() {
			if recover() != nil {
				file, line = "", 0
			}
		}()
		file, line, _ = t.PCToLine(pc)
		return file, line
	}
}

// goText returns the address of runtime.text, which the tables count from.
func goText(f *elf.File, text *elf.Section, pcln []byte) (uint64, bool) {
	if all, err := f.Symbols(); err == nil {
		for _, s := range all {
			if s.Name == "runtime.text" {
				return s.Value, true
			}
		}
	}
	// Go 1.18 to 1.25 tell it in the header, behind the magic number, three sizes and two counts.
	const at = 8 + 2*8
	if f.Class == elf.ELFCLASS64 && len(pcln) >= at+8 {
		if v := f.ByteOrder.Uint64(pcln[at:]); v-text.Addr < text.Size {
			return v, true
		}
	}
	// The Go linker puts it first; a C linker, to be known by .init, does not.
	return text.Addr, f.Section(".init") == nil
}
