package pci

import (
	"fmt"

	"dfemu/devices"
)

// What the registers of configuration space are called, for traces. The tables only
// name: widths and rights are those of the bytes in Function.

// row is a register of a table below.
func row(off uint64, size int, name string, fields ...devices.Field) devices.Register {
	return devices.Register{Offset: off, Size: size, Name: name, Fields: fields}
}

// flag names one bit.
func flag(name string, n uint8) devices.Field { return devices.Field{Name: name, Lo: n, Hi: n} }

// several names several.
func several(name string, lo, hi uint8) devices.Field {
	return devices.Field{Name: name, Lo: lo, Hi: hi}
}

// headerRows are the registers of both types of header (PCI 3.0, section 6.1).
func headerRows() []devices.Register {
	return []devices.Register{
		row(RegVendor, 2, "Vendor ID"), row(RegDevice, 2, "Device ID"),
		row(RegCommand, 2, "Command", flag("I/O Space", 0), flag("Memory Space", 1), flag("Bus Master", 2), flag("Parity Error Response", 6),
			flag("SERR# Enable", 8), flag("Interrupt Disable", 10)),
		row(RegStatus, 2, "Status", flag("Interrupt", 3), flag("Capabilities List", 4), flag("Signaled Target Abort", 11), flag("Received Target Abort", 12),
			flag("Received Master Abort", 13), flag("Signaled System Error", 14), flag("Detected Parity Error", 15)),
		row(RegRevision, 1, "Revision ID"), row(RegClass, 1, "Programming Interface"), row(RegClass+1, 1, "Sub-Class"), row(RegClass+2, 1, "Base Class"),
		row(RegCacheLine, 1, "Cache Line Size"), row(RegLatency, 1, "Latency Timer"), row(RegHeaderType, 1, "Header Type"), row(0x0f, 1, "BIST"),
		row(RegCapPtr, 1, "Capabilities Pointer"), row(RegIntLine, 1, "Interrupt Line"), row(RegIntPin, 1, "Interrupt Pin"),
	}
}

// endpointRows are those of type 0 only.
func endpointRows() []devices.Register {
	return []devices.Register{
		{Offset: RegBAR0, Size: 4, Name: "BAR", Count: 6, Stride: 4}, row(0x28, 4, "CardBus CIS Pointer"),
		row(RegSubsystemVendor, 2, "Subsystem Vendor ID"), row(RegSubsystem, 2, "Subsystem ID"),
		row(RegROM, 4, "Expansion ROM", flag("Enable", 0)), row(0x3e, 1, "Min_Gnt"), row(0x3f, 1, "Max_Lat"),
	}
}

// bridgeRows are those of type 1 only (PCI-to-PCI Bridge 1.2, section 3.2).
func bridgeRows() []devices.Register {
	return []devices.Register{
		{Offset: RegBAR0, Size: 4, Name: "BAR", Count: 2, Stride: 4},
		row(RegPrimaryBus, 1, "Primary Bus"), row(RegSecondaryBus, 1, "Secondary Bus"), row(RegSubordinateBus, 1, "Subordinate Bus"),
		row(0x1b, 1, "Secondary Latency Timer"), row(RegIOBase, 1, "I/O Base"), row(RegIOLimit, 1, "I/O Limit"),
		row(RegSecondStatus, 2, "Secondary Status"), row(RegMemBase, 2, "Memory Base"), row(RegMemLimit, 2, "Memory Limit"),
		row(RegPrefBase, 2, "Prefetchable Base"), row(RegPrefLimit, 2, "Prefetchable Limit"),
		row(RegPrefBaseHigh, 4, "Prefetchable Base Upper"), row(RegPrefLimitHigh, 4, "Prefetchable Limit Upper"),
		row(RegIOBaseHigh, 2, "I/O Base Upper"), row(RegIOLimitHigh, 2, "I/O Limit Upper"),
		row(RegBridgeROM, 4, "Expansion ROM", flag("Enable", 0)), row(RegBridgeControl, 2, "Bridge Control", flag("Secondary Bus Reset", 6)),
	}
}

