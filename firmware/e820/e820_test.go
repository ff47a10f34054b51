package e820

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	for _, tc := range []struct {
		in   []Entry
		want string
	}{
		{nil, "[]"},
		{[]Entry{{0x1000, 0, RAM}}, "[]"},
		{[]Entry{{0x1000, 0x1000, RAM}, {0, 0x1000, RAM}}, "[0x0-0x1fff usable]"},
		{[]Entry{{0, 0x3000, RAM}, {0x1000, 0x1000, Reserved}}, "[0x0-0xfff usable 0x1000-0x1fff reserved 0x2000-0x2fff usable]"},
		{[]Entry{{0x1000, 0x2000, Reserved}, {0, 0x2000, ACPI}}, "[0x0-0x1fff ACPI data 0x2000-0x2fff reserved]"},
		{[]Entry{{0, 0x1000, RAM}, {0x2000, 0x1000, RAM}}, "[0x0-0xfff usable 0x2000-0x2fff usable]"},
	} {
		got, err := Normalize(tc.in)
		if err != nil || fmt.Sprint(got) != tc.want {
			t.Errorf("%v: %v, %v, want %s", tc.in, got, err, tc.want)
		}
	}
	if _, err := Normalize([]Entry{{^uint64(0), 2, RAM}}); err == nil {
		t.Error("a range over 2^64 was taken")
	}
}

func TestWith(t *testing.T) {
	m := Map{{0, 0x10000, RAM}, {0x10000, 0x10000, Reserved}}
	got, err := m.With(Entry{0x8000, 0x10000, ACPI})
	if err != nil || fmt.Sprint(got) != "[0x0-0x7fff usable 0x8000-0x17fff ACPI data 0x18000-0x1ffff reserved]" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := m.With(Entry{^uint64(0), 2, RAM}); err == nil {
		t.Error("a range over 2^64 was taken")
	}
}

func TestFindHigh(t *testing.T) {
	m := Map{{0, 0xa0000, RAM}, {0x100000, 0x700000, RAM}, {0x800000, 0x1000, Reserved}, {0x100000000, 0x1000, RAM}}
	for _, tc := range []struct {
		size, align, lo, hi, want uint64
		ok                        bool
	}{
		{0x1000, 0x1000, 0, ^uint64(0), 0x100000000, true},
		{0x1001, 0x1000, 0, ^uint64(0), 0x7fe000, true},
		{0x1000, 0x1000, 0, 0x100000fff, 0x7ff000, true},
		{0x700000, 1, 0, 1 << 32, 0x100000, true},
		{0x700001, 1, 0, 1 << 32, 0, false},
		{0x10, 0x1000, 0x101000, 0x101800, 0x101000, true},
		{0x10, 0x1000, 0x101001, 0x101800, 0, false},
		{0x10, 3, 0, 1 << 32, 0, false},
		{0x90000, 0x1000, 0, 0x100000, 0x10000, true},
	} {
		got, ok := m.FindHigh(tc.size, tc.align, tc.lo, tc.hi)
		if got != tc.want || ok != tc.ok {
			t.Errorf("FindHigh(%#x, %#x, %#x, %#x) = %#x, %v, want %#x, %v", tc.size, tc.align, tc.lo, tc.hi, got, ok, tc.want, tc.ok)
		}
	}
}

func TestLayout(t *testing.T) {
	for _, tc := range []struct {
		c        Config
		banks    string
		windows  string
		window64 string
	}{
		{Config{RAM: 16 * MiB}, "[{0 1000000 0}]", "[{1000000 af000000} {c0000000 3ec00000}]", "{800000000 800000000}"},
		{Config{RAM: 0xb0000000}, "[{0 b0000000 0}]", "[{c0000000 3ec00000}]", "{800000000 800000000}"},
		{Config{RAM: 4 * GiB}, "[{0 80000000 0} {100000000 80000000 80000000}]", "[{80000000 30000000} {c0000000 3ec00000}]", "{800000000 800000000}"},
		{Config{RAM: 64 * GiB}, "[{0 80000000 0} {100000000 f80000000 80000000}]", "[{80000000 30000000} {c0000000 3ec00000}]", "{1800000000 800000000}"},
		{Config{RAM: 3 * GiB, Buses: -1}, "[{0 c0000000 0}]", "[{c0000000 3ec00000}]", "{800000000 800000000}"},
		{Config{RAM: 4 * GiB, Hole: 0xc0000000, ECAM: 0xe0000000}, "[{0 c0000000 0} {100000000 40000000 c0000000}]",
			"[{c0000000 20000000} {f0000000 ec00000}]", "{800000000 800000000}"},
		{Config{RAM: 1 * GiB, Buses: 16}, "[{0 40000000 0}]", "[{40000000 70000000} {b1000000 4dc00000}]", "{800000000 800000000}"},
		{Config{RAM: 1 * GiB, ECAM: 1 << 38, PhysBits: 46}, "[{0 40000000 0}]", "[{40000000 bec00000}]", "{4800000000 800000000}"},
	} {
		l, err := New(tc.c)
		if err != nil {
			t.Errorf("%+v: %v", tc.c, err)
			continue
		}
		if s := fmt.Sprintf("%x", l.Banks); s != tc.banks {
			t.Errorf("%+v: banks %s, want %s", tc.c, s, tc.banks)
		}
		if s := fmt.Sprintf("%x", l.Windows32); s != tc.windows {
			t.Errorf("%+v: windows %s, want %s", tc.c, s, tc.windows)
		}
		if s := fmt.Sprintf("%x", l.Window64); s != tc.window64 {
			t.Errorf("%+v: 64-bit window %s, want %s", tc.c, s, tc.window64)
		}
		check(t, tc.c, l)
	}
}

