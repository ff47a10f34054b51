package ahci_test

import (
	"bytes"
	"testing"

	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/pci"
)

// TestStop clears ST while the drive reads: CR shows that memory is still in use, and
// no result appears.
func TestStop(t *testing.T) {
	for _, kind := range []string{"ST", "COMRESET", "HBA reset", "bus reset"} {
		h, s := start1(t, ahci.Options{}, ata.Options{})
		gate := make(chan struct{})
		s.set(nil, gate)
		h.build(0, 2, queued(2, 0, 1, false, [2]uint64{buffer(2), 512}))
		h.issue(0, 4)
		h.until("accepted", func() bool { return h.pget(0, pCI) == 0 })
		done := make(chan struct{})
		switch kind {
		case "ST":
			h.pset(0, pCMD, h.pget(0, pCMD)&^1)
			if v := h.pget(0, pCMD); v&(1<<15) == 0 {
				t.Errorf("%s: PxCMD %#x while the drive still reads", kind, v)
			}
			if h.pget(0, pSACT) != 0 {
				t.Errorf("%s: PxSACT is not clear", kind)
			}
			close(gate)
			h.until("CR clear", func() bool { return h.pget(0, pCMD)&(1<<15) == 0 })
		case "COMRESET":
			h.pset(0, pCMD, h.pget(0, pCMD)&^1)
			h.pset(0, pSCTL, 1)
			h.pset(0, pSCTL, 0)
			if v := h.pget(0, pSSTS); v&0xf == 3 {
				t.Errorf("%s: the link is up while the drive still reads", kind)
			}
			close(gate)
			h.until("link up", func() bool { return h.pget(0, pSSTS) == 0x133 })
			if sig := h.pget(0, pSIG); sig != 0x101 {
				t.Errorf("%s: signature %#x", kind, sig)
			}
		case "HBA reset":
			h.set(rGHC, 1)
			if h.get(rGHC)&1 == 0 {
				t.Errorf("%s: HR is clear while a drive still reads", kind)
			}
			close(gate)
			h.until("HR clear", func() bool { return h.get(rGHC)&1 == 0 })
			if v := h.pget(0, pSSTS); v != 0x133 {
				t.Errorf("%s: PxSSTS %#x", kind, v)
			}
		case "bus reset":
			go func() { close(gate); close(done) }()
			h.dev.Reset()
			<-done
			h.enable()
			if v := h.pget(0, pSSTS); v != 0x133 {
				t.Errorf("%s: PxSSTS %#x", kind, v)
			}
		}
		if is := h.pget(0, pIS); is&8 != 0 {
			t.Errorf("%s: PxIS %#x: a result appeared", kind, is)
		}
		s.set(nil, nil)
		if kind != "ST" {
			h.start(0)
		} else {
			h.restart(0)
		}
		h.identify(0)
	}
}

func TestSoftwareReset(t *testing.T) {
	h, _ := start1(t, ahci.Options{}, ata.Options{})
	h.build(0, 0, command{Task: ata.Task{Control: 4}, ctl: true, flags: 1<<8 | 1<<10})
	h.pset(0, pCI, 1)
	h.until("first FIS taken", func() bool { return h.pget(0, pCI) == 0 })
	clear(h.bytes(rxAt(0)+0x40, 20))
	h.build(0, 1, command{ctl: true})
	h.pset(0, pCI, 2)
	h.until("second FIS answered", func() bool { return h.pget(0, pCI) == 0 })
	if tfd, sig := h.pget(0, pTFD), h.pget(0, pSIG); tfd != 0x150 || sig != 0x101 {
		t.Errorf("PxTFD %#x, PxSIG %#x", tfd, sig)
	}
	if f := h.bytes(rxAt(0)+0x40, 20); f[0] != 0x34 || f[1] != 0 || f[3] != 1 {
		t.Errorf("D2H Register FIS % x", f)
	}
	h.identify(0)
}

func TestFirstFIS(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	h.disk(0, ata.Options{}, 1<<20)
	h.pset(0, pFB, uint32(rxAt(0)))
	// The FIS that came with the link waits until reception is enabled.
	if h.bytes(rxAt(0)+0x40, 1)[0] != 0 {
		t.Error("a FIS was stored before FRE")
	}
	h.pset(0, pCMD, h.pget(0, pCMD)|0x10)
	if f := h.bytes(rxAt(0)+0x40, 20); f[0] != 0x34 || f[2] != 0x50 || f[3] != 1 || f[12] != 1 || f[4] != 1 {
		t.Errorf("D2H Register FIS % x", f)
	}
	if is := h.pget(0, pIS); is&1 != 0 {
		t.Errorf("PxIS %#x: the signature does not interrupt", is)
	}
	if v := h.pget(0, pCMD); v&(1<<14) == 0 {
		t.Errorf("PxCMD %#x: FR is clear", v)
	}
}