// capabilityRows are the registers of a capability from its third byte on, at offsets
// from its beginning.
func (f *Function) capabilityRows(id uint8, at int) (name string, rows []devices.Register) {
	switch id {
	case CapPM:
		return "PM", []devices.Register{
			row(2, 2, "Capabilities"), row(4, 2, "Control/Status", several("PowerState", 0, 1), flag("No_Soft_Reset", 3), flag("PME_En", 8), flag("PME_Status", 15)),
		}
	case CapMSI:
		rows = []devices.Register{
			row(2, 2, "Control", flag("Enable", 0), several("Capable", 1, 3), several("Multiple Message Enable", 4, 6), flag("64-bit", 7), flag("Maskable", 8)),
			row(4, 4, "Address"),
		}
		control, next := f.cfg[at+2], uint64(8)
		if control&0x80 != 0 {
			rows = append(rows, row(next, 4, "Upper Address"))
			next += 4
		}
		rows = append(rows, row(next, 2, "Data"))
		if f.cfg[at+3]&1 != 0 {
			rows = append(rows, row(next+4, 4, "Mask"), row(next+8, 4, "Pending"))
		}
		return "MSI", rows
	case CapMSIX:
		return "MSI-X", []devices.Register{
			row(2, 2, "Control", several("Table Size", 0, 10), flag("Function Mask", 14), flag("Enable", 15)),
			row(4, 4, "Table", several("BIR", 0, 2)), row(8, 4, "PBA", several("BIR", 0, 2)),
		}
	case CapExpress:
		return "Express", []devices.Register{
			row(2, 2, "Capabilities"), row(4, 4, "Device Capabilities"),
			row(8, 2, "Device Control", several("Max_Payload_Size", 5, 7), several("Max_Read_Request_Size", 12, 14), flag("Initiate FLR", 15)),
			row(10, 2, "Device Status", flag("Correctable Error", 0), flag("Non-Fatal Error", 1), flag("Fatal Error", 2), flag("Unsupported Request", 3), flag("Transactions Pending", 5)),
			row(12, 4, "Link Capabilities"), row(16, 2, "Link Control", several("ASPM", 0, 1), flag("Link Disable", 4), flag("Retrain", 5)), row(18, 2, "Link Status"),
			row(20, 4, "Slot Capabilities"),
			row(24, 2, "Slot Control", several("Attention Indicator", 6, 7), several("Power Indicator", 8, 9), flag("Power Off", 10)),
			row(26, 2, "Slot Status", flag("Attention Button Pressed", 0), flag("Power Fault", 1), flag("Presence Detect Changed", 3), flag("Command Completed", 4),
				flag("Presence", 6), flag("Link State Changed", 8)),
			row(28, 2, "Root Control"), row(30, 2, "Root Capabilities"), row(32, 4, "Root Status"),
			row(36, 4, "Device Capabilities 2"), row(40, 2, "Device Control 2"), row(42, 2, "Device Status 2"),
			row(44, 4, "Link Capabilities 2"), row(48, 2, "Link Control 2"), row(50, 2, "Link Status 2"),
			row(52, 4, "Slot Capabilities 2"), row(56, 2, "Slot Control 2"), row(58, 2, "Slot Status 2"),
		}
	}
	return fmt.Sprintf("Capability %#x", id), nil
}

// NameConfig names registers of configuration space that only the device knows of, for traces. It is a builder
// method.
func (f *Function) NameConfig(rows ...devices.Register) { f.names = append(f.names, rows...) }

// registers is the table of the function's configuration space. It is made when it is first
// wanted.
func (f *Function) registers() *devices.Bank {
	f.bankOnce.Do(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		rows := headerRows()
		if f.cfg[RegHeaderType]&0x7f == 1 {
			rows = append(rows, bridgeRows()...)
		} else {
			rows = append(rows, endpointRows()...)
		}
		b := bankBuilder{rows: rows}
		b.mark(0, 0x40)
		for _, r := range f.names {
			b.add(r)
		}
		seen := 0
		for at := int(f.cfg[RegCapPtr]); at >= 0x40 && at < 0x100-2 && seen < 48; at = int(f.cfg[at+1]) {
			seen++
			name, l := f.capabilityRows(f.cfg[at], at)
			end := 0x100
			for next := 0x40; next < 0x100; next++ {
				if next > at && f.isCapability(next) {
					end = next
					break
				}
			}
			b.capability(name, at, end, 2, l)
		}
		seen = 0
		for at := 0x100; at != 0 && at <= ConfigSize-4 && seen < 48; seen++ {
			head := f.get(at, 4)
			if head == 0 {
				break
			}
			next := int(head >> 20)
			end := next
			if next <= at {
				end = ConfigSize
			}
			b.capability(fmt.Sprintf("Extended Capability %#x", head&0xffff), at, min(end, at+0x100), 4, nil)
			at = next
		}
		f.bank = devices.NewBank("PCI configuration", b.rows)
	})
	return f.bank
}

// isCapability tells whether a capability begins at off.
func (f *Function) isCapability(off int) bool {
	at := int(f.cfg[RegCapPtr])
	for n := 0; n < 48 && at >= 0x40; n++ {
		if at == off {
			return true
		}
		at = int(f.cfg[at+1])
	}
	return false
}

// bankBuilder collects rows that do not overlap.
type bankBuilder struct {
	rows  []devices.Register
	taken [ConfigSize]bool
}

func (b *bankBuilder) mark(off, n int) {
	for i := off; i < min(off+n, ConfigSize); i++ {
		b.taken[i] = true
	}
}

// capability adds what is from at to end: the header of head bytes, the rows that are
// known and, byte by byte, the rest.
func (b *bankBuilder) capability(name string, at, end, head int, known []devices.Register) {
	if b.taken[at] {
		return
	}
	if head == 2 {
		b.add(row(uint64(at), 1, name+" ID"))
		b.add(row(uint64(at+1), 1, name+" Next"))
	} else {
		b.add(row(uint64(at), 4, name+" Header"))
	}
	for _, r := range known {
		r.Offset += uint64(at)
		r.Name = name + " " + r.Name
		if int(r.Offset)+r.Size <= end {
			b.add(r)
		}
	}
	for i := at + head; i < end; i++ {
		if !b.taken[i] && known == nil {
			b.add(row(uint64(i), 1, fmt.Sprintf("%s +%#x", name, i-at)))
		}
	}
}

func (b *bankBuilder) add(r devices.Register) {
	for i := range r.Size {
		if n := int(r.Offset) + i; n >= ConfigSize || b.taken[n] {
			return
		}
	}
	b.mark(int(r.Offset), r.Size)
	b.rows = append(b.rows, r)
}

// report tells whoever watches of an access to configuration space.
func (f *Function) report(off, size int, write bool, v uint32) {
	if f.probe.Wants(devices.ClassRegister) {
		f.probe.Access(devices.RegisterAccess{Bank: f.registers(), Off: uint64(off), Size: size, Write: write, Value: uint64(v)})
	}
}
