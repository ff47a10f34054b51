package machine

import (
	"errors"
	"fmt"
	"sync"

	"dfemu/devices"
	"dfemu/devices/ahci"
	"dfemu/devices/ahci/atapi"
	"dfemu/devices/block"
	"dfemu/devices/network"
	"dfemu/devices/nvme"
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
	// hot are the devices behind root ports, by unit name.
	hot map[string]*hotDevice
	n   int // hot devices made
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
		m.control = &Control{m: m, hot: map[string]*hotDevice{}}
	}
	return m.control
}

// Paused reports whether the machine stands still.
func (m *Machine) Paused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.paused > 0
}

// freePort returns an empty slot.
func (c *Control) freePort() (*pci.RootPort, error) {
	for _, p := range c.m.pc.slots {
		used := false
		for _, h := range c.hot {
			used = used || h.port == p
		}
		if !used {
			return p, nil
		}
	}
	return nil, fmt.Errorf("all %d hot-plug slots are in use", len(c.m.pc.slots))
}

// PlugDisk adds a drive: an NVMe controller in a free slot, or a disk at a free port of an AHCI adapter. It returns
// the unit name.
func (c *Control) PlugDisk(d Disk) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	store, err := c.m.pc.open(&d)
	if err != nil {
		return "", &FileError{"disk", d.File, err}
	}
	known := func() error { // what no device has taken is a mistake
		if err := d.Store.Unknown(); err != nil {
			return errors.Join(err, store.Close())
		}
		return nil
	}
	switch d.If {
	case "ahci":
		a, n := c.m.pc.freeATA()
		if a == nil {
			return "", errors.Join(errors.New("no AHCI adapter with a free port: start the machine with one"), store.Close())
		}
		name := fmt.Sprintf("%s.%d", a.Name(), n)
		v, err := c.m.pc.ataDrive(name, &d, store)
		if err != nil {
			return "", err
		}
		return name, a.Attach(n, v)
	case "nvme":
		if err := known(); err != nil {
			return "", err
		}
		name := fmt.Sprintf("nvme-hot%d", c.n)
		dev, err := nvme.New(nvme.Options{
			Name: name, Clock: c.m.clock, InSlot: true,
			Sub: nvme.SubsystemOptions{Serial: d.Serial, Namespaces: []nvme.NamespaceOptions{{Store: store, BlockSize: d.Store.Logical}}},
		})
		if err != nil {
			return "", err
		}
		return name, c.plug(dev)
	}
	return "", errors.Join(fmt.Errorf("if=%s: drives that can be added are ahci and nvme", d.If), store.Close())
}

// PlugNIC adds a network device in a free slot and returns the unit name.
func (c *Control) PlugNIC(o network.Options) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.MAC == ([6]byte{}) {
		o.MAC = [6]byte{0x52, 0x54, 0x00, 0x12, 0x35, byte(c.n)}
	}
	p := c.m.pc
	hubs := c.m.cfg.Hubs
	if hubs == nil {
		hubs = &p.hubs
	}
	back, err := network.Open(o, network.Env{Clock: c.m.clock, Hubs: hubs, Warn: func(err error) { c.m.cfg.Logf("network: %v", err) }})
	if err != nil {
		return "", err
	}
	dev, err := p.nic(100+c.n, &o, back, true)
	if err != nil {
		return "", errors.Join(err, back.Close())
	}
	return dev.Name(), c.plug(dev)
}

// plug puts a device into a free slot. It is the machine's then, or closed.
func (c *Control) plug(d function) error {
	port, err := c.freePort()
	if err == nil {
		if w := c.m.pc.watching.w; w != nil {
			w.Attach(d.Name(), d.Function().Probe())
		}
		err = port.Plug(d.Function())
	}
	if err != nil {
		if cl, ok := d.(devices.Closer); ok {
			err = errors.Join(err, cl.Close())
		}
		return err
	}
	c.n++
	c.hot[d.Name()] = &hotDevice{d, port}
	c.m.pc.addHot(d)
	return nil
}

// Unplug asks the guest to give a device up, or with surprise takes it away. Drives of an AHCI adapter are always
// taken away.
func (c *Control) Unplug(name string, surprise bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, n, ok := c.m.pc.findATA(name); ok {
		v, err := a.Detach(n)
		if err != nil {
			return err
		}
		if cl, ok := v.(devices.Closer); ok {
			return cl.Close()
		}
		return nil
	}
	h := c.hot[name]
	if h == nil {
		return fmt.Errorf("%s: %w that can be unplugged", name, ErrNoDevice)
	}
	gone := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.remove(name)
	}
	if surprise {
		h.port.Eject()
		c.remove(name)
		return nil
	}
	return h.port.Unplug(func() { go gone() })
}

// remove forgets and closes a device that is no longer in its slot.
func (c *Control) remove(name string) {
	h := c.hot[name]
	if h == nil {
		return
	}
	delete(c.hot, name)
	c.m.pc.removeHot(h.function)
	if w := c.m.pc.watching.w; w != nil {
		w.Detach(name)
	}
	if cl, ok := h.function.(devices.Closer); ok {
		if err := cl.Close(); err != nil {
			c.m.cfg.Logf("%s: %v", name, err)
		}
	}
}

// Eject opens the tray of an optical drive; Insert puts a medium in.
func (c *Control) Eject(name string) error {
	v, err := c.optical(name)
	if err != nil {
		return err
	}
	store, err := v.Eject(true)
	if err != nil || store == nil {
		return err
	}
	return store.Close()
}

// Insert puts the image file into an optical drive.
func (c *Control) Insert(name, file string) error {
	v, err := c.optical(name)
	if err != nil {
		return err
	}
	store, err := block.Open(block.Options{File: file, ReadOnly: true}, c.m.clock)
	if err != nil {
		return err
	}
	if err := v.Insert(store); err != nil {
		return errors.Join(err, store.Close())
	}
	return nil
}

func (c *Control) optical(name string) (*atapi.Drive, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.m.pc.opticals {
		if v.Name() == name {
			return v, nil
		}
	}
	return nil, fmt.Errorf("%s: %w with a medium to change", name, ErrNoDevice)
}

// SetLink plugs or pulls the cable of a network device.
func (c *Control) SetLink(name string, up bool) error {
	for _, d := range c.Devices() {
		if l, ok := d.(devices.Linked); ok && d.Name() == name {
			return l.SetLink(0, up)
		}
	}
	return fmt.Errorf("%s: %w with a link", name, ErrNoDevice)
}

// PowerLoss pulls the plug: devices and stores lose what a real one could lose, and the run ends.
func (c *Control) PowerLoss() error {
	c.m.Pause()
	defer c.m.Resume()
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

// freeATA returns an adapter and a port of it without a drive.
func (p *pc) freeATA() (*ahci.Device, int) {
	for _, a := range p.adapters {
		for n := range ahciPorts {
			if a.Drive(n) == nil {
				return a, n
			}
		}
	}
	return nil, 0
}

// findATA finds a drive by its unit name.
func (p *pc) findATA(name string) (*ahci.Device, int, bool) {
	for _, a := range p.adapters {
		for n := range ahciPorts {
			if fmt.Sprintf("%s.%d", a.Name(), n) == name && a.Drive(n) != nil {
				return a, n, true
			}
		}
	}
	return nil, 0, false
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
