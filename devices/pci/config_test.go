package pci_test

import (
	"strings"
	"testing"

	"dfemu/devices"
	"dfemu/devices/pci"
)

func TestHeader(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{ECAM: ecamBase}, pci.LPCConfig{})
	a := m.add(3, 0, device("dev", 2))
	for _, c := range []struct {
		name      string
		off, size int
		want      uint32
	}{
		{"vendor and device", 0, 4, 0x56781234},
		{"device", 2, 2, 0x5678},
		{"class and revision", 8, 4, 0x01080203},
		{"base class", 0xb, 1, 0x01},
		{"header type", 0xe, 1, 0},
		{"subsystem", 0x2c, 4, 0xbbbbaaaa},
		{"pin", 0x3d, 1, 2},
		{"status", 6, 2, pci.StatusCapList},
	} {
		if got := m.in(a, c.off, c.size); got != c.want {
			t.Errorf("%s: ports read %#x, want %#x", c.name, got, c.want)
		}
		if got := m.mmio.Read(ecamBase+3<<15+uint64(c.off), c.size); got != uint64(c.want) {
			t.Errorf("%s: ECAM reads %#x, want %#x", c.name, got, c.want)
		}
	}
	for _, absent := range []uint32{bdf(0, 3, 1), bdf(0, 4, 0), bdf(1, 3, 0)} {
		if got := m.in(absent, 0, 4); got != 0xffffffff {
			t.Errorf("%#x: read %#x where nothing is", absent, got)
		}
	}
	// Identity cannot be written.
	m.out(a, 0, 4, 0)
	m.out(a, 8, 4, 0)
	m.out(a, 0x2c, 4, 0)
	if m.in(a, 0, 4) != 0x56781234 || m.in(a, 8, 4) != 0x01080203 || m.in(a, 0x2c, 4) != 0xbbbbaaaa {
		t.Error("identity changed by writes")
	}
	m.out(a, pci.RegCommand, 2, 0xffff)
	if got := m.in(a, pci.RegCommand, 2); got != 0x547 {
		t.Errorf("command reads %#x after all ones", got)
	}
	m.out(a, pci.RegIntLine, 1, 11)
	if m.in(a, pci.RegIntLine, 1) != 11 {
		t.Error("interrupt line does not keep its value")
	}
}

func TestConfigPorts(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	if m.in(bdf(0, 0, 0), 0, 4) != 0x29c08086 || m.in(bdf(0, 31, 0), 0, 4) != 0x29188086 {
		t.Fatal("chipset not found")
	}
	m.ports.Write(0xcf8, 4, 0xffffffff)
	if got := m.ports.Read(0xcf8, 4); got != 0x80fffffc {
		t.Errorf("address register reads %#x", got)
	}
	m.ports.Write(0xcf8, 4, 0x80000000)
	m.ports.Write(0xcf8, 1, 0x77) // not 32 bits wide: not the address register
	m.ports.Write(0xcf9, 1, 0x06)
	if got := m.ports.Read(0xcf8, 4); got != 0x80000000 {
		t.Errorf("address register changed to %#x by narrow writes", got)
	}
	m.ports.Write(0xcf8, 4, 0)
	if got := m.ports.Read(0xcfc, 4); got != 0xffffffff {
		t.Errorf("data port reads %#x while disabled", got)
	}
	if got := m.mmio.Read(ecamBase, 4); got != 0xffffffff {
		t.Errorf("ECAM answers %#x while off", got)
	}
	// As firmware does: high half, then low half with the enable bit.
	m.out(bdf(0, 0, 0), 0x64, 4, 0)
	m.out(bdf(0, 0, 0), 0x60, 4, ecamBase|1)
	if got := m.mmio.Read(ecamBase+31<<15+2, 2); got != 0x2918 {
		t.Errorf("ECAM reads %#x", got)
	}
	m.out(bdf(0, 0, 0), 0x60, 4, 0xe0000001)
	if m.mmio.Read(ecamBase, 4) != 0xffffffff || m.mmio.Read(0xe0000000, 4) != 0x29c08086 {
		t.Error("ECAM did not move")
	}
	m.host.Reset()
	if m.mmio.Read(0xe0000000, 4) != 0xffffffff || m.ports.Read(0xcf8, 4) != 0 {
		t.Error("reset left the configuration window or address")
	}
}

