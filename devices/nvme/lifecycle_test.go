package nvme_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/nvme"
	"dfemu/devices/pci"
)

func TestBadEnable(t *testing.T) {
	for name, spoil := range map[string]func(d *driver){
		"no submission queue":   func(d *driver) { d.put(rASQ, 8, 0) },
		"queue outside memory":  func(d *driver) { d.put(rACQ, 8, 1<<45) },
		"queues of one entry":   func(d *driver) { d.put(rAQA, 4, 0) },
		"page size":             func(d *driver) { d.put(rCC, 4, 5<<7) },
		"command set":           func(d *driver) { d.put(rCC, 4, 3<<4) },
		"arbitration":           func(d *driver) { d.put(rCC, 4, 1<<11) },
		"queue not at its page": func(d *driver) { d.put(rCC, 4, 1<<7); d.put(rASQ, 8, 0x101000) },
	} {
		d := newDriver(t, nvme.Options{})
		d.put(rAQA, 4, 0x000f000f)
		d.put(rASQ, 8, 0x100000)
		d.put(rACQ, 8, 0x102000)
		spoil(d)
		d.put(rCC, 4, d.get(rCC, 4)|1)
		if s := d.get(rCSTS, 4); s != 2 {
			t.Errorf("%s: CSTS %#x", name, s)
		}
		d.put(rCC, 4, 0)
		d.waitStatus(3, 0)
		d.start(16) // and it goes
	}
}

// TestPageSizes runs with larger memory pages.
func TestPageSizes(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	d.put(rAQA, 4, 0x000f000f)
	d.put(rASQ, 8, 0x100000)
	d.put(rACQ, 8, 0x120000)
	d.put(rCC, 4, ccEnable|4<<7) // 64 KiB
	p := &pair{d: d, size: 16, sq: 0x100000, cq: 0x120000, phase: 1}
	d.q[0] = p
	p.ok(sqe{op: 5, prp1: 0x140000, dw: [6]uint32{1 | 15<<16, 3}})
	p.ok(sqe{op: 1, prp1: 0x160000, dw: [6]uint32{1 | 15<<16, 1 | 1<<16}})
	q := &pair{d: d, id: 1, size: 16, sq: 0x160000, cq: 0x140000, phase: 1}
	c := rw(2, 0, 256)
	c.prp1, c.prp2 = 0x200000+4096, 0x210000 // 60 KiB and 68 KiB: a list of two
	le.PutUint64(d.bytes(0x210000, 8), 0x220000)
	le.PutUint64(d.bytes(0x210008, 8), 0x230000)
	q.ok(c)
	want := make([]byte, 128<<10)
	s := store(t, diskSize)
	if _, err := s.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	got := append(append(bytes.Clone(d.bytes(0x201000, 60<<10)), d.bytes(0x220000, 64<<10)...), d.bytes(0x230000, 4<<10)...)
	if !bytes.Equal(got, want) {
		t.Error("content differs")
	}
	c.prp2 = 0x211000 + 4
	q.fails(c, 0x13)
}

func TestShutdown(t *testing.T) {
	s := &failing{Block: store(t, diskSize)}
	d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{{Store: s}}}})
	p := d.boot()
	p.write(0, pattern(512, 1), 512)
	before := s.flushes.Load()
	d.put(rCC, 4, ccEnable|1<<14)
	d.waitStatus(0xc, 8)
	if s.flushes.Load() == before {
		t.Error("nothing was flushed")
	}
	d.stop()
	if v := d.get(rCSTS, 4); v != 0 {
		t.Errorf("CSTS %#x after a reset", v)
	}
	d.boot()
	d.put(rCC, 4, ccEnable|2<<14)
	d.waitStatus(0xc, 8)
	// Power off and on: this was a clean shutdown.
	d.dev.Reset()
	d.program("msix")
	d.rings = 0
	d.boot()
	if log := d.logPage(2, 0xffffffff, 512); le.Uint64(log[144:]) != 0 || le.Uint64(log[112:]) != 2 {
		t.Errorf("unsafe shutdowns %d, power cycles %d", le.Uint64(log[144:]), le.Uint64(log[112:]))
	}
	if err := d.dev.PowerLoss(); err != nil {
		t.Error(err)
	}
	d.program("msix")
	d.rings = 0
	d.boot()
	if log := d.logPage(2, 0xffffffff, 512); le.Uint64(log[144:]) != 1 {
		t.Errorf("unsafe shutdowns %d", le.Uint64(log[144:]))
	}
}

