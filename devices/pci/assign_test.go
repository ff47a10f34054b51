package pci_test

import (
	"strings"
	"testing"

	"dfemu/devices/pci"
)

func TestAssign(t *testing.T) {
	for name, high := range map[string]pci.Window{"with 64 bits": {Base: 0x800000000, Limit: 0xfffffffff}, "without": {}} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{})
			a, b, c := device("a", 1), device("b", 2), device("c", 4)
			m.add(3, 0, a)
			p, _ := m.port(true)
			if err := p.Populate(b, c); err != nil {
				t.Fatal(err)
			}
			empty := pci.NewRootPort(pci.PortConfig{Name: "rp1", Slot: 6, HotPlug: true, Pin: 2})
			m.add(2, 1, empty.Function)
			closed := pci.NewRootPort(pci.PortConfig{Name: "rp2", Slot: 7})
			m.add(2, 2, closed.Function)
			w := pci.Windows{
				IO: pci.Window{Base: 0xc000, Limit: 0xffff}, Mem32: pci.Window{Base: 0xc0000000, Limit: 0xfebfffff}, Mem64: high,
				Lines: [8]uint8{10, 10, 11, 11, 10, 10, 11, 11},
			}
			for range 2 { // once more after a reset
				m.host.Reset()
				if err := m.host.Assign(w); err != nil {
					t.Fatal(err)
				}
				used := map[uint64]string{}
				for _, f := range []*pci.Function{a, b, c} {
					for _, n := range []int{0, 1, 2, 4} {
						base, on := f.BARAddress(n)
						if !on {
							t.Errorf("%s BAR%d is not mapped at %#x", f.Name(), n, base)
						}
						in := w.Mem32
						if n == 0 {
							in = w.IO
						} else if n == 2 && high.Base != 0 {
							in = high
						}
						if base < in.Base || base > in.Limit || used[base] != "" {
							t.Errorf("%s BAR%d is at %#x, as is %q", f.Name(), n, base, used[base])
						}
						used[base] = f.Name()
					}
				}
				if bus, _, fn, _ := c.Address(); bus != 1 || fn != 1 {
					t.Errorf("c is on bus %d, function %d", bus, fn)
				}
				if empty.Secondary().Number() != 2 || closed.Secondary().Number() != 3 {
					t.Error("buses are not numbered")
				}
				// INTD# of device 0 behind device 2: PIRQ 4+(2+3)%4.
				if got := c.Config(pci.RegIntLine, 1); got != uint32(w.Lines[4+1]) {
					t.Errorf("interrupt line %d", got)
				}
				if got := closed.Config(pci.RegMemBase, 4); got>>16 >= got&0xffff {
					t.Errorf("window of an empty port is open: %#x", got)
				}
				if got := empty.Config(pci.RegMemBase, 4); (got>>16&0xfff0)-(got&0xfff0) != 0x30 {
					t.Errorf("window for hot-plug: %#x", got)
				}
			}
			w.Mem32.Limit = w.Mem32.Base + 0xfffff
			m.host.Reset()
			if err := m.host.Assign(w); err == nil || !strings.Contains(err.Error(), "too small") {
				t.Errorf("small window: %v", err)
			}
		})
	}
}