func TestOverrideBusy(t *testing.T) {
	h, _ := start1(t, ahci.Options{}, ata.Options{})
	// A command to a device that does not answer leaves BSY set.
	h.simple(ata.CmdSleep, 0, 0, 0)
	h.build(0, 0, command{Task: ata.Task{Command: ata.CmdFlush}})
	h.pset(0, pCI, 1)
	h.until("busy", func() bool { return h.pget(0, pTFD)&0x80 != 0 })
	h.pset(0, pCMD, h.pget(0, pCMD)&^1)
	h.pset(0, pCMD, h.pget(0, pCMD)|1<<3)
	if tfd, cmd := h.pget(0, pTFD), h.pget(0, pCMD); tfd&0x88 != 0 || cmd&8 != 0 {
		t.Errorf("after CLO: PxTFD %#x, PxCMD %#x", tfd, cmd)
	}
	h.restart(0)
	h.build(0, 0, command{Task: ata.Task{Control: 4}, ctl: true, flags: 1<<8 | 1<<10})
	h.pset(0, pCI, 1)
	h.until("first FIS taken", func() bool { return h.pget(0, pCI) == 0 })
	h.build(0, 1, command{ctl: true})
	h.pset(0, pCI, 2)
	h.until("second FIS answered", func() bool { return h.pget(0, pCI) == 0 })
	h.identify(0)
}

func TestHotPlug(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	h.start(3)
	h.pset(3, pCMD, h.pget(3, pCMD)&^1)
	h.set(rGHC, 2)
	h.pset(3, pIE, 1<<22|1<<6)
	disk, s := h.disk(3, ata.Options{}, 1<<20)
	if !h.irq.Level() || h.pget(3, pIS) != 1<<22|1<<6 || h.pget(3, pSSTS) != 0x133 {
		t.Errorf("attached: interrupt %v, PxIS %#x, PxSSTS %#x", h.irq.Level(), h.pget(3, pIS), h.pget(3, pSSTS))
	}
	// PCS and PRCS go away with their bits in PxSERR only.
	h.pset(3, pIS, 0xffffffff)
	if h.pget(3, pIS) == 0 {
		t.Error("PxIS forgets what PxSERR says")
	}
	h.pset(3, pSERR, 0xffffffff)
	h.set(rIS, 8)
	if h.pget(3, pIS) != 0 || h.irq.Level() {
		t.Errorf("PxIS %#x, interrupt %v", h.pget(3, pIS), h.irq.Level())
	}
	h.start(3)
	h.identify(3)
	if err := h.dev.Attach(3, disk); err == nil {
		t.Error("a second drive at the same port")
	}
	// Out, in the middle of a command.
	gate := make(chan struct{})
	s.set(nil, gate)
	h.build(3, 0, queued(0, 0, 1, false, [2]uint64{buffer(0), 512}))
	h.issue(3, 1)
	h.until("accepted", func() bool { return h.pget(3, pCI) == 0 })
	out := make(chan error)
	go func() {
		v, err := h.dev.Detach(3)
		if v != disk {
			t.Error("another drive was detached")
		}
		out <- err
	}()
	h.until("link down", func() bool { return h.pget(3, pSSTS) == 0 })
	if !h.irq.Level() || h.pget(3, pIS)&(1<<22) == 0 {
		t.Errorf("detached: interrupt %v, PxIS %#x", h.irq.Level(), h.pget(3, pIS))
	}
	close(gate)
	if err := <-out; err != nil {
		t.Error(err)
	}
	if v := h.pget(3, pSACT); v != 1 {
		t.Errorf("PxSACT %#x: nobody was there to complete the command", v)
	}
	s.set(nil, nil)
	if err := h.dev.Attach(3, disk); err != nil {
		t.Fatal(err)
	}
	h.pset(3, pCMD, h.pget(3, pCMD)&^1)
	h.start(3)
	h.identify(3)
	// The cable.
	if err := h.dev.SetLink(3, false); err != nil || h.pget(3, pSSTS) != 0 {
		t.Errorf("cut cable: PxSSTS %#x, %v", h.pget(3, pSSTS), err)
	}
	h.pset(3, pSCTL, 1)
	h.pset(3, pSCTL, 0)
	if h.pget(3, pSSTS) != 0 {
		t.Error("COMRESET mends the cable")
	}
	if err := h.dev.SetLink(3, true); err != nil || h.pget(3, pSSTS) != 0x133 {
		t.Errorf("mended cable: PxSSTS %#x, %v", h.pget(3, pSSTS), err)
	}
	if _, err := h.dev.Detach(4); err == nil {
		t.Error("detached nothing without an error")
	}
	if h.dev.Attach(6, disk) == nil || h.dev.SetLink(-1, true) == nil {
		t.Error("ports that do not exist")
	}
}

