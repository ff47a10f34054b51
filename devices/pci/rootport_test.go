package pci_test

import (
	"testing"

	"dfemu/devices/pci"
)

// port adds a root port at 00:02.0, numbered 1 with its windows open.
func (m *machine) port(hot bool) (*pci.RootPort, uint32) {
	m.t.Helper()
	p := pci.NewRootPort(pci.PortConfig{Name: "rp0", Slot: 5, HotPlug: hot, Pin: 1})
	return p, m.add(2, 0, p.Function)
}

func (m *machine) openPort(a uint32) {
	m.out(a, pci.RegPrimaryBus, 4, 0x00020100)
	m.out(a, pci.RegIOBase, 2, 0xd0d0)
	m.out(a, pci.RegMemBase, 4, 0xfd00fd00)
	m.out(a, pci.RegPrefBase, 4, 0x0000fff0) // 8_0000_0000 with the high halves
	m.out(a, pci.RegPrefBase, 4, 0x00000000)
	m.out(a, pci.RegPrefBaseHigh, 4, 8)
	m.out(a, pci.RegPrefLimitHigh, 4, 8)
	m.out(a, pci.RegCommand, 2, pci.CommandIO|pci.CommandMemory|pci.CommandMaster)
}

func TestBridgeForwarding(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{ECAM: ecamBase}, pci.LPCConfig{})
	p, a := m.port(false)
	f := device("dev", 1)
	if err := p.Populate(f); err != nil {
		t.Fatal(err)
	}
	d := bdf(1, 0, 0)
	if m.in(a, pci.RegHeaderType, 1) != 1 || m.in(d, 0, 4) != 0xffffffff {
		t.Error("device reachable before the bridge is numbered")
	}
	m.openPort(a)
	if m.in(d, 0, 4) != 0x56781234 || m.mmio.Read(ecamBase+1<<20, 4) != 0x56781234 {
		t.Fatal("device not reachable")
	}
	if m.in(bdf(1, 1, 0), 0, 4) != 0xffffffff || m.in(bdf(2, 0, 0), 0, 4) != 0xffffffff || m.in(bdf(3, 0, 0), 0, 4) != 0xffffffff {
		t.Error("the device shows in other places")
	}
	if bus, dev, fn, ok := f.Address(); bus != 1 || dev != 0 || fn != 0 || !ok {
		t.Errorf("address %d:%d.%d", bus, dev, fn)
	}
	m.out(d, 0x10, 4, 0xd001)
	m.out(d, 0x14, 4, 0xfd000000)
	m.out(d, 0x18, 4, 0)
	m.out(d, 0x1c, 4, 8)
	m.out(d, pci.RegCommand, 2, 7)
	where := func() (io, mem, pref bool) {
		m.ports.Write(0xd000, 1, 1)
		m.mmio.Write(0xfd000000, 1, 2)
		m.mmio.Write(0x800000000, 1, 3)
		return m.ports.Read(0xd000, 1) == 1, m.mmio.Read(0xfd000000, 1) == 2, m.mmio.Read(0x800000000, 1) == 3
	}
	check := func(what string, wio, wmem, wpref bool) {
		t.Helper()
		if io, mem, pref := where(); io != wio || mem != wmem || pref != wpref {
			t.Errorf("%s: io %v, memory %v, prefetchable %v", what, io, mem, pref)
		}
	}
	check("open", true, true, true)
	m.out(a, pci.RegIOBase, 2, 0xe0e0)
	check("I/O window elsewhere", false, true, true)
	m.out(a, pci.RegIOBase, 2, 0xf0c0)
	check("I/O window large", true, true, true)
	m.out(a, pci.RegMemBase, 4, 0xfc00fd00)
	check("memory window closed", true, false, true)
	m.out(a, pci.RegPrefLimitHigh, 4, 7)
	check("prefetchable window closed", true, false, false)
	m.openPort(a)
	m.out(a, pci.RegCommand, 2, pci.CommandMemory|pci.CommandMaster)
	check("bridge without I/O", false, true, true)
	m.out(a, pci.RegCommand, 2, pci.CommandIO)
	check("bridge without memory", true, false, false)
	if f.BusMaster() {
		t.Error("device is bus master below a bridge that is not")
	}
	m.out(a, pci.RegCommand, 2, 7)
	if !f.BusMaster() {
		t.Error("device is no bus master")
	}
	// INTA# of device 0 behind device 2 is INTA# of device 2.
	f.Raise(0)
	if !m.gsi[4+2].Level() {
		t.Error("interrupt does not pass the bridge")
	}
	f.Lower()
	// Secondary bus reset.
	m.out(a, pci.RegBridgeControl, 2, 0x40)
	if m.in(d, pci.RegCommand, 2) != 0 || len(m.mmio.Mappings()) != 1 {
		t.Error("device not reset with its bus")
	}
	m.out(a, pci.RegBridgeControl, 2, 0)
	if err := p.Plug(device("second", 1)); err == nil {
		t.Error("plugged into a slot without hot-plug")
	}
	m.host.Reset()
	if m.in(d, 0, 4) != 0xffffffff {
		t.Error("bridge keeps its number")
	}
}

// slot register offsets within the PCI Express capability
const (
	linkStatus  = 0x12
	slotCap     = 0x14
	slotControl = 0x18
	slotStatus  = 0x1a
)

