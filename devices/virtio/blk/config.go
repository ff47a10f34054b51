package blk

import "dfemu/devices"

// configRegion is the device configuration (section 5.2.4).
type configRegion struct {
	devices.Region
	d *Device
}

// Write implements devices.Region. The write cache is the driver's to set once
// that was negotiated.
func (c configRegion) Write(off uint64, size int, v uint64) error {
	if c.d.Features()&featureConfigWCE == 0 {
		return devices.ErrReadOnly
	}
	return c.Region.Write(off, size, v)
}

// configuration serves the registers of the device configuration.
type configuration struct{ d *Device }

// ReadRegister implements devices.Registers.
func (c configuration) ReadRegister(r devices.Reg, _ uint64) uint64 {
	d := c.d
	switch r.ID {
	case cfgCapacity:
		return d.capacity.Load()
	case cfgSegMax:
		return uint64(d.segMax())
	case cfgBlkSize:
		return uint64(d.o.BlockSize)
	case cfgPhysicalExp:
		return uint64(exponent(d.o))
	case cfgMinIO:
		return uint64(min(d.o.PhysicalSize/d.o.BlockSize, 0xffff))
	case cfgWriteback:
		if d.Features() == 0 {
			d.Misuse(-1, "5.2.5.1", "writeback is read before FEATURES_OK")
		}
		if d.direct.Load() {
			return 0
		}
		return 1
	case cfgNumQueues:
		return uint64(d.o.Queues)
	case cfgMaxDiscardSectors, cfgMaxZeroesSectors:
		return maxSectors
	case cfgMaxDiscardSeg, cfgMaxZeroesSeg:
		return maxRanges
	case cfgDiscardAlignment:
		return uint64(d.o.BlockSize / sectorSize)
	case cfgZeroesMayUnmap:
		return 1
	}
	return 0
}

// WriteRegister implements devices.Registers: writeback is the only one that can
// be written.
func (c configuration) WriteRegister(_ devices.Reg, v, _ uint64) {
	c.d.direct.Store(v&1 == 0)
	state := "write cache on"
	if v&1 == 0 {
		state = "write cache off"
	}
	c.d.Function().Probe().State(state)
}

// segMax is the most buffers of data in a request: one descriptor each is for the
// header and the status.
func (d *Device) segMax() int { return d.o.QueueSize - 2 }
