package pit

import (
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/drive"
	"dfemu/devices/chipset/internal/ticks"
	"dfemu/devices/devtest"
)

type rig struct {
	*Device
	clock *devtest.Clock
	irq   devtest.Line
	t     *testing.T
}

func newRig(t *testing.T) *rig {
	r := &rig{clock: devtest.NewClock(time.Time{}), t: t}
	r.Device = New(Config{Clock: r.clock, IRQ: &r.irq})
	return r
}

func (r *rig) out(port, v uint64) { drive.Out(r.t, r.Ports(), port, 1, v) }
func (r *rig) in(port uint64) uint64 {
	r.t.Helper()
	return drive.In(r.t, r.Ports(), port, 1)
}

// program sets counter n to mode with a 16-bit count.
func (r *rig) program(n, mode, count uint64) {
	r.out(3, n<<6|0x30|mode<<1)
	r.out(n, count&0xff)
	r.out(n, count>>8)
}

// to moves the clock to the moment at which tick n begins.
func (r *rig) to(n int64) { r.clock.Advance(ticks.Ns(n, Hz) - r.clock.Now()) }

// status reads counter n's status byte back.
func (r *rig) status(n uint64) uint64 {
	r.out(3, 0xe0|2<<n)
	return r.in(n)
}

func (r *rig) count(n uint64) uint64 {
	r.out(3, n<<6)
	return r.in(n) | r.in(n)<<8
}

func TestBanks(t *testing.T) {
	for _, b := range []*devices.Bank{bank, portBBank} {
		if err := b.Check(); err != nil {
			t.Error(err)
		}
	}
}

// TestModes follows output and count of counter 2 tick by tick. The gate rises
// before tick 1, the count of 5 or 4 is written at tick 0, and the counting
// element has it from tick 1 on.
func TestModes(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   uint64
		n      uint64
		out    string // at ticks 0, 1, …
		counts []uint64
	}{
		{"0", 0, 4, "_____-----", []uint64{4, 4, 3, 2, 1, 0, 0xffff, 0xfffe}},
		{"2", 2, 4, "----_---_---_", []uint64{4, 4, 3, 2, 1, 4, 3}},
		{"3 even", 3, 4, "---__--__--__", []uint64{4, 4, 2, 4, 2, 4}},
		{"3 odd", 3, 5, "----__---__---", []uint64{4, 4, 2, 0, 4, 2, 4}},
		{"4", 4, 4, "-----_------", []uint64{4, 4, 3, 2, 1, 0, 0xffff}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			drive.Out(t, r.PortB(), 0, 1, portBGate2)
			r.program(2, c.mode, c.n)
			for i, want := range c.out {
				r.to(int64(i))
				if got := drive.In(t, r.PortB(), 0, 1)&portBOut2 != 0; got != (want == '-') {
					t.Errorf("tick %d: output %v, want %c", i, got, want)
				}
				if i < len(c.counts) {
					if got := r.count(2); got != c.counts[i] {
						t.Errorf("tick %d: count %d, want %d", i, got, c.counts[i])
					}
				}
			}
		})
	}
}

func TestGateTriggers(t *testing.T) {
	for _, c := range []struct {
		mode uint64
		out  string
	}{
		{1, "-----____----"}, // a low pulse of 4 from the tick after the trigger
		{5, "---------_---"},
	} {
		r := newRig(t)
		r.program(2, c.mode, 4)
		for i, want := range c.out {
			r.to(int64(i))
			if i == 4 {
				drive.Out(t, r.PortB(), 0, 1, portBGate2)
			}
			if got := drive.In(t, r.PortB(), 0, 1)&portBOut2 != 0; got != (want == '-') {
				t.Errorf("mode %d, tick %d: output %v, want %c", c.mode, i, got, want)
			}
		}
	}
}

