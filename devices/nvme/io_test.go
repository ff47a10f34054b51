package nvme_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"dfemu/devices"
	"dfemu/devices/nvme"
)

// shapes are the ways to describe n bytes; each returns a command's data pointer
// and where the bytes are, in order.
var shapes = []struct {
	name string
	make func(d *driver, n int, write bool) (psdt uint8, dp1, dp2 uint64, at []uint64)
}{
	{"prp", func(d *driver, n int, _ bool) (uint8, uint64, uint64, []uint64) {
		a := d.alloc(n)
		p1, p2 := d.prps(a, n)
		return 0, p1, p2, span(a, n)
	}},
	{"prp offset", func(d *driver, n int, _ bool) (uint8, uint64, uint64, []uint64) {
		a := d.alloc(n+pageSize) + 0x204
		p1, p2 := d.prps(a, n)
		return 0, p1, p2, span(a, n)
	}},
	{"prp scattered", func(d *driver, n int, _ bool) (uint8, uint64, uint64, []uint64) {
		var pages []uint64
		for i := 0; i < n; i += pageSize {
			pages = append(pages, d.alloc(pageSize))
			d.alloc(pageSize)
		}
		at := make([]uint64, 0, n)
		for i := range n {
			at = append(at, pages[i/pageSize]+uint64(i%pageSize))
		}
		switch len(pages) {
		case 1:
			return 0, pages[0], 0, at
		case 2:
			return 0, pages[0], pages[1], at
		}
		// The list begins four entries before the end of a page, and goes on elsewhere.
		list := d.alloc(pageSize) + pageSize - 32
		first := list
		rest := pages[1:]
		for len(rest) > 0 {
			room := int(pageSize-list%pageSize) / 8
			for i := range room {
				if i == room-1 && len(rest) > 1 {
					next := d.alloc(pageSize) + pageSize - 64
					le.PutUint64(d.bytes(list+uint64(8*i), 8), next)
					list = next
					break
				}
				le.PutUint64(d.bytes(list+uint64(8*i), 8), rest[0])
				if rest = rest[1:]; len(rest) == 0 {
					break
				}
			}
		}
		return 0, pages[0], first, at
	}},
	{"sgl", func(d *driver, n int, _ bool) (uint8, uint64, uint64, []uint64) {
		a := d.alloc(n+pageSize) + 3
		return 1, a, uint64(n), span(a, n)
	}},
	{"sgl segments", func(d *driver, n int, write bool) (uint8, uint64, uint64, []uint64) {
		// Pieces of odd sizes, three descriptors in a segment.
		var at []uint64
		type desc struct {
			a uint64
			n int
		}
		var l []desc
		for left := n; left > 0; {
			k := min(left, 777+len(l)*100)
			a := d.alloc(k+64) + uint64(len(l)%7)
			l = append(l, desc{a, k})
			at = append(at, span(a, k)...)
			left -= k
		}
		l = append(l, desc{0, 0}) // an empty descriptor is allowed
		var dp1, dp2 uint64
		link := func(a uint64, k int, kind uint64) { dp1, dp2 = a, uint64(k)|kind<<60 }
		for len(l) > 0 {
			k := min(3, len(l))
			more := len(l) > k
			size := k * 16
			if more {
				size += 16
			}
			seg := d.alloc(size)
			kind := uint64(3)
			if more {
				kind = 2
			}
			link(seg, size, kind)
			for i := range k {
				le.PutUint64(d.bytes(seg+uint64(16*i), 8), l[i].a)
				le.PutUint64(d.bytes(seg+uint64(16*i)+8, 8), uint64(l[i].n))
			}
			l = l[k:]
			if more {
				next := seg + uint64(16*k)
				link = func(a uint64, k int, kind uint64) {
					le.PutUint64(d.bytes(next, 8), a)
					le.PutUint64(d.bytes(next+8, 8), uint64(k)|kind<<60)
				}
			}
		}
		return 1, dp1, dp2, at
	}},
}

func span(a uint64, n int) []uint64 {
	l := make([]uint64, n)
	for i := range l {
		l[i] = a + uint64(i)
	}
	return l
}

func (d *driver) gather(at []uint64) []byte {
	b := make([]byte, len(at))
	for i, a := range at {
		b[i] = d.ram.Data[a]
	}
	return b
}

