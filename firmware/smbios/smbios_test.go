package smbios

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

func config() Config {
	c := Config{
		FirmwareVendor: "dfemu", FirmwareVersion: "1", FirmwareDate: "01/01/2025",
		Manufacturer: "dfemu", Product: "PC", Serial: "0042", Family: "F",
		CPU: CPU{Sockets: 2, Cores: 4, Threads: 8, Manufacturer: "GenuineIntel", Version: "model", MHz: 2000},
		RAM: []Range{{0, 2 << 30}, {4 << 30, 38 << 30}},
	}
	for i := range c.UUID {
		c.UUID[i] = byte(i)
	}
	return c
}

type parsed struct {
	typ     byte
	handle  uint16
	b       []byte
	strings []string
}

// parse reads structures by the rules of section 6.1.
func parse(t *testing.T, b []byte) (out []parsed) {
	t.Helper()
	for len(b) > 0 {
		n := int(b[1])
		if n < 4 || n > len(b) {
			t.Fatalf("structure of %d bytes", n)
		}
		p := parsed{typ: b[0], handle: binary.LittleEndian.Uint16(b[2:]), b: b[:n]}
		b = b[n:]
		end := bytes.Index(b, []byte{0, 0})
		if end < 0 {
			t.Fatal("strings without an end")
		}
		if end > 0 {
			p.strings = strings.Split(string(b[:end]), "\x00")
		}
		b = b[end+2:]
		out = append(out, p)
	}
	return out
}

func TestBuild(t *testing.T) {
	c := config()
	tabs, err := Build(c)
	if err != nil {
		t.Fatal(err)
	}
	list := parse(t, tabs.data)
	var types []byte
	handles := map[uint16]bool{}
	lengths := map[byte]int{0: 26, 1: 27, 3: 22, 4: 48, 16: 23, 17: 40, 19: 31, 32: 11, 127: 4}
	for _, p := range list {
		types = append(types, p.typ)
		if handles[p.handle] {
			t.Errorf("handle %#x twice", p.handle)
		}
		handles[p.handle] = true
		if len(p.b) != lengths[p.typ] {
			t.Errorf("type %d: %d bytes, want %d", p.typ, len(p.b), lengths[p.typ])
		}
	}
	if s := fmt.Sprint(types); s != "[0 1 3 4 4 16 17 17 17 19 19 32 127]" {
		t.Errorf("types %s", s)
	}
	if tabs.count != len(list) {
		t.Errorf("count %d, want %d", tabs.count, len(list))
	}
	le := binary.LittleEndian
	for _, p := range list {
		switch {
		case p.typ == 1:
			if !bytes.Equal(p.b[8:16], []byte{3, 2, 1, 0, 5, 4, 7, 6}) || p.b[16] != 8 {
				t.Errorf("UUID % x", p.b[8:24])
			}
			if p.strings[p.b[4]-1] != "dfemu" || p.strings[p.b[5]-1] != "PC" || p.b[6] != 0 || p.strings[p.b[7]-1] != "0042" {
				t.Errorf("strings %q by % x", p.strings, p.b[4:8])
			}
		case p.typ == 4:
			if p.b[35] != 4 || p.b[37] != 8 || le.Uint16(p.b[42:]) != 4 || le.Uint16(p.b[46:]) != 8 {
				t.Errorf("CPU % x", p.b)
			}
		case p.typ == 16:
			if le.Uint32(p.b[7:]) != 40<<20 || le.Uint16(p.b[13:]) != 3 {
				t.Errorf("array % x", p.b)
			}
		case p.handle == handleDevice:
			if le.Uint16(p.b[12:]) != 16<<10 {
				t.Errorf("module % x", p.b)
			}
		case p.handle == handleDevice+2:
			if le.Uint16(p.b[12:]) != 8<<10 {
				t.Errorf("last module % x", p.b)
			}
		case p.handle == handleMapped+1:
			if le.Uint32(p.b[4:]) != 4<<20 || le.Uint32(p.b[8:]) != 42<<20-1 {
				t.Errorf("mapped % x", p.b)
			}
		}
	}
}

