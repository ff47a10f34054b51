package ahci

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/dev/disk/drivertest"
	"dfemu/kernel/subr/disk"
	"dfemu/kernel/subr/disk/exercise"
)

// quick are times for drives that answer at once or never.
var quick = times{
	reset: 50 * time.Millisecond, stop: 50 * time.Millisecond, comReset: time.Millisecond, presence: 5 * time.Millisecond,
	negotiation: 20 * time.Millisecond, busy: 50 * time.Millisecond, exec: 100 * time.Millisecond, command: 200 * time.Millisecond,
	tick: 20 * time.Millisecond, irq: 2 * time.Millisecond, media: time.Second,
	away: 50 * time.Millisecond,
}

// bench is a driver with a controller.
type bench struct {
	*hba
	*drivertest.Bench
}

// attach makes a controller with two ports, has prepare put drives in, and attaches the driver.
func attach(t *testing.T, prepare func(a *hba)) *bench {
	t.Helper()
	h := drivertest.New()
	a := newHBA(h, 2)
	prepare(a)
	return finish(h, a)
}

func finish(h *drivertest.Host, a *hba) *bench {
	return &bench{a, drivertest.Attach(h, h.Function(0x010601, 5, a), func(l *disk.Layer) pci.Driver {
		tm := quick
		return Driver{Layer: l, times: &tm}
	})}
}

// TestLoad reads and writes in many threads, with and without queuing, with 48 and with 28 bits of address.
func TestLoad(t *testing.T) {
	for name, change := range map[string]func(a *hba, p *fakePort){
		"NCQ":              func(*hba, *fakePort) {},
		"NCQ of depth 4":   func(_ *hba, p *fakePort) { p.identify[150] = 3 },
		"no NCQ":           func(a *hba, _ *fakePort) { a.cap &^= capNCQ },
		"one slot":         func(a *hba, _ *fakePort) { a.cap &^= 31 << capSlots },
		"28 bits":          func(_ *hba, p *fakePort) { p.identify[2*83+1] &^= 4 },
		"32-bit addresses": func(a *hba, _ *fakePort) { a.cap &^= cap64 },
	} {
		t.Run(name, func(t *testing.T) {
			b := attach(t, func(a *hba) { change(a, a.drive(0, 2048)) })
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			l := exercise.Start(drivertest.Target(b.Node(t, "da0")), exercise.Options{Blocks: 128, Workers: 8, Seed: 3, Start: func(f func()) { go f() }})
			for l.Result().Reads < 300 && l.Result().Errors == 0 {
				time.Sleep(time.Millisecond)
			}
			if r := l.Stop(); r.Errors != 0 || r.Wrong != 0 {
				t.Errorf("%v\n%s", r, b.H.Log())
			}
			b.Detach(t)
		})
	}
}

// TestErrorsUnderLoad has commands fail, stay without answer and stay without interrupt, while others go on.
func TestErrorsUnderLoad(t *testing.T) {
	for name, ncq := range map[string]uint32{"NCQ": capNCQ, "no NCQ": 0} {
		t.Run(name, func(t *testing.T) {
			var n, failed atomic.Int64
			var hung atomic.Bool
			b := attach(t, func(a *hba) {
				a.cap = a.cap&^capNCQ | ncq
				a.drive(0, 2048).answer = func(cmd byte, _ uint64) (r reply) {
					switch i := n.Add(1); {
					case i > 200 && !hung.Swap(true):
						r.hang = true
					case cmd == ataReadLogExt && i%5 == 0:
						r.err = errAborted
					case cmd == ataIdentify || cmd == ataReadLogExt:
					case i%31 == 0:
						r.err = errAborted
						r.badLog = func(log []byte) { log[511] = 1 }
					case i%23 == 0:
						failed.Add(1)
						r.err = errUncorrectable
					}
					return r
				}
			})
			l := exercise.Start(drivertest.Target(b.Node(t, "da0")), exercise.Options{Blocks: 128, Workers: 8, Seed: 3, Start: func(f func()) { go f() }})
			for start := time.Now(); l.Result().Writes < 600; time.Sleep(time.Millisecond) {
				if time.Since(start) > drivertest.Patience {
					t.Fatalf("%v\n%s", l.Result(), b.H.Log())
				}
			}
			r := l.Stop()
			if r.Wrong != 0 || r.Errors == 0 || r.Errors > uint64(failed.Load()) || !errors.Is(r.Last, disk.ErrMedium) {
				t.Errorf("%d commands failed for good: %v\n%s", failed.Load(), r, b.H.Log())
			}
			b.H.Await(t, "ahci0.0: command")
			b.Detach(t)
		})
	}
}

