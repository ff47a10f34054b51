package machine

import (
	"errors"
	"fmt"
	"strconv"

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
	// attach makes a device with the store and connects it. The store is the device's then, and closed
	// when there is an error.
	attach func(p *pc, d *Disk, store devices.Block) error
}

// diskInterfaces lists them, the default first.
func diskInterfaces() []diskInterface {
	return []diskInterface{
		{"virtio", (*pc).attachVirtioBlk},
		{"ahci", (*pc).attachAHCI},
		{"nvme", (*pc).attachNVMe},
		{"scsi", (*pc).attachSCSI},
	}
}

// DiskInterfaces returns the values of Disk.If, the default first.
func DiskInterfaces() (names []string) {
	for _, i := range diskInterfaces() {
		names = append(names, i.name)
	}
	return names
}

// disks makes the adapters, opens the disks and attaches them.
func (p *pc) disks() error {
	for _, a := range p.m.cfg.Adapters {
		if _, err := p.addAdapter(a); err != nil {
			return err
		}
	}
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
			if err := i.attach(p, d, store); err != nil {
				return &FileError{"disk", d.File, err}
			}
		}
	}
	return p.controllers()
}

// settings takes the settings of a disk that are about its device. What is left over when all are taken is
// a mistake.
type settings struct {
	o   *block.Options
	err error
}

func (s *settings) text(key string) string {
	v, _ := s.o.Take(key)
	return v
}

func (s *settings) flag(key string) bool {
	v, ok := s.o.Take(key)
	if ok && v != "on" && v != "off" {
		s.fail(fmt.Errorf("%s=%s: must be on or off", key, v))
	}
	return v == "on"
}

func (s *settings) number(key string, from, to int) int {
	v, ok := s.o.Take(key)
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < from || n > to {
		s.fail(fmt.Errorf("%s=%s: must be a number from %d to %d", key, v, from, to))
	}
	return n
}

func (s *settings) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// done returns what was wrong with the settings, those included that nobody has taken.
func (s *settings) done() error {
	if s.err == nil {
		s.err = s.o.Unknown()
	}
	return s.err
}

// attachVirtioBlk attaches a disk as virtio-blk.
func (p *pc) attachVirtioBlk(d *Disk, store devices.Block) error {
	dev, err := p.virtioBlk(d, store, false)
	if err != nil {
		return err
	}
	p.add(dev)
	return p.plug(dev.Function())
}

