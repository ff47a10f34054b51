package pci_test

import (
	"strings"
	"testing"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/pci"
)

func TestINTx(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	f := device("dev", 2) // INTB# of device 3: PIRQE+(3+1)%4
	a := m.add(3, 0, f)
	line := m.gsi[4+(3+1)%4]
	f.INTx().Set(true)
	if !line.Level() || m.in(a, pci.RegStatus, 2)&pci.StatusInterrupt == 0 {
		t.Error("pin does not arrive")
	}
	m.out(a, pci.RegCommand, 2, pci.CommandINTxDisable)
	if line.Level() || m.in(a, pci.RegStatus, 2)&pci.StatusInterrupt == 0 {
		t.Error("disabled pin arrives, or its status is gone")
	}
	m.out(a, pci.RegCommand, 2, 0)
	if !line.Level() {
		t.Error("pin does not come back")
	}
	f.Lower()
	if line.Level() || m.in(a, pci.RegStatus, 2)&pci.StatusInterrupt != 0 {
		t.Error("pin stays")
	}
	f.Raise(5)
	m.host.Bus().Remove(f)
	if line.Level() {
		t.Error("pin of a removed function stays")
	}
}

func TestSharedLine(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	f, g := device("a", 1), device("b", 1)
	m.add(3, 0, f)
	m.add(7, 0, g) // 4 apart: the same line
	line := m.gsi[4+3]
	f.Raise(0)
	g.Raise(0)
	g.Raise(0)
	g.Lower()
	if !line.Level() {
		t.Error("one source released the line of both")
	}
	f.Lower()
	if line.Level() || line.Rises() != 1 {
		t.Errorf("level %v after %d rises", line.Level(), line.Rises())
	}
}

func TestPICRouting(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	lpc := bdf(0, 31, 0)
	f := device("dev", 1)
	m.add(4, 0, f) // PIRQE
	f.Raise(0)
	for i, l := range m.isa {
		if l.Level() {
			t.Errorf("ISA interrupt %d before it is routed", i)
		}
	}
	m.out(lpc, 0x68, 1, 10)
	if !m.isa[10].Level() || !m.gsi[4].Level() {
		t.Error("PIRQE does not arrive at 10")
	}
	m.out(lpc, 0x68, 4, 0x0b0b0b0b)
	if m.isa[10].Level() || !m.isa[11].Level() {
		t.Error("PIRQE did not move to 11")
	}
	m.out(lpc, 0x68, 1, 0x8b)
	if m.isa[11].Level() || !m.gsi[4].Level() {
		t.Error("PIRQE not cut off")
	}
	m.out(lpc, 0x68, 1, 8) // reserved
	if m.isa[8].Level() {
		t.Error("PIRQE at the real-time clock's interrupt")
	}
}

func TestChipsetRoutes(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{RCBA: 0xfed1c000})
	f := device("sata", 2)
	m.add(31, 2, f)
	r := m.host.Router()
	if r.Route(31, 1) != 1 || r.Route(24, 1) != 4+1 || r.Route(2, 3) != 4+1 || r.Route(30, 2) != 6 {
		t.Error("default routes are not as documented")
	}
	f.Raise(0)
	if !m.gsi[1].Level() {
		t.Error("INTB# of device 31 is not PIRQB")
	}
	m.mmio.Write(0xfed1c000+0x3140, 2, 0x3270)
	if m.gsi[1].Level() || !m.gsi[7].Level() || r.Route(31, 1) != 7 {
		t.Error("D31IR does not route")
	}
	if got := m.mmio.Read(0xfed1c000+0x3140, 2); got != 0x3270 {
		t.Errorf("D31IR reads %#x", got)
	}
	m.host.Reset()
	if r.Route(31, 1) != 1 {
		t.Error("reset keeps the route")
	}
}

func TestMSI(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	f := device("dev", 1)
	a := m.add(3, 0, f)
	cap := m.capability(a, pci.CapMSI)
	if cap == 0 || m.in(a, cap+2, 2) != 2<<1|0x180 {
		t.Fatalf("MSI capability at %#x: control %#x", cap, m.in(a, cap+2, 2))
	}
	m.out(a, pci.RegCommand, 2, pci.CommandMaster)
	m.out(a, cap+4, 4, 0xfee01007)
	m.out(a, cap+8, 4, 0)
	m.out(a, cap+12, 2, 0x4043)
	f.Raise(1)
	if len(m.msi.Take()) != 0 || f.Mode() != pci.ModeINTx {
		t.Error("message while disabled")
	}
	f.INTx().Set(true)
	line := m.gsi[4+3]
	if !line.Level() {
		t.Error("pin does not work while MSI is disabled")
	}
	m.out(a, cap+2, 2, 1|1<<4) // enabled, two messages granted
	if line.Level() || f.Mode() != pci.ModeMSI {
		t.Error("pin asserted in MSI mode")
	}
	f.Lower()
	for v, data := range []uint32{0x4042, 0x4043, 0x4043, 0x4043} {
		f.Raise(v)
		if got := m.msi.Take(); len(got) != 1 || got[0] != (devtest.Message{Addr: 0xfee01004, Data: data}) {
			t.Errorf("vector %d: %x", v, got)
		}
	}
	// Masking.
	m.out(a, cap+16, 4, 1<<1)
	f.Raise(1)
	f.Raise(1)
	if len(m.msi.Take()) != 0 || m.in(a, cap+20, 4) != 1<<1 {
		t.Errorf("masked vector: pending %#x", m.in(a, cap+20, 4))
	}
	m.out(a, cap+16, 4, 0)
	if got := m.msi.Take(); len(got) != 1 || got[0].Data != 0x4043 || m.in(a, cap+20, 4) != 0 {
		t.Errorf("after unmasking: %x", got)
	}
	m.out(a, pci.RegCommand, 2, 0)
	f.Raise(0)
	if len(m.msi.Take()) != 0 {
		t.Error("message without bus mastering")
	}
}