// watched is a target that notes where requests fail.
type watched struct {
	exercise.Target
	mu  sync.Mutex
	bad map[int64]int
}

func (w *watched) note(off int64, n int, err error) (int, error) {
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.bad[off]++
	}
	return n, err
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.Target.ReadAt(p, off)
	return w.note(off, n, err)
}

func (w *watched) WriteAt(p []byte, off int64) (int, error) {
	n, err := w.Target.WriteAt(p, off)
	return w.note(off, n, err)
}

// TestNoLog has a bad sector on a drive that cannot tell which of its queued commands has failed: it is found all the same,
// and no other request fails.
func TestNoLog(t *testing.T) {
	b := attach(t, func(a *hba) {
		a.drive(0, 2048).answer = func(cmd byte, lba uint64) (r reply) {
			if cmd == ataReadLogExt {
				r.err = errAborted
			} else if cmd != ataIdentify && lba == 5*8 {
				r.err = errUncorrectable
			}
			return r
		}
	})
	w := &watched{Target: drivertest.Target(b.Node(t, "da0")), bad: map[int64]int{}}
	l := exercise.Start(w, exercise.Options{Blocks: 64, Workers: 8, Seed: 3, Start: func(f func()) { go f() }})
	for start := time.Now(); l.Result().Errors < 5 || l.Result().Writes < 300; time.Sleep(time.Millisecond) {
		if time.Since(start) > drivertest.Patience {
			t.Fatalf("%v\n%s", l.Result(), b.H.Log())
		}
	}
	if r := l.Stop(); r.Wrong != 0 || !errors.Is(r.Last, disk.ErrMedium) {
		t.Error(r)
	}
	if len(w.bad) != 1 || w.bad[5*4096] == 0 {
		t.Errorf("requests failed at %v, want %d alone\n%s", w.bad, 5*4096, b.H.Log())
	}
	b.Detach(t)
}

// TestShort has a command transfer less than was asked for: where the controller tells, that is an error.
func TestShort(t *testing.T) {
	var on atomic.Bool
	b := attach(t, func(a *hba) {
		a.cap &^= capNCQ
		a.drive(0, 64).answer = func(cmd byte, _ uint64) (r reply) {
			if on.Load() && (cmd == ataReadDMAExt || cmd == ataWriteDMAExt) {
				r.short = 512
			}
			return r
		}
	})
	n := b.Node(t, "da0")
	on.Store(true)
	if _, err := n.ReadAt(make([]byte, 4096), 0); !errors.Is(err, disk.ErrIO) {
		t.Errorf("a read of 4096 bytes that gets 3584: %v", err)
	}
	if _, err := n.WriteAt(make([]byte, 4096), 0); !errors.Is(err, disk.ErrIO) {
		t.Errorf("a write of 4096 bytes of which 3584 are taken: %v", err)
	}
	on.Store(false)
	if _, err := n.ReadAt(make([]byte, 4096), 0); err != nil {
		t.Error(err)
	}
	b.H.Await(t, "da0: read of 4096 bytes at 0")
	b.Detach(t)
}