func TestGateHoldsCount(t *testing.T) {
	r := newRig(t)
	drive.Out(t, r.PortB(), 0, 1, portBGate2)
	r.program(2, 0, 100)
	r.to(11)
	drive.Out(t, r.PortB(), 0, 1, 0)
	r.to(1000)
	if n := r.count(2); n != 90 {
		t.Errorf("count %d while held, want 90", n)
	}
	drive.Out(t, r.PortB(), 0, 1, portBGate2)
	r.to(1010)
	if n := r.count(2); n != 80 {
		t.Errorf("count %d after release, want 80", n)
	}
}

// TestNoDrift counts a minute of interrupts: every edge is there, and the last
// one falls where arithmetic says.
func TestNoDrift(t *testing.T) {
	r := newRig(t)
	r.program(0, 2, 1193)
	const seconds = 60
	r.clock.Advance(seconds * 1e9)
	// The output is high from the start; the first rise is after one period.
	if got, want := r.irq.Rises(), 1+int(int64(seconds)*Hz-1)/1193; got != want {
		t.Errorf("%d edges in %d s, want %d", got, seconds, want)
	}
}

// TestLateHost makes the host miss many periods at once.
func TestLateHost(t *testing.T) {
	clock := &lateClock{}
	var irq devtest.Line
	d := New(Config{Clock: clock, IRQ: &irq})
	drive.Out(t, d.Ports(), 3, 1, 0x34)
	drive.Out(t, d.Ports(), 0, 1, 0)
	drive.Out(t, d.Ports(), 0, 1, 0x10)
	before := irq.Rises()
	clock.now = 1e9 + 12345
	clock.f()
	if n := irq.Rises() - before; n != 1 {
		t.Errorf("%d edges after a second's pause, want 1", n)
	}
	period := int64(0x1000)
	next := (ticks.At(clock.now, Hz)-1)/period*period + period + 1
	if want := ticks.Ns(next, Hz); clock.at != want {
		t.Errorf("next edge at %d, want %d: on the old grid", clock.at, want)
	}
	clock.f() // woken early
	if n := irq.Rises() - before; n != 1 {
		t.Errorf("an early wake-up made an edge")
	}
}

// lateClock is a clock with one timer that the test fires.
type lateClock struct {
	now, at int64
	f       func()
}

func (c *lateClock) Now() int64                      { return c.now }
func (c *lateClock) Wall() time.Time                 { return time.Unix(0, c.now) }
func (c *lateClock) NewTimer(f func()) devices.Timer { c.f = f; return c }
func (c *lateClock) Set(at int64)                    { c.at = at }
func (c *lateClock) Stop()                           { c.at = -1 }

func TestOneShot(t *testing.T) {
	for _, mode := range []uint64{0, 4} {
		r := newRig(t)
		r.program(0, mode, 1000)
		before := r.irq.Rises()
		r.to(1000)
		if r.irq.Rises() != before {
			t.Errorf("mode %d: early", mode)
		}
		r.clock.Advance(1e9)
		if got := r.irq.Rises() - before; got != 1 {
			t.Errorf("mode %d: %d edges, want 1", mode, got)
		}
		r.program(0, mode, 1000)
		before = r.irq.Rises()
		r.clock.Advance(1e9)
		if got := r.irq.Rises() - before; got != 1 {
			t.Errorf("mode %d: %d edges the second time, want 1", mode, got)
		}
	}
}

func TestNewCountAtEndOfPeriod(t *testing.T) {
	r := newRig(t)
	r.program(0, 2, 5000)
	before := r.irq.Rises()
	r.to(100)
	r.out(0, 0xe8)
	r.out(0, 0x03) // 1000
	if r.status(0)&0x40 == 0 {
		t.Error("null count is not set while the new count waits")
	}
	for _, c := range []struct {
		tick  int64
		rises int
	}{{5000, 0}, {5001, 1}, {6000, 1}, {6001, 2}, {7001, 3}} {
		r.to(c.tick)
		if got := r.irq.Rises() - before; got != c.rises {
			t.Errorf("tick %d: %d rises, want %d", c.tick, got, c.rises)
		}
	}
}

