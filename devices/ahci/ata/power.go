package ata

// touch notes that the medium is used.
func (d *Disk) touch() {
	if d.timed.Load() {
		d.lastUse.Store(d.o.Clock.Now())
		d.mu.Lock()
		d.startTimer()
		d.mu.Unlock()
	}
	if d.power.Load() != powerActive {
		d.power.Store(powerActive)
	}
}

// second in nanoseconds.
const second = 1_000_000_000

// standbyPeriod decodes the standby timer's period (ACS-4, table 33) into ns.
func standbyPeriod(v uint8) int64 {
	switch {
	case v == 0:
		return 0
	case v <= 240:
		return int64(v) * 5 * second
	case v <= 251:
		return int64(v-240) * 30 * 60 * second
	case v == 252:
		return 21 * 60 * second
	case v == 253, v == 254:
		return 8 * 3600 * second
	}
	return 21*60*second + 15*second
}

// startTimer arms the standby timer if it is in use; mu is held.
func (d *Disk) startTimer() {
	d.timed.Store(d.s.Standby != 0)
	if d.s.Standby == 0 {
		d.timer.Stop()
		return
	}
	now := d.o.Clock.Now()
	d.lastUse.Store(now)
	d.timer.Set(now + d.s.Standby)
}

// standbyDue is called by the clock.
func (d *Disk) standbyDue() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.s.Standby == 0 {
		return
	}
	due := d.lastUse.Load() + d.s.Standby
	if d.o.Clock.Now() < due {
		d.timer.Set(due)
		return
	}
	if p := d.power.Load(); p == powerActive || p == powerIdle {
		d.power.Store(powerStandby)
	}
}

// setPower executes the power management commands (ACS-4, section 4.15).
func (d *Disk) setPower(r *Request) {
	t := &r.Task
	r.Finish()
	switch t.Command {
	case CmdCheckPower:
		r.Result.Count = [...]uint16{powerActive: 0xff, powerIdle: 0x80, powerStandby: 0x00, powerSleep: 0x00}[d.power.Load()]
		return
	case CmdStandby, CmdIdle:
		d.mu.Lock()
		d.s.Standby = standbyPeriod(uint8(t.Count))
		d.startTimer()
		d.mu.Unlock()
	}
	switch t.Command {
	case CmdIdle:
		d.power.Store(powerIdle)
	case CmdIdleImmediate:
		if t.Feature&0xff == 0x44 { // with the UNLOAD feature, which answers C4h
			r.Result.LBA = r.Result.LBA&^0xff | 0xc4
		}
		d.power.Store(powerIdle)
	default:
		// The write cache is flushed on the way to standby and to sleep.
		if d.store.Flush() != nil {
			d.fault(r, false)
			return
		}
		d.power.Store(powerStandby)
		if t.Command == CmdSleep {
			d.power.Store(powerSleep)
		}
	}
}
