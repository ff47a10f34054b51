package dma8237

import (
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/drive"
	"dfemu/devices/devtest"
)

func TestBanks(t *testing.T) {
	for _, b := range []*devices.Bank{bank1, bank2, pageBank} {
		if err := b.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestChannels(t *testing.T) {
	for _, c := range []struct {
		name   string
		region func(d *Device) devices.Region
		stride uint64
	}{
		{"first", (*Device).First, 1},
		{"second", (*Device).Second, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := New(Config{})
			r := c.region(d)
			out := func(reg, v uint64) { drive.Out(t, r, reg*c.stride, 1, v) }
			in := func(reg uint64) uint64 { return drive.In(t, r, reg*c.stride, 1) }
			for reg := range uint64(8) {
				out(12, 0)
				out(reg, 0x30+reg)
				out(reg, 0x40+reg)
			}
			for reg := range uint64(8) {
				out(12, 0)
				if lo, hi := in(reg), in(reg); lo != 0x30+reg || hi != 0x40+reg {
					t.Errorf("register %d reads %#x %#x", reg, lo, hi)
				}
			}
			if in(15) != 0xff {
				t.Errorf("mask %#x after reset", in(15))
			}
			out(14, 0)
			out(10, 4|2)
			out(10, 4|3)
			out(10, 3)
			if in(15) != 0xf4 {
				t.Errorf("mask %#x, want 0xf4", in(15))
			}
			out(9, 4|1)
			if in(8) != 0x20 {
				t.Errorf("status %#x with a request of channel 1", in(8))
			}
			out(13, 0)
			if in(8) != 0 || in(15) != 0xff {
				t.Error("master clear")
			}
		})
	}
}

func TestPages(t *testing.T) {
	d := New(Config{})
	for i := range uint64(PageSize) {
		drive.Out(t, d.Pages(), i, 1, i+1)
	}
	for i := range uint64(PageSize) {
		if v := drive.In(t, d.Pages(), i, 1); v != i+1 {
			t.Errorf("page register %d: %#x", i, v)
		}
	}
}

func FuzzDMA(f *testing.F) {
	f.Add([]byte{1, 0, 0, 1, 0, 0, 0, 0x11, 0x1e, 0, 5, 0, 0, 0, 0x22, 3, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		d := New(Config{})
		drive.Fuzz(t, program, devtest.NewClock(time.Time{}), d, nil, drive.Window{Region: d.First(), Size: Size1},
			drive.Window{Region: d.Second(), Size: Size2}, drive.Window{Region: d.Pages(), Size: PageSize})
	})
}

func FuzzRestore(f *testing.F) {
	p, _ := New(Config{}).SaveState()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		d := New(Config{})
		drive.FuzzRestore(p, devtest.NewClock(time.Time{}), d, drive.Window{Region: d.First(), Size: Size1})
	})
}

func TestConcurrency(t *testing.T) {
	clock := devtest.NewClock(time.Time{})
	d := New(Config{})
	drive.Hammer(clock, d, drive.Window{Region: d.First(), Size: Size1}, drive.Window{Region: d.Pages(), Size: PageSize})
}
