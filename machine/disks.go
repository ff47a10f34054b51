package machine

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"dfemu/devices"
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
		if err := p.addAdapter(a); err != nil {
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

// size takes a number of bytes; 0 if it is not given.
func (s *settings) size(key string) int64 {
	v, ok := s.o.Take(key)
	if !ok {
		return 0
	}
	n, err := block.ParseSize(v)
	if err != nil {
		s.fail(fmt.Errorf("%s=%s: %w", key, v, err))
	}
	return n
}

// hex takes hexadecimal digits, n bytes of them, with colons or hyphens between them or without; nil if they are not given.
func (s *settings) hex(key string, n int) []byte {
	v, ok := s.o.Take(key)
	if !ok {
		return nil
	}
	b, err := hex.DecodeString(strings.NewReplacer(":", "", "-", "").Replace(strings.TrimPrefix(v, "0x")))
	if err != nil || len(b) != n || bytes.Equal(b, make([]byte, n)) {
		s.fail(fmt.Errorf("%s=%s: must be %d hexadecimal digits, not all 0", key, v, 2*n))
		return nil
	}
	return b
}

// choice takes one of some words, the first if it is not given.
func (s *settings) choice(key string, words ...string) string {
	v, ok := s.o.Take(key)
	if !ok {
		return words[0]
	}
	if !slices.Contains(words, v) {
		last := len(words) - 1
		s.fail(fmt.Errorf("%s=%s: must be %s or %s", key, v, strings.Join(words[:last], ", "), words[last]))
	}
	return v
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

// defaultSerial is the serial number of a drive without one: the name's, so that drives can be told apart, and the same drive is known
// again.
func defaultSerial(name string) string {
	if s := "dfemu-" + name; len(s) <= 20 {
		return s
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // a hash takes everything
	return fmt.Sprintf("dfemu-%08x", h.Sum32())
}

// attachVirtioBlk attaches a disk as virtio-blk.
func (p *pc) attachVirtioBlk(d *Disk, store devices.Block) error {
	dev, slot, err := p.virtioBlk(d, store, false)
	if err != nil {
		return err
	}
	return p.place(dev, slot)
}

// virtioBlk makes a virtio-blk device, with a queue for each processor unless the disk's settings say otherwise. It is for a slot
// if hot is set or the settings say so.
func (p *pc) virtioBlk(d *Disk, store devices.Block, hot bool) (dev *blk.Device, slot bool, err error) {
	s := settings{o: &d.Store}
	slot = s.flag("slot") || hot
	o := blk.Options{
		Serial: d.Serial, Queues: s.number("queues", 1, 256), QueueSize: s.number("queue-size", 4, 1024), Packed: s.flag("packed"),
		Clock: p.m.clock, BlockSize: d.Store.Logical, PhysicalSize: d.Store.Physical, InSlot: slot, Broken: p.broken,
	}
	if o.Queues == 0 {
		o.Queues = p.m.cfg.CPUs
	}
	id := s.text("id")
	if err = s.done(); err == nil {
		o.Name, err = p.unit("virtio-blk", id)
	}
	if err != nil {
		return nil, false, errors.Join(err, store.Close())
	}
	if dev, err = blk.New(o, store); err != nil {
		p.removeUnit(o.Name)
		return nil, false, errors.Join(err, store.Close())
	}
	p.addDrive(&drive{name: o.Name, unit: o.Name, disk: *d, store: store})
	return dev, slot, nil
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
	n.id, n.o.InSlot = s.text("id"), s.flag("slot")
	n.o.Sub.Serial, n.o.Sub.Model, n.o.Sub.Firmware, n.o.Sub.NQN = d.Serial, s.text("model"), s.text("firmware"), s.text("nqn")
	n.o.MaxTransfer = int(min(s.size("mdts"), 1<<31))
	n.o.Queues, n.o.QueueEntries = s.number("queues", 1, 128), s.number("queue-size", 2, 1<<16)
	n.o.Buffer, n.o.HostMemory = s.number("cmb", 0, 1<<10)<<20, s.number("hmb", 0, 1<<10)<<20
}

// attach adds a namespace or the pool; the settings have been taken otherwise.
func (n *nvmeDrive) attach(s *settings, d *Disk, store devices.Block) error {
	zoned, pool := s.flag("zoned"), s.flag("pool")
	ns := nvme.NamespaceOptions{
		Store: store, BlockSize: d.Store.Logical, Zoned: zoned, Detached: s.flag("detached"), ZoneSize: s.size("zone-size"), ZoneCapacity: s.size("zone-capacity"),
		MaxOpen: s.number("max-open", 1, 1<<20), MaxActive: s.number("max-active", 1, 1<<20),
	}
	if b := s.hex("eui64", 8); b != nil {
		ns.EUI64 = binary.BigEndian.Uint64(b)
	}
	copy(ns.NGUID[:], s.hex("nguid", 16))
	copy(ns.UUID[:], s.hex("uuid", 16))
	if err := s.done(); err != nil {
		return err
	}
	own := ns
	own.Store, own.BlockSize, own.Zoned = nil, 0, false
	sub := &n.o.Sub
	switch {
	case pool && zoned:
		return errors.New("pool and zoned exclude each other: the guest chooses what it makes of a pool")
	case !zoned && (ns.ZoneSize != 0 || ns.ZoneCapacity != 0 || ns.MaxOpen != 0 || ns.MaxActive != 0):
		return errors.New("zone-size=, zone-capacity=, max-open= and max-active= are for zoned only")
	case pool && own != (nvme.NamespaceOptions{}):
		return errors.New("pool: eui64=, nguid=, uuid= and detached are for a namespace, and the guest makes those")
	case pool && sub.Pool != nil:
		return fmt.Errorf("pool: controller %q has one already", n.ctrl)
	case pool:
		sub.Pool = store
		n.disks, n.stores = append(n.disks, *d), append(n.stores, store)
	default:
		at := len(sub.Namespaces)
		sub.Namespaces = append(sub.Namespaces, ns)
		n.disks = append(n.disks[:at:at], append([]Disk{*d}, n.disks[at:]...)...)
		n.stores = append(n.stores[:at:at], append([]devices.Block{store}, n.stores[at:]...)...)
	}
	return nil
}

// make makes the controller, which owns the stores then; they are closed if there is an error.
func (n *nvmeDrive) make(p *pc) (*nvme.Device, error) {
	n.made = true
	var err error
	if n.o.Name, err = p.unit("nvme", n.id); err != nil {
		return nil, errors.Join(err, n.close())
	}
	if n.o.Sub.Serial == "" {
		n.o.Sub.Serial = defaultSerial(n.o.Name)
	}
	n.o.Clock = p.m.clock
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
		n := &p.nvmes[i]
		dev, err := n.make(p)
		if err != nil {
			return err
		}
		if err := p.place(dev, n.o.InSlot); err != nil {
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
