package ahci_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"dfemu/devices"
	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/pci"
)

// watcher collects what a probe reports, and injects one effect.
type watcher struct {
	mu         sync.Mutex
	violations []devices.Violation
	commands   []*devices.Command
	ends       []devices.Status
	transfers  []string
	states     []string
	registers  []string
	effect     func(c *devices.Command) devices.Effect
}

func (w *watcher) Access(a devices.RegisterAccess) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r, _, ok := a.Bank.Find(a.Off); ok {
		w.registers = append(w.registers, r.String())
	}
}
func (w *watcher) Command(c *devices.Command) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commands = append(w.commands, c)
}
func (w *watcher) Completion(_ *devices.Command, s devices.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, s)
}
func (w *watcher) Interrupt(devices.Interrupt) {}
func (w *watcher) Rang(int)                    {}
func (w *watcher) DMA(t devices.Transfer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.transfers = append(w.transfers, t.What)
}
func (w *watcher) Violation(v devices.Violation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violations = append(w.violations, v)
}
func (w *watcher) State(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states = append(w.states, s)
}
func (w *watcher) Decide(c *devices.Command) devices.Effect {
	if w.effect == nil {
		return devices.Effect{}
	}
	return w.effect(c)
}

// take returns the violations reported so far.
func (w *watcher) take() []devices.Violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.violations
	w.violations = nil
	return v
}

const allClasses = devices.ClassRegister | devices.ClassCommand | devices.ClassInterrupt | devices.ClassDMA | devices.ClassStrict | devices.ClassState

func TestTrace(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	w := &watcher{}
	h.dev.Function().Probe().Watch(allClasses, w, nil)
	h.disk(0, ata.Options{}, 1<<20)
	h.start(0)
	h.pset(0, pSACT, 8)
	h.do(0, 3, queued(3, 77, 2, true, [2]uint64{buffer(0), 1024}))
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.commands[0]
	if c.Name != "WRITE FPDMA QUEUED" || c.LBA != 77 || c.Blocks != 2 || c.Bytes != 1024 || !c.Write || c.Tag != 3 || c.Opcode != 0x61 {
		t.Errorf("command %+v", c)
	}
	fields := map[string]uint64{}
	for _, f := range c.Fields() {
		fields[f.Name] = f.Value
	}
	if fields["Features"] != 2 || fields["Count"] != 24 || fields["LBA"] != 77 || fields["PRDTL"] != 1 {
		t.Errorf("fields %v", fields)
	}
	if len(w.ends) != 1 || w.ends[0].Name != "successful" {
		t.Errorf("completions %v", w.ends)
	}
	for _, want := range []string{"command header", "command table", "PRD table", "D2H Register FIS", "DMA Setup FIS", "Set Device Bits FIS"} {
		if !strings.Contains(strings.Join(w.transfers, ","), want) {
			t.Errorf("no DMA of %q in %v", want, w.transfers)
		}
	}
	if s := strings.Join(w.states, "; "); !strings.Contains(s, "port 0: link up") || !strings.Contains(s, "processing started") {
		t.Errorf("states %v", w.states)
	}
	if s := strings.Join(w.registers, " "); !strings.Contains(s, "PxCI[0]") || !strings.Contains(s, "PxFB[0]") {
		t.Errorf("registers %v", w.registers)
	}
	if len(w.violations) != 0 {
		t.Errorf("violations %v", w.violations)
	}
}

