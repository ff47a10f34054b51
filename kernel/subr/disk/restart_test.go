package disk

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"dfemu/kernel/kern"
)

// TestUnits gives units out, the lowest free one first.
func TestUnits(t *testing.T) {
	layer := New(kern.New(&kern.Host{}), nil)
	create := func(serial string) *Disk {
		t.Helper()
		d, revived, err := layer.CreateUnit("da", Info{Serial: serial, SectorSize: 512, Sectors: 8}, withSlice())
		if err != nil || revived {
			t.Fatal(revived, err)
		}
		return d
	}
	a, b := create("a"), create("b")
	layer.Destroy(a)
	layer.Destroy(a) // has no unit any more
	c, d := create("c"), create("d")
	layer.Sync()
	if names := []string{b.Info().Name, c.Info().Name, d.Info().Name}; !slices.Equal(names, []string{"da1", "da0", "da2"}) {
		t.Errorf("the names are %q", names)
	}
}

// TestSuspend restarts a disk's driver: names and descriptors stay, and requests wait, those included that were under way. These are passed to a new driver
// once; who may be what the drivers fail of then gets an error.
func TestSuspend(t *testing.T) {
	l := &log{}
	layer := New(kern.New(&kern.Host{}), l)
	old, next, third := withSlice(), withSlice(), withSlice()
	const poisoned = 5 * 512
	next.keep = func(b *Bio) bool { return b.Offset == poisoned }
	owner := new(int)
	i := Info{Serial: "S", Where: "x.port0", SectorSize: 512, Sectors: 128, Owner: owner}
	d, _, err := layer.CreateUnit("da", i, old)
	if err != nil {
		t.Fatal(err)
	}
	layer.Sync()
	n, slice := layer.Find("da0"), layer.Find("serno/S.s1")
	// has waits until a driver keeps a request, and takes it.
	has := func(r *ram) *Bio {
		for ; ; runtime.Gosched() {
			r.mu.Lock()
			if len(r.held) > 0 {
				b := r.held[0]
				r.held = r.held[1:]
				r.mu.Unlock()
				return b
			}
			r.mu.Unlock()
		}
	}
	again := func(drv Driver) {
		t.Helper()
		if g, revived, err := layer.CreateUnit("da", i, drv); err != nil || g != d || !revived {
			t.Fatalf("the disk is not the one that it was: %v %v", revived, err)
		}
	}
	one := bytes.Repeat([]byte{1}, 512)
	poison, late, meanwhile := make(chan error), make(chan error), make(chan error)
	old.mu.Lock()
	old.hold = true
	old.mu.Unlock()
	go func() { _, err := n.ReadAt(make([]byte, 512), poisoned); poison <- err }()
	first := has(old)
	go func() { _, err := slice.WriteAt(one, 512); late <- err }()
	second := has(old)
	l.lines = nil
	layer.Suspend(d)
	first.Done(ErrGone)
	go func() { _, err := slice.WriteAt(one, 1024); meanwhile <- err }()
	for parked := 0; parked != 2; runtime.Gosched() {
		layer.mu.Lock()
		parked = len(d.parked)
		layer.mu.Unlock()
	}
	if d.Gone() || d.Pending() != 3 {
		t.Errorf("gone: %v, %d requests under way, want 3", d.Gone(), d.Pending())
	}
	// Another one that comes meanwhile does not get its unit.
	o, revived, err := layer.CreateUnit("da", Info{Serial: "O", SectorSize: 512, Sectors: 128}, withSlice())
	if err != nil || revived || o.Info().Name != "da1" {
		t.Fatalf("another disk: %v %v %v", o.Info().Name, revived, err)
	}
	again(next)
	layer.Settle(owner, false) // does nothing to those that are back
	second.Done(ErrGone)       // the old driver gives it back only now
	if err := errors.Join(<-meanwhile, <-late); err != nil {
		t.Errorf("requests that have waited: %v", err)
	}
	next.mu.Lock()
	if !bytes.Equal(next.data[9*512:11*512], append(one, one...)) {
		t.Error("what was written is not there")
	}
	next.mu.Unlock()
	// This driver fails of the same request.
	b := has(next)
	layer.Suspend(d)
	b.Done(ErrGone)
	if err := <-poison; !errors.Is(err, ErrRestart) || errors.Is(err, ErrGone) {
		t.Errorf("the request of which drivers fail: %v", err)
	}
	again(third)
	if _, err := n.ReadAt(make([]byte, 512), poisoned); err != nil {
		t.Errorf("reading from a descriptor of before: %v", err)
	}
	if layer.Sync(); d.Pending() != 0 {
		t.Errorf("%d requests are still under way", d.Pending())
	}
	if got := strings.Join(l.lines, "|"); got != "+da1 serno/O|+da1s1 serno/O.s1" {
		t.Errorf("published: %s", got)
	}
	if s := strings.Join(layer.Events(), "\n"); strings.Count(s, "restart da0") != 2 || strings.Contains(s, "detach") {
		t.Errorf("events %q", s)
	}
	// What waits when the disk is not found again ends.
	layer.Suspend(d)
	go func() { meanwhile <- n.Flush() }()
	for parked := 0; parked != 1; runtime.Gosched() {
		layer.mu.Lock()
		parked = len(d.parked)
		layer.mu.Unlock()
	}
	layer.Settle(owner, false)
	if err := <-meanwhile; !errors.Is(err, ErrGone) || d.Pending() != 0 {
		t.Errorf("what has waited in vain: %v; %d requests under way", err, d.Pending())
	}
}

