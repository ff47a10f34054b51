package boot

import (
	"encoding/binary"
	"fmt"

	"dfemu/firmware/e820"
)

// Multiboot Specification 0.6.96.
const (
	mb1Magic      = 0x1badb002
	mb1BootMagic  = 0x2badb002
	mb1SearchLen  = 8192
	mb1PageAlign  = 1 << 0
	mb1MemoryInfo = 1 << 1
	mb1VideoMode  = 1 << 2
	mb1Kludge     = 1 << 16
	mb1Must       = 0xffff // flags which a loader must know

	mb1InfoLen = 120

	loaderName = "dfemu"
)

// mb1Header is a Multiboot header.
type mb1Header struct {
	off    uint64 // in the image
	flags  uint32
	kludge bool
	a      addressTag
}

// addressTag says where an image that is no ELF file goes.
type addressTag struct {
	header, load, loadEnd, bssEnd, entry uint32
}

// findMultiboot1 searches the first 8192 bytes. It is false when there is no
// header, and an error when there is one that is cut short.
func findMultiboot1(image []byte) (mb1Header, bool, error) {
	le := binary.LittleEndian
	n := min(len(image), mb1SearchLen)
	for i := 0; i+12 <= n; i += 4 {
		if le.Uint32(image[i:]) != mb1Magic {
			continue
		}
		flags, sum := le.Uint32(image[i+4:]), le.Uint32(image[i+8:])
		if mb1Magic+flags+sum != 0 {
			continue
		}
		h := mb1Header{off: uint64(i), flags: flags, kludge: flags&mb1Kludge != 0}
		if h.kludge {
			if i+32 > len(image) {
				return h, false, fmt.Errorf("boot: Multiboot header at %#x: its address fields pass the end of the image", i)
			}
			u := func(off int) uint32 { return le.Uint32(image[i+off:]) }
			h.a = addressTag{u(12), u(16), u(20), u(24), u(28)}
		}
		return h, true, nil
	}
	return mb1Header{}, false, nil
}

// loadAddressed loads an image by its address fields, with the header at off.
// It returns the range that was taken.
func (l *loader) loadAddressed(image []byte, off uint64, a addressTag) (addr, size uint64, err error) {
	skip := uint64(a.header) - uint64(a.load)
	if a.load == 0xffffffff { // Multiboot 2: from the start of the file
		a.load = a.header - uint32(off)
		skip = off
		if uint64(a.header) < off {
			return 0, 0, fmt.Errorf("boot: Multiboot header_addr %#x is lower than its offset %#x in the image", a.header, off)
		}
	}
	if a.header < a.load || skip > off {
		return 0, 0, fmt.Errorf("boot: Multiboot load_addr %#x and header_addr %#x: the header is at %#x of the image", a.load, a.header, off)
	}
	data := image[off-skip:]
	if a.loadEnd != 0 {
		if a.loadEnd < a.load || uint64(a.loadEnd-a.load) > uint64(len(data)) {
			return 0, 0, fmt.Errorf("boot: Multiboot load_end_addr %#x: below load_addr %#x or beyond the image", a.loadEnd, a.load)
		}
		data = data[:a.loadEnd-a.load]
	}
	size = uint64(len(data))
	if a.bssEnd != 0 {
		if uint64(a.bssEnd) < uint64(a.load)+size {
			return 0, 0, fmt.Errorf("boot: Multiboot bss_end_addr %#x is below the end of the data, %#x", a.bssEnd, uint64(a.load)+size)
		}
		size = uint64(a.bssEnd) - uint64(a.load)
	}
	addr = uint64(a.load)
	if err := l.claim("Multiboot image", addr, size); err != nil {
		return 0, 0, err
	}
	if err := l.write("Multiboot image", addr, data); err != nil {
		return 0, 0, err
	}
	return addr, size, l.zero("Multiboot image", addr+uint64(len(data)), size-uint64(len(data)))
}

