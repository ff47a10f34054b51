package hpet

import (
	"slices"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/drive"
	"dfemu/devices/devtest"
)

type rig struct {
	*Device
	clock      *devtest.Clock
	irq0, irq8 devtest.Line
	gsi        [24]devtest.Line
	msi        devtest.MSI
	t          *testing.T
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, clock: devtest.NewClock(time.Time{})}
	var lines []devices.Line
	for i := range r.gsi {
		lines = append(lines, &r.gsi[i])
	}
	r.Device = New(Config{Clock: r.clock, Lines: lines, IRQ0: &r.irq0, IRQ8: &r.irq8, MSI: &r.msi})
	return r
}

func (r *rig) out(off, v uint64)    { r.t.Helper(); drive.Out(r.t, r.Registers(), off, 8, v) }
func (r *rig) in(off uint64) uint64 { r.t.Helper(); return drive.In(r.t, r.Registers(), off, 8) }

const (
	conf  = 0x10
	sta   = 0x20
	cnt   = 0xf0
	tim0  = 0x100
	comp0 = 0x108
	fsb0  = 0x110
)

func TestBank(t *testing.T) {
	for _, n := range []int{3, MaxTimers} {
		if err := newBank(n).Check(); err != nil {
			t.Error(err)
		}
	}
	if MaxTimers*0x20+0x100 > Size {
		t.Error("the timers do not fit")
	}
}

func TestCapabilities(t *testing.T) {
	r := newRig(t)
	if v := r.in(0); v != 0x0098_9680_8086_a201 {
		t.Errorf("GCAP_ID = %#x", v)
	}
	if v := drive.In(t, r.Registers(), 4, 4); v != 10_000_000 {
		t.Errorf("period %d fs", v)
	}
	if v := r.in(tim0); v != 0x00f0_0000_0000_8030 {
		t.Errorf("TIM0_CONF = %#x", v)
	}
	if v := r.in(tim0 + 0x40); v != 0x00f0_0800_0000_8030 {
		t.Errorf("TIM2_CONF = %#x", v)
	}
}

func TestMainCounter(t *testing.T) {
	r := newRig(t)
	r.clock.Advance(1000)
	if v := r.in(cnt); v != 0 {
		t.Errorf("halted counter %d", v)
	}
	r.out(cnt, 0xffff_ffff)
	r.out(conf, 1)
	r.clock.Advance(1005)
	if v := r.in(cnt); v != 0xffff_ffff+100 {
		t.Errorf("counter %#x", v)
	}
	if hi := drive.In(t, r.Registers(), cnt+4, 4); hi != 1 {
		t.Errorf("upper half %#x", hi)
	}
	r.out(conf, 0)
	r.clock.Advance(1e6)
	if v := r.in(cnt); v != 0xffff_ffff+100 {
		t.Errorf("counter %#x after halt", v)
	}
}

func TestOneShot(t *testing.T) {
	r := newRig(t)
	r.out(tim0, timEnable|21<<timRouteShift)
	r.out(comp0, 1000)
	r.out(conf, 1)
	for _, c := range []struct {
		at    int64
		rises int
	}{{9_999, 0}, {10_000, 1}, {1e9, 1}} {
		r.clock.Advance(c.at - r.clock.Now())
		if n := r.gsi[21].Rises(); n != c.rises {
			t.Errorf("%d ns: %d interrupts, want %d", c.at, n, c.rises)
		}
	}
	if r.gsi[21].Level() {
		t.Error("an edge leaves the line high")
	}
	r.out(comp0, r.in(cnt)-1) // passed already: a 64-bit turn away
	r.clock.Advance(100e9)
	if n := r.gsi[21].Rises(); n != 1 {
		t.Errorf("a comparator in the past interrupts")
	}
}

func Test32BitMode(t *testing.T) {
	r := newRig(t)
	r.out(tim0, timEnable|tim32|20<<timRouteShift)
	r.out(cnt, 0x5_ffff_ff00)
	r.out(comp0, 0x9_0000_0000) // upper half does not count
	r.out(conf, 1)
	r.clock.Advance(0x100*Period - 1)
	if n := r.gsi[20].Rises(); n != 0 {
		t.Error("early")
	}
	r.clock.Advance(1)
	if n := r.gsi[20].Rises(); n != 1 {
		t.Error("late")
	}
	r.clock.Advance(Period << 32)
	if n := r.gsi[20].Rises(); n != 2 {
		t.Errorf("%d interrupts after the counter went round, want 2", n)
	}
}

// TestPeriodicLegacy programs timer 0 as kernels do.
func TestPeriodicLegacy(t *testing.T) {
	const period = 100_000 // 1 ms
	r := newRig(t)
	r.clock.Advance(5e6)
	r.out(conf, 1)
	r.clock.Advance(123_456)
	drive.Out(t, r.Registers(), tim0, 4, timEnable|timPeriodic|timValSet|tim32)
	now := r.in(cnt)
	drive.Out(t, r.Registers(), comp0, 4, now+period)
	drive.Out(t, r.Registers(), comp0, 4, period)
	if v := r.in(tim0); v&timValSet != 0 {
		t.Error("VAL_SET_CNF stays set")
	}
	r.out(conf, 3)
	start := r.clock.Now()
	r.clock.Advance(1e9 + 1e5)
	if n := r.irq0.Rises(); n != 1000 {
		t.Errorf("%d interrupts in a second, want 1000", n)
	}
	if c := r.in(comp0); c != now+1001*period {
		t.Errorf("comparator %d, want %d", c, now+1001*period)
	}
	if start != 5e6+123_456 {
		t.Error("the clock moved")
	}
}

