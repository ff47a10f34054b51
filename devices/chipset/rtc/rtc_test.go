package rtc

import (
	"testing"
	"time"

	"dfemu/devices/chipset/internal/drive"
	"dfemu/devices/devtest"
)

type rig struct {
	*Device
	clock *devtest.Clock
	irq   devtest.Line
	t     *testing.T
}

func newRig(t *testing.T, now time.Time) *rig {
	r := &rig{t: t, clock: devtest.NewClock(now)}
	r.Device = New(Config{Clock: r.clock, IRQ: &r.irq})
	return r
}

var noon = time.Date(2026, 11, 21, 12, 34, 56, 250e6, time.UTC) // a Saturday

func (r *rig) in(i uint64) uint64 {
	r.t.Helper()
	drive.Out(r.t, r.Ports(), 0, 1, i)
	return drive.In(r.t, r.Ports(), 1, 1)
}

func (r *rig) out(i, v uint64) {
	r.t.Helper()
	drive.Out(r.t, r.Ports(), 0, 1, i)
	drive.Out(r.t, r.Ports(), 1, 1, v)
}

// want compares seconds, minutes, hours, day of week, day, month, year, century.
func (r *rig) want(bytes ...uint64) {
	r.t.Helper()
	for i, reg := range []uint64{Seconds, Minutes, Hours, DayOfWeek, DayOfMonth, Month, Year, Century} {
		if got := r.in(reg); i < len(bytes) && got != bytes[i] {
			r.t.Errorf("%s = %#x, want %#x", names[uint8(reg)], got, bytes[i])
		}
	}
}

func TestBank(t *testing.T) {
	if err := bank.Check(); err != nil {
		t.Error(err)
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name  string
		b     uint64
		hour  int
		bytes []uint64
	}{
		{"BCD, 24 h", b24, 12, []uint64{0x56, 0x34, 0x12, 7, 0x21, 0x11, 0x26, 0x20}},
		{"binary, 24 h", b24 | bDM, 23, []uint64{56, 34, 23, 7, 21, 11, 26, 20}},
		{"BCD, 12 h, noon", 0, 12, []uint64{0x56, 0x34, 0x92, 7, 0x21, 0x11, 0x26, 0x20}},
		{"BCD, 12 h, midnight", 0, 0, []uint64{0x56, 0x34, 0x12}},
		{"BCD, 12 h, evening", 0, 23, []uint64{0x56, 0x34, 0x91}},
		{"binary, 12 h, evening", bDM, 22, []uint64{56, 34, 0x8a}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, time.Date(2026, 11, 21, c.hour, 34, 56, 0, time.UTC))
			r.out(RegisterB, c.b)
			r.want(c.bytes...)
		})
	}
}

func TestHours(t *testing.T) {
	for _, f := range []format{{false, false}, {false, true}, {true, false}, {true, true}} {
		seen := map[uint8]bool{}
		for h := range 24 {
			v := f.encodeHour(h)
			if f.decodeHour(v) != h || seen[v] {
				t.Errorf("%+v: hour %d is %#x, which is %d", f, h, v, f.decodeHour(v))
			}
			seen[v] = true
		}
	}
}

func TestTimeZone(t *testing.T) {
	r := newRig(t, noon.In(time.FixedZone("", 5400)))
	r.want(0x56, 0x04, 0x14)
}

func TestSetting(t *testing.T) {
	r := newRig(t, noon)
	r.out(RegisterB, bSET|b24)
	r.clock.Advance(5e9)
	r.want(0x56, 0x34, 0x12) // frozen
	for reg, v := range map[uint64]uint64{Seconds: 0x59, Minutes: 0x59, Hours: 0x23, DayOfWeek: 1, DayOfMonth: 0x31, Month: 0x12, Year: 0x99, Century: 0x19} {
		r.out(reg, v)
	}
	r.want(0x59, 0x59, 0x23, 1, 0x31, 0x12, 0x99, 0x19)
	r.out(RegisterB, b24)
	r.clock.Advance(700e6) // the fraction of the second went on
	r.want(0x59, 0x59, 0x23)
	r.clock.Advance(100e6)
	r.want(0x00, 0x00, 0x00, 2, 0x01, 0x01, 0x00, 0x20)
}

func TestDividerReset(t *testing.T) {
	r := newRig(t, noon)
	r.out(RegisterA, aDVReset|6)
	r.clock.Advance(10e9)
	r.want(0x56)
	r.out(RegisterA, aDVNormal|6)
	r.clock.Advance(499e6)
	r.want(0x56)
	r.clock.Advance(2e6)
	r.want(0x57)
}

func TestSetWhileRunning(t *testing.T) {
	r := newRig(t, noon)
	r.out(Hours, 0x08)
	r.want(0x56, 0x34, 0x08, 7, 0x21, 0x11, 0x26, 0x20)
}

func TestUpdateInProgress(t *testing.T) {
	r := newRig(t, noon)
	for _, c := range []struct {
		at  int64
		uip bool
	}{{0, false}, {747_700_000, false}, {748_000_000, true}, {749_999_999, true}, {750_000_000, false}} {
		r.clock.Advance(c.at - r.clock.Now())
		if got := r.in(RegisterA)&aUIP != 0; got != c.uip {
			t.Errorf("at %d: UIP %v", c.at, got)
		}
	}
	r.out(RegisterB, bSET|b24)
	r.clock.Advance(999e6)
	if r.in(RegisterA)&aUIP != 0 {
		t.Error("UIP while the time is frozen")
	}
}

