package pci

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/kerntest"
)

// function is a function's configuration space: read-only but for the command register and the BARs
// given as sizes.
func function(id, class uint32, sizes ...uint64) *kerntest.Space {
	s := kerntest.Fixed(4096)
	s.Put(regID, id)
	s.Put(regClass, class<<8|1)
	s.Mask[regCommand], s.Mask[regCommand+1] = 0xff, 0xff
	for i, size := range sizes {
		if size == 0 {
			continue
		}
		m := -size
		binary.LittleEndian.PutUint32(s.Mask[regBAR+4*i:], uint32(m))
	}
	return s
}

const ecam = 0xb0000000

// machine is a host whose bus 0 has a bridge to bus 1.
func machine(t *testing.T) (*kern.Host, *kern.Kernel, map[Address]*kerntest.Space) {
	h := &kern.Host{Registers: map[uint64]kern.Registers{}}
	all := map[Address]*kerntest.Space{}
	none := kerntest.Fixed(4096)
	for i := range none.Data {
		none.Data[i] = 0xff
	}
	for bus := range 2 {
		for df := range 256 {
			h.Registers[ecam+uint64(bus)<<20+uint64(df)<<12] = none
		}
	}
	add := func(a Address, s *kerntest.Space) {
		all[a] = s
		h.Registers[ecam+uint64(a.Bus)<<20|uint64(a.Slot)<<15|uint64(a.Func)<<12] = s
	}
	add(Address{0, 0, 0}, function(0x29c08086, 0x060000))
	bridge := function(0x000c1b36, 0x060400)
	bridge.Data[regHeader] = headerBridge | multiFn
	bridge.Put(regBusses, 0x00010100)
	add(Address{0, 3, 0}, bridge)
	add(Address{0, 3, 2}, function(0x29228086, 0x010601))
	nvme := function(0x00101b36, 0x010802, 0x4000, 0)
	nvme.Put(regBAR, 0xfe000004)
	binary.LittleEndian.PutUint32(nvme.Mask[regBAR+4:], 0xffffffff)
	nvme.Data[regStatus] = statusCaps
	nvme.Data[regCapPtr] = 0x40
	nvme.Put(0x40, 0x00030000|0x50<<8|CapMSIX) // four entries
	nvme.Put(0x44, 0x2000)
	nvme.Mask[0x43] = 0xc0
	nvme.Put(0x50, 0x0080<<16|CapMSI)
	for i := 0x52; i < 0x60; i++ {
		nvme.Mask[i] = 0xff
	}
	add(Address{1, 0, 0}, nvme)
	regs := kerntest.NewSpace(0x4000)
	h.Registers[0xfe000000] = regs
	return h, kern.New(h), all
}

// testDriver attaches to NVMe.
type testDriver struct {
	mu       sync.Mutex
	attached []string
	detached int
	fail     bool
}

func (d *testDriver) Name() string           { return "nvme" }
func (d *testDriver) Match(dev *Device) bool { return dev.Class == 0x010802 }
func (d *testDriver) Attach(dev *Device, unit int) (Attached, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail {
		return nil, errors.New("it does not answer")
	}
	d.attached = append(d.attached, dev.Address.String())
	return d, nil
}
func (d *testDriver) Detach() { d.detached++ }

