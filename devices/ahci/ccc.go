package ahci

import (
	"sync/atomic"

	"dfemu/devices"
)

// coalescing is command completion coalescing (AHCI 1.3.1, section 11). The
// adapter's lock guards it.
type coalescing struct {
	on         atomic.Bool // EN is set; for a look without the lock
	ctl, ports uint32
	complete   uint32 // hCccComplete
	running    bool   // hCccTimer counts
	timer      devices.Timer
}

// cccInterrupt is the number of the interrupt: the first bit of IS that belongs to
// no port.
func (d *Device) cccInterrupt() int { return d.o.Ports }

func (d *Device) cccEnabled(port int) bool {
	return d.ccc.ctl&cccEN != 0 && d.ccc.ports>>port&1 != 0
}

// writeCCC serves a write to CCC_CTL. The fields take effect only while EN is
// clear, or with the write that sets it.
func (d *Device) writeCCC(v, mask uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.ccc
	if d.o.Ports == 32 {
		return
	}
	if d.strict() && c.ctl&cccEN != 0 && v&cccEN != 0 && (v^c.ctl)&mask&0xffffff00 != 0 {
		d.misuse(-1, "3.1.6", "CCC_CTL.TV or CC changed while EN is set; clear EN first")
	}
	if c.ctl&cccEN == 0 {
		c.ctl = c.ctl&^mask | v&0xffffff01
	} else {
		c.ctl = c.ctl&^(cccEN&mask) | v&cccEN
	}
	if d.strict() && c.ctl&cccEN != 0 && c.ctl>>16 == 0 {
		d.misuse(-1, "3.1.6", "CCC_CTL.EN set with a timeout of 0, which is reserved")
	}
	c.on.Store(c.ctl&cccEN != 0)
	c.complete = 0
	c.running = false
	c.timer.Stop()
}

// cccIssued is called, with the port's lock held, when commands became
// outstanding.
func (d *Device) cccIssued(port int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cccEnabled(port) && !d.ccc.running {
		d.startCCC()
	}
}

// startCCC loads hCccTimer; mu is held. The reserved value 0 counts as 1.
func (d *Device) startCCC() {
	d.ccc.running = true
	d.ccc.timer.Set(d.o.Clock.Now() + int64(max(d.ccc.ctl>>16, 1))*1_000_000)
}

// cccCompleted counts n completed commands of a port, whose lock is held.
func (d *Device) cccCompleted(port, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.ccc
	if !d.cccEnabled(port) {
		return
	}
	c.complete += uint32(n)
	if limit := c.ctl >> 8 & 0xff; limit != 0 && c.complete >= limit {
		d.fireCCC()
	}
}

// fireCCC signals the coalescing interrupt; mu is held.
func (d *Device) fireCCC() {
	d.ccc.complete = 0
	d.ccc.running = false
	d.ccc.timer.Stop()
	d.post(d.cccInterrupt())
}

// cccDue is called by the clock.
func (d *Device) cccDue() {
	busy := false
	for _, p := range d.ports {
		d.mu.Lock()
		on := d.cccEnabled(p.n)
		d.mu.Unlock()
		if on {
			p.mu.Lock()
			busy = busy || p.ci.Load()|p.sact.Load() != 0
			p.mu.Unlock()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.ccc
	if !c.running || c.ctl&cccEN == 0 {
		return
	}
	if c.complete > 0 {
		d.fireCCC()
	}
	c.running = false
	if busy {
		d.startCCC()
	}
}
