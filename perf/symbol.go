package perf

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// Symbol is a named range of addresses.
type Symbol struct {
	Addr uint64 // as linked
	Size uint64 // bytes; 0 in input means up to the next symbol
	Name string
	Type byte // of what kind, with the letters of nm: 't' and 'T' are code
}

// code reports whether a symbol is code: functions local, global or weak.
func (s *Symbol) code() bool {
	return s.Type == 't' || s.Type == 'T' || s.Type == 'w' || s.Type == 'W' || s.Type == 'i'
}

// Table is symbols by address. The zero value is an empty table; a Table does
// not change, so it may be used from several goroutines.
type Table struct {
	all []Symbol // ascending, of all types
	fns []Symbol // code, ascending, one for each address, with sizes
}

// maxOpenSymbol is how far the last symbol of a table reaches if its size is unknown.
const maxOpenSymbol = 1 << 16

// NewTable makes a table. It keeps and orders syms.
func NewTable(syms []Symbol) Table {
	slices.SortStableFunc(syms, func(a, b Symbol) int { return cmp.Compare(a.Addr, b.Addr) })
	t := Table{all: syms}
	for i := 0; i < len(syms); {
		next := i
		best := -1
		for ; next < len(syms) && syms[next].Addr == syms[i].Addr; next++ {
			if syms[next].code() && (best < 0 || betterName(&syms[next], &syms[best])) {
				best = next
			}
		}
		if best >= 0 {
			s := syms[best]
			for _, alias := range syms[i:next] {
				if alias.code() {
					s.Size = max(s.Size, alias.Size)
				}
			}
			switch {
			case s.Size != 0 && s.Size <= -s.Addr:
			case next < len(syms):
				s.Size = syms[next].Addr - s.Addr
			default:
				s.Size = min(maxOpenSymbol, -s.Addr)
			}
			t.fns = append(t.fns, s)
		}
		i = next
	}
	return t
}

// betterName reports whether a is the name that people know, of two for one address.
func betterName(a, b *Symbol) bool {
	rank := func(s *Symbol) int {
		n := 0
		if s.Size == 0 {
			n += 16 // a label
		}
		if strings.HasSuffix(s.Name, "_start") || strings.HasSuffix(s.Name, "_end") ||
			s.Name == "_text" || s.Name == "_stext" || s.Name == "_etext" || s.Name == "_sinittext" || s.Name == "_einittext" {
			n += 8
		}
		if s.Type != 'T' {
			n += 4
		}
		n += min(3, len(s.Name)-len(strings.TrimLeft(s.Name, "_")))
		return n
	}
	if ra, rb := rank(a), rank(b); ra != rb {
		return ra < rb
	}
	return len(a.Name) < len(b.Name)
}

// Len returns the number of functions in the table.
func (t *Table) Len() int { return len(t.fns) }

// Lookup returns the function that has code at addr.
func (t *Table) Lookup(addr uint64) (Symbol, bool) {
	i := sort.Search(len(t.fns), func(i int) bool { return t.fns[i].Addr > addr }) - 1
	if i < 0 || addr-t.fns[i].Addr >= t.fns[i].Size {
		return Symbol{}, false
	}
	return t.fns[i], true
}

// Find returns the first symbol, of any type, with a name.
func (t *Table) Find(name string) (Symbol, bool) {
	i := slices.IndexFunc(t.all, func(s Symbol) bool { return s.Name == name })
	if i < 0 {
		return Symbol{}, false
	}
	return t.all[i], true
}

// shifted returns the table with all addresses moved by d.
func (t *Table) shifted(d uint64) Table {
	if d == 0 {
		return *t
	}
	all := slices.Clone(t.all)
	for i := range all {
		all[i].Addr += d
	}
	return NewTable(all)
}
