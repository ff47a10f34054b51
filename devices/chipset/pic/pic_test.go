package pic

import (
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/drive"
	"dfemu/devices/devtest"
)

// rig is a pair of controllers with a CPU that looks at INTR.
type rig struct {
	*Device
	intr devtest.Line
	t    *testing.T
}

// newRig returns controllers initialized as a PC does: vectors 0x20 and 0x28,
// nothing masked.
func newRig(t *testing.T, icw4 uint64) *rig {
	r := &rig{t: t}
	r.Device = New(Config{INTR: &r.intr})
	for i, chip := range []devices.Region{r.Master(), r.Slave()} {
		drive.Out(t, chip, 0, 1, 0x11)
		drive.Out(t, chip, 1, 1, uint64(0x20+8*i))
		drive.Out(t, chip, 1, 1, uint64(4>>i))
		drive.Out(t, chip, 1, 1, icw4)
		drive.Out(t, chip, 1, 1, 0)
	}
	return r
}

func (r *rig) pulse(irqs ...int) {
	for _, n := range irqs {
		r.Line(n).Set(true)
		r.Line(n).Set(false)
	}
}

// acks runs INTA cycles for as long as INTR asks for them and compares.
func (r *rig) acks(want ...uint8) {
	r.t.Helper()
	for _, w := range want {
		if !r.intr.Level() {
			r.t.Fatalf("INTR is low, want vector %#x", w)
		}
		if got := r.Ack(); got != w {
			r.t.Fatalf("vector %#x, want %#x", got, w)
		}
	}
	if r.intr.Level() {
		r.t.Fatalf("INTR is still high after %#x", want)
	}
}

func (r *rig) ocw2(chip devices.Region, v uint64) { drive.Out(r.t, chip, 0, 1, v) }

