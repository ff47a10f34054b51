package pci

import (
	"fmt"
	"sync"
	"sync/atomic"

	"dfemu/kernel/kern"
)

// Offsets in the configuration header.
const (
	regID       = 0x00
	regCommand  = 0x04
	regStatus   = 0x06
	regClass    = 0x08
	regHeader   = 0x0e
	regBAR      = 0x10
	regBusses   = 0x18
	regSubsys   = 0x2c
	regCapPtr   = 0x34
	regMemWin   = 0x20
	regPrefWin  = 0x24
	regPrefHigh = 0x28

	cmdIO        = 1 << 0
	cmdMemory    = 1 << 1
	cmdMaster    = 1 << 2
	cmdNoINTx    = 1 << 10
	statusCaps   = 1 << 4
	multiFn      = 0x80
	headerBridge = 1
)

// Capability identifiers.
const (
	CapMSI    = 0x05
	CapVendor = 0x09
	CapPCIe   = 0x10
	CapMSIX   = 0x11
)

// Address is where a function is.
type Address struct {
	Bus, Slot, Func uint8
}

// String is the address as bus:slot.function.
func (a Address) String() string { return fmt.Sprintf("%02x:%02x.%x", a.Bus, a.Slot, a.Func) }

// Device is one function.
type Device struct {
	Address
	Vendor, ID          uint16
	Class               uint32 // base class, subclass and interface: 0x010802 is NVMe
	Revision            uint8
	Subvendor, Subsysem uint16
	BARs                [6]BAR
	// Bridge is the number of the bus behind a bridge, 0 for others.
	Bridge uint8

	k      *kern.Kernel
	bus    *Bus    // nil for one that is on no bus
	parent *Device // the bridge before it
	conf   kern.Registers
	mu     sync.Mutex
	msix   kern.Registers // the MSI-X table, once it is used
	ints   []*kern.Interrupt
	irq    uint32      // the global system interrupt, if the pin is used
	failed atomic.Bool // its driver has, and is restarted
}

// BAR is a base address register.
type BAR struct {
	Addr, Size uint64 // Size is 0 for none
	IO         bool
	Is64       bool
	Prefetch   bool
}

// NewDevice returns a function with the given configuration space of 256 or 4096 bytes, as it is.
// Tests of drivers use it with registers of their own.
func NewDevice(k *kern.Kernel, a Address, conf kern.Registers) *Device {
	d := &Device{Address: a, k: k, conf: conf}
	id, class, sub := conf.Read32(regID), conf.Read32(regClass), conf.Read32(regSubsys)
	d.Vendor, d.ID = uint16(id), uint16(id>>16)
	d.Class, d.Revision = class>>8, uint8(class)
	d.Subvendor, d.Subsysem = uint16(sub), uint16(sub>>16)
	n := 6
	if d.header() == headerBridge {
		n = 2
		d.Bridge = uint8(conf.Read32(regBusses) >> 8)
	}
	d.readBARs(n)
	return d
}

// Kernel is the kernel the device belongs to.
func (d *Device) Kernel() *kern.Kernel { return d.k }

// Present tells whether the function still answers.
func (d *Device) Present() bool { return d.conf.Read32(regID) != 0xffffffff }

func (d *Device) header() uint8 { return d.conf.Read8(regHeader) &^ multiFn }

// Read reads size (1, 2 or 4) bytes of configuration space.
func (d *Device) Read(off uint64, size int) uint32 {
	switch size {
	case 1:
		return uint32(d.conf.Read8(off))
	case 2:
		return uint32(d.conf.Read16(off))
	}
	return d.conf.Read32(off)
}

// Write writes size (1, 2 or 4) bytes of configuration space.
func (d *Device) Write(off uint64, size int, v uint32) {
	switch size {
	case 1:
		d.conf.Write8(off, uint8(v))
	case 2:
		d.conf.Write16(off, uint16(v))
	default:
		d.conf.Write32(off, v)
	}
}

// readBARs finds out place and size of each BAR; the function does not decode meanwhile.
func (d *Device) readBARs(n int) {
	cmd := d.conf.Read16(regCommand)
	d.conf.Write16(regCommand, cmd&^(cmdIO|cmdMemory))
	defer d.conf.Write16(regCommand, cmd)
	for i := 0; i < n; i++ {
		off := uint64(regBAR + 4*i)
		old := d.conf.Read32(off)
		d.conf.Write32(off, 0xffffffff)
		mask := d.conf.Read32(off)
		d.conf.Write32(off, old)
		if mask == 0 || mask == 0xffffffff && old == 0xffffffff {
			continue
		}
		b := &d.BARs[i]
		if mask&1 != 0 {
			b.IO = true
			b.Addr, b.Size = uint64(old&^3), uint64(-(mask&^3|0xffff0000)&0xffff)
			continue
		}
		b.Prefetch = mask&8 != 0
		addr, full := uint64(old&^15), uint64(mask&^15)|0xffffffff<<32
		if mask>>1&3 == 2 && i+1 < n {
			b.Is64 = true
			high := d.conf.Read32(off + 4)
			d.conf.Write32(off+4, 0xffffffff)
			full = uint64(mask&^15) | uint64(d.conf.Read32(off+4))<<32
			d.conf.Write32(off+4, high)
			addr |= uint64(high) << 32
			i++
		}
		b.Addr, b.Size = addr, -full
	}
}

// Map makes the memory of BAR i accessible and lets the function decode it.
func (d *Device) Map(i int) (kern.Registers, error) {
	if i < 0 || i >= len(d.BARs) {
		return nil, fmt.Errorf("pci %v: there is no BAR %d", d.Address, i)
	}
	b := d.BARs[i]
	switch {
	case b.Size == 0 || b.IO:
		return nil, fmt.Errorf("pci %v: BAR %d is not memory", d.Address, i)
	case b.Addr == 0:
		return nil, fmt.Errorf("pci %v: BAR %d has no address", d.Address, i)
	}
	d.mu.Lock()
	d.conf.Write16(regCommand, d.conf.Read16(regCommand)|cmdMemory)
	d.mu.Unlock()
	r, err := d.k.MapRegisters(b.Addr, b.Size)
	if err != nil {
		return nil, fmt.Errorf("pci %v: BAR %d: %w", d.Address, i, err)
	}
	return r, nil
}

// SetMaster lets the function access memory, or not.
func (d *Device) SetMaster(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cmd := d.conf.Read16(regCommand) &^ cmdMaster
	if on {
		cmd |= cmdMaster
	}
	d.conf.Write16(regCommand, cmd)
}

// Capability returns the offset of a capability, the first after the one at after (0: the first of
// all), or 0.
func (d *Device) Capability(id uint8, after uint64) uint64 {
	if d.conf.Read16(regStatus)&statusCaps == 0 {
		return 0
	}
	next := uint64(regCapPtr)
	if after != 0 {
		next = after + 1
	}
	// A list that leads in a circle ends, too: there is room for 48.
	for range 48 {
		at := uint64(d.conf.Read8(next)) &^ 3
		if at < 0x40 {
			return 0
		}
		if d.conf.Read8(at) == id {
			return at
		}
		next = at + 1
	}
	return 0
}
