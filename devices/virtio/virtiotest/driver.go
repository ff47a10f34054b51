// Package virtiotest is a small virtio driver for tests of devices. It works as
// a guest does: it finds the structures through configuration space, negotiates
// features, sets virtqueues up in guest memory, and takes interrupts.
package virtiotest

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/pci"
)

// Places in the test machine.
const (
	RAMSize   = 12 << 20 // bytes of guest memory, from 0 on
	ringsBase = 1 << 20  // queues are from here on
	dataBase  = 8 << 20  // buffers are from here on
	barBase   = 0x8_0000_0000
	msixBase  = 0xfe00_0000
	slot      = 5
)

// Offsets in the common configuration.
const (
	DeviceFeatureSelect = 0x00
	DeviceFeature       = 0x04
	DriverFeatureSelect = 0x08
	DriverFeature       = 0x0c
	ConfigVector        = 0x10
	NumQueues           = 0x12
	Status              = 0x14
	Generation          = 0x15
	QueueSelect         = 0x16
	QueueSize           = 0x18
	QueueVector         = 0x1a
	QueueEnable         = 0x1c
	QueueNotifyOff      = 0x1e
	QueueDesc           = 0x20
	QueueDriver         = 0x28
	QueueDevice         = 0x30
	QueueReset          = 0x3a
)

// Patience is how long tests wait for what must happen.
const Patience = 20 * time.Second

// Driver is a driver bound to one device.
type Driver struct {
	T    testing.TB
	RAM  *devtest.RAM
	Fn   *pci.Function
	Host *pci.Host
	MMIO devices.Space
	IRQ  *devtest.Line // the function's pin

	Common, ISR, Device, Notify uint64 // addresses of the structures
	Multiplier                  uint64
	Features                    uint64 // as accepted

	interrupts [64]chan struct{} // by vector
	mu         sync.Mutex
	counts     [64]int
	rings      uint64
	data       uint64
}

// SendMSI implements devices.MSI: the data is the vector.
func (d *Driver) SendMSI(_ uint64, data uint32) {
	if data >= 64 {
		return
	}
	d.mu.Lock()
	d.counts[data]++
	d.mu.Unlock()
	select {
	case d.interrupts[data] <- struct{}{}:
	default:
	}
}

// Interrupts returns how many messages of a vector have been sent.
func (d *Driver) Interrupts(vector int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[vector]
}

// WaitInterrupt waits for a message of the vector since the last call.
func (d *Driver) WaitInterrupt(vector int) {
	d.T.Helper()
	select {
	case <-d.interrupts[vector]:
	case <-time.After(Patience):
		d.T.Fatalf("no interrupt of vector %d", vector)
	}
}

// New puts a device's function into a machine of its own and enables it: BARs,
// bus mastering and, with msix, one vector for each queue, the last for
// configuration changes.
func New(t testing.TB, fn *pci.Function, msix bool) *Driver {
	t.Helper()
	d := &Driver{T: t, RAM: devtest.NewRAM(RAMSize), Fn: fn, IRQ: &devtest.Line{}, rings: ringsBase, data: dataBase}
	for i := range d.interrupts {
		d.interrupts[i] = make(chan struct{}, 1)
	}
	env := pci.Env{MMIO: &d.MMIO, Ports: &devices.Space{}, Memory: d.RAM, MSI: d}
	for i := range env.PIRQ {
		env.PIRQ[i] = devices.NoLine
	}
	env.PIRQ[4+slot%4] = d.IRQ
	d.Host = pci.NewHost(env)
	if err := d.Host.Bus().Add(slot, 0, fn); err != nil {
		t.Fatal(err)
	}
	d.Enable(msix)
	return d
}

// Config reads configuration space.
func (d *Driver) Config(off, size int) uint32 { return d.Host.ReadConfig(0, slot<<3, off, size) }

// SetConfig writes configuration space.
func (d *Driver) SetConfig(off, size int, v uint32) {
	d.Host.WriteConfig(0, slot<<3, off, size, v)
}

