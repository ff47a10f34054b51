package images

import (
	"bytes"
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
)

// Where a kernel is linked and loaded. The linker places it high in the lower
// half of the address space, clear of programs; it is loaded low in memory.
const (
	kernelWindow = 0x7f8000000000 // virtual address of kernelPhys
	kernelText   = kernelWindow + 0x1000
	kernelPhys   = 0x200000
	directMap    = 0x7f0000000000 // virtual address of physical address 0
	stubBase     = 0x100000
)

// Offsets in the stub's segment. The kernel finds the values from bootEAX on by
// them; see kernel/platform/pc64.
const (
	bootGDT     = 0x1c0
	bootGDTR    = 0x1e0
	bootEAX     = 0x200 // uint32 each, then EBX
	bootEntry   = 0x208 // uint64
	bootSegs    = 0x210 // uint64 count, then {vaddr, paddr, memsz, flags} as uint64 each
	bootRuntime = 0x3c0 // uint64 each: offset of m in runtime.g, of preemptoff in runtime.m
	bootNote    = 0x400
	bootMB      = 0x420
	bootPML4    = 0x1000
	bootLowPDP  = 0x2000
	bootHighPDP = 0x3000
	bootHighPD  = 0x4000
	bootLowPD   = 0x5000 // four pages
	stubSize    = 0x9000

	maxSegs = 8
)

// stubOffset is where the stub is in the file: behind the ELF headers, within the
// first 8 KiB, where Multiboot's header must be.
const stubOffset = 0x1000

// finishKernel turns the ELF file that the Go linker wrote into one that PVH and
// Multiboot loaders start: a stub and page tables in front of it, physical
// addresses, a note and a header.
func finishKernel(in, out string) error {
	data, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return err
	}
	image, err := layOut(f)
	if err == nil {
		image, err = addSections(image, f, data)
	}
	if err != nil {
		return fmt.Errorf("finish the kernel %s: %w", in, err)
	}
	return os.WriteFile(out, image, 0o644)
}

// addSections appends what no loader looks at: symbols and debugging information for gdb and dfemu perf, and the table of sections. data is
// the file that f is of. The sections that are loaded keep their addresses; a section's bytes are where its segment has been put.
func addSections(file []byte, f *elf.File, data []byte) ([]byte, error) {
	var names []byte
	var heads []elf.Section64
	for _, s := range f.Sections {
		h := elf.Section64{
			Name: uint32(len(names)), Type: uint32(s.Type), Flags: uint64(s.Flags), Addr: s.Addr, Off: s.Offset, Size: s.FileSize,
			Link: s.Link, Info: s.Info, Addralign: s.Addralign, Entsize: s.Entsize,
		}
		names = append(append(names, s.Name...), 0)
		switch {
		case s.Type == elf.SHT_NULL:
		case s.Flags&elf.SHF_ALLOC != 0:
			h.Off = stubOffset + s.Addr - kernelWindow + kernelPhys - stubBase
			if s.Addr < kernelWindow || s.Addr-kernelWindow > 1<<30 || s.Type != elf.SHT_NOBITS && h.Off+h.Size > uint64(len(file)) {
				return nil, fmt.Errorf("the section %s is in no segment", s.Name)
			}
		default:
			if s.Offset > uint64(len(data)) || s.FileSize > uint64(len(data))-s.Offset {
				return nil, fmt.Errorf("the section %s is outside the file", s.Name)
			}
			file = append(file, make([]byte, -len(file)&15)...)
			h.Off = uint64(len(file))
			file = append(file, data[s.Offset:s.Offset+s.FileSize]...)
		}
		if s.Type == elf.SHT_NOBITS {
			h.Size = s.Size
		}
		heads = append(heads, h)
	}
	strings := elf.Section64{Name: uint32(len(names)), Type: uint32(elf.SHT_STRTAB), Addralign: 1, Off: uint64(len(file))}
	names = append(names, ".shstrtab\x00"...)
	strings.Size = uint64(len(names))
	file = append(file, names...)
	file = append(file, make([]byte, -len(file)&15)...)
	le := binary.LittleEndian
	le.PutUint64(file[40:], uint64(len(file))) // e_shoff
	le.PutUint16(file[58:], 64)                // e_shentsize
	le.PutUint16(file[60:], uint16(len(heads)+1))
	le.PutUint16(file[62:], uint16(len(heads)))
	var b bytes.Buffer
	// Writing fixed-size values to a buffer does not fail.
	_ = binary.Write(&b, le, append(heads, strings))
	return append(file, b.Bytes()...), nil
}

