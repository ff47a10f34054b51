package e820

import "fmt"

// Sizes of memory.
const (
	KiB = 1 << 10
	MiB = 1 << 20
	GiB = 1 << 30
)

// Limits of the RAM of a machine.
const (
	MinRAM = 16 * MiB
	MaxRAM = 64 * GiB
)

// The first megabyte of a PC.
const (
	// EBDA is the extended BIOS data area, 1 KiB.
	EBDA = 0x9fc00
	// LowEnd is where the memory of the IBM PC ends and that of VGA begins.
	LowEnd = 0xa0000
	// BIOSArea holds option ROMs' successors: the firmware's last 128 KiB, or
	// the ACPI tables of a machine without firmware.
	BIOSArea = 0xe0000
	// HighStart is where memory above the first megabyte begins.
	HighStart = 1 * MiB
)

// Config asks for a layout.
type Config struct {
	// RAM is the size of memory, a multiple of 1 MiB.
	RAM uint64
	// ECAM is the base of PCI Express configuration space, which takes 1 MiB
	// for each of Buses buses, at most 256. Zero means 0xB0000000 and 256, as
	// firmware for the Q35 chipset puts it. A negative Buses means none.
	ECAM  uint64
	Buses int
	// Hole is the address at which RAM ends below 4 GiB at the latest, a
	// multiple of 1 MiB. Zero means ECAM, but 2 GiB when RAM does not fit
	// below that, which keeps the rest aligned on 1 GiB.
	Hole uint64
	// Window64 is the size of the window for devices above 4 GiB, a power of
	// two; zero means 32 GiB.
	Window64 uint64
	// PhysBits is how many bits a physical address has; zero means 40.
	PhysBits int
}

// Range is a range of physical addresses.
type Range struct {
	// Addr is the first address, and Size how many bytes follow.
	Addr, Size uint64
}

// End is the address behind the range.
func (r Range) End() uint64 { return r.Addr + r.Size }

// Bank is a piece of RAM.
type Bank struct {
	// Addr is its physical address, Size its size in bytes.
	Addr, Size uint64
	// Offset is where it begins in the RAM of the machine, taken as one.
	Offset uint64
}

// Layout is where things are in the physical address space.
type Layout struct {
	// Banks are the RAM: from 0 up to the hole and, when there is more, from
	// 4 GiB on.
	Banks []Bank
	// Map is what an operating system without firmware is told. The area from
	// BIOSArea to 1 MiB, the ECAM and the fixed devices below 4 GiB are
	// reserved in it.
	Map Map
	// ECAM is configuration space; its size is zero for none.
	ECAM Range
	// Windows32 are the free ranges for devices between the RAM and the fixed
	// devices at IOAPIC.
	Windows32 []Range
	// Window64 is the range for devices above all RAM.
	Window64 Range
}

// Fixed addresses below 4 GiB.
const (
	// IOAPIC is the address of the first I/O APIC, where the range of fixed
	// devices begins which goes to 4 GiB: event timer, local APICs, firmware.
	IOAPIC = 0xfec00000
	fourG  = 4 * GiB
)