func TestSubsystemReset(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	p.submit(rw(0, 0, 1))
	d.put(rNSSR, 4, 0x12345678)
	if d.get(rCSTS, 4) != 1 {
		t.Error("another value resets")
	}
	d.put(rNSSR, 4, 0x4e564d65)
	d.waitStatus(0x11, 0x10)
	if d.get(rCC, 4) != 0 {
		t.Errorf("CC %#x", d.get(rCC, 4))
	}
	d.put(rCSTS, 4, 0x10)
	if v := d.get(rCSTS, 4); v != 0 {
		t.Errorf("NSSRO cannot be cleared: %#x", v)
	}
	d.rings = 0
	d.boot()
}

// gate is a store whose reads wait.
type gate struct {
	devices.Block
	entered chan struct{}
	open    chan struct{}
}

func newGate(b devices.Block) *gate {
	return &gate{Block: b, entered: make(chan struct{}, 1000), open: make(chan struct{})}
}

func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	g.entered <- struct{}{}
	<-g.open
	return g.Block.ReadAt(p, off)
}

// TestDoorbellDoesNotWait submits to a store that hangs: doorbells return, other
// commands of the same queue go on, and a reset waits for what is being read.
func TestDoorbellDoesNotWait(t *testing.T) {
	g := newGate(store(t, diskSize))
	d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{{Store: g}}}})
	p := d.boot()
	for range 10 {
		p.submit(d.transfer(2, 0, 8, d.alloc(4096), 4096))
	}
	<-g.entered
	done := p.submit(sqe{op: 0, nsid: 1})
	p.wait(done) // the flush overtakes the reads
	d.put(rCC, 4, ccEnable&^1)
	if d.get(rCSTS, 4)&1 == 0 {
		t.Error("RDY fell while a read was going on")
	}
	close(g.open)
	d.waitStatus(1, 0)
	d.rings = 0
	d.boot().read(0, 8, 512)
}

// TestFunctionReset is an FLR with commands in flight.
func TestFunctionReset(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	for i := range 30 {
		p.submit(d.transfer(2, uint64(i), 8, d.alloc(4096), 4096))
	}
	for off := int(d.config(pci.RegCapPtr, 1)); off != 0; off = int(d.config(off+1, 1)) {
		if d.config(off, 1) == pci.CapExpress {
			d.setConfig(off+8, 2, 1<<15)
		}
	}
	d.program("msix")
	if d.get(rCSTS, 4) != 0 || d.get(rCC, 4) != 0 || d.get(rAQA, 4) != 0 {
		t.Error("registers outlive a function level reset")
	}
	d.rings = 0
	d.boot().read(0, 1, 512)
}

