package ahci_test

import (
	"bytes"
	"fmt"
	"testing"

	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
)

// pmRead and pmWrite access a register of the port multiplier.
func (h *hba) pmRead(port, reg int) (uint32, bool) {
	h.t.Helper()
	tfd := h.do(0, 0, command{Task: ata.Task{Command: 0xe4, Feature: uint16(reg), Device: uint8(port)}, pmp: 15})
	f := h.bytes(h.rx(15)+0x40, 20)
	if tfd&1 != 0 {
		h.restart(0)
		return 0, false
	}
	return uint32(f[12]) | uint32(f[4])<<8 | uint32(f[5])<<16 | uint32(f[6])<<24, true
}

func (h *hba) pmWrite(port, reg int, v uint32) bool {
	h.t.Helper()
	tfd := h.do(0, 0, command{Task: ata.Task{
		Command: 0xe8, Feature: uint16(reg), Device: uint8(port), Count: uint16(v & 0xff), LBA: uint64(v >> 8),
	}, pmp: 15})
	if tfd&1 != 0 {
		h.restart(0)
	}
	return tfd&1 == 0
}

// rx is where FISes of a device port go.
func (h *hba) rx(pmp int) uint64 {
	if h.pget(0, pFBS)&1 != 0 {
		return rxAt(0) + uint64(pmp)*0x100
	}
	return rxAt(0)
}

func (h *hba) softReset(pmp uint8) {
	h.t.Helper()
	h.build(0, 0, command{Task: ata.Task{Control: 4}, ctl: true, flags: 1<<8 | 1<<10, pmp: pmp})
	h.pset(0, pCI, 1)
	h.until("first FIS taken", func() bool { return h.pget(0, pCI) == 0 })
	h.build(0, 0, command{ctl: true, pmp: pmp})
	h.pset(0, pCI, 1)
	h.until("second FIS answered", func() bool { return h.pget(0, pCI) == 0 })
}

func TestMultiplier(t *testing.T) {
	for _, fbs := range []bool{false, true} {
		t.Run(fmt.Sprintf("FBS %v", fbs), func(t *testing.T) {
			h := newHBA(t, ahci.Options{PortMultipliers: true, FISSwitching: fbs})
			m, err := h.dev.AttachMultiplier(0, 3)
			if err != nil {
				t.Fatal(err)
			}
			stores := [3]*store{newStore(t, 1<<20), newStore(t, 1<<20), newStore(t, 1<<20)}
			for i := range 2 {
				if err := m.Attach(i, h.newDisk(ata.Options{Serial: fmt.Sprint("S", i)}, stores[i])); err != nil {
					t.Fatal(err)
				}
			}
			h.pset(0, pSCTL, 1)
			h.pset(0, pSCTL, 0)
			if sig := h.pget(0, pSIG); sig != 0x101 {
				t.Errorf("signature after COMRESET %#x: that of the drive at device port 0", sig)
			}
			if fbs {
				h.pset(0, pFBS, 1|15<<8)
			}
			h.start(0)
			h.softReset(15)
			if sig := h.pget(0, pSIG); sig != 0x96690101 {
				t.Errorf("signature after a software reset of port 15 %#x", sig)
			}
			for _, c := range []struct {
				port, reg int
				want      uint32
				ok        bool
			}{
				{15, 0, 0x29228086, true}, {15, 2, 3, true}, {15, 64, 8, true}, {15, 300, 0, false},
				{0, 0, 0x133, true}, {1, 0, 0x133, true}, {2, 0, 0, true}, {3, 0, 0, false}, {1, 9, 0, false},
			} {
				if v, ok := h.pmRead(c.port, c.reg); v != c.want || ok != c.ok {
					t.Errorf("port %d register %d: %#x %v, want %#x %v", c.port, c.reg, v, ok, c.want, c.ok)
				}
			}
			if h.pmWrite(15, 0, 1) || !h.pmWrite(15, 33, 1<<16) || !h.pmWrite(15, 96, 8) {
				t.Error("writes of general registers")
			}
			// Both drives, each with its own data.
			for i := range uint8(2) {
				h.softReset(i)
				c := command{Task: ata.Task{Command: ata.CmdReadDMAExt, LBA: 5, Count: 1, Device: 0x40}, prds: [][2]uint64{{buffer(int(i)), 512}}, pmp: i}
				stores[i].data[5*512] = 0x70 + i
				h.do(0, 0, c)
				if !bytes.Equal(h.bytes(buffer(int(i)), 512), stores[i].data[5*512:6*512]) {
					t.Errorf("device port %d: wrong data", i)
				}
				if f := h.bytes(h.rx(int(i))+0x40, 20); f[0] != 0x34 || f[1]&0xf != i {
					t.Errorf("device port %d: FIS % x", i, f)
				}
			}
			// A new drive is announced.
			h.pmWrite(0, 1, 0xffffffff)
			h.pmWrite(1, 1, 0xffffffff)
			h.pset(0, pIS, 0xffffffff)
			if err := m.Attach(2, h.newDisk(ata.Options{}, stores[2])); err != nil {
				t.Fatal(err)
			}
			if h.pget(0, pSNTF) != 1<<15 || h.pget(0, pIS)&8 == 0 {
				t.Errorf("PxSNTF %#x, PxIS %#x after a drive was attached", h.pget(0, pSNTF), h.pget(0, pIS))
			}
			h.pset(0, pSNTF, 1<<15)
			if v, _ := h.pmRead(15, 32); v != 4 {
				t.Errorf("GSCR[32] %#x", v)
			}
			// Device port 2 off and on.
			h.pmWrite(2, 2, 4)
			if v, _ := h.pmRead(2, 0); v != 4 {
				t.Errorf("off-line: SStatus %#x", v)
			}
			h.pmWrite(2, 2, 1)
			h.pmWrite(2, 2, 0)
			if v, _ := h.pmRead(2, 0); v != 0x133 {
				t.Errorf("after a reset: SStatus %#x", v)
			}
			if fbs {
				testSwitching(t, h, m, stores)
			}
			v, err := m.Detach(1)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Close(); err != nil || !stores[1].closed {
				t.Error(err)
			}
			if v, _ := h.pmRead(1, 0); v != 0 {
				t.Errorf("SStatus %#x without a drive", v)
			}
			h.dev.Pause()
			state, err := h.dev.SaveState()
			if err != nil {
				t.Fatal(err)
			}
			if err := h.dev.RestoreState(state); err != nil {
				t.Error(err)
			}
			h.dev.Resume()
			if _, ok := h.pmRead(15, 0); !ok {
				t.Error("dead after it was restored")
			}
		})
	}
}