func TestLegacyReplacement(t *testing.T) {
	r := newRig(t)
	r.PITLine().Set(true)
	if !r.irq0.Level() {
		t.Fatal("the PIT does not reach IRQ 0")
	}
	r.RTCLine().Set(true)
	r.out(conf, confLegacy)
	if r.irq0.Level() || r.irq8.Level() {
		t.Error("PIT or RTC still drive their lines")
	}
	r.PITLine().Set(false)
	r.PITLine().Set(true)
	if n := r.irq0.Rises(); n != 1 {
		t.Errorf("%d edges of the PIT, want 1", n)
	}
	r.out(conf, 0)
	if !r.irq8.Level() {
		t.Error("the RTC's line did not come back")
	}
}

func TestLevelTriggered(t *testing.T) {
	r := newRig(t)
	r.out(tim0+0x40, timLevel|timEnable|11<<timRouteShift)
	r.out(comp0+0x40, 10)
	r.out(conf, 1)
	r.clock.Advance(1000)
	if !r.gsi[11].Level() || r.in(sta) != 4 {
		t.Fatalf("line %v, status %#x", r.gsi[11].Level(), r.in(sta))
	}
	r.out(sta, 3)
	if !r.gsi[11].Level() {
		t.Error("another timer's bit lowered the line")
	}
	r.out(sta, 4)
	if r.gsi[11].Level() || r.in(sta) != 0 {
		t.Error("the line stays high")
	}
}

// TestMasked sees that timers which may not interrupt do not wake the host, and
// yet count.
func TestMasked(t *testing.T) {
	r := newRig(t)
	r.out(conf, 1|2)
	r.out(tim0, timEnable|timPeriodic|timValSet)
	r.out(comp0, 100)
	r.out(comp0, 100)
	r.out(tim0+0x20, timLevel|21<<timRouteShift)
	r.out(comp0+0x20, 1000)
	r.out(tim0, timPeriodic)
	if n := r.clock.Armed(); n != 0 {
		t.Errorf("%d timers wait with interrupts off", n)
	}
	r.clock.Advance(100_500)
	if v := r.in(comp0); v != 10_100 {
		t.Errorf("comparator %d after a thousand periods, want 10100", v)
	}
	if v := r.in(sta); v != 2 {
		t.Errorf("status %#x, want that of the level-triggered timer", v)
	}
	if n := r.irq0.Rises(); n != 0 {
		t.Errorf("%d interrupts while they were off", n)
	}
	r.out(tim0, timPeriodic|timEnable)
	r.out(tim0+0x20, timLevel|timEnable|21<<timRouteShift)
	if n := r.clock.Armed(); n != 1 {
		t.Errorf("%d timers wait, want the periodic one", n)
	}
	if !r.irq8.Level() {
		t.Error("the status bit does not interrupt once it may")
	}
	r.clock.Advance(minGap)
	if n := r.irq0.Rises(); n == 0 {
		t.Error("no interrupt after they were on for many periods")
	}
}

func TestMessage(t *testing.T) {
	r := newRig(t)
	r.out(tim0, timEnable|timFSB)
	r.out(fsb0, 0xfee0_1000<<32|0x4041)
	r.out(comp0, 10)
	r.out(conf, 1)
	r.clock.Advance(1000)
	if got := r.msi.Take(); !slices.Equal(got, []devtest.Message{{Addr: 0xfee0_1000, Data: 0x4041}}) {
		t.Errorf("messages %x", got)
	}
}

func TestUnroutableTimer(t *testing.T) {
	r := newRig(t)
	r.out(tim0, timEnable|5<<timRouteShift) // 5 is not among its routes
	r.out(comp0, 10)
	r.out(conf, 1)
	r.clock.Advance(1000)
	for i := range r.gsi {
		if r.gsi[i].Rises() != 0 {
			t.Errorf("interrupt at input %d", i)
		}
	}
}

func FuzzHPET(f *testing.F) {
	f.Add([]byte{5, 0, 1, 0x4c, 0, 0, 0, 5, 8, 1, 0x10, 0, 0, 0, 5, 0x10, 0, 3, 0, 0, 0, 0x0f, 255, 20, 4, 8, 1})
	f.Add([]byte{5, 0x20, 1, 0x06, 0x28, 0, 0, 5, 0x28, 1, 0x10, 0, 0, 0, 5, 0x10, 0, 1, 0, 0, 0, 0x0f, 9, 20, 5, 0x20, 0, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		clock := devtest.NewClock(time.Time{})
		d := New(Config{Clock: clock, MSI: new(devtest.MSI)})
		drive.Fuzz(t, program, clock, d, func(op byte) {
			d.PITLine().Set(op&1 != 0)
			d.RTCLine().Set(op&2 != 0)
		}, drive.Window{Region: d.Registers(), Size: 0x200})
	})
}

func FuzzRestore(f *testing.F) {
	p, _ := New(Config{Clock: devtest.NewClock(time.Time{})}).SaveState()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		clock := devtest.NewClock(time.Time{})
		d := New(Config{Clock: clock})
		drive.FuzzRestore(p, clock, d, drive.Window{Region: d.Registers(), Size: 0x200})
	})
}

func TestConcurrency(t *testing.T) {
	clock := devtest.NewClock(time.Time{})
	d := New(Config{Clock: clock, MSI: new(devtest.MSI)})
	drive.Hammer(clock, d, drive.Window{Region: d.Registers(), Size: 0x200})
}