func TestScan(t *testing.T) {
	h, k, all := machine(t)
	drv := &testDriver{}
	b := New(k, drv)
	b.AddSpan(ecam, 0, 1)
	if err := b.Scan(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range b.List() {
		got = append(got, e.Device.String()+" "+e.Name)
	}
	want := []string{"00:00.0 ", "00:03.0 ", "01:00.0 nvme0", "00:03.2 "}
	if !slices.Equal(got, want) {
		t.Fatalf("functions %q, want %q", got, want)
	}
	bar := b.found[Address{1, 0, 0}].dev.BARs[0]
	if bar.Addr != 0xfe000000 || bar.Size != 0x4000 || !bar.Is64 || bar.IO {
		t.Errorf("BAR 0 is %+v", bar)
	}
	if v := all[Address{1, 0, 0}].Read32(regBAR); v != 0xfe000004 {
		t.Errorf("BAR 0 is %#x after it was sized", v)
	}
	// It goes, and comes again: the unit number is free again.
	place := uint64(ecam + 1<<20)
	was := h.Registers[place]
	h.Registers[place] = h.Registers[ecam+31<<15]
	if err := b.Scan(); err != nil || drv.detached != 1 || len(b.List()) != 3 {
		t.Errorf("after removal: %v, detached %d, %d functions", err, drv.detached, len(b.List()))
	}
	h.Registers[place] = was
	if err := b.Scan(); err != nil || len(drv.attached) != 2 || b.found[Address{1, 0, 0}].name != "nvme0" {
		t.Errorf("after it came back: %v, attached %v", err, drv.attached)
	}
}

func TestAttachFails(t *testing.T) {
	_, k, _ := machine(t)
	b := New(k, &testDriver{fail: true})
	b.AddSpan(ecam, 0, 1)
	if err := b.Scan(); err != nil {
		t.Error(err)
	}
	found := false
	for _, l := range k.Log().Lines() {
		found = found || slices.Contains([]byte(l), 'n') && len(l) > 15 && l[15:] == "nvme0: not attached: it does not answer\n"
	}
	if !found {
		t.Errorf("the log does not name the device: %q", k.Log().Lines())
	}
}

func TestMSIX(t *testing.T) {
	h, k, all := machine(t)
	conf := all[Address{1, 0, 0}]
	d := NewDevice(k, Address{1, 0, 0}, conf)
	if n := d.MaxInterrupts(); n != 4 {
		t.Fatalf("%d interrupts, want 4", n)
	}
	ints, err := d.Interrupts(3, 1, 0)
	if err != nil || len(ints) != 3 {
		t.Fatalf("%d interrupts, %v", len(ints), err)
	}
	regs := h.Registers[0xfe000000]
	for i, in := range ints {
		e := uint64(0x2000 + 16*i)
		if regs.Read64(e) != in.Addr || regs.Read32(e+8) != in.Data || regs.Read32(e+12) != 0 {
			t.Errorf("entry %d: %#x %#x %#x, want %#x %#x 0", i, regs.Read64(e), regs.Read32(e+8), regs.Read32(e+12), in.Addr, in.Data)
		}
	}
	if regs.Read32(0x2000+16*3+12) != 1 {
		t.Error("the entry that is not used is not masked")
	}
	if ctl := conf.Read16(0x42); ctl&(msixEnable|msixMask) != msixEnable {
		t.Errorf("message control is %#x", ctl)
	}
	if conf.Read16(regCommand)&cmdNoINTx == 0 {
		t.Error("the line interrupt is not off")
	}
	if _, err := d.Interrupts(1); err == nil {
		t.Error("interrupts are given out twice")
	}
	hit := make(chan int, 1)
	k.Handle(ints[1], "test", kern.IntrMed, func() { hit <- 1 })
	ints[1].Raise(k)
	<-hit
	if d.StopInterrupts(); conf.Read16(0x42)&msixEnable != 0 {
		t.Error("MSI-X is still on")
	}
}

// scarce is a platform with few interrupts.
type scarce struct {
	*kern.Host
	left int
}

func (s *scarce) NewInterrupt(cpu int) (*kern.Interrupt, error) {
	if s.left--; s.left < 0 {
		return nil, errors.New("there are no more")
	}
	return s.Host.NewInterrupt(cpu)
}

// TestFewInterrupts gives a function as many interrupts as there are.
func TestFewInterrupts(t *testing.T) {
	h, _, all := machine(t)
	for left, want := range []int{0, 1, 2, 3, 3} {
		k := kern.New(&scarce{h, left})
		d := NewDevice(k, Address{1, 0, 0}, all[Address{1, 0, 0}])
		ints, err := d.Interrupts(3)
		if len(ints) != want || (err == nil) != (want > 0) {
			t.Errorf("%d interrupts of %d, %v", len(ints), left, err)
		}
		for i := want; i < 4; i++ {
			if h.Registers[0xfe000000].Read32(uint64(0x2000+16*i+12)) != vectorMaskd {
				t.Errorf("of %d: entry %d, which is not used, is not masked", left, i)
			}
		}
		d.StopInterrupts()
	}
}

func TestMSI(t *testing.T) {
	_, k, all := machine(t)
	conf := all[Address{1, 0, 0}]
	conf.Data[regCapPtr] = 0x50 // no MSI-X any more
	d := NewDevice(k, Address{1, 0, 0}, conf)
	ints, err := d.Interrupts(4)
	if err != nil || len(ints) != 1 {
		t.Fatalf("%d interrupts, %v", len(ints), err)
	}
	if conf.Read32(0x54) != uint32(ints[0].Addr) || conf.Read16(0x5c) != uint16(ints[0].Data) || conf.Read16(0x52)&msiEnable == 0 {
		t.Errorf("MSI: %#x %#x %#x", conf.Read32(0x54), conf.Read16(0x5c), conf.Read16(0x52))
	}
	d.StopInterrupts()
	conf.Data[regCapPtr] = 0
	if _, err := d.Interrupts(1); err == nil {
		t.Error("a function without MSI has interrupts")
	}
}

// TestCircle follows a list of capabilities that leads in a circle.
func TestCircle(t *testing.T) {
	_, k, all := machine(t)
	conf := all[Address{1, 0, 0}]
	conf.Data[0x51] = 0x40
	d := NewDevice(k, Address{1, 0, 0}, conf)
	if at := d.Capability(CapPCIe, 0); at != 0 {
		t.Errorf("a capability at %#x that is not there", at)
	}
	if at := d.Capability(CapMSIX, 0x50); at != 0x40 {
		t.Errorf("the next MSI-X is at %#x", at)
	}
}

// TestBadTable has an MSI-X table outside its BAR.
func TestBadTable(t *testing.T) {
	_, k, all := machine(t)
	conf := all[Address{1, 0, 0}]
	conf.Put(0x44, 0x3ff8)
	d := NewDevice(k, Address{1, 0, 0}, conf)
	if _, err := d.Interrupts(1); err == nil {
		t.Error("a table outside its BAR is used")
	}
	if _, err := d.Map(7); err == nil {
		t.Error("there is a BAR 7")
	}
}

// TestPins routes the pins of functions on bus 0 and behind a bridge, as the machine has no messages or may not use them.
func TestPins(t *testing.T) {
	h, k, all := machine(t)
	b := New(k)
	b.AddSpan(ecam, 0, 1)
	if b.Q35() != nil {
		t.Error("a machine without ICH9 is a Q35")
	}
	lpc := function(0x29188086, 0x060100)
	lpc.Put(regRCBA, 0xfed1c001)
	all[Address{0, 31, 0}] = lpc
	h.Registers[ecam+31<<15] = lpc
	chip := kerntest.NewSpace(rcbaSize)
	for i := range chip.Data {
		chip.Data[i] = 0xff
	}
	binary.LittleEndian.PutUint16(chip.Data[0x3140:], 0x3217) // INTA# of device 31 on PIRQH
	binary.LittleEndian.PutUint16(chip.Data[0x314c:], 0x3210)
	h.Registers[0xfed1c000] = chip
	route := b.Q35()
	if route == nil {
		t.Fatal("a Q35 is not known")
	}
	for _, c := range []struct {
		slot, pin uint8
		want      uint32
	}{{0, 0, 20}, {1, 0, 21}, {3, 3, 22}, {24, 0, 20}, {24, 1, 21}, {31, 0, 23}, {31, 1, 17}, {30, 2, 22}, {26, 0, 16}, {25, 3, 19}} {
		if gsi, ok := route(c.slot, c.pin); !ok || gsi != c.want {
			t.Errorf("INT%c# of device %d leads to %d, want %d", 'A'+c.pin, c.slot, gsi, c.want)
		}
	}
	for _, c := range [][2]uint8{{32, 0}, {0, 4}} {
		if _, ok := route(c[0], c[1]); ok {
			t.Errorf("pin %d of device %d leads somewhere", c[1], c[0])
		}
	}

	b.SetInterrupts(Interrupts{NoMSI: true, NoMSIX: true, Route: route})
	all[Address{1, 0, 0}].Data[regPin] = 2 // INTB#, on device 0 behind device 3: INTB# of the bridge
	all[Address{0, 3, 2}].Data[regPin] = 2 // INTB# of device 3
	if err := b.Scan(); err != nil {
		t.Fatal(err)
	}
	find := func(a Address) *Device {
		for _, e := range b.List() {
			if e.Device.Address == a {
				return e.Device
			}
		}
		t.Fatalf("%v was not found", a)
		return nil
	}
	nvme, ahci := find(Address{1, 0, 0}), find(Address{0, 3, 2})
	for _, e := range b.List() {
		if e.Device.conf.Read16(regCommand)&cmdNoINTx == 0 {
			t.Errorf("%v: its pin is on before there is a driver that handles it", e.Device.Address)
		}
	}
	hits := make(chan string, 10)
	for name, d := range map[string]*Device{"nvme0": nvme, "ahci0": ahci} {
		if n := d.MaxInterrupts(); n != 1 {
			t.Errorf("%s: %d interrupts, want the pin", name, n)
		}
		ints, err := d.Interrupts(3)
		if err != nil || len(ints) != 1 || !ints[0].Shared() {
			t.Fatalf("%s: %d interrupts, %v", name, len(ints), err)
		}
		k.Handle(ints[0], name, kern.IntrMed, func() { hits <- name })
		if d.conf.Read16(regCommand)&cmdNoINTx != 0 {
			t.Errorf("%s: the pin is off", name)
		}
	}
	if got := nvme.InterruptInfo() + ", " + ahci.InterruptInfo(); got != "irq 20, INTB#, irq 20, INTB#" {
		t.Errorf("the pins are %s", got)
	}
	if got := [2]uint16{nvme.conf.Read16(0x42) & msixEnable, nvme.conf.Read16(0x52) & msiEnable}; got != [2]uint16{} {
		t.Errorf("messages are on: %x", got)
	}
	h.Pin(20).Raise(k)
	if got := []string{<-hits, <-hits}; !slices.Contains(got, "nvme0") || !slices.Contains(got, "ahci0") {
		t.Errorf("handlers called: %v", got)
	}
	nvme.StopInterrupts()
	if nvme.conf.Read16(regCommand)&cmdNoINTx == 0 {
		t.Error("the pin is on after all")
	}
	h.Pin(20).Raise(k)
	if got := <-hits; got != "ahci0" {
		t.Errorf("%s was called after it was stopped", got)
	}

	// Without a pin, or without a known route, there is no interrupt.
	none := find(Address{0, 0, 0})
	if _, err := none.Interrupts(1); err == nil || none.MaxInterrupts() != 0 || !strings.Contains(err.Error(), "it has no interrupt pin") {
		t.Errorf("a function without a pin: %v", err)
	}
	b.SetInterrupts(Interrupts{NoMSI: true, NoMSIX: true})
	if _, err := nvme.Interrupts(1); err == nil || !strings.Contains(err.Error(), "is not known") {
		t.Errorf("no route: %v", err)
	}
	// What firmware has noted, if that can be.
	b.SetInterrupts(Interrupts{NoMSI: true, NoMSIX: true, Line: func(irq uint8) (uint32, bool) { return uint32(irq) + 100, irq == 11 }})
	if _, err := nvme.Interrupts(1); err == nil || !strings.Contains(err.Error(), "firmware says interrupt line 0") {
		t.Errorf("no interrupt line: %v", err)
	}
	all[Address{1, 0, 0}].Data[regLine] = 11
	if ints, err := nvme.Interrupts(1); err != nil || len(ints) != 1 || !strings.HasPrefix(nvme.InterruptInfo(), "irq 111, ") {
		t.Errorf("interrupt line 11: %s, %v", nvme.InterruptInfo(), err)
	}
	nvme.StopInterrupts()
}
