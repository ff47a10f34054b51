package nvme

import "dfemu/devices"

// writeCC serves a write of the bits of v selected by mask to CC.
func (d *Device) writeCC(v, mask uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.cc.Load()
	now := old&^mask | v&mask
	if now&ccReserved&mask != 0 {
		d.misuse(-1, "NVMe base 2.0, 3.1.3.5", "reserved bits of CC are set: %#x", now&ccReserved)
	}
	now &= ccWritable
	if old&now&ccEN != 0 && (old^now)&ccLatched != 0 {
		d.misuse(-1, "NVMe base 2.0, 3.1.3.5", "CSS, MPS or AMS of CC is changed while CC.EN is 1: %#x to %#x", old, now)
		now = now&^ccLatched | old&ccLatched
	}
	d.cc.Store(now)
	if now>>14&3 != 0 && old>>14&3 == 0 {
		d.shutdown(now >> 14 & 3)
	}
	switch {
	case old&ccEN == 0 && now&ccEN != 0:
		if d.resetting > 0 {
			d.misuse(-1, "NVMe base 2.0, 3.1.3.5", "CC.EN is set to 1 before the reset under way is over (CSTS.RDY is %d)", d.csts.Load()&cstsRDY)
			return // the one that resets goes on to enable
		}
		d.enable(devices.ByAccess)
	case old&ccEN != 0 && now&ccEN == 0:
		d.disable()
	}
}

// enable starts the controller as configured: within the access that asks for it, or when a reset before is over. The caller holds mu.
func (d *Device) enable(by devices.Origin) {
	if d.closed {
		return
	}
	cc := d.cc.Load()
	mps, css := cc>>7&0xf, cc>>4&7
	page := uint64(4096) << mps
	bad := ""
	switch {
	case mps > maxMPS:
		bad = "CC.MPS is larger than CAP.MPSMAX"
	case css != cssNVM && css != cssAll && css != cssAdmin:
		bad = "CC.CSS selects a command set that CAP.CSS does not offer"
	case cc>>11&7 != 0:
		bad = "CC.AMS selects an arbitration that CAP.AMS does not offer"
	case d.aqa&0xfff == 0 || d.aqa>>16&0xfff == 0:
		bad = "AQA gives an admin queue of fewer than 2 entries"
	case d.asq&(page-1) != 0 || d.acq&(page-1) != 0:
		bad = "ASQ or ACQ does not start at a page"
	case d.asq == 0 || d.acq == 0:
		bad = "ASQ or ACQ is not set"
	}
	if bad == "" {
		if _, err := d.mem.View(d.asq, 1); err != nil {
			bad = "ASQ cannot be read"
		} else if _, err := d.mem.View(d.acq, 1); err != nil {
			bad = "ACQ cannot be written"
		}
	}
	if bad != "" {
		d.violation(by, admin, "NVMe base 2.0, 3.5.1", "CC.EN is set to 1 with CC %#x, AQA %#x, ASQ %#x, ACQ %#x: %s", cc, d.aqa, d.asq, d.acq, bad)
		d.fatal("%s", bad)
		return
	}
	d.pageSize = page
	cq := newCompQueue(d, admin, d.aqa>>16&0xfff+1, d.acq, 0, true)
	cq.refs = 1
	d.cqs[admin].Store(cq)
	d.sqs[admin].Store(newSubQueue(d, admin, d.aqa&0xfff+1, d.asq, cq))
	d.sub.activateFirmware(d)
	d.csts.Or(cstsRDY)
	d.statef("enabled: memory pages of %d bytes, admin queues of %d and %d entries", page, d.aqa&0xfff+1, d.aqa>>16&0xfff+1)
}

// disable is a controller reset by CC.EN (base specification, section 3.7.2). RDY
// falls when nothing of the controller touches memory any more. The caller holds mu.
func (d *Device) disable() {
	d.statef("disabled")
	d.beginReset(func() { d.csts.And(^uint32(cstsRDY | cstsCFS | cstsSHST)) })
}

