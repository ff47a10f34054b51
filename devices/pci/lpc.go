package pci

import (
	"dfemu/devices"
)

// Registers of the ICH9 LPC bridge (ICH9 data sheet, section 13.1).
const (
	lpcPMBASE   = 0x40 // 32 bits
	lpcACPICNTL = 0x44 // 8 bits
	lpcGPIOBASE = 0x48 // 32 bits
	lpcGC       = 0x4c // 8 bits
	lpcPIRQA    = 0x60 // 4 registers of 8 bits
	lpcSIRQCNTL = 0x64 // 8 bits
	lpcPIRQE    = 0x68 // 4 registers of 8 bits
	lpcIODEC    = 0x80 // 16 bits
	lpcEN       = 0x82 // 16 bits
	lpcGEN1DEC  = 0x84 // 4 registers of 32 bits
	lpcPMCON1   = 0xa0 // 16 bits
	lpcPMCON2   = 0xa2 // 8 bits
	lpcPMCON3   = 0xa4 // 8 bits
	lpcPMLOCK   = 0xa6 // 8 bits
	lpcFWHSEL1  = 0xd0 // 32 bits
	lpcFWHSEL2  = 0xd4 // 16 bits
	lpcFWHDEC   = 0xd8 // 16 bits
	lpcBIOSCNTL = 0xdc // 8 bits
	lpcRCBA     = 0xf0 // 32 bits

	acpiEnable = 1 << 7
	rcbaSize   = 16 << 10
)

// LPCConfig describes the LPC bridge. The functions may be nil; they are called
// with no lock held after the guest changed what they tell, and by Reset.
type LPCConfig struct {
	// PMBase is where the ACPI block is, enabled, after reset: a multiple of
	// 128. 0 leaves it to firmware.
	PMBase uint16
	// RCBA is where the chipset configuration registers are, enabled, after
	// reset: a multiple of 16 KiB. 0 leaves it to firmware.
	RCBA uint32
	// PM tells where the 128 ports of the ACPI power management block are, and
	// whether they are enabled.
	PM func(base uint16, on bool)
	// SCI tells the interrupt that the system control interrupt uses: 9, 10 or
	// 11 of the ISA interrupts, or global system interrupt 20 or 21.
	SCI func(irq int)
	// HPET tells where the event timers are, and whether they are enabled.
	HPET func(base uint64, on bool)
}

// LPC is the ISA bridge of the ICH9 (8086:2918), device 31 of bus 0: power
// management's place, and the routing of PCI interrupts.
type LPC struct {
	*Function
	c     LPCConfig
	host  *Host
	chip  chipset
	unmap func() // of the chipset configuration registers; guarded by Host.mu
}

