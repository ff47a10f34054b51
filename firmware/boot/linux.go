package boot

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"dfemu/firmware/e820"
)

// Offsets in boot_params, of which the setup header of an image is a part
// (boot.rst, "The Real-Mode Kernel Header"; zero-page.rst).
const (
	offScreenInfo    = 0x000
	offACPIRSDP      = 0x070
	offExtRamdisk    = 0x0c0
	offExtRamdiskLen = 0x0c4
	offExtCmdline    = 0x0c8
	offAltMemK       = 0x1e0
	offE820Entries   = 0x1e8
	offHeader        = 0x1f1
	offSetupSects    = 0x1f1
	offSysSize       = 0x1f4
	offVidMode       = 0x1fa
	offBootFlag      = 0x1fe
	offJump          = 0x200
	offMagic         = 0x202
	offVersion       = 0x206
	offLoaderType    = 0x210
	offLoadFlags     = 0x211
	offCode32Start   = 0x214
	offRamdisk       = 0x218
	offRamdiskLen    = 0x21c
	offHeapEnd       = 0x224
	offCmdline       = 0x228
	offInitrdMax     = 0x22c
	offAlignment     = 0x230
	offRelocatable   = 0x234
	offMinAlignment  = 0x235
	offXLoadFlags    = 0x236
	offCmdlineSize   = 0x238
	offPayload       = 0x248
	offPayloadLen    = 0x24c
	offSetupData     = 0x250
	offPrefAddress   = 0x258
	offInitSize      = 0x260
	offE820Table     = 0x2d0

	bootParamsLen  = 0x1000
	headerMaxEnd   = 0x290
	maxE820Entries = 128
	e820EntryLen   = 20

	setupE820Ext = 1
	setupRNGSeed = 9

	loadedHigh = 1 << 0
	canUseHeap = 1 << 7

	xlfKernel64 = 1 << 0
	xlfAbove4G  = 1 << 1

	entry64Offset = 0x200
	loaderUnknown = 0xff
	vidModeNormal = 0xffff
)

// header is the setup header of a bzImage, checked.
type header struct {
	version     uint16
	raw         []byte // from offHeader on
	setupLen    int    // bytes before the protected-mode kernel
	sysLen      uint64
	loadFlags   byte
	code32Start uint32
	initrdMax   uint64
	alignment   uint64
	relocatable bool
	xflags      uint16
	cmdlineSize int
	payload     uint64 // offset in the protected-mode kernel
	payloadLen  uint64
	prefAddress uint64
	initSize    uint64
}

func isLinux(image []byte) bool {
	return len(image) >= offVersion+2 && image[offBootFlag] == 0x55 && image[offBootFlag+1] == 0xaa &&
		bytes.Equal(image[offMagic:offMagic+4], []byte("HdrS"))
}

// parseHeader reads the setup header. Fields which the image's protocol
// version does not have get the value that its absence means.
func parseHeader(image []byte) (*header, error) {
	le := binary.LittleEndian
	if len(image) < offVersion+2 {
		return nil, fmt.Errorf("boot: Linux image of %d bytes is shorter than its setup header", len(image))
	}
	if image[offBootFlag] != 0x55 || image[offBootFlag+1] != 0xaa {
		return nil, fmt.Errorf("boot: Linux image: boot_flag is %#x, want 0xaa55", le.Uint16(image[offBootFlag:]))
	}
	if !bytes.Equal(image[offMagic:offMagic+4], []byte("HdrS")) {
		return nil, fmt.Errorf("boot: Linux image has no HdrS: its boot protocol is older than 2.00, which cannot be booted")
	}
	h := &header{version: le.Uint16(image[offVersion:]), setupLen: 512 * 5}
	if h.version < 0x0202 {
		return nil, fmt.Errorf("boot: Linux boot protocol %d.%02d is too old: 2.02 (Linux 2.4) is the least", h.version>>8, h.version&0xff)
	}
	if n := image[offSetupSects]; n != 0 {
		h.setupLen = 512 * (int(n) + 1)
	}
	// The byte behind the jump opcode is how far the header reaches.
	end := min(offMagic+int(image[offJump+1]), headerMaxEnd)
	if end <= offCmdline+4 {
		return nil, fmt.Errorf("boot: Linux setup header ends at %#x, before cmd_line_ptr", end)
	}
	if len(image) <= h.setupLen {
		return nil, fmt.Errorf("boot: Linux image of %d bytes ends in its %d bytes of setup code (setup_sects)", len(image), h.setupLen)
	}
	// setup_sects is at least 1, so a whole header is in the image.
	if end > h.setupLen {
		return nil, fmt.Errorf("boot: Linux setup header ends at %#x, behind the setup code", end)
	}
	h.raw = image[offHeader:end]
	h.fields(image[:end])
	if h.loadFlags&loadedHigh == 0 {
		return nil, fmt.Errorf("boot: Linux zImage (loadflags %#x, LOADED_HIGH is clear) cannot be booted: build a bzImage", h.loadFlags)
	}
	rest := uint64(len(image) - h.setupLen)
	if h.sysLen > rest+15 {
		return nil, fmt.Errorf("boot: Linux image is truncated: syssize is %d bytes, %d are there", h.sysLen, rest)
	}
	if h.payloadLen != 0 && (h.payload > rest || h.payloadLen > rest-h.payload) {
		return nil, fmt.Errorf("boot: Linux payload_offset %#x and payload_length %#x pass the %#x bytes of the kernel", h.payload, h.payloadLen, rest)
	}
	if h.relocatable && (h.alignment == 0 || h.alignment&(h.alignment-1) != 0) {
		return nil, fmt.Errorf("boot: Linux kernel_alignment %#x is not a power of two", h.alignment)
	}
	return h, nil
}

