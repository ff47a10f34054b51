package acpi

// FADT flags (table 5.10).
const (
	fadtWBINVD       = 1 << 0
	fadtProcC1       = 1 << 2
	fadtPowerButton  = 1 << 4
	fadtSleepButton  = 1 << 5
	fadtRTCS4        = 1 << 7
	fadtTimerExt     = 1 << 8
	fadtResetReg     = 1 << 10
	fadtPlatClock    = 1 << 15
	fadtAPICPhysical = 1 << 19
)

// IAPC_BOOT_ARCH flags (table 5.11).
const (
	archLegacyDevices = 1 << 0
	arch8042          = 1 << 1
	archNoVGA         = 1 << 2
	archNoASPM        = 1 << 4
	archNoCMOSRTC     = 1 << 5
)

// fadt is the Fixed ACPI Description Table, revision 6.3 (section 5.2.9).
func (c *Config) fadt(facs, dsdt int) table {
	pm := &c.PM
	w := c.header("FACP", 6)
	w.ptr(4, facs)
	w.ptr(4, dsdt)
	w.u8(0)               // reserved, INT_MODEL in ACPI 1.0
	w.u8(profileDesktop)  // Preferred_PM_Profile
	w.u16(uint16(pm.SCI)) // SCI_INT
	w.u32(uint32(pm.SMICommand))
	w.u8(pm.Enable, pm.Disable)
	w.u8(0, 0)             // S4BIOS_REQ, PSTATE_CNT
	w.u32(uint32(pm.Base)) // PM1a_EVT_BLK
	w.u32(0)               // PM1b_EVT_BLK
	w.u32(uint32(pm.Base) + 4)
	w.u32(0) // PM1b_CNT_BLK
	w.u32(0) // PM2_CNT_BLK
	w.u32(uint32(pm.Base) + 8)
	gpe0 := uint32(pm.GPE0)
	if pm.GPE0Len == 0 {
		gpe0 = 0
	}
	w.u32(gpe0)
	w.u32(0)               // GPE1_BLK
	w.u8(4, 2, 0, 4)       // PM1_EVT_LEN, PM1_CNT_LEN, PM2_CNT_LEN, PM_TMR_LEN
	w.u8(pm.GPE0Len, 0, 0) // GPE0_BLK_LEN, GPE1_BLK_LEN, GPE1_BASE
	w.u8(0)                // CST_CNT
	w.u16(noC2Latency)
	w.u16(noC3Latency)
	w.u16(0)   // FLUSH_SIZE
	w.u16(0)   // FLUSH_STRIDE
	w.u8(0, 0) // DUTY_OFFSET, DUTY_WIDTH
	w.u8(0, 0) // DAY_ALRM, MON_ALRM
	w.u8(pm.RTCCentury)
	w.u16(c.bootArch())
	w.u8(0)
	w.u32(c.fadtFlags())
	w.gas(pm.ResetPort, 8, 1)
	w.u8(pm.ResetValue)
	w.u16(0) // ARM_BOOT_ARCH
	w.u8(3)  // FADT minor version
	w.u64(0) // X_FIRMWARE_CTRL: FIRMWARE_CTRL is used
	w.ptr(8, dsdt)
	w.gas(pm.Base, 32, 2) // X_PM1a_EVT_BLK
	w.zero(12)
	w.gas(pm.Base+4, 16, 2) // X_PM1a_CNT_BLK
	w.zero(12)
	w.zero(12)              // X_PM2_CNT_BLK
	w.gas(pm.Base+8, 32, 3) // X_PM_TMR_BLK
	if gpe0 != 0 && pm.GPE0Len < 32 {
		w.gas(pm.GPE0, pm.GPE0Len*8, 1)
	} else {
		// A width of 256 bits and more has no encoding: GPE0_BLK stands.
		w.zero(12)
	}
	w.zero(12) // X_GPE1_BLK
	w.zero(12) // SLEEP_CONTROL_REG
	w.zero(12) // SLEEP_STATUS_REG
	w.zero(8)  // hypervisor vendor identity
	return w.finish()
}

const (
	profileDesktop = 1
	// Latencies above 100 and 1000 µs say that there is no C2 and no C3.
	noC2Latency = 0x0fff
	noC3Latency = 0x0fff
)

func (c *Config) bootArch() uint16 {
	// There are no links whose power could be managed.
	v := uint16(archNoASPM)
	if c.ISA.PIC || c.ISA.Keyboard || len(c.ISA.COM) > 0 {
		v |= archLegacyDevices
	}
	if !c.PM.No8042 {
		v |= arch8042
	}
	if c.PM.NoVGA {
		v |= archNoVGA
	}
	if !c.ISA.RTC {
		v |= archNoCMOSRTC
	}
	return v
}

func (c *Config) fadtFlags() uint32 {
	// The flag of a button says that it is not fixed hardware.
	v := uint32(fadtWBINVD | fadtProcC1 | fadtTimerExt)
	if c.Power.Kind != FixedButton {
		v |= fadtPowerButton
	}
	if c.Sleep.Kind != FixedButton {
		v |= fadtSleepButton
	}
	if c.PM.S4 != nil {
		v |= fadtRTCS4
	}
	if c.PM.ResetPort != 0 {
		v |= fadtResetReg
	}
	if c.HPET != 0 {
		v |= fadtPlatClock
	}
	// In logical flat mode there are eight destinations.
	if len(c.CPUs) > 8 {
		v |= fadtAPICPhysical
	}
	return v
}

// facs is the Firmware ACPI Control Structure, version 2 (section 5.2.10). It
// has no checksum and lies on a multiple of 64.
func facs() table {
	w := &writer{sig: "FACS"}
	w.str("FACS", 4)
	w.u32(64)
	w.zero(24)
	w.u8(2)
	w.zero(31)
	return table{sig: "FACS", data: w.b, align: 64}
}

// mcfg is the PCI Express memory-mapped configuration space table (PCI
// Firmware Specification 3.2, section 4.1.2).
func (c *Config) mcfg() table {
	w := c.header("MCFG", 1)
	w.zero(8)
	w.u64(c.PCI.ECAM)
	w.u16(0)
	w.u8(0, c.PCI.LastBus)
	w.zero(4)
	return w.finish()
}

// hpet is the event timer table (IA-PC HPET Specification 1.0a, section 3.2.4).
func (c *Config) hpet() table {
	w := c.header("HPET", 1)
	w.u32(0x8086a201) // Intel, legacy replacement, 64 bits, 3 comparators
	w.u8(0, 64, 0, 0) // memory, 64 bits wide
	w.u64(uint64(c.HPET))
	w.u8(0)
	w.u16(100) // the shortest period in ticks that loses no interrupt
	w.u8(0)
	return w.finish()
}