// NewLPC returns the bridge and puts it at 00:1f.0.
func NewLPC(h *Host, c LPCConfig) (*LPC, error) {
	f := NewFunction("lpc", Identity{Vendor: 0x8086, Device: 0x2918, Revision: 2, Class: 0x060100,
		SubsystemVendor: 0x1af4, Subsystem: 0x1100})
	l := &LPC{Function: f, c: c, host: h}
	l.chip.l = l
	f.Preset(RegCommand, 2, CommandIO|CommandMemory|CommandMaster, CommandParity|CommandSERR)
	f.Preset(lpcPMBASE, 4, uint32(c.PMBase&0xff80)|1, 0xff80)
	acpi := uint32(0)
	if c.PMBase != 0 {
		acpi = acpiEnable
	}
	f.Preset(lpcACPICNTL, 1, acpi, 0x87)
	f.Preset(lpcGPIOBASE, 4, 1, 0xffc0)
	f.Preset(lpcGC, 1, 0, 0x11)
	for i := range 4 {
		f.Preset(lpcPIRQA+i, 1, pirqOff, 0x8f)
		f.Preset(lpcPIRQE+i, 1, pirqOff, 0x8f)
		f.Preset(lpcGEN1DEC+4*i, 4, 0, 0x00fcfffd)
	}
	f.Preset(lpcSIRQCNTL, 1, 0x10, 0xff)
	f.Preset(lpcIODEC, 2, 0, 0x1377)
	f.Preset(lpcEN, 2, 0, 0x3f0f)
	f.Preset(lpcPMCON1, 2, 0, 0x04bf)
	f.Preset(lpcPMCON2, 1, 0, 0xc8)
	f.Preset(lpcPMCON3, 1, 0, 0xf9)
	f.Preset(lpcPMLOCK, 1, 0, 0x06)
	f.Preset(lpcFWHSEL1, 4, 0x00112233, 0xffffffff)
	f.Preset(lpcFWHSEL2, 2, 0x4567, 0xffff)
	f.Preset(lpcFWHDEC, 2, 0xffcf, 0x7fff)
	f.Preset(lpcBIOSCNTL, 1, 0, 0x1f)
	rcba := c.RCBA & 0xffffc000
	if rcba != 0 {
		rcba |= 1
	}
	f.Preset(lpcRCBA, 4, rcba, 0xffffc001)

	f.HookConfig(lpcPMBASE, 5, ConfigHook{Written: func(int, int) { l.tellPM() }})
	pirq := func(int, int) { l.routePIC() }
	f.HookConfig(lpcPIRQA, 4, ConfigHook{Written: pirq})
	f.HookConfig(lpcPIRQE, 4, ConfigHook{Written: pirq})
	f.HookConfig(lpcRCBA, 4, ConfigHook{Written: func(int, int) { l.placeRCBA() }})
	f.OnReset(l.Reset)
	if err := h.Bus().Add(31, 0, f); err != nil {
		return nil, err
	}
	l.chip.reset()
	l.placeRCBA()
	return l, nil
}

// Reset puts the bridge into its power-on state.
func (l *LPC) Reset() {
	l.Function.Reset()
	l.chip.reset()
	l.chip.routeAll()
	l.routePIC()
	l.placeRCBA()
	l.tellPM()
	l.tellHPET()
}

// PM returns where the ACPI power management block is, and whether it is
// enabled.
func (l *LPC) PM() (base uint16, on bool) {
	base = uint16(l.Config(lpcPMBASE, 2)) & 0xff80
	return base, base != 0 && l.Config(lpcACPICNTL, 1)&acpiEnable != 0
}

// SCI returns the interrupt that the system control interrupt uses.
func (l *LPC) SCI() int {
	switch l.Config(lpcACPICNTL, 1) & 7 {
	case 1:
		return 10
	case 2:
		return 11
	case 4:
		return 20
	case 5:
		return 21
	}
	return 9
}

func (l *LPC) tellPM() {
	if l.c.PM != nil {
		l.c.PM(l.PM())
	}
	if l.c.SCI != nil {
		l.c.SCI(l.SCI())
	}
}

func (l *LPC) tellHPET() {
	if l.c.HPET != nil {
		l.c.HPET(l.HPET())
	}
}

func (l *LPC) routePIC() {
	for i := range 4 {
		l.host.router.setPIC(i, uint8(l.Config(lpcPIRQA+i, 1)))
		l.host.router.setPIC(4+i, uint8(l.Config(lpcPIRQE+i, 1)))
	}
}

func (l *LPC) placeRCBA() {
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	if l.unmap != nil {
		l.unmap()
		l.unmap = nil
	}
	v := uint64(l.Config(lpcRCBA, 4))
	base := v & 0xffffc000
	if v&1 == 0 || base == 0 {
		return
	}
	// A range of this size at a multiple of it is never refused.
	l.unmap, _ = l.host.env.MMIO.Map(devices.Mapping{
		Name: "lpc RCBA", Base: base, Size: rcbaSize, Priority: 1, Region: chipsetRegisters.Region(&l.chip),
	})
}
