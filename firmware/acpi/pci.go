package acpi

import (
	"fmt"

	"dfemu/firmware/acpi/aml"
)

// bridge is the PCI Express host bridge, with the ISA bridge and the root
// ports on its bus.
func (p *PCI) bridge(isa *ISA) aml.Term {
	ts := []aml.Term{
		aml.Name("_HID", aml.EISAID("PNP0A08")),
		aml.Name("_CID", aml.EISAID("PNP0A03")),
		aml.Name("_UID", aml.Int(0)),
		aml.Name("_SEG", aml.Int(0)),
		aml.Name("_BBN", aml.Int(0)),
		aml.Name("_CRS", aml.ResourceTemplate(p.windows()...)),
		p.osc(),
		p.prt(),
	}
	if p.LPC != nil {
		l := p.LPC
		devices := []aml.Term{aml.Name("_ADR", address(l.Device, l.Function))}
		devices = append(devices, l.registers()...)
		ts = append(ts, aml.Device("LPCB", append(devices, isa.devices()...)...))
	}
	for _, r := range p.RootPorts {
		ts = append(ts, aml.Device(fmt.Sprintf("RP%02X", r.Device<<3|r.Function),
			aml.Name("_ADR", address(r.Device, r.Function)),
			aml.Name("_SUN", aml.Int(uint64(r.Slot))),
		))
	}
	return aml.Device("PCI0", ts...)
}

// address is the _ADR of a function (table 6.2).
func address(device, function uint8) aml.Term {
	return aml.Int(uint64(device)<<16 | uint64(function))
}

func (p *PCI) windows() []aml.Resource {
	res := []aml.Resource{
		aml.WordBusNumber(0, uint16(p.LastBus)),
		aml.FixedIO(0xcf8, 8),
		aml.WordIO(0, 0xcf7),
		aml.WordIO(p.IOBase, 0xffff),
	}
	if p.VGA {
		res = append(res, aml.DWordMemory(aml.Cacheable, 0xa0000, 0xbffff))
	}
	for _, w := range p.Windows32 {
		res = append(res, aml.DWordMemory(aml.NonCacheable, uint32(w.Base), uint32(w.Base+w.Size-1)))
	}
	for _, w := range p.Windows64 {
		res = append(res, aml.QWordMemory(aml.Cacheable, w.Base, w.Base+w.Size-1))
	}
	return res
}

// Bits of the _OSC control field (PCI Firmware Specification 3.2, table 4-6).
const (
	oscHotplug    = 1 << 0
	oscPME        = 1 << 2
	oscAER        = 1 << 3
	oscCapability = 1 << 4
)

// osc grants control of PCI Express features (section 6.2.11).
func (p *PCI) osc() aml.Term {
	grant := uint64(oscPME | oscAER | oscCapability)
	if p.NativeHotplug {
		grant |= oscHotplug
	}
	const (
		badUUID       = 1 << 2
		badRevision   = 1 << 3
		bitsWereTaken = 1 << 4
	)
	status, control := aml.Ref("CDW1"), aml.Ref("CDW3")
	return aml.MethodSerialized("_OSC", 4,
		aml.CreateDWordField(aml.Arg(3), aml.Int(0), "CDW1"),
		aml.If(aml.LAnd(aml.LEqual(aml.Arg(0), aml.UUID("33db4d5b-1ff7-401c-9657-7441c03dd766")), aml.LGreaterEqual(aml.Arg(2), aml.Int(3))),
			aml.CreateDWordField(aml.Arg(3), aml.Int(8), "CDW3"),
			aml.If(aml.LNotEqual(aml.Arg(1), aml.Int(1)), aml.Or(status, aml.Int(badRevision), status)),
			aml.And(control, aml.Int(grant), aml.Local(0)),
			aml.If(aml.LNotEqual(control, aml.Local(0)), aml.Or(status, aml.Int(bitsWereTaken), status)),
			aml.Store(aml.Local(0), control),
		),
		aml.Else(aml.Or(status, aml.Int(badUUID), status)),
		aml.Return(aml.Arg(3)),
	)
}

