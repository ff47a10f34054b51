package pci

import (
	"encoding/binary"
	"fmt"

	"dfemu/devices"
)

// What watchers see of the MSI-X structures, and what a driver must not do with them (PCI 3.0, section 6.8.2).

// msixTableBank names the vector table.
func msixTableBank(count int) *devices.Bank {
	entry := func(off uint64, name string, fields ...devices.Field) devices.Register {
		return devices.Register{Offset: off, Size: 4, Name: name, Count: count, Stride: msixEntry, Fields: fields}
	}
	return devices.NewBank("MSI-X table", []devices.Register{
		entry(0, "Message_Address"), entry(4, "Message_Upper_Address"), entry(8, "Message_Data"),
		entry(12, "Vector_Control", devices.Field{Name: "Mask", Lo: 0, Hi: 0}),
	}).With(devices.Rules{Clause: "PCI 3.0, 6.8.2"})
}

// msixPBABank names the pending bits, 64 in each of words registers.
func msixPBABank(words int) *devices.Bank {
	return devices.NewBank("MSI-X PBA", []devices.Register{{Offset: 0, Size: 8, Name: "Pending_Bits", Rights: devices.RO, Count: words, Stride: 8}}).
		With(devices.Rules{Clause: "PCI 3.0, 6.8.2.10"})
}

// violation reports a breach in an access to the table or to configuration space. The function's lock is held.
func (m *MSIX) violation(section, format string, a ...any) {
	m.f.probe.Violation(devices.Violation{Clause: "PCI 3.0, " + section, Text: fmt.Sprintf(format, a...), Queue: -1, Origin: devices.ByAccess})
}

// checkReady looks at an entry that can be used from now on unless it is masked: it must have been set up. The function's lock is held.
func (m *MSIX) checkReady(v int) {
	if m.masked(v) || !m.f.probe.Wants(devices.ClassStrict) {
		return
	}
	if binary.LittleEndian.Uint64(m.table[v*msixEntry:]) == 0 {
		m.violation("6.8.3.2", "MSI-X entry %d is unmasked while MSI-X is enabled, and its message address has not been set", v)
	}
}

// checkWrite looks at a write to the table before it is done. The function's lock is held.
func (m *MSIX) checkWrite(off uint64, size int, v uint64) {
	if !m.f.probe.Wants(devices.ClassStrict) {
		return
	}
	n := int(off / msixEntry)
	e := m.table[n*msixEntry : (n+1)*msixEntry]
	after := [msixEntry]byte(e)
	if at := off % msixEntry; size == 4 {
		binary.LittleEndian.PutUint32(after[at:], uint32(v))
	} else {
		binary.LittleEndian.PutUint64(after[at:], v)
	}
	if m.enabled && !m.masked(n) && string(after[:12]) != string(e[:12]) {
		m.violation("6.8.2", "the message of MSI-X entry %d is changed while the entry is not masked", n)
	}
	if after[0]&3 != 0 {
		m.violation("6.8.2.6", "the message address of MSI-X entry %d is %#x: must be a multiple of 4", n, binary.LittleEndian.Uint64(after[:]))
	}
	if c := binary.LittleEndian.Uint32(after[12:]); c&^msixMasked != 0 {
		m.violation("6.8.2.9", "the vector control of MSI-X entry %d is %#x: bits 1 to 31 are reserved", n, c)
	}
}
