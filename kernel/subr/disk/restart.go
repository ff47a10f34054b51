package disk

import (
	"fmt"
	"slices"

	"dfemu/kernel/kern"
)

// What can be done with a disk.
const (
	live      int32 = iota
	suspended       // its driver is being restarted
	gone
)

// Suspend takes a disk out of use because its driver has failed and is about to be restarted: names and descriptors stay, and requests wait, also those that the
// driver has and ends with ErrGone now; these once, for the driver may fail of one of them again, which then fails with ErrRestart. A Create for the same disk
// gives it its new driver; if there was none until Settle is called for its owner, the disk is destroyed.
func (l *Layer) Suspend(d *Disk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.state.CompareAndSwap(live, suspended) {
		l.lost = append(l.lost, d)
	}
}

// SuspendAll suspends the disks of an owner.
func (l *Layer) SuspendAll(owner any) {
	for _, d := range l.Disks() {
		if d.info.Owner == owner {
			l.Suspend(d)
		}
	}
}

// Settle ends the restart of a driver: the disks of an owner that it has not announced again are destroyed, or, if the driver is out of use, all
// of its disks.
func (l *Layer) Settle(owner any, outOfUse bool) {
	l.mu.Lock()
	var left []*Disk
	for _, d := range slices.Concat(l.lost, l.disks) {
		if d.info.Owner == owner && (outOfUse || d.state.Load() == suspended) {
			left = append(left, d)
		}
	}
	l.mu.Unlock()
	for _, d := range left {
		l.Destroy(d)
	}
}

// CreateUnit announces a disk of a kind under a name that the layer chooses: the one it had before its driver was restarted, else that of the lowest free
// unit. The unit is free again when the disk is destroyed. revived tells that it is the disk that was suspended.
func (l *Layer) CreateUnit(kind string, i Info, drv Driver) (d *Disk, revived bool, err error) {
	l.mu.Lock()
	unit := -1
	for _, d := range l.lost {
		i.Name = d.info.Name
		if d.kind == kind && d.info == i.complete() {
			unit = d.unit
			break
		}
	}
	l.mu.Unlock()
	if unit >= 0 {
		d, err = l.Create(i, drv)
		return d, true, err
	}
	unit = l.takeUnit(kind)
	i.Name = fmt.Sprintf("%s%d", kind, unit)
	if d, err = l.create(i, drv, kind, unit); err != nil {
		l.freeUnit(kind, unit)
	}
	return d, false, err
}

// revive gives a suspended disk its new driver, if there is one that i describes. Another one that has its name, or was where it is, is destroyed.
func (l *Layer) revive(i Info, drv Driver) *Disk {
	l.mu.Lock()
	at := slices.IndexFunc(l.lost, func(d *Disk) bool { return d.info == i })
	var other []*Disk
	for n, d := range l.lost {
		if n != at && (d.info.Name == i.Name || d.info.Where != "" && d.info.Where == i.Where) {
			other = append(other, d)
		}
	}
	var d *Disk
	var parked []*Bio
	if at >= 0 {
		d = l.lost[at]
		l.lost = slices.Delete(l.lost, at, at+1)
		d.drv.Store(&drv)
		if d.state.CompareAndSwap(suspended, live) {
			parked, d.parked = d.parked, nil
		} else {
			d = nil // it is being destroyed
		}
	}
	l.mu.Unlock()
	for _, o := range other {
		l.Destroy(o)
	}
	if d != nil {
		l.k.Printf("%s: is back, %d requests have waited", d.info.Name, len(parked))
		d.send(parked)
		l.event("restart " + d.info.Name)
		l.Rescan(d)
	}
	return d
}

// park keeps a request until the disk's driver has been restarted.
func (d *Disk) park(b *Bio) {
	l := d.layer
	l.mu.Lock()
	wait := d.state.Load() == suspended
	if wait {
		d.parked = append(d.parked, b)
	}
	l.mu.Unlock()
	if !wait { // it has been meanwhile
		d.send([]*Bio{b})
	}
}

// send passes requests that have waited to the driver, if there is one, in a thread of their own: who calls may be the driver itself.
func (d *Disk) send(list []*Bio) {
	if len(list) == 0 {
		return
	}
	d.layer.k.Start(kern.ThreadAttr{Name: d.info.Name + " again", Priority: kern.IntrSupport}, func() {
		for _, b := range list {
			switch d.state.Load() {
			case live:
				d.pass(b)
			case suspended:
				d.park(b)
			default:
				b.drv = d.drv.Load()
				b.Done(ErrGone)
			}
		}
	})
}

// takeUnit returns the lowest free unit number of a kind of disk; freeUnit gives it back.
func (l *Layer) takeUnit(kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, used := range l.units[kind] {
		if !used {
			l.units[kind][i] = true
			return i
		}
	}
	l.units[kind] = append(l.units[kind], true)
	return len(l.units[kind]) - 1
}

func (l *Layer) freeUnit(kind string, unit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if unit < len(l.units[kind]) {
		l.units[kind][unit] = false
	}
}
