package pm

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
	clock *devtest.Clock
	sci   devtest.Line
	slept []uint8
	t     *testing.T
}

func newRig(t *testing.T, c Config) *rig {
	r := &rig{t: t, clock: devtest.NewClock(time.Time{})}
	c.Clock, c.SCI = r.clock, &r.sci
	c.Sleep = func(typ uint8) bool {
		r.slept = append(r.slept, typ)
		return typ == SleepS5
	}
	r.Device = New(c)
	return r
}

func (r *rig) out(off uint64, size int, v uint64) {
	r.t.Helper()
	drive.Out(r.t, r.Ports(), off, size, v)
}
func (r *rig) in(off uint64, size int) uint64 {
	r.t.Helper()
	return drive.In(r.t, r.Ports(), off, size)
}

func TestBanks(t *testing.T) {
	for _, b := range []*devices.Bank{bank, apmBank} {
		if err := b.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestTimer(t *testing.T) {
	for _, c := range []struct {
		wide   bool
		second uint64 // the counter after 10 s
	}{{false, 35795450 & 0xff_ffff}, {true, 35795450}} {
		r := newRig(t, Config{Timer32: c.wide})
		r.clock.Advance(10e9)
		if v := r.in(PMTimer, 4); v != c.second {
			t.Errorf("32 bits %v: timer %d, want %d", c.wide, v, c.second)
		}
		if err := r.Ports().Write(PMTimer, 4, 0); err != devices.ErrReadOnly {
			t.Errorf("write: %v", err)
		}
	}
}

func TestTimerOverflow(t *testing.T) {
	r := newRig(t, Config{ACPI: true})
	r.out(2, 2, pm1TMROF)
	const half = 2343484438 // 2^23 ticks, in nanoseconds, rounded up
	for i := range 3 {
		r.clock.Advance(half*int64(i+1) - 1000 - r.clock.Now())
		if r.sci.Level() {
			t.Errorf("overflow %d is early", i)
		}
		r.clock.Advance(1000)
		if !r.sci.Level() || r.in(0, 2) != pm1TMROF {
			t.Errorf("overflow %d is late", i)
		}
		r.out(0, 2, pm1TMROF)
		if r.sci.Level() {
			t.Error("the SCI stays")
		}
	}
}

func TestEnableACPI(t *testing.T) {
	r := newRig(t, Config{})
	if r.in(PM1Control, 2) != 0 {
		t.Error("ACPI is on at power-on")
	}
	drive.Out(t, r.APM(), 0, 1, CmdACPIEnable)
	if r.in(PM1Control, 2) != cntSCI {
		t.Error("ACPI_ENABLE")
	}
	drive.Out(t, r.APM(), 1, 1, CmdACPIDisable) // the status port is no command
	if v := drive.In(t, r.APM(), 0, 2); v != CmdACPIEnable|CmdACPIDisable<<8 || r.in(PM1Control, 2) != cntSCI {
		t.Errorf("APM ports %#x", v)
	}
	drive.Out(t, r.APM(), 0, 1, CmdACPIDisable)
	if r.in(PM1Control, 2) != 0 {
		t.Error("ACPI_DISABLE")
	}
}

func TestButtons(t *testing.T) {
	for _, c := range []struct {
		name  string
		bit   uint64
		press func(r *rig) bool
	}{
		{"power", 1 << 8, func(r *rig) bool { return r.PowerButton() }},
		{"sleep", 1 << 9, func(r *rig) bool { return r.SleepButton() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{ACPI: true})
			if c.press(r) || r.sci.Level() {
				t.Error("heard without being enabled")
			}
			if r.in(0, 2) != c.bit {
				t.Errorf("PM1_STS %#x", r.in(0, 2))
			}
			r.out(2, 2, c.bit)
			if !r.sci.Level() {
				t.Error("enabling a set status raises the SCI")
			}
			r.out(0, 2, c.bit)
			if r.sci.Level() {
				t.Error("the SCI stays")
			}
			if !c.press(r) || !r.sci.Level() {
				t.Error("not heard")
			}
			r.out(PM1Control, 2, 0)
			if r.sci.Level() {
				t.Error("SCI without SCI_EN")
			}
		})
	}
}

func TestGPE(t *testing.T) {
	r := newRig(t, Config{ACPI: true})
	r.out(GPE0+8, 1, 1<<2)
	r.out(GPE0+8+5, 1, 1<<1)
	if r.RaiseGPE(3) || r.RaiseGPE(64) || r.RaiseGPE(-1) || r.sci.Level() {
		t.Error("a disabled event raised the SCI")
	}
	if !r.RaiseGPE(2) || !r.RaiseGPE(41) || !r.sci.Level() {
		t.Error("events are not heard")
	}
	if v := r.in(GPE0, 8); v != 1<<2|1<<3|1<<41 {
		t.Errorf("GPE0_STS %#x", v)
	}
	r.out(GPE0, 1, 1<<2)
	if !r.sci.Level() {
		t.Error("clearing one event lowered the SCI")
	}
	r.out(GPE0+5, 1, 0xff)
	if r.sci.Level() || r.in(GPE0, 8) != 1<<3 {
		t.Error("events are not cleared")
	}
}

func TestSleep(t *testing.T) {
	r := newRig(t, Config{ACPI: true})
	r.out(PM1Control, 2, SleepS3<<10|cntSCI)
	if len(r.slept) != 0 {
		t.Error("slept without SLP_EN")
	}
	r.out(PM1Control, 2, SleepS3<<10|cntSLPEN|cntSCI)
	if r.in(0, 2) != pm1WAK {
		t.Error("no wake-up from a state that the machine does not have")
	}
	if v := r.in(PM1Control, 2); v != SleepS3<<10|cntSCI {
		t.Errorf("PM1_CNT %#x: SLP_EN reads as 0", v)
	}
	r.out(0, 2, pm1WAK)
	r.out(PM1Control+1, 1, (SleepS5<<10|cntSLPEN)>>8)
	if r.in(0, 2) != 0 || !slices.Equal(r.slept, []uint8{SleepS3, SleepS5}) {
		t.Errorf("slept %v", r.slept)
	}
}

func TestSMILocked(t *testing.T) {
	r := newRig(t, Config{})
	for _, v := range []uint64{0, 0xffff_ffff} {
		r.out(0x30, 4, v)
		if got := r.in(0x30, 4); got&(smiAPMC|smiGlobal) != smiAPMC {
			t.Errorf("SMI_EN %#x", got)
		}
	}
	if r.in(0x34, 4) != 0 {
		t.Error("SMI_STS")
	}
}

func FuzzPM(f *testing.F) {
	f.Add([]byte{3, 2, 0, 0x01, 0x03, 0, 0, 0x11, 0, 0, 2, 0, 0, 0, 0x0f, 255, 23, 0x0c, 0x42, 2, 0, 0, 3, 4, 0, 1, 0x3c, 0, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		clock := devtest.NewClock(time.Time{})
		d := New(Config{Clock: clock})
		drive.Fuzz(t, program, clock, d, func(op byte) {
			switch op >> 6 {
			case 0:
				d.PowerButton()
			case 1:
				d.RaiseGPE(int(op) - 32)
			default:
				d.SleepButton()
			}
		}, drive.Window{Region: d.Ports(), Size: Size}, drive.Window{Region: d.APM(), Size: APMSize})
	})
}

func FuzzRestore(f *testing.F) {
	p, _ := New(Config{Clock: devtest.NewClock(time.Time{})}).SaveState()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		clock := devtest.NewClock(time.Time{})
		d := New(Config{Clock: clock})
		drive.FuzzRestore(p, clock, d, drive.Window{Region: d.Ports(), Size: Size})
	})
}

func TestConcurrency(t *testing.T) {
	clock := devtest.NewClock(time.Time{})
	d := New(Config{Clock: clock})
	drive.Hammer(clock, d, drive.Window{Region: d.Ports(), Size: Size}, drive.Window{Region: d.APM(), Size: APMSize})
}
