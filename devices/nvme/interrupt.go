package nvme

import "dfemu/devices/pci"

// raise signals an interrupt vector.
func (d *Device) raise(vector uint16) {
	switch d.fn.Mode() {
	case pci.ModeMSIX:
		d.msix.Notify(int(vector))
	case pci.ModeMSI:
		if vector > 31 || d.mask.Load()>>vector&1 == 0 {
			d.fn.Message(int(vector))
		}
	default:
		d.updatePin()
	}
}

func (d *Device) msixEnabled() bool { return d.fn.Mode() == pci.ModeMSIX }
func (d *Device) pinMode() bool     { return d.fn.Mode() == pci.ModeINTx }

// updatePin brings the INTx pin up to date: it is asserted while a completion
// queue with interrupts enabled has entries that the driver has not consumed, and
// its vector is not masked (NVMe over PCIe Transport 1.0, section 3.5.1).
func (d *Device) updatePin() {
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	d.fn.INTx().Set(d.pendingVectors()&^d.mask.Load() != 0)
}

// pendingVectors has a bit for each of the first 32 vectors that has something to
// say. Without messages all queues share the pin, through vector 0 as far as
// masking goes beyond 31.
func (d *Device) pendingVectors() uint32 {
	var v uint32
	for i := range d.cqs {
		if q := d.cqs[i].Load(); q != nil && q.ien && q.busy.Load() {
			v |= 1 << min(q.vector, 31)
		}
	}
	return v
}

// unmask clears bits of the interrupt mask and signals what was held back.
func (d *Device) unmask(bits uint32) {
	opened := d.mask.And(^bits) & bits
	if d.fn.Mode() != pci.ModeMSI {
		d.updatePin()
		return
	}
	pending := d.pendingVectors() & opened
	for v := range 32 {
		if pending>>v&1 != 0 {
			d.fn.Message(v)
		}
	}
}
