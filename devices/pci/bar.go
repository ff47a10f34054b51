package pci

import (
	"fmt"
	"math/bits"

	"dfemu/devices"
)

// BARKind is the address space of a base address register and its width.
type BARKind uint8

// The kinds of base address registers.
const (
	BARIO    BARKind = iota // ports
	BARMem32                // memory below 4 GiB
	BARMem64                // memory anywhere; takes two registers
)

// A BAR describes a range that a function decodes (PCI 3.0, section 6.2.5).
type BAR struct {
	Kind         BARKind
	Prefetchable bool
	// Size is in bytes, a power of two; ports: 4 to 256; memory: at least 16.
	Size uint64
	// Region answers in the range. With nil the range is decoded but nothing is
	// mapped into the MMIO space: Moved must then do what is needed.
	Region devices.Region
	// Moved, if not nil, is called after the range appeared at base (on) or
	// disappeared from there. It must not access configuration space.
	Moved func(base uint64, on bool)
}

// bar is a BAR and its present place. Index len-1 of Function.bars is the ROM.
type bar struct {
	BAR
	used bool
	rom  bool
	reg  int // offset of its register

	// Guarded by Host.mu.
	mapped bool
	base   uint64
	unmap  func()
}

// A span is a range a function decodes.
type span struct {
	base uint64
	on   bool
}

// AddBAR gives the function base address register n (and n+1 if 64 bits wide).
// It is a builder method.
func (f *Function) AddBAR(n int, b BAR) {
	last := n
	if b.Kind == BARMem64 {
		last++
	}
	minSize := uint64(16)
	if b.Kind == BARIO {
		minSize = 4
	}
	switch {
	case n < 0 || last >= len(f.bars)-1:
		f.fail("BAR%d does not exist", n)
		return
	case f.bars[n].used || f.bars[last].used || n > 0 && f.bars[n-1].used && f.bars[n-1].Kind == BARMem64:
		f.fail("BAR%d is used twice", n)
		return
	case bits.OnesCount64(b.Size) != 1 || b.Size < minSize || b.Kind == BARIO && b.Size > 256 || b.Kind == BARMem32 && b.Size > 1<<31:
		f.fail("BAR%d cannot be %#x bytes large", n, b.Size)
		return
	}
	reg := RegBAR0 + 4*n
	f.bars[n] = bar{BAR: b, used: true, reg: reg}
	mask := -b.Size
	f.writable32(reg, uint32(mask))
	flags := uint32(0)
	switch b.Kind {
	case BARIO:
		flags = 1
	case BARMem64:
		flags = 4
		f.writable32(reg+4, uint32(mask>>32))
	}
	if b.Prefetchable && b.Kind != BARIO {
		flags |= 8
	}
	f.preset32(reg, flags)
}

// SetROM gives the function an expansion ROM with the image data, padded with
// ones to a power of two (at least 2 KiB). It is a builder method.
func (f *Function) SetROM(data []byte) {
	size := uint64(2048)
	for size < uint64(len(data)) {
		size <<= 1
	}
	if size > 16<<20 {
		f.fail("expansion ROM of %d bytes: at most 16 MiB are possible", len(data))
		return
	}
	reg := RegROM
	if f.bridge != nil {
		reg = RegBridgeROM
	}
	f.bars[len(f.bars)-1] = bar{
		BAR:  BAR{Kind: BARMem32, Size: size, Region: romRegion(data)},
		used: true, rom: true, reg: reg,
	}
	f.writable32(reg, uint32(-size)|1)
}

type romRegion []byte

// Read implements devices.Region.
func (r romRegion) Read(off uint64, size int) (uint64, error) {
	v := uint64(0)
	for i := range uint64(size) {
		b := byte(0xff)
		if off+i < uint64(len(r)) {
			b = r[off+i]
		}
		v |= uint64(b) << (8 * i)
	}
	return v, nil
}

// Write implements devices.Region.
func (r romRegion) Write(uint64, int, uint64) error { return devices.ErrReadOnly }

// decodes returns where the function's own registers place bar i. The caller
// holds mu.
func (f *Function) decodes(b *bar) span {
	cmd := f.get(RegCommand, 2)
	v := f.get(b.reg, 4)
	if b.Kind == BARIO {
		base := uint64(v &^ 3)
		// Ports end at 64 KiB on x86; zero means not assigned.
		return span{base, cmd&CommandIO != 0 && base != 0 && base+b.Size <= 1<<16}
	}
	base := uint64(v) & -b.Size & 0xfffffff0
	if b.Kind == BARMem64 {
		base |= uint64(f.get(b.reg+4, 4)) << 32
		base &= -b.Size
	}
	on := cmd&CommandMemory != 0 && base != 0
	if b.rom && v&1 == 0 {
		on = false
	}
	// All ones are written to find the size. The range that results, at the top
	// of the 32-bit or 64-bit space, is never meant.
	end := base + b.Size - 1
	if end == 1<<32-1 || end >= 1<<52 || end < base {
		on = false
	}
	return span{base, on}
}

// remapFunction moves the function's regions to where its registers, and those
// of the bridges above it, place them. The caller holds Host.mu.
func (h *Host) remapFunction(f *Function) {
	at := f.at.Load()
	for i := range f.bars {
		b := &f.bars[i]
		if !b.used {
			continue
		}
		f.mu.Lock()
		s := f.decodes(b)
		f.mu.Unlock()
		if s.on && (at == nil || !at.bus.forwards(b, s.base)) {
			s.on = false
		}
		if s.on == b.mapped && (!s.on || s.base == b.base) {
			continue
		}
		b.remove()
		if s.on {
			b.place(h, f, i, s.base)
		}
	}
}

func (b *bar) place(h *Host, f *Function, i int, base uint64) {
	b.mapped, b.base = true, base
	if b.Region != nil {
		space := h.env.MMIO
		if b.Kind == BARIO {
			space = h.env.Ports
		}
		name := fmt.Sprintf("%s BAR%d", f.name, i)
		if b.rom {
			name = f.name + " ROM"
		}
		unmap, err := space.Map(devices.Mapping{Name: name, Base: base, Size: b.Size, Region: b.Region})
		if err != nil {
			b.mapped = false
			return
		}
		b.unmap = unmap
	}
	if b.Moved != nil {
		b.Moved(base, true)
	}
}

func (b *bar) remove() {
	if !b.mapped {
		return
	}
	b.mapped = false
	if b.unmap != nil {
		b.unmap()
		b.unmap = nil
	}
	if b.Moved != nil {
		b.Moved(b.base, false)
	}
}

// BARAddress returns where BAR n answers at present, and whether it does.
func (f *Function) BARAddress(n int) (base uint64, on bool) {
	at := f.at.Load()
	if at == nil || n < 0 || n >= len(f.bars)-1 {
		return 0, false
	}
	h := at.bus.host
	h.mu.RLock()
	defer h.mu.RUnlock()
	return f.bars[n].base, f.bars[n].mapped
}
