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

// naturalWidth is the clause by which a driver accesses fields of the structures at their own width.
const naturalWidth = "virtio 1.2, 4.1.3.1"

// isrRegisters is the ISR status (section 4.1.4.5). The structure ends there; a driver may read more bytes at once.
var isrRegisters = devices.NewBank("virtio ISR", []devices.Register{
	{Offset: 0, Size: 4, Name: "ISR_status", Rights: devices.RO, Fields: []devices.Field{{Name: "queue", Lo: 0, Hi: 0}, {Name: "configuration", Lo: 1, Hi: 1}}},
}).With(devices.Rules{Clause: "virtio 1.2, 4.1.4.5"})

// notifyRegisters are the notification addresses of n queues (section 4.1.4.4).
func notifyRegisters(n int) *devices.Bank {
	return devices.NewBank("virtio notify", []devices.Register{
		{Offset: 0, Size: notifyMultiplier, Name: "queue_notify", Rights: devices.WO, Count: n, Stride: notifyMultiplier, Doorbell: true},
	}).With(devices.Rules{Clause: "virtio 1.2, 4.1.4.4"})
}

// describe gives the function its BARs and capabilities.
func (d *Device) describe() {
	f := d.fn
	f.OnReset(d.Reset)
	f.OnBusMaster(func(on bool) {
		if on {
			d.kickAll()
		}
	})
	watched := func(b *devices.Bank, r devices.Region) devices.Region { return devices.WatchRegion(f.Probe(), b, r) }
	d.layout = pci.Layout{
		{Off: offCommon, Size: commonSize, Region: watched(commonRegisters, commonRegisters.Region(d))},
		{Off: offISR, Size: 4, Region: watched(isrRegisters, devices.RegionFuncs{ReadFunc: d.readISR})},
		{
			Off: offNotify, Size: notifyMultiplier * uint64(len(d.queues)),
			Region: watched(notifyRegisters(len(d.queues)), devices.RegionFuncs{WriteFunc: d.notify}),
		},
	}
	if d.c.Region != nil {
		b := d.c.Registers
		if b != nil {
			b = b.With(devices.Rules{Clause: b.Rules.Clause, Natural: naturalWidth})
		}
		d.layout = append(d.layout, pci.Part{Off: offDevice, Size: d.c.Size, Region: watched(b, d.c.Region)})
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
	at := d.fn.AddCapability(pci.CapVendor, append(b, more...), nil)
	d.nameCapability(uint64(at), capNames[kind], len(more) != 0)
	return at
}

// capNames are the kinds of structures.
var capNames = map[uint8]string{capCommon: "COMMON", capNotify: "NOTIFY", capISR: "ISR", capDevice: "DEVICE", capPCI: "PCI"}

// nameCapability names the fields of a virtio_pci_cap structure at an offset of configuration space.
func (d *Device) nameCapability(at uint64, kind string, more bool) {
	for _, f := range []struct {
		off  uint64
		size int
		name string
	}{
		{0, 1, "cap_vndr"}, {1, 1, "cap_next"}, {2, 1, "cap_len"}, {3, 1, "cfg_type"}, {4, 1, "bar"}, {5, 1, "id"}, {8, 4, "offset"}, {12, 4, "length"},
	} {
		d.fn.NameConfig(devices.Register{Offset: at + f.off, Size: f.size, Name: kind + "_CFG." + f.name})
	}
	if more {
		name := map[string]string{"NOTIFY": "notify_off_multiplier", "PCI": "pci_cfg_data"}[kind]
		d.fn.NameConfig(devices.Register{Offset: at + 16, Size: 4, Name: kind + "_CFG." + name})
	}
}

// window returns what the configuration access capability points at (section
// 4.1.4.9).
func (d *Device) window() (off uint64, size int, ok bool) {
	f := d.fn
	off = uint64(f.Config(d.pciCfg+8, 4))
	n := f.Config(d.pciCfg+12, 4)
	bar := f.Config(d.pciCfg+4, 1)
	ok = bar == barMemory && (n == 1 || n == 2 || n == 4) && off%uint64(max(n, 1)) == 0
	if !ok {
		d.checkWindow(off, int(n), bar)
	}
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
	if d.fn.Mode() == pci.ModeMSIX {
		d.Misuse(-1, "4.1.4.5.2", "the ISR status is read while MSI-X is enabled")
	}
	return uint64(d.clearISR()), nil
}

// notify serves the notification area. The queue is known from the address.
func (d *Device) notify(off uint64, size int, v uint64) error {
	if size != 2 && size != 4 {
		return devices.ErrSize
	}
	if off%notifyMultiplier != 0 {
		return devices.ErrAlign
	}
	d.checkNotify(int(off/notifyMultiplier), size, v)
	if d.Active() {
		d.kick(int(off / notifyMultiplier))
	}
	return nil
}