func TestMultiFunction(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	f := device("a", 1)
	a := m.add(5, 0, f)
	if m.in(a, 0xe, 1) != 0 {
		t.Error("multi-function bit with one function")
	}
	g := device("b", 2)
	b := m.add(5, 3, g)
	m.host.Reset()
	if m.in(a, 0xe, 1) != 0x80 || m.in(b, 0xe, 1) != 0x80 {
		t.Error("no multi-function bit with two functions")
	}
	m.host.Bus().Remove(g)
	if m.in(a, 0xe, 1) != 0 || m.in(b, 0, 4) != 0xffffffff {
		t.Error("function still there after removal")
	}
	if err := m.host.Bus().Add(5, 0, device("c", 1)); err == nil || !strings.Contains(err.Error(), "a is there") {
		t.Errorf("place taken twice: %v", err)
	}
	if err := m.host.Bus().Add(6, 0, f); err == nil {
		t.Error("function added twice")
	}
	if err := m.host.Bus().Add(32, 0, device("d", 1)); err == nil {
		t.Error("device 32 exists")
	}
}

func TestBARSizing(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	f := device("dev", 1)
	f.SetROM(make([]byte, 3000))
	a := m.add(3, 0, f)
	for off, want := range map[int]uint32{
		0x10: 0xffffffe1, 0x14: 0xfffff000, 0x18: 0xfff0000c, 0x1c: 0xffffffff, 0x20: 0xfffff000, 0x24: 0, 0x30: 0xfffff001,
	} {
		m.out(a, off, 4, 0xffffffff)
		if got := m.in(a, off, 4); got != want {
			t.Errorf("BAR at %#x reads %#x when sized, want %#x", off, got, want)
		}
	}
	// While all ones are in the BARs, nothing is decoded at the top of memory.
	m.out(a, pci.RegCommand, 2, 3)
	if l := m.mmio.Mappings(); len(l) != 0 {
		t.Errorf("mapped while being sized: %+v", l)
	}
}

func TestBARMoves(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	f := device("dev", 1)
	rom := []byte{0x55, 0xaa, 1, 2}
	f.SetROM(rom)
	a := m.add(3, 0, f)
	m.out(a, 0x10, 4, 0xc001)
	m.out(a, 0x14, 4, 0xfe000000)
	m.out(a, 0x18, 4, 0x00000000)
	m.out(a, 0x1c, 4, 0x00000008)
	if len(m.mmio.Mappings()) != 0 {
		t.Fatal("decoded before enabled")
	}
	m.out(a, pci.RegCommand, 2, pci.CommandIO|pci.CommandMemory)
	m.ports.Write(0xc004, 2, 0x1122)
	m.mmio.Write(0xfe000010, 4, 0x33445566)
	m.mmio.Write(0x800000020, 8, 0x778899aabbccddee)
	if m.ports.Read(0xc004, 2) != 0x1122 || m.mmio.Read(0xfe000010, 4) != 0x33445566 || m.mmio.Read(0x800000020, 8) != 0x778899aabbccddee {
		t.Fatal("BARs do not answer")
	}
	m.out(a, 0x14, 4, 0xfd000000)
	if m.mmio.Read(0xfe000010, 4) != 0xffffffff || m.mmio.Read(0xfd000010, 4) != 0x33445566 {
		t.Error("memory BAR did not move")
	}
	m.out(a, 0x10, 4, 0xd000)
	if m.ports.Read(0xc004, 2) != 0xffff || m.ports.Read(0xd004, 2) != 0x1122 {
		t.Error("port BAR did not move")
	}
	m.out(a, 0x30, 4, 0xfc000000)
	if m.mmio.Read(0xfc000000, 2) != 0xffff {
		t.Error("ROM answers while disabled")
	}
	m.out(a, 0x30, 4, 0xfc000001)
	if m.mmio.Read(0xfc000000, 4) != 0x0201aa55 || m.mmio.Read(0xfc000004, 4) != 0xffffffff {
		t.Error("ROM does not answer")
	}
	m.out(a, pci.RegCommand, 2, pci.CommandMemory)
	if m.ports.Read(0xd004, 2) != 0xffff || m.mmio.Read(0xfd000010, 4) != 0x33445566 {
		t.Error("I/O enable does not act alone")
	}
	if base, on := f.BARAddress(2); base != 0x800000000 || !on {
		t.Errorf("BARAddress: %#x, %v", base, on)
	}
	m.host.Reset()
	if l := m.mmio.Mappings(); len(l) != 0 {
		t.Errorf("mapped after reset: %+v", l)
	}
}

