package nvme

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/dev/disk/drivertest"
	"dfemu/kernel/subr/disk"
	"dfemu/kernel/subr/disk/exercise"
)

// quick are times for controllers that answer at once or never.
var quick = times{
	ready: 100 * time.Millisecond, admin: 100 * time.Millisecond, io: 200 * time.Millisecond, tick: 20 * time.Millisecond,
	irq: 2 * time.Millisecond, slow: 30 * time.Millisecond,
}

// bench is a driver with a controller.
type bench struct {
	*ctrl
	*drivertest.Bench
}

func attach(t *testing.T, prepare func(c *ctrl)) *bench {
	t.Helper()
	h := drivertest.New()
	c := newCtrl(h)
	prepare(c)
	return finish(h, c)
}

func finish(h *drivertest.Host, c *ctrl) *bench {
	c.cap &^= 0xff << 24 // it says nothing of how long it takes: quick counts
	return &bench{c, drivertest.Attach(h, h.Function(0x010802, 0, c), func(l *disk.Layer) pci.Driver {
		tm := quick
		return Driver{Layer: l, times: &tm}
	})}
}

// detach ends the driver, which must have kept to the rules.
func (b *bench) detach(t *testing.T) {
	t.Helper()
	b.Detach(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.wrong {
		t.Error(w)
	}
	if t.Failed() {
		t.Log(b.H.Log())
	}
}

func (b *bench) load(t *testing.T, name string, until func(exercise.Result) bool) *exercise.Load {
	t.Helper()
	l := exercise.Start(drivertest.Target(b.Node(t, name)), exercise.Options{
		Blocks: 128, Workers: 8, Seed: 3, Start: func(f func()) { go f() }, Gone: func(err error) bool { return errors.Is(err, disk.ErrGone) },
	})
	for start := time.Now(); !until(l.Result()); time.Sleep(time.Millisecond) {
		if time.Since(start) > drivertest.Patience {
			t.Fatalf("%v\n%s", l.Result(), b.H.Log())
		}
	}
	return l
}

// TestLoad reads and writes in many threads, with few and many queues and blocks of different sizes.
func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name   string
		shift  uint
		queues uint32
		depth  uint64
		mode   string
	}{{"optimal", 9, 3, 63, "optimal"}, {"nominal", 12, 1, 63, "nominal"}, {"minimal", 9, 0, 63, "minimal"}, {"two entries", 9, 0, 1, "minimal"}} {
		t.Run(c.name, func(t *testing.T) {
			b := attach(t, func(n *ctrl) {
				n.queues = c.queues
				n.cap = n.cap&^0xffff | c.depth
				n.space(1, 1<<20>>c.shift, c.shift)
				n.space(5, 1<<20>>c.shift, c.shift)
			})
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			b.H.Await(t, "mapping "+c.mode)
			big := make([]byte, 300<<10)
			for i := range big {
				big[i] = byte(i >> 7)
			}
			n := b.Node(t, "nvme0ns5")
			if _, err := n.WriteAt(big, 4096); err != nil {
				t.Error(err)
			}
			back := make([]byte, len(big))
			if _, err := n.ReadAt(back, 4096); err != nil || !bytes.Equal(big, back) {
				t.Errorf("300 KiB do not come back: %v", err)
			}
			if r := b.load(t, "nvme0ns1", func(r exercise.Result) bool { return r.Reads > 300 || r.Errors > 0 }).Stop(); r.Errors != 0 || r.Wrong != 0 {
				t.Error(r)
			}
			if err := n.Delete(0, 8192); err != nil {
				t.Error(err)
			}
			b.detach(t)
		})
	}
}