func (d *driver) scatter(at []uint64, p []byte) {
	for i, a := range at {
		d.ram.Data[a] = p[i]
	}
}

// TestTransfers writes, reads back and compares: block size × shape × length.
func TestTransfers(t *testing.T) {
	for _, bs := range []int{512, 4096} {
		d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{{Store: store(t, diskSize), BlockSize: bs}}}})
		p := d.boot()
		for _, s := range shapes {
			for _, n := range []int{bs, 2 * bs, 4096, 8192, 12288, 64 << 10, 260 << 10} {
				t.Run(fmt.Sprintf("%d/%s/%d", bs, s.name, n), func(t *testing.T) {
					d.t = t
					want := pattern(n, uint64(n))
					blocks := uint32(n / bs)
					cmd := func(op uint8) ([]uint64, sqe) {
						c := rw(op, 17, blocks)
						var at []uint64
						c.psdt, c.prp1, c.prp2, at = s.make(d, n, op != 2)
						return at, c
					}
					at, w := cmd(1)
					d.scatter(at, want)
					p.ok(w)
					at, r := cmd(2)
					d.scatter(at, make([]byte, n))
					p.ok(r)
					if !bytes.Equal(d.gather(at), want) {
						t.Fatal("read differs")
					}
					at, c := cmd(5)
					d.scatter(at, want)
					p.ok(c)
					want[n-1]++
					d.scatter(at, want)
					p.fails(c, 0x285)
				})
			}
		}
	}
}

func TestBitBucket(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	want := pattern(4096, 5)
	p.write(0, want, 512)
	seg, a := d.alloc(64), d.alloc(4096)
	put := func(i int, addr, n, kind uint64) {
		le.PutUint64(d.bytes(seg+uint64(16*i), 8), addr)
		le.PutUint64(d.bytes(seg+uint64(16*i)+8, 8), n|kind<<60)
	}
	put(0, 0, 1000, 1)
	put(1, a, 3000, 0)
	put(2, 0, 96, 1)
	c := rw(2, 0, 8)
	c.psdt, c.prp1, c.prp2 = 1, seg, 48|3<<60
	p.ok(c)
	if !bytes.Equal(d.bytes(a, 3000), want[1000:4000]) {
		t.Error("read around a bit bucket differs")
	}
}