func TestUpdateEnded(t *testing.T) {
	r := newRig(t, noon)
	r.clock.Advance(1e9)
	if c := r.in(RegisterC); c != cUF|cPF {
		t.Errorf("register C = %#x: flags are set without their enables", c)
	}
	r.out(RegisterB, bUIE|b24)
	r.clock.Advance(749e6)
	if r.irq.Level() {
		t.Error("early")
	}
	r.clock.Advance(2e9)
	if r.irq.Rises() != 1 {
		t.Errorf("%d interrupts without reading register C, want 1", r.irq.Rises())
	}
	if c := r.in(RegisterC); c != cIRQF|cUF|cPF {
		t.Errorf("register C = %#x", c)
	}
	if r.irq.Level() || r.in(RegisterC) != 0 {
		t.Error("reading register C does not clear it")
	}
	r.out(RegisterB, bSET|bUIE|b24)
	if r.in(RegisterB)&bUIE != 0 {
		t.Error("SET does not clear UIE")
	}
}

func TestPeriodic(t *testing.T) {
	for _, c := range []struct{ rate, want uint64 }{{6, 1024}, {15, 2}, {3, 8192}, {1, 256}, {2, 128}, {0, 0}} {
		r := newRig(t, noon)
		r.out(RegisterA, aDVNormal|c.rate)
		r.in(RegisterC)
		r.out(RegisterB, bPIE|b24)
		n := uint64(0)
		end := r.clock.Now() + 1e9
		for r.clock.Now() < end {
			r.clock.Advance(10_000)
			if r.irq.Level() {
				n++
				r.in(RegisterC)
			}
		}
		if n < c.want || n > c.want+1 {
			t.Errorf("rate %d: %d interrupts a second, want %d", c.rate, n, c.want)
		}
	}
}

func TestAlarm(t *testing.T) {
	for _, c := range []struct {
		name    string
		h, m, s uint64
		after   int64 // seconds from 12:34:56 to the alarm; 0: never
	}{
		{"this minute", 0x12, 0x34, 0x58, 2},
		{"tomorrow", 0x12, 0x34, 0x56, 86400},
		{"every second", 0xff, 0xff, 0xff, 1},
		{"every minute", 0xc0, 0xff, 0x10, 14},
		{"every hour", 0xff, 0x30, 0x00, 3304},
		{"never", 0x25, 0x00, 0x00, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, noon)
			r.out(HoursAlarm, c.h)
			r.out(MinutesAlarm, c.m)
			r.out(SecondsAlarm, c.s)
			r.out(RegisterB, bAIE|b24)
			if c.after == 0 {
				r.clock.Advance(3 * 86400e9)
				if r.irq.Rises() != 0 {
					t.Error("interrupt")
				}
				return
			}
			r.clock.Advance(c.after*1e9 - 250e6 - 1)
			if r.irq.Level() {
				t.Error("early")
			}
			r.clock.Advance(1)
			if !r.irq.Level() || r.in(RegisterC)&(cIRQF|cAF) != cIRQF|cAF {
				t.Error("no interrupt")
			}
		})
	}
}

func TestMemory(t *testing.T) {
	r := newRig(t, noon)
	r.SetCMOS(0x34, 0x12)
	r.SetCMOS(0x80, 0x55)
	r.SetCMOS(RegisterB, 0xff)
	r.SetCMOS(Hours, 0xff)
	if r.in(0x34) != 0x12 || r.in(RegisterB) != b24 || r.in(Hours) != 0x12 {
		t.Error("presets")
	}
	drive.Out(t, r.Ports(), 2, 1, 0)
	if v := drive.In(t, r.Ports(), 3, 1); v != 0x55 {
		t.Errorf("extended bank: %#x", v)
	}
	drive.Out(t, r.Ports(), 2, 1, 0x0c)
	drive.Out(t, r.Ports(), 3, 1, 0xaa)
	if r.CMOS(0x8c) != 0xaa {
		t.Error("extended bank is not plain memory")
	}
	r.out(0x80|0x35, 0x77)
	if !r.NMIMasked() || r.CMOS(0x35) != 0x77 {
		t.Error("bit 7 of the index")
	}
	r.out(RegisterD, 0)
	if r.in(RegisterD) != dVRT {
		t.Error("register D")
	}
	r.Reset()
	if r.in(0x35) != 0x77 || r.NMIMasked() {
		t.Error("memory after reset")
	}
}

func FuzzRTC(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0x0b, 0, 0, 0, 1, 1, 0, 0x72, 0, 0, 0, 0x0f, 255, 23, 1, 0, 0, 0x0c, 0, 0, 0, 0, 1, 0})
	f.Add([]byte{1, 0, 0, 0x0b, 0x82, 0, 0, 3, 0, 0, 0x08, 0xff, 0, 0, 3, 0, 0, 0x0b, 0x02, 0, 0, 0x0f, 255, 22, 0, 1, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		clock := devtest.NewClock(noon)
		d := New(Config{Clock: clock})
		drive.Fuzz(t, program, clock, d, nil, drive.Window{Region: d.Ports(), Size: PortSize})
	})
}

func FuzzRestore(f *testing.F) {
	p, _ := New(Config{Clock: devtest.NewClock(noon)}).SaveState()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		clock := devtest.NewClock(noon)
		d := New(Config{Clock: clock})
		drive.FuzzRestore(p, clock, d, drive.Window{Region: d.Ports(), Size: PortSize})
	})
}

func TestConcurrency(t *testing.T) {
	clock := devtest.NewClock(noon)
	d := New(Config{Clock: clock})
	drive.Hammer(clock, d, drive.Window{Region: d.Ports(), Size: PortSize})
}
