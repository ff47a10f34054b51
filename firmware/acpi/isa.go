package acpi

import (
	"fmt"

	"dfemu/firmware/acpi/aml"
)

func (d *ISA) devices() []aml.Term {
	var ts []aml.Term
	add := func(present bool, name, hid string, res ...aml.Resource) {
		if !present {
			return
		}
		ts = append(ts, aml.Device(name,
			aml.Name("_HID", aml.EISAID(hid)),
			aml.Name("_CRS", aml.ResourceTemplate(res...)),
		))
	}
	add(d.PIC, "PIC", "PNP0000", aml.FixedIO(0x20, 2), aml.FixedIO(0xa0, 2), aml.FixedIO(0x4d0, 2), aml.IRQNoFlags(2))
	add(d.DMA, "DMAC", "PNP0200", aml.FixedIO(0x00, 0x10), aml.FixedIO(0x81, 0x0f), aml.FixedIO(0xc0, 0x20), aml.DMA(4))
	add(d.PIT, "TIMR", "PNP0100", aml.FixedIO(0x40, 4), aml.IRQNoFlags(0))
	add(d.Speaker, "SPKR", "PNP0800", aml.FixedIO(0x61, 1))
	add(d.RTC, "RTC", "PNP0B00", aml.FixedIO(0x70, 2), aml.IRQNoFlags(8))
	add(d.Keyboard, "KBD", "PNP0303", aml.FixedIO(0x60, 1), aml.FixedIO(0x64, 1), aml.IRQNoFlags(1))
	add(d.Mouse, "MOU", "PNP0F13", aml.IRQNoFlags(12))
	for i, s := range d.COM {
		ts = append(ts, aml.Device(fmt.Sprintf("COM%d", i+1),
			aml.Name("_HID", aml.EISAID("PNP0501")),
			aml.Name("_UID", aml.Int(uint64(i+1))),
			aml.Name("_STA", aml.Int(0x0f)),
			aml.Name("_CRS", aml.ResourceTemplate(aml.FixedIO(s.Base, 8), aml.IRQNoFlags(s.IRQ))),
		))
	}
	if d.FwCfg != 0 {
		ts = append(ts, aml.Device("FWCF",
			aml.Name("_HID", aml.String("QEMU0002")),
			aml.Name("_STA", aml.Int(0x0b)),
			aml.Name("_CRS", aml.ResourceTemplate(aml.FixedIO(d.FwCfg, 12))),
		))
	}
	if d.PVPanic != 0 {
		ts = append(ts, aml.Device("PEVT",
			aml.Name("_HID", aml.String("QEMU0001")),
			aml.Name("_STA", aml.Int(0x0f)),
			aml.Name("_CRS", aml.ResourceTemplate(aml.FixedIO(d.PVPanic, 1))),
			aml.OperationRegion("PEOR", aml.SystemIO, aml.Int(uint64(d.PVPanic)), aml.Int(1)),
			aml.Field("PEOR", aml.ByteAcc, aml.Bits("PEPT", 8)),
			aml.Method("RDPT", 0, aml.Return(aml.Ref("PEPT"))),
			aml.Method("WRPT", 1, aml.Store(aml.Arg(0), aml.Ref("PEPT"))),
		))
	}
	return ts
}
