package pci_test

import (
	"testing"

	"dfemu/devices"
	"dfemu/devices/pci"
)

// saved is a machine with a bridge and a device in use.
func saved(t *testing.T) (*machine, []devices.Saver, *pci.Function) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
	p, _ := m.port(true)
	f := device("dev", 1)
	if err := p.Populate(f); err != nil {
		t.Fatal(err)
	}
	return m, []devices.Saver{m.host, m.mch, m.lpc, p, f}, f
}

func TestSave(t *testing.T) {
	m, savers, f := saved(t)
	m.openPort(bdf(0, 2, 0))
	d := bdf(1, 0, 0)
	m.out(bdf(0, 0, 0), 0x60, 4, 0xc0000001)
	m.out(bdf(0, 0, 0), 0x9d, 1, 0x1a)
	m.out(bdf(0, 31, 0), 0xf0, 4, 0xfed1c001)
	m.out(bdf(0, 31, 0), 0x60, 1, 11)
	m.mmio.Write(0xfed1c000+0x3140, 2, 0x4567)
	m.out(d, 0x14, 4, 0xfd000000)
	m.out(d, 0x20, 4, 0xfd010000)
	m.out(d, 4, 2, 7)
	cap := m.capability(d, pci.CapMSIX)
	m.mmio.Write(0xfd010000, 8, 0xfee00000)
	m.mmio.Write(0xfd010008, 4, 0x77)
	f.Raise(0)
	m.out(d, cap+2, 2, 3<<14)
	f.Raise(0)
	m.ports.Write(0xcf8, 4, 0x80001234)

	var states [][]byte
	for _, s := range savers {
		p, err := s.SaveState()
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, p)
	}
	n, savers, _ := saved(t)
	for i, s := range savers {
		if err := s.RestoreState(states[i]); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.ports.Read(0xcf8, 4); got != 0x80001234 {
		t.Errorf("configuration address %#x", got)
	}
	for i := range 256 / 4 {
		for _, a := range []uint32{bdf(0, 0, 0), bdf(0, 31, 0), bdf(0, 2, 0), d} {
			if got, want := n.in(a, 4*i, 4), m.in(a, 4*i, 4); got != want {
				t.Errorf("%#x, register %#x: %#x, want %#x", a, 4*i, got, want)
			}
		}
	}
	if got, want := len(n.mmio.Mappings()), len(m.mmio.Mappings()); got != want {
		t.Errorf("%d mappings, want %d", got, want)
	}
	if n.host.Router().Route(31, 0) != 7 {
		t.Error("route lost")
	}
	n.out(bdf(0, 0, 0), 0x9d, 1, 0x4a)
	if !n.mch.SMRAM().Locked || n.mch.SMRAM().Open {
		t.Error("lock of SMRAM lost")
	}
	n.mmio.Write(0xfd01000c, 4, 0)
	n.out(d, cap+2, 2, 1<<15)
	if got := n.msi.Take(); len(got) != 1 || got[0].Data != 0x77 {
		t.Errorf("pending message: %x", got)
	}
	n.out(d, cap+2, 2, 0)
	if !n.gsi[4+2].Level() {
		t.Error("level of the pin lost")
	}
}

func TestRestoreErrors(t *testing.T) {
	_, savers, f := saved(t)
	for i, s := range savers {
		p, err := s.SaveState()
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range [][]byte{nil, p[:1], p[:len(p)-1], append([]byte{99}, p[1:]...)} {
			if s.RestoreState(bad) == nil {
				t.Errorf("saver %d takes %d bytes of another state", i, len(bad))
			}
		}
	}
	g := pci.NewFunction("other", pci.Identity{Vendor: 7})
	p, _ := g.SaveState()
	q, _ := f.SaveState()
	if g.RestoreState(append(p[:2:2], q[2:2+pci.ConfigSize]...)) == nil {
		t.Error("state of another kind of device accepted")
	}
}
