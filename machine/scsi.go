package machine

import (
	"errors"
	"fmt"

	"dfemu/devices"
	"dfemu/devices/virtio/scsi"
)

// scsiHost returns the machine's virtio-scsi host, or nil.
func (p *pc) scsiHost() *scsi.Device {
	for _, d := range p.devices() {
		if h, ok := d.(*scsi.Device); ok {
			return h
		}
	}
	return nil
}

// attachSCSI attaches a disk to the virtio-scsi host, which is made with the first one: as a target of its own, or with
// target=N,lun=N where that says.
func (p *pc) attachSCSI(d *Disk, store devices.Block) error {
	if p.scsiHost() == nil {
		name, err := p.unit("virtio-scsi", "")
		if err != nil {
			return errors.Join(err, store.Close())
		}
		h, err := scsi.New(scsi.Options{Name: name, Queues: min(p.m.cfg.CPUs, 16), Clock: p.m.clock, Broken: p.broken})
		if err != nil {
			return errors.Join(err, store.Close())
		}
		p.add(h)
		if err := p.plug(h.Function()); err != nil {
			return errors.Join(err, store.Close())
		}
	}
	_, err := p.plugSCSI(d, store)
	return err
}

// plugSCSI attaches a disk and returns its name. The store is the host's then, or closed.
func (p *pc) plugSCSI(d *Disk, store devices.Block) (string, error) {
	name, err := p.scsiUnit(d, store)
	if err != nil {
		return "", errors.Join(err, store.Close())
	}
	p.addDrive(&drive{name: name, unit: name, disk: *d, store: store})
	return name, nil
}

func (p *pc) scsiUnit(d *Disk, store devices.Block) (string, error) {
	h := p.scsiHost()
	if h == nil {
		return "", errors.New("no SCSI host: start the machine with a disk with if=scsi")
	}
	target := h.Free()
	s := settings{o: &d.Store}
	for _, x := range d.Store.Device {
		if x.Key == "target" {
			target = s.number("target", 0, 255)
			break
		}
	}
	lun, model := s.number("lun", 0, 255), s.text("model")
	name := fmt.Sprintf("%s.%d.%d", h.Name(), target, lun)
	if id := s.text("id"); id != "" && id != name {
		s.fail(fmt.Errorf("id=%s: SCSI disks are called after target and unit, this one %s", id, name))
	}
	if err := s.done(); err != nil {
		return "", err
	}
	return name, h.Attach(target, lun, scsi.UnitOptions{
		Serial: d.Serial, Product: model, BlockSize: d.Store.Logical, PhysicalSize: d.Store.Physical,
	}, store)
}

// unplugSCSI takes a disk away, if one has the name. The guest is told.
func (p *pc) unplugSCSI(name string) (found bool, err error) {
	h := p.scsiHost()
	if h == nil {
		return false, nil
	}
	var target, lun int
	if n, err := fmt.Sscanf(name, h.Name()+".%d.%d", &target, &lun); n != 2 || err != nil || name != fmt.Sprintf("%s.%d.%d", h.Name(), target, lun) {
		return false, nil
	}
	if err := h.Detach(target, lun); err != nil {
		return true, err
	}
	p.removeUnit(name)
	return true, nil
}
