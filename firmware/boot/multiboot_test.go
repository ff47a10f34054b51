package boot

import (
	"encoding/binary"
	"testing"
)

func mb1(flags uint32, rest ...uint32) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, mb1Magic)
	b = le.AppendUint32(b, flags)
	sum := -int64(mb1Magic) - int64(flags)
	b = le.AppendUint32(b, uint32(sum))
	for _, v := range rest {
		b = le.AppendUint32(b, v)
	}
	return b
}

// tag makes a Multiboot 2 header tag of 32-bit words.
func tag(typ, flags uint16, words ...uint32) []byte {
	le := binary.LittleEndian
	b := le.AppendUint16(nil, typ)
	b = le.AppendUint16(b, flags)
	b = le.AppendUint32(b, uint32(8+4*len(words)))
	for _, v := range words {
		b = le.AppendUint32(b, v)
	}
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func mb2(tags ...[]byte) []byte {
	le := binary.LittleEndian
	n := 16
	for _, t := range tags {
		n += len(t)
	}
	b := le.AppendUint32(nil, mb2Magic)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, uint32(n))
	sum := -int64(mb2Magic) - int64(n)
	b = le.AppendUint32(b, uint32(sum))
	for _, t := range tags {
		b = append(b, t...)
	}
	return b
}

var mb2End = tag(mb2TagEnd, 0)

// kludged is an image with address fields: 8 bytes, the header, and 100 bytes
// that are loaded at 2 MiB from its start on.
func kludged(flags uint32) []byte {
	b := append([]byte("leading!"), mb1(flags|mb1Kludge, 0x200008, 0x200000, 0x200040, 0x201000, 0x200030)...)
	return append(b, make([]byte, 100)...)
}

func TestMultiboot1(t *testing.T) {
	m := layout(t, 64<<20)
	for _, tc := range []struct {
		name  string
		image []byte
		rip   uint64
	}{
		{"ELF", elf32(mb1(mb1PageAlign | mb1MemoryInfo)), 0x200004},
		{"address fields", kludged(mb1VideoMode), 0x200030},
	} {
		if k, err := Detect(tc.image); k != Multiboot1 || err != nil {
			t.Errorf("%s: %v, %v", tc.name, k, err)
		}
		f := newFake(m)
		e, err := Load(tc.image, Options{Map: m, Cmdline: "a b", Name: "unit.flat", Initrd: []byte("one"), Modules: []Module{{[]byte("two"), "2"}}}, f)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		checkFlat(t, f, e, Protected)
		if e.RIP != tc.rip || e.RAX != 0x2badb002 {
			t.Errorf("%s: entry %#x, RAX %#x", tc.name, e.RIP, e.RAX)
		}
		i := e.RBX
		if f.u32(i) != 0x24f || f.u32(i+4) != 639 || f.u32(i+8) != 63<<10 {
			t.Errorf("%s: flags %#x, memory %d, %d", tc.name, f.u32(i), f.u32(i+4), f.u32(i+8))
		}
		if s := f.str(uint64(f.u32(i + 16))); s != "unit.flat a b" {
			t.Errorf("%s: command line %q", tc.name, s)
		}
		if s := f.str(uint64(f.u32(i + 64))); s != "dfemu" {
			t.Errorf("%s: loader name %q", tc.name, s)
		}
		mods := uint64(f.u32(i + 24))
		if f.u32(i+20) != 2 {
			t.Fatalf("%s: %d modules", tc.name, f.u32(i+20))
		}
		for n, want := range []string{"one", "two"} {
			a := mods + 16*uint64(n)
			lo, hi := uint64(f.u32(a)), uint64(f.u32(a+4))
			if lo&0xfff != 0 || string(f.read(lo, int(hi-lo))) != want {
				t.Errorf("%s: module %d at %#x to %#x", tc.name, n, lo, hi)
			}
		}
		a, end := uint64(f.u32(i+48)), uint64(f.u32(i+48)+f.u32(i+44))
		for n := 0; a < end; n++ {
			if f.u32(a) != 20 || f.u64(a+4) != m[n].Addr || f.u64(a+12) != m[n].Size || f.u32(a+20) != uint32(m[n].Type) {
				t.Errorf("%s: map entry %d is wrong", tc.name, n)
			}
			a += 24
		}
	}
	f := newFake(m)
	if _, err := Load(kludged(0), Options{Map: m}, f); err != nil || string(f.read(0x200000, 8)) != "leading!" || f.u32(0x200008) != mb1Magic {
		t.Errorf("image %q, %v", f.read(0x200000, 8), err)
	}
}