// TestErrorsUnderLoad has commands fail, stay without answer, be answered twice and without interrupt, while others go on.
func TestErrorsUnderLoad(t *testing.T) {
	var n, failed atomic.Int64
	b := attach(t, func(c *ctrl) {
		c.space(1, 2048, 9)
		c.answer = func(admin bool, op byte) (r reply) {
			if admin {
				return r
			}
			switch i := n.Add(1); {
			case i%29 == 0:
				failed.Add(1)
				r.status = typeMedia<<8 | 0x81 | statusNoRetry
			case i%17 == 0:
				r.status = 6
			case i%13 == 0:
				r.twice = true
			case i%199 == 0:
				r.quiet = true
			case i == 250 || i == 900:
				r.silent = true
			}
			return r
		}
	})
	r := b.load(t, "nvme0ns1", func(r exercise.Result) bool { return r.Writes > 800 }).Stop()
	if r.Wrong != 0 || r.Errors == 0 || r.Errors > uint64(failed.Load()) {
		t.Errorf("%d commands failed for good: %v", failed.Load(), r)
	}
	b.H.Await(t, "is not answered: abort")
	b.H.Await(t, ": reset")
	b.H.Await(t, "which was not sent")
	b.detach(t)
}

// TestResets has a controller that answers nothing any more, or dies: it is given up, and what waits for it fails.
func TestResets(t *testing.T) {
	for name, kill := range map[string]func(c *ctrl){
		"silent": func(c *ctrl) { c.answer = func(bool, byte) reply { return reply{silent: true} } },
		"silent but for admin": func(c *ctrl) {
			c.answer = func(admin bool, _ byte) reply { return reply{silent: !admin} }
		},
		"fatal": func(c *ctrl) {
			c.csts |= cstsFatal
			c.never = true
		},
		"gone": func(c *ctrl) { c.gone = true },
	} {
		t.Run(name, func(t *testing.T) {
			b := attach(t, func(c *ctrl) { c.space(1, 2048, 9) })
			l := b.load(t, "nvme0ns1", func(r exercise.Result) bool { return r.Writes > 300 })
			b.mu.Lock()
			kill(b.ctrl)
			b.mu.Unlock()
			if r := l.Wait(); r.Wrong != 0 || !r.Gone {
				t.Error(r)
			}
			b.H.Await(t, "nvme0: ")
			b.H.Await(t, "nvme0ns1: removed")
			b.detach(t)
		})
	}
}

// TestBadControllers has controllers that lie or do not answer: they are refused, with the reason, and nothing is kept.
func TestBadControllers(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(c *ctrl)
	}{
		{"never ready", "enable: ready is not true", func(c *ctrl) { c.never = true }},
		{"no answer", "identify: admin command 0x06: the device does not answer", func(c *ctrl) {
			c.answer = func(bool, byte) reply { return reply{silent: true} }
		}},
		{"refusal", "identify: admin command 0x06: status type 0 code 0x02", func(c *ctrl) {
			c.answer = func(bool, byte) reply { return reply{status: 2} }
		}},
		{"gone", "it does not answer", func(c *ctrl) { c.gone = true }},
		{"one entry", "its queues have one entry", func(c *ctrl) { c.cap &^= 0xffff }},
		{"large pages", "its smallest page is 8192 bytes", func(c *ctrl) { c.cap |= 1 << 48 }},
		{"stride", "its doorbells, 131072 bytes apart, are outside its registers", func(c *ctrl) { c.cap |= 15 << 32 }},
		{"no registers", "registers of 4096 bytes", func(c *ctrl) { c.size = 4096 }},
		{"no room for queues", "it has no queues", func(c *ctrl) { c.cap |= 9 << 32 }},
		{"queues refused", "create completion queue 1", func(c *ctrl) {
			c.answer = func(_ bool, op byte) (r reply) {
				if op == admCreateCQ {
					r.status = 1<<8 | 1
				}
				return r
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := attach(t, func(n *ctrl) { n.space(1, 64, 9); c.change(n) })
			if b.Err == nil || !strings.Contains(b.Err.Error(), c.want) {
				t.Errorf("%v, want %q", b.Err, c.want)
			}
			if _, kept := b.H.Allocs(); kept > 1 { // a page that the controller may still write
				t.Errorf("%d pieces of memory are kept", kept)
			}
			b.detach(t)
		})
	}
}