// TestMSIXStrict breaks each rule for the vector table once, and has accesses to it traced by name.
func TestMSIXStrict(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	f := device("dev", 1)
	a := m.add(3, 0, f)
	cap := m.capability(a, pci.CapMSIX)
	const base = 0xfd000000
	m.out(a, 0x20, 4, base)
	m.out(a, pci.RegCommand, 2, pci.CommandMaster|pci.CommandMemory)
	rec := &devtest.Recorder{}
	f.Probe().Watch(devices.ClassStrict|devices.ClassRegister, rec, nil)
	for _, x := range []struct {
		name string
		do   func()
		want string // "" for nothing
	}{
		{"unmasked while disabled", func() { m.mmio.Write(base+16+12, 4, 0) }, ""},
		{"masked again", func() { m.mmio.Write(base+16+12, 4, 1) }, ""},
		{"enabled and masked", func() { m.out(a, cap+2, 2, 3<<14) }, ""},
		{"set up", func() { m.mmio.Write(base, 8, 0xfee00000); m.mmio.Write(base+8, 8, 0x30) }, ""},
		{"function unmasked", func() { m.out(a, cap+2, 2, 1<<15) }, ""},
		{"used before it is set up", func() { m.mmio.Write(base+32+12, 4, 0) }, "PCI 3.0, 6.8.3.2: MSI-X entry 2 is unmasked while MSI-X is enabled"},
		{"changed while in use", func() { m.mmio.Write(base, 4, 0xfee01000) }, "PCI 3.0, 6.8.2: the message of MSI-X entry 0 is changed"},
		{"the same written again", func() { m.mmio.Write(base, 4, 0xfee01000) }, ""},
		{"address", func() { m.mmio.Write(base+48, 4, 0xfee00002) }, "PCI 3.0, 6.8.2.6: the message address of MSI-X entry 3 is 0xfee00002"},
		{"control", func() { m.mmio.Write(base+48+12, 4, 0x11) }, "PCI 3.0, 6.8.2.9: the vector control of MSI-X entry 3 is 0x11"},
		{"disabled", func() { m.out(a, cap+2, 2, 0) }, ""},
		{"unmasked", func() {
			m.mmio.Write(base+48, 4, 0)
			m.mmio.Write(base+48+12, 4, 0)
			m.mmio.Write(base+32, 4, 0xfee00000)
		}, ""},
		{"enabled before it is set up", func() { m.out(a, cap+2, 2, 1<<15) }, "PCI 3.0, 6.8.3.2: MSI-X entry 3"},
	} {
		x.do()
		if l := rec.Violations(); x.want == "" && len(l) != 0 || x.want != "" && (len(l) != 1 || !strings.HasPrefix(l[0], x.want)) {
			t.Errorf("%s: %q, want %q", x.name, l, x.want)
		}
	}
	m.mmio.Write(base+2048, 8, 1)
	for _, want := range []string{"register Message_Address[0] write=true value=0xfee01000", "register Vector_Control[2] write=true value=0x0", "register Pending_Bits[0] write=true value=0x1 err=write to a read-only"} {
		if !rec.Has(want) {
			t.Errorf("no %q in\n%s", want, rec.Log())
		}
	}
}

