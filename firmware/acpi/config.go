package acpi

import "fmt"

// Config is the machine as the tables are to describe it. Build checks it and
// does not keep it.
type Config struct {
	// OEMID and OEMTableID go into every table header; empty means "DFEMU ".
	// At most 6 and 8 ASCII characters.
	OEMID, OEMTableID string

	// CPUs are the processors; the first is the boot processor. The index is
	// the ACPI processor UID.
	CPUs []CPU
	// LAPICBase is the physical address of the local APICs; zero means
	// 0xFEE00000.
	LAPICBase uint32
	// IOAPICs are the I/O APICs.
	IOAPICs []IOAPIC
	// Overrides are the ISA interrupts that do not arrive at the global
	// system interrupt of the same number, edge-triggered and active high.
	// The SCI is added by Build.
	Overrides []Override
	// PCAT says that there are two 8259 interrupt controllers.
	PCAT bool

	// PM is the ACPI fixed hardware.
	PM PM
	// Power and Sleep are the two buttons.
	Power, Sleep Button

	// PCI is the host bridge; nil for a machine without PCI.
	PCI *PCI
	// ISA are the devices of the ISA bus.
	ISA ISA
	// VirtioMMIO are virtio devices on the memory-mapped transport.
	VirtioMMIO []VirtioMMIO
	// CPUHotplug is the processor hot-plug controller; nil for none.
	CPUHotplug *CPUHotplug

	// HPET is the physical address of the event timer block; zero for none.
	HPET uint32
	// Reserved are ranges of memory below 4 GiB, besides the ECAM, the APICs
	// and the HPET, that no device may be given.
	Reserved []Range
}

// CPU is one processor.
type CPU struct {
	// APICID is the local APIC identifier; 255 and above need x2APIC mode.
	APICID uint32
	// Absent says that the processor is not there at power-on, and may be
	// added.
	Absent bool
}

// IOAPIC is one I/O APIC.
type IOAPIC struct {
	// ID is its APIC identifier.
	ID uint8
	// Addr is its physical address.
	Addr uint32
	// GSIBase is the global system interrupt of its first pin.
	GSIBase uint32
}

// Override is one interrupt source override.
type Override struct {
	// Source is the ISA interrupt, 0 to 15.
	Source uint8
	// GSI is the global system interrupt at which it arrives.
	GSI uint32
	// Level and ActiveLow say how it is signalled; with neither, it is said
	// to conform to the bus.
	Level, ActiveLow bool
}

// PM is the ACPI fixed hardware: the register blocks of section 4.8.3.
type PM struct {
	// Base is the I/O port of the PM1a event block (4 ports), which the PM1a
	// control block follows at 4 (2 ports) and the 32-bit PM timer at 8 (4
	// ports).
	Base uint16
	// GPE0 is the I/O port of the general-purpose event block 0, and GPE0Len
	// its size in bytes, of which one half is status and one half enable.
	// Zero means Base + 0x20 and 16.
	GPE0    uint16
	GPE0Len uint8
	// SCI is the ISA interrupt and GSI of the system control interrupt; zero
	// means 9.
	SCI uint8
	// SCIActiveLow says that the SCI is active low; it is level-triggered in
	// any case.
	SCIActiveLow bool
	// SMICommand is the port to which Enable and Disable are written to enter
	// and leave ACPI mode. Zero says that the machine is always in ACPI mode.
	SMICommand      uint16
	Enable, Disable uint8
	// ResetPort and ResetValue are how the machine is reset; a zero port says
	// that it cannot be.
	ResetPort  uint16
	ResetValue uint8
	// S3 and S4 are the SLP_TYP values of two sleep states, nil for a state
	// that the machine does not have; S5 is that of soft off.
	S3, S4 *uint8
	S5     uint8
	// RTCCentury is the index of the century in the CMOS RAM; zero for none.
	RTCCentury uint8
	// No8042 says that there is no keyboard controller, and NoVGA that there
	// must be no probe for VGA.
	No8042, NoVGA bool
}

// ButtonKind says how a button is wired.
type ButtonKind uint8

// Button kinds.
const (
	// NoButton is a button that is not there.
	NoButton ButtonKind = iota
	// FixedButton is a bit of the PM1 event registers.
	FixedButton
	// GPEButton is a device which notifies through a general-purpose event.
	GPEButton
)

