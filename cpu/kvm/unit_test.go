//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"
	"unsafe"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// TestLayout compares the sizes of structures with those that the ioctl
// numbers carry.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"regs", unsafe.Sizeof(gokvm.Regs{}), sizeRegs},
		{"sregs", unsafe.Sizeof(gokvm.Sregs{}), sizeSregs},
		{"events", unsafe.Sizeof(gokvm.VCPUEvents{}), 64},
		{"debug registers", unsafe.Sizeof(gokvm.DebugRegs{}), 128},
		{"extended control registers", unsafe.Sizeof(gokvm.XCRS{}), 392},
		{"clock", unsafe.Sizeof(gokvm.ClockData{}), 48},
		{"routing entry", unsafe.Sizeof(routeEntry{}), 48},
		{"zone", unsafe.Sizeof(zone{}), sizeZone},
		{"irqfd", unsafe.Sizeof(irqfd{}), sizeIRQFD},
		{"ioeventfd", unsafe.Sizeof(ioeventfd{}), sizeIOEventFD},
		{"capability", unsafe.Sizeof(enableCap{}), sizeEnableCap},
		{"message", unsafe.Sizeof(msi{}), sizeMSI},
		{"attribute", unsafe.Sizeof(deviceAttr{}), sizeDeviceAttr},
		{"MSR", unsafe.Sizeof(gokvm.MSREntry{}), 16},
	} {
		if c.got != c.want {
			t.Errorf("%s has %d bytes, want %d", c.name, c.got, c.want)
		}
	}
}

func TestMessageSplit(t *testing.T) {
	for _, c := range []struct {
		addr   uint64
		lo, hi uint32
	}{
		{0xfee00000, 0xfee00000, 0},
		{0xfee0100c, 0xfee0100c, 0},
		{0xfeeff000, 0xfeeff000, 0},
		{0xfee03020, 0xfee03000, 1 << 8},
		{0xfee00fe0, 0xfee00000, 0x7f << 8},
	} {
		if lo, hi := (message{addr: c.addr}).split(); lo != c.lo || hi != c.hi {
			t.Errorf("%#x: %#x, %#x, want %#x, %#x", c.addr, lo, hi, c.lo, c.hi)
		}
	}
}

// TestReplace sees that a route is not taken away from an interrupt in service.
func TestReplace(t *testing.T) {
	idle := func(used uint64) *levelRoute { return &levelRoute{used: used} }
	busy := func(used uint64) *levelRoute { return &levelRoute{inService: true, used: used} }
	for _, c := range []struct {
		l, m *levelRoute
		want bool
	}{
		{idle(1), idle(2), true}, {idle(2), idle(1), false},
		{idle(9), busy(1), true}, {busy(1), idle(9), false},
		{busy(1), busy(2), true},
	} {
		if got := older(c.l, c.m); got != c.want {
			t.Errorf("%+v rather than %+v: %v", *c.l, *c.m, got)
		}
	}
}

func TestRoutes(t *testing.T) {
	available(t)
	a := bare(t)
	r := &a.routes
	for i := range uint32(100) {
		if err := r.learn(message{0xfee00000, 0xc000 | 0x20 + i}); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			r.ended(uint8(0x20 + i))
		}
	}
	// The first has not ended and must still be there.
	found := false
	for _, l := range r.level {
		found = found || l.data == 0xc020 && l.inService
	}
	if !found {
		t.Error("the route of an interrupt in service was replaced")
	}
	if r.table.N != reservedPins {
		t.Errorf("%d routes, want %d", r.table.N, reservedPins)
	}
}

