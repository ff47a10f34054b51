package acpi

// MADT structure types (table 5.21).
const (
	madtLocalAPIC    = 0
	madtIOAPIC       = 1
	madtOverride     = 2
	madtLocalNMI     = 4
	madtLocalX2APIC  = 9
	madtLocalX2NMI   = 10
	madtPCATCompat   = 1
	cpuEnabled       = 1 << 0
	cpuOnlineCapable = 1 << 1
)

// MPS INTI flags (table 5.26).
const (
	intiActiveHigh = 1
	intiActiveLow  = 3
	intiEdge       = 1 << 2
	intiLevel      = 3 << 2
)

// madt is the Multiple APIC Description Table (section 5.2.12).
func (c *Config) madt() table {
	w := c.header("APIC", 5)
	w.u32(c.LAPICBase)
	if c.PCAT {
		w.u32(madtPCATCompat)
	} else {
		w.u32(0)
	}
	x2, xapic := false, false
	for uid, p := range c.CPUs {
		w.bytes(cpuEntry(uid, p))
		if needsX2(uid, p) {
			x2 = true
		} else {
			xapic = true
		}
	}
	for _, a := range c.IOAPICs {
		w.u8(madtIOAPIC, 12, a.ID, 0)
		w.u32(a.Addr)
		w.u32(a.GSIBase)
	}
	sci := Override{Source: c.PM.SCI, GSI: uint32(c.PM.SCI), Level: true, ActiveLow: c.PM.SCIActiveLow}
	for _, o := range c.Overrides {
		if o.Source == sci.Source {
			// The configuration has moved the SCI: that entry is the one.
			sci.GSI = o.GSI
			continue
		}
		w.override(o)
	}
	w.override(sci)
	if xapic {
		w.u8(madtLocalNMI, 6, 0xff)
		w.u16(0)
		w.u8(1)
	}
	if x2 {
		w.u8(madtLocalX2NMI, 12)
		w.u16(0)
		w.u32(0xffffffff)
		w.u8(1)
		w.zero(3)
	}
	return w.finish()
}

func (w *writer) override(o Override) {
	var flags uint16
	if o.Level || o.ActiveLow {
		flags = intiActiveHigh | intiEdge
		if o.ActiveLow {
			flags |= intiActiveLow
		}
		if o.Level {
			flags |= intiLevel
		}
	}
	w.u8(madtOverride, 10, 0, o.Source)
	w.u32(o.GSI)
	w.u16(flags)
}

// needsX2 says that a processor does not fit the local APIC structure: its ID
// and UID are a byte each there, and 255 is every processor.
func needsX2(uid int, p CPU) bool { return p.APICID >= 255 || uid >= 255 }

// cpuEntry is the MADT structure of a processor, which is also its _MAT.
func cpuEntry(uid int, p CPU) []byte {
	var flags uint32 = cpuEnabled
	if p.Absent {
		flags = cpuOnlineCapable
	}
	w := &writer{}
	if !needsX2(uid, p) {
		w.u8(madtLocalAPIC, 8, byte(uid), byte(p.APICID))
		w.u32(flags)
		return w.b
	}
	w.u8(madtLocalX2APIC, 16)
	w.u16(0)
	w.u32(p.APICID)
	w.u32(flags)
	w.u32(uint32(uid))
	return w.b
}