func TestSpinUpAndLinkPower(t *testing.T) {
	h := newHBA(t, ahci.Options{StaggeredSpinUp: true, Speed: 2})
	h.disk(0, ata.Options{}, 1<<20)
	if h.get(rCAP)&(1<<27) == 0 || h.pget(0, pSSTS) != 0 {
		t.Errorf("before spin-up: CAP %#x, PxSSTS %#x", h.get(rCAP), h.pget(0, pSSTS))
	}
	h.pset(0, pCMD, h.pget(0, pCMD)|2)
	if v := h.pget(0, pSSTS); v != 0x123 {
		t.Errorf("after spin-up: PxSSTS %#x", v)
	}
	// Off-line, then limited to generation 1.
	h.pset(0, pSCTL, 4)
	if v := h.pget(0, pSSTS); v != 4 {
		t.Errorf("off-line: PxSSTS %#x", v)
	}
	h.pset(0, pSCTL, 0x11)
	h.pset(0, pSCTL, 0x10)
	if v := h.pget(0, pSSTS); v != 0x113 {
		t.Errorf("limited speed: PxSSTS %#x", v)
	}
	h.start(0)
	for _, c := range []struct{ icc, want uint32 }{{6, 6}, {1, 1}, {2, 2}, {1, 1}} {
		h.pset(0, pCMD, h.pget(0, pCMD)|c.icc<<28)
		if v := h.pget(0, pSSTS) >> 8; v != c.want || h.pget(0, pCMD)>>28 != 0 {
			t.Errorf("ICC %d: IPM %d, PxCMD %#x", c.icc, v, h.pget(0, pCMD))
		}
	}
	h.pset(0, pCMD, h.pget(0, pCMD)|6<<28)
	h.identify(0) // wakes the link
	if v := h.pget(0, pSSTS) >> 8; v != 1 {
		t.Errorf("IPM %d after a command", v)
	}
	// Aggressive: to slumber, or only partial, when there is nothing to do.
	for _, c := range []struct{ bits, want uint32 }{{1<<26 | 1<<27, 6}, {1 << 26, 2}, {0, 1}} {
		h.pset(0, pCMD, h.pget(0, pCMD)&^(3<<26)|c.bits)
		h.identify(0)
		if v := h.pget(0, pSSTS) >> 8; v != c.want {
			t.Errorf("PxCMD.ALPE and ASP %#x: IPM %d", c.bits, v)
		}
	}
	h.pset(0, pSCTL, 0x310) // no partial, no slumber
	h.pset(0, pCMD, h.pget(0, pCMD)|6<<28)
	if v := h.pget(0, pSSTS) >> 8; v != 1 {
		t.Errorf("IPM %d although PxSCTL.IPM forbids it", v)
	}
}

func TestHandoff(t *testing.T) {
	h := newHBA(t, ahci.Options{BIOSOwned: true})
	if v := h.get(rBOHC); v != 1 {
		t.Fatalf("BOHC %#x", v)
	}
	h.set(rBOHC, 2)
	if v := h.get(rBOHC); v != 2|8 {
		t.Errorf("BOHC %#x after OOS was set: BOS goes, OOC comes", v)
	}
	h.set(rBOHC, 2|8)
	if v := h.get(rBOHC); v != 2 {
		t.Errorf("BOHC %#x after OOC was cleared", v)
	}
}