func TestReadBack(t *testing.T) {
	r := newRig(t)
	r.program(0, 2, 0x1234)
	if s := r.status(0); s != 0x80|0x40|0x34 {
		t.Errorf("status %#x before the load", s)
	}
	r.to(5)
	r.out(3, 0xc2) // latch count and status of counter 0
	r.to(50)
	if s := r.in(0); s != 0x80|0x34 {
		t.Errorf("status %#x", s)
	}
	if n := r.in(0) | r.in(0)<<8; n != 0x1234-4 {
		t.Errorf("latched count %#x, want %#x", n, 0x1234-4)
	}
	if n := r.in(0) | r.in(0)<<8; n != 0x1234-49 {
		t.Errorf("live count %#x, want %#x", n, 0x1234-49)
	}
}

func TestBCDAndBytes(t *testing.T) {
	r := newRig(t)
	r.out(3, 0x35) // mode 2, BCD
	r.out(0, 0x00)
	r.out(0, 0x10) // 1000
	r.to(2)
	if n := r.count(0); n != 0x0999 {
		t.Errorf("BCD count %#x, want 0x999", n)
	}
	r.out(3, 0x24) // high byte only
	r.out(0, 0x12)
	r.to(3)
	if n := r.in(0); n != 0x12 {
		t.Errorf("high byte %#x", n)
	}
	r.out(3, 0x14) // low byte only
	r.out(0, 0x80)
	r.to(6)
	if n := r.in(0); n != 0x80-2 {
		t.Errorf("low byte %#x", n)
	}
}

func TestRefreshToggles(t *testing.T) {
	r := newRig(t)
	changes, last := 0, drive.In(t, r.PortB(), 0, 1)&portBRefresh
	for range 1000 {
		r.clock.Advance(1000)
		if v := drive.In(t, r.PortB(), 0, 1) & portBRefresh; v != last {
			changes, last = changes+1, v
		}
	}
	if changes != 66 {
		t.Errorf("refresh toggled %d times in 1 ms, want 66", changes)
	}
}

// TestTinyPeriod checks that a period of microseconds does not occupy the host.
func TestTinyPeriod(t *testing.T) {
	r := newRig(t)
	r.program(0, 2, 2)
	before := r.irq.Rises()
	r.clock.Advance(1e9)
	if n := r.irq.Rises() - before; n < 40_000 || n > 1e9/minGap {
		t.Errorf("%d edges a second", n)
	}
}

func FuzzPIT(f *testing.F) {
	f.Add([]byte{1, 3, 0, 0x34, 0, 0, 0, 1, 0, 0, 0xa9, 4, 0, 0, 0x0f, 255, 16, 0, 0, 0})
	f.Add([]byte{1, 3, 0, 0x37, 0, 0, 0, 3, 0, 0, 0x02, 0, 0, 0, 0x0f, 255, 20})
	f.Add([]byte{0x11, 0, 0, 1, 0, 0, 0, 1, 3, 0, 0xb2, 0, 0, 0, 3, 2, 0, 9, 0, 0, 0, 0x0f, 1, 13})
	f.Fuzz(func(t *testing.T, program []byte) {
		clock := devtest.NewClock(time.Time{})
		d := New(Config{Clock: clock})
		drive.Fuzz(t, program, clock, d, nil,
			drive.Window{Region: d.Ports(), Size: PortSize}, drive.Window{Region: d.PortB(), Size: PortBSize})
	})
}

func FuzzRestore(f *testing.F) {
	p, _ := New(Config{Clock: devtest.NewClock(time.Time{})}).SaveState()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		clock := devtest.NewClock(time.Time{})
		d := New(Config{Clock: clock})
		drive.FuzzRestore(p, clock, d, drive.Window{Region: d.Ports(), Size: PortSize})
	})
}

func TestConcurrency(t *testing.T) {
	clock := devtest.NewClock(time.Time{})
	d := New(Config{Clock: clock})
	drive.Hammer(clock, d, drive.Window{Region: d.Ports(), Size: PortSize}, drive.Window{Region: d.PortB(), Size: PortBSize})
}