// kernelSegment is a loaded piece of the kernel.
type kernelSegment struct {
	vaddr, paddr, memsz uint64
	flags               elf.ProgFlag
	data                []byte
}

// layOut returns the finished file. Its bytes from stubOffset on are physical memory
// from stubBase on, so that loaders which copy the file as one block and
// loaders which go by program headers yield the same memory.
func layOut(f *elf.File) ([]byte, error) {
	var segs []kernelSegment
	end := uint64(stubBase + stubSize)
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Memsz == 0 {
			continue
		}
		s := kernelSegment{vaddr: p.Vaddr, paddr: p.Vaddr - kernelWindow + kernelPhys, memsz: p.Memsz, flags: p.Flags}
		if p.Vaddr < kernelWindow || p.Vaddr-kernelWindow+p.Memsz > 1<<30 || s.paddr < end {
			return nil, fmt.Errorf("a segment at %#x of %#x bytes is outside the window at %#x, or out of order", p.Vaddr, p.Memsz, kernelWindow)
		}
		s.data = make([]byte, p.Filesz)
		if _, err := p.ReadAt(s.data, 0); err != nil {
			return nil, err
		}
		segs = append(segs, s)
		end = s.paddr + s.memsz
	}
	if len(segs) == 0 || len(segs) > maxSegs {
		return nil, fmt.Errorf("%d segments to load, want 1 to %d", len(segs), maxSegs)
	}
	last := segs[len(segs)-1]
	file := make([]byte, stubOffset+last.paddr+uint64(len(last.data))-stubBase)
	stub := file[stubOffset : stubOffset+stubSize]
	for _, s := range segs {
		copy(file[stubOffset+s.paddr-stubBase:], s.data)
	}
	fillStub(stub, f.Entry, segs)
	if err := fillRuntime(stub[bootRuntime:], f); err != nil {
		return nil, err
	}
	fillMultiboot(stub[bootMB:], len(file)-stubOffset, end)
	fillHeaders(file, segs)
	return file, nil
}

// fillStub writes code, tables and boot information of the stub.
func fillStub(stub []byte, entry uint64, segs []kernelSegment) {
	le := binary.LittleEndian
	q := func(off int, v uint64) { le.PutUint64(stub[off:], v) }
	copy(stub, kernelStub)
	q(bootGDT+8, 0x00af9b000000ffff)  // 64-bit code
	q(bootGDT+16, 0x00cf93000000ffff) // data
	le.PutUint16(stub[bootGDTR:], 23)
	le.PutUint32(stub[bootGDTR+2:], stubBase+bootGDT)
	q(bootEntry, entry)
	q(bootSegs, uint64(len(segs)))
	for i, s := range segs {
		at := bootSegs + 8 + i*32
		q(at, s.vaddr)
		q(at+8, s.paddr)
		q(at+16, s.memsz)
		q(at+24, uint64(s.flags))
	}
	// Xen's note PHYS32_ENTRY.
	copy(stub[bootNote:], "\x04\x00\x00\x00\x04\x00\x00\x00\x12\x00\x00\x00Xen\x00")
	le.PutUint32(stub[bootNote+16:], stubBase)

	// Page tables: the first 4 GiB at 0 and at directMap, the image in its window.
	const table, large = 0x003, 0x083 // present, writable; and 2 MiB
	q(bootPML4, stubBase+bootLowPDP|table)
	q(bootPML4+directMap>>39*8, stubBase+bootLowPDP|table)
	q(bootPML4+kernelWindow>>39*8, stubBase+bootHighPDP|table)
	q(bootHighPDP, stubBase+bootHighPD|table)
	for i := range 4 {
		q(bootLowPDP+i*8, uint64(stubBase+bootLowPD+i*0x1000)|table)
	}
	for i := range 2048 {
		q(bootLowPD+i*8, uint64(i)<<21|large)
	}
	for i := range 512 {
		q(bootHighPD+i*8, kernelPhys+uint64(i)<<21|large)
	}
}