func TestInterrupts(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	h.disk(0, ata.Options{}, 1<<20)
	h.disk(1, ata.Options{Serial: "2"}, 1<<20)
	h.start(0)
	h.start(1)
	h.pset(0, pIE, 1)
	h.pset(1, pIE, 1)
	flush := func(port int) {
		h.do(port, 0, command{Task: ata.Task{Command: ata.CmdFlush}})
	}
	flush(0)
	if h.irq.Level() || h.get(rIS) != 1 {
		t.Errorf("GHC.IE clear: interrupt %v, IS %#x", h.irq.Level(), h.get(rIS))
	}
	h.set(rGHC, 2)
	if !h.irq.Level() {
		t.Error("no interrupt after GHC.IE was set")
	}
	// IS comes back while PxIS is not clear.
	h.set(rIS, 1)
	if h.get(rIS) != 1 || !h.irq.Level() {
		t.Errorf("IS %#x: cleared before its cause", h.get(rIS))
	}
	h.pset(0, pIS, 1)
	h.set(rIS, 1)
	if h.get(rIS) != 0 || h.irq.Level() {
		t.Errorf("IS %#x, interrupt %v", h.get(rIS), h.irq.Level())
	}
	// Messages: one for news, one more when something is left after IS was written.
	fn := h.dev.Function()
	msi := 0
	for c := fn.Config(pci.RegCapPtr, 1); c != 0; c = fn.Config(int(c)+1, 1) {
		if fn.Config(int(c), 1) == pci.CapMSI {
			msi = int(c)
		}
	}
	fn.WriteConfig(msi+4, 4, 0xfee00000)
	fn.WriteConfig(msi+12, 2, 0x41)
	fn.WriteConfig(msi+2, 2, 1)
	h.msi.Take()
	flush(0)
	flush(1)
	if n := len(h.msi.Take()); n != 2 {
		t.Errorf("%d messages for two ports", n)
	}
	h.pset(0, pIS, 1)
	h.set(rIS, 1)
	if n := len(h.msi.Take()); n != 1 {
		t.Errorf("%d messages although port 1 is still pending", n)
	}
	h.pset(1, pIS, 1)
	h.set(rIS, 2)
	if n := len(h.msi.Take()); n != 0 || h.irq.Level() {
		t.Errorf("%d messages, pin %v, with nothing pending", n, h.irq.Level())
	}
}

func TestMessagePerPort(t *testing.T) {
	h := newHBA(t, ahci.Options{MSIVectors: 8})
	h.disk(2, ata.Options{}, 1<<20)
	fn := h.dev.Function()
	cap := int(fn.Config(pci.RegCapPtr, 1))
	fn.WriteConfig(cap+4, 4, 0xfee00000)
	fn.WriteConfig(cap+12, 2, 0x40)
	for _, c := range []struct {
		granted uint32
		data    uint32
		mrsm    uint32
	}{{3, 0x42, 0}, {1, 0x40, 4}} {
		fn.WriteConfig(cap+2, 2, 1|c.granted<<4)
		h.set(rGHC, 2)
		h.start(2)
		h.pset(2, pIE, 2)
		h.msi.Take()
		h.identify(2)
		if m := h.msi.Take(); len(m) != 1 || m[0].Data != c.data || h.get(rGHC)&4 != c.mrsm {
			t.Errorf("granted %d: messages %v, GHC %#x", 1<<c.granted, m, h.get(rGHC))
		}
		h.pset(2, pIS, 0xffffffff)
		h.set(rIS, 0xffffffff)
		h.pset(2, pCMD, h.pget(2, pCMD)&^1)
	}
}

func TestCoalescing(t *testing.T) {
	h, _ := start1(t, ahci.Options{}, ata.Options{})
	h.set(rGHC, 2)
	const bit = 1 << 6
	h.set(rCCCPorts, 1)
	h.set(rCCC, 20<<16|3<<8|1)
	flush := func() {
		h.simple(ata.CmdFlush, 0, 0, 0)
		h.pget(0, pTFD)
	}
	flush()
	flush()
	if h.get(rIS)&bit != 0 {
		t.Error("interrupt after two completions of three")
	}
	flush()
	if h.get(rIS)&bit == 0 || !h.irq.Level() {
		t.Error("no interrupt after three completions")
	}
	h.set(rIS, bit)
	// One completion, then the time.
	flush()
	h.clock.Advance(19e6)
	if h.get(rIS)&bit != 0 {
		t.Error("interrupt before the time is over")
	}
	h.clock.Advance(2e6)
	if h.get(rIS)&bit == 0 {
		t.Error("no interrupt after the time is over")
	}
	h.set(rIS, bit)
	h.clock.Advance(100e6)
	if h.get(rIS)&bit != 0 {
		t.Error("interrupt with nothing outstanding")
	}
	h.set(rCCC, 0)
	flush()
	h.clock.Advance(100e6)
	if h.get(rIS)&bit != 0 {
		t.Error("interrupt while it is disabled")
	}
}