func TestBARMovedHook(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	var log []string
	f := pci.NewFunction("vga", pci.Identity{})
	f.AddBAR(0, pci.BAR{Kind: pci.BARMem32, Size: 1 << 24, Moved: func(base uint64, on bool) {
		s := "off"
		if on {
			s = "on"
		}
		log = append(log, s)
		if base != 0xc0000000 && base != 0xd0000000 {
			t.Errorf("moved to %#x", base)
		}
	}})
	a := m.add(2, 0, f)
	m.out(a, 0x10, 4, 0xc0000000)
	m.out(a, 4, 2, 2)
	m.out(a, 4, 2, 2)
	m.out(a, 0x10, 4, 0xd0000000)
	m.host.Bus().Remove(f)
	if got := strings.Join(log, " "); got != "on off on off" {
		t.Errorf("calls: %s", got)
	}
}

func TestBuilderMistakes(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	for name, build := range map[string]func(f *pci.Function){
		"odd size":     func(f *pci.Function) { f.AddBAR(0, pci.BAR{Kind: pci.BARMem32, Size: 100}) },
		"large I/O":    func(f *pci.Function) { f.AddBAR(0, pci.BAR{Kind: pci.BARIO, Size: 512}) },
		"BAR6":         func(f *pci.Function) { f.AddBAR(6, pci.BAR{Kind: pci.BARMem32, Size: 16}) },
		"64 bits in 5": func(f *pci.Function) { f.AddBAR(5, pci.BAR{Kind: pci.BARMem64, Size: 16}) },
		"high half used": func(f *pci.Function) {
			f.AddBAR(0, pci.BAR{Kind: pci.BARMem64, Size: 16})
			f.AddBAR(1, pci.BAR{Size: 16})
		},
		"MSI count":    func(f *pci.Function) { f.AddMSI(3, true, true) },
		"MSI-X count":  func(f *pci.Function) { f.AddMSIXBAR(4096, 0) },
		"capabilities": func(f *pci.Function) { f.AddCapability(pci.CapVendor, make([]byte, 300), nil) },
		"two MSI-X":    func(f *pci.Function) { f.AddMSIXBAR(1, 0); f.AddMSIXBAR(1, 1) },
	} {
		f := pci.NewFunction("bad", pci.Identity{})
		build(f)
		if err := m.host.Bus().Add(9, 0, f); err == nil {
			t.Errorf("%s: accepted", name)
			m.host.Bus().Remove(f)
		}
	}
}

func TestConfigHooks(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	f := pci.NewFunction("dev", pci.Identity{})
	f.Preset(0x80, 4, 0x11223344, 0x0000ffff)
	reads, writes := 0, 0
	f.HookConfig(0x82, 2, pci.ConfigHook{
		Read:    func(off, size int) { reads++; f.SetConfig(0x83, 1, uint32(reads)) },
		Written: func(off, size int) { writes++ },
	})
	a := m.add(2, 0, f)
	if got := m.in(a, 0x80, 4); got != 0x01223344 {
		t.Errorf("read %#x", got)
	}
	m.in(a, 0x80, 2)
	m.out(a, 0x80, 4, 0xffffffff)
	m.out(a, 0x80, 2, 0x5555)
	if reads != 1 || writes != 1 {
		t.Errorf("%d reads and %d writes seen, want 1 and 1", reads, writes)
	}
	if got := f.Config(0x80, 4); got != 0x01225555 {
		t.Errorf("content %#x", got)
	}
}

func TestDMA(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	f := device("dev", 1)
	dma := f.DMA()
	var why *devices.MemoryError
	if err := dma.Read(0, make([]byte, 4)); !asMemoryError(err, &why) {
		t.Errorf("off the bus: %v", err)
	}
	var changes []bool
	f.OnBusMaster(func(on bool) { changes = append(changes, on) })
	a := m.add(3, 0, f)
	if err := dma.Write(16, []byte{1}); !asMemoryError(err, &why) || why.Why != "bus mastering is off" {
		t.Errorf("bus mastering off: %v", err)
	}
	m.out(a, 4, 2, pci.CommandMaster)
	if err := dma.Write(16, []byte{1, 2}); err != nil {
		t.Error(err)
	}
	if v, err := dma.View(16, 2); err != nil || v[1] != 2 {
		t.Errorf("view: %v %v", v, err)
	}
	if err := dma.Read(1<<20, make([]byte, 1)); err == nil {
		t.Error("read past RAM")
	}
	m.out(a, 4, 2, pci.CommandMaster)
	m.out(a, 4, 2, 0)
	if _, err := dma.View(16, 2); err == nil {
		t.Error("view with bus mastering off")
	}
	if len(changes) != 2 || !changes[0] || changes[1] {
		t.Errorf("changes seen: %v", changes)
	}
}

func asMemoryError(err error, to **devices.MemoryError) bool {
	e, ok := err.(*devices.MemoryError)
	*to = e
	return ok
}