// TestBadPointers tries data pointers that are wrong.
func TestBadPointers(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	a := d.alloc(64 << 10)
	list := d.alloc(4096)
	entry := func(i int, v uint64) uint64 { le.PutUint64(d.bytes(list+uint64(8*i), 8), v); return list }
	for i := range 512 {
		entry(i, a+uint64(i%16)*4096)
	}
	desc := func(addr, n, kind uint64) uint64 {
		s := d.alloc(16)
		le.PutUint64(d.bytes(s, 8), addr)
		le.PutUint64(d.bytes(s+8, 8), n|kind<<56)
		return s
	}
	bad := d.alloc(4096)
	le.PutUint64(d.bytes(bad, 8), a)
	le.PutUint64(d.bytes(bad+8, 8), a+8)
	knot := d.alloc(4096) + 4096 - 8
	le.PutUint64(d.bytes(knot, 8), knot)
	for _, c := range []struct {
		name   string
		psdt   uint8
		p1, p2 uint64
		n      int
		code   uint16
	}{
		{"prp1 not a multiple of 4", 0, a + 2, 0, 512, 0x13},
		{"prp2 with an offset", 0, a, a + 4096 + 512, 8192, 0x13},
		{"list not a multiple of 8", 0, a, list + 4, 16384, 0x13},
		{"list entry with an offset", 0, a, bad, 16384, 0x13},
		{"list that leads to itself", 0, a, knot, 16384, 0x13},
		{"prp1 outside memory", 0, 1 << 40, 0, 512, 0x04},
		{"prp2 outside memory", 0, a, 1 << 40, 8192, 0x04},
		{"list outside memory", 0, a, 1 << 40, 16384, 0x04},
		{"reserved psdt", 3, a, 0, 512, 0x02},
		{"sgl too short", 1, a, 511, 512, 0x0f},
		{"sgl type", 1, a, 512 | 4<<60, 512, 0x11},
		{"sgl subtype", 1, a, 512 | 1<<56, 512, 0x11},
		{"sgl outside memory", 1, 1 << 40, 512, 512, 0x04},
		{"segment length 0", 1, a, 0 | 3<<60, 512, 0x0d},
		{"segment length 8", 1, a, 8 | 3<<60, 512, 0x0d},
		{"segment outside memory", 1, 1 << 40, 16 | 3<<60, 512, 0x04},
		{"segment without end", 1, desc(a, 512, 0), 16 | 2<<60, 512, 0x0d},
		{"pointer in the last segment", 1, desc(a, 16, 0x20), 16 | 3<<60, 512, 0x0d},
		{"segments too short", 1, desc(a, 256, 0), 16 | 3<<60, 512, 0x0f},
		{"descriptor type in a segment", 1, desc(a, 512, 0x50), 16 | 3<<60, 512, 0x11},
		{"too many descriptors", 1, a, 1<<20 | 3<<60, 512, 0x0e},
		{"sgl around the end of the address space", 1, ^uint64(0) - 100, 512, 512, 0x04},
		{"prp at the end of the address space", 0, ^uint64(0) - 3, 0, 512, 0x04},
	} {
		for _, op := range []uint8{1, 2, 5} {
			x := rw(op, 0, uint32(c.n/512))
			x.psdt, x.prp1, x.prp2 = c.psdt, c.p1, c.p2
			if r := p.do(x); r.code != c.code {
				t.Errorf("%s, opcode %d: status %#x, want %#x", c.name, op, r.code, c.code)
			}
		}
	}
	loop := d.alloc(16)
	le.PutUint64(d.bytes(loop, 8), loop)
	le.PutUint64(d.bytes(loop+8, 8), 16|2<<60)
	x := rw(1, 0, 1)
	x.psdt, x.prp1, x.prp2 = 1, loop, 16|2<<60
	p.fails(x, 0x0e)
}

// TestRanges tries blocks outside of the namespace, namespaces that are not there
// and commands that do not exist.
func TestRanges(t *testing.T) {
	d := newDriver(t, nvme.Options{MaxTransfer: 64 << 10})
	p := d.boot()
	last := uint64(diskSize / 512)
	a := d.alloc(128 << 10)
	for _, op := range []uint8{1, 2, 4, 5, 8, 12} {
		for _, c := range []struct {
			slba uint64
			n    uint32
			code uint16
		}{{last - 8, 8, 0}, {last - 7, 8, 0x80}, {last, 1, 0x80}, {^uint64(0), 1, 0x80}, {^uint64(0) - 6, 8, 0x80}} {
			x := rw(op, c.slba, c.n)
			x.prp1 = a
			if op == 5 && c.code == 0 || op == 2 && c.code == 0 || op == 12 && c.code == 0 {
				continue // the blocks may be marked bad by opcode 4
			}
			p.fails(x, c.code)
		}
		x := rw(op, 0, 1)
		x.prp1 = a
		for nsid, code := range map[uint32]uint16{0: 0x0b, 2: 0x02, 257: 0x0b, 0xffffffff: 0x0b, 0xfffffffe: 0x0b} {
			x.nsid = nsid
			p.fails(x, code)
		}
	}
	big := d.transfer(2, 0, 256, a, 128<<10)
	p.fails(big, 0x02)
	for _, op := range []uint8{3, 0x10, 0x79, 0x7a, 0x7d, 0x80, 0xff} {
		p.fails(rw(op, 0, 1), 0x01)
	}
	p.fails(sqe{op: 9, nsid: 1, prp1: a, dw: [6]uint32{0, 0, 0}, fuse: 3}, 0x02)
}

func TestWriteUncorrectable(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	a := d.alloc(4096)
	p.ok(rw(4, 10, 4))
	read := func(slba uint64, n uint32) sqe { c := rw(2, slba, n); c.prp1 = a; return c }
	p.ok(read(2, 8))
	p.fails(read(3, 8), 0x281)
	p.fails(read(13, 1), 0x281)
	p.fails(rw(12, 11, 1), 0x281)
	p.ok(read(14, 1))
	w := rw(1, 11, 1)
	w.prp1 = a
	p.ok(w)
	p.ok(read(11, 1))
	p.fails(read(10, 1), 0x281)
	p.ok(rw(8, 8, 8))
	p.ok(read(8, 8))
	if log := d.logPage(2, 0xffffffff, 512); le.Uint64(log[160:]) == 0 {
		t.Error("SMART counts no media errors")
	}
}