// New lays out the memory of a machine.
func New(c Config) (*Layout, error) {
	if c.RAM < MinRAM || c.RAM > MaxRAM || c.RAM%MiB != 0 {
		return nil, fmt.Errorf("e820: %#x bytes of RAM: must be a multiple of 1 MiB from 16 MiB to 64 GiB", c.RAM)
	}
	if c.ECAM == 0 {
		c.ECAM = 0xb0000000
	}
	switch {
	case c.Buses < 0:
		c.Buses = 0
	case c.Buses == 0:
		c.Buses = 256
	case c.Buses > 256:
		return nil, fmt.Errorf("e820: ECAM of %d buses, at most 256", c.Buses)
	}
	if c.PhysBits == 0 {
		c.PhysBits = 40
	}
	if c.PhysBits < 36 || c.PhysBits > 52 {
		return nil, fmt.Errorf("e820: physical addresses of %d bits: must be 36 to 52", c.PhysBits)
	}
	if c.Window64 == 0 {
		c.Window64 = 32 * GiB
	}
	if c.Window64&(c.Window64-1) != 0 || c.Window64 < MiB {
		return nil, fmt.Errorf("e820: 64-bit window of %#x bytes: must be a power of two from 1 MiB up", c.Window64)
	}

	l := &Layout{ECAM: Range{c.ECAM, uint64(c.Buses) * MiB}}
	if err := l.placeRAM(c); err != nil {
		return nil, err
	}
	if err := l.placeWindows(c); err != nil {
		return nil, err
	}
	if err := l.makeMap(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Layout) placeRAM(c Config) error {
	hole := c.Hole
	if hole == 0 {
		hole = IOAPIC
		if l.ECAM.Size != 0 && l.ECAM.Addr < hole {
			hole = l.ECAM.Addr
		}
		if c.RAM > hole {
			hole = min(hole, 2*GiB)
		}
	}
	if hole < MinRAM || hole > IOAPIC || hole%MiB != 0 {
		return fmt.Errorf("e820: RAM up to %#x: must be a multiple of 1 MiB from 16 MiB to %#x", hole, uint64(IOAPIC))
	}
	low := min(c.RAM, hole)
	l.Banks = []Bank{{0, low, 0}}
	if c.RAM > low {
		l.Banks = append(l.Banks, Bank{fourG, c.RAM - low, low})
	}
	if l.ECAM.Size == 0 {
		return nil
	}
	e := l.ECAM
	if e.Addr%MiB != 0 || e.End() < e.Addr || e.Addr < IOAPIC && e.End() > IOAPIC || e.Addr >= IOAPIC && e.Addr < fourG {
		return fmt.Errorf("e820: ECAM at %#x-%#x: must be 1 MiB aligned and clear of %#x to 4 GiB", e.Addr, e.End()-1, uint64(IOAPIC))
	}
	for _, b := range l.Banks {
		if e.Addr < b.Addr+b.Size && b.Addr < e.End() {
			return fmt.Errorf("e820: ECAM at %#x overlaps RAM at %#x-%#x: move it or lower the hole", e.Addr, b.Addr, b.Addr+b.Size-1)
		}
	}
	return nil
}

func (l *Layout) placeWindows(c Config) error {
	lo := l.Banks[0].Size
	if e := l.ECAM; e.Size != 0 && e.Addr < IOAPIC {
		if e.Addr > lo {
			l.Windows32 = append(l.Windows32, Range{lo, e.Addr - lo})
		}
		lo = e.End()
	}
	if lo < IOAPIC {
		l.Windows32 = append(l.Windows32, Range{lo, IOAPIC - lo})
	}
	top := uint64(fourG)
	for _, b := range l.Banks {
		top = max(top, b.Addr+b.Size)
	}
	if l.ECAM.Size != 0 {
		top = max(top, l.ECAM.End())
	}
	// A window which is a multiple of its size takes a register of that size.
	size := c.Window64
	base := (top + size - 1) &^ (size - 1)
	if limit := uint64(1) << c.PhysBits; base < top || base >= limit || size > limit-base {
		return fmt.Errorf("e820: no 64-bit window of %#x bytes between %#x and the end of %d-bit addresses", size, top, c.PhysBits)
	}
	l.Window64 = Range{base, size}
	return nil
}

func (l *Layout) makeMap() error {
	entries := []Entry{
		{EBDA, LowEnd - EBDA, Reserved},
		{BIOSArea, HighStart - BIOSArea, Reserved},
		{IOAPIC, 0x1000, Reserved},
		{0xfed00000, 0x1000, Reserved}, // event timer
		{0xfee00000, 0x1000, Reserved}, // local APICs
		{l.ECAM.Addr, l.ECAM.Size, Reserved},
	}
	for i, b := range l.Banks {
		if i == 0 {
			entries = append(entries, Entry{0, LowEnd, RAM}, Entry{HighStart, b.Size - HighStart, RAM})
			continue
		}
		entries = append(entries, Entry{b.Addr, b.Size, RAM})
	}
	m, err := Normalize(entries)
	l.Map = m
	return err
}

// FirmwareMap is the RAM alone, for firmware which makes its own reservations
// (the fw_cfg file "etc/e820").
func (l *Layout) FirmwareMap() Map {
	var m Map
	for _, b := range l.Banks {
		m = append(m, Entry{b.Addr, b.Size, RAM})
	}
	return m
}

// Find returns how the RAM at a physical address is reached: the offset in the
// RAM of the machine, and how many bytes follow there without a gap. It is
// false where there is no RAM.
func (l *Layout) Find(addr uint64) (offset, follow uint64, ok bool) {
	for _, b := range l.Banks {
		if addr >= b.Addr && addr-b.Addr < b.Size {
			d := addr - b.Addr
			return b.Offset + d, b.Size - d, true
		}
	}
	return 0, 0, false
}
