package machine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"dfemu/cpu/x86"
	"dfemu/devices/chipset/fwcfg"
	"dfemu/devices/chipset/hpet"
	"dfemu/devices/chipset/ioapic"
	"dfemu/devices/chipset/pm"
	"dfemu/devices/chipset/pvpanic"
	"dfemu/devices/chipset/reset"
	"dfemu/firmware/acpi"
	"dfemu/firmware/boot"
	"dfemu/firmware/smbios"
)

// bootImage is what the machine starts with, read once and put into memory at each
// power-on and reset.
type bootImage struct {
	kernel, initrd []byte
	vmlinux        []byte // the kernel's payload, if it is unpacked on the host
	flash          *boot.Flash
	flashROM       []byte      // the flash's memory
	cold           []x86.State // each processor after power-on
}

// smbiosArea is where the SMBIOS structures lie in a machine without
// firmware; their entry point is at its end. The ACPI tables are above.
const (
	smbiosAnchor = 0xf0000
	smbiosTables = 0xf0100
)

// loadImages reads the files the machine is to start.
func (m *Machine) loadImages() error {
	m.boot = &bootImage{}
	b := m.boot
	var err error
	if m.cfg.Firmware != "" {
		image, err := readFile(m.cfg.Firmware)
		if err != nil {
			return fmt.Errorf("firmware: %w", err)
		}
		flash, err := boot.LoadFlash(image)
		if err != nil {
			return fmt.Errorf("firmware %s: %w", m.cfg.Firmware, err)
		}
		b.flash = &flash
		b.flashROM, err = m.mem.add(flash.Addr, uint64(len(flash.Image)), true)
		return err
	}
	if b.kernel, err = readFile(m.cfg.Kernel); err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	kind, err := boot.Detect(b.kernel)
	if err != nil {
		return fmt.Errorf("kernel %s: %w", m.cfg.Kernel, err)
	}
	if kind == boot.Linux && m.cfg.Unpack {
		if b.vmlinux, err = boot.Payload(b.kernel); err != nil {
			m.cfg.Logf("kernel %s: its payload stays packed: %v", m.cfg.Kernel, err)
			b.vmlinux = nil
		}
	}
	if m.cfg.Initrd != "" {
		if b.initrd, err = readFile(m.cfg.Initrd); err != nil {
			return fmt.Errorf("initial RAM disk: %w", err)
		}
	}
	return nil
}

// maxFile bounds what is read into memory as a kernel or RAM disk.
const maxFile = 4 << 30

func readFile(name string) ([]byte, error) {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		return nil, fmt.Errorf("%s is a directory", name)
	case st.Size() > maxFile:
		return nil, fmt.Errorf("%s is larger than %d GiB", name, maxFile>>30)
	}
	return os.ReadFile(name)
}

// powerOn puts memory and processors into the state in which the guest starts.
func (m *Machine) powerOn() error {
	b := m.boot
	if b.cold == nil {
		b.cold = make([]x86.State, m.cfg.CPUs)
		for i := range b.cold {
			if err := m.acc.VCPU(i).State(&b.cold[i]); err != nil {
				return err
			}
		}
	}
	var entry boot.Entry
	var err error
	if b.flash != nil {
		entry, err = m.startFirmware()
	} else {
		entry, err = m.startKernel()
	}
	if err != nil {
		return err
	}
	for i := range m.mem.slots {
		s := &m.mem.slots[i]
		m.acc.Invalidate(s.GPA, uint64(len(s.Data)))
	}
	for i := range b.cold {
		s := b.cold[i]
		if i == 0 && b.flash == nil {
			enter(&s, &entry)
		}
		if err := m.acc.VCPU(i).SetState(&s); err != nil {
			return fmt.Errorf("cpu%d: %w", i, err)
		}
	}
	return nil
}

// startFirmware puts the flash in place and tells it about the machine.
func (m *Machine) startFirmware() (boot.Entry, error) {
	f := m.boot.flash
	copy(m.boot.flashROM, f.Image)
	if err := m.mem.Write(f.ShadowAddr, f.Shadow); err != nil {
		return boot.Entry{}, err
	}
	return boot.ResetEntry(), m.pc.describe()
}

// startKernel writes the kernel, what goes with it, and the tables that
// firmware would have made.
func (m *Machine) startKernel() (boot.Entry, error) {
	b := m.boot
	if err := m.mem.zero(); err != nil {
		return boot.Entry{}, err
	}
	tables, err := m.pc.acpi()
	if err != nil {
		return boot.Entry{}, err
	}
	chunks, err := tables.PlaceLow()
	if err != nil {
		return boot.Entry{}, err
	}
	opt := boot.Options{
		Map:     m.pc.layout.Map,
		Cmdline: m.cfg.Cmdline,
		Initrd:  b.initrd,
		RNGSeed: make([]byte, 32),
		Zeroed:  true,
	}
	if _, err := rand.Read(opt.RNGSeed); err != nil {
		return boot.Entry{}, err
	}
	for _, c := range chunks {
		if err := m.mem.Write(c.Addr, c.Data); err != nil {
			return boot.Entry{}, err
		}
		if len(c.Data) >= acpi.RSDPSize && string(c.Data[:8]) == "RSD PTR " {
			opt.RSDP, opt.RSDPTable = c.Addr, c.Data[:acpi.RSDPSize]
		}
	}
	info, err := m.pc.smbios()
	if err != nil {
		return boot.Entry{}, err
	}
	placed, err := info.Place(smbiosAnchor, smbiosTables)
	if err != nil {
		return boot.Entry{}, err
	}
	for _, c := range placed {
		if err := m.mem.Write(c.Addr, c.Data); err != nil {
			return boot.Entry{}, err
		}
	}
	var entry boot.Entry
	if b.vmlinux != nil {
		entry, err = boot.LoadVMLinux(b.kernel, b.vmlinux, opt, &m.mem)
	} else {
		entry, err = boot.Load(b.kernel, opt, &m.mem)
	}
	if err != nil {
		return entry, fmt.Errorf("kernel %s: %w", m.cfg.Kernel, err)
	}
	return entry, nil
}