// TestSettle restarts drivers that do not announce all of their disks again, or others in their places: those that were are gone.
func TestSettle(t *testing.T) {
	for name, c := range map[string]struct {
		then   func(layer *Layer, i Info) error
		out    bool
		disks  string
		events string
	}{
		"missing": {func(*Layer, Info) error { return nil }, false, "da1", "detach da0"},
		"another in its place": {func(l *Layer, i Info) error {
			i.Serial = "T"
			_, _, err := l.CreateUnit("da", i, withSlice())
			return err
		}, false, "da1 da2", "attach da2"},
		"another size": {func(l *Layer, i Info) error {
			i.Sectors--
			_, _, err := l.CreateUnit("da", i, withSlice())
			return err
		}, false, "da1 da2", "attach da2"},
		"out of use": {func(*Layer, Info) error { return nil }, true, "", "detach da1"},
	} {
		t.Run(name, func(t *testing.T) {
			layer := New(kern.New(&kern.Host{}), nil)
			owner := new(int)
			i := Info{Serial: "S", Where: "x.port0", SectorSize: 512, Sectors: 128, Owner: owner}
			d, _, err := layer.CreateUnit("da", i, withSlice())
			if err != nil {
				t.Fatal(err)
			}
			j := i
			j.Serial, j.Where = "U", "x.port1"
			if _, _, err := layer.CreateUnit("da", j, withSlice()); err != nil {
				t.Fatal(err)
			}
			layer.Sync()
			layer.SuspendAll(new(int)) // nobody's
			if c.out {
				layer.SuspendAll(owner)
				layer.SuspendAll(owner)
			} else {
				layer.Suspend(d)
			}
			if err := c.then(layer, i); err != nil {
				t.Fatal(err)
			}
			layer.Settle(new(int), true) // somebody else's
			layer.Settle(owner, c.out)
			layer.Sync()
			var names []string
			for _, d := range layer.Disks() {
				names = append(names, d.Info().Name)
			}
			if got := strings.Join(names, " "); got != c.disks || !d.Gone() {
				t.Errorf("the disks are %q, want %q; the first is gone: %v", got, c.disks, d.Gone())
			}
			if e := layer.Events(); !strings.Contains(strings.Join(e, "\n"), c.events) {
				t.Errorf("events %q", e)
			}
			if len(layer.lost) != 0 {
				t.Error("a disk is suspended for ever")
			}
		})
	}
}

// TestPrintable announces a disk whose texts are made to confuse a terminal.
func TestPrintable(t *testing.T) {
	_, d := newDisk(t, withSlice(), nil0(), func(i *Info) { i.Model, i.Serial, i.Firmware = "M\x1b[2J", "S\x00\r\nT", "F\x7f" })
	if i := d.Info(); i.Model != "M?[2J" || i.Serial != "S???T" || i.Firmware != "F?" {
		t.Errorf("%q %q %q", i.Model, i.Serial, i.Firmware)
	}
}
