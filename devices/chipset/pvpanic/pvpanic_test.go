package pvpanic

import (
	"slices"
	"testing"

	"dfemu/devices/chipset/internal/drive"
)

func TestEvents(t *testing.T) {
	if err := bank.Check(); err != nil {
		t.Error(err)
	}
	var got []string
	d := New(Config{Event: func(e Event) { got = append(got, e.String()) }})
	if v := drive.In(t, d.Ports(), 0, 1); v != 3 {
		t.Errorf("supported events %#x", v)
	}
	for _, v := range []uint64{1, 2, 3, 0, 0xfc, 0xff} {
		drive.Out(t, d.Ports(), 0, 1, v)
	}
	want := []string{"panicked", "crash kernel loaded", "panicked, crash kernel loaded", "panicked, crash kernel loaded"}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func FuzzPvpanic(f *testing.F) {
	f.Add(uint8(1))
	f.Fuzz(func(t *testing.T, v uint8) {
		told := Event(0)
		d := New(Config{Event: func(e Event) { told = e }})
		drive.Out(t, d.Ports(), 0, 1, uint64(v))
		if told != Event(v)&supported {
			t.Errorf("wrote %#x, told %#x", v, told)
		}
	})
}
