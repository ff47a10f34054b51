package ahci

import (
	"errors"
	"strings"
	"testing"
	"time"

	"dfemu/kernel/dev/disk/drivertest"
	"dfemu/kernel/subr/disk"
	"dfemu/kernel/subr/disk/exercise"
)

// blink takes a drive's connection away for a time; meanwhile is called before it is back.
func (p *fakePort) blink(d time.Duration, meanwhile func()) {
	p.plug(false)
	time.Sleep(d)
	p.a.mu.Lock()
	meanwhile()
	p.a.mu.Unlock()
	p.plug(true)
}

// TestOutage loses the connection of a drive again and again under load: nobody who uses it gets to know.
func TestOutage(t *testing.T) {
	for name, ncq := range map[string]uint32{"NCQ": capNCQ, "no NCQ": 0} {
		t.Run(name, func(t *testing.T) {
			b := attach(t, func(a *hba) { a.cap = a.cap&^capNCQ | ncq; a.drive(0, 2048) })
			n := b.Node(t, "da0")
			l := exercise.Start(drivertest.Target(n), exercise.Options{Blocks: 64, Workers: 4, Start: func(f func()) { go f() }})
			for i := range 6 {
				for r := l.Result().Reads; l.Result().Reads < r+20; time.Sleep(time.Millisecond) {
					if l.Result().Errors > 0 {
						t.Fatalf("%v\n%s", l.Stop(), b.H.Log())
					}
				}
				b.ports[0].blink(time.Duration(i)*2*time.Millisecond, func() {})
				b.H.Await(t, "with the same device")
			}
			if r := l.Stop(); r.Errors != 0 || r.Wrong != 0 {
				t.Errorf("%v\n%s", r, b.H.Log())
			}
			if b.Layer.Find("da0") != n || n.Disk().Gone() {
				t.Error("the disk is another one")
			}
			if s := b.H.Log(); strings.Contains(s, "removed") || strings.Contains(s, "was connected") {
				t.Errorf("it was said to have gone:\n%s", s)
			}
			b.Detach(t)
		})
	}
}

// TestOutageOther has another drive come back: what was open is gone, and the other is taken in.
func TestOutageOther(t *testing.T) {
	for name, change := range map[string]func(id []byte){
		"serial number": func(id []byte) { id[20+3] = '2' }, "model": func(id []byte) { id[54] = 'X' }, "size": func(id []byte) { id[200]++ },
	} {
		t.Run(name, func(t *testing.T) {
			b := attach(t, func(a *hba) { a.drive(0, 64) })
			n := b.Node(t, "da0")
			b.ports[0].blink(time.Millisecond, func() {
				b.ports[0].identify = identification(64)
				change(b.ports[0].identify)
			})
			b.H.Await(t, "ahci0.0: another device is in its place")
			for start := time.Now(); ; time.Sleep(time.Millisecond) {
				if now := b.Layer.Find("da0"); now != nil && now != n {
					break
				}
				if time.Since(start) > drivertest.Patience {
					t.Fatalf("the other drive does not come:\n%s", b.H.Log())
				}
			}
			if _, err := n.ReadAt(make([]byte, 512), 0); !errors.Is(err, disk.ErrGone) {
				t.Errorf("reading the drive that was there: %v", err)
			}
			if _, err := b.Node(t, "da0").ReadAt(make([]byte, 512), 0); err != nil {
				t.Errorf("reading the other: %v", err)
			}
			b.Detach(t)
		})
	}
}

// TestOutageAlways has a command at each of which the connection is lost: it fails after some attempts, and others are done.
func TestOutageAlways(t *testing.T) {
	b := attach(t, func(a *hba) {
		p := a.drive(0, 64)
		p.answer = func(cmd byte, lba uint64) (r reply) {
			if cmd == ataReadFPDMA && lba == 40 {
				go p.blink(time.Millisecond, func() {})
				r.silent = true
			}
			return r
		}
	})
	n := b.Node(t, "da0")
	if _, err := n.ReadAt(make([]byte, 512), 40*512); !errors.Is(err, disk.ErrIO) {
		t.Errorf("%v, want %v", err, disk.ErrIO)
	}
	if _, err := n.ReadAt(make([]byte, 512), 0); err != nil {
		t.Errorf("another sector: %v", err)
	}
	b.mu.Lock()
	if c := b.count[ataReadFPDMA]; c < maxTries {
		t.Errorf("only %d reads were sent", c)
	}
	b.mu.Unlock()
	b.Detach(t)
}
