package ahci

import (
	"fmt"

	"dfemu/devices/ahci/ata"
	"dfemu/devices/internal/aio"
)

// Attach connects a drive to port n, at power-on or while the guest runs: the link
// comes up, and the guest is interrupted if it wants to be (AHCI 1.3.1, section
// 7.3). The adapter owns the drive until [Device.Detach].
func (d *Device) Attach(n int, v ata.Drive) error {
	p, err := d.port(n)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.drive != nil || p.mult != nil {
		return fmt.Errorf("%s is in use or closed; detach first what is there", p.describe())
	}
	p.drive = v
	v.OnNotify(func() { p.notify(0) })
	p.state("drive attached")
	p.makeReads()
	p.connect()
	return nil
}

// Detach disconnects the drive at port n and returns it, when it has ended what it
// did; the guest sees the link go down, and gets no answer to commands.
func (d *Device) Detach(n int) (ata.Drive, error) {
	p, err := d.port(n)
	if err != nil {
		return nil, err
	}
	var reads *aio.Queue
	defer func() { reads.Close() }()
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.drive
	if v == nil {
		return nil, fmt.Errorf("%s has no drive", p.describe())
	}
	p.drive = nil
	p.state("drive detached")
	p.dropLink()
	p.drain()
	reads, p.reads = p.reads, nil
	v.OnNotify(nil)
	return v, nil
}

// SetLink implements devices.Linked: it cuts or connects the cable of port n.
func (d *Device) SetLink(n int, up bool) error {
	p, err := d.port(n)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == !up {
		return nil
	}
	p.cut = !up
	if up {
		p.connect()
		p.kick()
		return nil
	}
	p.state("link down")
	p.dropLink()
	return nil
}
