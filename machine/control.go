package machine

import (
	"errors"
	"fmt"
	"sync"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/network"
	"dfemu/devices/pci"
	"dfemu/devices/watch"
)

// ErrNoDevice reports a name that no device of the machine has.
var ErrNoDevice = errors.New("no such device")

// Control changes a machine while it runs: what a person does with hands. Its methods may be called
// from any goroutine, one at a time.
type Control struct {
	m  *Machine
	mu sync.Mutex
	// removed is told of devices that are gone.
	removed func(unit string)
}

// OnRemoved has f told the names of devices and drives that have left the machine. It is called from any goroutine, with the control held, and
// must not call back. It is set before anything is unplugged.
func (c *Control) OnRemoved(f func(unit string)) {
	c.mu.Lock()
	c.removed = f
	c.mu.Unlock()
}

// gone tells that a device or drive has left the machine.
func (c *Control) gone(unit string) {
	if c.removed != nil {
		c.removed(unit)
	}
}

// hotDevice is a device in a slot.
type hotDevice struct {
	function
	port *pci.RootPort
}

// Control returns the machine's control.
func (m *Machine) Control() *Control {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.control == nil {
		m.control = &Control{m: m}
	}
	return m.control
}

// Paused reports whether the machine stands still.
func (m *Machine) Paused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.paused > 0
}

// Pause is [Machine.Pause], and Resume [Machine.Resume].
func (c *Control) Pause() { c.m.Pause() }

// Resume undoes one Pause.
func (c *Control) Resume() { c.m.Resume() }

// freePort returns an empty slot.
func (p *pc) freePort() (*pci.RootPort, error) {
	for _, s := range p.slots {
		used := false
		for _, h := range p.hot {
			used = used || h.port == s
		}
		if !used {
			return s, nil
		}
	}
	return nil, fmt.Errorf("all %d hot-plug slots are in use", len(p.slots))
}

// PlugDisk adds a drive: an NVMe controller or a virtio-blk device in a free slot, or a disk at a free port of an AHCI
// adapter. It returns the unit name.
func (c *Control) PlugDisk(d Disk) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.m.pc
	store, err := p.open(&d)
	if err != nil {
		return "", &FileError{"disk", d.File, err}
	}
	switch d.If {
	case "ahci":
		return p.plugATA(&d, store)
	case "nvme":
		n, err := newHotNVMe(&d, store)
		if err != nil {
			return "", errors.Join(err, store.Close())
		}
		dev, err := n.make(p)
		if err != nil {
			return "", err
		}
		return dev.Name(), c.plug(dev)
	case "scsi":
		return p.plugSCSI(&d, store)
	case "virtio":
		dev, _, err := p.virtioBlk(&d, store, true)
		if err != nil {
			return "", err
		}
		return dev.Name(), c.plug(dev)
	}
	return "", errors.Join(fmt.Errorf("if=%s: drives that can be added are ahci, nvme, scsi and virtio", d.If), store.Close())
}

// newHotNVMe describes a controller with one disk.
func newHotNVMe(d *Disk, store devices.Block) (*nvmeDrive, error) {
	s := settings{o: &d.Store}
	if ctrl := s.text("ctrl"); ctrl != "" {
		return nil, fmt.Errorf("ctrl=%s: a controller that is added has one disk", ctrl)
	}
	n := &nvmeDrive{}
	n.take(&s, d)
	n.o.InSlot = true
	return n, n.attach(&s, d, store)
}

// PlugNIC adds a network device in a free slot and returns the unit name.
func (c *Control) PlugNIC(o network.Options) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.Slot = true
	dev, err := c.m.pc.openNIC(o)
	if err != nil {
		return "", err
	}
	return dev.Name(), c.plug(dev)
}

// plug puts a device into a free slot. It is the machine's then, or closed.
func (c *Control) plug(d function) error {
	port, err := c.m.pc.freePort()
	if err == nil {
		if w := c.m.pc.watching.w; w != nil {
			w.Attach(d.Name(), d.Function().Probe())
		}
		err = port.Plug(d.Function())
	}
	if err != nil {
		if w := c.m.pc.watching.w; w != nil {
			w.Detach(d.Name())
		}
		c.m.pc.removeUnit(d.Name())
		if cl, ok := d.(devices.Closer); ok {
			err = errors.Join(err, cl.Close())
		}
		return err
	}
	c.m.pc.hot[d.Name()] = &hotDevice{d, port}
	c.m.pc.addHot(d)
	return nil
}

// Unplug asks the guest to give a device up, or with surprise takes it away. Drives of an AHCI adapter are always
// taken away.
func (c *Control) Unplug(name string, surprise bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.m.pc.findATA(name); at != nil {
		v, err := at.detach()
		if err != nil {
			return err
		}
		c.m.pc.removeUnit(name)
		c.gone(name)
		return v.Close()
	}
	if found, err := c.m.pc.unplugSCSI(name); found {
		if err == nil {
			c.gone(name)
		}
		return err
	}
	h := c.m.pc.hot[name]
	if h == nil {
		return fmt.Errorf("%s: %w that can be unplugged: drives of AHCI adapters and SCSI disks are, and devices that were plugged in or have slot=on", name, ErrNoDevice)
	}
	released := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.remove(name)
	}
	if surprise {
		h.port.Eject()
		c.remove(name)
		return nil
	}
	return h.port.Unplug(func() { go released() })
}

