package reset

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/drive"
	"dfemu/devices/devtest"
)

// events records what the device asks of the machine.
type events []string

func newDevice(e *events) *Device {
	return New(Config{
		Reset: func(k Kind) { *e = append(*e, k.String()) },
		A20:   func(open bool) { *e = append(*e, fmt.Sprint("A20 ", open)) },
	})
}

func TestBanks(t *testing.T) {
	for _, b := range []*devices.Bank{controlBank, portABank} {
		if err := b.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestWrites(t *testing.T) {
	for _, c := range []struct {
		name    string
		control []uint64
		portA   []uint64
		want    events
	}{
		{"reboot by 0xCF9", []uint64{0x02, 0x06}, nil, events{"hard reset"}},
		{"full reset", []uint64{0x0e}, nil, events{"hard reset"}},
		{"CPU reset, twice", []uint64{0x04, 0x04}, nil, events{"INIT", "INIT"}},
		{"no reset", []uint64{0x0a, 0xf1}, nil, nil},
		{"port A", nil, []uint64{0x01, 0x01, 0x00, 0x01}, events{"INIT", "INIT"}},
		{"gate stays open for the keyboard", nil, []uint64{0x02, 0x00}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got events
			d := newDevice(&got)
			for _, v := range c.control {
				drive.Out(t, d.Control(), 0, 1, v)
			}
			for _, v := range c.portA {
				drive.Out(t, d.SystemControlA(), 0, 1, v)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestGate(t *testing.T) {
	var got events
	d := newDevice(&got)
	d.KeyboardA20(false)
	drive.Out(t, d.SystemControlA(), 0, 1, 2)
	d.KeyboardA20(true)
	d.KeyboardA20(false)
	drive.Out(t, d.SystemControlA(), 0, 1, 0)
	d.Reset()
	want := events{"A20 false", "A20 true", "A20 false", "A20 true"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadBack(t *testing.T) {
	d := newDevice(new(events))
	drive.Out(t, d.Control(), 0, 1, 0x0a)
	drive.Out(t, d.SystemControlA(), 0, 1, 0xfe)
	if a, b := drive.In(t, d.Control(), 0, 1), drive.In(t, d.SystemControlA(), 0, 1); a != 0x0a || b != 0x02 {
		t.Errorf("RST_CNT %#x, PORT92 %#x", a, b)
	}
}

func FuzzReset(f *testing.F) {
	f.Add([]byte{1, 0, 0, 6, 0, 0, 0, 0x11, 0, 0, 1, 0, 0, 0, 0x0c, 1})
	f.Fuzz(func(t *testing.T, program []byte) {
		d := newDevice(new(events))
		drive.Fuzz(t, program, devtest.NewClock(time.Time{}), d, func(op byte) { d.KeyboardA20(op&1 != 0) },
			drive.Window{Region: d.Control(), Size: 1}, drive.Window{Region: d.SystemControlA(), Size: 1})
	})
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"version":1,"state":{"Control":2,"PortA":1,"Keyboard":true}}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		drive.FuzzRestore(p, devtest.NewClock(time.Time{}), newDevice(new(events)))
	})
}