// TestBadDrives has a drive on port 0 that lies or does not answer: a message names it, and the drive beside it works.
func TestBadDrives(t *testing.T) {
	word := func(i int, v uint16) func(*fakePort) {
		return func(p *fakePort) { binary.LittleEndian.PutUint16(p.identify[2*i:], v) }
	}
	for _, c := range []struct {
		name, want string
		change     func(p *fakePort)
	}{
		{"no sectors", "ahci0.0: identify: the device has no sectors", func(p *fakePort) { clear(p.identify[200:208]) }},
		{"no LBA", "ahci0.0: identify: the device has no LBA", word(49, 0)},
		{"sectors of 1 byte", "ahci0.0: identify: sectors of 2 bytes", func(p *fakePort) { word(106, 1<<14|1<<12)(p); word(117, 1)(p) }},
		{"sectors of 4 GiB", "ahci0.0: identify: sectors of", func(p *fakePort) { word(106, 1<<14|1<<12)(p); word(118, 0x8000)(p) }},
		{"sectors of 528 bytes", "ahci0.0: identify: sectors of 528 bytes", func(p *fakePort) { word(106, 1<<14|1<<12)(p); word(117, 264)(p) }},
		{"sectors beyond 28 bits", "ahci0.0: identify: 268435457 sectors with addresses of 28 bits", func(p *fakePort) {
			word(83, 0)(p)
			binary.LittleEndian.PutUint32(p.identify[120:], 1<<28+1)
		}},
		{"checksum", "ahci0.0: identify: the checksum is wrong", word(255, 0xa5)},
		{"all ones", "ahci0.0: identify:", func(p *fakePort) { p.identify = bytes.Repeat([]byte{0xff}, 512) }},
		{"all zero", "ahci0.0: identify: the device has no LBA", func(p *fakePort) { p.identify = make([]byte, 512) }},
		{"short identification", "ahci0.0: identify: input/output error: 212 of 512 bytes", func(p *fakePort) {
			p.answer = func(cmd byte, _ uint64) reply { return reply{short: 300} }
		}},
		{"always busy", "ahci0.0: the device stays busy after a reset", func(p *fakePort) { p.busy = true; p.connect() }},
		{"no answer", "ahci0.0: identify: the device does not answer", func(p *fakePort) {
			p.answer = func(byte, uint64) reply { return reply{silent: true} }
		}},
		{"port multiplier", "ahci0.0: a port multiplier: not supported", func(p *fakePort) { p.multiplier, p.a.cap = true, p.a.cap|capSPM }},
		{"hidden port multiplier", "ahci0.0: soft reset: the device does not answer", func(p *fakePort) { p.multiplier = true }},
		{"refusal", "ahci0.0: identify: the device reports an error", func(p *fakePort) {
			p.answer = func(byte, uint64) reply { return reply{err: errAborted} }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := attach(t, func(a *hba) {
				c.change(a.drive(0, 64))
				copy(a.drive(1, 64).data, "beside")
			})
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			b.H.Await(t, c.want)
			p := make([]byte, 6)
			if _, err := b.Node(t, "da0").ReadAt(p, 0); err != nil || string(p) != "beside" {
				t.Errorf("the drive beside it: %q, %v", p, err)
			}
			if n := len(b.Layer.Disks()); n != 1 {
				t.Errorf("%d disks, want that of port 1 alone:\n%s", n, b.H.Log())
			}
			b.Detach(t)
		})
	}
}

// TestHugeDisk has a disk that says it has 2^48 sectors; they end where it says, and what is not there fails.
func TestHugeDisk(t *testing.T) {
	b := attach(t, func(a *hba) {
		p := a.drive(0, 64)
		copy(p.identify[200:], "\xff\xff\xff\xff\xff\xff\xff\xff")
		p.answer = func(cmd byte, lba uint64) (r reply) {
			if cmd != ataIdentify && cmd != ataReadLogExt && lba >= 64 {
				r.err = errNotFound
			}
			return r
		}
	})
	n := b.Node(t, "da0")
	if n.Size != (1<<48-1)*512 {
		t.Errorf("it has %d bytes", n.Size)
	}
	p := make([]byte, 512)
	if _, err := n.ReadAt(p, n.Size-512); !errors.Is(err, disk.ErrRange) {
		t.Errorf("its last sector: %v", err)
	}
	if _, err := n.ReadAt(p, 0); err != nil {
		t.Errorf("its first sector: %v", err)
	}
	b.Detach(t)
}