// beginReset stops everything, resets what a controller level reset resets, and
// calls then with mu held, on a goroutine of its own. The caller holds mu.
func (d *Device) beginReset(then func()) {
	d.resetting++
	d.begin(func() {
		d.halt()
		d.mu.Lock()
		d.resetState()
		then()
		if d.resetting--; d.resetting == 0 && d.cc.Load()&ccEN != 0 {
			d.enable(devices.ByDevice)
		}
		d.mu.Unlock()
	})
}

// begin runs f on a goroutine that Close, Reset and Pause wait for. The caller
// holds mu.
func (d *Device) begin(f func()) {
	d.changing++
	go func() {
		f()
		d.mu.Lock()
		if d.changing--; d.changing == 0 {
			d.idle.Broadcast()
		}
		d.mu.Unlock()
	}()
}

// halt stops all queues and waits for what is being executed. The caller does not
// hold mu.
func (d *Device) halt() {
	// The admin queue comes first: its commands may be making others.
	for i := range d.sqs {
		if q := d.sqs[i].Swap(nil); q != nil {
			q.stop()
		}
	}
	for i := range d.cqs {
		if q := d.cqs[i].Swap(nil); q != nil {
			q.stop()
		}
	}
	d.updatePin()
}

// resetState puts what a controller level reset resets into its initial state.
// The caller holds mu; queues are gone.
func (d *Device) resetState() {
	d.shadow.Store(nil)
	d.mask.Store(0)
	d.feat.reset(d)
	d.events = events{}
	d.stopTest(testByReset)
	d.staged = nil
	d.telem.hostDirty()
}

// shutdown is a shutdown notification (base specification, section 3.6.1). The
// caller holds mu.
func (d *Device) shutdown(kind uint32) {
	if kind == 3 {
		d.misuse(-1, "NVMe base 2.0, 3.1.3.5", "CC.SHN of 11b is reserved")
		return
	}
	d.csts.And(^uint32(cstsSHST))
	d.csts.Or(cstsBusy)
	d.statef("shutdown notified (%s)", map[uint32]string{1: "normal", 2: "abrupt"}[kind])
	d.begin(func() {
		err := d.sub.flushAll()
		d.csts.And(^uint32(cstsSHST))
		d.csts.Or(cstsDone)
		d.counters.cleanShutdown.Store(true)
		if err != nil {
			d.statef("shutdown complete; the write cache could not be flushed: %v", err)
			return
		}
		d.statef("shutdown complete")
	})
}

// Reset implements devices.Device: power is switched off and on, or a reset comes
// over the bus. Namespaces stay as they are.
func (d *Device) Reset() {
	d.mu.Lock()
	d.cc.Store(0)
	for d.changing > 0 {
		d.idle.Wait()
	}
	d.changing++
	d.resetting++
	running := d.csts.Load()&cstsRDY != 0
	d.mu.Unlock()
	d.halt()
	d.mu.Lock()
	if running && !d.counters.cleanShutdown.Load() {
		d.counters.unsafeShutdowns.Add(1)
	}
	d.counters.cleanShutdown.Store(false)
	d.counters.powerCycles.Add(1)
	d.resetState()
	d.cc.Store(0) // also what was written meanwhile
	d.csts.Store(0)
	d.aqa, d.asq, d.acq, d.cmbmsc, d.cmbErr = 0, 0, 0, 0, false
	d.mem.window.Store(nil)
	d.sub.activateFirmware(d)
	d.resetting--
	if d.changing--; d.changing == 0 {
		d.idle.Broadcast()
	}
	d.mu.Unlock()
	d.fn.Reset()
}

// subsystemReset is this controller's part of an NVM subsystem reset (base
// specification, section 3.7.1). Configuration space stays as it is, so that the
// driver finds the function again without a new enumeration.
func (d *Device) subsystemReset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.statef("NVM subsystem reset")
	d.cc.Store(0)
	d.beginReset(func() {
		d.cmbmsc, d.cmbErr = 0, false
		d.aqa, d.asq, d.acq = 0, 0, 0
		d.mem.window.Store(nil)
		d.csts.Store(cstsNSSRO)
	})
}