func TestMSIX(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	f := device("dev", 1)
	a := m.add(3, 0, f)
	cap := m.capability(a, pci.CapMSIX)
	if m.in(a, cap+2, 2) != 69 || m.in(a, cap+4, 4) != 4 || m.in(a, cap+8, 4) != 2048|4 {
		t.Fatalf("capability: %#x %#x %#x", m.in(a, cap+2, 2), m.in(a, cap+4, 4), m.in(a, cap+8, 4))
	}
	const base = 0xfd000000
	m.out(a, 0x20, 4, base)
	m.out(a, pci.RegCommand, 2, pci.CommandMaster|pci.CommandMemory)
	entry := func(v uint64) uint64 { return base + 16*v }
	pending := func(v uint64) bool { return m.mmio.Read(base+2048+v/64*8, 8)>>(v%64)&1 != 0 }
	if m.mmio.Read(entry(69)+12, 4) != 1 {
		t.Error("vectors are not masked after reset")
	}
	for v := range uint64(70) {
		m.mmio.Write(entry(v), 8, 0xfee00000+v<<12)
		m.mmio.Write(entry(v)+8, 4, 0x30+v)
		m.mmio.Write(entry(v)+12, 4, 0)
	}
	f.Raise(1)
	if len(m.msi.Take()) != 0 {
		t.Error("message while disabled")
	}
	f.Lower()
	m.out(a, cap+2, 2, 1<<15)
	for _, v := range []uint64{0, 63, 64, 69} {
		f.Raise(int(v))
		if got := m.msi.Take(); len(got) != 1 || got[0] != (devtest.Message{Addr: 0xfee00000 + v<<12, Data: uint32(0x30 + v)}) {
			t.Errorf("vector %d: %x", v, got)
		}
	}
	f.Raise(70)
	f.Raise(-1)
	if len(m.msi.Take()) != 0 {
		t.Error("vectors that do not exist")
	}
	m.mmio.Write(entry(64)+12, 4, 1)
	f.Raise(64)
	f.Raise(64)
	if len(m.msi.Take()) != 0 || !pending(64) || pending(63) {
		t.Error("masked vector is not pending")
	}
	m.mmio.Write(entry(64)+8, 8, 0x99) // data and vector control at once
	if got := m.msi.Take(); len(got) != 1 || got[0].Data != 0x99 || pending(64) {
		t.Errorf("after unmasking: %x", got)
	}
	m.out(a, cap+2, 2, 3<<14)
	f.Raise(2)
	f.Raise(65)
	if len(m.msi.Take()) != 0 || !pending(2) || !pending(65) {
		t.Error("function mask")
	}
	m.out(a, cap+2, 2, 1<<15)
	if got := m.msi.Take(); len(got) != 2 || pending(2) || pending(65) {
		t.Errorf("after unmasking the function: %x", got)
	}
	// A message elsewhere is a write to memory.
	m.mmio.Write(entry(0), 8, 0x1000)
	f.Raise(0)
	if got, _ := m.ram.View(0x1000, 4); got[0] != 0x30 || len(m.msi.Take()) != 0 {
		t.Errorf("memory write: %x", got)
	}
	m.mmio.Write(entry(0), 8, 0x7777777777777000)
	f.Raise(0)
	// Sizes and places that the table does not have.
	for _, c := range []struct {
		addr uint64
		size int
	}{{entry(0), 1}, {entry(0), 2}, {entry(0) + 4, 8}, {entry(70), 4}, {base + 2048 + 16, 8}, {base + 4000, 4}} {
		if got := m.mmio.Read(c.addr, c.size); got != 1<<(8*c.size)-1 {
			t.Errorf("%#x/%d reads %#x", c.addr, c.size, got)
		}
		m.mmio.Write(c.addr, c.size, 0)
	}
	m.mmio.Write(base+2048, 8, 0xff)
	if m.mmio.Read(base+2048, 8) != 0 {
		t.Error("pending bits can be written")
	}
}

func TestExpressCapability(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{ECAM: ecamBase}, pci.LPCConfig{})
	f := pci.NewFunction("dev", pci.Identity{Vendor: 1})
	resets := 0
	f.OnReset(func() { resets++; f.Reset() })
	f.AddExpress(pci.IntegratedEndpoint)
	f.AddExtended(3, 1, []byte{1, 2, 3, 4, 5, 6, 7, 8}, nil)
	f.AddExtended(0x0b, 1, make([]byte, 8), []byte{0xff})
	a := m.add(3, 0, f)
	x := m.capability(a, pci.CapExpress)
	if x == 0 || m.in(a, x+2, 2) != 0x92 {
		t.Fatalf("capability at %#x: %#x", x, m.in(a, x+2, 2))
	}
	m.out(a, pci.RegIntLine, 1, 7)
	m.out(a, x+8, 2, 0x8000|0x2810)
	if resets != 1 || m.in(a, pci.RegIntLine, 1) != 0 {
		t.Errorf("%d resets by function-level reset", resets)
	}
	ext := uint64(ecamBase + 3<<15 + 0x100)
	if got := m.mmio.Read(ext, 4); got != 0x10c10003 {
		t.Errorf("first extended capability: %#x", got)
	}
	if got := m.mmio.Read(ext+12, 4); got != 0x0001000b {
		t.Errorf("second extended capability: %#x", got)
	}
	m.mmio.Write(ext+16, 4, 0xffffffff)
	if got := m.mmio.Read(ext+16, 4); got != 0xff {
		t.Errorf("extended register reads %#x", got)
	}
}
