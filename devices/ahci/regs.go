package ahci

import (
	"fmt"

	"dfemu/devices"
)

// registers is the adapter's memory-mapped registers (ABAR).
type registers struct {
	d    *Device
	size uint64
}

// Read implements devices.Region. Reserved registers read as zero (AHCI 1.3.1,
// section 3).
func (r registers) Read(off uint64, size int) (uint64, error) {
	if size == 4 && off&3 == 0 {
		return uint64(r.d.read(off)), nil
	}
	v, err := r.d.bank.Read(r.d, off, size)
	if err == devices.ErrNoRegister {
		return 0, nil
	}
	return v, err
}

// Write implements devices.Region.
func (r registers) Write(off uint64, size int, v uint64) error {
	if size == 4 && off&3 == 0 {
		return r.d.write(off, uint32(v), ^uint32(0))
	}
	err := r.d.bank.Write(r.d, off, size, v)
	if err == devices.ErrNoRegister {
		r.d.reserved(off, v)
		return nil
	}
	return err
}

// ReadRegister implements devices.Registers for accesses that are not one whole
// register.
func (d *Device) ReadRegister(r devices.Reg, _ uint64) uint64 {
	return uint64(d.read(r.Offset + uint64(r.Index)*r.Stride))
}

// WriteRegister implements devices.Registers.
func (d *Device) WriteRegister(r devices.Reg, v, mask uint64) {
	_ = d.write(r.Offset+uint64(r.Index)*r.Stride, uint32(v), uint32(mask))
}

