package acpi

import (
	"fmt"
	"sort"

	"dfemu/firmware/acpi/aml"
)

// dsdt is the Differentiated System Description Table: what cannot be found by
// looking (section 5.2.11.1).
func (c *Config) dsdt() (table, error) {
	system := []aml.Term{c.cpus(), c.motherboard()}
	if c.PCI != nil {
		system = append(system, c.PCI.bridge(&c.ISA), c.PCI.links())
	}
	if c.PCI == nil || c.PCI.LPC == nil {
		system = append(system, c.ISA.devices()...)
	}
	if c.HPET != 0 {
		system = append(system, hpetDevice(c.HPET))
	}
	system = append(system, c.virtio()...)
	system = append(system, button("PWRB", "PNP0C0C", c.Power), button("SLPB", "PNP0C0E", c.Sleep))

	body, err := aml.Encode(
		aml.Name(`\PICF`, aml.Int(0)),
		// _PIC tells which interrupt controller is in use: 0 for the 8259s, 1
		// for I/O APICs.
		aml.Method(`\_PIC`, 1, aml.Store(aml.Arg(0), aml.Ref(`\PICF`))),
		c.PM.sleepStates(),
		aml.Scope(`\_SB`, system...),
		c.events(),
	)
	if err != nil {
		return table{}, err
	}
	w := c.header("DSDT", 2)
	w.bytes(body)
	return w.finish(), nil
}

func sequence(ts ...aml.Term) aml.Term {
	return func(e *aml.Encoder) {
		for _, t := range ts {
			if t != nil {
				t(e)
			}
		}
	}
}

func (p *PM) sleepStates() aml.Term {
	state := func(name string, typ uint8) aml.Term {
		return aml.Name(name, aml.Package(aml.Int(uint64(typ)), aml.Int(uint64(typ)), aml.Int(0), aml.Int(0)))
	}
	ts := []aml.Term{}
	if p.S3 != nil {
		ts = append(ts, state(`\_S3`, *p.S3))
	}
	if p.S4 != nil {
		ts = append(ts, state(`\_S4`, *p.S4))
	}
	return sequence(append(ts, state(`\_S5`, p.S5))...)
}

// motherboard claims the addresses which belong to no other device.
func (c *Config) motherboard() aml.Term {
	res := []aml.Resource{aml.FixedIO(c.PM.Base, 12)}
	if c.PM.GPE0Len != 0 {
		res = append(res, aml.FixedIO(c.PM.GPE0, c.PM.GPE0Len))
	}
	memory := func(base, size uint64) {
		if base+size > 1<<32 {
			res = append(res, aml.QWordMemoryConsumer(aml.NonCacheable, base, base+size-1))
			return
		}
		res = append(res, aml.Memory32Fixed(uint32(base), uint32(size), true))
	}
	if c.PCI != nil && c.PCI.ECAM != 0 {
		memory(c.PCI.ECAM, (uint64(c.PCI.LastBus)+1)<<20)
	}
	for _, a := range c.IOAPICs {
		memory(uint64(a.Addr), 0x1000)
	}
	memory(uint64(c.LAPICBase), 0x1000)
	for _, r := range c.Reserved {
		memory(r.Base, r.Size)
	}
	return aml.Device("MBRD",
		aml.Name("_HID", aml.EISAID("PNP0C02")),
		aml.Name("_UID", aml.Int(0)),
		aml.Name("_CRS", aml.ResourceTemplate(res...)),
	)
}

func hpetDevice(base uint32) aml.Term {
	return aml.Device("HPET",
		aml.Name("_HID", aml.EISAID("PNP0103")),
		aml.Name("_UID", aml.Int(0)),
		aml.Name("_STA", aml.Int(0x0f)),
		aml.Name("_CRS", aml.ResourceTemplate(aml.Memory32Fixed(base, 0x400, true))),
	)
}

func (c *Config) virtio() []aml.Term {
	var ts []aml.Term
	for i, v := range c.VirtioMMIO {
		ts = append(ts, aml.Device(fmt.Sprintf("VR%02X", i),
			aml.Name("_HID", aml.String("LNRO0005")),
			aml.Name("_UID", aml.Int(uint64(i))),
			aml.Name("_CCA", aml.Int(1)),
			aml.Name("_CRS", aml.ResourceTemplate(
				aml.Memory32Fixed(v.Base, v.Size, true),
				aml.Interrupt(aml.IRQConsumer|aml.IRQEdge, v.GSI),
			)),
		))
	}
	return ts
}

// button is a control-method button; fixed ones need no device.
func button(name, hid string, b Button) aml.Term {
	if b.Kind != GPEButton {
		return nil
	}
	return aml.Device(name,
		aml.Name("_HID", aml.EISAID(hid)),
		// The GPE wakes the system from any state it can sleep in.
		aml.Name("_PRW", aml.Package(aml.Int(uint64(b.GPE)), aml.Int(4))),
	)
}

// events are the handlers of general-purpose events. All are edge-triggered:
// the status bit is cleared before the method runs.
func (c *Config) events() aml.Term {
	handlers := map[uint8]aml.Term{}
	if c.PCI != nil && c.PCI.BusCheckGPE != 0 {
		handlers[c.PCI.BusCheckGPE] = aml.Notify(aml.Ref(`\_SB.PCI0`), aml.Int(0))
	}
	if c.CPUHotplug != nil {
		handlers[c.CPUHotplug.GPE] = aml.Call(`\_SB.CPUS.CSCN`)
	}
	if c.Power.Kind == GPEButton {
		handlers[c.Power.GPE] = aml.Notify(aml.Ref(`\_SB.PWRB`), aml.Int(0x80))
	}
	if c.Sleep.Kind == GPEButton {
		handlers[c.Sleep.GPE] = aml.Notify(aml.Ref(`\_SB.SLPB`), aml.Int(0x80))
	}
	var numbers []int
	for n := range handlers {
		numbers = append(numbers, int(n))
	}
	sort.Ints(numbers)
	var ts []aml.Term
	for _, n := range numbers {
		ts = append(ts, aml.Method(fmt.Sprintf("_E%02X", n), 0, handlers[uint8(n)]))
	}
	return aml.Scope(`\_GPE`, ts...)
}