func TestEntryPoints(t *testing.T) {
	tabs, err := Build(config())
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := tabs.Place(0xf0000, 0xf1000)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	e3, e2 := chunks[0].Data[:entry3Len], chunks[0].Data[32:][:entry2Len]
	if string(e3[:5]) != "_SM3_" || sum(e3) != 0 || le.Uint64(e3[16:]) != 0xf1000 || int(le.Uint32(e3[12:])) != tabs.Size() {
		t.Errorf("3.0 % x", e3)
	}
	if string(e2[:4]) != "_SM_" || sum(e2) != 0 || sum(e2[16:]) != 0 || le.Uint32(e2[24:]) != 0xf1000 ||
		int(le.Uint16(e2[22:])) != tabs.Size() || int(le.Uint16(e2[28:])) != tabs.count {
		t.Errorf("2.1 % x", e2)
	}
	for _, a := range [][2]uint64{{0xe0000, 0xf1000}, {0xf0001, 0xf1000}, {0xffff0, 0xf1000}, {0xf0000, 0xf0010}, {0xf0000, 0xffffffff}, {0xf0000, 0}} {
		if _, err := tabs.Place(a[0], a[1]); err == nil {
			t.Errorf("Place(%#x, %#x) succeeded", a[0], a[1])
		}
	}
	for _, v3 := range []bool{false, true} {
		files, err := tabs.FwCfg(v3)
		if err != nil || files[0].Name != TablesFile || !bytes.Equal(files[0].Data, tabs.data) {
			t.Errorf("FwCfg(%v): %v", v3, err)
		}
		if want := map[bool]int{false: entry2Len, true: entry3Len}[v3]; len(files[1].Data) != want {
			t.Errorf("anchor of %d bytes, want %d", len(files[1].Data), want)
		}
	}
}

// TestLarge has sizes which need the extended fields.
func TestLarge(t *testing.T) {
	c := config()
	c.RAM = []Range{{0, 3 << 40}, {8 << 40, 5 << 40}}
	tabs, err := Build(c)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	devices := uint64(0)
	for _, p := range parse(t, tabs.data) {
		switch p.typ {
		case 16:
			if le.Uint32(p.b[7:]) != 0x80000000 || le.Uint64(p.b[15:]) != 8<<40 {
				t.Errorf("array % x", p.b)
			}
		case 17:
			devices += uint64(le.Uint32(p.b[28:])) << 20
			if le.Uint16(p.b[12:]) != 0x7fff {
				t.Errorf("module % x", p.b)
			}
		case 19:
			if p.handle == handleMapped+1 && (le.Uint32(p.b[4:]) != 0xffffffff || le.Uint64(p.b[15:]) != 8<<40 || le.Uint64(p.b[23:]) != 13<<40-1) {
				t.Errorf("mapped % x", p.b)
			}
		}
	}
	if devices != 8<<40 {
		t.Errorf("modules of %#x bytes", devices)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		want   string
		change func(*Config)
	}{
		{"Product", func(c *Config) { c.Product = strings.Repeat("x", 256) }},
		{"zero byte", func(c *Config) { c.Serial = "a\x00b" }},
		{"sockets", func(c *Config) { c.CPU.Sockets = 0 }},
		{"threads", func(c *Config) { c.CPU.Threads = 1 }},
		{"0 ranges", func(c *Config) { c.RAM = nil }},
		{"multiple of 1 KiB", func(c *Config) { c.RAM[0].Size = 1000 }},
		{"multiple of 1 KiB", func(c *Config) { c.RAM[0] = Range{^uint64(0) &^ 1023, 4096} }},
	} {
		c := config()
		tc.change(&c)
		if _, err := Build(c); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("want an error with %q, got %v", tc.want, err)
		}
	}
}