// fields reads those that depend on the version. b ends where the header ends.
func (h *header) fields(b []byte) {
	le := binary.LittleEndian
	has := func(version uint16, off, size int) bool { return h.version >= version && off+size <= len(b) }
	h.loadFlags = b[offLoadFlags]
	h.code32Start = le.Uint32(b[offCode32Start:])
	h.sysLen = uint64(le.Uint16(b[offSysSize:])) * 16
	h.initrdMax = 0x37ffffff
	h.cmdlineSize = 255
	if has(0x0203, offInitrdMax, 4) {
		h.initrdMax = uint64(le.Uint32(b[offInitrdMax:]))
	}
	if h.version >= 0x0204 {
		h.sysLen = uint64(le.Uint32(b[offSysSize:])) * 16
	}
	if has(0x0205, offRelocatable, 1) {
		h.alignment = uint64(le.Uint32(b[offAlignment:]))
		h.relocatable = b[offRelocatable] != 0
	}
	if has(0x0206, offCmdlineSize, 4) {
		h.cmdlineSize = int(min(le.Uint32(b[offCmdlineSize:]), infoAddr-cmdlineAddr-1))
	}
	if has(0x0208, offPayloadLen, 4) {
		h.payload = uint64(le.Uint32(b[offPayload:]))
		h.payloadLen = uint64(le.Uint32(b[offPayloadLen:]))
	}
	if has(0x020a, offInitSize, 4) {
		h.prefAddress = le.Uint64(b[offPrefAddress:])
		h.initSize = uint64(le.Uint32(b[offInitSize:]))
	}
	if has(0x020c, offXLoadFlags, 2) {
		h.xflags = le.Uint16(b[offXLoadFlags:])
	}
}

// linux loads a bzImage and enters its own decompressor.
func (l *loader) linux(image []byte) (Entry, error) {
	h, err := parseHeader(image)
	if err != nil {
		return Entry{}, err
	}
	kernel := image[h.setupLen:]
	need := max(h.initSize, uint64(len(kernel)))
	addr, err := l.linuxAddress(h, need)
	if err != nil {
		return Entry{}, err
	}
	if err := l.claim("Linux kernel (init_size)", addr, need); err != nil {
		return Entry{}, err
	}
	if err := l.write("Linux kernel", addr, kernel); err != nil {
		return Entry{}, err
	}
	mode, rip := Long, addr+entry64Offset
	if h.xflags&xlfKernel64 == 0 || l.opt.Linux32 {
		mode, rip = Protected, addr
	}
	if mode == Long && len(kernel) <= entry64Offset {
		return Entry{}, fmt.Errorf("boot: Linux kernel of %d bytes ends before its 64-bit entry point at %#x", len(kernel), entry64Offset)
	}
	if err := l.bootParams(h, mode, addr); err != nil {
		return Entry{}, err
	}
	e, err := l.flatEntry(mode, rip)
	e.RSI = bootParamsAddr
	return e, err
}

// linuxAddress is where the kernel wants to be, or else the lowest place above
// 1 MiB that it can be.
func (l *loader) linuxAddress(h *header, need uint64) (uint64, error) {
	if !h.relocatable {
		if h.prefAddress != 0 {
			return h.prefAddress, nil
		}
		return e820.HighStart, nil
	}
	if a := h.prefAddress; a >= e820.HighStart && a%h.alignment == 0 && a < 1<<32 && l.opt.Map.Contains(e820.RAM, a, need) {
		return a, nil
	}
	for _, m := range l.opt.Map {
		a := (max(m.Addr, e820.HighStart) + h.alignment - 1) &^ (h.alignment - 1)
		if m.Type == e820.RAM && a >= m.Addr && a+need >= a && a+need <= min(m.End(), 1<<32) {
			return a, nil
		}
	}
	return 0, fmt.Errorf("boot: no RAM below 4 GiB for the %d bytes that the Linux kernel needs (init_size): give the guest more memory", need)
}