func TestMultiboot1Errors(t *testing.T) {
	m := layout(t, 64<<20)
	long := elf64(nil)
	long = append(append(long, make([]byte, -len(long)&3)...), mb1(0)...)
	for _, tc := range []struct {
		want  string
		image []byte
	}{
		{"no Multiboot header", make([]byte, 100)},
		{"no Multiboot header", append(make([]byte, 8192), mb1(0)...)},
		{"features", mb1(8)},
		{"not an ELF", mb1(0)},
		{"64-bit ELF", long},
		{"pass the end", mb1(mb1Kludge, 0x200000)},
		{"header_addr", mb1(mb1Kludge, 0x100000, 0x200000, 0, 0, 0)},
		{"header_addr", mb1(mb1Kludge, 0x200008, 0x200000, 0, 0, 0)},
		{"load_end_addr", mb1(mb1Kludge, 0x200000, 0x200000, 0x300000, 0, 0)},
		{"load_end_addr", mb1(mb1Kludge, 0x200000, 0x200000, 0x100000, 0, 0)},
		{"bss_end_addr", mb1(mb1Kludge, 0x200000, 0x200000, 0, 0x200001, 0)},
		{"entry_addr", mb1(mb1Kludge, 0x200000, 0x200000, 0, 0, 0x300000)},
		{"not in one range of RAM", mb1(mb1Kludge, 0x200000, 0x200000, 0, 0xf0000000, 0x200000)},
		{"boot information", mb1(mb1Kludge, 0x7000, 0x7000, 0, 0, 0x7000)},
	} {
		_, err := Load(tc.image, Options{Map: m, Kind: Multiboot1}, newFake(m))
		wantError(t, tc.want, err, tc.want)
	}
	if k, err := Detect(long); k != ELF || err != nil {
		t.Errorf("a 64-bit ELF with a Multiboot 1 header is detected as %v, %v", k, err)
	}
}

func TestMultiboot2(t *testing.T) {
	m := layout(t, 64<<20)
	rsdp := make([]byte, 36)
	copy(rsdp, "RSD PTR ")
	header := mb2(
		tag(mb2TagInfo, 0, 1, 2, 3, 4, 6, 14),
		tag(mb2TagConsole, 0, 3),
		tag(mb2TagAlign, 0),
		tag(mb2TagRelocatable, 0, 0x100000, 0xffffffff, 0x1000, 0),
		tag(77, mb2Optional, 1),
		tag(mb2TagEntry, 0, 0x200008),
		mb2End)
	image := elf64(nil)
	image = append(append(image, make([]byte, -len(image)&7)...), header...)
	if k, err := Detect(image); k != Multiboot2 || err != nil {
		t.Fatalf("%v, %v", k, err)
	}
	f := newFake(m)
	e, err := Load(image, Options{Map: m, Cmdline: "a b", RSDPTable: rsdp, VGAText: true, Modules: []Module{{[]byte("two"), "2"}}}, f)
	if err != nil {
		t.Fatal(err)
	}
	checkFlat(t, f, e, Protected)
	if e.RIP != 0x200008 || e.RAX != 0x36d76289 || e.RBX&7 != 0 {
		t.Errorf("entry %#x, RAX %#x, RBX %#x", e.RIP, e.RAX, e.RBX)
	}
	seen := map[uint32]bool{}
	end := e.RBX + uint64(f.u32(e.RBX))
	for a := e.RBX + 8; a < end; a += (uint64(f.u32(a+4)) + 7) &^ 7 {
		typ, size := f.u32(a), f.u32(a+4)
		seen[typ] = true
		switch typ {
		case mb2InfoCmdline:
			if f.str(a+8) != "a b" {
				t.Errorf("command line %q", f.str(a+8))
			}
		case mb2InfoModule:
			lo, hi := uint64(f.u32(a+8)), uint64(f.u32(a+12))
			if string(f.read(lo, int(hi-lo))) != "two" || f.str(a+16) != "2" {
				t.Errorf("module at %#x to %#x, %q", lo, hi, f.str(a+16))
			}
		case mb2InfoMap:
			if f.u32(a+8) != 24 || int(size-16)/24 != len(m) || f.u64(a+16+24) != m[1].Addr {
				t.Errorf("memory map of %d bytes", size)
			}
		case mb2InfoRSDP1, mb2InfoRSDP2:
			if string(f.read(a+8, 8)) != "RSD PTR " {
				t.Errorf("tag %d %q", typ, f.read(a+8, 8))
			}
		case mb2InfoLoadBase:
			if f.u32(a+8) != 0x200000 {
				t.Errorf("load base %#x", f.u32(a+8))
			}
		case mb2TagEnd:
			if a+8 != end {
				t.Errorf("the end tag is at %#x of %#x", a, end)
			}
		}
	}
	for _, typ := range []uint32{0, 1, 2, 3, 4, 6, 8, 14, 15, 21} {
		if !seen[typ] {
			t.Errorf("no tag %d", typ)
		}
	}
	for _, load := range []uint32{0x200000, 0xffffffff} {
		flat := append(mb2(tag(mb2TagAddress, 0, 0x200000, load, 0, 0), tag(mb2TagEntry, 0, 0x200010), mb2End), "code"...)
		if e, err := Load(flat, Options{Map: m}, newFake(m)); err != nil || e.RIP != 0x200010 {
			t.Errorf("address tag with load_addr %#x: %#x, %v", load, e.RIP, err)
		}
	}
}

