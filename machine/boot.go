package machine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

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

// bootImage is what the machine starts with. A kernel and its RAM disk are read
// at each power-on and reset, and not kept between: they are in guest memory
// then, and the guest's own.
type bootImage struct {
	kernel, initrd *os.File // nil: not there
	packed         bool     // the kernel unpacks itself
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

// loadImages opens the files the machine is to start, and looks at what they are.
func (m *Machine) loadImages() error {
	m.boot = &bootImage{}
	b := m.boot
	if m.cfg.Firmware != "" {
		f, err := openImage(m.cfg.Firmware)
		if err != nil {
			return &FileError{"firmware", m.cfg.Firmware, err}
		}
		defer f.Close()
		image, err := readImage(f)
		if err != nil {
			return &FileError{"firmware", m.cfg.Firmware, err}
		}
		flash, err := boot.LoadFlash(image)
		if err != nil {
			return &FileError{"firmware", m.cfg.Firmware, err}
		}
		b.flash = &flash
		b.flashROM, err = m.mem.add(flash.Addr, uint64(len(flash.Image)), true)
		return err
	}
	var err error
	if b.kernel, err = openImage(m.cfg.Kernel); err != nil {
		return &FileError{"kernel", m.cfg.Kernel, err}
	}
	if m.cfg.Initrd != "" {
		if b.initrd, err = openImage(m.cfg.Initrd); err != nil {
			return &FileError{"initial RAM disk", m.cfg.Initrd, err}
		}
	}
	b.packed = !m.cfg.Unpack
	return nil
}

// close closes the files.
func (b *bootImage) close() (err error) {
	for _, f := range []*os.File{b.kernel, b.initrd} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// FileError says what is wrong with a file that the machine was given.
type FileError struct {
	What, Name string // what it was to be, and its name
	Err        error
}

// Error implements error.
func (e *FileError) Error() string {
	// Errors of package fs name the file themselves.
	var path *fs.PathError
	if errors.As(e.Err, &path) && path.Path == e.Name {
		return e.What + ": " + path.Error()
	}
	return e.What + " " + e.Name + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// maxFile bounds what is read into memory as a kernel or RAM disk.
const maxFile = 4 << 30

var errTooLarge = fmt.Errorf("is larger than %d GiB", maxFile>>30)

// openImage opens a file that is to be read into memory.
func openImage(name string) (*os.File, error) {
	// A FIFO must not make this wait for somebody to write to it.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	switch {
	case err != nil:
	case st.IsDir():
		err = errors.New("is a directory")
	case !st.Mode().IsRegular():
		err = errors.New("is not a regular file")
	case st.Size() == 0:
		err = errors.New("is empty")
	case st.Size() > maxFile:
		err = errTooLarge
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readImage reads the whole file; nil for none.
func readImage(f *os.File) ([]byte, error) {
	if f == nil {
		return nil, nil
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > maxFile {
		return nil, errTooLarge
	}
	p := make([]byte, st.Size())
	n, err := f.ReadAt(p, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return p[:n], nil
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
	// What is read here is garbage afterwards, and may be more than all the rest.
	defer debug.FreeOSMemory()
	b := m.boot
	kernel, err := readImage(b.kernel)
	if err != nil {
		return boot.Entry{}, &FileError{"kernel", m.cfg.Kernel, err}
	}
	kind, err := boot.Detect(kernel)
	if err != nil {
		return boot.Entry{}, &FileError{"kernel", m.cfg.Kernel, err}
	}
	if kind == boot.Linux && !b.packed {
		entry, err := m.loadKernel(kernel, boot.LoadPayload)
		if err == nil {
			return entry, nil
		}
		m.cfg.Logf("kernel %s: it is left to unpack itself: %v", m.cfg.Kernel, err)
		b.packed = true
	}
	entry, err := m.loadKernel(kernel, boot.Load)
	if err != nil {
		return entry, &FileError{"kernel", m.cfg.Kernel, err}
	}
	return entry, nil
}

// loadKernel fills memory, the kernel with one of the functions of package
// boot.
func (m *Machine) loadKernel(kernel []byte, load func([]byte, boot.Options, boot.Memory) (boot.Entry, error)) (boot.Entry, error) {
	if err := m.mem.zero(); err != nil {
		return boot.Entry{}, err
	}
	opt := boot.Options{
		Map:     m.pc.layout.Map,
		Cmdline: m.cfg.Cmdline,
		RNGSeed: make([]byte, 32),
		Zeroed:  true,
	}
	var err error
	if opt.Initrd, err = readImage(m.boot.initrd); err != nil {
		return boot.Entry{}, &FileError{"initial RAM disk", m.cfg.Initrd, err}
	}
	if _, err := rand.Read(opt.RNGSeed); err != nil {
		return boot.Entry{}, err
	}
	if err := m.placeTables(&opt); err != nil {
		return boot.Entry{}, err
	}
	return load(kernel, opt, &m.mem)
}

// placeTables writes the ACPI and SMBIOS tables and tells where they are.
func (m *Machine) placeTables(opt *boot.Options) error {
	tables, err := m.pc.acpi()
	if err != nil {
		return err
	}
	chunks, err := tables.PlaceLow()
	if err != nil {
		return err
	}
	for _, c := range chunks {
		if err := m.mem.Write(c.Addr, c.Data); err != nil {
			return err
		}
		if len(c.Data) >= acpi.RSDPSize && string(c.Data[:8]) == "RSD PTR " {
			opt.RSDP, opt.RSDPTable = c.Addr, c.Data[:acpi.RSDPSize]
		}
	}
	info, err := m.pc.smbios()
	if err != nil {
		return err
	}
	placed, err := info.Place(smbiosAnchor, smbiosTables)
	if err != nil {
		return err
	}
	for _, c := range placed {
		if err := m.mem.Write(c.Addr, c.Data); err != nil {
			return err
		}
	}
	return nil
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
			Routing:       acpi.Routing{PIRQ: p.host.Router().Route},
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
		c.PCI.RootPorts = append(c.PCI.RootPorts, acpi.RootPort{Device: firstRootPort, Function: uint8(i), Slot: uint16(i + 1)})
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
