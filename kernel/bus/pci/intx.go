package pci

import (
	"errors"
	"fmt"
	"sync"

	"dfemu/kernel/kern"
)

// Interrupt pin in the configuration header (PCI Local Bus 3.0, section 6.2.4): 1 is INTA#, 0 none.
const (
	regLine = 0x3c
	regPin  = 0x3d
	pins    = 4
)

// Router tells which global system interrupt pin (0 for INTA#) of a device on the root bus leads to.
type Router func(slot, pin uint8) (gsi uint32, ok bool)

// Interrupts says which kinds of interrupts the bus may use. DragonFly has the same as hw.pci.msi.enable and hw.pci.msix.enable.
type Interrupts struct {
	NoMSI, NoMSIX bool
	// Route says where the pins of bus 0 lead; nil: nobody knows.
	Route Router
	// Line, if not nil, is asked where there is no Route: which global system interrupt the interrupt of an old controller is that firmware has noted in a
	// function's Interrupt Line register. It is false for one that is not wired as pins are, and so cannot be theirs.
	Line func(irq uint8) (gsi uint32, ok bool)
}

// SetInterrupts is called before the first Scan.
func (b *Bus) SetInterrupts(i Interrupts) { b.ints = i }

// lines are the pins in use, by global system interrupt.
type lines struct {
	mu sync.Mutex
	m  map[uint32]*kern.Line
}

// get returns the line of a global system interrupt.
func (l *lines) get(k *kern.Kernel, gsi uint32) (*kern.Line, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.m[gsi]; have != nil {
		return have, nil
	}
	in, err := k.NewPin(gsi, 0)
	if err != nil {
		return nil, err
	}
	if l.m == nil {
		l.m = map[uint32]*kern.Line{}
	}
	l.m[gsi] = k.NewLine(fmt.Sprintf("irq%d", gsi), in)
	return l.m[gsi], nil
}

// pin returns the global system interrupt of the function's pin. Each bridge on the way turns the pins by the device's number
// (PCI-to-PCI Bridge Architecture 1.2, section 9.1).
func (d *Device) pin() (gsi uint32, err error) {
	p := d.conf.Read8(regPin)
	switch {
	case p == 0 || p > pins:
		return 0, errors.New("it has no interrupt pin")
	case d.bus != nil && d.bus.ints.Route == nil && d.bus.ints.Line != nil:
		irq := d.conf.Read8(regLine)
		if gsi, ok := d.bus.ints.Line(irq); ok {
			return gsi, nil
		}
		return 0, fmt.Errorf("where its interrupt pin leads is not known: firmware says interrupt line %d", irq)
	case d.bus == nil || d.bus.ints.Route == nil:
		return 0, errors.New("where its interrupt pin leads is not known")
	}
	p--
	at := d
	for ; at.parent != nil; at = at.parent {
		p = (p + at.Slot) % pins
	}
	gsi, ok := d.bus.ints.Route(at.Slot, p)
	if !ok {
		return 0, fmt.Errorf("where INT%c# of device %d leads is not known", 'A'+p, at.Slot)
	}
	return gsi, nil
}

// startPin makes the function's pin its interrupt.
func (d *Device) startPin() error {
	gsi, err := d.pin()
	if err != nil {
		return err
	}
	l, err := d.bus.lines.get(d.k, gsi)
	if err != nil {
		return fmt.Errorf("irq %d: %w", gsi, err)
	}
	d.ints = append(d.ints, l.Member())
	d.irq = gsi
	d.conf.Write16(regCommand, d.conf.Read16(regCommand)&^cmdNoINTx)
	return nil
}

// InterruptInfo tells in words what interrupts the function uses.
func (d *Device) InterruptInfo() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case len(d.ints) == 0:
		return "none"
	case d.ints[0].Shared():
		return fmt.Sprintf("irq %d, INT%c#", d.irq, 'A'-1+d.conf.Read8(regPin))
	case d.msix != nil:
		return fmt.Sprintf("MSI-X, messages: %d", len(d.ints))
	}
	return "MSI"
}

// The chipset whose routes are known: Intel's Q35 with ICH9.
const (
	q35Host = 0x29c08086
	ich9LPC = 0x29188086

	regRCBA  = 0xf0 // ICH9, section 13.1.35
	rcbaOn   = 1
	rcbaSize = 0x4000
	firstGSI = 16 // PIRQA's input of the I/O APIC; PIRQH's is 23
)

// routes are the registers in the chipset's configuration space (ICH9, section 10.1) that choose the PIRQ of the pins of device 31, 29, 28 …
var routes = map[uint8]uint64{31: 0x3140, 29: 0x3144, 28: 0x3146, 27: 0x3148, 26: 0x314c, 25: 0x3150}

// Q35 returns the routes of the pins on a Q35, or nil if the machine is none.
func (b *Bus) Q35() Router {
	if len(b.spans) == 0 || b.spans[0].first != 0 {
		return nil
	}
	host, err := b.config(Address{})
	if err != nil || host.Read32(regID) != q35Host {
		return nil
	}
	lpc, err := b.config(Address{Slot: 31})
	if err != nil || lpc.Read32(regID) != ich9LPC {
		return nil
	}
	var chip kern.Registers
	if rcba := lpc.Read32(regRCBA); rcba&rcbaOn != 0 && rcba != 0xffffffff {
		chip, err = b.k.MapRegisters(uint64(rcba&^(rcbaSize-1)), rcbaSize)
		if err != nil {
			chip = nil
		}
	}
	return func(slot, pin uint8) (uint32, bool) {
		if slot > 31 || pin >= pins {
			return 0, false
		}
		pirq := uint32(slot+pin)%pins + 4 // devices beside the chipset's take turns on PIRQE to PIRQH
		switch {
		case slot == 30:
			pirq = uint32(pin) + 4
		case slot >= 25:
			pirq = uint32(pin)
			if chip == nil {
				break
			}
			if r := chip.Read16(routes[slot]); r != 0xffff {
				pirq = uint32(r>>(4*pin)) & 7
			}
		}
		return firstGSI + pirq, true
	}
}
