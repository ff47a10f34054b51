package pci

import (
	"sync"

	"dfemu/devices"
)

// A Router carries the INTx pins of bus 0's devices to PIRQA to PIRQH, and
// those to the interrupt controllers: level-triggered inputs that several pins
// share. In APIC mode each PIRQ has an input of its own. In PIC mode the LPC
// bridge's PIRQ routing registers choose an ISA interrupt; both are driven, and
// the guest listens to one.
type Router struct {
	mu     sync.Mutex
	count  [32][4]int   // functions asserting the pin
	route  [32][4]uint8 // PIRQ of each pin
	rout   [8]uint8     // the PIRQ routing registers: bit 7 off, 3:0 ISA interrupt
	gsi    [8]devices.Line
	isa    [16]devices.Line
	gsiOut [8]bool
	isaOut [16]bool
}

func newRouter(gsi [8]devices.Line, isa [16]devices.Line) *Router {
	r := &Router{gsi: gsi, isa: isa}
	for i := range r.gsi {
		if r.gsi[i] == nil {
			r.gsi[i] = devices.NoLine
		}
	}
	for i := range r.isa {
		if r.isa[i] == nil {
			r.isa[i] = devices.NoLine
		}
	}
	for dev := range r.route {
		for pin := range r.route[dev] {
			r.route[dev][pin] = defaultRoute(dev, pin)
		}
	}
	for i := range r.rout {
		r.rout[i] = pirqOff
	}
	return r
}

// pirqOff is a PIRQ routing register's value after reset.
const pirqOff = 0x80

// defaultRoute is the PIRQ of a pin (0 to 3) after reset. Slots 0 to 24 take
// turns on PIRQE to PIRQH. The chipset's own devices 25 to 31 have their pins
// on PIRQA to PIRQD, until the guest programs the routes of their own.
func defaultRoute(dev, pin int) uint8 {
	switch {
	case dev < 25:
		return uint8(4 + (dev+pin)&3)
	case dev == 30: // the DMI-to-PCI bridge
		return uint8(4 + pin)
	}
	return uint8(pin)
}

// Route returns the PIRQ (0 to 7) that pin (0 for INTA# to 3) of device dev of
// bus 0 drives: what an ACPI _PRT says.
func (r *Router) Route(dev, pin int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.route[dev&31][pin&3])
}

// setRoute changes the PIRQ of a pin.
func (r *Router) setRoute(dev, pin int, pirq uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.route[dev][pin] = pirq & 7
	r.drive()
}

// setPIC changes a PIRQ routing register.
func (r *Router) setPIC(pirq int, v uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rout[pirq] = v
	r.drive()
}

// set counts a function that asserts or releases a pin.
func (r *Router) set(dev, pin int, level bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if level {
		r.count[dev][pin]++
	} else {
		r.count[dev][pin]--
	}
	r.drive()
}

// drive brings the outputs up to date. The caller holds mu.
func (r *Router) drive() {
	var gsi [8]bool
	for dev := range r.count {
		for pin, n := range r.count[dev] {
			if n > 0 {
				gsi[r.route[dev][pin]] = true
			}
		}
	}
	var isa [16]bool
	for p, on := range gsi {
		if on && r.rout[p]&pirqOff == 0 && pirqTargets>>(r.rout[p]&15)&1 != 0 {
			isa[r.rout[p]&15] = true
		}
	}
	for p, on := range gsi {
		if on != r.gsiOut[p] {
			r.gsiOut[p] = on
			r.gsi[p].Set(on)
		}
	}
	for i, on := range isa {
		if on != r.isaOut[i] {
			r.isaOut[i] = on
			r.isa[i].Set(on)
		}
	}
}

// pirqTargets has a bit for each ISA interrupt that a PIRQ can be routed to
// (ICH9, section 13.1.17): 3 to 7, 9 to 12, 14 and 15.
const pirqTargets = 0xdef8