// bootParams writes the zero page, the command line, the initial RAM disk and
// setup_data.
func (l *loader) bootParams(h *header, mode Mode, kernel uint64) error {
	le := binary.LittleEndian
	p := make([]byte, bootParamsLen)
	copy(p[offHeader:], h.raw)
	p[offLoaderType] = loaderUnknown
	p[offLoadFlags] |= canUseHeap
	le.PutUint16(p[offHeapEnd:], 0xfe00)
	le.PutUint16(p[offVidMode:], vidModeNormal)
	le.PutUint32(p[offCode32Start:], uint32(kernel))
	l.screenInfo(p[offScreenInfo:])
	le.PutUint64(p[offACPIRSDP:], l.opt.RSDP)

	if len(l.opt.Cmdline) > h.cmdlineSize {
		return fmt.Errorf("boot: command line of %d bytes: this kernel takes %d (cmdline_size)", len(l.opt.Cmdline), h.cmdlineSize)
	}
	at, err := l.putCmdline(l.opt.Cmdline)
	if err != nil {
		return err
	}
	le.PutUint32(p[offCmdline:], uint32(at))

	if len(l.opt.Initrd) > 0 {
		at, err := l.linuxInitrd(h, mode)
		if err != nil {
			return err
		}
		n := uint64(len(l.opt.Initrd))
		le.PutUint32(p[offRamdisk:], uint32(at))
		le.PutUint32(p[offExtRamdisk:], uint32(at>>32))
		le.PutUint32(p[offRamdiskLen:], uint32(n))
		le.PutUint32(p[offExtRamdiskLen:], uint32(n>>32))
	}
	data, err := l.linuxMemory(h, p)
	if err != nil {
		return err
	}
	if h.version >= 0x0209 {
		le.PutUint64(p[offSetupData:], data)
	}
	return l.write("boot_params", bootParamsAddr, p)
}

// linuxInitrd places the RAM disk as high as the kernel takes it: below
// initrd_addr_max, or, when there is no room and it can, anywhere.
func (l *loader) linuxInitrd(h *header, mode Mode) (uint64, error) {
	lo := l.top()
	limit := h.initrdMax + 1
	if h.xflags&xlfAbove4G != 0 && mode == Long {
		size := (uint64(len(l.opt.Initrd)) + 0xfff) &^ 0xfff
		if _, ok := l.opt.Map.FindHigh(size, 0x1000, lo, limit); !ok {
			limit = ^uint64(0)
		}
	}
	return l.place("initial RAM disk (initrd_addr_max)", l.opt.Initrd, lo, limit)
}

// linuxMemory puts the memory map into boot_params, and what does not fit
// there, with the random seed, into a list of setup_data, whose head it
// returns.
func (l *loader) linuxMemory(h *header, p []byte) (uint64, error) {
	le := binary.LittleEndian
	m := l.opt.Map
	first := m[:min(len(m), maxE820Entries)]
	table, err := first.AppendBinary(nil)
	if err != nil {
		return 0, err
	}
	copy(p[offE820Table:], table)
	p[offE820Entries] = byte(len(first))
	for _, e := range m {
		if e.Type == e820.RAM && e.Addr == e820.HighStart {
			le.PutUint32(p[offAltMemK:], uint32(min(e.Size>>10, 0xffffffff)))
			le.PutUint16(p[2:], uint16(min(e.Size>>10, 0xffff)))
		}
	}
	var head uint64
	add := func(typ uint32, data []byte) error {
		if len(data) == 0 || h.version < 0x0209 {
			return nil
		}
		var b buffer
		b.u64(head)
		b.u32(typ)
		b.u32(uint32(len(data)))
		b.bytes(data)
		at, err := l.putInfo("setup_data", b.b)
		head = at
		return err
	}
	if rest := m[len(first):]; len(rest) > 0 {
		if h.version < 0x0209 {
			return 0, fmt.Errorf("boot: memory map of %d entries: boot protocol %d.%02d takes %d", len(m), h.version>>8, h.version&0xff, maxE820Entries)
		}
		more, err := rest.AppendBinary(nil)
		if err != nil {
			return 0, err
		}
		if err := add(setupE820Ext, more); err != nil {
			return 0, err
		}
	}
	return head, add(setupRNGSeed, l.opt.RNGSeed)
}

// screenInfo describes the display. All zeros says that there is none, and a
// kernel then uses the console of its command line alone.
func (l *loader) screenInfo(p []byte) {
	if !l.opt.VGAText {
		return
	}
	p[0x06] = 3  // orig_video_mode
	p[0x07] = 80 // orig_video_cols
	p[0x0e] = 25 // orig_video_lines
	p[0x0f] = 1  // orig_video_isVGA
	p[0x10] = 16 // orig_video_points
}
