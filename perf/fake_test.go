package perf

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// elfSpec is an ELF file of one segment, with text and symbols.
type elfSpec struct {
	vaddr   uint64
	pie     bool
	text    []byte
	symbols []Symbol
}

// testELF makes the file: headers, text, symbols, strings.
func testELF(e elfSpec) []byte {
	le := binary.LittleEndian
	const textOff = 0x1000
	typ := uint16(2) // ET_EXEC
	if e.pie {
		typ = 3 // ET_DYN
	}
	strtab := []byte{0}
	symtab := make([]byte, 24)
	for _, s := range e.symbols {
		symtab = le.AppendUint32(symtab, uint32(len(strtab)))
		symtab = append(symtab, 1<<4|2, 0) // STB_GLOBAL, STT_FUNC
		symtab = le.AppendUint16(symtab, 1)
		symtab = le.AppendUint64(symtab, s.Addr)
		symtab = le.AppendUint64(symtab, s.Size)
		strtab = append(append(strtab, s.Name...), 0)
	}
	names := []byte("\x00.text\x00.symtab\x00.strtab\x00.shstrtab\x00")
	symOff := textOff + len(e.text)
	strOff := symOff + len(symtab)
	nameOff := strOff + len(strtab)
	shOff := nameOff + len(names)

	b := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	b = le.AppendUint16(b, typ)
	b = le.AppendUint16(b, 62)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, e.vaddr)
	b = le.AppendUint64(b, 64)
	b = le.AppendUint64(b, uint64(shOff))
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 64, 5, 4} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // PF_R, PF_X
	for _, v := range []uint64{textOff, e.vaddr, e.vaddr & 0x3fffffff, uint64(len(e.text)), uint64(len(e.text)), 4096} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, make([]byte, textOff-len(b))...)
	b = append(append(append(append(b, e.text...), symtab...), strtab...), names...)
	section := func(name, typ uint32, flags, addr uint64, off, size int, link uint32, entry uint64) {
		b = le.AppendUint32(le.AppendUint32(b, name), typ)
		for _, v := range []uint64{flags, addr, uint64(off), uint64(size)} {
			b = le.AppendUint64(b, v)
		}
		b = le.AppendUint32(le.AppendUint32(b, link), 1)
		b = le.AppendUint64(le.AppendUint64(b, 1), entry)
	}
	section(0, 0, 0, 0, 0, 0, 0, 0)
	section(1, 1, 6, e.vaddr, textOff, len(e.text), 0, 0)
	section(7, 2, 0, 0, symOff, len(symtab), 3, 24)
	section(15, 3, 0, 0, strOff, len(strtab), 0, 0)
	section(23, 3, 0, 0, nameOff, len(names), 0, 0)
	return b
}

const testBanner = "Linux version 6.1.0-test (someone@somewhere) #1 SMP"

// testKernel is a Linux kernel: functions of 64 bytes from ffffffff81000000 on, the
// banner at ffffffff82020000, unwind tables by which every function's frame is 16 bytes.
func testKernel(t *testing.T) *Object {
	t.Helper()
	text := make([]byte, 0x1020000+len(testBanner)+1)
	copy(text[0x1020000:], testBanner)
	o, err := Parse("vmlinux", testELF(elfSpec{vaddr: 0xffffffff81000000, text: text, symbols: []Symbol{
		{Addr: 0xffffffff81000000, Size: 64, Name: "startup_64"},
		{Addr: 0xffffffff81000040, Size: 64, Name: "do_work"},
		{Addr: 0xffffffff81000080, Size: 64, Name: "loop"},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	o.orc = makeORC(encodeORC([]orcLine{
		{0xffffffff81000000, 0, 0, 0x0205}, // startup_64: CALL kinds are 2; SP is 5
		{0xffffffff81000020, 0, 0, 0x0305}, // and pt_regs are at SP
		{0xffffffff81000040, 16, 0, 0x0205},
		{0xffffffff81000080, 8, 0, 0x0205},
		{0xffffffff810000c0, 0, 0, 0},
	}))
	if o.orc == nil {
		t.Fatal("the unwind tables are refused")
	}
	return o
}

// orcLine is one rule of unwind tables.
type orcLine struct {
	at           uint64
	spOff, bpOff int16
	flags        uint16
}

const orcVA = 0xffffffff82c00000

// encodeORC makes the contents of the sections.
func encodeORC(lines []orcLine) (ips []byte, va uint64, entries []byte) {
	le := binary.LittleEndian
	for i, l := range lines {
		ips = le.AppendUint32(ips, uint32(l.at-(orcVA+uint64(4*i))))
		entries = le.AppendUint16(entries, uint16(l.spOff))
		entries = le.AppendUint16(entries, uint16(l.bpOff))
		entries = le.AppendUint16(entries, l.flags)
	}
	return ips, orcVA, entries
}

// memory is guest memory by address.
type memory map[uint64]byte

func (m memory) put(at uint64, p ...byte) {
	for i, b := range p {
		m[at+uint64(i)] = b
	}
}

func (m memory) word(at, v uint64) { m.put(at, binary.LittleEndian.AppendUint64(nil, v)...) }

// call writes a call of target that ends at ret.
func (m memory) call(ret, target uint64) {
	m.put(ret-7, 0x90, 0x90)
	m.put(ret-5, append([]byte{0xe8}, binary.LittleEndian.AppendUint32(nil, uint32(target-ret))...)...)
}

func (m memory) read(va uint64, p []byte) int {
	for i := range p {
		b, ok := m[va+uint64(i)]
		if !ok {
			return i
		}
		p[i] = b
	}
	return len(p)
}

// testProgram is a program in user mode whose code has no two places alike.
func testProgram(t *testing.T, name string, vaddr uint64, pie bool) *Object {
	t.Helper()
	o, err := Parse(name, testELF(elfSpec{vaddr: vaddr, pie: pie, text: testCode(name, 0x6000), symbols: []Symbol{
		{Addr: vaddr, Size: 0x100, Name: "main"},
		{Addr: vaddr + 0x100, Size: 0x1000, Name: "work"},
		{Addr: vaddr + 0x3000, Size: 0x1000, Name: "fill"},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// testCode is n bytes that depend on a name; the last page but one is all INT3.
func testCode(name string, n int) []byte {
	var b bytes.Buffer
	x := uint32(len(name))
	for _, c := range name {
		x = x*31 + uint32(c)
	}
	for b.Len() < n {
		x = x*1664525 + 1013904223
		b.WriteByte(byte(x >> 24))
	}
	out := b.Bytes()[:n]
	for i := 0x3000; i < 0x5000 && i < n; i++ {
		out[i] = 0xcc
	}
	return out
}
