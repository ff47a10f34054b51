package pci_test

import (
	"testing"

	"dfemu/devices/pci"
)

func TestPAM(t *testing.T) {
	var last []pci.PAMRange
	m := newMachine(t, pci.MCHConfig{PAM: func(r []pci.PAMRange) { last = r }}, pci.LPCConfig{})
	mch := bdf(0, 0, 0)
	find := func(base uint64) pci.PAMRange {
		for _, r := range last {
			if r.Base == base {
				return r
			}
		}
		t.Fatalf("no range at %#x", base)
		return pci.PAMRange{}
	}
	m.out(mch, 0x90, 1, 0x30)
	if r := find(0xf0000); r.Size != 0x10000 || !r.Read || !r.Write {
		t.Errorf("%+v", r)
	}
	m.out(mch, 0x92, 1, 0x12) // 0xC8000 write only, 0xCC000 read only
	if r := find(0xc8000); r.Read || !r.Write || r.Size != 0x4000 {
		t.Errorf("%+v", r)
	}
	if r := find(0xcc000); !r.Read || r.Write {
		t.Errorf("%+v", r)
	}
	if r := find(0xec000); r.Read || r.Write || len(last) != 13 {
		t.Errorf("%+v of %d", r, len(last))
	}
	m.host.Reset()
	if r := find(0xf0000); r.Read || r.Write {
		t.Errorf("after reset %+v", r)
	}
}

func TestSMRAM(t *testing.T) {
	var last pci.SMRAM
	m := newMachine(t, pci.MCHConfig{SMRAM: func(s pci.SMRAM) { last = s }}, pci.LPCConfig{})
	mch := bdf(0, 0, 0)
	m.out(mch, 0x9d, 1, 0x4a)
	if !last.Enabled || !last.Open || last.Locked || last.TSEG != 0 {
		t.Errorf("%+v", last)
	}
	m.out(mch, 0x9e, 1, 0x03)
	if last.TSEG != 2<<20 {
		t.Errorf("%+v", last)
	}
	m.out(mch, 0x9d, 1, 0x5a) // lock closes
	m.out(mch, 0x9d, 1, 0x4a)
	m.out(mch, 0x9e, 1, 0)
	if !last.Locked || last.Open || !last.Enabled || last.TSEG != 2<<20 {
		t.Errorf("locked: %+v", last)
	}
	m.host.Reset()
	m.out(mch, 0x9d, 1, 0x4a)
	if last.Locked || !last.Open {
		t.Errorf("after reset: %+v", last)
	}
}

func TestLPC(t *testing.T) {
	var base uint16
	var on bool
	irq := 0
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{
		PM:  func(b uint16, o bool) { base, on = b, o },
		SCI: func(i int) { irq = i },
	})
	lpc := bdf(0, 31, 0)
	m.out(lpc, 0x40, 4, 0x600|1)
	if base != 0x600 || on {
		t.Errorf("PM block at %#x, %v before it is enabled", base, on)
	}
	m.out(lpc, 0x44, 1, 0x80)
	if base != 0x600 || !on || irq != 9 {
		t.Errorf("PM block at %#x, %v, SCI %d", base, on, irq)
	}
	if got := m.in(lpc, 0x40, 4); got != 0x601 {
		t.Errorf("PMBASE reads %#x", got)
	}
	for v, want := range map[uint32]int{0: 9, 1: 10, 2: 11, 4: 20, 5: 21} {
		m.out(lpc, 0x44, 1, 0x80|v)
		if irq != want {
			t.Errorf("SCI select %d: %d, want %d", v, irq, want)
		}
	}
	m.out(lpc, 0x40, 4, 0xb000)
	if base != 0xb000 || !on {
		t.Errorf("PM block did not move: %#x", base)
	}
	m.out(lpc, 0xf0, 4, 0xfed1c001)
	if got := m.mmio.Read(0xfed1c000+0x3404, 4); got != 0x80 {
		t.Errorf("HPTC reads %#x", got)
	}
	m.mmio.Write(0xfed1c000+0x3410, 4, 0x20)
	if !m.lpc.NoReboot() {
		t.Error("GCS.NR not seen")
	}
	m.host.Reset()
	if base != 0 || on || m.lpc.NoReboot() || m.mmio.Read(0xfed1c000+0x3404, 4) != 0xffffffff {
		t.Error("state survives reset")
	}
}

func TestLPCPreset(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{}, pci.LPCConfig{PMBase: 0x600, RCBA: 0xfed1c000})
	for range 2 {
		if base, on := m.lpc.PM(); base != 0x600 || !on {
			t.Errorf("PM block at %#x, %v", base, on)
		}
		if base, on := m.lpc.HPET(); base != 0xfed00000 || !on {
			t.Errorf("HPET at %#x, %v", base, on)
		}
		m.host.Reset()
	}
}

func TestTopOfMemory(t *testing.T) {
	m := newMachine(t, pci.MCHConfig{LowTop: 0x80000000, HighTop: 0x180000000}, pci.LPCConfig{})
	if got := m.in(bdf(0, 0, 0), 0xb0, 2); got != 0x8000 {
		t.Errorf("TOLUD %#x", got)
	}
	if got := m.in(bdf(0, 0, 0), 0xa2, 2); got != 0x1800 {
		t.Errorf("TOUUD %#x", got)
	}
}
