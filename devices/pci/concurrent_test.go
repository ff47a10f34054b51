package pci_test

import (
	"sync"
	"testing"

	"dfemu/devices/pci"
)

// TestConcurrent has several CPUs program one function, its bridge and its
// slot, while the device interrupts and transfers. It is for the race detector;
// at rest the mappings must be what the registers say.
func TestConcurrent(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{ECAM: ecamBase}, pci.LPCConfig{})
	p, a := m.port(true)
	f := device("dev", 1)
	f.OnReset(f.Reset)
	if err := p.Populate(f); err != nil {
		t.Fatal(err)
	}
	m.openPort(a)
	ecam := func(bus, dev uint64, reg int) uint64 { return ecamBase + bus<<20 + dev<<15 + uint64(reg) }
	x := m.capability(a, pci.CapExpress)
	var wg sync.WaitGroup
	for cpu := range 3 {
		wg.Go(func() {
			for i := range 150 {
				m.mmio.Write(ecam(1, 0, 0x14), 4, 0xfd000000+uint64(i+cpu)<<12&0xff000)
				m.mmio.Write(ecam(1, 0, 4), 2, uint64(i*3+cpu)&7|2)
				m.mmio.Read(0xfd000000, 4)
				if i%16 == cpu {
					m.mmio.Write(ecam(0, 2, x+slotControl), 2, uint64(i&16)<<6)
				}
				if i%32 == 0 {
					m.mmio.Write(ecam(0, 2, 4), 2, uint64(i>>5&1)*7)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 500 {
			f.Raise(i & 63)
			_ = f.DMA().Write(0x1000, []byte{1})
			f.Lower()
		}
	})
	wg.Go(func() {
		for range 20 {
			_ = p.Unplug(nil)
			p.Eject()
			_ = p.Plug(f)
		}
	})
	wg.Wait()
	checkMappings(t, m, f)
	f.Lower()
	if m.gsi[4+2].Level() {
		t.Error("pin is asserted at rest")
	}
}