func (l *loader) multiboot1(image []byte) (Entry, error) {
	h, ok, err := findMultiboot1(image)
	if err != nil {
		return Entry{}, err
	}
	if !ok {
		return Entry{}, fmt.Errorf("boot: no Multiboot header in the first %d bytes", mb1SearchLen)
	}
	// A video mode is a wish, which text mode may answer.
	if f := h.flags & mb1Must &^ (mb1PageAlign | mb1MemoryInfo | mb1VideoMode); f != 0 {
		return Entry{}, fmt.Errorf("boot: Multiboot header flags %#x ask for features that are not known", f)
	}
	var entry uint64
	if h.kludge {
		addr, size, err := l.loadAddressed(image, h.off, h.a)
		if err != nil {
			return Entry{}, err
		}
		entry = uint64(h.a.entry)
		if entry < addr || entry-addr >= size {
			return Entry{}, fmt.Errorf("boot: Multiboot entry_addr %#x is outside the image at %#x", entry, addr)
		}
	} else {
		f, err := parseELF(image)
		if err != nil {
			return Entry{}, err
		}
		if f.is64 {
			return Entry{}, fmt.Errorf("boot: Multiboot 1 image is a 64-bit ELF file without address fields (flag 16): make it a 32-bit one")
		}
		if entry, err = f.physical(f.entry); err != nil {
			return Entry{}, err
		}
		if err := l.loadELF(f); err != nil {
			return Entry{}, err
		}
	}
	mods, err := l.modules()
	if err != nil {
		return Entry{}, err
	}
	info, err := l.mb1Info(mods)
	if err != nil {
		return Entry{}, err
	}
	e, err := l.flatEntry(Protected, entry)
	e.RAX, e.RBX = mb1BootMagic, info
	return e, err
}

// basicMemory is what lies below 640 KiB and from 1 MiB to the first hole, in
// KiB.
func (l *loader) basicMemory() (lower, upper uint32) {
	for _, e := range l.opt.Map {
		if e.Type != e820.RAM {
			continue
		}
		if e.Addr == 0 {
			lower = uint32(min(e.Size, e820.LowEnd) >> 10)
		}
		if e.Addr <= e820.HighStart && e.End() > e820.HighStart {
			upper = uint32(min((e.End()-e820.HighStart)>>10, 0xffffffff))
		}
	}
	return lower, upper
}

// mb1Info writes the Multiboot information structure (section 3.3).
func (l *loader) mb1Info(mods []placed) (uint64, error) {
	const (
		hasMemory  = 1 << 0
		hasDevice  = 1 << 1
		hasCmdline = 1 << 2
		hasMods    = 1 << 3
		hasMap     = 1 << 6
		hasLoader  = 1 << 9
	)
	// The first word of the line is the name of the kernel.
	text := l.opt.Name
	if l.opt.Cmdline != "" {
		text += " " + l.opt.Cmdline
	}
	cmdline, err := l.putCmdline(text)
	if err != nil {
		return 0, err
	}
	name, err := l.putInfo("loader name", append([]byte(loaderName), 0))
	if err != nil {
		return 0, err
	}
	var list, table buffer
	for _, m := range mods {
		list.u32(uint32(m.addr))
		list.u32(uint32(m.addr + m.size))
		list.u32(uint32(m.cmdline))
		list.u32(0)
	}
	listAddr, err := l.putInfo("module list", list.b)
	if err != nil {
		return 0, err
	}
	for _, e := range l.opt.Map {
		table.u32(20)
		table.u64(e.Addr)
		table.u64(e.Size)
		table.u32(uint32(e.Type))
	}
	tableAddr, err := l.putInfo("memory map", table.b)
	if err != nil {
		return 0, err
	}
	lower, upper := l.basicMemory()
	var b buffer
	b.u32(hasMemory | hasDevice | hasCmdline | hasMods | hasMap | hasLoader)
	b.u32(lower)
	b.u32(upper)
	b.u32(0x8000ffff) // the first hard disk, its first partition
	b.u32(uint32(cmdline))
	b.u32(uint32(len(mods)))
	b.u32(uint32(listAddr))
	b.pad(44) // no symbols
	b.u32(uint32(len(table.b)))
	b.u32(uint32(tableAddr))
	b.pad(64)
	b.u32(uint32(name))
	b.pad(mb1InfoLen)
	return l.putInfo("Multiboot information", b.b)
}