// TestBadNamespaces has namespaces beside a sound one that say nonsense.
func TestBadNamespaces(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name, want string
		change     func(s *space)
	}{
		{"no blocks", "", func(s *space) { clear(s.identify[:24]) }},
		{"all ones", "nvme0: namespace 1: blocks of 2^255 bytes", func(s *space) { s.identify = bytes.Repeat([]byte{0xff}, 4096) }},
		{"blocks of 1 byte", "nvme0: namespace 1: blocks of 2^0 bytes", func(s *space) { clear(s.identify[128:192]) }},
		{"blocks of 64 KiB", "nvme0: namespace 1: blocks of 2^16 bytes", func(s *space) { s.identify[130] = 16 }},
		{"metadata", "nvme0: namespace 1: blocks with 8 bytes of metadata", func(s *space) { s.identify[128] = 8 }},
		{"zoned", "nvme0: namespace 1: its command set, 2, is not supported", func(s *space) {
			s.descriptors = append(append([]byte{1, 8, 0, 0}, make([]byte, 8)...), 4, 1, 0, 0, 2)
		}},
		{"descriptors without end", "nvme0ns1: 4KB", func(s *space) { s.descriptors = bytes.Repeat([]byte{1, 255}, 2048); s.identify[0] = 8 }},
		{"2^64-1 blocks", "nvme0: namespace 1: nvme0ns1: a disk of 18446744073709551615 sectors", func(s *space) { le.PutUint64(s.identify, 1<<64-1) }},
		{"2^48 blocks", "nvme0ns1: 137438953472MB", func(s *space) { le.PutUint64(s.identify, 1<<48) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := attach(t, func(n *ctrl) {
				c.change(n.space(1, 64, 9))
				copy(n.space(2, 64, 9).data, "beside")
			})
			if b.Err != nil {
				t.Fatal(b.Err)
			}
			if c.want != "" {
				b.H.Await(t, c.want)
			}
			p := make([]byte, 6)
			if _, err := b.Node(t, "nvme0ns2").ReadAt(p, 0); err != nil || string(p) != "beside" {
				t.Errorf("the namespace beside it: %q, %v", p, err)
			}
			b.detach(t)
		})
	}
}

// TestNamespacesChange has namespaces come, go and grow, which the controller tells.
func TestNamespacesChange(t *testing.T) {
	b := attach(t, func(c *ctrl) { c.space(1, 64, 9) })
	for i, c := range []struct {
		change func(c *ctrl)
		want   string
	}{
		{func(c *ctrl) { c.space(2, 64, 9) }, "nvme0ns2: 32KB"},
		{func(c *ctrl) { delete(c.spaces, 1) }, "nvme0ns1: removed"},
		{func(c *ctrl) { c.space(2, 128, 9) }, "nvme0ns2: 64KB"},
		{func(c *ctrl) { c.space(1, 32, 12) }, "nvme0ns1: 128KB"},
	} {
		// The controller has to be asked for the next event first.
		for start := time.Now(); ; time.Sleep(time.Millisecond) {
			b.mu.Lock()
			n := len(b.events)
			b.mu.Unlock()
			if n > 0 {
				break
			}
			if time.Since(start) > drivertest.Patience {
				t.Fatalf("change %d: nobody asks for events:\n%s", i, b.H.Log())
			}
		}
		b.mu.Lock()
		c.change(b.ctrl)
		b.mu.Unlock()
		b.event()
		b.H.Await(t, c.want)
	}
	b.detach(t)
}

// TestNoMemory has each allocation of memory fail, one at a time.
func TestNoMemory(t *testing.T) {
	for n := 1; ; n++ {
		h := drivertest.New()
		c := newCtrl(h)
		c.space(1, 64, 9)
		h.FailAlloc(n)
		b := finish(h, c)
		all, kept := h.Allocs()
		if all < n {
			b.detach(t)
			if n < 10 {
				t.Errorf("only %d allocations were made to fail", n-1)
			}
			return
		}
		switch {
		case b.Err != nil:
			if !errors.Is(b.Err, drivertest.ErrMemory) || kept != 0 {
				t.Errorf("allocation %d failed: %v, %d pieces of memory are kept", n, b.Err, kept)
			}
		default:
			h.Await(t, drivertest.ErrMemory.Error())
		}
		b.detach(t)
	}
}

