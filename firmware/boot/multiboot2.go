package boot

import (
	"encoding/binary"
	"fmt"
)

// Multiboot2 Specification 2.0.
const (
	mb2Magic     = 0xe85250d6
	mb2BootMagic = 0x36d76289
	mb2SearchLen = 32768

	mb2TagEnd         = 0
	mb2TagInfo        = 1
	mb2TagAddress     = 2
	mb2TagEntry       = 3
	mb2TagConsole     = 4
	mb2TagFramebuffer = 5
	mb2TagAlign       = 6
	mb2TagEFIBoot     = 7
	mb2TagEFI32       = 8
	mb2TagEFI64       = 9
	mb2TagRelocatable = 10

	mb2Optional = 1 << 0

	mb2InfoCmdline     = 1
	mb2InfoLoader      = 2
	mb2InfoModule      = 3
	mb2InfoMemory      = 4
	mb2InfoMap         = 6
	mb2InfoFramebuffer = 8
	mb2InfoRSDP1       = 14
	mb2InfoRSDP2       = 15
	mb2InfoLoadBase    = 21
)

// mb2Header is a Multiboot 2 header with its tags.
type mb2Header struct {
	off         uint64 // in the image
	hasAddress  bool
	a           addressTag
	hasEntry    bool
	framebuffer bool // must have one
	relocatable bool
	unsupported string // a feature that it must have, and that there is not
}

// findMultiboot2 searches the first 32768 bytes. It is false when there is no
// header, and an error when there is one that is malformed.
func findMultiboot2(image []byte) (*mb2Header, bool, error) {
	le := binary.LittleEndian
	n := min(len(image), mb2SearchLen)
	for i := 0; i+16 <= n; i += 8 {
		if le.Uint32(image[i:]) != mb2Magic {
			continue
		}
		arch, length := le.Uint32(image[i+4:]), le.Uint32(image[i+8:])
		if mb2Magic+arch+length+le.Uint32(image[i+12:]) != 0 {
			continue
		}
		if arch != 0 {
			return nil, false, fmt.Errorf("boot: Multiboot 2 header: architecture %d, must be 0 (i386)", arch)
		}
		if length < 16 || uint64(length) > uint64(len(image)-i) {
			return nil, false, fmt.Errorf("boot: Multiboot 2 header at %#x: header_length %d passes the end of the image", i, length)
		}
		h := &mb2Header{off: uint64(i)}
		return h, true, h.tags(image[i+16 : i+int(length)])
	}
	return nil, false, nil
}

func (h *mb2Header) tags(b []byte) error {
	le := binary.LittleEndian
	for len(b) >= 8 {
		typ, flags, size := le.Uint16(b), le.Uint16(b[2:]), le.Uint32(b[4:])
		if size < 8 || uint64(size) > uint64(len(b)) {
			return fmt.Errorf("boot: Multiboot 2 header tag %d: size %d, %d bytes are there", typ, size, len(b))
		}
		if typ == mb2TagEnd {
			return nil
		}
		if err := h.tag(typ, flags&mb2Optional != 0, b[8:size]); err != nil {
			return err
		}
		b = b[min((uint64(size)+7)&^7, uint64(len(b))):]
	}
	return fmt.Errorf("boot: Multiboot 2 header has no end tag")
}

func (h *mb2Header) tag(typ uint16, optional bool, p []byte) error {
	le := binary.LittleEndian
	need := map[uint16]int{mb2TagAddress: 16, mb2TagEntry: 4, mb2TagConsole: 4, mb2TagFramebuffer: 12, mb2TagRelocatable: 16}
	if len(p) < need[typ] {
		return fmt.Errorf("boot: Multiboot 2 header tag %d: %d bytes, want %d", typ, len(p), need[typ])
	}
	switch typ {
	case mb2TagInfo:
		for ; len(p) >= 4 && !optional; p = p[4:] {
			if t := le.Uint32(p); t > mb2InfoLoadBase {
				h.unsupported = fmt.Sprintf("information tag %d", t)
			}
		}
	case mb2TagAddress:
		h.hasAddress = true
		h.a.header, h.a.load, h.a.loadEnd, h.a.bssEnd = le.Uint32(p), le.Uint32(p[4:]), le.Uint32(p[8:]), le.Uint32(p[12:])
	case mb2TagEntry:
		h.hasEntry = true
		h.a.entry = le.Uint32(p)
	case mb2TagFramebuffer:
		h.framebuffer = !optional
	case mb2TagRelocatable:
		// The image is loaded where it was linked for, which it must take.
		h.relocatable = true
	case mb2TagConsole, mb2TagAlign, mb2TagEFIBoot, mb2TagEFI32, mb2TagEFI64:
		// Modules are always aligned; the EFI tags speak to EFI loaders.
	default:
		if !optional {
			h.unsupported = fmt.Sprintf("header tag %d", typ)
		}
	}
	return nil
}

