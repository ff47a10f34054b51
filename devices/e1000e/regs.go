package e1000e

import (
	"dfemu/devices"
	"dfemu/devices/pci"
)

// strictRegion reports accesses that the hardware does not promise an answer to.
type strictRegion struct {
	d *Device
	r devices.Region
}

// Read implements devices.Region.
func (s strictRegion) Read(off uint64, size int) (uint64, error) {
	v, err := s.r.Read(off, size)
	s.check("read", off, size, err)
	return v, err
}

// Write implements devices.Region.
func (s strictRegion) Write(off uint64, size int, v uint64) error {
	err := s.r.Write(off, size, v)
	s.check("write", off, size, err)
	return err
}

func (s strictRegion) check(what string, off uint64, size int, err error) {
	if err != nil && s.d.fn.Probe().Wants(devices.ClassStrict) {
		name := "no register"
		if r, _, ok := registers.Find(off); ok {
			name = r.String()
		}
		s.d.misuse(-1, "10.2.1", "%s of %d bytes at %#x (%s): %v; registers are accessed as aligned 32-bit words", what, size, off, name, err)
	}
}

// offset is where a register of the table is.
func offset(r devices.Reg) int { return int(r.Offset + uint64(r.Index)*r.Stride) }

// ReadRegister implements devices.Registers.
func (d *Device) ReadRegister(r devices.Reg, _ uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(d.readRegister(r))
}

func (d *Device) readRegister(r devices.Reg) uint32 {
	switch r.ID {
	case regSTATUS:
		return d.status()
	case regEECD:
		v := d.get(0x10)&0xf | eecdPRES | eecdAutoRD
		if d.get(0x10)&eecdREQ != 0 {
			v |= eecdREQ | eecdGNT
		}
		return v
	case regICR:
		return d.readICR()
	case regIMS:
		return d.s.IMS
	case regSTATS:
		return d.s.Stats.read(r.Index)
	case regSYSTIML:
		d.mem[0xb604/4] = uint32(d.time() >> 32) // latched by reading the lower half
		return uint32(d.time())
	case regSWSM:
		v := d.get(0x5b50)
		d.mem[0x5b50/4] |= 1 // taken by whoever reads it first
		return v
	case regEEMNGCTL:
		return 1 << 18
	case regFWSM:
		return 0
	}
	return d.get(offset(r))
}

// status is the STATUS register.
func (d *Device) status() uint32 {
	v := uint32(statusFD | statusSpeed | statusASDV)
	if d.up() && d.get(0)&ctrlSLU != 0 {
		v |= statusLU
	}
	if d.get(0)&ctrlMasterDisable == 0 {
		v |= statusMaster
	}
	if d.get(0x08)&statusPHYRA != 0 {
		v |= statusPHYRA
	}
	return v
}

// time is the value of the time registers (section 10.2.8.3). The hardware counts
// periods of a 25 MHz clock.
func (d *Device) time() uint64 {
	inc := d.get(0xb608)
	period := int64(inc >> 24)
	if period == 0 {
		return d.s.Time
	}
	n := (d.o.Clock.Now() - d.s.TimeAt) / 40 / period
	return d.s.Time + uint64(n)*uint64(inc&0xffffff)
}

// WriteRegister implements devices.Registers.
func (d *Device) WriteRegister(r devices.Reg, v, _ uint64) {
	if r.ID == regCTRL && uint32(v)&ctrlRST != 0 {
		d.reset(false) // and nothing else of what is written counts
		return
	}
	if r.ID == regCTRLEXT && uint32(v)&ctrlExtEERST != 0 {
		v &^= ctrlExtEERST
	}
	d.mu.Lock()
	starts := r.ID == regTCTL && uint32(v)&^d.get(0x400)&tctlEN != 0
	takes := r.ID == regRCTL && uint32(v)&^d.get(0x100)&rctlEN != 0
	was := d.mem[offset(r)/4]
	kick, room := d.writeRegister(r, uint32(v))
	d.mu.Unlock()
	prompt := d.fn.Probe().Wants(devices.ClassPrompt)
	for q := range queues {
		if starts {
			d.fn.Probe().Rang(q)
		}
		switch {
		case !prompt:
		case starts, r.ID == regTDT && r.Index == q:
			d.foresee(q)
		case r.ID == regRDT && r.Index == q:
			d.foreseeReceive(q, was)
		case takes:
			d.foreseeReceive(q, fromHead)
		}
	}
	if kick {
		d.tx.Kick()
	}
	if room {
		d.goOn()
	}
}