// read returns the register at off.
func (d *Device) read(off uint64) uint32 {
	if off >= portBase {
		if n := (off - portBase) / portStride; n < uint64(len(d.ports)) {
			return d.ports[n].read(off - portBase - n*portStride)
		}
		return 0
	}
	switch off {
	case regCAP:
		return d.cap
	case regPI:
		return uint32(1<<d.o.Ports - 1)
	case regVS:
		return version
	case regCAP2:
		return cap2BOH | cap2APST
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch off {
	case regGHC:
		v := d.ghc | ghcAE
		if d.resetting.Load() > 0 {
			v |= ghcHR
		}
		if d.o.MSIVectors > 1 && d.vectors() > 0 && !d.multiMessage() {
			v |= ghcMRSM
		}
		return v
	case regIS:
		return d.is
	case regCCCCtl:
		if d.o.Ports < 32 {
			return d.ccc.ctl | uint32(d.cccInterrupt())<<3
		}
	case regCCCPorts:
		return d.ccc.ports
	case regBOHC:
		return d.bohc
	}
	return 0
}

// write stores the bits of v in mask, whole bytes, at off.
func (d *Device) write(off uint64, v, mask uint32) error {
	if off >= portBase {
		n := (off - portBase) / portStride
		if n < uint64(len(d.ports)) {
			return d.ports[n].write(off-portBase-n*portStride, v, mask)
		}
		d.reserved(off, uint64(v))
		return nil
	}
	switch off {
	case regCAP, regPI, regCAP2:
		if d.strict() && (d.read(off)^v)&mask != 0 {
			d.misuse(-1, "3.1", fmt.Sprintf("write of %#x to the register at %#x, which is set by hardware", v, off))
		}
	case regGHC:
		d.writeGHC(v, mask)
	case regIS:
		d.clearIS(v)
	case regVS, regEMLoc, regEMCtl:
		return devices.ErrReadOnly
	case regCCCCtl:
		d.writeCCC(v, mask)
	case regCCCPorts:
		d.mu.Lock()
		if d.o.Ports < 32 {
			d.ccc.ports = (d.ccc.ports&^mask | v) & uint32(1<<d.o.Ports-1)
		}
		d.mu.Unlock()
	case regBOHC:
		d.writeBOHC(v, mask)
	default:
		d.reserved(off, uint64(v))
	}
	return nil
}

// reserved serves a write where there is no register.
func (d *Device) reserved(off, v uint64) {
	if v != 0 && d.strict() {
		d.misuse(-1, "3", fmt.Sprintf("write of %#x to the reserved register at %#x; reserved registers are written as zero", v, off))
	}
}

func (d *Device) writeGHC(v, mask uint32) {
	if d.strict() {
		if v&^(ghcHR|ghcIE|ghcMRSM|ghcAE) != 0 {
			d.misuse(-1, "3.1.2", fmt.Sprintf("write of %#x to GHC sets reserved bits", v))
		}
		if mask>>31 != 0 && v&ghcAE == 0 {
			d.misuse(-1, "3.1.2", "GHC.AE cleared on an adapter that supports AHCI mode only (CAP.SAM); write it as one")
		}
	}
	if v&ghcHR != 0 {
		d.hbaReset()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.ghc&ghcIE != 0
	d.ghc = d.ghc&^(mask&ghcIE) | v&ghcIE
	d.checkOwner("GHC.IE set")
	d.update(!was)
}

// checkOwner reports that the guest uses the adapter while the firmware owns it;
// mu is held.
func (d *Device) checkOwner(what string) {
	if d.bohc&bohcBOS != 0 && d.bohc&bohcOOS == 0 && d.strict() {
		d.misuse(-1, "10.6.3", what+" while the BIOS owns the adapter; set BOHC.OOS and wait until BOS is clear")
	}
}

// writeBOHC serves BIOS/OS handoff (section 10.6). There is no firmware that would
// take the request, so it is granted at once.
func (d *Device) writeBOHC(v, mask uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.bohc
	plain := mask & (bohcBOS | bohcOOS | bohcSOOE | bohcBB)
	d.bohc = d.bohc&^plain | v&plain
	d.bohc &^= v & bohcOOC
	if (was^d.bohc)&bohcOOS != 0 {
		d.bohc |= bohcOOC
		if d.bohc&bohcOOS != 0 {
			d.bohc &^= bohcBOS | bohcBB
			if d.probe.Wants(devices.ClassState) {
				d.probe.State("the operating system owns the adapter")
			}
		}
	}
}

// hbaReset serves GHC.HR (section 10.4.3). It is done when no transfer is under
// way any more.
func (d *Device) hbaReset() {
	if d.probe.Wants(devices.ClassState) {
		d.probe.State("HBA reset")
	}
	d.resetRegisters()
	for _, p := range d.ports {
		p.mu.Lock()
		p.hardReset(false)
		p.mu.Unlock()
	}
}

// resetRegisters resets the generic registers.
func (d *Device) resetRegisters() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ghc, d.is, d.level, d.index = 0, 0, 0, 0
	// Values after reset (section 3.1.6): one completion, one millisecond.
	d.ccc.ctl, d.ccc.ports, d.ccc.complete, d.ccc.running = 0x00010100, 0, 0, false
	d.ccc.on.Store(false)
	d.ccc.timer.Stop()
	d.setLine(false)
}

// indexData is BAR4: ports of the IDE bus master, which are dead in AHCI mode, and
// from 16 on the index-data pair (section 2.4.2.1).
type indexData struct {
	d    *Device
	size uint64
	abar devices.Region // with its watchers, who see what is accessed through the pair, too
}

// Read implements devices.Region.
func (x indexData) Read(off uint64, size int) (uint64, error) {
	if size != 4 || off&3 != 0 {
		return 0, devices.ErrSize
	}
	x.d.mu.Lock()
	index := x.d.index
	x.d.mu.Unlock()
	switch off {
	case 16:
		return uint64(index), nil
	case 20:
		return x.abar.Read(uint64(index), 4)
	}
	return 0, nil
}

// Write implements devices.Region.
func (x indexData) Write(off uint64, size int, v uint64) error {
	if size != 4 || off&3 != 0 {
		return devices.ErrSize
	}
	switch off {
	case 16:
		x.d.mu.Lock()
		x.d.index = uint32(v) & uint32(x.size-1) &^ 3
		x.d.mu.Unlock()
	case 20:
		x.d.mu.Lock()
		index := x.d.index
		x.d.mu.Unlock()
		return x.abar.Write(uint64(index), 4, v)
	}
	return nil
}
