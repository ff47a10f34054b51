package perf

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	table := NewTable([]Symbol{
		{Addr: 0x3000, Name: "last", Type: 'T'},
		{Addr: 0x1000, Name: "_stext", Type: 'T'},
		{Addr: 0x1000, Name: "__alias", Type: 'T'},
		{Addr: 0x1000, Name: "first", Type: 'T'},
		{Addr: 0x1000, Name: "local", Type: 't'},
		{Addr: 0x1100, Name: "sized", Type: 't', Size: 0x20},
		{Addr: 0x1200, Name: "data", Type: 'D'},
		{Addr: 0x1300, Name: "weak", Type: 'W'},
		{Addr: 0xfffffffffffffff0, Name: "top", Type: 'T', Size: 0x100},
	})
	for _, c := range []struct {
		addr uint64
		want string
	}{
		{0xfff, ""}, {0x1000, "first"}, {0x10ff, "first"},
		{0x1100, "sized"}, {0x111f, "sized"}, {0x1120, ""},
		{0x1200, ""}, {0x1250, ""}, {0x1300, "weak"}, {0x2fff, "weak"},
		{0x3000, "last"}, {0x3000 + maxOpenSymbol, "last"}, // up to the next symbol
		{0xfffffffffffffff0, "top"}, {^uint64(0), "top"}, {0, ""},
	} {
		got, ok := table.Lookup(c.addr)
		if ok != (c.want != "") || got.Name != c.want {
			t.Errorf("%#x is in %q, %v; want %q", c.addr, got.Name, ok, c.want)
		}
	}
	moved := table.shifted(0x100000)
	if s, ok := moved.Lookup(0x101105); !ok || s.Name != "sized" || s.Addr != 0x101100 {
		t.Errorf("after moving: %+v, %v", s, ok)
	}
	if s, ok := table.Find("data"); !ok || s.Addr != 0x1200 {
		t.Errorf("data is %+v, %v", s, ok)
	}
	var empty Table
	if _, ok := empty.Lookup(1); ok || empty.Len() != 0 {
		t.Error("an empty table has something")
	}
}

func TestSystemMap(t *testing.T) {
	const text = "ffffffff81000000 T _text\nffffffff81000040 t do_it\n\nffffffff82000000 D linux_banner\nffffffffc0001000 t probe\t[virtio_blk]\n"
	o, err := Parse("System.map", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if !o.Kernel || o.anchor.va != 0xffffffff82000000 {
		t.Errorf("kernel %v, anchor at %#x", o.Kernel, o.anchor.va)
	}
	if s, ok := o.Lookup(0xffffffffc0001010); !ok || s.Name != "probe [virtio_blk]" {
		t.Errorf("module: %+v, %v", s, ok)
	}
	for text, want := range map[string]string{
		"":                                     "no symbols",
		"0000000000000000 T _text\n":           "all addresses are 0",
		"ffffffff81000000 T\n":                 "line 1",
		"ffffffff81000000 T a\nzz T b\n":       "line 2",
		"ffffffff81000000 Tt a\n":              "line 1",
		"1ffffffff81000000 T a\n":              "out of range",
		"\x00\x01\x02":                         "neither an ELF file nor a bzImage",
		"f T " + strings.Repeat("n", 600) + "": "longer than",
	} {
		if _, err := Parse("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

// TestWith sees that addresses which a moved kernel told of itself are put on the file's.
func TestWith(t *testing.T) {
	kernel := testKernel(t)
	const slide = 0x1f200000
	running, err := Parse("kallsyms", []byte("ffffffffa0200000 T startup_64\nffffffffa0200040 T renamed\nffffffffa1220000 D linux_banner\nffffffffc0001000 t probe [m]\n"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := kernel.With(running)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := o.Lookup(0xffffffff81000050); !ok || s.Name != "renamed" {
		t.Errorf("moved by %#x: %+v, %v", slide, s, ok)
	}
	other := &Object{File: "other", Kernel: true, anchor: anchor{va: 1, text: []byte("Linux version 5.0")}}
	if _, err := kernel.With(other); err == nil || !strings.Contains(err.Error(), "another kernel") {
		t.Errorf("symbols of another kernel: %v", err)
	}
	if _, err := kernel.With(&Object{}); err == nil {
		t.Error("a kernel with the symbols of a program")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("ffffffff81000000 T _text\nffffffff82000000 D linux_banner\n"))
	f.Add(testELF(elfSpec{vaddr: 0xffffffff81000000, text: make([]byte, 64), symbols: []Symbol{{Addr: 0xffffffff81000000, Size: 16, Name: "f"}}}))
	f.Add(testELF(elfSpec{vaddr: 0x1000, pie: true, text: make([]byte, 64), symbols: []Symbol{{Addr: 0x1000, Size: 16, Name: "f"}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Parse("f", data)
		if err != nil {
			return
		}
		from, to := o.span()
		for _, a := range []uint64{0, from, to, to - 1, ^uint64(0)} {
			o.Lookup(a)
			o.code(a)
			if o.lines != nil {
				o.lines(a)
			}
		}
	})
}