// testSwitching has one drive work while another is busy, and one fail while another
// goes on.
func testSwitching(t *testing.T, h *hba, m *ahci.Multiplier, stores [3]*store) {
	gate := make(chan struct{})
	stores[0].set(nil, gate)
	read := func(pmp uint8, lba uint64) command {
		return command{Task: ata.Task{Command: ata.CmdReadDMAExt, LBA: lba, Count: 1, Device: 0x40}, prds: [][2]uint64{{buffer(int(pmp)), 512}}, pmp: pmp}
	}
	h.build(0, 0, read(0, 1))
	h.build(0, 1, read(1, 1))
	h.pset(0, pCI, 1)
	h.pset(0, pFBS, 1)
	h.until("drive 0 busy", func() bool { return h.pget(0, pTFD)&0x80 != 0 })
	h.pset(0, pCI, 2)
	h.until("drive 1 done", func() bool { return h.pget(0, pCI) == 1 })
	h.build(0, 1, read(1, 1<<40))
	h.pset(0, pIS, 0xffffffff)
	h.pset(0, pCI, 2)
	h.until("drive 1 fails", func() bool { return h.pget(0, pIS)&(1<<30) != 0 })
	h.pget(0, pTFD)
	if v := h.pget(0, pFBS); v&4 == 0 || v>>16&15 != 1 {
		t.Errorf("PxFBS %#x", v)
	}
	close(gate)
	h.until("drive 0 done", func() bool { return h.pget(0, pCI) == 2 })
	h.pset(0, pFBS, h.pget(0, pFBS)|2)
	if h.pget(0, pCI) != 0 || h.pget(0, pFBS)&6 != 0 {
		t.Errorf("after DEC: PxCI %#x, PxFBS %#x", h.pget(0, pCI), h.pget(0, pFBS))
	}
	stores[0].set(nil, nil)
	h.pset(0, pIS, 0xffffffff)
	h.build(0, 1, read(1, 2))
	h.pset(0, pCI, 2)
	h.until("drive 1 works again", func() bool { return h.pget(0, pCI) == 0 })
	h.pset(0, pFBS, h.pget(0, pFBS)&^0xf00|15<<8)
}

func TestMultiplierMisuse(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	if _, err := h.dev.AttachMultiplier(0, 3); err == nil {
		t.Error("a multiplier at an adapter without support")
	}
	h = newHBA(t, ahci.Options{PortMultipliers: true})
	for _, n := range []int{0, 16} {
		if _, err := h.dev.AttachMultiplier(0, n); err == nil {
			t.Errorf("a multiplier with %d ports", n)
		}
	}
	m, _ := h.dev.AttachMultiplier(0, 1)
	if m.Attach(1, h.newDisk(ata.Options{}, newStore(t, 4096))) == nil {
		t.Error("a drive at a device port that does not exist")
	}
	if _, err := m.Detach(0); err == nil {
		t.Error("detached nothing without an error")
	}
	// An empty multiplier answers for itself, and its empty ports never.
	if sig := h.pget(0, pSIG); sig != 0x96690101 {
		t.Errorf("signature %#x", sig)
	}
	h.start(0)
	h.build(0, 0, command{Task: ata.Task{Command: ata.CmdIdentify}})
	h.pset(0, pCI, 1)
	h.until("busy", func() bool { return h.pget(0, pTFD)&0x80 != 0 })
}