func TestHotPlug(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	p, a := m.port(true)
	m.openPort(a)
	x := m.capability(a, pci.CapExpress)
	d := bdf(1, 0, 0)
	if got := m.in(a, x+slotCap, 4); got>>19 != 5 || got&0x7f != 0x5b {
		t.Errorf("slot capabilities %#x", got)
	}
	if m.in(a, x+2, 2) != 0x142 || m.in(a, x+slotStatus, 2) != 0 || m.in(a, x+slotControl, 2)&0x400 == 0 {
		t.Errorf("empty slot: status %#x, control %#x", m.in(a, x+slotStatus, 2), m.in(a, x+slotControl, 2))
	}
	msi := m.capability(a, pci.CapMSI)
	m.out(a, msi+4, 4, 0xfee00000)
	m.out(a, msi+12, 2, 0x51)
	m.out(a, msi+2, 2, 1)
	// All events, power still off.
	m.out(a, x+slotControl, 2, 0x17f9)
	m.out(a, x+slotStatus, 2, 0x11f)
	m.msi.Take()

	f := device("dev", 1)
	resets := 0
	f.OnReset(func() { resets++; f.Reset() })
	if err := p.Plug(f); err != nil {
		t.Fatal(err)
	}
	if got := m.in(a, x+slotStatus, 2); got != 0x49 {
		t.Errorf("slot status after plugging: %#x", got)
	}
	if got := m.msi.Take(); len(got) != 1 || got[0].Data != 0x51 {
		t.Errorf("messages %x", got)
	}
	if m.in(d, 0, 4) != 0xffffffff || m.in(a, x+linkStatus, 2)&0x2000 != 0 {
		t.Error("reachable without power")
	}
	m.out(a, x+slotStatus, 2, 0x9)
	m.out(a, x+slotControl, 2, 0x11f9) // power on
	if m.in(d, 0, 4) != 0x56781234 || m.in(a, x+linkStatus, 2)&0x2000 == 0 || resets != 1 {
		t.Errorf("not reachable with power; %d resets", resets)
	}
	if got := m.in(a, x+slotStatus, 2); got != 0x150 {
		t.Errorf("slot status after power on: %#x", got)
	}
	if got := m.msi.Take(); len(got) != 1 {
		t.Errorf("messages after power on: %x", got)
	}
	m.out(a, x+slotStatus, 2, 0x110)
	if err := p.Plug(device("other", 1)); err == nil {
		t.Error("slot holds two devices")
	}

	// Away again, asking first.
	gone := 0
	if err := p.Unplug(func() { gone++ }); err != nil {
		t.Fatal(err)
	}
	if p.Unplug(nil) == nil {
		t.Error("asked twice")
	}
	if got := m.in(a, x+slotStatus, 2); got != 0x41 {
		t.Errorf("slot status after the button: %#x", got)
	}
	if len(m.msi.Take()) != 1 || gone != 0 {
		t.Error("no message for the button, or gone at once")
	}
	m.out(a, x+slotStatus, 2, 1)
	m.out(d, 0x14, 4, 0xfd000000)
	m.out(d, 4, 2, 2)
	m.out(a, x+slotControl, 2, 0x17f9)
	if gone != 1 || m.in(d, 0, 4) != 0xffffffff || len(m.mmio.Mappings()) != 0 {
		t.Error("device still there")
	}
	if got := m.in(a, x+slotStatus, 2); got != 0x118 {
		t.Errorf("slot status after removal: %#x", got)
	}
	if _, _, _, ok := f.Address(); ok {
		t.Error("function is still on a bus")
	}
	if p.Unplug(nil) == nil {
		t.Error("unplugged nothing")
	}
	m.out(a, x+slotStatus, 2, 0x11f)

	// And once more, taken out by force.
	if err := p.Plug(f); err != nil {
		t.Fatal(err)
	}
	m.out(a, x+slotControl, 2, 0x11f9)
	m.out(a, x+slotStatus, 2, 0x11f)
	m.msi.Take()
	p.Eject()
	p.Eject()
	if m.in(d, 0, 4) != 0xffffffff || m.in(a, x+slotStatus, 2) != 0x108 || len(m.msi.Take()) != 1 {
		t.Errorf("after ejecting: status %#x", m.in(a, x+slotStatus, 2))
	}
}

func TestHotPlugPin(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	p, a := m.port(true)
	x := m.capability(a, pci.CapExpress)
	m.out(a, x+slotControl, 2, 0x17e8) // presence only
	m.out(a, x+slotStatus, 2, 0x11f)
	line := m.gsi[4+2]
	if line.Level() {
		t.Error("asserted without an event")
	}
	if err := p.Plug(device("dev", 1)); err != nil {
		t.Fatal(err)
	}
	if !line.Level() {
		t.Error("no interrupt")
	}
	m.out(a, x+slotStatus, 2, 8)
	if line.Level() {
		t.Error("interrupt stays after the event was cleared")
	}
}

func TestUnplugAtReset(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	p, a := m.port(true)
	if err := p.Populate(device("dev", 1)); err != nil {
		t.Fatal(err)
	}
	m.host.Reset()
	m.openPort(a)
	if m.in(bdf(1, 0, 0), 0, 4) != 0x56781234 {
		t.Fatal("device without power after reset")
	}
	gone := false
	if err := p.Unplug(func() { gone = true }); err != nil {
		t.Fatal(err)
	}
	m.host.Reset()
	m.openPort(a)
	if !gone || m.in(bdf(1, 0, 0), 0, 4) != 0xffffffff {
		t.Error("device survives the reset after it was asked to go")
	}
}