// Enable programs the function, also after a reset of it.
func (d *Driver) Enable(msix bool) {
	d.T.Helper()
	d.SetConfig(0x20, 4, uint32(barBase&0xffffffff))
	d.SetConfig(0x24, 4, uint32(barBase>>32))
	d.SetConfig(0x14, 4, msixBase)
	d.SetConfig(pci.RegCommand, 2, pci.CommandMemory|pci.CommandMaster)
	for off := int(d.Config(pci.RegCapPtr, 1)); off != 0; off = int(d.Config(off+1, 1)) {
		switch d.Config(off, 1) {
		case pci.CapVendor:
			d.structure(off)
		case pci.CapMSIX:
			if !msix {
				continue
			}
			n := d.Config(off+2, 2)&0x7ff + 1
			for v := range uint64(n) {
				d.MMIO.Write(msixBase+16*v, 4, 0xfee00000)
				d.MMIO.Write(msixBase+16*v+8, 4, v)
				d.MMIO.Write(msixBase+16*v+12, 4, 0)
			}
			d.SetConfig(off+2, 2, 0x8000)
		}
	}
}

// structure takes note of one vendor-specific capability.
func (d *Driver) structure(off int) {
	at := barBase + uint64(d.Config(off+8, 4))
	if kind := d.Config(off+3, 1); kind != 5 && d.Config(off+4, 1) != 4 {
		d.T.Fatalf("structure %d is not in BAR 4", kind)
	}
	switch d.Config(off+3, 1) {
	case 1:
		d.Common = at
	case 2:
		d.Notify, d.Multiplier = at, uint64(d.Config(off+16, 4))
	case 3:
		d.ISR = at
	case 4:
		d.Device = at
	}
}

// Get reads size bytes of the common configuration.
func (d *Driver) Get(off uint64, size int) uint64 { return d.MMIO.Read(d.Common+off, size) }

// Put writes size bytes of the common configuration.
func (d *Driver) Put(off uint64, size int, v uint64) { d.MMIO.Write(d.Common+off, size, v) }

// Offered returns the device's feature bits.
func (d *Driver) Offered() uint64 {
	var v uint64
	for i := range uint64(2) {
		d.Put(DeviceFeatureSelect, 4, i)
		v |= d.Get(DeviceFeature, 4) << (32 * i)
	}
	return v
}

// Negotiate resets the device and accepts features up to FEATURES_OK. It
// reports whether the device agreed.
func (d *Driver) Negotiate(features uint64) bool {
	d.Put(Status, 1, 0)
	d.Get(Status, 1) // a driver waits for 0 here
	d.Put(Status, 1, 1)
	d.Put(Status, 1, 3)
	for i := range uint64(2) {
		d.Put(DriverFeatureSelect, 4, i)
		d.Put(DriverFeature, 4, features>>(32*i)&0xffffffff)
	}
	d.Put(Status, 1, 3|8)
	d.Features = features
	return d.Get(Status, 1)&8 != 0
}

// Go sets DRIVER_OK.
func (d *Driver) Go() { d.Put(Status, 1, 3|8|4) }

// Start is Negotiate, with VERSION_1, for tests that expect no trouble.
func (d *Driver) Start(features uint64) {
	d.T.Helper()
	if !d.Negotiate(features | 1<<32) {
		d.T.Fatalf("device does not accept features %#x; it offers %#x", features, d.Offered())
	}
	d.Put(ConfigVector, 2, d.Get(NumQueues, 2))
}

// Alloc returns n bytes of guest memory for buffers, at a multiple of 16.
// Memory is used again after a while.
func (d *Driver) Alloc(n int) uint64 {
	size := uint64(n+15) &^ 15
	if d.data+size > RAMSize {
		d.data = dataBase
	}
	a := d.data
	d.data += size
	return a
}

// Bytes returns guest memory.
func (d *Driver) Bytes(addr uint64, n int) []byte {
	d.T.Helper()
	b, err := d.RAM.View(addr, n)
	if err != nil {
		d.T.Fatal(err)
	}
	return b
}

// DeviceConfig reads a field of the device-specific configuration.
func (d *Driver) DeviceConfig(off uint64, size int) uint64 { return d.MMIO.Read(d.Device+off, size) }

var le = binary.LittleEndian