func (l *loader) multiboot2(image []byte) (Entry, error) {
	h, ok, err := findMultiboot2(image)
	if err != nil {
		return Entry{}, err
	}
	if !ok {
		return Entry{}, fmt.Errorf("boot: no Multiboot 2 header in the first %d bytes", mb2SearchLen)
	}
	if h.unsupported != "" {
		return Entry{}, fmt.Errorf("boot: Multiboot 2 image needs %s, which is not supported", h.unsupported)
	}
	if h.framebuffer && !l.opt.VGAText {
		return Entry{}, fmt.Errorf("boot: Multiboot 2 image needs a framebuffer: give the machine a VGA")
	}
	base, entry, err := l.mb2Image(image, h)
	if err != nil {
		return Entry{}, err
	}
	mods, err := l.modules()
	if err != nil {
		return Entry{}, err
	}
	info, err := l.putInfo("Multiboot 2 information", l.mb2Info(h, base, mods))
	if err != nil {
		return Entry{}, err
	}
	e, err := l.flatEntry(Protected, entry)
	e.RAX, e.RBX = mb2BootMagic, info
	return e, err
}

// mb2Image loads the image and returns its lowest address and where to enter.
func (l *loader) mb2Image(image []byte, h *mb2Header) (base, entry uint64, err error) {
	if h.hasAddress {
		if !h.hasEntry {
			return 0, 0, fmt.Errorf("boot: Multiboot 2 header has an address tag and no entry address tag")
		}
		addr, size, err := l.loadAddressed(image, h.off, h.a)
		if err != nil {
			return 0, 0, err
		}
		entry = uint64(h.a.entry)
		if entry < addr || entry-addr >= size {
			return 0, 0, fmt.Errorf("boot: Multiboot 2 entry_addr %#x is outside the image at %#x", entry, addr)
		}
		return addr, entry, nil
	}
	f, err := parseELF(image)
	if err != nil {
		return 0, 0, err
	}
	if err := l.loadELF(f); err != nil {
		return 0, 0, err
	}
	entry = f.entry
	if h.hasEntry {
		entry = uint64(h.a.entry)
	}
	if entry, err = f.physical(entry); err != nil {
		return 0, 0, err
	}
	if entry > 0xffffffff {
		return 0, 0, fmt.Errorf("boot: Multiboot 2 entry point %#x is over 4 GiB", entry)
	}
	return f.loads()[0].paddr, entry, nil
}

// mb2Info is the Multiboot 2 information (section 3.6): tags on multiples of
// 8, the first of which follows the total size.
func (l *loader) mb2Info(h *mb2Header, base uint64, mods []placed) []byte {
	b := buffer{b: make([]byte, 8)}
	tag := func(typ uint32, fill func(*buffer)) {
		var p buffer
		if fill != nil {
			fill(&p)
		}
		b.u32(typ)
		b.u32(uint32(8 + len(p.b)))
		b.bytes(p.b)
		b.align(8)
	}
	text := func(s string) func(*buffer) {
		return func(p *buffer) {
			p.bytes([]byte(s))
			p.u8(0)
		}
	}
	tag(mb2InfoCmdline, text(l.opt.Cmdline))
	tag(mb2InfoLoader, text(loaderName))
	for _, m := range mods {
		tag(mb2InfoModule, func(p *buffer) {
			p.u32(uint32(m.addr))
			p.u32(uint32(m.addr + m.size))
			text(m.text)(p)
		})
	}
	tag(mb2InfoMemory, func(p *buffer) {
		lower, upper := l.basicMemory()
		p.u32(lower)
		p.u32(upper)
	})
	tag(mb2InfoMap, func(p *buffer) {
		p.u32(24)
		p.u32(0)
		for _, e := range l.opt.Map {
			p.u64(e.Addr)
			p.u64(e.Size)
			p.u32(uint32(e.Type))
			p.u32(0)
		}
	})
	if l.opt.VGAText {
		tag(mb2InfoFramebuffer, func(p *buffer) {
			p.u64(0xb8000)
			p.u32(160) // bytes a line
			p.u32(80)
			p.u32(25)
			p.u8(16, 2, 0, 0) // bits a character, EGA text
		})
	}
	if r := l.opt.RSDPTable; len(r) >= 20 {
		tag(mb2InfoRSDP1, func(p *buffer) { p.bytes(r[:20]) })
		if len(r) >= 36 {
			tag(mb2InfoRSDP2, func(p *buffer) { p.bytes(r) })
		}
	}
	if h.relocatable {
		tag(mb2InfoLoadBase, func(p *buffer) { p.u32(uint32(base)) })
	}
	tag(mb2TagEnd, nil)
	binary.LittleEndian.PutUint32(b.b, uint32(len(b.b)))
	return b.b
}
