package boot

// Mode is the mode of the processor at entry.
type Mode uint8

// Modes.
const (
	// Real is real-address mode.
	Real Mode = iota
	// Protected is 32-bit protected mode with flat segments and paging off.
	Protected
	// Long is 64-bit mode.
	Long
)

// String names the mode.
func (m Mode) String() string {
	switch m {
	case Real:
		return "real mode"
	case Protected:
		return "32-bit protected mode"
	case Long:
		return "64-bit mode"
	}
	return "unknown mode"
}

// Segment is a segment register with its hidden part.
type Segment struct {
	Selector uint16
	Base     uint64
	// Limit is in bytes, granularity applied.
	Limit uint32
	// Access are bits 55:40 of a descriptor with the limit left out: type in
	// bits 3:0, S, DPL in 6:5, P, then AVL, L, D/B and G in 12 to 15 (Intel SDM
	// volume 3, section 3.4.5).
	Access uint16
}

// Table is a descriptor table register.
type Table struct {
	Base  uint64
	Limit uint16
}

// Entry is the state in which the boot processor starts. What is not here is
// as after reset.
type Entry struct {
	Mode Mode

	RIP, RSP, RFLAGS   uint64
	RAX, RBX, RCX, RDX uint64
	RSI, RDI, RBP      uint64

	CS, DS, ES, FS, GS, SS, TR, LDT Segment

	// GDT is in guest memory when its limit is not zero. IDT has a limit of
	// zero but in real mode: the guest brings its own before it faults.
	GDT, IDT Table

	CR0, CR3, CR4, EFER uint64
}

// Control register and EFER bits of the entry states.
const (
	cr0PE = 1 << 0
	cr0ET = 1 << 4
	cr0NE = 1 << 5
	cr0PG = 1 << 31

	cr4PAE = 1 << 5

	eferLME = 1 << 8
	eferLMA = 1 << 10

	rflagsFixed = 1 << 1
)

// Descriptor access values.
const (
	accessCode32 = 0xc09b // execute, read, accessed, present, 32 bits, pages
	accessCode64 = 0xa09b // the same with L in place of D
	accessData   = 0xc093 // read, write, accessed, present, 32 bits, pages
	accessTSS    = 0x008b // busy 32- or 64-bit TSS
	accessLDT    = 0x0082
	accessCode16 = 0x009b
	accessData16 = 0x0093
)

// Selectors of the boot GDT, those that Linux wants: __BOOT_CS and __BOOT_DS.
const (
	selCode = 0x10
	selData = 0x18
	selTSS  = 0x20
)

const gdtEntries = 6 // null, unused, code, data and a TSS of 16 bytes

func flat(sel, access uint16) Segment { return Segment{sel, 0, 0xffffffff, access} }

// descriptor packs a segment with base zero into the form of the GDT.
func descriptor(access uint16, limit uint32) uint64 {
	if access&0x8000 != 0 {
		limit >>= 12
	}
	return uint64(limit&0xffff) | uint64(access)<<40 | uint64(limit&0xf0000)<<32
}

// flatEntry is an entry with flat segments at rip, in Protected or Long mode,
// and the GDT written to memory. Long mode also writes page tables which map
// all addresses below top, at least 4 GiB, to themselves.
func (l *loader) flatEntry(mode Mode, rip uint64) (Entry, error) {
	code := uint16(accessCode32)
	if mode == Long {
		code = accessCode64
	}
	e := Entry{
		Mode: mode, RIP: rip, RSP: stackTop, RFLAGS: rflagsFixed,
		CS:  flat(selCode, code),
		DS:  flat(selData, accessData),
		TR:  Segment{selTSS, 0, 0x67, accessTSS},
		LDT: Segment{0, 0, 0, accessLDT},
		GDT: Table{gdtAddr, gdtEntries*8 - 1},
		CR0: cr0PE | cr0ET | cr0NE,
	}
	e.ES, e.FS, e.GS, e.SS = e.DS, e.DS, e.DS, e.DS
	var gdt buffer
	gdt.u64(0)
	gdt.u64(0)
	gdt.u64(descriptor(code, 0xffffffff))
	gdt.u64(descriptor(accessData, 0xffffffff))
	gdt.u64(descriptor(accessTSS, 0x67))
	gdt.u64(0)
	if err := l.write("GDT", gdtAddr, gdt.b); err != nil {
		return e, err
	}
	if mode == Long {
		if err := l.pageTables(); err != nil {
			return e, err
		}
		e.CR0 |= cr0PG
		e.CR3 = pageTableAddr
		e.CR4 = cr4PAE
		e.EFER = eferLME | eferLMA
	}
	return e, nil
}

// realEntry is real mode at a physical address below 1 MiB, as a BIOS enters a
// boot sector.
func realEntry(addr uint64) Entry {
	seg := func(sel uint16, access uint16) Segment {
		return Segment{sel, uint64(sel) << 4, 0xffff, access}
	}
	var cs uint16
	ip := addr
	if addr > 0xffff {
		cs, ip = uint16(addr>>4), addr&0xf
	}
	e := Entry{
		Mode: Real, RIP: ip, RSP: 0x7c00, RFLAGS: rflagsFixed,
		RDX: 0x80, // the first hard disk
		CS:  seg(cs, accessCode16), DS: seg(0, accessData16),
		TR: Segment{0, 0, 0xffff, accessTSS}, LDT: Segment{0, 0, 0xffff, accessLDT},
		IDT: Table{0, 0x3ff},
		CR0: cr0ET,
	}
	e.ES, e.FS, e.GS, e.SS = e.DS, e.DS, e.DS, e.DS
	return e
}

// maxMapped is how much the page tables can map, in GiB: one page directory
// each between their address and the command line.
const maxMapped = (cmdlineAddr-pageTableAddr)/0x1000 - 2

// pageTables maps the addresses from 0 to the top of memory, and 4 GiB in any
// case, to themselves in pages of 2 MiB.
func (l *loader) pageTables() error {
	const (
		present  = 1 << 0
		writable = 1 << 1
		large    = 1 << 7
		gib      = 1 << 30
	)
	n := (l.opt.Map.Top() + gib - 1) / gib
	n = min(max(n, 4), maxMapped)
	var b buffer
	b.u64(pageTableAddr + 0x1000 | present | writable)
	b.pad(0x1000)
	for i := uint64(0); i < n; i++ {
		b.u64(pageTableAddr + 0x2000 + i*0x1000 | present | writable)
	}
	b.pad(0x2000)
	for a := uint64(0); a < n*gib; a += 2 << 20 {
		b.u64(a | present | writable | large)
	}
	return l.write("page tables", pageTableAddr, b.b)
}
