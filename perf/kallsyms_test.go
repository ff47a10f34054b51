package perf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// layout is one of the forms in which kernels have had the tables.
type layout struct {
	name   string
	align  int
	before bool // the addresses are before the number of symbols
	seqs   bool // kallsyms_seqs_of_names is between markers and tokens
	kind   string
	marker int // bytes of a marker
}

var layouts = []layout{
	{"absolute", 8, true, false, "absolute", 8},
	{"relative, long markers", 8, true, false, "relative", 8},
	{"relative with per-CPU symbols", 8, true, false, "percpu", 4},
	{"relative, names by number", 8, true, true, "percpu", 4},
	{"relative, behind the tokens", 8, false, false, "relative", 4},
	{"relative to themselves", 4, false, false, "place", 4},
}

const testVA = 0xffffffff82000000

// testKernelSymbols are n symbols in the order of kernels.
func testKernelSymbols(n int, percpu bool) []Symbol {
	var out []Symbol
	if percpu {
		out = append(out, Symbol{Addr: 0, Name: "fixed_percpu_data", Type: 'A'}, Symbol{Addr: 0x1f000, Name: "this_cpu_off", Type: 'D'})
	}
	for i := len(out); i < n; i++ {
		s := Symbol{Addr: 0xffffffff81000000 + uint64(i)*0x40, Name: fmt.Sprintf("function_%d", i), Type: "tTwD"[i%4]}
		if i%97 == 0 {
			s.Name += string(bytes.Repeat([]byte("_long"), 40)) // its length takes two bytes
		}
		out = append(out, s)
	}
	return out
}

// encode makes the tables as the kernel's build does.
func (l *layout) encode(syms []Symbol) []byte {
	le := binary.LittleEndian
	var b []byte
	pad := func(to int) {
		for len(b)%to != 0 {
			b = append(b, 0)
		}
	}
	b = append(b, "Linux version %s (%s)\x00 something before the tables"...)
	pad(64)
	addresses := func() {
		base := syms[0].Addr
		if l.kind == "percpu" {
			base = 0xffffffff81000000
		}
		for i := range syms {
			a := syms[i].Addr
			switch l.kind {
			case "absolute":
				b = le.AppendUint64(b, a)
			case "relative":
				b = le.AppendUint32(b, uint32(a-base))
			case "percpu":
				if a < highHalf {
					b = le.AppendUint32(b, uint32(a))
				} else {
					b = le.AppendUint32(b, uint32(base-1-a))
				}
			case "place":
				b = le.AppendUint32(b, uint32(a-(testVA+uint64(len(b)))))
			}
		}
		pad(l.align)
		if l.kind == "relative" || l.kind == "percpu" {
			b = le.AppendUint64(b, base)
		}
	}
	if l.before {
		addresses()
	}
	b = le.AppendUint32(b, uint32(len(syms)))
	pad(l.align)
	names := len(b)
	var markers []int
	for i := range syms {
		if i%markerEvery == 0 {
			markers = append(markers, len(b)-names)
		}
		text := string(syms[i].Type) + syms[i].Name
		var tokens []byte
		for len(text) > 0 {
			if len(text) >= 9 && text[:9] == "function_" {
				tokens, text = append(tokens, 0xf0), text[9:]
				continue
			}
			tokens, text = append(tokens, text[0]), text[1:]
		}
		if len(tokens) < 0x80 {
			b = append(b, byte(len(tokens)))
		} else {
			b = append(b, byte(len(tokens)|0x80), byte(len(tokens)>>7))
		}
		b = append(b, tokens...)
	}
	pad(l.align)
	for _, m := range markers {
		b = le.AppendUint32(b, uint32(m))
		b = append(b, make([]byte, l.marker-4)...)
	}
	pad(l.align)
	if l.seqs {
		b = append(b, make([]byte, 3*len(syms))...)
		pad(l.align)
	}
	table := len(b)
	var index []int
	for i := range tokenCount {
		index = append(index, len(b)-table)
		switch {
		case i == 0xf0:
			b = append(b, "function_"...)
		case i >= ' ' && i < 0x7f:
			b = append(b, byte(i))
		case i == 7:
			b = append(b, "seven"...)
		}
		b = append(b, 0)
	}
	pad(l.align)
	for _, at := range index {
		b = le.AppendUint16(b, uint16(at))
	}
	pad(l.align)
	if !l.before {
		addresses()
	}
	return append(b, "what follows in the image"...)
}

func TestKallsyms(t *testing.T) {
	for _, l := range layouts {
		for _, n := range []int{3, 256, 257, 1500} {
			want := testKernelSymbols(n, l.kind == "percpu")
			got, err := parseKallsyms(l.encode(want), testVA)
			if err != nil {
				t.Errorf("%s, %d symbols: %v", l.name, n, err)
				continue
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %d symbols: they differ: %v …, want %v …", l.name, n, got[:3], want[:3])
			}
		}
	}
}

// TestKallsymsDamaged sees that tables which contradict themselves are refused.
func TestKallsymsDamaged(t *testing.T) {
	l := layouts[4]
	syms := testKernelSymbols(600, false)
	good := l.encode(syms)
	find := func(s string) int { return bytes.Index(good, []byte(s)) }
	tokens := find("0\x001\x002\x003")
	for name, damage := range map[string]func(b []byte) []byte{
		"no tokens":        func(b []byte) []byte { b[tokens] = 'x'; return b },
		"token index":      func(b []byte) []byte { b[len(b)-25-8-4*600-20]++; return b },
		"number of names":  func(b []byte) []byte { b[64]++; return b },
		"length of a name": func(b []byte) []byte { b[72]++; return b },
		"order of addresses": func(b []byte) []byte {
			b[len(b)-25-8-4*300+2] = 0xff
			return b
		},
		"base": func(b []byte) []byte { b[len(b)-25-1] = 0; return b },
		"end":  func(b []byte) []byte { return b[:len(b)-25-12] },
	} {
		got, err := parseKallsyms(damage(bytes.Clone(good)), testVA)
		if err == nil {
			t.Errorf("%s: %d symbols and no error", name, len(got))
		}
	}
	if _, err := parseKallsyms(nil, 0); !errors.Is(err, errNoKallsyms) {
		t.Errorf("nothing: %v", err)
	}
}

func FuzzKallsyms(f *testing.F) {
	for _, l := range layouts {
		f.Add(l.encode(testKernelSymbols(40, l.kind == "percpu")))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		syms, err := parseKallsyms(data, testVA)
		if err != nil {
			return
		}
		table := NewTable(syms)
		for i := range syms {
			if s, ok := table.Lookup(syms[i].Addr); ok && (s.Addr > syms[i].Addr || s.Name == "") {
				t.Errorf("%#x is in %+v", syms[i].Addr, s)
			}
		}
	})
}