// prt is the routing table of bus 0. Bridges without one swizzle, which is
// what the operating system does by itself (section 6.2.13).
func (p *PCI) prt() aml.Term {
	var apic, pic []aml.Term
	for d := 0; d < 32; d++ {
		for pin := 0; pin < 4; pin++ {
			n := p.Routing.PIRQ(d, pin)
			at := []aml.Term{aml.Int(uint64(d)<<16 | 0xffff), aml.Int(uint64(pin))}
			apic = append(apic, aml.Package(append(at[:2:2], aml.Int(0), aml.Int(uint64(p.Routing.GSI[n])))...))
			pic = append(pic, aml.Package(append(at[:2:2], aml.Ref(`\_SB.`+linkName(n)), aml.Int(0))...))
		}
	}
	if p.LPC == nil {
		return aml.Name("_PRT", aml.Package(apic...))
	}
	return sequence(
		aml.Name("PRTA", aml.Package(apic...)),
		aml.Name("PRTP", aml.Package(pic...)),
		aml.Method("_PRT", 0,
			aml.If(aml.Ref(`\PICF`), aml.Return(aml.Ref("PRTA"))),
			aml.Return(aml.Ref("PRTP")),
		),
	)
}

func linkName(n int) string { return "LNK" + string(rune('A'+n)) }

func pirqName(n int) string { return "PRQ" + string(rune('A'+n)) }

// registers names the routing registers in the configuration space of the ISA
// bridge.
func (l *LPC) registers() []aml.Term {
	units := func(first int) (u []aml.FieldUnit) {
		for n := first; n < first+4; n++ {
			u = append(u, aml.Bits(pirqName(n), 8))
		}
		return u
	}
	return []aml.Term{
		aml.OperationRegion("PIR1", aml.PCIConfig, aml.Int(uint64(l.PIRQA)), aml.Int(4)),
		aml.Field("PIR1", aml.ByteAcc, units(0)...),
		aml.OperationRegion("PIR2", aml.PCIConfig, aml.Int(uint64(l.PIRQE)), aml.Int(4)),
		aml.Field("PIR2", aml.ByteAcc, units(4)...),
	}
}

// pirqDisabled in a routing register says that the input is not routed.
const pirqDisabled = 0x80

// links are the interrupt link devices, by which the inputs of the router are
// given ISA interrupts (section 6.2.13.1).
func (p *PCI) links() aml.Term {
	if p.LPC == nil {
		return nil
	}
	const shared = aml.IRQConsumer | aml.IRQActiveLow | aml.IRQShared
	var possible []uint32
	for _, n := range p.Routing.Legacy {
		possible = append(possible, uint32(n))
	}
	// The interrupt number follows the 5 bytes of the descriptor's head.
	const numberAt = 5
	var ts []aml.Term
	for n := 0; n < 8; n++ {
		reg := aml.Ref(`\_SB.PCI0.LPCB.` + pirqName(n))
		ts = append(ts, aml.Device(linkName(n),
			aml.Name("_HID", aml.EISAID("PNP0C0F")),
			aml.Name("_UID", aml.Int(uint64(n))),
			aml.Name("_PRS", aml.ResourceTemplate(aml.Interrupt(shared, possible...))),
			aml.Method("_STA", 0,
				aml.If(aml.And(reg, aml.Int(pirqDisabled), aml.Nothing()), aml.Return(aml.Int(0x09))),
				aml.Return(aml.Int(0x0b)),
			),
			aml.Method("_DIS", 0, aml.Or(reg, aml.Int(pirqDisabled), reg)),
			aml.Name("RES", aml.ResourceTemplate(aml.Interrupt(shared, 0))),
			aml.CreateDWordField(aml.Ref("RES"), aml.Int(numberAt), "INTN"),
			aml.Method("_CRS", 0,
				aml.Store(aml.Int(0), aml.Ref("INTN")),
				aml.If(aml.LNot(aml.And(reg, aml.Int(pirqDisabled), aml.Nothing())), aml.And(reg, aml.Int(0x0f), aml.Ref("INTN"))),
				aml.Return(aml.Ref("RES")),
			),
			aml.MethodSerialized("_SRS", 1,
				aml.CreateDWordField(aml.Arg(0), aml.Int(numberAt), "INTS"),
				aml.Store(aml.Ref("INTS"), reg),
			),
		))
	}
	return sequence(ts...)
}