func TestStrict(t *testing.T) {
	issue := func(h *hba, c command) {
		h.build(0, 0, c)
		h.pset(0, pCI, 1)
		h.fetched(0)
	}
	flush := command{Task: ata.Task{Command: ata.CmdFlush}}
	read := command{Task: ata.Task{Command: ata.CmdReadDMAExt, Count: 1, Device: 0x40}, prds: [][2]uint64{{buffer(0), 512}}}
	settle := func(h *hba) {
		h.until("settled", func() bool { return h.pget(0, pCI) == 0 || h.pget(0, pIS)&0x78000000 != 0 })
	}
	for _, c := range []struct {
		name, clause, text string
		opts               ahci.Options
		stopped            bool // the port is not started
		do                 func(h *hba)
	}{
		{"nothing wrong", "", "", ahci.Options{}, false, func(h *hba) { h.identify(0) }},
		{"ST without FRE", "10.3.1", "FIS reception is not running", ahci.Options{}, true, func(h *hba) {
			h.pset(0, pCLB, 0x1000)
			h.pset(0, pCMD, 1)
		}},
		{"ST without a device", "10.3.1", "without a device", ahci.Options{}, true, func(h *hba) { h.start(1) }},
		{"ST while busy", "10.3.1", "busy", ahci.Options{}, false, func(h *hba) {
			h.simple(ata.CmdSleep, 0, 0, 0)
			h.build(0, 0, flush)
			h.pset(0, pCI, 1)
			h.until("busy", func() bool { return h.pget(0, pTFD)&0x80 != 0 })
			h.restart(0)
		}},
		{"ST without PxCLB", "10.3.1", "before PxCLB", ahci.Options{}, true, func(h *hba) {
			h.pset(0, pFB, uint32(rxAt(0)))
			h.pset(0, pCMD, 0x10)
			h.pset(0, pCMD, 0x11)
		}},
		{"FRE without PxFB", "10.3.2", "before PxFB", ahci.Options{}, true, func(h *hba) { h.pset(0, pCMD, 0x10) }},
		{"FRE cleared while running", "10.3.2", "FRE cleared", ahci.Options{}, false, func(h *hba) { h.pset(0, pCMD, 1) }},
		{"PxCLB changed", "3.3.1", "PxCLB changed", ahci.Options{}, false, func(h *hba) { h.pset(0, pCLB, 0x2000) }},
		{"PxFB changed", "3.3.3", "PxFB changed", ahci.Options{}, false, func(h *hba) { h.pset(0, pFB, 0x2000) }},
		{"PxCLB unaligned", "3.3.1", "reserved bits", ahci.Options{}, true, func(h *hba) { h.pset(0, pCLB, 0x1010) }},
		{"64 bits", "3.3.1", "S64A", ahci.Options{No64: true}, true, func(h *hba) { h.pset(0, pCLBU, 1) }},
		{"slot busy", "5.5.1", "busy slots", ahci.Options{}, false, func(h *hba) {
			h.dev.Pause()
			h.build(0, 0, flush)
			h.pset(0, pCI, 1)
			h.pset(0, pCI, 1)
			h.dev.Resume()
		}},
		{"no such slot", "3.3.14", "do not exist", ahci.Options{Slots: 4}, false, func(h *hba) { h.pset(0, pCI, 1<<5) }},
		{"PxCI without ST", "3.3.14", "ST is clear", ahci.Options{}, true, func(h *hba) { h.pset(0, pCI, 1) }},
		{"no bus master", "2.1.2", "Bus Master", ahci.Options{}, false, func(h *hba) {
			h.dev.Function().WriteConfig(pci.RegCommand, 2, pci.CommandMemory)
			h.pset(0, pCI, 1)
		}},
		{"PxSACT without ST", "3.3.13", "ST is clear", ahci.Options{}, true, func(h *hba) { h.pset(0, pSACT, 1) }},
		{"tag busy", "3.3.13", "outstanding", ahci.Options{}, false, func(h *hba) { h.pset(0, pSACT, 1); h.pset(0, pSACT, 1) }},
		{"queued without PxSACT", "5.5.1", "PxSACT", ahci.Options{}, false, func(h *hba) {
			issue(h, queued(0, 0, 1, false, [2]uint64{buffer(0), 512}))
		}},
		{"tag is not the slot", "5.5.1", "tag 3", ahci.Options{}, false, func(h *hba) {
			h.pset(0, pSACT, 1)
			issue(h, queued(3, 0, 1, false, [2]uint64{buffer(0), 512}))
		}},
		{"queued without NCQ", "3.1.1", "SNCQ", ahci.Options{NoNCQ: true}, false, func(h *hba) {
			h.pset(0, pSACT, 1)
			issue(h, queued(0, 0, 1, false, [2]uint64{buffer(0), 512}))
		}},
		{"W bit", "4.2.2", "W bit", ahci.Options{}, false, func(h *hba) {
			c := read
			c.flags = 1 << 6
			issue(h, c)
			settle(h)
		}},
		{"A bit", "4.2.2", "A bit", ahci.Options{}, false, func(h *hba) {
			c := flush
			c.flags = 1 << 5
			issue(h, c)
			settle(h)
		}},
		{"FIS type", "4.2.3.1", "type 0x34", ahci.Options{}, false, func(h *hba) {
			h.build(0, 0, flush)
			h.bytes(tableAt(0, 0), 1)[0] = 0x34
			h.pset(0, pCI, 1)
			settle(h)
		}},
		{"FIS length", "4.2.2", "1 words", ahci.Options{}, false, func(h *hba) {
			h.build(0, 0, flush)
			h.put32(listAt(0), 1)
			h.pset(0, pCI, 1)
			settle(h)
		}},
		{"table unaligned", "4.2.2", "aligned", ahci.Options{}, false, func(h *hba) {
			h.build(0, 0, flush)
			h.put32(listAt(0)+8, uint32(tableAt(0, 0)+8))
			h.pset(0, pCI, 1)
			settle(h)
		}},
		{"odd address", "4.2.3.3", "is odd", ahci.Options{}, false, func(h *hba) {
			c := read
			c.prds = [][2]uint64{{buffer(0) + 1, 512}}
			issue(h, c)
			settle(h)
		}},
		{"odd length", "4.2.3.3", "odd length", ahci.Options{}, false, func(h *hba) {
			c := read
			c.prds = [][2]uint64{{buffer(0), 513}}
			issue(h, c)
			settle(h)
		}},
		{"PRD not RAM", "6.2.1", "data cannot be accessed", ahci.Options{}, false, func(h *hba) {
			c := read
			c.prds = [][2]uint64{{1 << 44, 512}}
			issue(h, c)
			settle(h)
		}},
		{"CLO while running", "3.3.7", "CLO", ahci.Options{}, false, func(h *hba) { h.pset(0, pCMD, h.pget(0, pCMD)|8) }},
		{"COMRESET while running", "3.3.11", "DET changed", ahci.Options{}, false, func(h *hba) { h.pset(0, pSCTL, 1) }},
		{"reserved DET", "3.3.11", "reserved value 7", ahci.Options{}, true, func(h *hba) { h.pset(0, pSCTL, 7) }},
		{"reserved bits of PxIE", "3.3.6", "reserved", ahci.Options{}, true, func(h *hba) { h.pset(0, pIE, 1<<10) }},
		{"reserved register", "3", "reserved register", ahci.Options{}, true, func(h *hba) { h.set(0x60, 1) }},
		{"reserved port register", "3", "reserved register", ahci.Options{}, true, func(h *hba) { h.pset(0, 0x50, 1) }},
		{"GHC.AE", "3.1.2", "GHC.AE", ahci.Options{}, true, func(h *hba) { h.set(rGHC, 2) }},
		{"CAP changed", "3.1", "set by hardware", ahci.Options{}, true, func(h *hba) { h.set(rCAP, 0) }},
		{"CAP written back", "", "", ahci.Options{}, true, func(h *hba) { h.set(rCAP, h.get(rCAP)); h.set(rPI, h.get(rPI)) }},
		{"BIOS owns", "10.6.3", "BIOS owns", ahci.Options{BIOSOwned: true}, true, func(h *hba) { h.set(rGHC, 1<<31|2) }},
		{"ICC reserved", "3.3.7", "ICC", ahci.Options{}, true, func(h *hba) { h.pset(0, pCMD, h.pget(0, pCMD)|5<<28) }},
		{"mixed queue", "5.5.1", "while queued commands are outstanding", ahci.Options{}, false, func(h *hba) {
			gate := make(chan struct{})
			s := h.store0
			s.set(nil, gate)
			h.build(0, 1, queued(1, 0, 1, false, [2]uint64{buffer(0), 512}))
			h.issue(0, 2)
			h.until("accepted", func() bool { return h.pget(0, pCI) == 0 })
			h.simple(ata.CmdFlush, 0, 0, 0)
			close(gate)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHBA(t, c.opts)
			_, h.store0 = h.disk(0, ata.Options{}, 1<<20)
			if !c.stopped {
				h.start(0)
			}
			w := &watcher{}
			h.dev.Function().Probe().Watch(devices.ClassStrict, w, nil)
			c.do(h)
			l := w.take()
			if c.clause == "" {
				if len(l) > 0 {
					t.Errorf("violations %v", l)
				}
				return
			}
			for _, v := range l {
				if v.Clause == "AHCI 1.3.1, "+c.clause && strings.Contains(v.Text, c.text) {
					return
				}
			}
			t.Errorf("violations %v, want one of %s with %q", l, c.clause, c.text)
		})
	}
}