func TestZeroesAndDeallocate(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	want := pattern(16<<10, 3)
	p.write(0, want, 512)
	p.ok(rw(8, 4, 4))
	clear(want[4*512 : 8*512])
	c := rw(8, 16, 8)
	c.dw[2] |= 1 << 25
	p.ok(c)
	clear(want[16*512 : 24*512])
	a := d.alloc(4096)
	b := d.bytes(a, 4096)
	le.PutUint32(b[4:], 2)
	le.PutUint64(b[8:], 1)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], 30)
	p.ok(sqe{op: 9, nsid: 1, prp1: a, dw: [6]uint32{1, 4}})
	clear(want[512 : 3*512]) // the memory store gives zeroes
	clear(want[30*512 : 31*512])
	if !bytes.Equal(p.read(0, 32, 512), want) {
		t.Error("content differs")
	}
	le.PutUint64(b[24:], diskSize/512)
	p.fails(sqe{op: 9, nsid: 1, prp1: a, dw: [6]uint32{1, 4}}, 0x80)
	p.ok(sqe{op: 9, nsid: 1, prp1: a, dw: [6]uint32{1, 3}}) // hints only
}

func TestCopy(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	want := pattern(64*512, 4)
	p.write(0, want, 512)
	a := d.alloc(4096)
	src := func(i int, slba uint64, n int) {
		b := d.bytes(a+uint64(32*i), 32)
		clear(b)
		le.PutUint64(b[8:], slba)
		le.PutUint16(b[16:], uint16(n-1))
	}
	src(0, 5, 10)
	src(1, 40, 3)
	c := sqe{op: 0x19, nsid: 1, prp1: a, dw: [6]uint32{1000, 0, 1}}
	p.ok(c)
	got := p.read(1000, 13, 512)
	if !bytes.Equal(got, append(append([]byte{}, want[5*512:15*512]...), want[40*512:43*512]...)) {
		t.Error("copy differs")
	}
	c.dw[0] = 42
	p.fails(c, 0x114)
	c.dw[0] = diskSize/512 - 12
	p.fails(c, 0x80)
	c.dw[2] = 1 | 1<<8
	p.fails(c, 0x02)
	c.dw[2] = 200
	p.fails(c, 0x183)
	src(1, diskSize/512-2, 3)
	c = sqe{op: 0x19, nsid: 1, prp1: a, dw: [6]uint32{1000, 0, 1}}
	p.fails(c, 0x80)
}

// TestFused is Compare and Write as one.
func TestFused(t *testing.T) {
	d := newDriver(t, nvme.Options{})
	p := d.boot()
	old, now := pattern(1024, 1), pattern(1024, 2)
	p.write(8, old, 512)
	a, b := d.alloc(1024), d.alloc(1024)
	copy(d.bytes(b, 1024), now)
	try := func(expect []byte, n uint32) (uint16, uint16) {
		copy(d.bytes(a, 1024), expect)
		x, y := rw(5, 8, 2), rw(1, 8, n)
		x.prp1, y.prp1, x.fuse, y.fuse = a, b, 1, 2
		c1 := p.add(x)
		c2 := p.add(y)
		p.ring()
		return p.wait(c1).code, p.wait(c2).code
	}
	if c1, c2 := try(now, 2); c1 != 0x285 || c2 != 9 {
		t.Errorf("compare that fails: %#x, %#x", c1, c2)
	}
	if !bytes.Equal(p.read(8, 2, 512), old) {
		t.Error("written in spite of the comparison")
	}
	if c1, c2 := try(old, 1); c1 != 2 || c2 != 9 {
		t.Errorf("different lengths: %#x, %#x", c1, c2)
	}
	if c1, c2 := try(old, 2); c1 != 0 || c2 != 0 {
		t.Errorf("compare and write: %#x, %#x", c1, c2)
	}
	if !bytes.Equal(p.read(8, 2, 512), now) {
		t.Error("not written")
	}
	x := rw(5, 8, 2)
	x.prp1, x.fuse = b, 1
	p.fails(x, 0x0a)
	x = rw(1, 8, 2)
	x.prp1, x.fuse = b, 2
	p.fails(x, 0x0a)
	p.ok(rw(0, 0, 1)) // Flush
}

