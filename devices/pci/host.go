package pci

import (
	"sync"

	"dfemu/devices"
)

// Env is what the hierarchy needs of the machine. All fields are required.
type Env struct {
	MMIO   *devices.Space // where memory BARs and ECAM appear, with priority 0
	Ports  *devices.Space // where I/O BARs appear, with priority 0
	Memory devices.Memory // guest memory, for DMA
	MSI    devices.MSI
	// PIRQ gives the inputs that PIRQA (0) to PIRQH (7) drive in APIC mode: on
	// a PC, global system interrupts 16 to 23.
	PIRQ [8]devices.Line
	// ISA gives the inputs of the interrupt controller pair that PIRQs are
	// routed to in PIC mode. Entries may be nil where no PIRQ can go (0, 1, 2,
	// 8, 13). If other devices drive the same input, the machine ORs them.
	ISA [16]devices.Line
}

// A Host is a root complex: bus 0 and the ways in.
type Host struct {
	env    Env
	router *Router
	root   Bus

	// mu guards which functions are where, and the mappings of all BARs. It is
	// taken before any function's own lock.
	mu      sync.RWMutex
	address uint32 // the register at port 0xCF8
	ecam    func() // unmaps the configuration window, if mapped
}

// NewHost returns a root complex with an empty bus 0. The configuration ports
// are not mapped yet: see [Host.ConfigPorts].
func NewHost(env Env) *Host {
	h := &Host{env: env, router: newRouter(env.PIRQ, env.ISA)}
	h.root.host = h
	return h
}

// Bus is bus 0.
func (h *Host) Bus() *Bus { return &h.root }

// Router is the routing of INTx interrupts.
func (h *Host) Router() *Router { return h.router }

// Reset puts the configuration address into the power-on state and resets all
// functions, by what they gave to OnReset.
func (h *Host) Reset() {
	h.mu.Lock()
	h.address = 0
	h.mu.Unlock()
	h.root.reset((*Function).busReset)
}

// reset calls f for each function below b.
func (b *Bus) reset(f func(*Function)) {
	for _, fn := range b.Functions() {
		f(fn)
		if fn.bridge != nil {
			fn.bridge.secondary.reset(f)
		}
	}
}

// Find returns the function at an address as the guest numbers buses, or nil.
func (h *Host) Find(bus, dev, fn int) *Function {
	if bus < 0 || bus > 255 || dev < 0 || dev > 31 || fn < 0 || fn > 7 {
		return nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	b := &h.root
	for n := 0; bus != n; {
		if b = b.behind(bus); b == nil {
			return nil
		}
		n = b.Number()
	}
	if b.port != nil && !b.port.linkUp() {
		return nil
	}
	return b.fns[dev<<3|fn]
}

// behind returns the bus through which configuration requests for bus number n
// pass next.
func (b *Bus) behind(n int) *Bus {
	for _, f := range b.fns {
		if f == nil || f.bridge == nil {
			continue
		}
		// A secondary number of 0 means that the bridge was not set up.
		sec, sub := int(f.Config(RegSecondaryBus, 1)), int(f.Config(RegSubordinateBus, 1))
		if sec != 0 && n >= sec && n <= sub {
			return &f.bridge.secondary
		}
	}
	return nil
}

// ReadConfig reads size bytes (1, 2 or 4) of a function's configuration space;
// all ones where there is none.
func (h *Host) ReadConfig(bus, devfn, off, size int) uint32 {
	f := h.Find(bus, devfn>>3, devfn&7)
	if f == nil {
		return uint32(devices.Ones(size))
	}
	return f.ReadConfig(off, size)
}

// WriteConfig writes size bytes (1, 2 or 4) of a function's configuration
// space.
func (h *Host) WriteConfig(bus, devfn, off, size int, v uint32) {
	if f := h.Find(bus, devfn>>3, devfn&7); f != nil {
		f.WriteConfig(off, size, v)
	}
}

// remap follows a change of f's registers.
func (h *Host) remap(f *Function) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remapFunction(f)
	if f.bridge != nil {
		f.bridge.secondary.remap()
	}
}

// ConfigPorts returns the region for ports 0xCF8 to 0xCFF: configuration
// mechanism #1 (PCI 3.0, section 3.2.2.3.2). The address register answers only
// to 32-bit accesses, so that the reset control register at 0xCF9 can be mapped
// over it with a higher priority.
func (h *Host) ConfigPorts() devices.Region { return configPorts{h} }

type configPorts struct{ h *Host }

// Read implements devices.Region.
func (c configPorts) Read(off uint64, size int) (uint64, error) {
	bus, devfn, reg, err := c.target(off, size)
	switch {
	case err != nil:
		return 0, err
	case off == 0:
		c.h.mu.RLock()
		defer c.h.mu.RUnlock()
		return uint64(c.h.address), nil
	case reg < 0:
		return devices.Ones(size), nil
	}
	return uint64(c.h.ReadConfig(bus, devfn, reg, size)), nil
}

// Write implements devices.Region.
func (c configPorts) Write(off uint64, size int, v uint64) error {
	bus, devfn, reg, err := c.target(off, size)
	switch {
	case err != nil:
		return err
	case off == 0:
		c.h.mu.Lock()
		c.h.address = uint32(v) & 0x80fffffc
		c.h.mu.Unlock()
	case reg >= 0:
		c.h.WriteConfig(bus, devfn, reg, size, uint32(v))
	}
	return nil
}

// target works out what an access to the data port means; reg is -1 while the
// address register's enable bit is clear.
func (c configPorts) target(off uint64, size int) (bus, devfn, reg int, err error) {
	if off < 4 {
		if off != 0 || size != 4 {
			return 0, 0, 0, devices.ErrSize
		}
		return 0, 0, 0, nil
	}
	off -= 4
	if size > 4 || off+uint64(size) > 4 {
		return 0, 0, 0, devices.ErrSize
	}
	c.h.mu.RLock()
	a := c.h.address
	c.h.mu.RUnlock()
	if a>>31 == 0 {
		return 0, 0, -1, nil
	}
	return int(a >> 16 & 0xff), int(a >> 8 & 0xff), int(a&0xfc) + int(off), nil
}

// MapECAM places the memory-mapped configuration window (PCI Express, section
// 7.2.2) of size bytes, 1 MiB for each bus, at base; size 0 removes it.
func (h *Host) MapECAM(base, size uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ecam != nil {
		h.ecam()
		h.ecam = nil
	}
	if size == 0 {
		return nil
	}
	unmap, err := h.env.MMIO.Map(devices.Mapping{
		Name: "pci ECAM", Base: base, Size: size, Priority: 1, Region: ecam{h},
	})
	if err == nil {
		h.ecam = unmap
	}
	return err
}

type ecam struct{ h *Host }

// Read implements devices.Region.
func (e ecam) Read(off uint64, size int) (uint64, error) {
	if size > 4 {
		return 0, devices.ErrSize
	}
	if off&3+uint64(size) > 4 {
		return 0, devices.ErrAlign
	}
	return uint64(e.h.ReadConfig(int(off>>20), int(off>>12&0xff), int(off&0xfff), size)), nil
}

// Write implements devices.Region.
func (e ecam) Write(off uint64, size int, v uint64) error {
	if size > 4 {
		return devices.ErrSize
	}
	if off&3+uint64(size) > 4 {
		return devices.ErrAlign
	}
	e.h.WriteConfig(int(off>>20), int(off>>12&0xff), int(off&0xfff), size, uint32(v))
	return nil
}