// TestBadController has controllers that are not usable.
func TestBadController(t *testing.T) {
	for name, c := range map[string]struct {
		want   string
		change func(a *hba)
	}{
		"reset": {"does not finish its reset", func(a *hba) { a.stuck = true }},
		"gone":  {"gone", func(a *hba) { a.gone = true }},
		"ports": {"registers of", func(a *hba) { a.ports = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			b := attach(t, c.change)
			if b.Err == nil || !strings.Contains(b.Err.Error(), c.want) {
				t.Errorf("%v, want %q", b.Err, c.want)
			}
			if _, kept := b.H.Allocs(); kept != 0 {
				t.Errorf("%d pieces of memory are kept", kept)
			}
		})
	}
}

// TestNoMemory has each allocation of memory fail, one at a time.
func TestNoMemory(t *testing.T) {
	for n := 1; ; n++ {
		h := drivertest.New()
		a := newHBA(h, 2)
		a.drive(0, 64)
		h.FailAlloc(n)
		b := finish(h, a)
		all, kept := h.Allocs()
		if all < n {
			b.Detach(t)
			if n < 3 {
				t.Errorf("only %d allocations were made to fail", n-1)
			}
			return
		}
		if b.Err != nil {
			if !errors.Is(b.Err, drivertest.ErrMemory) || kept != 0 {
				t.Errorf("allocation %d failed: %v, %d pieces of memory are kept", n, b.Err, kept)
			}
			continue
		}
		b.H.Await(t, "da0: partition table: "+drivertest.ErrMemory.Error()) // the layer's buffer
		if _, err := b.Node(t, "da0").ReadAt(make([]byte, 100), 0); err != nil {
			t.Errorf("after a failed allocation: %v", err)
		}
		b.Detach(t)
	}
}

// TestPlug takes a drive out under load and puts it in again, many times.
func TestPlug(t *testing.T) {
	b := attach(t, func(a *hba) { a.drive(1, 2048) })
	for i := range 5 {
		for start := time.Now(); b.Layer.Find("da0") == nil; time.Sleep(time.Millisecond) {
			if time.Since(start) > drivertest.Patience {
				t.Fatalf("round %d: the drive does not come:\n%s", i, b.H.Log())
			}
		}
		old := b.Node(t, "da0")
		l := exercise.Start(drivertest.Target(old), exercise.Options{
			Blocks: 64, Workers: 4, Seed: uint64(i), Start: func(f func()) { go f() },
			Gone: func(err error) bool { return errors.Is(err, disk.ErrGone) },
		})
		for l.Result().Writes < 100 {
			time.Sleep(time.Millisecond)
		}
		b.ports[1].plug(false)
		if r := l.Wait(); r.Wrong != 0 || !r.Gone {
			t.Errorf("round %d: %v", i, r)
		}
		if _, err := old.ReadAt(make([]byte, 512), 0); !errors.Is(err, disk.ErrGone) {
			t.Errorf("reading a drive that was taken out: %v", err)
		}
		for start := time.Now(); b.Layer.Find("da0") != nil && time.Since(start) < drivertest.Patience; time.Sleep(time.Millisecond) {
		}
		b.ports[1].plug(true)
	}
	b.Detach(t)
}

// TestControllerGone takes the controller away under load.
func TestControllerGone(t *testing.T) {
	b := attach(t, func(a *hba) { a.drive(0, 2048); a.drive(1, 2048) })
	var loads []*exercise.Load
	for _, n := range []string{"da0", "da1"} {
		loads = append(loads, exercise.Start(drivertest.Target(b.Node(t, n)), exercise.Options{
			Blocks: 64, Workers: 4, Start: func(f func()) { go f() }, Gone: func(err error) bool { return errors.Is(err, disk.ErrGone) },
		}))
	}
	for _, l := range loads {
		for l.Result().Reads < 50 {
			time.Sleep(time.Millisecond)
		}
	}
	b.mu.Lock()
	b.gone = true
	for _, p := range b.ports {
		p.era++
	}
	b.mu.Unlock()
	for _, l := range loads {
		if r := l.Wait(); r.Wrong != 0 || !r.Gone {
			t.Errorf("%v", r)
		}
	}
	b.Detach(t)
}

