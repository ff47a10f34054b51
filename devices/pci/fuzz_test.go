package pci_test

import (
	"encoding/binary"
	"testing"

	"dfemu/devices"
	"dfemu/devices/pci"
)

// step is one configuration access as fuzz targets encode it: bus and function,
// register, size, value.
func step(bus, dev, fn byte, reg uint16, size byte, v uint32) []byte {
	b := []byte{bus, dev<<3 | fn, byte(reg), byte(reg >> 8), size}
	return binary.LittleEndian.AppendUint32(b, v)
}

func join(l ...[]byte) (all []byte) {
	for _, b := range l {
		all = append(all, b...)
	}
	return all
}

// FuzzConfig makes random configuration accesses on a machine with bridges,
// devices and hot-plug, and then checks that what is mapped is what the
// registers say.
func FuzzConfig(f *testing.F) {
	f.Add([]byte{})
	f.Add(join(step(0, 3, 0, 0x14, 4, 0xfd000000), step(0, 3, 0, 4, 2, 7), step(0, 3, 0, 0x14, 4, 0xffffffff)))
	f.Add(join(step(0, 2, 0, 0x18, 4, 0x00020100), step(0, 2, 0, 0x20, 4, 0xfd00fd00), step(0, 2, 0, 4, 2, 7),
		step(1, 0, 0, 0x14, 4, 0xfd000000), step(1, 0, 0, 4, 2, 7), step(0, 2, 0, 0x3e, 2, 0x40)))
	f.Add(join(step(0, 2, 0, 0x18, 4, 0x00020100), step(0xfe, 0, 0, 0, 1, 0), step(0xfe, 0, 0, 0, 1, 1), step(0xfe, 0, 0, 0, 1, 2)))
	f.Add(join(step(0, 0, 0, 0x60, 4, 0xc0000001), step(0, 0, 0, 0x9d, 1, 0x5a), step(0, 31, 0, 0xf0, 4, 0xfed1c001), step(0, 31, 0, 0x40, 4, 0x600)))
	f.Fuzz(func(t *testing.T, p []byte) {
		m := newMachine(t, pci.MCHConfig{ECAM: ecamBase}, pci.LPCConfig{})
		port, _ := m.port(true)
		below, direct, spare := device("below", 1), device("direct", 2), device("spare", 3)
		m.add(3, 0, direct)
		if err := port.Populate(below); err != nil {
			t.Fatal(err)
		}
		for n := 0; len(p) >= 9 && n < 200; n, p = n+1, p[9:] {
			size := []int{1, 2, 4, 4}[p[4]&3]
			if p[4] == 4 {
				size = 4
			}
			off := int(binary.LittleEndian.Uint16(p[2:])&0xfff) &^ (size - 1)
			v := binary.LittleEndian.Uint32(p[5:])
			if p[0] == 0xfe { // things that happen from outside
				switch v % 6 {
				case 0:
					_ = port.Unplug(nil)
				case 1:
					port.Eject()
				case 2:
					_ = port.Plug(spare)
				case 3:
					direct.Raise(int(v >> 8 & 0xff))
				case 4:
					below.Raise(int(v >> 8 & 0xff))
				case 5:
					m.host.Reset()
				}
				continue
			}
			m.host.WriteConfig(int(p[0]), int(p[1]), off, size, v)
			m.host.ReadConfig(int(p[0]), int(p[1]), off, size)
		}
		checkMappings(t, m, direct, below, spare)
		m.host.Reset()
		for _, f := range []*pci.Function{direct, below, spare} {
			f.Lower()
		}
		for i, l := range m.gsi {
			if l.Level() {
				t.Errorf("PIRQ %d is asserted at rest", i)
			}
		}
		if m.host.ReadConfig(0, 3<<3, 0, 4) != 0x56781234 {
			t.Error("identity changed")
		}
	})
}

// checkMappings compares what is mapped with what the functions say of
// themselves.
func checkMappings(t *testing.T, m *machine, fns ...*pci.Function) {
	t.Helper()
	found := map[string]devices.Mapping{}
	for _, s := range []*devices.Space{&m.mmio, &m.ports} {
		for _, x := range s.Mappings() {
			if _, dup := found[x.Name]; dup {
				t.Errorf("%s is mapped twice", x.Name)
			}
			found[x.Name] = x
		}
	}
	for _, f := range fns {
		cmd := f.Config(pci.RegCommand, 2)
		for i, enable := range map[int]uint32{0: pci.CommandIO, 1: pci.CommandMemory, 2: pci.CommandMemory, 4: pci.CommandMemory} {
			name := f.Name() + " BAR" + string(rune('0'+i))
			x, mapped := found[name]
			base, on := f.BARAddress(i)
			if _, _, _, onBus := f.Address(); !onBus {
				if mapped {
					t.Errorf("%s is mapped and not on a bus", name)
				}
				continue
			}
			if on != mapped || mapped && x.Base != base {
				t.Errorf("%s is mapped %v at %#x, function says %v at %#x", name, mapped, x.Base, on, base)
			}
			if mapped && cmd&enable == 0 {
				t.Errorf("%s is mapped while disabled", name)
			}
			reg := uint64(f.Config(pci.RegBAR0+4*i, 4) &^ 15)
			if i == 0 {
				reg = uint64(f.Config(pci.RegBAR0, 4) &^ 3)
			}
			if mapped && reg != base&0xffffffff {
				t.Errorf("%s is mapped at %#x, its register says %#x", name, base, reg)
			}
			if !mapped && f.Name() == "direct" && cmd&enable != 0 && i == 1 && reg != 0 && reg != 0xfffff000 {
				t.Errorf("%s is not mapped at %#x", name, reg)
			}
		}
	}
}

// FuzzMSIX accesses the structures of MSI-X at random places and sizes.
func FuzzMSIX(f *testing.F) {
	f.Add([]byte{0, 0, 4, 1, 0x0c, 0, 4, 0, 0, 8, 8, 0})
	f.Add([]byte{0, 0, 8, 0xff, 0x5c, 4, 4, 0, 0x60, 4, 4, 0, 0xff, 7, 1, 3})
	f.Fuzz(func(t *testing.T, p []byte) {
		m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
		fn := device("dev", 1)
		a := m.add(3, 0, fn)
		m.out(a, 0x20, 4, 0xfd000000)
		m.out(a, 4, 2, 6)
		m.out(a, m.capability(a, pci.CapMSIX)+2, 2, 0x8000)
		for ; len(p) >= 4; p = p[4:] {
			size := 1 << (p[2] & 3)
			off := (uint64(p[0]) | uint64(p[1])<<8) & 0xfff &^ uint64(size-1)
			m.mmio.Write(0xfd000000+off, size, uint64(p[3])*0x01010101)
			m.mmio.Read(0xfd000000+off, size)
			fn.Raise(int(p[3]))
		}
		for v := range 70 {
			if m.mmio.Read(0xfd000000+uint64(v)*16+12, 4)&^1 != 0 {
				t.Errorf("vector control %d has bits that are reserved", v)
			}
		}
	})
}
