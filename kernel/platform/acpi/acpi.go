// Package acpi reads the static ACPI tables (ACPI 6.5, chapter 5) as far as a kernel needs
// them to find processors, interrupt controllers and the power switch. It does not
// allocate, so that it can run before the Go runtime does.
package acpi

import "encoding/binary"

// Limits of an Info.
const (
	MaxCPUs    = 256
	MaxIOAPICs = 8
	MaxECAMs   = 8
	isaIRQs    = 16

	maxTable = 1 << 20
)

// Memory returns n bytes of physical memory.
type Memory func(addr uint64, n int) []byte

// Info is what the tables say.
type Info struct {
	OEM [6]byte // who made the tables

	CPUs  [MaxCPUs]uint32 // local APIC IDs of usable processors
	NCPUs int

	IOAPICs  [MaxIOAPICs]IOAPIC
	NIOAPICs int
	// ISA says how the ISA interrupts are wired.
	ISA [isaIRQs]ISA

	ECAMs  [MaxECAMs]ECAM
	NECAMs int

	LocalAPIC uint64
	HPET      uint64 // 0 for none

	PM1aControl, PM1bControl uint16 // ports; 0 for none
	PM1aEvent                uint16
	PMTimer                  uint16
	SMICommand               uint16
	Enable                   uint8
	SCI                      uint16
	ResetPort                uint16 // 0 for none
	ResetValue               uint8
	// S5a and S5b are the sleep types of soft off, if HasS5.
	S5a, S5b uint8
	HasS5    bool
}

// IOAPIC is an I/O APIC.
type IOAPIC struct {
	ID   uint8
	Addr uint64
	GSI  uint32 // its first interrupt
}

// ISA is the global system interrupt of an ISA interrupt.
type ISA struct {
	GSI       uint32
	Level     bool
	ActiveLow bool
}

// ECAM is PCI configuration space in memory.
type ECAM struct {
	Base              uint64
	Segment           uint16
	FirstBus, LastBus uint8
}

var le = binary.LittleEndian

// Find returns the address of the root pointer: hint if it is one, or where section
// 5.2.5.1 says. It returns 0 if there is none.
func Find(mem Memory, hint uint64) uint64 {
	if hint != 0 && isRoot(mem(hint, 20)) {
		return hint
	}
	ebda := uint64(le.Uint16(mem(0x40e, 2))) << 4
	if ebda >= 0x80000 && ebda < 0xa0000 {
		for a := ebda; a < ebda+1024; a += 16 {
			if isRoot(mem(a, 20)) {
				return a
			}
		}
	}
	for a := uint64(0xe0000); a < 0x100000; a += 16 {
		if isRoot(mem(a, 20)) {
			return a
		}
	}
	return 0
}

func isRoot(b []byte) bool { return string(b[:8]) == "RSD PTR " && sum(b) == 0 }

func sum(b []byte) (s byte) {
	for _, v := range b {
		s += v
	}
	return s
}

// Parse fills i from the tables below the root pointer at rsdp. It returns false if they are
// not there or damaged at the root.
func (i *Info) Parse(mem Memory, rsdp uint64) bool {
	for n := range i.ISA {
		i.ISA[n] = ISA{GSI: uint32(n)}
	}
	root := mem(rsdp, 36)
	copy(i.OEM[:], root[9:15])
	addr, entry, sig := uint64(le.Uint32(root[16:])), 4, "RSDT"
	if root[15] >= 2 && le.Uint64(root[24:]) != 0 {
		addr, entry, sig = le.Uint64(root[24:]), 8, "XSDT"
	}
	t := table(mem, addr)
	if t == nil || string(t[:4]) != sig {
		return false
	}
	for b := t[36:]; len(b) >= entry; b = b[entry:] {
		a := uint64(le.Uint32(b))
		if entry == 8 {
			a = le.Uint64(b)
		}
		i.table(mem, table(mem, a))
	}
	return true
}

// table returns a whole table, or nil if it is damaged.
func table(mem Memory, addr uint64) []byte {
	if addr == 0 {
		return nil
	}
	n := le.Uint32(mem(addr, 36)[4:])
	if n < 36 || n > maxTable {
		return nil
	}
	t := mem(addr, int(n))
	if sum(t) != 0 {
		return nil
	}
	return t
}

func (i *Info) table(mem Memory, t []byte) {
	if t == nil {
		return
	}
	switch string(t[:4]) {
	case "APIC":
		i.madt(t)
	case "FACP":
		i.fadt(mem, t)
	case "MCFG":
		i.mcfg(t)
	case "HPET":
		if len(t) >= 52 {
			i.HPET = le.Uint64(t[44:])
		}
	case "SSDT":
		i.findS5(t)
	}
}