func FuzzIdentify(f *testing.F) {
	f.Add(identification(100), false)
	f.Add(identification(0), true)
	f.Add(bytes.Repeat([]byte{0xff}, 512), false)
	f.Fuzz(func(t *testing.T, b []byte, packet bool) {
		b = append(b, make([]byte, 512)...)[:512]
		i := identity{packet: packet}
		if err := i.parse(b); err != nil || packet {
			return
		}
		if i.sectors == 0 || i.sectors >= 1<<48 || i.sector < 512 || i.sector > 4096 || i.sector&(i.sector-1) != 0 || i.depth > 32 || i.depth > 0 && !i.lba48 {
			t.Fatalf("accepted: %+v", i)
		}
		for _, s := range []string{i.model, i.serial, i.firmware} {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("text %q", s)
			}
		}
	})
}

// FuzzErrorLog reads logs of errors of queued commands.
func FuzzErrorLog(f *testing.F) {
	f.Add(make([]byte, 512))
	f.Add([]byte{5, 0, 0x41, 0x40})
	f.Add([]byte{0x85})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(b, make([]byte, 512)...)[:512]
		slot, why, err := parseLog(b)
		if err == nil && (slot < 0 || slot > 31 || why == nil || b[0]&0x80 != 0) {
			t.Fatalf("slot %d, %v", slot, why)
		}
	})
}

// TestTranslate compares what is sent with a model, for random requests.
func TestTranslate(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		p := &port{c: &controller{}, id: identity{sector: 512 << r.IntN(4), lba48: chance(r, 2), flushExt: chance(r, 2)}}
		if p.id.lba48 && chance(r, 2) {
			p.id.depth = 1 + r.IntN(32)
		}
		limit := uint64(1) << 28
		if p.id.lba48 {
			limit = 1 << 48
		}
		lba, count := r.Uint64N(limit), 1+r.Uint64N(256)
		b := &disk.Bio{Cmd: disk.Cmd(r.IntN(3)), Offset: int64(lba) * int64(p.id.sector), Length: int64(count) * int64(p.id.sector)}
		m := &command{p: p, bio: b, write: b.Cmd == disk.Write}
		if err := p.translate(m); err != nil {
			t.Fatal(err)
		}
		f := m.frame
		what := fmt.Sprintf("%v of %d sectors at %d, %+v: %+v", b.Cmd, count, lba, p.id, f)
		if b.Cmd == disk.Flush {
			if f.command != ataFlush && !(f.command == ataFlushExt && p.id.flushExt) {
				t.Fatal(what)
			}
			continue
		}
		gotLBA, gotCount := f.lba, uint64(f.count)
		switch f.command {
		case ataReadFPDMA, ataWriteFPDMA:
			gotCount = uint64(f.features)
			if !m.ncq || p.id.depth == 0 {
				t.Fatal(what)
			}
		case ataReadDMA, ataWriteDMA:
			if gotLBA |= uint64(f.device&15) << 24; gotCount == 0 {
				gotCount = 256
			}
		}
		write := f.command == ataWriteFPDMA || f.command == ataWriteDMAExt || f.command == ataWriteDMA
		if gotLBA != lba || gotCount != count || write != (b.Cmd == disk.Write) || f.device&deviceLBA == 0 {
			t.Fatal(what)
		}
	}
}

// TestStates follows a port through its states as its drive comes, fails and comes again.
func TestStates(t *testing.T) {
	b := attach(t, func(a *hba) { a.drive(0, 64) })
	p := b.Unit.(*controller).ports
	state := func(i int, want State) {
		t.Helper()
		for start := time.Now(); State(p[i].state.Load()) != want; time.Sleep(time.Millisecond) {
			if time.Since(start) > drivertest.Patience {
				t.Fatalf("port %d is %v, want %v:\n%s", i, State(p[i].state.Load()), want, b.H.Log())
			}
		}
	}
	state(0, Good)
	state(1, NeedInit)
	b.ports[0].plug(false)
	state(0, NeedInit)
	b.mu.Lock()
	b.ports[0].identify = make([]byte, 512)
	b.mu.Unlock()
	b.ports[0].plug(true)
	state(0, Failed)
	b.mu.Lock()
	b.ports[0].identify = identification(64)
	b.mu.Unlock()
	b.ports[0].plug(false)
	state(0, NeedInit)
	b.ports[0].plug(true)
	state(0, Good)
	b.Detach(t)
}
