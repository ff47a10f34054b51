package i8042

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
	irq1, irq12 devtest.Line
	resets      int
	gates       []bool
	t           *testing.T
}

func newRig(t *testing.T, mouse bool) *rig {
	r := &rig{t: t}
	r.Device = New(Config{IRQ1: &r.irq1, IRQ12: &r.irq12, Mouse: mouse,
		Reset: func() { r.resets++ }, A20: func(open bool) { r.gates = append(r.gates, open) }})
	return r
}

func (r *rig) cmd(v uint64)   { drive.Out(r.t, r.Command(), 0, 1, v) }
func (r *rig) data(v uint64)  { drive.Out(r.t, r.Data(), 0, 1, v) }
func (r *rig) status() uint64 { return drive.In(r.t, r.Command(), 0, 1) }

// aux sends the mouse a byte.
func (r *rig) aux(v uint64) { r.cmd(ctlWriteAux); r.data(v) }

// want reads bytes for as long as the status offers them. Bytes of the mouse
// are wanted with bit 8 set.
func (r *rig) want(bytes ...int) {
	r.t.Helper()
	var got []int
	for len(got) < 100 {
		s := r.status()
		if s&statOBF == 0 {
			break
		}
		v := int(drive.In(r.t, r.Data(), 0, 1))
		if s&statAux != 0 {
			v |= 0x100
		}
		got = append(got, v)
	}
	if !slices.Equal(got, bytes) {
		r.t.Errorf("read %#x, want %#x", got, bytes)
	}
}

func TestBanks(t *testing.T) {
	for _, b := range []*devices.Bank{dataBank, commandBank} {
		if err := b.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestController(t *testing.T) {
	for _, c := range []struct {
		name  string
		mouse bool
		cmd   uint64
		param []uint64
		want  []int
	}{
		{"self-test", false, 0xaa, nil, []int{0x55}},
		{"keyboard test", false, 0xab, nil, []int{0}},
		{"mouse test", true, 0xa9, nil, []int{0}},
		{"mouse test without mouse", false, 0xa9, nil, []int{1}},
		{"command byte", false, 0x20, nil, []int{ccbReset}},
		{"output port", false, 0xd0, nil, []int{0xc3}},
		{"echo to keyboard", false, 0xd2, []uint64{0x42}, []int{0x42}},
		{"echo to mouse", true, 0xd3, []uint64{0x5a}, []int{0x15a}},
		{"echo without mouse", false, 0xd3, []uint64{0x5a}, []int{0x5a}},
		{"write to no mouse", false, 0xd4, []uint64{0xff}, []int{0x1fe}},
		{"unknown", false, 0xb8, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.mouse)
			r.cmd(c.cmd)
			if r.status()&statCommand == 0 {
				t.Error("status does not tell a command")
			}
			for _, p := range c.param {
				r.data(p)
			}
			r.want(c.want...)
		})
	}
}

func TestRAM(t *testing.T) {
	r := newRig(t, false)
	r.cmd(0x60 + 5)
	r.data(0xa5)
	r.cmd(0x20 + 5)
	r.want(0xa5)
	r.cmd(0x60)
	r.data(0x47)
	r.cmd(0x20)
	r.want(0x67) // the port without a mouse stays off
	r.cmd(0xa8)
	r.cmd(0x20)
	r.want(0x67)
	r.cmd(0xad)
	r.cmd(0x20)
	r.want(0x77)
}

func TestGateAndReset(t *testing.T) {
	r := newRig(t, false)
	r.cmd(0xdd)
	r.cmd(0xdf)
	r.cmd(0xd1)
	r.data(0xc1)
	r.cmd(0xd1)
	r.data(0xc3)
	if !slices.Equal(r.gates, []bool{false, true, false, true}) {
		t.Errorf("gates %v", r.gates)
	}
	if r.resets != 0 {
		t.Error("reset")
	}
	r.cmd(0xfe)
	r.cmd(0xff)
	r.cmd(0xd1)
	r.data(0x02)
	if r.resets != 2 {
		t.Errorf("%d resets, want 2", r.resets)
	}
}