// TestGoneDuringDetach takes a controller away while the driver lets it go: it does not wait for what cannot come.
func TestGoneDuringDetach(t *testing.T) {
	b := attach(t, func(c *ctrl) {
		c.space(1, 64, 9)
		c.answer = func(admin bool, op byte) reply {
			c.gone = c.gone || admin && op == admDeleteCQ
			return reply{}
		}
	})
	b.Unit.(*controller).timeout = drivertest.Patience
	start := time.Now()
	b.detach(t)
	if took := time.Since(start); took > drivertest.Patience/2 {
		t.Errorf("it took %v", took)
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		s    status
		want error
	}{
		{0, nil}, {0x281, disk.ErrMedium}, {0x280, disk.ErrMedium}, {codeInvalidNS, disk.ErrGone}, {codeLBARange, disk.ErrRange}, {codeAborted, disk.ErrAborted},
		{codeReadOnly, disk.ErrReadOnly}, {codeUnsupported, disk.ErrSupported}, {6, disk.ErrIO}, {0x700, disk.ErrIO}, {statusNoRetry | 6, disk.ErrIO},
	} {
		if got := (&command{status: c.s}).failure(); !errors.Is(got, c.want) || c.want == nil && got != nil {
			t.Errorf("status %#x: %v, want %v", c.s, got, c.want)
		}
	}
}

// TestLists compares PRP entries and lists with a model, for memory of any place and size.
func TestLists(t *testing.T) {
	h := drivertest.New()
	c := &controller{k: h.K}
	q, err := c.newCQ(1, 8)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.newSQ(1, 8, q)
	if err != nil {
		t.Fatal(err)
	}
	fake := &ctrl{h: h}
	mem, err := h.AllocDMA(maxTransfer+2*pageSize, pageSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		off, n := 4*r.IntN(1024), 512*(1+r.IntN(maxTransfer/512))
		slot := r.IntN(7)
		e := make([]byte, sqEntry)
		p1, p2 := s.lists(slot, mem.Phys+uint64(off), n)
		binary.LittleEndian.PutUint64(e[24:], p1)
		binary.LittleEndian.PutUint64(e[32:], p2)
		at := off
		for _, p := range fake.data(e, n) {
			if &p[0] != &mem.Bytes[at] {
				t.Fatalf("%d bytes at %d: wrong page at %d", n, off, at)
			}
			at += len(p)
		}
		if at != off+n {
			t.Fatalf("%d bytes at %d: %d are described", n, off, at-off)
		}
	}
}

// FuzzIdentify attaches to a controller whose identifications are anything.
func FuzzIdentify(f *testing.F) {
	h := drivertest.New()
	c := newCtrl(h)
	f.Add(c.identify[:600], c.space(1, 64, 9).identify[:200], []byte{1, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0xff}, 4096), bytes.Repeat([]byte{0xff}, 4096), bytes.Repeat([]byte{0xff}, 4096))
	f.Add([]byte{}, []byte{}, []byte{2, 0, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, ident, space, list []byte) {
		pad := func(b []byte) []byte { return append(append([]byte(nil), b...), make([]byte, 4096)...)[:4096] }
		blocks := [][]byte{pad(ident), pad(list[:min(len(list), 128)]), pad(space)} // few namespaces are enough
		asked := 0
		b := attach(t, func(c *ctrl) {
			c.answer = func(admin bool, op byte) (r reply) {
				if admin && op == admIdentify {
					r.block = blocks[min(asked, 2)]
					asked++
				} else if !admin {
					r.status = codeLBARange | statusNoRetry
				}
				return r
			}
		})
		for _, d := range b.Layer.Disks() {
			i := d.Info()
			if i.Sectors == 0 || i.SectorSize < 512 || i.SectorSize > 4096 || i.MaxTransfer > maxTransfer || strings.ContainsFunc(i.Model+i.Serial, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("%+v", i)
			}
		}
		b.detach(t)
	})
}