func TestFaults(t *testing.T) {
	for _, queue := range []bool{false, true} {
		name := map[bool]string{false: "DMA", true: "NCQ"}[queue]
		run := func(e devices.Effect, write bool, f func(t *testing.T, h *hba, s *store)) {
			t.Run(name, func(t *testing.T) {
				h, s := start1(t, ahci.Options{}, ata.Options{})
				h.set(rGHC, 2)
				first := true
				h.dev.Function().Probe().Watch(0, nil, &watcher{effect: func(*devices.Command) devices.Effect {
					if !first {
						return devices.Effect{}
					}
					first = false
					return e
				}})
				h.put(0, queue, write, buffer(0))
				f(t, h, s)
			})
		}
		busy := func(h *hba) bool { return h.pget(0, pCI)|h.pget(0, pSACT) != 0 }
		finished := func(h *hba) { h.t.Helper(); h.until("done", func() bool { return !busy(h) }); h.pget(0, pTFD) }
		equal := func(t *testing.T, h *hba, s *store, n int) {
			t.Helper()
			if !bytes.Equal(h.bytes(buffer(0), n), s.data[8*512:8*512+n]) {
				t.Error("memory and disk differ")
			}
		}
		run(devices.Effect{Fail: true}, false, func(t *testing.T, h *hba, s *store) {
			h.wait(0, 0)
			if v := h.pget(0, pTFD); v&0xff01 != 0x0401 {
				t.Errorf("PxTFD %#x", v)
			}
		})
		run(devices.Effect{Fail: true, Status: 0x40}, false, func(t *testing.T, h *hba, s *store) {
			h.wait(0, 0)
			if v := h.pget(0, pTFD); v&0xff01 != 0x4001 {
				t.Errorf("PxTFD %#x", v)
			}
			if !queue {
				return
			}
			h.restart(0)
			if p, _ := h.log(0x10, 0, 1, false); p[3] != 0x40 || p[4] != 8 {
				t.Errorf("log 10h % x", p[:16])
			}
		})
		run(devices.Effect{Delay: 1000}, false, func(t *testing.T, h *hba, s *store) {
			h.fetched(0)
			h.dev.Pause() // the timer is set when this returns
			h.dev.Resume()
			if !busy(h) {
				t.Error("it did not wait")
			}
			h.clock.Advance(1000)
			finished(h)
			equal(t, h, s, 4096)
		})
		run(devices.Effect{Hang: true}, false, func(t *testing.T, h *hba, s *store) {
			h.fetched(0)
			if !busy(h) || h.pget(0, pIS)&^2 != 0 {
				t.Error("it answered")
			}
			h.comreset(0)
			h.put(0, queue, false, buffer(0))
			finished(h)
			equal(t, h, s, 4096)
		})
		run(devices.Effect{Drop: true}, true, func(t *testing.T, h *hba, s *store) {
			h.until("executed", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.writes == 1 })
			h.dev.Pause()
			if !busy(h) {
				t.Error("it was completed")
			}
			h.dev.Resume()
			equal(t, h, s, 4096)
			h.comreset(0)
			h.identify(0)
		})
		run(devices.Effect{Short: 1024, ShortOn: true}, false, func(t *testing.T, h *hba, s *store) {
			finished(h)
			equal(t, h, s, 1024)
			if !bytes.Equal(h.bytes(buffer(0)+1024, 3072), make([]byte, 3072)) {
				t.Error("more was transferred")
			}
			if n := h.prdbc(0, 0); !queue && n != 1024 {
				t.Errorf("PRDBC %d", n)
			}
		})
		run(devices.Effect{FlipData: 3, Seed: 42}, false, func(t *testing.T, h *hba, s *store) {
			finished(h)
			if n := differ(h.bytes(buffer(0), 4096), s.data[8*512:]); n != 3 {
				t.Errorf("%d bits differ", n)
			}
		})
		run(devices.Effect{FlipData: 5, Seed: 7}, true, func(t *testing.T, h *hba, s *store) {
			finished(h)
			if n := differ(h.bytes(buffer(0), 4096), s.data[8*512:]); n != 5 {
				t.Errorf("%d bits differ", n)
			}
		})
		run(devices.Effect{FlipTable: 1 << 12}, false, func(t *testing.T, h *hba, s *store) {
			finished(h)
			if !bytes.Equal(h.bytes(buffer(0)^2<<11, 512), s.data[8*512:9*512]) {
				t.Error("the data is not where the inverted bit puts it")
			}
		})
		run(devices.Effect{LoseInterrupt: true}, false, func(t *testing.T, h *hba, s *store) {
			finished(h)
			if is := h.pget(0, pIS); is&0xb != 0 || h.irq.Level() {
				t.Errorf("PxIS %#x, interrupt %v", is, h.irq.Level())
			}
		})
		run(devices.Effect{ExtraInterrupt: true}, false, func(t *testing.T, h *hba, s *store) {
			finished(h)
			if h.get(rIS) != 1 || !h.irq.Level() {
				t.Error("no spurious interrupt")
			}
			h.set(rIS, 1)
			if h.irq.Level() {
				t.Error("the spurious interrupt stays")
			}
		})
		run(devices.Effect{Duplicate: true}, false, func(t *testing.T, h *hba, s *store) {
			finished(h)
			equal(t, h, s, 4096)
		})
	}
	// Held back until two others have been completed. With one worker they end in
	// the order in which they were issued.
	h, _ := start1(t, ahci.Options{Workers: 1}, ata.Options{})
	h.dev.Function().Probe().Watch(0, nil, &watcher{effect: func(c *devices.Command) devices.Effect {
		if c.Tag == 0 {
			return devices.Effect{Hold: 2}
		}
		return devices.Effect{}
	}})
	h.build(0, 0, queued(0, 0, 1, false, [2]uint64{buffer(0), 512}))
	h.build(0, 1, queued(1, 1, 1, false, [2]uint64{buffer(1), 512}))
	h.build(0, 2, queued(2, 2, 1, false, [2]uint64{buffer(2), 512}))
	h.issue(0, 1)
	h.issue(0, 2)
	h.until("one of two", func() bool { return h.pget(0, pSACT) == 1 })
	h.issue(0, 4)
	h.until("all", func() bool { return h.pget(0, pSACT) == 0 })
}