// remove forgets and closes a device that is no longer in its slot.
func (c *Control) remove(name string) {
	h := c.m.pc.hot[name]
	if h == nil {
		return
	}
	delete(c.m.pc.hot, name)
	c.m.pc.removeHot(h.function)
	c.m.pc.removeUnit(name)
	if w := c.m.pc.watching.w; w != nil {
		w.Detach(name)
	}
	if cl, ok := h.function.(devices.Closer); ok {
		if err := cl.Close(); err != nil {
			c.m.cfg.Logf("%s: %v", name, err)
		}
	}
	c.gone(name)
}

// Eject opens the tray of an optical drive and takes the medium out, whatever the guest does with it.
func (c *Control) Eject(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.optical(name)
	if err != nil {
		return err
	}
	store, err := d.optical.Eject(true)
	if err != nil {
		return err
	}
	c.m.pc.mu.Lock()
	d.store = nil
	c.m.pc.mu.Unlock()
	if store == nil {
		return nil
	}
	return store.Close()
}

// Insert puts the image file into an optical drive.
func (c *Control) Insert(name, file string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.optical(name)
	if err != nil {
		return err
	}
	o := block.Options{File: file, ReadOnly: true}
	store, err := block.Open(o, c.m.clock)
	if err != nil {
		return err
	}
	if err := d.optical.Insert(store); err != nil {
		return errors.Join(err, store.Close())
	}
	c.m.pc.mu.Lock()
	d.store, d.disk.File, d.disk.Store = store, file, o
	c.m.pc.mu.Unlock()
	return nil
}

// optical finds an optical drive.
func (c *Control) optical(name string) (*drive, error) {
	c.m.pc.mu.Lock()
	defer c.m.pc.mu.Unlock()
	for _, d := range c.m.pc.drives {
		switch {
		case d.name != name:
		case d.optical == nil:
			return nil, fmt.Errorf("%s: its medium cannot be removed", name)
		default:
			return d, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", name, ErrNoDevice)
}

// SetLink plugs or pulls the cable of a network device, or that of a drive at an AHCI adapter.
func (c *Control) SetLink(name string, up bool) error {
	at := c.m.pc.findPlace(func(s *sataPort) bool { return s.cable() == name && (s.m != nil || s.drive() != nil) })
	if at != nil {
		return at.a.SetLink(at.port, up)
	}
	if at := c.m.pc.findATA(name); at != nil {
		return fmt.Errorf("%s: only the cable between adapter and port multiplier can be pulled, %s", name, at.cable())
	}
	for _, d := range c.Devices() {
		if l, ok := d.(devices.Linked); ok && d.Name() == name {
			return l.SetLink(0, up)
		}
	}
	return fmt.Errorf("%s: %w with a link", name, ErrNoDevice)
}

// PowerLoss pulls the plug: devices and stores lose what a real one could lose, and the run ends. The machine stands still
// from then on, so that nothing is written after the loss.
func (c *Control) PowerLoss() error {
	c.m.Pause()
	var err error
	for _, d := range c.Devices() {
		if l, ok := d.(devices.PowerLoser); ok {
			err = errors.Join(err, l.PowerLoss())
		}
	}
	c.m.Stop()
	return err
}

// Devices returns the machine's devices.
func (c *Control) Devices() []devices.Device { return c.m.pc.devices() }

// Functions returns the PCI functions by their addresses.
func (c *Control) Functions() []*pci.Function {
	var l []*pci.Function
	for _, d := range c.Devices() {
		if f, ok := d.(function); ok {
			l = append(l, f.Function())
		}
	}
	return l
}

// AddFault adds a rule; see watch.ParseRule.
func (c *Control) AddFault(rule string) error {
	r, err := watch.ParseRule(rule)
	if err != nil {
		return err
	}
	w := c.m.cfg.Watch
	if w == nil || w.Faults == nil {
		return errors.New("faults are not possible: the machine was started without a watch")
	}
	w.Faults.Add(r)
	c.m.pc.watching.w.Refresh()
	return nil
}

// Faults returns the machine's faults, or nil.
func (c *Control) Faults() *watch.Faults {
	if w := c.m.cfg.Watch; w != nil {
		return w.Faults
	}
	return nil
}

func (p *pc) devices() []devices.Device {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]devices.Device(nil), p.all...)
}

func (p *pc) addHot(d devices.Device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, d)
}

func (p *pc) removeHot(d devices.Device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range p.all {
		if o == d {
			p.all = append(p.all[:i:i], p.all[i+1:]...)
			return
		}
	}
}