// madt reads the Multiple APIC Description Table (section 5.2.12).
func (i *Info) madt(t []byte) {
	if len(t) < 44 {
		return
	}
	i.LocalAPIC = uint64(le.Uint32(t[36:]))
	for b := t[44:]; len(b) >= 2; {
		n := int(b[1])
		if n < 2 || n > len(b) {
			return
		}
		e := b[:n]
		b = b[n:]
		switch {
		case e[0] == 0 && n >= 8 && le.Uint32(e[4:])&3 != 0:
			if le.Uint32(e[4:])&1 != 0 {
				i.addCPU(uint32(e[3]))
			}
		case e[0] == 9 && n >= 16 && le.Uint32(e[8:])&1 != 0:
			i.addCPU(le.Uint32(e[4:]))
		case e[0] == 1 && n >= 12 && i.NIOAPICs < MaxIOAPICs:
			i.IOAPICs[i.NIOAPICs] = IOAPIC{ID: e[2], Addr: uint64(le.Uint32(e[4:])), GSI: le.Uint32(e[8:])}
			i.NIOAPICs++
		case e[0] == 2 && n >= 10 && e[3] < isaIRQs:
			flags := le.Uint16(e[8:])
			i.ISA[e[3]] = ISA{GSI: le.Uint32(e[4:]), ActiveLow: flags&3 == 3, Level: flags>>2&3 == 3}
		case e[0] == 5 && n >= 12:
			i.LocalAPIC = le.Uint64(e[4:])
		}
	}
}

func (i *Info) addCPU(id uint32) {
	for _, have := range i.CPUs[:i.NCPUs] {
		if have == id {
			return
		}
	}
	if i.NCPUs < MaxCPUs {
		i.CPUs[i.NCPUs] = id
		i.NCPUs++
	}
}

// fadt reads the Fixed ACPI Description Table (section 5.2.9).
func (i *Info) fadt(mem Memory, t []byte) {
	if len(t) < 116 {
		return
	}
	i.SCI = le.Uint16(t[46:])
	i.SMICommand, i.Enable = uint16(le.Uint32(t[48:])), t[52]
	i.PM1aEvent = uint16(le.Uint32(t[56:]))
	i.PM1aControl, i.PM1bControl = uint16(le.Uint32(t[64:])), uint16(le.Uint32(t[68:]))
	i.PMTimer = uint16(le.Uint32(t[76:]))
	const resetSupported = 1 << 10
	if len(t) >= 129 && le.Uint32(t[112:])&resetSupported != 0 && t[116] == 1 {
		i.ResetPort, i.ResetValue = uint16(le.Uint64(t[120:])), t[128]
	}
	dsdt := uint64(le.Uint32(t[40:]))
	if len(t) >= 148 && le.Uint64(t[140:]) != 0 {
		dsdt = le.Uint64(t[140:])
	}
	if d := table(mem, dsdt); d != nil {
		i.findS5(d)
	}
}

// mcfg reads the PCI Express memory mapped configuration table.
func (i *Info) mcfg(t []byte) {
	if len(t) < 44 {
		return
	}
	for b := t[44:]; len(b) >= 16 && i.NECAMs < MaxECAMs; b = b[16:] {
		i.ECAMs[i.NECAMs] = ECAM{Base: le.Uint64(b), Segment: le.Uint16(b[8:]), FirstBus: b[10], LastBus: b[11]}
		i.NECAMs++
	}
}

// findS5 looks for the object _S5 in AML: a name whose value is a package that begins with two
// small integers (section 7.4.2).
func (i *Info) findS5(t []byte) {
	const nameOp, packageOp = 0x08, 0x12
	b := t[36:]
	for n := 1; n+8 < len(b) && !i.HasS5; n++ {
		if string(b[n:n+4]) != "_S5_" || b[n-1] != nameOp && (b[n-1] != '\\' || n < 2 || b[n-2] != nameOp) || b[n+4] != packageOp {
			continue
		}
		p := b[n+5:]
		skip := int(p[0]>>6) + 2 // the length's bytes, and the number of elements
		if skip >= len(p) {
			return
		}
		p = p[skip:]
		var ok bool
		if i.S5a, p, ok = smallInt(p); !ok {
			return
		}
		if i.S5b, _, ok = smallInt(p); !ok {
			i.S5b = i.S5a
		}
		i.HasS5 = true
	}
}

// smallInt reads an integer of at most a byte.
func smallInt(p []byte) (v uint8, rest []byte, ok bool) {
	if len(p) == 0 {
		return 0, p, false
	}
	switch p[0] {
	case 0x00, 0x01: // ZeroOp, OneOp
		return p[0], p[1:], true
	case 0x0a: // BytePrefix
		if len(p) >= 2 {
			return p[1], p[2:], true
		}
	}
	return 0, p, false
}
