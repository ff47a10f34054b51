package e1000e

import "dfemu/devices"

// Inspect implements devices.Inspector. queue is a transmit or receive queue, 0 or 1: both of the number are shown.
func (d *Device) Inspect(queue int) (regs, state []devices.Inspected) {
	d.mu.Lock()
	defer d.mu.Unlock()
	regs = registers.Inspect(stored{d}, func(r devices.Reg) bool { return r.ID == regSTATS })
	if queue < 0 || queue >= queues {
		return regs, nil
	}
	for _, x := range []struct {
		name string
		base int
	}{{"receive", 0x2800}, {"transmit", 0x3800}} {
		r := d.ringAt(x.base, queue)
		for _, v := range []struct {
			name  string
			value uint64
		}{{"base", r.base}, {"descriptors", uint64(r.n)}, {"head", uint64(r.head)}, {"tail", uint64(r.tail)}} {
			state = append(state, devices.Inspected{Name: x.name + " ring " + v.name, Value: v.value})
		}
	}
	return regs, state
}

// stored reads registers without what reading them does. The caller holds mu.
type stored struct{ d *Device }

// ReadRegister implements devices.Registers.
func (s stored) ReadRegister(r devices.Reg, _ uint64) uint64 {
	switch r.ID {
	case regSTATUS:
		return uint64(s.d.status())
	case regICR:
		return uint64(s.d.s.ICR)
	case regIMS:
		return uint64(s.d.s.IMS)
	}
	return uint64(s.d.get(offset(r)))
}

// WriteRegister implements devices.Registers.
func (stored) WriteRegister(devices.Reg, uint64, uint64) {}
