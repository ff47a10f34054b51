package boot

import (
	"bytes"
	"encoding/binary"
	"testing"

	"dfemu/firmware/e820"
)

// elf64 makes an x86-64 ELF file with one segment of 16 bytes of file and 64
// of memory at 2 MiB, which is entered 4 bytes behind its start, and, when
// note is not nil, a note segment.
func elf64(note []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], etExec)
	le.PutUint16(b[18:], emX86_64)
	le.PutUint64(b[24:], 0xffffffff80200004)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[54:], 56)
	n := 1
	if note != nil {
		n = 2
	}
	le.PutUint16(b[56:], uint16(n))
	data := 64 + 56*n
	phdr := func(typ uint32, off, vaddr, paddr, filesz, memsz, align uint64) {
		b = le.AppendUint32(b, typ)
		b = le.AppendUint32(b, 5)
		for _, v := range []uint64{off, vaddr, paddr, filesz, memsz, align} {
			b = le.AppendUint64(b, v)
		}
	}
	phdr(ptLoad, uint64(data), 0xffffffff80200000, 0x200000, 16, 64, 0x1000)
	if note != nil {
		phdr(ptNote, uint64(data+16), 0, 0, uint64(len(note)), uint64(len(note)), 4)
	}
	b = append(b, "0123456789abcdef"...)
	return append(b, note...)
}

// elf32 is the same for the 386, entered at a physical address; pre is put
// before the segment, so that it may hold a Multiboot header.
func elf32(pre []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 52+32)
	copy(b, "\x7fELF\x01\x01\x01")
	le.PutUint16(b[16:], etExec)
	le.PutUint16(b[18:], em386)
	le.PutUint32(b[24:], 0x200004)
	le.PutUint32(b[28:], 52)
	le.PutUint16(b[42:], 32)
	le.PutUint16(b[44:], 1)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	b = append(b, pre...)
	for i, v := range []uint32{ptLoad, uint32(len(b)), 0x200000, 0x200000, 16, 64, 5, 0x1000} {
		le.PutUint32(b[52+4*i:], v)
	}
	return append(b, "0123456789abcdef"...)
}

func xenNote(entry uint32) []byte {
	le := binary.LittleEndian
	// Another note comes first, with a name and contents to be padded.
	b := le.AppendUint32(nil, 3)
	b = le.AppendUint32(b, 5)
	b = le.AppendUint32(b, xenPhys32Entry)
	b = append(b, "GO\x00\x00"...)
	b = append(b, 1, 2, 3, 4, 5, 0, 0, 0)
	b = le.AppendUint32(b, 4)
	b = le.AppendUint32(b, 4)
	b = le.AppendUint32(b, xenPhys32Entry)
	b = append(b, "Xen\x00"...)
	return le.AppendUint32(b, entry)
}

func TestPlainELF(t *testing.T) {
	m := layout(t, 64<<20)
	for _, tc := range []struct {
		name  string
		image []byte
		mode  Mode
	}{{"64", elf64(nil), Long}, {"32", elf32(nil), Protected}} {
		f := newFake(m)
		f.Write(0x200000, bytes.Repeat([]byte{0xcc}, 100))
		e, err := Load(tc.image, Options{Map: m}, f)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		checkFlat(t, f, e, tc.mode)
		if e.RIP != 0x200004 {
			t.Errorf("%s: entry %#x", tc.name, e.RIP)
		}
		want := append([]byte("0123456789abcdef"), make([]byte, 48)...)
		want = append(want, 0xcc)
		if got := f.read(0x200000, 65); !bytes.Equal(got, want) {
			t.Errorf("%s: memory %q", tc.name, got)
		}
	}
}

