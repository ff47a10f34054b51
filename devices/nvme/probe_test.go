package nvme_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/nvme"
)

// watch attaches a recorder of everything.
func (d *driver) watch() *devtest.Recorder {
	w := &devtest.Recorder{}
	d.dev.Function().Probe().Watch(^devices.Class(0), w, w)
	return w
}

func TestTrace(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	w := d.watch()
	p := d.boot()
	p.write(16, pattern(20480, 1), 512)
	p.do(rw(2, 1<<40, 1))
	d.stop()
	for _, words := range [][]string{
		{"register CC write=true value=0x460061 "}, {"register SQTDBL[1] write=true value=0x1 "}, {"register CSTS write=false value=0x1 "},
		{"command Create I/O Completion Queue", "QID=1 ", "QSIZE=63 ", "IEN=1 ", "IV=1"},
		{"command Write queue=1 bytes=20480 ", "NLB=39 ", "PRP1=", "nsid=1 lba=16+40"},
		{"completion Write code=0 Successful Completion"}, {"completion Read code=128 LBA Out of Range"},
		{"dma PRP list bytes=32 write=false"}, {"dma data bytes=20480 write=false"}, {"dma completion queue entry bytes=16 write=true"}, {"dma submission queue entry"},
		{"interrupt 1"}, {"state enabled"}, {"state disabled"}, {"violation NVM command set"},
	} {
		if !w.Has(words...) {
			t.Errorf("no line with %q", words)
		}
	}
	if t.Failed() {
		t.Log(w.Log())
	}
}

// TestStrict breaks rules one by one.
func TestStrict(t *testing.T) {
	for _, c := range []struct {
		want string
		do   func(d *driver, p *pair)
	}{
		{"the doorbell of queue 9 is written; there is no such queue", func(d *driver, _ *pair) { d.put(rDoorbells+9*8, 4, 1) }},
		{"tail of submission queue 1 is set to 64; it has 64 entries", func(d *driver, _ *pair) { d.put(rDoorbells+8, 4, 64) }},
		{"which it is already", func(d *driver, p *pair) { d.put(rDoorbells+8, 4, uint64(p.tail)) }},
		{"head of completion queue 1 is set to 5, beyond", func(d *driver, _ *pair) { d.put(rDoorbells+12, 4, 5) }},
		{"reserved bits of a doorbell", func(d *driver, _ *pair) { d.put(rDoorbells+8, 4, 1<<16|1) }},
		{"while CSTS.RDY is 0", func(d *driver, _ *pair) { d.stop(); d.put(rDoorbells, 4, 1) }},
		{"AQA is written while CC.EN is 1", func(d *driver, _ *pair) { d.put(rAQA, 4, 0x1f001f) }},
		{"reserved bits of CC", func(d *driver, _ *pair) { d.put(rCC, 4, ccEnable|1<<30) }},
		{"is changed while CC.EN is 1", func(d *driver, _ *pair) { d.put(rCC, 4, ccEnable|1<<7) }},
		{"write of a read-only property", func(d *driver, _ *pair) { d.put(rCAP, 4, 1) }},
		{"write of the reserved property at 0x200", func(d *driver, _ *pair) { d.put(0x200, 4, 1) }},
		{"read of the reserved property at 0x200", func(d *driver, _ *pair) {
			if v := d.get(0x200, 4); v != 0 {
				d.t.Errorf("a reserved property reads %#x", v)
			}
		}},
		{"aligned double or quad words", func(d *driver, _ *pair) { d.get(rCSTS+1, 1) }},
		{"INTMS is accessed while MSI-X", func(d *driver, _ *pair) { d.put(rINTMS, 4, 1) }},
		{"PRP entry 1 is 0x600002", func(d *driver, p *pair) { c := rw(2, 0, 1); c.prp1 = 0x600002; p.do(c) }},
		{"PRP entry 2 is", func(d *driver, p *pair) { c := rw(2, 0, 16); c.prp1, c.prp2 = 0x600000, 0x601010; p.do(c) }},
		{"is used while another command with it", func(d *driver, p *pair) {
			d.q[0].submit(sqe{op: 0xc, cid: 77})
			if r := d.q[0].do(sqe{op: 6, prp1: 0x600000, dw: [6]uint32{1}, cid: 77}); r.code != 3 {
				d.t.Errorf("status %#x", r.code)
			}
		}},
		{"completion queue 1 is deleted before its 1 submission queues", func(d *driver, p *pair) { d.q[0].do(sqe{op: 4, dw: [6]uint32{1}}) }},
		{"admin queue of fewer than 2 entries", func(d *driver, p *pair) { d.stop(); d.put(rAQA, 4, 0); d.put(rCC, 4, ccEnable) }},
		{"I/O command 0x33 is not supported", func(d *driver, p *pair) { p.do(rw(0x33, 0, 1)) }},
		{"for namespace 0x8, which is not attached", func(d *driver, p *pair) { c := rw(2, 0, 1); c.nsid = 8; p.do(c) }},
		{"whose other command is not next to it", func(d *driver, p *pair) { c := rw(5, 0, 1); c.fuse = 1; p.do(c) }},
		{"is overrun", func(d *driver, p *pair) {
			d.dev.Pause()
			d.put(rDoorbells+8, 4, uint64(p.tail+30)%64)
			d.put(rDoorbells+8, 4, uint64(p.tail+10)%64)
			d.stop()
			d.dev.Resume()
		}},
	} {
		t.Run(c.want, func(t *testing.T) {
			d := newDriver(t, nvme.Options{})
			p := d.boot()
			w := d.watch()
			c.do(d, p)
			if !w.Has("violation", c.want) {
				t.Errorf("not reported; there is:\n%s", w.Log())
			}
		})
	}
}

