package watch

import (
	"fmt"
	"strings"
	"testing"

	"dfemu/devices"
)

// TestRules breaks the rules of a table: widths, reserved bits in any register that an access covers, write-only registers.
func TestRules(t *testing.T) {
	plain := devices.NewBank("table", []devices.Register{
		{Offset: 0, Size: 4, Name: "A", Reserved: 0xf0, Clause: "SPEC, 1"},
		{Offset: 4, Size: 2, Name: "B", Reserved: 1 << 15},
		{Offset: 6, Size: 1, Name: "C", Rights: devices.WO},
		{Offset: 8, Size: 8, Name: "D", Reserved: 1 << 63},
	})
	for _, c := range []struct {
		b     *devices.Bank
		off   uint64
		size  int
		write bool
		value uint64
		want  string
	}{
		{plain, 0, 4, true, 0xff, "SPEC, 1: the reserved bits 0xf0 of A are written as 1"},
		{plain, 0, 4, true, 0xf, ""},
		{plain, 0, 4, false, 0xff, ""},
		{plain, 0, 8, true, 0x8000_0000_0000, "table: register table: the reserved bits 0x8000 of B are written as 1"},
		{plain, 5, 1, true, 0x80, "table: register table: the reserved bits 0x8000 of B are written as 1"},
		{plain, 12, 4, true, 1 << 31, "table: register table: the reserved bits 0x8000000000000000 of D are written as 1"},
		{plain, 12, 4, true, 1 << 32, ""},
		{plain, 6, 1, false, 0, "table: register table: read of the write-only register C"},
		{plain, 6, 1, true, 1, ""},
		{plain.With(devices.Rules{Clause: "SPEC, 2"}), 6, 1, false, 0, "SPEC, 2: read of the write-only register C"},
		{plain.With(devices.Rules{Clause: "SPEC, 2"}), 0, 1, true, 0xf0, "SPEC, 1: the reserved bits 0xf0 of A are written as 1"},
		{plain.With(devices.Rules{Natural: "SPEC, 3"}), 0, 2, false, 0, "SPEC, 3: access of 2 bytes at byte 0 of A, which has 4"},
		{plain.With(devices.Rules{Natural: "SPEC, 3"}), 0, 8, true, 0, "SPEC, 3: access of 8 bytes at byte 0 of A, which has 4"},
		{plain.With(devices.Rules{Natural: "SPEC, 3"}), 5, 2, true, 0, "SPEC, 3: access of 2 bytes at byte 1 of B, which has 2"},
		{plain.With(devices.Rules{Natural: "SPEC, 3"}), 8, 8, true, 0, "SPEC, 3: access of 8 bytes at byte 0 of D, which has 8"},
		{plain.With(devices.Rules{Natural: "SPEC, 3"}), 10, 4, true, 0, "SPEC, 3: access of 4 bytes at byte 2 of D, which has 8"},
		{plain.With(devices.Rules{Natural: "SPEC, 3"}), 8, 4, true, 0, ""},
		{plain.With(devices.Rules{Natural: "SPEC, 3"}), 12, 4, true, 0, ""},
		{plain.With(devices.Rules{Natural: "SPEC, 3"}), 4, 2, false, 0, ""},
		{plain.With(devices.Rules{Natural: "SPEC, 3"}), 6, 1, true, 0, ""},
	} {
		l := checkAccess(&devices.RegisterAccess{Bank: c.b, Off: c.off, Size: c.size, Write: c.write, Value: c.value})
		if c.want == "" && len(l) != 0 || c.want != "" && (len(l) != 1 || l[0].Clause+": "+l[0].Text != c.want) {
			t.Errorf("%d bytes at %d, write %v of %#x: %v, want %q", c.size, c.off, c.write, c.value, l, c.want)
		}
	}
}

// TestPlaces reports breaches while one or another processor is at a device.
func TestPlaces(t *testing.T) {
	var got Event
	at := Place{CPU: -1}
	w := New(Options{Strict: &Strict{Report: func(e *Event) { got = *e }}, Place: func() Place { return at }})
	g := &gadget{}
	w.Attach("gadget0", &g.probe)
	none, cpu0, cpu1 := Place{CPU: -1}, Place{CPU: 0, RIP: 0x100}, Place{CPU: 1, RIP: 0x200}
	for i, x := range []struct {
		before func() // with at as the place
		at     Place
		queue  int
		by     devices.Origin
		// then another processor, or none, is at a device
		now  Place
		want Place
		late bool
	}{
		{nil, none, 0, devices.ByQueue, cpu1, none, false}, // no doorbell has been written
		{nil, none, -1, devices.ByQueue, cpu1, none, false},
		{nil, none, -1, devices.ByAccess, cpu1, cpu1, false},
		{nil, none, 1, devices.ByDevice, cpu1, none, false},
		{func() { _ = g.region().Write(12, 4, 5) }, cpu0, 1, devices.ByQueue, cpu0, cpu0, false}, // within that access
		{nil, none, 1, devices.ByQueue, cpu1, cpu0, true},
		{nil, none, 1, devices.ByQueue, none, cpu0, true},
		{nil, none, 0, devices.ByQueue, cpu1, none, false}, // another queue
		{nil, none, 1, devices.ByAccess, cpu1, cpu1, false},
		{nil, none, 1, devices.ByDevice, cpu1, none, false},
		{func() { _ = g.region().Write(0, 4, 5) }, cpu1, 0, devices.ByQueue, cpu1, none, false}, // no doorbell
		{func() { g.probe.Rang(0) }, cpu1, 0, devices.ByQueue, none, cpu1, true},
		{func() { _ = g.region().Write(12, 4, 5) }, none, 1, devices.ByQueue, none, cpu0, true}, // by nobody of the guest
	} {
		at = x.at
		if x.before != nil {
			x.before()
		}
		at = x.now
		g.probe.Violation(devices.Violation{Clause: "SPEC", Text: fmt.Sprint("number ", i), Queue: x.queue, Origin: x.by})
		if got.Name != fmt.Sprint("number ", i) || got.Place != x.want || got.Late != x.late {
			t.Errorf("%d: %q at %+v, late %v; want %+v, %v", i, got.Name, got.Place, got.Late, x.want, x.late)
		}
	}
	// What follows from the table is found in the access.
	at = cpu1
	_ = g.region().Write(4, 4, 1)
	if got.Place != cpu1 || got.Late || !strings.Contains(got.Name, "STAT") {
		t.Errorf("%+v", got)
	}
}
