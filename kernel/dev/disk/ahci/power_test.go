package ahci

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"dfemu/kernel/subr/disk"
)

// TestOutagePower has a drive lose its power with its connection, or not: the disk stays what it is, and a flush fails if what was written may be lost.
func TestOutagePower(t *testing.T) {
	keep := func(*fakePort) {}
	off := func(p *fakePort) { p.identify[118] = 16 } // the default
	for _, c := range []struct {
		name      string
		prepare   func(p *fakePort) // what the drive is like
		flushed   bool
		meanwhile func(p *fakePort)
		want      error
		says      string
	}{
		{"kept", keep, false, keep, nil, ""},
		{"lost", keep, false, off, disk.ErrIO, "without power: what was written since the last flush may be lost"},
		{"lost, all flushed", keep, true, off, nil, "without power; all that was written had been flushed"},
		{"lost, no cache", func(p *fakePort) { p.identify[170] = 0 }, false, off, nil, "without power; all"},
		{"cannot be told", func(p *fakePort) { p.identify[158] = 0 }, false, keep, disk.ErrIO, "cannot be told: what was written"},
		{"cannot be told, all flushed", func(p *fakePort) { p.identify[158] = 0 }, true, keep, nil, ""},
		{"refuses the mark", func(p *fakePort) {
			p.answer = func(cmd byte, _ uint64) (r reply) {
				if cmd == ataSetMultiple {
					r.err = errAborted
				}
				return r
			}
		}, false, keep, disk.ErrIO, "cannot be told: what was written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := attach(t, func(a *hba) { c.prepare(a.drive(0, 64)) })
			n := b.Node(t, "da0")
			data := bytes.Repeat([]byte{7}, 4096)
			if _, err := n.WriteAt(data, 0); err != nil {
				t.Fatal(err)
			}
			if c.flushed {
				if err := n.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			p := b.ports[0]
			p.blink(time.Millisecond, func() { c.meanwhile(p) })
			b.H.Await(t, "with the same device")
			if err := n.Flush(); !errors.Is(err, c.want) {
				t.Errorf("the flush: %v, want %v\n%s", err, c.want, b.H.Log())
			}
			if err := n.Flush(); err != nil {
				t.Errorf("another flush: %v", err)
			}
			if _, err := n.ReadAt(make([]byte, 512), 0); err != nil {
				t.Errorf("reading: %v", err)
			}
			b.H.Await(t, c.says) // which is said a little after the device is back
			if s := b.H.Log(); c.says == "" && strings.Contains(s, "power") {
				t.Errorf("want %q in:\n%s", c.says, s)
			}
			// The next time it is known again.
			p.blink(time.Millisecond, func() {})
			for start := time.Now(); strings.Count(b.H.Log(), "with the same device") < 2; time.Sleep(time.Millisecond) {
				if time.Since(start) > 10*time.Second {
					t.Fatalf("it does not come back:\n%s", b.H.Log())
				}
			}
			if err := n.Flush(); err != nil {
				t.Errorf("a flush after nothing was written: %v", err)
			}
			b.Detach(t)
		})
	}
}

// TestOutagePowerFlush has a flush under way as the drive loses its power: it is not sent again as if that would do.
func TestOutagePowerFlush(t *testing.T) {
	b := attach(t, func(a *hba) {
		p := a.drive(0, 64)
		n := 0
		p.answer = func(cmd byte, _ uint64) (r reply) {
			if cmd == ataFlushExt {
				if n++; n == 1 {
					r.silent = true
					go p.blink(time.Millisecond, func() { p.identify[118] = 16 })
				}
			}
			return r
		}
	})
	n := b.Node(t, "da0")
	if _, err := n.WriteAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	if err := n.Flush(); !errors.Is(err, disk.ErrIO) || !strings.Contains(err.Error(), "without power") {
		t.Errorf("the flush: %v\n%s", err, b.H.Log())
	}
	if err := n.Flush(); err != nil {
		t.Errorf("another flush: %v", err)
	}
	b.Detach(t)
}

// TestMark looks what the mark of drives with several settings is: neither the setting nor the most that is possible, which are likely defaults.
func TestMark(t *testing.T) {
	for _, c := range []struct {
		i    identity
		want byte
	}{
		{identity{preserves: true, mostMultiple: 16, multiple: 16}, 8},
		{identity{preserves: true, mostMultiple: 16}, 8},
		{identity{preserves: true, mostMultiple: 16, multiple: 8}, 4}, // as it was before a restart
		{identity{preserves: true, mostMultiple: 16, multiple: 4}, 8},
		{identity{preserves: true, mostMultiple: 2, multiple: 1}, 0},
		{identity{preserves: true, mostMultiple: 1}, 0},
		{identity{preserves: true, mostMultiple: 20}, 0},
		{identity{preserves: true}, 0},
		{identity{mostMultiple: 16}, 0},
		{identity{preserves: true, mostMultiple: 16, packet: true}, 0},
	} {
		if got := c.i.mark(); got != c.want {
			t.Errorf("%+v: mark %d, want %d", c.i, got, c.want)
		}
	}
}
