package pci_test

import (
	"testing"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/pci"
)

const ecamBase = 0xb0000000

// machine is a host with everything around it, driven through ports and memory.
type machine struct {
	t     testing.TB
	mmio  devices.Space
	ports devices.Space
	ram   *devtest.RAM
	msi   devtest.MSI
	gsi   [8]*devtest.Line
	isa   [16]*devtest.Line
	host  *pci.Host
	mch   *pci.MCH
	lpc   *pci.LPC
}

func newMachine(t testing.TB, mc pci.MCHConfig, lc pci.LPCConfig) *machine {
	t.Helper()
	m := &machine{t: t, ram: devtest.NewRAM(1 << 20)}
	env := pci.Env{MMIO: &m.mmio, Ports: &m.ports, Memory: m.ram, MSI: &m.msi}
	for i := range m.gsi {
		m.gsi[i] = &devtest.Line{}
		env.PIRQ[i] = m.gsi[i]
	}
	for i := range m.isa {
		m.isa[i] = &devtest.Line{}
		env.ISA[i] = m.isa[i]
	}
	m.host = pci.NewHost(env)
	var err error
	if m.mch, err = pci.NewMCH(m.host, mc); err != nil {
		t.Fatal(err)
	}
	if m.lpc, err = pci.NewLPC(m.host, lc); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ports.Map(devices.Mapping{Name: "pci", Base: 0xcf8, Size: 8, Region: m.host.ConfigPorts()}); err != nil {
		t.Fatal(err)
	}
	return m
}

func bdf(bus, dev, fn int) uint32 { return uint32(bus<<16 | dev<<11 | fn<<8) }

// in and out access configuration space through mechanism #1.
func (m *machine) in(addr uint32, off, size int) uint32 {
	m.ports.Write(0xcf8, 4, uint64(1<<31|addr|uint32(off)&0xfc))
	return uint32(m.ports.Read(0xcfc+uint64(off&3), size))
}

func (m *machine) out(addr uint32, off, size int, v uint32) {
	m.ports.Write(0xcf8, 4, uint64(1<<31|addr|uint32(off)&0xfc))
	m.ports.Write(0xcfc+uint64(off&3), size, uint64(v))
}

// capability finds a capability by following the list.
func (m *machine) capability(addr uint32, id uint8) int {
	m.t.Helper()
	if m.in(addr, pci.RegStatus, 2)&pci.StatusCapList == 0 {
		return 0
	}
	off := int(m.in(addr, pci.RegCapPtr, 1))
	for n := 0; off != 0; n++ {
		if n > 48 || off < 0x40 || off&3 != 0 {
			m.t.Fatalf("bad capability list at %#x", off)
		}
		if uint8(m.in(addr, off, 1)) == id {
			return off
		}
		off = int(m.in(addr, off+1, 1))
	}
	return 0
}

// scratch is a region of plain storage.
type scratch struct{ v [256]byte }

func (s *scratch) Read(off uint64, size int) (uint64, error) {
	v := uint64(0)
	for i := range uint64(size) {
		v |= uint64(s.v[(off+i)%256]) << (8 * i)
	}
	return v, nil
}

func (s *scratch) Write(off uint64, size int, v uint64) error {
	for i := range uint64(size) {
		s.v[(off+i)%256] = byte(v >> (8 * i))
	}
	return nil
}

// device returns a function with a BAR of each kind, MSI and MSI-X.
func device(name string, pin uint8) *pci.Function {
	f := pci.NewFunction(name, pci.Identity{
		Vendor: 0x1234, Device: 0x5678, Revision: 3, Class: 0x010802, SubsystemVendor: 0xaaaa, Subsystem: 0xbbbb, Pin: pin,
	})
	f.AddBAR(0, pci.BAR{Kind: pci.BARIO, Size: 32, Region: &scratch{}})
	f.AddBAR(1, pci.BAR{Kind: pci.BARMem32, Size: 4096, Region: &scratch{}})
	f.AddBAR(2, pci.BAR{Kind: pci.BARMem64, Prefetchable: true, Size: 1 << 20, Region: &scratch{}})
	f.AddMSIXBAR(70, 4)
	f.AddMSI(4, true, true)
	f.AddPM()
	return f
}

func (m *machine) add(dev, fn int, f *pci.Function) uint32 {
	m.t.Helper()
	if err := m.host.Bus().Add(dev, fn, f); err != nil {
		m.t.Fatal(err)
	}
	return bdf(0, dev, fn)
}
