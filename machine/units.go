package machine

import (
	"fmt"
	"strings"

	"dfemu/devices"
	"dfemu/devices/ahci/atapi"
)

// Units are the machine's devices and drives by the names that they have everywhere: in traces and rules for
// faults, for dfemu ctl, in messages. A device's name is its kind and a number; a drive at a port of a
// SATA adapter is called after the adapter and the port, as ahci0.1, a namespace after its controller,
// as nvme0n1. A device may be given another name.

// unit returns the name for a new device and enters it: the one that is asked for, or the kind with the lowest
// number that is free.
func (p *pc) unit(kind, asked string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.names == nil {
		p.names = map[string]bool{}
	}
	name := asked
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return "", fmt.Errorf("id=%s: must be letters, digits, dots, underscores and hyphens", name)
	}
	if p.taken(name) {
		return "", fmt.Errorf("id=%s: there is a device with this name", name)
	}
	for n := 0; name == ""; n++ {
		if s := fmt.Sprintf("%s%d", kind, n); !p.taken(s) {
			name = s
		}
	}
	p.names[name] = true
	return name, nil
}

// taken tells whether something has a name; mu is held.
func (p *pc) taken(name string) bool {
	if p.names[name] {
		return true
	}
	for _, d := range p.all {
		if d.Name() == name {
			return true
		}
	}
	for _, d := range p.drives {
		if d.name == name {
			return true
		}
	}
	return false
}

// drive is a disk, a namespace, or an optical drive.
type drive struct {
	name    string
	unit    string // what is unplugged with it: the device or the drive at a port
	disk    Disk
	store   devices.Block // nil if there is no medium
	optical *atapi.Drive  // or nil
}

// addDrive enters a drive. Its store is paused and resumed with the machine.
func (p *pc) addDrive(d *drive) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drives = append(p.drives, d)
}

// removeUnit forgets a device's or drive's name, and the drives that have gone with it.
func (p *pc) removeUnit(unit string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.names, unit)
	var l []*drive
	for _, d := range p.drives {
		if d.unit != unit {
			l = append(l, d)
		}
	}
	p.drives = l
}

// stores calls f for the stores that take part in pausing.
func (p *pc) stores(f func(devices.Pauser)) {
	p.mu.Lock()
	var l []devices.Pauser
	for _, d := range p.drives {
		if s, ok := d.store.(devices.Pauser); ok {
			l = append(l, s)
		}
	}
	p.mu.Unlock()
	for _, s := range l {
		f(s)
	}
}

// DriveInfo describes a drive.
type DriveInfo struct {
	Name   string // as "virtio-blk0", "ahci0.1", "nvme0n1"
	Unit   string // what is unplugged with it, as "nvme0"
	File   string // or "" without a medium
	Format string
	Size   int64 // bytes, as the guest sees it
	// ReadOnly: the guest cannot write. Removable: the medium can be ejected; Medium: there is one;
	// Locked: the guest does not let it go.
	ReadOnly, Removable, Medium, Locked bool
}

// Drives returns the machine's drives.
func (c *Control) Drives() []DriveInfo {
	p := c.m.pc
	p.mu.Lock()
	defer p.mu.Unlock()
	var l []DriveInfo
	for _, d := range p.drives {
		i := DriveInfo{Name: d.name, Unit: d.unit, Removable: d.optical != nil, Medium: d.store != nil}
		if d.optical != nil {
			_, _, i.Locked = d.optical.Medium()
		}
		if d.store != nil {
			i.File, i.Format, i.Size, i.ReadOnly = d.disk.File, string(d.disk.Store.Format), d.store.Size(), d.store.ReadOnly()
			if i.Format == "" {
				i.Format = "raw"
			}
		}
		l = append(l, i)
	}
	return l
}

// NICInfo describes a network device.
type NICInfo struct {
	Name, Model, Backend string
	MAC                  [6]byte
	Link                 bool
}

// nicUnit is a network device.
type nicUnit interface {
	function
	devices.Linked
	MAC() [6]byte
	Link() bool
}

// NICs returns the machine's network devices.
func (c *Control) NICs() []NICInfo {
	p := c.m.pc
	p.mu.Lock()
	kinds := map[string][2]string{}
	for name, k := range p.nicKinds {
		kinds[name] = k
	}
	p.mu.Unlock()
	var l []NICInfo
	for _, d := range p.devices() {
		if n, ok := d.(nicUnit); ok {
			k := kinds[d.Name()]
			l = append(l, NICInfo{Name: d.Name(), Model: k[0], Backend: k[1], MAC: n.MAC(), Link: n.Link()})
		}
	}
	return l
}