func differ(a, b []byte) (n int) {
	for i := range a {
		for x := a[i] ^ b[i]; x != 0; x &= x - 1 {
			n++
		}
	}
	return n
}

// fetched waits until the command in a slot was taken by the device: a queued one's bit
// in PxCI is clear, for others the device is busy or was.
func (h *hba) fetched(slot int) {
	h.t.Helper()
	h.until("fetched", func() bool {
		return h.pget(0, pCI)>>slot&1 == 0 || h.pget(0, pTFD)&0x80 != 0 || h.pget(0, pIS)&0x78000000 != 0
	})
}

// put issues a transfer of 8 blocks from block 8 on, without waiting.
func (h *hba) put(slot int, queue, write bool, at uint64) {
	c := command{Task: ata.Task{Command: ata.CmdReadDMAExt, LBA: 8, Count: 8, Device: 0x40}, prds: [][2]uint64{{at, 4096}}}
	if write {
		c.Command, c.flags = ata.CmdWriteDMAExt, 1<<6
		for i := range 4096 {
			h.ram.Data[at+uint64(i)] = byte(i * 13)
		}
	} else {
		clear(h.bytes(at, 4096))
	}
	if queue {
		c = queued(slot, 8, 8, write, [2]uint64{at, 4096})
		h.pset(0, pSACT, 1<<slot)
	}
	h.build(0, slot, c)
	h.pset(0, pCI, 1<<slot)
}