// failing is a store whose operations fail while its flag is set.
type failing struct {
	devices.Block
	fail    atomic.Bool
	flushes atomic.Int64
}

var errBroken = errors.New("broken")

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.fail.Load() {
		return 0, errBroken
	}
	return f.Block.ReadAt(p, off)
}

func (f *failing) WriteAt(p []byte, off int64) (int, error) {
	if f.fail.Load() {
		return 0, errBroken
	}
	return f.Block.WriteAt(p, off)
}

func (f *failing) WriteZeroes(off, n int64, unmap bool) error {
	if f.fail.Load() {
		return errBroken
	}
	return f.Block.WriteZeroes(off, n, unmap)
}

func (f *failing) Flush() error {
	f.flushes.Add(1)
	if f.fail.Load() {
		return errBroken
	}
	return f.Block.Flush()
}

// TestStoreErrors is each command on a store that fails, and on one piece of
// memory or several.
func TestStoreErrors(t *testing.T) {
	s := &failing{Block: store(t, diskSize)}
	d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{{Store: s}}}})
	p := d.boot()
	a := d.alloc(64 << 10)
	s.fail.Store(true)
	for _, c := range []struct {
		op   uint8
		code uint16
	}{{0, 0x280}, {1, 0x280}, {2, 0x281}, {5, 0x281}, {8, 0x280}, {12, 0x281}, {0x19, 0x281}} {
		x := d.transfer(c.op, 0, 32, a, 16<<10)
		if c.op == 0x19 {
			x = sqe{op: 0x19, nsid: 1, prp1: a, dw: [6]uint32{100}}
			clear(d.bytes(a, 32))
		}
		p.fails(x, c.code)
	}
	log := d.logPage(1, 0, 64*64)
	if le.Uint64(log) < 7 || le.Uint16(log[12:])>>1&0x7ff != 0x281 || le.Uint32(log[24:]) != 1 {
		t.Errorf("error log begins with % x", log[:32])
	}
	s.fail.Store(false)
	p.ok(d.transfer(1, 0, 32, a, 16<<10))
}

// TestDurability checks when the store is flushed: Flush, FUA, write cache off.
func TestDurability(t *testing.T) {
	s := &failing{Block: store(t, diskSize)}
	d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{{Store: s}}}})
	p := d.boot()
	a := d.alloc(4096)
	w := rw(1, 0, 8)
	w.prp1 = a
	count := func(what string, want int64, c sqe) {
		t.Helper()
		before := s.flushes.Load()
		p.ok(c)
		if n := s.flushes.Load() - before; n != want {
			t.Errorf("%s: %d flushes, want %d", what, n, want)
		}
	}
	count("write", 0, w)
	fua := w
	fua.dw[2] |= 1 << 30
	count("write with FUA", 1, fua)
	count("flush", 1, sqe{op: 0, nsid: 1})
	count("flush of all", 1, sqe{op: 0, nsid: 0xffffffff})
	d.admin(sqe{op: 9, dw: [6]uint32{6, 0}})
	count("write without cache", 1, w)
	d.admin(sqe{op: 9, dw: [6]uint32{6, 1}})
	count("write with cache", 0, w)
}

func TestReadOnly(t *testing.T) {
	d := newDriver(t, nvme.Options{Sub: nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{{Store: readOnly{store(t, diskSize)}}}}})
	p := d.boot()
	for _, op := range []uint8{1, 4, 8} {
		x := rw(op, 0, 1)
		x.prp1 = d.alloc(512)
		p.fails(x, 0x20)
	}
	p.read(0, 1, 512)
	if d.identify(0, 0, 1)[99] != 1 {
		t.Error("NSATTR does not say write protected")
	}
	d.q[0].fails(sqe{op: 0x80, nsid: 1}, 0x20)
}

type readOnly struct{ devices.Block }

func (readOnly) ReadOnly() bool { return true }