// Button is a power or sleep button.
type Button struct {
	Kind ButtonKind
	// GPE is the number of the general-purpose event of a GPEButton.
	GPE uint8
}

// Range is a range of physical addresses.
type Range struct {
	// Base is the first address, and Size how many bytes follow.
	Base, Size uint64
}

// PCI is a PCI Express host bridge, segment 0.
type PCI struct {
	// ECAM is the physical address of configuration space: 1 MiB for each of
	// the buses 0 to LastBus. Zero for a machine which has only ports 0xCF8
	// and 0xCFC.
	ECAM    uint64
	LastBus uint8
	// Windows32 and Windows64 are the memory which devices may decode, below
	// and above 4 GiB.
	Windows32, Windows64 []Range
	// VGA passes 0xA0000 to 0xBFFFF to the bus.
	VGA bool
	// IOBase is the first port of the window from there to 0xFFFF; zero means
	// 0xD00. Ports 0 to 0xCF7 are passed in any case.
	IOBase uint16
	// Routing says at which interrupt a function's pin arrives.
	Routing Routing
	// LPC is the device and function of the ISA bridge, which holds the PIRQ
	// routing registers; nil when there is none.
	LPC *LPC
	// RootPorts are bridges on bus 0 that are to have a name.
	RootPorts []RootPort
	// NativeHotplug lets the operating system control PCI Express hot-plug.
	NativeHotplug bool
	// BusCheckGPE is the number of a general-purpose event which makes the
	// operating system look for devices that came or went; zero for none.
	BusCheckGPE uint8
}

// Routing says where the interrupt pins of the functions of bus 0 arrive.
type Routing struct {
	// PIRQ returns the interrupt router's input, 0 to 7, for a device, 0 to
	// 31, and a pin, 0 (INTA#) to 3 (INTD#). Nil means [DefaultPIRQ].
	PIRQ func(device, pin int) int
	// GSI is the global system interrupt of each router input when I/O APICs
	// are in use. All zero means 16 to 23.
	GSI [8]uint32
	// Legacy are the ISA interrupts to which an input may be routed when the
	// 8259s are in use; empty means 5, 10 and 11.
	Legacy []uint8
}

// DefaultPIRQ spreads the pins of the devices over the eight inputs:
// (device + pin) mod 8.
func DefaultPIRQ(device, pin int) int { return (device + pin) & 7 }

// LPC is the ISA bridge on bus 0.
type LPC struct {
	Device, Function uint8
	// PIRQA and PIRQE are the offsets in its configuration space of the
	// routing registers of inputs 0 to 3 and 4 to 7, a byte each: the ISA
	// interrupt in bits 3:0, and bit 7 set when not routed. Zero means 0x60
	// and 0x68.
	PIRQA, PIRQE uint8
}

// RootPort is a PCI Express root port on bus 0.
type RootPort struct {
	Device, Function uint8
	// Slot is the physical slot number shown to the user.
	Slot uint16
}

// ISA are the devices of the ISA bus.
type ISA struct {
	// RTC, PIC, PIT, Speaker and DMA are at their usual addresses.
	RTC, PIC, PIT, Speaker, DMA bool
	// Keyboard and Mouse are behind the 8042.
	Keyboard, Mouse bool
	// COM are the serial ports.
	COM []COM
	// FwCfg is the first of 12 ports of the fw_cfg device; zero for none.
	FwCfg uint16
	// PVPanic is the port of the panic notifier; zero for none.
	PVPanic uint16
}

// COM is a 16550 serial port.
type COM struct {
	Base uint16
	IRQ  uint8
}

// VirtioMMIO is a virtio device on the memory-mapped transport.
type VirtioMMIO struct {
	Base, Size uint32
	GSI        uint32
}

// CPUHotplug is the processor hot-plug register block that QEMU specifies
// ("QEMU<->ACPI BIOS CPU hotplug interface"): 12 ports.
type CPUHotplug struct {
	Base uint16
	// GPE is the number of the general-purpose event that announces a change.
	GPE uint8
}

// MaxCPUs is the largest number of processors.
const MaxCPUs = 4096