// bare makes an accelerator with one processor and no memory.
func bare(t *testing.T) *Accel {
	t.Helper()
	m := &scratch{start: time.Now()}
	a, err := newAccel(cpu.Config{CPUs: 1, Clock: m, Platform: m, NewBus: func(int) cpu.Bus { return m }, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func TestRefused(t *testing.T) {
	available(t)
	m := &scratch{start: time.Now()}
	for name, c := range map[string]cpu.Config{
		"no processors":  {},
		"too many":       {CPUs: 1 << 20},
		"odd memory":     {CPUs: 1, Memory: []cpu.Slot{{GPA: 1, Data: make([]byte, pageSize)}}},
		"part of a page": {CPUs: 1, Memory: []cpu.Slot{{Data: make([]byte, 100)}}},
	} {
		c.Clock, c.Platform, c.NewBus = m, m, func(int) cpu.Bus { return m }
		if a, err := New(c); err == nil || a != nil {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}

func TestUsable(t *testing.T) {
	ok, reason := Usable()
	t.Log(ok, reason)
	if reason == "" {
		t.Error("no reason")
	}
	if _, err := os.Stat(device); errors.Is(err, os.ErrNotExist) {
		if _, err := open(); ok || !errors.Is(err, cpu.ErrNoKVM) {
			t.Errorf("without %s: %v, %v", device, ok, err)
		}
	}
}

// TestNotKVM opens a device that is not KVM.
func TestNotKVM(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := checkDevice(int(f.Fd())); !errors.Is(err, cpu.ErrNoKVM) {
		t.Errorf("got %v", err)
	}
}

func TestDivider(t *testing.T) {
	for tdcr, want := range map[uint32]uint{0: 1, 1: 2, 2: 3, 3: 4, 8: 5, 9: 6, 10: 7, 11: 0} {
		if got := divider(tdcr); got != want {
			t.Errorf("%#x: 2^%d, want 2^%d", tdcr, got, want)
		}
	}
}

// recorder is a bus that remembers bytes.
type recorder struct {
	scratch
	mem   map[uint64]byte
	sizes []int
}

func (r *recorder) Read(gpa uint64, n int) (v uint64) {
	r.sizes = append(r.sizes, n)
	for i := range n {
		v |= uint64(r.mem[gpa+uint64(i)]) << (8 * i)
	}
	return v
}

func (r *recorder) Write(gpa uint64, n int, v uint64) {
	r.sizes = append(r.sizes, n)
	for i := range n {
		r.mem[gpa+uint64(i)] = uint8(v >> (8 * i))
	}
	if n < 8 && v>>(8*n) != 0 {
		panic("value wider than the access")
	}
}

func TestBusSizes(t *testing.T) {
	for n := 1; n <= 8; n++ {
		r := &recorder{mem: map[uint64]byte{}}
		const v = 0x8877665544332211
		writeBus(r, 0x1000, n, v)
		got := readBus(r, 0x1000, n)
		if want := uint64(v) & (^uint64(0) >> (64 - 8*n)); got != want {
			t.Errorf("%d bytes: %#x, want %#x", n, got, want)
		}
		for _, size := range r.sizes {
			if size&(size-1) != 0 {
				t.Errorf("%d bytes: an access of %d", n, size)
			}
		}
	}
}

// TestRing drains a ring that wraps, and one with indices that make no sense.
func TestRing(t *testing.T) {
	page := make([]byte, 4096)
	n := uint32((len(page) - ringEntries) / ringEntry)
	put := func(i uint32, addr uint64, size uint32, v uint64) {
		e := page[ringEntries+i*ringEntry:]
		binary.NativeEndian.PutUint64(e, addr)
		binary.NativeEndian.PutUint32(e[8:], size)
		binary.NativeEndian.PutUint64(e[16:], v)
	}
	r := &ring{used: true, page: page}
	bus := &recorder{mem: map[uint64]byte{}}
	binary.NativeEndian.PutUint32(page[ringFirst:], n-1)
	binary.NativeEndian.PutUint32(page[ringLast:], 2)
	put(n-1, 0x10, 4, 0x44332211)
	put(0, 0x20, 9, 1) // cannot be
	put(1, 0x30, 1, 0x55)
	r.drain(bus)
	if bus.mem[0x10] != 0x11 || bus.mem[0x13] != 0x44 || bus.mem[0x30] != 0x55 || len(bus.mem) != 5 {
		t.Errorf("memory is %v", bus.mem)
	}
	if first := binary.NativeEndian.Uint32(page[ringFirst:]); first != 2 {
		t.Errorf("first entry is %d, want 2", first)
	}
	binary.NativeEndian.PutUint32(page[ringFirst:], n+7)
	r.drain(bus)
}

func FuzzFPU(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		rnd := rand.New(rand.NewPCG(a, b))
		var s, got x86.State
		s.FPU = x86.FPU{
			CW: uint16(rnd.Uint32()), SW: uint16(rnd.Uint32()), Tag: uint8(rnd.Uint32()),
			FOP: uint16(rnd.Uint32()), FIP: rnd.Uint64(), FDP: rnd.Uint64(),
		}
		for i := range s.FPU.R {
			s.FPU.R[i] = x86.F80{Mant: rnd.Uint64(), SE: uint16(rnd.Uint32())}
		}
		for i := range s.Vec {
			s.Vec[i] = [4]uint64{rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64()}
		}
		s.MXCSR = rnd.Uint32()
		var p [xsaveSize]byte
		packFPU(&p, &s, true)
		if st0 := binary.LittleEndian.Uint64(p[xsST:]); st0 != s.FPU.R[s.FPU.SW>>11&7].Mant {
			t.Errorf("ST(0) is not the register at the top of the stack")
		}
		unpackFPU(&got, &p)
		if got.FPU != s.FPU || got.Vec != s.Vec || got.MXCSR != s.MXCSR {
			t.Errorf("got %+v, want %+v", got, s)
		}
	})
}

// TestInitialFPU unpacks an area that leaves all components out.
func TestInitialFPU(t *testing.T) {
	var p [xsaveSize]byte
	for i := range p[:xsBV] {
		p[i] = 0xaa
	}
	var s x86.State
	s.Vec[3][1], s.FPU.R[2].Mant = 1, 1
	unpackFPU(&s, &p)
	if s.FPU != (x86.FPU{CW: 0x37f}) || s.Vec != [16][4]uint64{} || s.MXCSR != 0x1f80 {
		t.Errorf("got %+v", s)
	}
}

func TestSegments(t *testing.T) {
	for _, attr := range []x86.Attr{
		0, 0xb, x86.AttrUnusable, x86.AttrP | x86.AttrS | x86.AttrDPL | x86.AttrType,
		x86.AttrAVL, x86.AttrL, x86.AttrDB, x86.AttrG, 3<<5 | x86.AttrP,
	} {
		want := x86.Segment{Selector: 0x1234, Base: 0x56789abcdef, Limit: 0xfffff, Attr: attr}
		var g gokvm.Segment
		setSegment(&g, &want)
		if got := getSegment(&g); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// still is a clock that stands still. It implements cpu.Clock.
type still struct {
	scratch
	at int64
}

func (c *still) Now() int64 { return c.at }

// TestPause sees that KVM's clocks stand still while the machine's does.
func TestPause(t *testing.T) {
	available(t)
	c := &still{}
	a, err := newAccel(cpu.Config{CPUs: 2, Clock: c, Platform: c, NewBus: func(int) cpu.Bus { return c }, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	clock := func() time.Duration {
		d := &a.cpus[0].buf.clock
		if err := gokvm.GetClock(uintptr(a.vm), d); err != nil {
			t.Fatal(err)
		}
		return time.Duration(d.Clock)
	}
	run := func() {
		for _, v := range a.cpus {
			v.Kick()
			if _, err := v.Run(); err != nil {
				t.Fatal(err)
			}
		}
	}
	started := time.Now()
	run()
	d := &a.cpus[0].buf.clock // in a heap object, as gokvm needs it
	*d = gokvm.ClockData{Clock: uint64(2 * time.Hour)}
	if err := gokvm.SetClock(uintptr(a.vm), d); err != nil {
		t.Fatal(err)
	}
	before := clock()
	earlier := time.Since(started) // since the clocks were last compared, at most
	// As if the host had gone on for an hour and a second of it was the machine's.
	a.time.epoch = a.time.epoch.Add(-time.Hour)
	c.at += int64(time.Second)
	began := time.Now()
	run()
	want := before - time.Hour + time.Second
	if d := clock() - want; d < -earlier-time.Second/10 || d > time.Since(began)+time.Second/10 {
		t.Errorf("the paravirtual clock was %v and is %v, want %v", before, clock(), want)
	}
	if !a.caps.tscOffset {
		t.Log("this host's KVM keeps no TSC offsets: the counters are not looked at")
		return
	}
	var offsets [2]uint64
	for i, v := range a.cpus {
		if offsets[i], err = v.tscOffset(); err != nil {
			t.Fatal(err)
		}
	}
	if offsets[0] != offsets[1] {
		t.Errorf("TSC offsets %#x and %#x differ", offsets[0], offsets[1])
	}
}