func TestKeyboardCommands(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []uint64
		want []int
	}{
		{"reset", []uint64{0xff}, []int{0xfa, 0xaa}},
		{"identify", []uint64{0xf2}, []int{0xfa, 0xab, 0x83}},
		{"lights", []uint64{0xed, 0x07}, []int{0xfa, 0xfa}},
		{"lights, interrupted by a command", []uint64{0xed, 0xee}, []int{0xfa, 0xee}},
		{"typematic", []uint64{0xf3, 0x20}, []int{0xfa, 0xfa}},
		{"which set", []uint64{0xf0, 0x00}, []int{0xfa, 0xfa, 0x02}},
		{"set 1", []uint64{0xf0, 0x01, 0xf0, 0x00}, []int{0xfa, 0xfa, 0xfa, 0xfa, 0x01}},
		{"set 3 is not there", []uint64{0xf0, 0x03}, []int{0xfa, 0xfe}},
		{"resend", []uint64{0xee, 0xfe}, []int{0xee, 0xee}},
		{"unknown", []uint64{0xf1}, []int{0xfe}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, false)
			r.cmd(0x60)
			r.data(ccbKeyIRQ) // no translation
			for _, v := range c.in {
				r.data(v)
			}
			r.want(c.want...)
		})
	}
}

func TestKeys(t *testing.T) {
	press := []uint8{0x1c, 0xf0, 0x1c, 0xe0, 0x75, 0xe0, 0xf0, 0x75, 0x83} // A, up, F7
	for _, c := range []struct {
		name string
		ccb  uint64
		set  uint64
		want []int
	}{
		{"translated", ccbTranslate, 2, []int{0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8, 0x41}},
		{"raw set 2", 0, 2, []int{0x1c, 0xf0, 0x1c, 0xe0, 0x75, 0xe0, 0xf0, 0x75, 0x83}},
		{"raw set 1", 0, 1, []int{0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8, 0x41}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, false)
			r.cmd(0x60)
			r.data(c.ccb)
			r.data(0xf0)
			r.data(c.set)
			r.want(0xfa, 0xfa)
			if !r.Press(press...) {
				t.Fatal("the buffer is full")
			}
			r.want(c.want...)
		})
	}
}

func TestInterrupts(t *testing.T) {
	r := newRig(t, true)
	r.Press(0x1c, 0x32)
	if r.irq1.Rises() != 1 || r.status()&statOBF == 0 {
		t.Errorf("%d interrupts for a key", r.irq1.Rises())
	}
	drive.In(t, r.Data(), 0, 1)
	if r.irq1.Rises() != 2 || !r.irq1.Level() {
		t.Error("the second byte is an edge of its own")
	}
	drive.In(t, r.Data(), 0, 1)
	if r.irq1.Level() {
		t.Error("the line stays high")
	}
	r.cmd(0x60)
	r.data(ccbAuxIRQ)
	r.aux(0xf4)
	if !r.irq12.Level() || r.irq1.Level() {
		t.Error("the mouse's answer interrupts elsewhere")
	}
	r.want(0x1fa)
	r.Press(0x1c)
	if r.irq1.Level() {
		t.Error("interrupt while disabled")
	}
	r.want(0x1c)
}

func TestKeyboardOff(t *testing.T) {
	r := newRig(t, false)
	r.cmd(0xad)
	r.Press(0x1c)
	r.want()
	r.cmd(0xae)
	r.want(0x1e)
	r.data(0xf5)
	r.want(0xfa)
	r.Press(0x1c)
	r.want()
	r.data(0xf4)
	r.want(0xfa)
}

