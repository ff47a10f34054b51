package pci

import (
	"cmp"
	"fmt"
	"slices"
)

// A Window is a range of addresses, Limit included.
type Window struct{ Base, Limit uint64 }

// Windows are the ranges that BARs are placed in.
type Windows struct {
	IO    Window // ports
	Mem32 Window // memory below 4 GiB
	Mem64 Window // memory above, for 64-bit BARs; may be empty (zero)
	// Lines are the values of Interrupt Line, by PIRQ: what the routing
	// registers send it to in PIC mode. It is for the guest's information.
	Lines [8]uint8
}

// Space kept behind a port with hot-plug for what will be plugged in.
const (
	spareIO   = 4 << 10
	spareMem  = 4 << 20
	sparePref = 64 << 20
)

// Assign does for a machine without firmware what firmware does after reset: it
// numbers the buses, places all BARs, opens the bridges' windows for them,
// fills in the interrupt lines and turns decoding on (bus mastering stays off).
// It reports a window that is too small. Expansion ROMs stay disabled.
func (h *Host) Assign(w Windows) error {
	a := &assigner{h: h, io: w.IO.Base, mem: w.Mem32.Base, pref: w.Mem64.Base, w: w}
	a.high = w.Mem64.Limit > w.Mem64.Base
	return a.bus(&h.root, 0)
}

type assigner struct {
	h             *Host
	w             Windows
	io, mem, pref uint64 // first free addresses
	high          bool   // there is a window above 4 GiB
	last          int    // last bus number given
}

// kind is one of the windows.
type kind int

const (
	kindIO kind = iota
	kindMem
	kindPref
)

// kindOf is where a BAR goes. Behind a bridge only prefetchable BARs can be
// above 4 GiB.
func (a *assigner) kindOf(b *bar, behind bool) kind {
	switch {
	case b.Kind == BARIO:
		return kindIO
	case a.high && b.Kind == BARMem64 && (b.Prefetchable || !behind):
		return kindPref
	}
	return kindMem
}

// take returns n free addresses at a multiple of align.
func (a *assigner) take(k kind, n, align uint64) (uint64, error) {
	p, w, what := &a.io, a.w.IO, "port"
	switch k {
	case kindMem:
		p, w, what = &a.mem, a.w.Mem32, "memory (32-bit)"
	case kindPref:
		p, w, what = &a.pref, a.w.Mem64, "memory (64-bit)"
	}
	base := (*p + align - 1) &^ (align - 1)
	if base < *p || n > 0 && (base > w.Limit || n-1 > w.Limit-base) {
		return 0, fmt.Errorf("pci: the %s window %#x to %#x is too small for all devices", what, w.Base, w.Limit)
	}
	*p = base + n
	return base, nil
}

// bus places everything on a bus, and what is behind its bridges after that.
func (a *assigner) bus(b *Bus, number int) error {
	fns := b.Functions()
	if err := a.bars(fns, number != 0); err != nil {
		return err
	}
	for _, f := range fns {
		if f.pin != 0 {
			f.WriteConfig(RegIntLine, 1, uint32(a.w.Lines[a.pirq(f)]))
		}
		if f.bridge != nil {
			if err := a.behind(f.bridge, number); err != nil {
				return err
			}
		}
		f.WriteConfig(RegCommand, 2, f.Config(RegCommand, 2)|CommandIO|CommandMemory)
	}
	return nil
}

// pirq follows a function's pin to the root.
func (a *assigner) pirq(f *Function) int {
	at := f.at.Load()
	pin := int(f.pin - 1)
	for at != nil && at.bus.port != nil {
		pin = (pin + int(at.devfn>>3)) & 3
		at = at.bus.port.at.Load()
	}
	if at == nil {
		return 0
	}
	return a.h.router.Route(int(at.devfn>>3), pin)
}

// bars places the BARs of functions, large ones first so that none is wasted on
// alignment.
func (a *assigner) bars(fns []*Function, behind bool) error {
	type entry struct {
		f *Function
		b *bar
	}
	var l []entry
	for _, f := range fns {
		for i := range f.bars {
			if b := &f.bars[i]; b.used && !b.rom {
				l = append(l, entry{f, b})
			}
		}
	}
	slices.SortStableFunc(l, func(x, y entry) int { return cmp.Compare(y.b.Size, x.b.Size) })
	for _, e := range l {
		base, err := a.take(a.kindOf(e.b, behind), e.b.Size, e.b.Size)
		if err != nil {
			return fmt.Errorf("%w (%s)", err, e.f.name)
		}
		e.f.WriteConfig(e.b.reg, 4, uint32(base))
		if e.b.Kind == BARMem64 {
			e.f.WriteConfig(e.b.reg+4, 4, uint32(base>>32))
		}
	}
	return nil
}

// behind numbers the bus behind a port and opens the port's windows for it.
func (a *assigner) behind(p *RootPort, primary int) error {
	if a.last == 255 {
		return fmt.Errorf("pci: more than 256 buses (%s)", p.name)
	}
	a.last++
	number := a.last
	p.WriteConfig(RegPrimaryBus, 1, uint32(primary))
	p.WriteConfig(RegSecondaryBus, 1, uint32(number))
	p.WriteConfig(RegSubordinateBus, 1, 255)
	type open struct {
		k           kind
		align, keep uint64
		base, end   uint64
	}
	l := []open{{kindIO, 4 << 10, spareIO, 0, 0}, {kindMem, 1 << 20, spareMem, 0, 0}, {kindPref, 1 << 20, sparePref, 0, 0}}
	if !a.high {
		l = l[:2]
	}
	var err error
	for i := range l {
		if l[i].base, err = a.take(l[i].k, 0, l[i].align); err != nil {
			return err
		}
	}
	if err := a.bus(&p.secondary, number); err != nil {
		return err
	}
	p.WriteConfig(RegSubordinateBus, 1, uint32(a.last))
	for i := range l {
		o := &l[i]
		if o.end, err = a.take(o.k, 0, o.align); err != nil {
			return err
		}
		if p.hotPlug && o.end-o.base < o.keep {
			more := o.keep - (o.end - o.base)
			if _, err = a.take(o.k, more, o.align); err != nil {
				return fmt.Errorf("%w (%s)", err, p.name)
			}
			o.end += more
		}
		if o.end == o.base {
			continue // nothing behind: the window stays closed
		}
		last := o.end - 1
		switch o.k {
		case kindIO:
			p.WriteConfig(RegIOBase, 2, uint32(o.base>>8&0xf0|last&0xf000))
		case kindMem:
			p.WriteConfig(RegMemBase, 4, uint32(o.base>>16|last&0xfff00000))
		case kindPref:
			p.WriteConfig(RegPrefBase, 4, uint32(o.base>>16&0xfff0|last&0xfff00000))
			p.WriteConfig(RegPrefBaseHigh, 4, uint32(o.base>>32))
			p.WriteConfig(RegPrefLimitHigh, 4, uint32(last>>32))
		}
	}
	return nil
}
