package pci

import (
	"fmt"
	"slices"
)

// Where there is no firmware that has done it, bridges are given bus numbers and functions addresses.

// area is a range of addresses and what of it is in use.
type area struct {
	from, to uint64
	used     []extent
}

type extent struct{ from, to uint64 }

// bridgeWindow is how much memory each bridge passes on that firmware has not set up.
const bridgeWindow = 4 << 20

// SetWindow says which physical addresses, from and up to but without to, functions may be given.
func (b *Bus) SetWindow(from, to uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.areas[0] = &area{from: from, to: to}
}

// reserve marks a range as used.
func (a *area) reserve(from, size uint64) {
	a.used = append(a.used, extent{from, from + size})
}

// alloc finds room for size bytes aligned to align, and marks it as used.
func (a *area) alloc(size, align uint64) (uint64, bool) {
	slices.SortFunc(a.used, func(x, y extent) int {
		if x.from < y.from {
			return -1
		}
		return 1
	})
	at := (a.from + align - 1) &^ (align - 1)
	for _, u := range a.used {
		if at+size <= u.from {
			break
		}
		if u.to > at {
			at = (u.to + align - 1) &^ (align - 1)
		}
	}
	if at < a.from || at+size < at || at+size > a.to {
		return 0, false
	}
	a.reserve(at, size)
	return at, true
}

// areaOf is where the functions of a bus have their addresses: the window of the bridge, or the machine's.
func (b *Bus) areaOf(bus uint8) *area {
	if a := b.areas[bus]; a != nil {
		return a
	}
	return b.areas[0]
}

// bridge sees that a bridge passes on a bus and memory, and returns the bus.
func (b *Bus) bridge(d *Device) uint8 {
	if d.Bridge == 0 && b.areas[0] != nil {
		b.nextBus = max(b.nextBus, d.Bus) + 1
		if !b.hasBus(b.nextBus) {
			b.k.Printf("pci %v: there is no bus number left for what is behind it", d.Address)
			return 0
		}
		d.Bridge = b.nextBus
		d.conf.Write32(regBusses, d.conf.Read32(regBusses)&0xff000000|uint32(d.Bridge)<<16|uint32(d.Bridge)<<8|uint32(d.Bus))
		if at, ok := b.areaOf(d.Bus).alloc(bridgeWindow, 1<<20); ok {
			d.conf.Write16(regMemWin, uint16(at>>16)&0xfff0)
			d.conf.Write16(regMemWin+2, uint16((at+bridgeWindow-1)>>16)&0xfff0)
		} else {
			d.conf.Write32(regMemWin, 0x0000fff0) // nothing
			b.k.Printf("pci %v: there is no memory left for what is behind it", d.Address)
		}
		d.conf.Write32(regPrefWin, 0x0000fff0)
		d.conf.Write16(regCommand, d.conf.Read16(regCommand)|cmdMemory|cmdMaster)
	}
	b.nextBus = max(b.nextBus, d.Bridge)
	if d.Bridge != 0 && b.areas[d.Bridge] == nil {
		w := d.conf.Read32(regMemWin)
		from, to := uint64(w&0xfff0)<<16, uint64(w&0xfff00000)|0xfffff
		if from < to {
			b.areas[d.Bridge] = &area{from: from, to: to + 1}
		} else {
			b.areas[d.Bridge] = &area{}
		}
	}
	return d.Bridge
}

func (b *Bus) hasBus(bus uint8) bool {
	for _, s := range b.spans {
		if bus >= s.first && bus <= s.last {
			return true
		}
	}
	return false
}

// assign gives the memory of functions addresses that has none; all others' are known first.
func (b *Bus) assign(devices []*Device) {
	if b.areas[0] == nil {
		return
	}
	for _, a := range b.areas {
		a.used = slices.DeleteFunc(a.used, func(e extent) bool { return e.to-e.from != bridgeWindow })
	}
	for _, d := range devices {
		for _, r := range d.BARs {
			if !r.IO && r.Addr != 0 && r.Size != 0 {
				b.areaOf(d.Bus).reserve(r.Addr, r.Size)
			}
		}
	}
	for _, d := range devices {
		if u := b.found[d.Address]; u != nil {
			continue
		}
		for i := range d.BARs {
			r := &d.BARs[i]
			if r.IO || r.Addr != 0 || r.Size == 0 {
				continue
			}
			at, ok := b.areaOf(d.Bus).alloc(r.Size, max(r.Size, 4096))
			if !ok {
				b.k.Printf("pci %v: no room for the %s of BAR %d", d.Address, fmt.Sprintf("%#x bytes", r.Size), i)
				continue
			}
			off := uint64(regBAR + 4*i)
			d.conf.Write32(off, d.conf.Read32(off)&15|uint32(at))
			if r.Is64 {
				d.conf.Write32(off+4, uint32(at>>32))
			}
			r.Addr = at
		}
	}
}
