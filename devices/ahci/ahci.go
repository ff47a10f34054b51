package ahci

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/pci"
)

// Options describes an adapter.
type Options struct {
	Name  string // unit name, as "ahci0"
	Clock devices.Clock
	Ports int // 1 to 32; 0 means 6, as the ICH9 has
	Slots int // command slots of each port, 1 to 32; 0 means 32
	// Workers is how many commands of one port are on their way to the store at
	// a time, if the drive is slow enough for that to help; 0 means 16.
	Workers int
	// Speed is the fastest interface speed: 1 (1.5 Gb/s) to 3 (6 Gb/s); 0 means 3.
	Speed int
	// MSIVectors is how many messages the function asks for, a power of two up to
	// 32; 0 means 1. With -1 there is no MSI.
	MSIVectors int
	// StaggeredSpinUp leaves it to the guest to spin drives up one by one.
	StaggeredSpinUp bool
	// PortMultipliers has the adapter support port multipliers, and with
	// FISSwitching commands to all drives behind one at the same time.
	PortMultipliers, FISSwitching bool
	// BIOSOwned makes the firmware own the adapter at power-on, until the guest
	// asks for it through BOHC.
	BIOSOwned bool
	// No64 has the adapter reach 32-bit addresses only. NoNCQ leaves native
	// command queuing out.
	No64, NoNCQ bool
}

// Device is an AHCI host bus adapter. Its methods may be called from any
// goroutine.
type Device struct {
	o     Options
	fn    *pci.Function
	msi   *pci.MSI
	mem   devices.Memory
	probe *devices.Probe
	bank  *devices.Bank
	ports []*port
	cap   uint32
	slots uint32 // mask of command slots that exist

	resetting atomic.Int32 // ports that a reset of the adapter still waits for

	mu    sync.Mutex // guards what follows; may be taken with a port's lock held
	ghc   uint32
	is    uint32
	level uint32 // ports with an enabled interrupt pending
	bohc  uint32
	line  bool // the pin is asserted
	ccc   coalescing
	index uint32 // of the index-data pair
}

// New returns an adapter with nothing attached.
func New(o Options) (*Device, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.Ports, 6)
	def(&o.Slots, 32)
	def(&o.Workers, 16)
	def(&o.Speed, 3)
	def(&o.MSIVectors, 1)
	switch {
	case o.Clock == nil:
		return nil, fmt.Errorf("%s: an adapter needs a clock", o.Name)
	case o.Ports < 1 || o.Ports > 32:
		return nil, fmt.Errorf("%s: %d ports: must be 1 to 32", o.Name, o.Ports)
	case o.Slots < 1 || o.Slots > 32:
		return nil, fmt.Errorf("%s: %d command slots: must be 1 to 32", o.Name, o.Slots)
	case o.Speed < 1 || o.Speed > 3:
		return nil, fmt.Errorf("%s: speed %d: must be 1 to 3", o.Name, o.Speed)
	case o.Workers < 1 || o.Workers > 64:
		return nil, fmt.Errorf("%s: %d workers: must be 1 to 64", o.Name, o.Workers)
	case o.FISSwitching && !o.PortMultipliers:
		return nil, fmt.Errorf("%s: FIS-based switching is for port multipliers only; allow these too", o.Name)
	}
	d := &Device{o: o, bank: newBank(o.Name, o.Ports)}
	d.slots = uint32(1<<o.Slots - 1)
	d.cap = d.capabilities()
	d.describe()
	for i := range o.Ports {
		d.ports = append(d.ports, newPort(d, i))
	}
	d.ccc.timer = o.Clock.NewTimer(d.cccDue)
	d.powerOn()
	return d, nil
}

// capabilities makes CAP.
func (d *Device) capabilities() uint32 {
	o := &d.o
	c := uint32(o.Ports-1) | uint32(o.Slots-1)<<8 | uint32(o.Speed)<<20
	c |= capPSC | capSSC | capPMD | capSAM | capSCLO | capSAL | capSALP | capSSNTF
	for _, f := range []struct {
		on  bool
		bit uint32
	}{
		{o.Ports < 32, capCCCS}, {o.PortMultipliers, capSPM}, {o.FISSwitching, capFBSS},
		{o.StaggeredSpinUp, capSSS}, {!o.NoNCQ, capSNCQ}, {!o.No64, capS64A},
	} {
		if f.on {
			c |= f.bit
		}
	}
	return c
}

