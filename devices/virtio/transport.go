package virtio

import (
	"encoding/binary"

	"dfemu/devices"
	"dfemu/devices/pci"
)

// Types of the vendor-specific capabilities (section 4.1.4).
const (
	capCommon = 1
	capNotify = 2
	capISR    = 3
	capDevice = 4
	capPCI    = 5
)

// The BARs, and where the structures are in the memory BAR.
const (
	barMSIX   = 1
	barMemory = 4

	offCommon = 0x0000
	offISR    = 0x1000
	offDevice = 0x2000
	offNotify = 0x3000
	partSize  = 0x1000

	notifyMultiplier = 4
	commonSize       = 0x3c
)

// describe gives the function its BARs and capabilities.
func (d *Device) describe() {
	f := d.fn
	f.OnReset(d.Reset)
	f.OnBusMaster(func(on bool) {
		if on {
			d.kickAll()
		}
	})
	d.layout = pci.Layout{
		{Off: offCommon, Size: commonSize, Region: commonRegion{d}},
		{Off: offISR, Size: 4, Region: devices.RegionFuncs{ReadFunc: d.readISR}},
		{Off: offNotify, Size: notifyMultiplier * uint64(len(d.queues)), Region: devices.RegionFuncs{WriteFunc: d.notify}},
	}
	if d.c.Region != nil {
		d.layout = append(d.layout, pci.Part{Off: offDevice, Size: d.c.Size, Region: d.c.Region})
	}
	f.AddBAR(barMemory, pci.BAR{Kind: pci.BARMem64, Prefetchable: true, Size: 4 * partSize, Region: d.layout})

	d.capability(capCommon, offCommon, commonSize, nil)
	d.capability(capISR, offISR, 4, nil)
	if d.c.Region != nil {
		d.capability(capDevice, offDevice, uint32(d.c.Size), nil)
	}
	d.capability(capNotify, offNotify, notifyMultiplier*uint32(len(d.queues)), []byte{notifyMultiplier, 0, 0, 0})
	d.pciCfg = d.capability(capPCI, 0, 0, []byte{0, 0, 0, 0})
	// The driver chooses BAR, offset and length there, and then uses the data.
	f.Preset(d.pciCfg+4, 1, 0, 0xff)
	f.Preset(d.pciCfg+8, 4, 0, 0xffffffff)
	f.Preset(d.pciCfg+12, 4, 0, 0xffffffff)
	f.Preset(d.pciCfg+16, 4, 0, 0xffffffff)
	f.HookConfig(d.pciCfg+16, 4, pci.ConfigHook{Read: d.windowRead, Written: d.windowWritten})

	d.msix = f.AddMSIXBAR(len(d.queues)+1, barMSIX)
	f.AddPM()
	if d.c.InSlot {
		f.AddExpress(pci.Endpoint)
	} else {
		f.AddExpress(pci.IntegratedEndpoint)
	}
}

// capability adds a virtio_pci_cap structure.
func (d *Device) capability(kind uint8, off, length uint32, more []byte) int {
	b := make([]byte, 14, 18)
	b[0] = uint8(16 + len(more))
	b[1] = kind
	b[2] = barMemory
	binary.LittleEndian.PutUint32(b[6:], off)
	binary.LittleEndian.PutUint32(b[10:], length)
	return d.fn.AddCapability(pci.CapVendor, append(b, more...), nil)
}

// window returns what the configuration access capability points at (section
// 4.1.4.9).
func (d *Device) window() (off uint64, size int, ok bool) {
	f := d.fn
	off = uint64(f.Config(d.pciCfg+8, 4))
	n := f.Config(d.pciCfg+12, 4)
	ok = f.Config(d.pciCfg+4, 1) == barMemory && (n == 1 || n == 2 || n == 4) && off%uint64(max(n, 1)) == 0
	return off, int(n), ok
}

func (d *Device) windowRead(int, int) {
	off, size, ok := d.window()
	v := uint64(0)
	if ok {
		var err error
		if v, err = d.layout.Read(off, size); err != nil {
			v = devices.Ones(size)
		}
	}
	d.fn.SetConfig(d.pciCfg+16, 4, uint32(v))
}

func (d *Device) windowWritten(int, int) {
	if off, size, ok := d.window(); ok {
		// A write that the structure refuses is lost, as through the BAR.
		_ = d.layout.Write(off, size, uint64(d.fn.Config(d.pciCfg+16, 4))&devices.Ones(size))
	}
}

// readISR serves the ISR status, which is cleared by reading.
func (d *Device) readISR(off uint64, size int) (uint64, error) {
	if off != 0 {
		return 0, nil
	}
	return uint64(d.clearISR()), nil
}

// notify serves the notification area. The queue is known from the address.
func (d *Device) notify(off uint64, size int, _ uint64) error {
	if size != 2 && size != 4 {
		return devices.ErrSize
	}
	if off%notifyMultiplier != 0 {
		return devices.ErrAlign
	}
	if d.Active() {
		d.kick(int(off / notifyMultiplier))
	}
	return nil
}
