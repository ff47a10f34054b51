package ahci

import (
	"dfemu/devices"
	"dfemu/devices/pci"
)

// raise sets the interrupt status of port n and tells the guest (AHCI 1.3.1,
// section 10.7). The port holds its lock.
func (d *Device) raise(n int) {
	d.mu.Lock()
	d.post(n)
	d.level |= 1 << n
	d.mu.Unlock()
}

// post sets bit n of IS; mu is held.
func (d *Device) post(n int) {
	bit := uint32(1) << n
	fresh := d.is&bit == 0
	d.is |= bit
	if d.ghc&ghcIE == 0 {
		return
	}
	d.setLine(true)
	// With a message for each port, drivers leave IS alone: each event counts.
	if d.multiMessage() {
		d.fn.Message(n)
	} else if fresh {
		d.fn.Message(0)
	}
}

// multiMessage tells whether each port has its own message (section 10.7.2.1); mu
// is held.
func (d *Device) multiMessage() bool {
	return d.o.MSIVectors > 1 && d.vectors() >= d.wantVectors()
}

func (d *Device) vectors() int {
	if d.fn.Mode() != pci.ModeMSI {
		return 0
	}
	return d.msi.Vectors()
}

// wantVectors is how many messages are needed for one for each port and one for
// command completion coalescing.
func (d *Device) wantVectors() int { return min(d.o.MSIVectors, d.o.Ports) }

// setLine drives the pin; mu is held.
func (d *Device) setLine(level bool) {
	if d.line != level {
		d.line = level
		d.fn.INTx().Set(level)
	}
}

// lower tells that port n has no enabled interrupt pending any more. Its bit in IS
// stays until the guest clears it.
func (d *Device) lower(n int) {
	d.mu.Lock()
	d.level &^= 1 << n
	d.mu.Unlock()
}

// clearIS serves a guest's write to IS: bits with something still pending come
// back at once.
func (d *Device) clearIS(v uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.is = d.is&^v | d.level&d.is
	d.update(true)
}

// update makes pin and, if news, messages follow IS and GHC.IE; mu is held.
func (d *Device) update(news bool) {
	on := d.is != 0 && d.ghc&ghcIE != 0
	d.setLine(on)
	if on && news && !d.multiMessage() {
		d.fn.Message(0)
	}
}

// spurious signals an interrupt for which there is no cause: an injected fault.
func (d *Device) spurious(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ghc&ghcIE == 0 {
		return
	}
	if d.fn.Mode() == pci.ModeMSI {
		d.fn.Message(n)
		return
	}
	d.is |= 1 << n
	d.setLine(true)
}

// misuse reports that the access to a register that is being served breaks the specification; port is -1 for the adapter. It is
// called on the goroutine of the access.
func (d *Device) misuse(port int, clause, text string) {
	d.violation(devices.ByAccess, port, clause, text)
}

func (d *Device) violation(by devices.Origin, port int, clause, text string) {
	d.probe.Violation(devices.Violation{Clause: "AHCI 1.3.1, " + clause, Text: text, Queue: port, Origin: by})
}

func (d *Device) strict() bool { return d.probe.Wants(devices.ClassStrict) }