// normalize checks c and returns a copy with the defaults filled in.
func (c Config) normalize() (Config, error) {
	def := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	c.OEMID, c.OEMTableID = def(c.OEMID, "DFEMU"), def(c.OEMTableID, "DFEMU")
	if !ascii(c.OEMID, 6) {
		return c, fmt.Errorf("acpi: OEMID %q is not at most 6 printable ASCII characters", c.OEMID)
	}
	if !ascii(c.OEMTableID, 8) {
		return c, fmt.Errorf("acpi: OEMTableID %q is not at most 8 printable ASCII characters", c.OEMTableID)
	}
	if c.LAPICBase == 0 {
		c.LAPICBase = 0xfee00000
	}
	if c.PM.GPE0 == 0 && c.PM.GPE0Len == 0 {
		c.PM.GPE0, c.PM.GPE0Len = c.PM.Base+0x20, 16
	}
	if c.PM.SCI == 0 {
		c.PM.SCI = 9
	}
	if err := c.checkCPUs(); err != nil {
		return c, err
	}
	if err := c.checkPM(); err != nil {
		return c, err
	}
	for _, o := range c.Overrides {
		if o.Source > 15 {
			return c, fmt.Errorf("acpi: override of interrupt %d: ISA interrupts are 0 to 15", o.Source)
		}
	}
	for _, r := range c.Reserved {
		if !r.within(0, 1<<32) {
			return c, fmt.Errorf("acpi: reserved range %v is not below 4 GiB", r)
		}
	}
	if n := len(c.ISA.COM); n > 9 {
		return c, fmt.Errorf("acpi: %d serial ports, at most 9", n)
	}
	for i, s := range c.ISA.COM {
		if s.IRQ > 15 {
			return c, fmt.Errorf("acpi: COM%d interrupt %d: ISA interrupts are 0 to 15", i+1, s.IRQ)
		}
	}
	if n := len(c.VirtioMMIO); n > 256 {
		return c, fmt.Errorf("acpi: %d virtio-mmio devices, at most 256", n)
	}
	if c.PCI != nil {
		p, err := c.PCI.normalize()
		if err != nil {
			return c, err
		}
		c.PCI = &p
	}
	return c, nil
}

func (c *Config) checkCPUs() error {
	if len(c.CPUs) < 1 || len(c.CPUs) > MaxCPUs {
		return fmt.Errorf("acpi: %d CPUs, must be 1 to %d", len(c.CPUs), MaxCPUs)
	}
	if c.CPUs[0].Absent {
		return fmt.Errorf("acpi: CPU 0 is the boot processor and cannot be absent")
	}
	seen := make(map[uint32]int, len(c.CPUs))
	for i, p := range c.CPUs {
		if j, ok := seen[p.APICID]; ok {
			return fmt.Errorf("acpi: CPUs %d and %d have the same APIC ID %d", j, i, p.APICID)
		}
		if p.APICID == 0xffffffff {
			return fmt.Errorf("acpi: CPU %d: APIC ID %#x is the broadcast", i, p.APICID)
		}
		seen[p.APICID] = i
	}
	return nil
}

func (c *Config) checkPM() error {
	pm := &c.PM
	if pm.Base == 0 || pm.Base > 0xfff4 {
		return fmt.Errorf("acpi: PM base %#x: 12 ports from there are not in 0x1 to 0xffff", pm.Base)
	}
	if pm.GPE0Len&1 != 0 || int(pm.GPE0)+int(pm.GPE0Len) > 0x10000 {
		return fmt.Errorf("acpi: GPE0 block of %d bytes at %#x: must be even and end below 0x10000", pm.GPE0Len, pm.GPE0)
	}
	if pm.SCI > 15 {
		return fmt.Errorf("acpi: SCI %d: ISA interrupts are 0 to 15", pm.SCI)
	}
	for _, s := range []struct {
		name string
		v    *uint8
	}{{"S3", pm.S3}, {"S4", pm.S4}, {"S5", &pm.S5}} {
		if s.v != nil && *s.v > 7 {
			return fmt.Errorf("acpi: SLP_TYP %d for %s has more than 3 bits", *s.v, s.name)
		}
	}
	used := map[uint8]string{}
	gpe := func(name string, n uint8) error {
		if int(n) >= int(pm.GPE0Len)*4 {
			return fmt.Errorf("acpi: %s GPE %d is outside the GPE0 block, which has %d", name, n, int(pm.GPE0Len)*4)
		}
		if other, ok := used[n]; ok {
			return fmt.Errorf("acpi: %s and %s have the same GPE %d", other, name, n)
		}
		used[n] = name
		return nil
	}
	for _, b := range []struct {
		name string
		b    Button
	}{{"power button", c.Power}, {"sleep button", c.Sleep}} {
		if b.b.Kind > GPEButton {
			return fmt.Errorf("acpi: %s: no such kind %d", b.name, b.b.Kind)
		}
		if b.b.Kind == GPEButton {
			if err := gpe(b.name, b.b.GPE); err != nil {
				return err
			}
		}
	}
	if c.CPUHotplug != nil {
		if err := gpe("CPU hot-plug", c.CPUHotplug.GPE); err != nil {
			return err
		}
	}
	if c.PCI != nil && c.PCI.BusCheckGPE != 0 {
		return gpe("PCI bus check", c.PCI.BusCheckGPE)
	}
	return nil
}