func TestPVH(t *testing.T) {
	m := layout(t, 64<<20)
	f := newFake(m)
	initrd, mod := []byte("initrd"), []byte("module")
	e, err := Load(elf64(xenNote(0x200008)), Options{
		Map: m, RSDP: 0xe0000, Cmdline: "hello", Initrd: initrd, Modules: []Module{{mod, "arg"}},
	}, f)
	if err != nil {
		t.Fatal(err)
	}
	checkFlat(t, f, e, Protected)
	s := e.RBX
	if e.RIP != 0x200008 || f.u32(s) != 0x336ec578 || f.u32(s+4) != 1 || f.u32(s+12) != 2 {
		t.Fatalf("entry %#x, start info % x", e.RIP, f.read(s, 56))
	}
	if f.str(f.u64(s+24)) != "hello" || f.u64(s+32) != 0xe0000 {
		t.Errorf("command line %q, RSDP %#x", f.str(f.u64(s+24)), f.u64(s+32))
	}
	list := f.u64(s + 16)
	for i, want := range []Module{{initrd, ""}, {mod, "arg"}} {
		a := list + uint64(i)*32
		if string(f.read(f.u64(a), int(f.u64(a+8)))) != string(want.Data) || f.str(f.u64(a+16)) != want.Cmdline {
			t.Errorf("module %d at %#x, command line %q", i, f.u64(a), f.str(f.u64(a+16)))
		}
	}
	memmap := f.u64(s + 40)
	if int(f.u32(s+48)) != len(m) {
		t.Fatalf("%d entries", f.u32(s+48))
	}
	for i, want := range m {
		a := memmap + uint64(i)*24
		if got := (e820.Entry{Addr: f.u64(a), Size: f.u64(a + 8), Type: e820.Type(f.u32(a + 16))}); got != want {
			t.Errorf("entry %d: %v, want %v", i, got, want)
		}
	}
}

func TestELFErrors(t *testing.T) {
	le := binary.LittleEndian
	m := layout(t, 64<<20)
	const ph = 64
	for _, tc := range []struct {
		want   string
		change func([]byte)
	}{
		{"EI_CLASS", func(b []byte) { b[4] = 3 }},
		{"EI_DATA", func(b []byte) { b[5] = 2 }},
		{"e_type", func(b []byte) { b[16] = 1 }},
		{"e_machine", func(b []byte) { b[18] = 40 }},
		{"e_phoff", func(b []byte) { le.PutUint64(b[32:], ^uint64(0)) }},
		{"e_phentsize", func(b []byte) { b[54] = 32 }},
		{"no program headers", func(b []byte) { b[56] = 0 }},
		{"e_phoff", func(b []byte) { b[57] = 0xff }},
		{"p_offset", func(b []byte) { le.PutUint64(b[ph+8:], ^uint64(0)-8) }},
		{"p_filesz", func(b []byte) { le.PutUint64(b[ph+32:], 1000) }},
		{"p_memsz", func(b []byte) { le.PutUint64(b[ph+40:], 8) }},
		{"p_paddr", func(b []byte) { le.PutUint64(b[ph+24:], ^uint64(0)-8) }},
		{"not in one range of RAM", func(b []byte) { le.PutUint64(b[ph+40:], 1<<40) }},
		{"boot information", func(b []byte) { le.PutUint64(b[ph+24:], 0x8000) }},
		{"entry point", func(b []byte) { le.PutUint64(b[24:], 4) }},
		{"entry point", func(b []byte) { b[ph] = 7 }},
	} {
		b := elf64(nil)
		tc.change(b)
		_, err := Load(b, Options{Map: m}, newFake(m))
		wantError(t, tc.want, err, tc.want)
	}
	// Two segments at the same place.
	b := elf64(xenNote(0))
	copy(b[ph+56:], b[ph:ph+56])
	_, err := Load(b, Options{Map: m}, newFake(m))
	wantError(t, "overlap", err, "overlap ELF segment 0")
	_, err = Load(elf64(nil), Options{Map: m, Kind: PVH}, newFake(m))
	wantError(t, "PVH", err, "XEN_ELFNOTE_PHYS32_ENTRY")
	_, err = Load(elf64(xenNote(0x200000)), Options{Map: m, Modules: []Module{{}}}, newFake(m))
	wantError(t, "empty module", err, "is empty")
}

func FuzzELF(f *testing.F) {
	m := layout(f, 64<<20)
	f.Add(elf64(nil))
	f.Add(elf64(xenNote(0x200000)))
	f.Add(elf32(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range []Kind{Unknown, ELF, PVH} {
			Load(b, Options{Map: m, Kind: k, Zeroed: true, Initrd: []byte("x")}, newFake(m))
		}
	})
}