// acpi describes the machine in ACPI tables.
func (p *pc) acpi() (*acpi.Tables, error) {
	c := acpi.Config{
		IOAPICs:   []acpi.IOAPIC{{ID: 0, Addr: ioapic.Base}},
		Overrides: []acpi.Override{{Source: 0, GSI: 2}},
		PCAT:      true,
		PM: acpi.PM{
			Base: pm.DefaultBase, GPE0: pm.DefaultBase + pm.GPE0, GPE0Len: pm.GPE0Len,
			SCI: pm.SCIInterruptGSI, ResetPort: reset.ControlPort, ResetValue: reset.ControlHard,
			SMICommand: pm.APMPort, Enable: pm.CmdACPIEnable, Disable: pm.CmdACPIDisable,
			S5: pm.SleepS5, RTCCentury: 0x32, NoVGA: true,
		},
		Power: acpi.Button{Kind: acpi.FixedButton},
		Sleep: acpi.Button{Kind: acpi.FixedButton},
		PCI: &acpi.PCI{
			ECAM: ecamBase, LastBus: 255,
			LPC:           &acpi.LPC{Device: 0x1f},
			NativeHotplug: true,
		},
		ISA: acpi.ISA{
			RTC: true, PIC: true, PIT: true, Speaker: true, DMA: true, Keyboard: true,
			FwCfg: 0x510, PVPanic: pvpanic.Port,
		},
		HPET: hpet.Base,
	}
	if p.m.cfg.Firmware != "" {
		c.PM.SMICommand = pm.APMPort
	}
	for i := range p.m.cfg.CPUs {
		c.CPUs = append(c.CPUs, acpi.CPU{APICID: uint32(i)})
	}
	for _, w := range p.layout.Windows32 {
		c.PCI.Windows32 = append(c.PCI.Windows32, acpi.Range{Base: w.Addr, Size: w.Size})
	}
	if w := p.layout.Window64; w.Size > 0 {
		c.PCI.Windows64 = append(c.PCI.Windows64, acpi.Range{Base: w.Addr, Size: w.Size})
	}
	for i := range p.slots {
		c.PCI.RootPorts = append(c.PCI.RootPorts, acpi.RootPort{Device: 0x1c, Function: uint8(i), Slot: uint16(i + 1)})
	}
	for _, port := range comPorts {
		c.ISA.COM = append(c.ISA.COM, acpi.COM{Base: port.base, IRQ: uint8(port.irq)})
	}
	return acpi.Build(c)
}

// smbios describes the machine to its administrators.
func (p *pc) smbios() (*smbios.Tables, error) {
	c := smbios.Config{
		FirmwareVendor: "dfemu", FirmwareVersion: "1", FirmwareDate: "01/01/2026",
		Manufacturer: "dfemu", Product: "Q35", Version: "1",
		CPU: smbios.CPU{Sockets: 1, Cores: p.m.cfg.CPUs, Threads: p.m.cfg.CPUs, Manufacturer: "dfemu", Version: "x86-64-v3"},
	}
	for _, b := range p.layout.Banks {
		c.RAM = append(c.RAM, smbios.Range{Addr: b.Addr, Size: b.Size})
	}
	return smbios.Build(c)
}

// describe tells the firmware about the machine through fw_cfg and CMOS.
func (p *pc) describe() error {
	if p.described {
		p.cmosMemory()
		return nil
	}
	tables, err := p.acpi()
	if err != nil {
		return err
	}
	info, err := p.smbios()
	if err != nil {
		return err
	}
	files, err := info.FwCfg(false)
	if err != nil {
		return err
	}
	for _, f := range files {
		err = errors.Join(err, p.fwcfg.AddFile(f.Name, f.Data))
	}
	for _, f := range tables.Loader() {
		err = errors.Join(err, p.fwcfg.AddFile(f.Name, f.Data))
	}
	err = errors.Join(err, p.fwcfg.AddFile("etc/e820", encodeMap(p.layout.FirmwareMap())))
	p.fwcfg.AddU16(fwcfg.NumCPUs, uint16(p.m.cfg.CPUs))
	p.fwcfg.AddU16(fwcfg.MaxCPUs, uint16(p.m.cfg.CPUs))
	p.fwcfg.AddU64(fwcfg.RAMSize, p.m.cfg.Memory)
	p.fwcfg.AddU16(fwcfg.NoGraphic, 1)
	p.described = true
	p.cmosMemory()
	return err
}