func TestMultiboot2Errors(t *testing.T) {
	m := layout(t, 64<<20)
	arch := mb2(mb2End)
	binary.LittleEndian.PutUint32(arch[4:], 4)
	binary.LittleEndian.PutUint32(arch[12:], binary.LittleEndian.Uint32(arch[12:])-4)
	for _, tc := range []struct {
		want  string
		image []byte
	}{
		{"no Multiboot 2 header", make([]byte, 100)},
		{"architecture", arch},
		{"header_length", mb2(mb2End, mb2End)[:24]},
		{"no end tag", mb2()},
		{"size", mb2([]byte{1, 0, 0, 0, 7, 0, 0, 0})},
		{"size", mb2([]byte{1, 0, 0, 0, 255, 0, 0, 0})},
		{"4 bytes, want 16", mb2(tag(mb2TagAddress, 0, 1), mb2End)},
		{"header tag 77", mb2(tag(77, 0), mb2End)},
		{"information tag 99", mb2(tag(mb2TagInfo, 0, 1, 99), mb2End)},
		{"framebuffer", mb2(tag(mb2TagFramebuffer, 0, 0, 0, 0), mb2End)},
		{"entry address tag", mb2(tag(mb2TagAddress, 0, 0x200000, 0x200000, 0, 0), mb2End)},
		{"not an ELF", mb2(mb2End)},
		{"lower than its offset", append(make([]byte, 64), mb2(tag(mb2TagAddress, 0, 8, 0xffffffff, 0, 0), tag(mb2TagEntry, 0, 8), mb2End)...)},
	} {
		_, err := Load(tc.image, Options{Map: m, Kind: Multiboot2}, newFake(m))
		wantError(t, tc.want, err, tc.want)
	}
}

func FuzzMultiboot(f *testing.F) {
	m := layout(f, 64<<20)
	f.Add(elf32(mb1(3)))
	f.Add(kludged(3))
	f.Add(append(mb2(tag(mb2TagAddress, 0, 0x200000, 0x200000, 0, 0), tag(mb2TagEntry, 0, 0x200010), mb2End), "code"...))
	f.Add(elf32(mb2(tag(mb2TagInfo, 0, 1, 2), tag(mb2TagRelocatable, 0, 0, 1, 2, 3), mb2End)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range []Kind{Unknown, Multiboot1, Multiboot2} {
			e, err := Load(b, Options{Map: m, Kind: k, Zeroed: true}, newFake(m))
			if err == nil && e.Mode == Protected && e.RIP > 0xffffffff {
				t.Errorf("32-bit entry at %#x", e.RIP)
			}
		}
	})
}
