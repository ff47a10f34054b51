package pci

import "fmt"

// A Bus has room for 32 devices with 8 functions each. The bus behind a root
// port has one device only, number 0.
type Bus struct {
	host *Host
	port *RootPort      // leads to this bus; nil for bus 0
	fns  [256]*Function // by device<<3 | function; guarded by Host.mu
}

// Number is the bus number the guest assigned: 0 for the root bus and for buses
// not yet numbered.
func (b *Bus) Number() int {
	if b.port == nil {
		return 0
	}
	return int(b.port.Config(RegSecondaryBus, 1))
}

// Add puts f at device dev, function fn. It reports places that do not exist or
// are taken, and mistakes made when f was described. Functions other than 0 are
// found by the guest only if function 0 exists too.
func (b *Bus) Add(dev, fn int, f *Function) error {
	if b.host == nil {
		return fmt.Errorf("pci: %s cannot be behind %s, which is not on a bus itself; add the port first", f.name, b.port.name)
	}
	b.host.mu.Lock()
	defer b.host.mu.Unlock()
	return b.add(dev, fn, f)
}

func (b *Bus) add(dev, fn int, f *Function) error {
	devs := 32
	if b.port != nil {
		devs = 1
	}
	switch {
	case f.err != nil:
		return f.err
	case dev < 0 || dev >= devs || fn < 0 || fn > 7:
		return fmt.Errorf("pci: %s cannot be at %02x.%x: no such place on this bus; devices are 0 to %d, functions 0 to 7", f.name, dev, fn, devs-1)
	case f.at.Load() != nil:
		return fmt.Errorf("pci: %s is on a bus already", f.name)
	case b.fns[dev<<3|fn] != nil:
		return fmt.Errorf("pci: %s cannot be at %02x.%x: %s is there; choose another place", f.name, dev, fn, b.fns[dev<<3|fn].name)
	}
	f.mu.Lock()
	f.at.Store(&place{b, uint8(dev<<3 | fn)})
	if f.bridge != nil {
		f.bridge.secondary.host = b.host
	}
	f.driveINTx()
	f.mu.Unlock()
	b.fns[dev<<3|fn] = f
	b.markMulti(dev)
	b.host.remapFunction(f)
	return nil
}

// Remove takes f off the bus at once, without asking the guest: its regions
// vanish and its DMA fails.
func (b *Bus) Remove(f *Function) {
	b.host.mu.Lock()
	defer b.host.mu.Unlock()
	b.remove(f)
}

func (b *Bus) remove(f *Function) {
	at := f.at.Load()
	if at == nil || at.bus != b {
		return
	}
	f.mu.Lock()
	if f.out {
		f.out = false
		b.setINTx(int(at.devfn>>3), int(f.pin-1), false)
	}
	f.at.Store(nil)
	f.mu.Unlock()
	b.host.remapFunction(f)
	if f.bridge != nil {
		f.bridge.secondary.remap()
	}
	b.fns[at.devfn] = nil
	b.markMulti(int(at.devfn >> 3))
}

// markMulti sets the multi-function bit of a device's functions if there is
// more than one (PCI 3.0, section 6.2.1). The caller holds Host.mu.
func (b *Bus) markMulti(dev int) {
	slot := b.fns[dev<<3 : dev<<3+8]
	n := 0
	for _, f := range slot {
		if f != nil {
			n++
		}
	}
	for _, f := range slot {
		if f == nil {
			continue
		}
		f.mu.Lock()
		h := f.cfg[RegHeaderType] &^ headerMulti
		if n > 1 {
			h |= headerMulti
		}
		f.preset8(RegHeaderType, h)
		f.mu.Unlock()
	}
}

// Functions returns the functions on the bus in the order of their numbers.
func (b *Bus) Functions() []*Function {
	b.host.mu.RLock()
	defer b.host.mu.RUnlock()
	var l []*Function
	for _, f := range b.fns {
		if f != nil {
			l = append(l, f)
		}
	}
	return l
}

// setINTx carries a pin (0 to 3) of device dev towards the root, where its
// sources are counted. Each bridge renames pins by its secondary bus's device
// number (PCI-to-PCI Bridge 1.2, section 9.1).
func (b *Bus) setINTx(dev, pin int, level bool) {
	for b.port != nil {
		at := b.port.at.Load()
		if at == nil {
			return
		}
		pin = (pin + dev) & 3
		dev = int(at.devfn >> 3)
		b = at.bus
	}
	b.host.router.set(dev, pin, level)
}

// forwards tells whether all bridges above the bus pass accesses to the range
// on.
func (b *Bus) forwards(r *bar, base uint64) bool {
	for b.port != nil {
		if !b.port.passes(r, base) {
			return false
		}
		at := b.port.at.Load()
		if at == nil {
			return false
		}
		b = at.bus
	}
	return true
}

// remap follows changes of the bridge above. The caller holds Host.mu.
func (b *Bus) remap() {
	for _, f := range b.fns {
		if f != nil {
			b.host.remapFunction(f)
			if f.bridge != nil {
				f.bridge.secondary.remap()
			}
		}
	}
}
