package pci

import (
	"time"

	"dfemu/kernel/kern"
)

// Limits of restarting a driver: so many times in a time, and how long it has to let the function go.
const (
	restartMost = 3
	restartTime = time.Minute
	detachTime  = 10 * time.Second
)

// restarts counts how often a driver was restarted of late.
type restarts struct {
	since time.Duration
	n     int
}

// Failed is called when a thread of the function's driver, or a handler of its interrupts, has had a panic: the bus detaches the driver from the function and
// attaches it again. It returns at once.
func (d *Device) Failed() {
	if d.bus == nil || d.failed.Swap(true) {
		return
	}
	d.conf.Write16(regCommand, d.conf.Read16(regCommand)|cmdNoINTx) // its pin, if it uses that, would come without end
	b := d.bus
	b.k.Start(kern.ThreadAttr{Name: "pci restart", Priority: kern.Daemon}, func() { b.restart(d) })
}

// OnRestart has functions called with a device when a restart of its driver begins, which may have attached only in part, and when it has ended: ok is false if
// the driver is out of use. It is called before the first Scan.
func (b *Bus) OnRestart(begins func(d *Device), ended func(d *Device, ok bool)) {
	b.restarts, b.restarted = begins, ended
}

// HasFailed tells whether the function's driver has failed since it was attached: the handlers of its interrupts are not called any more.
func (d *Device) HasFailed() bool { return d.failed.Load() }

// restart restarts the driver of a function that has failed.
func (b *Bus) restart(d *Device) {
	b.mu.Lock() // what attaches has ended then
	defer b.mu.Unlock()
	u := b.found[d.Address]
	if u == nil || u.dev != d || u.drv == nil {
		return
	}
	b.k.Printf("%s: its driver has failed", u.name)
	if b.restarts != nil {
		b.restarts(d)
	}
	ok := b.again(u)
	if b.restarted != nil && !(ok && d.HasFailed()) { // else it has failed once more, and there is another restart
		b.restarted(d, ok)
	}
}

// again detaches a driver and attaches it again. It returns false if it is out of use from now on.
func (b *Bus) again(u *unit) bool {
	if !b.letGo(u) {
		b.k.Printf("%s: its driver does not let go of it: out of use", u.name)
		return false
	}
	now := b.k.Now()
	if r := &u.restarts; r.n == 0 || now-r.since > restartTime {
		*r = restarts{since: now}
	}
	if u.restarts.n++; u.restarts.n > restartMost {
		b.k.Printf("%s: its driver fails again and again: out of use", u.name)
		return false
	}
	b.k.Printf("%s: its driver is restarted", u.name)
	u.dev.failed.Store(false)
	e := b.k.NewEvent()
	b.attach(u, e.Set)
	e.Wait(-1)
	return true
}

// letGo detaches a driver that has failed, which it may do in the midst of this, or wait for a lock that the thread that failed has. It returns false then.
func (b *Bus) letGo(u *unit) bool {
	a := u.attached
	u.attached = nil
	ended, fine := b.k.NewEvent(), false
	b.k.Start(kern.ThreadAttr{Name: u.name + " detach", Priority: kern.Daemon}, func() {
		defer ended.Set()
		if a != nil {
			a.Detach()
		} else { // it failed as it attached
			u.dev.StopInterrupts()
			u.dev.SetMaster(false)
		}
		fine = true
	})
	return ended.Wait(detachTime) && fine
}