func TestBusMaster(t *testing.T) {
	h, s := start1(t, ahci.Options{}, ata.Options{})
	fn := h.dev.Function()
	fn.WriteConfig(pci.RegCommand, 2, pci.CommandMemory)
	h.build(0, 0, queued(0, 3, 1, false, [2]uint64{buffer(0), 512}))
	h.issue(0, 1)
	h.dev.Pause()
	if h.pget(0, pCI) != 1 {
		t.Error("a command was fetched by a function that is no bus master")
	}
	h.dev.Resume()
	fn.WriteConfig(pci.RegCommand, 2, pci.CommandMemory|pci.CommandMaster)
	h.until("done", func() bool { return h.pget(0, pSACT)|h.pget(0, pCI) == 0 })
	if !bytes.Equal(h.bytes(buffer(0), 512), s.data[3*512:4*512]) {
		t.Error("wrong data")
	}
}

func TestDescriptorProcessed(t *testing.T) {
	h, _ := start1(t, ahci.Options{}, ata.Options{})
	c := command{Task: ata.Task{Command: ata.CmdReadDMAExt, Count: 2, Device: 0x40}, prds: [][2]uint64{{buffer(0), 512}, {buffer(1), 512}}}
	h.build(0, 0, c)
	e := tableAt(0, 0) + 0x80 + 12
	h.put32(e, h.u32(e)|1<<31)
	h.pset(0, pCI, 1)
	h.wait(0, 0)
	h.pget(0, pTFD)
	if is := h.pget(0, pIS); is&(1<<5) == 0 {
		t.Errorf("PxIS %#x: DPS is clear", is)
	}
}

// TestOddPRDs has addresses and lengths that are odd: both are made even.
func TestOddPRDs(t *testing.T) {
	h, s := start1(t, ahci.Options{}, ata.Options{})
	h.do(0, 0, command{Task: ata.Task{Command: ata.CmdReadDMAExt, Count: 1, Device: 0x40}, prds: [][2]uint64{{buffer(0) + 1, 511}}})
	if !bytes.Equal(h.bytes(buffer(0), 512), s.data[:512]) {
		t.Error("wrong data")
	}
}

func TestOptions(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	for _, o := range []ahci.Options{
		{}, {Clock: h.clock, Ports: 33}, {Clock: h.clock, Slots: 40}, {Clock: h.clock, Speed: 4},
		{Clock: h.clock, Workers: 99}, {Clock: h.clock, FISSwitching: true},
	} {
		if _, err := ahci.New(o); err == nil {
			t.Errorf("options %+v are accepted", o)
		}
	}
	s := newStore(t, 1<<20)
	for _, o := range []ata.Options{
		{}, {Clock: h.clock, Serial: "012345678901234567890"}, {Clock: h.clock, LogicalSize: 1024},
		{Clock: h.clock, LogicalSize: 4096, PhysicalSize: 512}, {Clock: h.clock, RPM: 12}, {Clock: h.clock, Model: "\x01"},
	} {
		if _, err := ata.New(o, s); err == nil {
			t.Errorf("options %+v are accepted", o)
		}
	}
	// 32 ports need a larger BAR, and have no room for the coalescing interrupt.
	big := newHBA(t, ahci.Options{Ports: 32, Slots: 1, No64: true, NoNCQ: true, MSIVectors: -1})
	big.disk(31, ata.Options{}, 1<<20)
	big.start(31)
	big.identify(31)
	if v := big.get(rCAP); v != 31|3<<20|7<<13|1<<18|7<<24|1<<29 {
		t.Errorf("CAP %#x", v)
	}
	big.pset(31, pCI, 2)
	big.pset(31, pCLBU, 1)
	if big.pget(31, pCI) != 0 || big.pget(31, pCLBU) != 0 {
		t.Error("a slot or an address that does not exist")
	}
	if n, err := h.dev.FreePort(); n != 0 || err != nil {
		t.Errorf("free port %d, %v", n, err)
	}
	if err := h.dev.PowerLoss(); err != nil {
		t.Error(err)
	}
}