// writeRegister reports whether there may be packets to send, and whether there may be
// room for received ones.
func (d *Device) writeRegister(r devices.Reg, v uint32) (kick, room bool) {
	at := offset(r)
	switch r.ID {
	case regCTRL:
		if v&ctrlPHYRST != 0 {
			d.s.PHY.reset()
			d.mem[0x08/4] |= statusPHYRA
			v &^= ctrlPHYRST
			d.raise(causeLSC)
		}
		kick, room = true, true // the unit may be master again
	case regEERD:
		v = d.readNVM(v)
	case regEEWR:
		v = d.writeNVM(v)
	case regMDIC:
		v = d.manage(v)
	case regICR:
		d.acknowledge(v)
		return
	case regICS:
		d.raise(v & causeDefined)
		return
	case regIMS:
		d.s.IMS |= v & causeDefined
		d.update()
		return
	case regIMC:
		d.s.IMS &^= v
		d.update()
		return
	case regIVAR, regEIAC, regIAM:
		d.mem[at/4] = v
		d.update()
		return
	case regITR, regEITR:
		v &= 0xffff
	case regRDBAL, regTDBAL:
		if v&15 != 0 {
			d.misuse(r.Index, "10.2.5.6", "%s is %#x: must be a multiple of 16", r, v)
		}
		v &^= 15
	case regRDLEN, regTDLEN:
		if v&127 != 0 {
			d.misuse(r.Index, "10.2.5.8", "%s is %#x: must be a multiple of 128", r, v)
		}
		v &= 0xfff80
	case regRDH, regTDH:
		v &= 0xffff
		if d.running(r.ID) {
			d.misuse(r.Index, "10.2.5.9", "%s is written while the unit is enabled", r)
		}
	case regRDT, regTDT:
		v &= 0xffff
		if n := d.get(at-0x10) / descSize; v >= n && v != 0 {
			d.misuse(r.Index, "10.2.5.10", "%s is %d in a ring of %d descriptors", r, v, n)
		}
		if r.ID == regTDT {
			kick = true
		} else {
			room = d.roomy(r.Index, v)
		}
	case regTCTL:
		kick = v&tctlEN != 0
	case regRCTL:
		room = true
		if v&^d.get(0x100)&rctlEN != 0 && d.get(0x2808) == 0 {
			d.misuse(-1, "10.2.5.1", "the receiver is enabled without a ring (RDLEN is 0)")
		}
	case regSYSTIML:
		d.s.Time, d.s.TimeAt = d.s.Time&^0xffffffff|uint64(v), d.o.Clock.Now()
		return
	case regSYSTIMH:
		d.s.Time, d.s.TimeAt = d.s.Time&0xffffffff|uint64(v)<<32, d.o.Clock.Now()
		return
	case regTIMINCA:
		d.s.Time, d.s.TimeAt = d.time(), d.o.Clock.Now()
	}
	d.mem[at/4] = v
	return kick, room
}

// retryAfter is how long, in nanoseconds, a back end waits for a driver that gives a
// few descriptors only.
const retryAfter = 500_000

// roomy tells whether a ring with the tail v has enough room for a back end that waits
// for it to go on. Drivers give descriptors back a few at a time, and waking the back end for
// each few costs more than receiving what fits in. The caller holds mu.
func (d *Device) roomy(q int, v uint32) bool {
	if !d.starved.Load() {
		return false
	}
	n := d.get(queueReg(0x2808, q)) / descSize
	if d.splits() {
		n /= 2
	}
	head := d.get(queueReg(0x2810, q))
	if n == 0 || v >= n || head >= n || (v+n-head)%n >= n/4 {
		return true
	}
	if !d.irq.waiting {
		d.irq.waiting = true
		d.irq.retry.Set(d.o.Clock.Now() + retryAfter)
	}
	return false
}

// splits tells whether receive descriptors are those of packet split.
func (d *Device) splits() bool { return d.get(0x100)>>10&3 == 1 && d.get(0x5008)&rfctlEXSTEN != 0 }

// running tells whether the unit that a head register belongs to is enabled.
func (d *Device) running(id int) bool {
	if id == regTDH {
		return d.get(0x400)&tctlEN != 0
	}
	return d.get(0x100)&rctlEN != 0
}

// manage carries a command to the transceiver out at once (section 10.2.2.7).
func (d *Device) manage(v uint32) uint32 {
	const ready, interrupt, failed = 1 << 28, 1 << 29, 1 << 30
	r, addr := int(v>>16&31), v>>21&31
	op := v >> 26 & 3
	v |= ready
	v &^= failed
	switch {
	case addr != phyAddress || op != 1 && op != 2:
		v |= failed
		if op == 2 {
			v |= 0xffff
		}
	case op == 2:
		v = v&^0xffff | uint32(d.s.PHY.read(r, d.link()))
	default:
		if d.s.PHY.write(r, uint16(v)) {
			d.raise(causeLSC)
		}
	}
	if v&interrupt != 0 {
		d.raise(causeMDAC)
	}
	return v
}

// mode tells whether each queue has a cause of its own.
func (d *Device) mode() pci.InterruptMode { return d.fn.Mode() }