// fillMultiboot writes a Multiboot header with address fields, without which
// loaders refuse a 64-bit ELF file (Multiboot 0.6.96, section 3.1).
func fillMultiboot(b []byte, loaded int, end uint64) {
	const magic, flags = 0x1badb002, 1<<16 | 1<<1
	sum := uint32(magic + flags)
	for i, v := range []uint32{
		magic, flags, -sum,
		stubBase + bootMB, stubBase, uint32(stubBase + loaded), uint32(end), stubBase,
	} {
		binary.LittleEndian.PutUint32(b[i*4:], v)
	}
}

// fillHeaders writes the ELF header and the program headers. Loaders go by the physical addresses; the stub's are its virtual ones, too, so that
// those which look the entry point up by virtual addresses find it.
func fillHeaders(file []byte, segs []kernelSegment) {
	progs := []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: 7, Off: stubOffset, Vaddr: stubBase, Paddr: stubBase, Filesz: stubSize, Memsz: stubSize, Align: 4096},
		{Type: uint32(elf.PT_NOTE), Flags: 4, Off: stubOffset + bootNote, Vaddr: stubBase + bootNote, Paddr: stubBase + bootNote, Filesz: 20, Memsz: 20, Align: 4},
	}
	for _, s := range segs {
		progs = append(progs, elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(s.flags), Off: stubOffset + s.paddr - stubBase, Vaddr: s.vaddr, Paddr: s.paddr,
			Filesz: uint64(len(s.data)), Memsz: s.memsz, Align: 4096,
		})
	}
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: stubBase,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: uint16(len(progs)),
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var b bytes.Buffer
	le := binary.LittleEndian
	// Writing fixed-size values to a buffer does not fail.
	_ = binary.Write(&b, le, h)
	for _, p := range progs {
		_ = binary.Write(&b, le, p)
	}
	copy(file, b.Bytes())
}

// fillRuntime tells the kernel where its Go runtime keeps what the kernel changes: a thread that
// holds tokens sets m.preemptoff.
func fillRuntime(b []byte, f *elf.File) error {
	data, err := f.DWARF()
	if err != nil {
		return err
	}
	for i, field := range [][2]string{{"runtime.g", "m"}, {"runtime.m", "preemptoff"}} {
		off, err := fieldOffset(data, field[0], field[1])
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(b[8*i:], uint64(off))
	}
	return nil
}

// fieldOffset returns the offset of a field of a struct.
func fieldOffset(data *dwarf.Data, typ, field string) (int64, error) {
	r := data.Reader()
	for {
		e, err := r.Next()
		if err != nil {
			return 0, err
		}
		if e == nil {
			return 0, fmt.Errorf("the debugging information lacks %s.%s", typ, field)
		}
		if e.Tag != dwarf.TagStructType || e.Val(dwarf.AttrName) != typ {
			if e.Tag != dwarf.TagCompileUnit {
				r.SkipChildren()
			}
			continue
		}
		for {
			m, err := r.Next()
			if err != nil {
				return 0, err
			}
			if m == nil || m.Tag == 0 {
				return 0, fmt.Errorf("the debugging information lacks %s.%s", typ, field)
			}
			if off, ok := m.Val(dwarf.AttrDataMemberLoc).(int64); ok && m.Val(dwarf.AttrName) == field {
				return off, nil
			}
			r.SkipChildren()
		}
	}
}