// describe makes the PCI function (ICH9 data sheet, chapter 15; AHCI 1.3.1,
// section 2).
func (d *Device) describe() {
	d.fn = pci.NewFunction(d.o.Name, pci.Identity{
		Vendor: 0x8086, Device: 0x2922, Revision: 2, Class: 0x010601,
		SubsystemVendor: 0x8086, Subsystem: 0x2922, Pin: 1,
	})
	d.mem, d.probe = d.fn.DMA(), d.fn.Probe()
	size := uint64(0x1000)
	if portBase+uint64(d.o.Ports)*portStride > size {
		size = 0x2000
	}
	abar := devices.WatchRegion(d.probe, d.bank, registers{d, size})
	d.fn.AddBAR(5, pci.BAR{Kind: pci.BARMem32, Size: size, Region: abar})
	d.fn.AddBAR(4, pci.BAR{Kind: pci.BARIO, Size: 32, Region: indexData{d, size, abar}})
	if d.o.MSIVectors > 0 {
		d.msi = d.fn.AddMSI(d.o.MSIVectors, !d.o.No64, false)
	}
	d.fn.AddPM()
	// The SATA capability: an index-data pair at offset 16 of BAR4.
	d.fn.AddCapability(0x12, []byte{0x10, 0, 4<<4 | 0x8, 0, 0, 0}, nil)
	// MAP says AHCI mode; PCS has a bit to enable each port and one that tells of
	// a drive, which nobody relies on.
	d.fn.Preset(0x90, 1, 0x40, 0)
	d.fn.Preset(0x92, 2, 0, 0x803f)
	d.fn.OnReset(d.Reset)
	d.fn.OnBusMaster(func(bool) { d.kickAll() })
}

// powerOn sets the registers that survive a reset of the adapter.
func (d *Device) powerOn() {
	d.mu.Lock()
	d.bohc = 0
	if d.o.BIOSOwned {
		d.bohc = bohcBOS
	}
	d.mu.Unlock()
	d.resetRegisters()
	for _, p := range d.ports {
		p.mu.Lock()
		p.hardReset(true)
		p.mu.Unlock()
	}
}

// Name implements devices.Device.
func (d *Device) Name() string { return d.o.Name }

// Function returns the adapter's PCI function.
func (d *Device) Function() *pci.Function { return d.fn }

// Reset implements devices.Device: power-on, with the drives that are attached. It
// waits for transfers to end.
func (d *Device) Reset() {
	d.fn.Reset()
	for _, p := range d.ports {
		p.mu.Lock()
		p.lose()
		p.drain()
		p.mu.Unlock()
	}
	d.powerOn()
}

// Pause implements devices.Pauser. Commands that a drive works on are completed;
// the others stay where they are.
func (d *Device) Pause() {
	for _, p := range d.ports {
		p.mu.Lock()
		p.paused = true
		p.drain()
		p.mu.Unlock()
	}
}

// Resume implements devices.Pauser.
func (d *Device) Resume() {
	for _, p := range d.ports {
		p.mu.Lock()
		p.paused = false
		p.kick()
		p.mu.Unlock()
	}
}

// Close implements devices.Closer: it ends the workers and closes the drives.
func (d *Device) Close() error {
	var errs []error
	d.mu.Lock()
	d.ccc.timer.Stop()
	d.mu.Unlock()
	for _, p := range d.ports {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

func (d *Device) kickAll() {
	for _, p := range d.ports {
		p.mu.Lock()
		p.kick()
		p.mu.Unlock()
	}
}

// port returns a port by its number.
func (d *Device) port(n int) (*port, error) {
	if n < 0 || n >= len(d.ports) {
		return nil, fmt.Errorf("%s: no port %d: there are %d", d.o.Name, n, len(d.ports))
	}
	return d.ports[n], nil
}

// Drive returns what is attached directly to port n, or nil.
func (d *Device) Drive(n int) ata.Drive {
	p, err := d.port(n)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drive
}

// FreePort returns the lowest port with nothing attached.
func (d *Device) FreePort() (int, error) {
	for _, p := range d.ports {
		p.mu.Lock()
		free := p.drive == nil && p.mult == nil
		p.mu.Unlock()
		if free {
			return p.n, nil
		}
	}
	return 0, fmt.Errorf("%s: all %d ports are in use", d.o.Name, len(d.ports))
}

// PowerLoss implements devices.PowerLoser for the drives.
func (d *Device) PowerLoss() error {
	var errs []error
	for _, p := range d.ports {
		p.mu.Lock()
		for _, v := range p.drives() {
			if l, ok := v.(devices.PowerLoser); ok {
				errs = append(errs, l.PowerLoss())
			}
		}
		p.mu.Unlock()
	}
	return errors.Join(errs...)
}