// TestSurpriseRemoval takes the controller out of a hot-plug slot under I/O.
func TestSurpriseRemoval(t *testing.T) {
	for range 5 {
		before := runtime.NumGoroutine()
		clock := devtest.NewClock(time.Unix(0, 0))
		dev, err := nvme.New(nvme.Options{Clock: clock, InSlot: true, Sub: nvme.SubsystemOptions{
			Namespaces: []nvme.NamespaceOptions{{Store: store(t, diskSize)}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		d := &driver{t: t, dev: dev, ram: devtest.NewRAM(ramSize), pin: &devtest.Line{}, clock: clock, wakes: make(chan struct{}, 1)}
		env := pci.Env{MMIO: &d.mmio, Ports: &devices.Space{}, Memory: d.ram, MSI: d}
		for i := range env.PIRQ {
			env.PIRQ[i] = d.pin
		}
		host := pci.NewHost(env)
		port := pci.NewRootPort(pci.PortConfig{Name: "port0", Slot: 1, HotPlug: true, Pin: 1})
		if err := host.Bus().Add(0x1c, 0, port.Function); err != nil {
			t.Fatal(err)
		}
		cfg := func(bus, devfn, off, size int, v uint32) { host.WriteConfig(bus, devfn, off, size, v) }
		cfg(0, 0x1c<<3, pci.RegPrimaryBus, 4, 0x00010100)
		cfg(0, 0x1c<<3, pci.RegPrefBase, 2, 0x0001)
		cfg(0, 0x1c<<3, pci.RegPrefLimit, 2, 0xfff1)
		cfg(0, 0x1c<<3, pci.RegMemBase, 4, 0xe0f0e000)
		cfg(0, 0x1c<<3, pci.RegCommand, 2, pci.CommandMemory|pci.CommandMaster)
		if err := port.Populate(dev.Function()); err != nil {
			t.Fatal(err)
		}
		cfg(1, 0, pci.RegBAR0, 4, 0xe0000000)
		cfg(1, 0, pci.RegCommand, 2, pci.CommandMemory|pci.CommandMaster)
		base := uint64(0xe0000000)
		put := func(off uint64, v uint64) { d.mmio.Write(base+off, 4, v) }
		put(rAQA, 0x000f000f)
		put(rASQ, 0x100000)
		put(rACQ, 0x102000)
		put(rCC, ccEnable)
		if s := d.mmio.Read(base+rCSTS, 4); s != 1 {
			t.Fatalf("CSTS %#x", s)
		}
		p := &pair{d: d, size: 16, sq: 0x100000, cq: 0x102000, phase: 1}
		for range 15 {
			p.add(sqe{op: 6, prp1: 0x200000, dw: [6]uint32{1}})
		}
		put(rDoorbells, uint64(p.tail))
		port.Eject()
		if v := d.mmio.Read(base+rCSTS, 4); v != 0xffffffff {
			t.Errorf("an absent controller answers %#x", v)
		}
		put(rDoorbells, 3)
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
		for end := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
			}
		}
	}
}

// TestFullCompletionQueue lets completions pile up until there is room, with
// doorbells and with shadow doorbells.
func TestFullCompletionQueue(t *testing.T) {
	for _, mode := range []string{"msix", "intx"} {
		for _, shadow := range []bool{false, true} {
			d := newDriver(t, nvme.Options{})
			d.program(mode)
			d.start(16)
			p := &pair{d: d, id: 1, size: 64, sq: d.allocRing(64 * 64), cq: d.allocRing(64), phase: 1}
			cq := &pair{d: d, id: 1, size: 4, cq: p.cq, phase: 1}
			if shadow {
				p.shadow, p.events = d.allocRing(4096), d.allocRing(4096)
				cq.shadow, cq.events = p.shadow, p.events
				d.admin(sqe{op: 0x7c, prp1: p.shadow, prp2: p.events})
			}
			d.admin(sqe{op: 5, prp1: p.cq, dw: [6]uint32{1 | 3<<16, 3}})
			d.admin(sqe{op: 1, prp1: p.sq, dw: [6]uint32{1 | 63<<16, 1 | 1<<16}})
			seen := map[uint16]bool{}
			for range 5 {
				for range 60 {
					p.add(sqe{op: 0, nsid: 1})
				}
				p.ring()
				for range 60 {
					seen[cq.reap().cid] = true
				}
			}
			if len(seen) != 300 {
				t.Errorf("%d of 300 completions", len(seen))
			}
			for end := time.Now().Add(patience); d.pin.Level(); runtime.Gosched() {
				if time.Now().After(end) {
					t.Fatalf("%s, shadow %v: the pin stays asserted", mode, shadow)
				}
			}
		}
	}
}

func TestCoalescing(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	d.admin(sqe{op: 9, dw: [6]uint32{8, 3 | 10<<8}}) // 4 completions, or 1 ms
	before := d.messages(1)
	for range 3 {
		p.submit(sqe{op: 0, nsid: 1})
	}
	for range 3 {
		for ok := false; !ok; {
			_, ok = p.poll()
		}
	}
	p.wait(p.submit(sqe{op: 0, nsid: 1}))
	for end := time.Now().Add(patience); d.messages(1) == before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("no interrupt for four completions")
		}
	}
	if n := d.messages(1) - before; n != 1 {
		t.Errorf("%d interrupts for four completions", n)
	}
	p.submit(sqe{op: 0, nsid: 1})
	for ok := false; !ok; {
		_, ok = p.poll()
	}
	d.dev.Pause() // the interrupt was decided about when this returns
	d.dev.Resume()
	before = d.messages(1)
	d.clock.Advance(1e6)
	if n := d.messages(1) - before; n != 1 {
		t.Errorf("%d interrupts when the time is over", n)
	}
}
