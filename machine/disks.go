package machine

import (
	"errors"
	"fmt"

	"dfemu/devices"
	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/ahci/atapi"
	"dfemu/devices/block"
	"dfemu/devices/nvme"
	"dfemu/devices/virtio/blk"
)

// diskInterface is what a disk may be attached to.
type diskInterface struct {
	name string // the value of Disk.If
	// attach makes a device with the store, for disk number n, and connects
	// it. The store is the device's then, and closed when there is an error.
	attach func(p *pc, n int, d *Disk, store devices.Block) error
}

// diskInterfaces lists them, the default first.
func diskInterfaces() []diskInterface {
	return []diskInterface{
		{"virtio", (*pc).attachVirtioBlk},
		{"ahci", (*pc).attachAHCI},
		{"nvme", (*pc).attachNVMe},
	}
}

// DiskInterfaces returns the values of Disk.If, the default first.
func DiskInterfaces() (names []string) {
	for _, i := range diskInterfaces() {
		names = append(names, i.name)
	}
	return names
}

// disks opens the disks and attaches them.
func (p *pc) disks() error {
	for n := range p.m.cfg.Disks {
		d := &p.m.cfg.Disks[n]
		store, err := p.open(d)
		if err != nil {
			return &FileError{"disk", d.File, err}
		}
		for _, i := range diskInterfaces() {
			if i.name != d.If {
				continue
			}
			err := i.attach(p, n, d, store)
			if err == nil {
				err = d.Store.Unknown()
			}
			if err != nil {
				return &FileError{"disk", d.File, err}
			}
		}
	}
	return p.controllers()
}

// attachVirtioBlk attaches a disk as virtio-blk, with a queue for each processor.
func (p *pc) attachVirtioBlk(n int, d *Disk, store devices.Block) error {
	dev, err := blk.New(blk.Options{
		Name: fmt.Sprintf("virtio-blk%d", n), Serial: d.Serial, Queues: p.m.cfg.CPUs,
		BlockSize: d.Store.Logical, PhysicalSize: d.Store.Physical,
	}, store)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	p.add(dev)
	return p.plug(dev.Function())
}

// ahciPorts is how many ports an adapter has, as in the ICH9.
const ahciPorts = 6

// attachAHCI attaches a disk, or with media=cdrom an optical drive, to the next free port of an AHCI adapter.
func (p *pc) attachAHCI(_ int, d *Disk, store devices.Block) error {
	a, n := p.freeATA()
	if a == nil {
		var err error
		a, err = ahci.New(ahci.Options{Name: fmt.Sprintf("ahci%d", len(p.adapters)), Clock: p.m.clock, Ports: ahciPorts})
		if err != nil {
			return errors.Join(err, store.Close())
		}
		p.adapters, n = append(p.adapters, a), 0
		p.add(a)
		if err := p.plug(a.Function()); err != nil {
			return errors.Join(err, store.Close())
		}
	}
	v, err := p.ataDrive(fmt.Sprintf("%s.%d", a.Name(), n), d, store)
	if err != nil {
		return err
	}
	return a.Attach(n, v)
}

// ataDrive makes what sits at the end of a SATA cable.
func (p *pc) ataDrive(name string, d *Disk, store devices.Block) (ata.Drive, error) {
	media, _ := d.Store.Take("media")
	model, _ := d.Store.Take("model")
	switch media {
	case "cdrom":
		v, err := atapi.New(atapi.Options{Name: name, Serial: d.Serial, Model: model})
		if err == nil {
			err = v.Insert(store)
		}
		if err != nil {
			return nil, errors.Join(err, store.Close())
		}
		p.opticals = append(p.opticals, v)
		return v, nil
	case "", "disk":
	default:
		return nil, errors.Join(fmt.Errorf("media=%s: must be disk or cdrom", media), store.Close())
	}
	v, err := ata.New(ata.Options{
		Name: name, Serial: d.Serial, Model: model, LogicalSize: d.Store.Logical, PhysicalSize: d.Store.Physical, Clock: p.m.clock,
	}, store)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return v, nil
}

// attachNVMe attaches a disk as a namespace: of a controller of its own, or, with ctrl=NAME, of one that the disks of
// this name share. With pool it is instead what the guest makes namespaces of.
func (p *pc) attachNVMe(n int, d *Disk, store devices.Block) error {
	ctrl, _ := d.Store.Take("ctrl")
	model, _ := d.Store.Take("model")
	zoned, isZoned := d.Store.Take("zoned")
	pool, isPool := d.Store.Take("pool")
	space := nvme.NamespaceOptions{Store: store, BlockSize: d.Store.Logical, Zoned: isZoned && zoned != "off"}
	var drive *nvmeDrive
	for i := range p.nvmes {
		if ctrl != "" && p.nvmes[i].ctrl == ctrl {
			drive = &p.nvmes[i]
		}
	}
	if drive == nil {
		p.nvmes = append(p.nvmes, nvmeDrive{ctrl: ctrl, serial: d.Serial, model: model})
		drive = &p.nvmes[len(p.nvmes)-1]
	}
	switch {
	case !isPool || pool == "off":
		drive.spaces = append(drive.spaces, space)
	case drive.pool != nil:
		return errors.Join(fmt.Errorf("pool: controller %q has one already", ctrl), store.Close())
	default:
		drive.pool = store
	}
	return nil
}

// nvmeDrive is a controller whose namespaces are being collected.
type nvmeDrive struct {
	ctrl, serial, model string
	spaces              []nvme.NamespaceOptions
	pool                devices.Block // or nil
}

// controllers makes the NVMe controllers once all their namespaces are known.
func (p *pc) controllers() error {
	for i, n := range p.nvmes {
		dev, err := nvme.New(nvme.Options{
			Name: fmt.Sprintf("nvme%d", i), Clock: p.m.clock,
			Sub: nvme.SubsystemOptions{Serial: n.serial, Model: n.model, Namespaces: n.spaces, Pool: n.pool},
		})
		if err != nil {
			return err
		}
		p.add(dev)
		if err := p.plug(dev.Function()); err != nil {
			return err
		}
	}
	return nil
}

// open opens a disk's store.
func (p *pc) open(d *Disk) (devices.Block, error) {
	o := d.Store
	o.File = d.File
	o.ReadOnly = o.ReadOnly || d.ReadOnly
	o.Snapshot = o.Snapshot || (d.Snapshot || p.m.cfg.Snapshot) && !o.ReadOnly
	if d.Backend == nil {
		return block.Open(o, p.m.clock)
	}
	if o.Snapshot {
		b, err := block.NewFileOverlay(d.Backend, "")
		if err != nil {
			return nil, errors.Join(err, d.Backend.Close())
		}
		return b, nil
	}
	return d.Backend, nil
}