// virtioBlk makes a virtio-blk device, with a queue for each processor unless the disk's settings say otherwise.
func (p *pc) virtioBlk(d *Disk, store devices.Block, slot bool) (*blk.Device, error) {
	s := settings{o: &d.Store}
	o := blk.Options{
		Serial: d.Serial, Queues: s.number("queues", 1, 256), QueueSize: s.number("queue-size", 4, 1024), Packed: s.flag("packed"),
		Clock: p.m.clock, BlockSize: d.Store.Logical, PhysicalSize: d.Store.Physical, InSlot: slot, Broken: p.broken,
	}
	if o.Queues == 0 {
		o.Queues = p.m.cfg.CPUs
	}
	id := s.text("id")
	err := s.done()
	if err == nil {
		o.Name, err = p.unit("virtio-blk", id)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	dev, err := blk.New(o, store)
	if err != nil {
		p.removeUnit(o.Name)
		return nil, errors.Join(err, store.Close())
	}
	p.addDrive(&drive{name: o.Name, unit: o.Name, disk: *d, store: store})
	return dev, nil
}

// Adapter is a SATA adapter, to whose ports disks are attached.
type Adapter struct {
	ID    string // unit name; "" for ahci and a number
	Ports int    // 1 to 32; 0 means 6, as the ICH9 has
}

// addAdapter makes an AHCI adapter without drives.
func (p *pc) addAdapter(o Adapter) (*ahci.Device, error) {
	name, err := p.unit("ahci", o.ID)
	if err != nil {
		return nil, err
	}
	if o.Ports == 0 {
		o.Ports = ahciPorts
	}
	a, err := ahci.New(ahci.Options{Name: name, Clock: p.m.clock, Ports: o.Ports})
	if err != nil {
		return nil, err
	}
	p.adapters = append(p.adapters, adapter{a, o.Ports})
	p.add(a)
	return a, p.plug(a.Function())
}

// adapter is an AHCI adapter and how many ports it has.
type adapter struct {
	*ahci.Device
	ports int
}

// ahciPorts is how many ports an adapter has, as in the ICH9.
const ahciPorts = 6

// attachAHCI attaches a disk, or with media=cdrom an optical drive, to the next free port of an AHCI adapter.
func (p *pc) attachAHCI(d *Disk, store devices.Block) error {
	if a, _ := p.freeATA(); a == nil {
		if _, err := p.addAdapter(Adapter{}); err != nil {
			return errors.Join(err, store.Close())
		}
	}
	_, err := p.plugATA(d, store)
	return err
}

// plugATA attaches a drive to a free port and returns its name. The store is the drive's then, or closed.
func (p *pc) plugATA(d *Disk, store devices.Block) (string, error) {
	a, n := p.freeATA()
	if a == nil {
		return "", errors.Join(errors.New("no AHCI adapter with a free port: start the machine with one (--device ahci)"), store.Close())
	}
	name := fmt.Sprintf("%s.%d", a.Name(), n)
	v, err := p.ataDrive(name, d, store)
	if err != nil {
		return "", errors.Join(err, store.Close())
	}
	if err := a.Attach(n, v); err != nil {
		return "", errors.Join(err, v.Close())
	}
	optical, _ := v.(*atapi.Drive)
	p.addDrive(&drive{name: name, unit: name, disk: *d, store: store, optical: optical})
	return name, nil
}

// ataDrive makes what sits at the end of a SATA cable. The store is the caller's if there is an error.
func (p *pc) ataDrive(name string, d *Disk, store devices.Block) (ata.Drive, error) {
	s := settings{o: &d.Store}
	media, model := s.text("media"), s.text("model")
	if id := s.text("id"); id != "" && id != name {
		s.fail(fmt.Errorf("id=%s: drives of an AHCI adapter are called after their port, this one %s", id, name))
	}
	if err := s.done(); err != nil {
		return nil, err
	}
	switch media {
	case "cdrom":
		v, err := atapi.New(atapi.Options{Name: name, Serial: d.Serial, Model: model})
		if err == nil {
			err = v.Insert(store)
		}
		if err != nil {
			return nil, err
		}
		return v, nil
	case "", "disk":
	default:
		return nil, fmt.Errorf("media=%s: must be disk or cdrom", media)
	}
	v, err := ata.New(ata.Options{
		Name: name, Serial: d.Serial, Model: model, LogicalSize: d.Store.Logical, PhysicalSize: d.Store.Physical, Clock: p.m.clock,
	}, store)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// attachNVMe attaches a disk as a namespace: of a controller of its own, or, with ctrl=NAME, of one that the disks of
// this name share. With pool it is instead what the guest makes namespaces of.
func (p *pc) attachNVMe(d *Disk, store devices.Block) error {
	s := settings{o: &d.Store}
	ctrl := s.text("ctrl")
	var drive *nvmeDrive
	for i := range p.nvmes {
		if ctrl != "" && p.nvmes[i].ctrl == ctrl {
			drive = &p.nvmes[i]
		}
	}
	if drive == nil {
		p.nvmes = append(p.nvmes, nvmeDrive{ctrl: ctrl})
		drive = &p.nvmes[len(p.nvmes)-1]
		drive.take(&s, d)
	}
	if err := drive.attach(&s, d, store); err != nil {
		return errors.Join(err, store.Close())
	}
	return nil
}

// nvmeDrive is a controller whose namespaces are being collected.
type nvmeDrive struct {
	ctrl, id string
	o        nvme.Options
	disks    []Disk // of the namespaces, in their order, then that of the pool
	stores   []devices.Block
	made     bool // the stores are the controller's, or closed
}

// close closes the stores.
func (n *nvmeDrive) close() (err error) {
	for _, s := range n.stores {
		err = errors.Join(err, s.Close())
	}
	return err
}

// take takes the settings of a controller.
func (n *nvmeDrive) take(s *settings, d *Disk) {
	n.id = s.text("id")
	n.o.Sub.Serial, n.o.Sub.Model = d.Serial, s.text("model")
	n.o.Queues, n.o.QueueEntries = s.number("queues", 1, 128), s.number("queue-size", 2, 1<<16)
	n.o.Buffer, n.o.HostMemory = s.number("cmb", 0, 1<<10)<<20, s.number("hmb", 0, 1<<10)<<20
}

// attach adds a namespace or the pool; the settings have been taken otherwise.
func (n *nvmeDrive) attach(s *settings, d *Disk, store devices.Block) error {
	zoned, pool := s.flag("zoned"), s.flag("pool")
	if err := s.done(); err != nil {
		return err
	}
	sub := &n.o.Sub
	switch {
	case pool && zoned:
		return errors.New("pool and zoned exclude each other: the guest chooses what it makes of a pool")
	case pool && sub.Pool != nil:
		return fmt.Errorf("pool: controller %q has one already", n.ctrl)
	case pool:
		sub.Pool = store
		n.disks, n.stores = append(n.disks, *d), append(n.stores, store)
	default:
		at := len(sub.Namespaces)
		sub.Namespaces = append(sub.Namespaces, nvme.NamespaceOptions{Store: store, BlockSize: d.Store.Logical, Zoned: zoned})
		n.disks = append(n.disks[:at:at], append([]Disk{*d}, n.disks[at:]...)...)
		n.stores = append(n.stores[:at:at], append([]devices.Block{store}, n.stores[at:]...)...)
	}
	return nil
}

// make makes the controller, which owns the stores then; they are closed if there is an error.
func (n *nvmeDrive) make(p *pc, slot bool) (*nvme.Device, error) {
	n.made = true
	var err error
	if n.o.Name, err = p.unit("nvme", n.id); err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.o.Clock, n.o.InSlot = p.m.clock, slot
	dev, err := nvme.New(n.o) // it takes the stores over, also when it fails
	if err != nil {
		p.removeUnit(n.o.Name)
		return nil, err
	}
	for i := range n.disks {
		name := fmt.Sprintf("%sn%d", n.o.Name, i+1)
		if i >= len(n.o.Sub.Namespaces) {
			name = n.o.Name + "-pool"
		}
		p.addDrive(&drive{name: name, unit: n.o.Name, disk: n.disks[i], store: n.stores[i]})
	}
	return dev, nil
}

// controllers makes the NVMe controllers once all their namespaces are known.
func (p *pc) controllers() error {
	for i := range p.nvmes {
		dev, err := p.nvmes[i].make(p, false)
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

// freeATA returns an adapter and a port of it without a drive.
func (p *pc) freeATA() (*ahci.Device, int) {
	for _, a := range p.adapters {
		for n := range a.ports {
			if a.Drive(n) == nil {
				return a.Device, n
			}
		}
	}
	return nil, 0
}

// findATA finds a drive by its unit name.
func (p *pc) findATA(name string) (*ahci.Device, int, bool) {
	for _, a := range p.adapters {
		for n := range a.ports {
			if fmt.Sprintf("%s.%d", a.Name(), n) == name && a.Drive(n) != nil {
				return a.Device, n, true
			}
		}
	}
	return nil, 0, false
}