func (p PCI) normalize() (PCI, error) {
	if p.IOBase == 0 {
		p.IOBase = 0xd00
	}
	if p.IOBase < 0xd00 {
		return p, fmt.Errorf("acpi: PCI I/O window from %#x overlaps 0 to 0xcff", p.IOBase)
	}
	size := (uint64(p.LastBus) + 1) << 20
	if p.ECAM != 0 && (p.ECAM&(1<<20-1) != 0 || p.ECAM+size < p.ECAM) {
		return p, fmt.Errorf("acpi: ECAM base %#x is not 1 MiB aligned or wraps", p.ECAM)
	}
	for _, w := range p.Windows32 {
		if !w.within(0, 1<<32) {
			return p, fmt.Errorf("acpi: 32-bit PCI window %v is not below 4 GiB", w)
		}
	}
	for _, w := range p.Windows64 {
		if !w.within(1<<32, 1<<57) {
			return p, fmt.Errorf("acpi: 64-bit PCI window %v is not between 4 GiB and 2^57", w)
		}
	}
	if p.Routing.PIRQ == nil {
		p.Routing.PIRQ = DefaultPIRQ
	}
	if p.Routing.GSI == [8]uint32{} {
		p.Routing.GSI = [8]uint32{16, 17, 18, 19, 20, 21, 22, 23}
	}
	if len(p.Routing.Legacy) == 0 {
		p.Routing.Legacy = []uint8{5, 10, 11}
	}
	for d := 0; d < 32; d++ {
		for pin := 0; pin < 4; pin++ {
			if n := p.Routing.PIRQ(d, pin); n < 0 || n > 7 {
				return p, fmt.Errorf("acpi: PIRQ(%d, %d) is %d, must be 0 to 7", d, pin, n)
			}
		}
	}
	for _, n := range p.Routing.Legacy {
		if n > 15 {
			return p, fmt.Errorf("acpi: legacy PCI interrupt %d: ISA interrupts are 0 to 15", n)
		}
	}
	if p.LPC != nil {
		l := *p.LPC
		if l.PIRQA == 0 && l.PIRQE == 0 {
			l.PIRQA, l.PIRQE = 0x60, 0x68
		}
		if l.Device > 31 || l.Function > 7 {
			return p, fmt.Errorf("acpi: LPC bridge %d.%d: no such function", l.Device, l.Function)
		}
		if l.PIRQA > 0xfc || l.PIRQE > 0xfc || l.PIRQA < l.PIRQE+4 && l.PIRQE < l.PIRQA+4 {
			return p, fmt.Errorf("acpi: LPC routing registers at %#x and %#x overlap or pass 0xff", l.PIRQA, l.PIRQE)
		}
		p.LPC = &l
	}
	if len(p.RootPorts) > 255 {
		return p, fmt.Errorf("acpi: %d root ports, at most 255", len(p.RootPorts))
	}
	used := map[[2]uint8]bool{}
	if p.LPC != nil {
		used[[2]uint8{p.LPC.Device, p.LPC.Function}] = true
	}
	for _, r := range p.RootPorts {
		at := [2]uint8{r.Device, r.Function}
		if r.Device > 31 || r.Function > 7 || used[at] {
			return p, fmt.Errorf("acpi: root port %d.%d: no such function or already taken", r.Device, r.Function)
		}
		used[at] = true
	}
	return p, nil
}

// within reports whether r is not empty and lies in [lo, hi).
func (r Range) within(lo, hi uint64) bool {
	return r.Size != 0 && r.Base >= lo && r.Base < hi && r.Size <= hi-r.Base
}

// String gives the range as its first and last address.
func (r Range) String() string { return fmt.Sprintf("%#x-%#x", r.Base, r.Base+r.Size-1) }

func ascii(s string, max int) bool {
	if len(s) > max {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