func TestBanks(t *testing.T) {
	for _, b := range []*devices.Bank{commandBank, elcrBank} {
		if err := b.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestPriorityAndNesting(t *testing.T) {
	r := newRig(t, 1)
	r.pulse(4, 1)
	r.acks(0x21) // 4 waits for 1's EOI
	r.pulse(0)
	r.acks(0x20) // 0 interrupts 1
	r.ocw2(r.Master(), 0x20)
	r.acks() // ended 0; 1 is still in service
	r.ocw2(r.Master(), 0x20)
	r.acks(0x24)
	drive.Out(t, r.Master(), 0, 1, 0x0b)
	if isr := drive.In(t, r.Master(), 0, 1); isr != 1<<4 {
		t.Errorf("ISR = %#x, want %#x", isr, 1<<4)
	}
	r.ocw2(r.Master(), 0x64) // specific EOI
	if isr := drive.In(t, r.Master(), 0, 1); isr != 0 {
		t.Errorf("ISR = %#x after specific EOI", isr)
	}
}

func TestCascade(t *testing.T) {
	r := newRig(t, 1)
	r.pulse(14, 8, 3)
	r.acks(0x28)
	r.ocw2(r.Slave(), 0x20)
	r.acks() // the master still serves the cascade
	r.ocw2(r.Master(), 0x20)
	r.acks(0x2e)
	r.ocw2(r.Slave(), 0x20)
	r.ocw2(r.Master(), 0x20)
	r.acks(0x23)
	r.ocw2(r.Master(), 0x20)
	r.pulse(2, -1, 16) // not connected
	r.acks()
}

func TestSpurious(t *testing.T) {
	r := newRig(t, 1)
	r.pulse(4)
	drive.Out(t, r.Master(), 1, 1, 0xff)
	if v := r.Ack(); v != 0x27 {
		t.Errorf("masked before INTA: vector %#x, want 0x27", v)
	}
	drive.Out(t, r.Master(), 0, 1, 0x0b)
	if isr := drive.In(t, r.Master(), 0, 1); isr != 0 {
		t.Errorf("spurious interrupt is in service: ISR %#x", isr)
	}

	// A level-triggered slave input that falls before INTA.
	r = newRig(t, 1)
	drive.Out(t, r.ELCR(), 1, 1, 1<<3)
	r.Line(11).Set(true)
	r.Line(11).Set(false)
	r.acks()
}

func TestLevel(t *testing.T) {
	r := newRig(t, 1)
	drive.Out(t, r.ELCR(), 0, 2, 0xffff)
	if v := drive.In(t, r.ELCR(), 0, 2); v != 0xdef8 {
		t.Errorf("ELCR = %#x, want 0xdef8", v)
	}
	r.Line(5).Set(true)
	r.acks(0x25)
	r.ocw2(r.Master(), 0x20)
	r.acks(0x25) // still high
	r.Line(5).Set(false)
	r.ocw2(r.Master(), 0x20)
	r.acks()
}

func TestEdgeNeedsToRiseAgain(t *testing.T) {
	r := newRig(t, 1)
	r.Line(5).Set(true)
	r.acks(0x25)
	r.ocw2(r.Master(), 0x20)
	r.Line(5).Set(true)
	r.acks()
	// ICW1 forgets latched edges.
	r.pulse(6)
	drive.Out(t, r.Master(), 0, 1, 0x13)
	drive.Out(t, r.Master(), 1, 1, 0x40)
	drive.Out(t, r.Master(), 1, 1, 0x01)
	r.acks()
	r.pulse(6)
	r.acks(0x46)
}

func TestRotation(t *testing.T) {
	r := newRig(t, 1)
	r.ocw2(r.Master(), 0xc3) // IR3 lowest: IR4 has the highest priority
	r.pulse(0, 3, 4, 5)
	r.acks(0x24)
	r.ocw2(r.Master(), 0xa0) // rotate on EOI: IR4 is lowest now
	r.acks(0x25)
	r.ocw2(r.Master(), 0xe5) // rotate on specific EOI
	r.acks(0x20)
	r.ocw2(r.Master(), 0x20)
	r.acks(0x23)

	r = newRig(t, 3) // AEOI
	r.ocw2(r.Master(), 0x80)
	r.pulse(0, 1)
	r.acks(0x20, 0x21)
	r.pulse(0, 1, 2+1)
	r.acks(0x23, 0x20, 0x21)
}

func TestSpecialMask(t *testing.T) {
	r := newRig(t, 1)
	r.pulse(3)
	r.acks(0x23)
	r.pulse(5)
	r.acks()
	drive.Out(t, r.Master(), 1, 1, 1<<3)
	drive.Out(t, r.Master(), 0, 1, 0x68) // set special mask mode
	r.acks(0x25)
	r.ocw2(r.Master(), 0x20) // ends 5, not the masked 3
	drive.Out(t, r.Master(), 0, 1, 0x0b)
	if isr := drive.In(t, r.Master(), 0, 1); isr != 1<<3 {
		t.Errorf("ISR = %#x, want %#x", isr, 1<<3)
	}
}

func TestSpecialFullyNested(t *testing.T) {
	r := newRig(t, 0x11)
	r.pulse(12)
	r.acks(0x2c)
	r.pulse(3)
	r.acks() // lower than the cascade
	r.pulse(9)
	r.acks(0x29) // the slave knows that 9 beats 12
}

func TestPoll(t *testing.T) {
	r := newRig(t, 1)
	r.pulse(6)
	drive.Out(t, r.Master(), 0, 1, 0x0c)
	if v := drive.In(t, r.Master(), 0, 1); v != 0x86 {
		t.Errorf("poll = %#x, want 0x86", v)
	}
	r.acks()
	drive.Out(t, r.Master(), 0, 1, 0x0c)
	if v := drive.In(t, r.Master(), 0, 1); v != 0 {
		t.Errorf("poll with nothing pending = %#x", v)
	}
	if v := drive.In(t, r.Master(), 0, 1); v != 0 {
		t.Errorf("IRR = %#x", v)
	}
}

func TestMaskProbe(t *testing.T) {
	// Software probes for the controllers through the mask before it
	// initializes them.
	d := New(Config{})
	drive.Out(t, d.Master(), 1, 1, 0xfb)
	if v := drive.In(t, d.Master(), 1, 1); v != 0xfb {
		t.Errorf("IMR = %#x", v)
	}
	d.Line(1).Set(true)
	if d.Pending() {
		t.Error("a masked input reached INTR")
	}
}

func TestRegisterNames(t *testing.T) {
	d := New(Config{})
	n := d.Master().(interface {
		RegisterName(off uint64, write bool) string
	})
	drive.Out(t, d.Master(), 0, 1, 0x11)
	for _, c := range []struct {
		off   uint64
		write bool
		want  string
	}{{0, true, "ICW1/OCW2/OCW3"}, {1, true, "ICW2"}, {1, false, "IMR"}, {0, false, "IRR"}} {
		if got := n.RegisterName(c.off, c.write); got != c.want {
			t.Errorf("RegisterName(%d, %v) = %q, want %q", c.off, c.write, got, c.want)
		}
	}
}

func FuzzPIC(f *testing.F) {
	f.Add([]byte{0x01, 0, 0, 0x11, 0, 0, 0, 0x01, 1, 0, 0x20, 0, 0, 0, 0x0c, 0x15, 0x0c, 0xff})
	f.Add([]byte{0x23, 0, 0, 0xff, 0xff, 0, 0, 0x0c, 0x05, 0x0c, 0x80})
	f.Fuzz(func(t *testing.T, program []byte) {
		d := New(Config{})
		drive.Fuzz(t, program, devtest.NewClock(time.Time{}), d, func(op byte) {
			if op&0x80 != 0 {
				if v := d.Ack() &^ 7; v != d.chips[0].Base && v != d.chips[1].Base {
					t.Errorf("acknowledge with a vector of neither controller: %#x", v)
				}
				return
			}
			d.Line(int(op & 15)).Set(op&0x10 != 0)
		}, drive.Window{Region: d.Master(), Size: MasterSize}, drive.Window{Region: d.Slave(), Size: SlaveSize},
			drive.Window{Region: d.ELCR(), Size: ELCRSize})
	})
}

func FuzzRestore(f *testing.F) {
	p, _ := New(Config{}).SaveState()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		d := New(Config{})
		drive.FuzzRestore(p, devtest.NewClock(time.Time{}), d, drive.Window{Region: d.Master(), Size: MasterSize})
	})
}

func TestConcurrency(t *testing.T) {
	clock := devtest.NewClock(time.Time{})
	d := New(Config{})
	drive.Hammer(clock, d, drive.Window{Region: d.Master(), Size: MasterSize}, drive.Window{Region: d.Slave(), Size: SlaveSize}, drive.Window{Region: d.ELCR(), Size: ELCRSize})
}