// check holds for every layout: all RAM is there once, nothing overlaps it.
func check(t *testing.T, c Config, l *Layout) {
	t.Helper()
	if n := l.FirmwareMap().Total(); n != c.RAM {
		t.Errorf("%+v: %#x bytes of RAM", c, n)
	}
	// The first megabyte keeps 0xA0000-0xFFFFF and the EBDA from the guest.
	if n := l.Map.Total(); n != c.RAM-(HighStart-LowEnd)-(LowEnd-EBDA) {
		t.Errorf("%+v: %#x bytes are usable", c, n)
	}
	for i := 1; i < len(l.Map); i++ {
		if l.Map[i-1].End() > l.Map[i].Addr {
			t.Errorf("%+v: %v overlaps %v", c, l.Map[i-1], l.Map[i])
		}
	}
	for _, w := range append(l.Windows32, l.Window64) {
		for _, e := range l.Map {
			if w.Addr < e.End() && e.Addr < w.End() {
				t.Errorf("%+v: window %#x overlaps %v", c, w, e)
			}
		}
	}
	if off, follow, ok := l.Find(0x100000); off != 0x100000 || !ok || follow != l.Banks[0].Size-0x100000 {
		t.Errorf("Find(1 MiB) = %#x, %#x, %v", off, follow, ok)
	}
	if _, _, ok := l.Find(IOAPIC); ok {
		t.Error("there is RAM at the I/O APIC")
	}
	if len(l.Banks) > 1 {
		if off, _, ok := l.Find(fourG); !ok || off != l.Banks[0].Size {
			t.Errorf("Find(4 GiB) = %#x, %v", off, ok)
		}
	}
}

func TestLayoutErrors(t *testing.T) {
	for _, tc := range []struct {
		want string
		c    Config
	}{
		{"of RAM", Config{RAM: 8 * MiB}},
		{"of RAM", Config{RAM: 65 * GiB}},
		{"of RAM", Config{RAM: 16*MiB + 4096}},
		{"257 buses", Config{RAM: GiB, Buses: 257}},
		{"overlaps RAM", Config{RAM: GiB, ECAM: 0x20000000, Hole: GiB}},
		{"ECAM at", Config{RAM: GiB, ECAM: 0xf0000000}},
		{"ECAM at", Config{RAM: GiB, ECAM: 0x80001000, Hole: 2 * GiB}},
		{"RAM up to", Config{RAM: GiB, Hole: 0xff000000}},
		{"power of two", Config{RAM: GiB, Window64: 3 * GiB}},
		{"no 64-bit window", Config{RAM: GiB, Window64: 1 << 40}},
		{"bits", Config{RAM: GiB, PhysBits: 32}},
	} {
		if _, err := New(tc.c); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: want an error with %q, got %v", tc.c, tc.want, err)
		}
	}
}

func TestAppendBinary(t *testing.T) {
	b, err := Map{{0x1234, 0x5678, ACPI}, {1 << 32, 1, RAM}}.AppendBinary(nil)
	if err != nil || len(b) != 2*entryLength {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	le := binary.LittleEndian
	if le.Uint64(b) != 0x1234 || le.Uint64(b[8:]) != 0x5678 || le.Uint32(b[16:]) != 3 || le.Uint64(b[20:]) != 1<<32 {
		t.Errorf("% x", b)
	}
}

// FuzzNormalize has overlap decided for arbitrary entries.
func FuzzNormalize(f *testing.F) {
	f.Add([]byte{0, 10, 1, 5, 10, 2, 3, 1, 3})
	f.Add([]byte{1, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var in []Entry
		want := map[uint64]Type{}
		for ; len(b) >= 3 && len(in) < 16; b = b[3:] {
			e := Entry{uint64(b[0]), uint64(b[1]), Type(b[2]%5 + 1)}
			in = append(in, e)
			for a := e.Addr; a < e.End(); a++ {
				want[a] = max(want[a], e.Type)
			}
		}
		m, err := Normalize(in)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for i, e := range m {
			if i > 0 && m[i-1].End() > e.Addr {
				t.Fatalf("%v overlaps %v", m[i-1], e)
			}
			for a := e.Addr; a < e.End(); a++ {
				n++
				if want[a] != e.Type {
					t.Fatalf("%#x is %v, want %v", a, e.Type, want[a])
				}
			}
		}
		if n != len(want) {
			t.Fatalf("%d addresses, want %d", n, len(want))
		}
	})
}