// TestCleanDriver does nothing wrong, and nothing is reported.
func TestCleanDriver(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	w := d.watch()
	p := d.boot()
	d.identify(1, 0, 0)
	p.write(0, pattern(4096, 1), 512)
	p.read(0, 8, 512)
	d.admin(sqe{op: 0, dw: [6]uint32{1}})
	d.admin(sqe{op: 4, dw: [6]uint32{1}})
	d.put(rCC, 4, ccEnable|1<<14)
	d.waitStatus(0xc, 8)
	d.stop()
	if w.Has("violation") {
		t.Error(w.Log())
	}
}

// TestFaults applies each effect to a read of block 100.
func TestFaults(t *testing.T) {
	const seed = 12345
	content := make([]byte, 4096)
	setup := func(t *testing.T, e devices.Effect) (*driver, *pair, *devtest.Recorder, sqe) {
		d := newDriver(t, nvme.Options{})
		p := d.boot()
		copy(content, p.read(100, 8, 512))
		w := d.watch()
		w.DisturbBy(func(c *devices.Command) devices.Effect {
			if c.Name == "Read" && c.LBA == 100 {
				return e
			}
			return devices.Effect{}
		})
		return d, p, w, d.transfer(2, 100, 8, d.alloc(4096), 4096)
	}
	// begun waits until the read submitted last has been dealt with, as far as it goes.
	begun := func(t *testing.T, d *driver, w *devtest.Recorder) {
		t.Helper()
		for end := time.Now().Add(patience); !w.Has("command Read", "lba=100+"); runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatal("the read is not begun")
			}
		}
		w.Forget()
		d.dev.Pause()
		d.dev.Resume()
	}
	quiet := func(t *testing.T, p *pair, w *devtest.Recorder, cid uint16) {
		t.Helper()
		begun(t, p.d, w)
		p.ok(sqe{op: 0, nsid: 1})
		for _, c := range p.stash {
			if c.cid == cid {
				t.Error("completed")
			}
		}
	}
	t.Run("fail", func(t *testing.T) {
		_, p, _, c := setup(t, devices.Effect{Fail: true, Status: 0x281})
		p.fails(c, 0x281)
	})
	t.Run("fail in general", func(t *testing.T) {
		_, p, _, c := setup(t, devices.Effect{Fail: true})
		p.fails(c, 0x06)
	})
	t.Run("delay", func(t *testing.T) {
		d, p, w, c := setup(t, devices.Effect{Delay: 1e6})
		cid := p.submit(c)
		quiet(t, p, w, cid)
		d.clock.Advance(999_999)
		p.ok(sqe{op: 0, nsid: 1})
		if len(p.stash) != 0 {
			t.Error("completed before its time")
		}
		d.clock.Advance(1)
		if r := p.wait(cid); r.status != 0 || !bytes.Equal(d.bytes(c.prp1, 4096), content) {
			t.Errorf("status %#x", r.status)
		}
	})
	t.Run("delay and fail, aborted", func(t *testing.T) {
		d, p, w, c := setup(t, devices.Effect{Delay: 1e6, Fail: true, Status: 0x280})
		cid := p.submit(c)
		quiet(t, p, w, cid)
		d.clock.Advance(1e6)
		if r := p.wait(cid); r.code != 0x280 {
			t.Errorf("status %#x", r.code)
		}
		cid = p.submit(c)
		quiet(t, p, w, cid)
		if r := d.admin(sqe{op: 8, dw: [6]uint32{1 | uint32(cid)<<16}}); r.dw0 != 0 {
			t.Error("not aborted")
		}
		if r := p.wait(cid); r.code != 7 {
			t.Errorf("status %#x", r.code)
		}
	})
	t.Run("hang", func(t *testing.T) {
		d, p, w, c := setup(t, devices.Effect{Hang: true})
		cid := p.submit(c)
		quiet(t, p, w, cid)
		if r := d.admin(sqe{op: 8, dw: [6]uint32{1 | uint32(cid)<<16}}); r.dw0 != 1 {
			t.Error("aborted")
		}
		d.stop()
		w.DisturbBy(nil)
		d.boot().ok(c)
	})
	t.Run("drop", func(t *testing.T) {
		d, p, w, c := setup(t, devices.Effect{Drop: true})
		quiet(t, p, w, p.submit(c))
		if !bytes.Equal(d.bytes(c.prp1, 4096), content) {
			t.Error("not executed")
		}
	})
	t.Run("duplicate", func(t *testing.T) {
		_, p, _, c := setup(t, devices.Effect{Duplicate: true})
		cid := p.submit(c)
		p.wait(cid)
		p.wait(cid)
	})
	t.Run("hold", func(t *testing.T) {
		d, p, w, c := setup(t, devices.Effect{Hold: 2})
		cid := p.submit(c)
		begun(t, d, w)
		p.ok(sqe{op: 0, nsid: 1})
		if len(p.stash) != 0 {
			t.Error("posted after one other completion")
		}
		p.ok(sqe{op: 0, nsid: 1})
		p.wait(cid)
	})
	t.Run("lost interrupt", func(t *testing.T) {
		d, p, _, c := setup(t, devices.Effect{LoseInterrupt: true})
		before := d.messages(1)
		p.submit(c)
		for ok := false; !ok; {
			_, ok = p.poll()
		}
		p.ack()
		d.dev.Pause()
		d.dev.Resume()
		if d.messages(1) != before {
			t.Error("interrupt")
		}
	})
	t.Run("extra interrupt", func(t *testing.T) {
		d, p, _, c := setup(t, devices.Effect{ExtraInterrupt: true})
		before := d.messages(1)
		p.ok(c)
		for end := time.Now().Add(patience); d.messages(1) < before+2; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d interrupts", d.messages(1)-before)
			}
		}
	})
	t.Run("short", func(t *testing.T) {
		d, p, _, c := setup(t, devices.Effect{ShortOn: true, Short: 1000})
		clear(d.bytes(c.prp1, 4096))
		p.fails(c, 0x04)
		if g := d.bytes(c.prp1, 4096); !bytes.Equal(g[:1000], content[:1000]) || bytes.Count(g[1000:], []byte{0}) != 3096 {
			t.Error("not the first 1000 bytes")
		}
	})
	t.Run("flip data", func(t *testing.T) {
		flips := func() (n int) {
			d, p, _, c := setup(t, devices.Effect{FlipData: 3, Seed: seed})
			p.ok(c)
			for i, b := range d.bytes(c.prp1, 4096) {
				for x := b ^ content[i]; x != 0; x &= x - 1 {
					n += 1 + i*8
				}
			}
			return n
		}
		if a, b := flips(), flips(); a == 0 || a != b {
			t.Errorf("flipped bits differ between two runs with one seed: %d, %d", a, b)
		}
	})
	t.Run("flip table", func(t *testing.T) {
		d, p, _, c := setup(t, devices.Effect{FlipTable: 1 << 39})
		p.fails(c, 0x04) // bit 39 leads outside of memory
		c = d.transfer(2, 100, 64, d.alloc(32<<10), 32<<10)
		p.fails(c, 0x04)
		list := le.Uint64(d.bytes(c.prp2, 8))
		if list>>39 != 0 {
			t.Error("the guest's table changed")
		}
	})
}

// TestReserved looks at the bits that drivers are to write as 0, and at what drivers of Linux write.
func TestReserved(t *testing.T) {
	for _, x := range []struct {
		off       uint64
		bad, good uint64
		clause    string
		writeOnly bool
	}{
		{rCSTS, 1 << 7, 1 << 4, "3.1.3.6", false}, {rASQ, 1 << 11, 0x123456000, "3.1.3.9", false}, {rACQ, 1, 0xffff_ffff_f000, "3.1.3.10", false},
		{0x50, 1 << 2, 0x1_0000_0003, "3.1.3.16", false}, {rDoorbells + 8, 0, 0xffff, "3.1.2", true}, {rDoorbells + 12, 0, 0xffff, "3.1.2", true},
	} {
		r, _, ok := nvme.Bank().Find(x.off)
		if !ok || r.Reserved&x.bad != x.bad || r.Reserved&x.good != 0 || !strings.HasSuffix(r.Clause, ", "+x.clause) || (r.Rights == devices.WO) != x.writeOnly {
			t.Errorf("%v at %#x: reserved %#x, clause %q, rights %v", r, x.off, r.Reserved, r.Clause, r.Rights)
		}
	}
}