func TestSaveInMidRequest(t *testing.T) {
	make2 := func() (*hba, *store, *watcher) {
		h, s := start1(t, ahci.Options{}, ata.Options{})
		w := &watcher{}
		h.dev.Function().Probe().Watch(0, nil, w)
		return h, s, w
	}
	a, _, w := make2()
	w.effect = func(c *devices.Command) devices.Effect {
		switch c.Tag {
		case 0:
			return devices.Effect{Delay: 5000}
		case 1:
			return devices.Effect{Hang: true}
		case 2:
			return devices.Effect{Hold: 1}
		}
		return devices.Effect{}
	}
	for i := range 4 {
		a.build(0, i, queued(i, uint64(10*i), 1, false, [2]uint64{buffer(i), 512}))
	}
	a.pset(0, pIE, 8)
	a.set(rGHC, 2)
	a.issue(0, 7)
	a.until("accepted", func() bool { return a.pget(0, pCI) == 0 })
	a.dev.Pause()
	a.issue(0, 8) // not fetched while paused
	a.clock.Advance(2000)
	state, err := a.dev.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	b, s, _ := make2()
	copy(b.ram.Data, a.ram.Data)
	b.dev.Pause()
	if err := b.dev.RestoreState(state); err != nil {
		t.Fatal(err)
	}
	if b.pget(0, pCI) != 8 || b.pget(0, pSACT) != 15 || b.pget(0, pIE) != 8 || b.get(rGHC)&2 == 0 {
		t.Errorf("PxCI %#x, PxSACT %#x, PxIE %#x", b.pget(0, pCI), b.pget(0, pSACT), b.pget(0, pIE))
	}
	if addr, on := b.dev.Function().BARAddress(5); addr != abar || !on {
		t.Error("configuration space was not restored")
	}
	b.dev.Resume()
	// The one that was not fetched completes, and lets go the one that was held.
	b.until("tags 2 and 3", func() bool { return b.pget(0, pSACT) == 3 })
	b.clock.Advance(2999)
	b.dev.Pause()
	b.dev.Resume()
	if b.pget(0, pSACT) != 3 {
		t.Error("the delayed command came too early")
	}
	b.clock.Advance(1)
	b.until("tag 0", func() bool { return b.pget(0, pSACT) == 2 })
	for _, i := range []int{0, 3} {
		if !bytes.Equal(b.bytes(buffer(i), 512), s.data[10*i*512:][:512]) {
			t.Errorf("tag %d: wrong data", i)
		}
	}
	if !b.irq.Level() {
		t.Error("no interrupt")
	}
	// What does not fit is refused.
	other := newHBA(t, ahci.Options{})
	other.dev.Pause()
	if other.dev.RestoreState(state) == nil {
		t.Error("restored into an adapter without a drive")
	}
	for _, p := range [][]byte{nil, []byte("{}"), []byte("[1]"), bytes.Replace(state, []byte(`"Slot":1`), []byte(`"Slot":77`), 1)} {
		if b.dev.RestoreState(p) == nil {
			t.Errorf("restored from %.20q", p)
		}
	}
}

func TestPauseDrains(t *testing.T) {
	h, s := start1(t, ahci.Options{}, ata.Options{})
	gate := make(chan struct{})
	s.set(nil, gate)
	h.put(0, true, false, buffer(0))
	h.until("accepted", func() bool { return h.pget(0, pCI) == 0 })
	go close(gate)
	h.dev.Pause()
	if h.pget(0, pSACT) != 0 {
		t.Error("a command was under way after Pause")
	}
	h.put(1, true, false, buffer(1))
	if h.pget(0, pCI) != 2 {
		t.Error("a command was fetched while paused")
	}
	h.dev.Function().WriteConfig(pci.RegCommand, 2, pci.CommandMemory|pci.CommandMaster)
	h.dev.Resume()
	h.until("done", func() bool { return h.pget(0, pSACT) == 0 })
}
