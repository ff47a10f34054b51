package net

import "dfemu/devices"

// configuration serves the registers of the device configuration.
type configuration struct{ d *Device }

// ReadRegister implements devices.Registers.
func (c configuration) ReadRegister(r devices.Reg, _ uint64) uint64 {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.ID {
	case regMAC:
		return uint64(d.state.MAC[r.Index])
	case regStatus:
		return uint64(d.state.status())
	case regMaxPairs:
		return uint64(d.o.Pairs)
	case regMTU:
		return uint64(d.o.MTU)
	case regSpeed:
		return 10000 // Mbit/s
	case regDuplex:
		return 1 // full
	}
	return 0
}

// WriteRegister implements devices.Registers. All registers are read-only.
func (configuration) WriteRegister(devices.Reg, uint64, uint64) {}