func TestFullBuffer(t *testing.T) {
	r := newRig(t, false)
	n := 0
	for r.Press(0xe0, 0xf0, 0x75) {
		n++
		if n > 1000 {
			t.Fatal("the buffer has no end")
		}
	}
	if n < 5 {
		t.Errorf("only %d keys fit", n)
	}
	for range n {
		if a, b := drive.In(t, r.Data(), 0, 1), drive.In(t, r.Data(), 0, 1); a != 0xe0 || b != 0xc8 {
			t.Fatalf("a key was split: %#x %#x", a, b)
		}
	}
	r.want()
}

func TestLEDs(t *testing.T) {
	r := newRig(t, false)
	r.data(0xed)
	r.data(0x02)
	if r.LEDs() != 2 {
		t.Errorf("lights %#x", r.LEDs())
	}
}

func TestMouse(t *testing.T) {
	r := newRig(t, true)
	r.cmd(0xa8)
	for _, c := range []struct {
		in   []uint64
		want []int
	}{
		{[]uint64{0xff}, []int{0x1fa, 0x1aa, 0x100}},
		{[]uint64{0xf2}, []int{0x1fa, 0x100}},
		{[]uint64{0xe8, 3}, []int{0x1fa}},
		{[]uint64{0xf3, 60}, []int{0x1fa}},
		{[]uint64{0xe9}, []int{0x1fa, 0x100, 0x103, 0x13c}},
		{[]uint64{0xee, 0x55}, []int{0x155}},
		{[]uint64{0xec}, []int{0x1fa}},
		{[]uint64{0xe2}, []int{0x1fe}},
		{[]uint64{0xf4}, []int{0x1fa}},
	} {
		for _, v := range c.in {
			r.aux(v)
			if v != c.in[len(c.in)-1] {
				r.want(0x1fa)
			}
		}
		r.want(c.want...)
	}
	r.MoveMouse(3, -2, 1)
	r.want(0x129, 0x103, 0x1fe)
	r.MoveMouse(300, 0, 0)
	r.want(0x108, 0x1ff, 0x100, 0x108, 0x12d, 0x100)
	r.aux(0xf0) // remote
	r.want(0x1fa)
	r.MoveMouse(1, 1, 4)
	r.want()
	r.aux(0xeb)
	r.want(0x1fa, 0x10c, 0x101, 0x101)
}

func TestTranslationTable(t *testing.T) {
	seen := map[uint8]int{}
	for i, v := range toSet1 {
		if p, dup := seen[v]; dup {
			t.Errorf("%#x and %#x both become %#x", p, i, v)
		}
		seen[v] = i
	}
}

func Fuzz8042(f *testing.F) {
	f.Add([]byte{0x11, 0, 0, 0xd4, 0, 0, 0, 1, 0, 0, 0xf4, 0, 0, 0, 0x0c, 0x85, 0, 0, 0})
	f.Add([]byte{1, 0, 0, 0xf0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0x0c, 0x1c, 0, 0, 0, 0x10, 0, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		d := New(Config{Mouse: len(program)&1 == 0})
		drive.Fuzz(t, program, devtest.NewClock(time.Time{}), d, func(op byte) {
			if op&0x80 != 0 {
				d.MoveMouse(int(op)<<4, -int(op), op)
				return
			}
			d.Press(op, 0xf0, op)
		}, drive.Window{Region: d.Data(), Size: 1}, drive.Window{Region: d.Command(), Size: 1})
	})
}

func FuzzRestore(f *testing.F) {
	p, _ := New(Config{}).SaveState()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		d := New(Config{})
		drive.FuzzRestore(p, devtest.NewClock(time.Time{}), d,
			drive.Window{Region: d.Data(), Size: 1}, drive.Window{Region: d.Command(), Size: 1})
	})
}

func TestConcurrency(t *testing.T) {
	clock := devtest.NewClock(time.Time{})
	d := New(Config{Mouse: true})
	drive.Hammer(clock, d, drive.Window{Region: d.Data(), Size: PortSize}, drive.Window{Region: d.Command(), Size: PortSize})
}
