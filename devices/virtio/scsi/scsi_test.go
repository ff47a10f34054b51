package scsi

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/virtio/virtiotest"
)

// disk is a store in memory.
type disk struct {
	data    []byte
	ro      bool
	err     error
	flushes atomic.Int32
	zeroed  atomic.Int32
	freed   atomic.Int64
	closed  bool
}

func (d *disk) ReadAt(p []byte, off int64) (int, error)  { return copy(p, d.data[off:]), d.err }
func (d *disk) WriteAt(p []byte, off int64) (int, error) { return copy(d.data[off:], p), d.err }
func (d *disk) Close() error                             { d.closed = true; return nil }
func (d *disk) Size() int64                              { return int64(len(d.data)) }
func (d *disk) ReadOnly() bool                           { return d.ro }
func (d *disk) Flush() error                             { d.flushes.Add(1); return d.err }
func (d *disk) Discard(off, n int64) error               { d.freed.Add(n); clear(d.data[off : off+n]); return d.err }
func (d *disk) WriteZeroes(off, n int64, _ bool) error {
	d.zeroed.Add(1)
	clear(d.data[off : off+n])
	return d.err
}

// rig is a host with two disks, 0:0 and 3:1, and a driver.
type rig struct {
	*testing.T
	dev         *Device
	d           *virtiotest.Driver
	ctl, ev, rq *virtiotest.Queue
	rec         *devtest.Recorder
	clock       *devtest.Clock
	disks       [2]*disk
	id          uint64
	at          address
}

func check1(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, rec: &devtest.Recorder{}}
	for i := range r.disks {
		r.disks[i] = &disk{data: make([]byte, 1<<20)}
		for j := range r.disks[i].data {
			r.disks[i].data[j] = byte(j>>9 + i)
		}
	}
	r.connect()
	r.start()
	return r
}

func (r *rig) connect() {
	r.Helper()
	r.clock = devtest.NewClock(time.Unix(0, 0))
	dev, err := New(Options{Name: "virtio-scsi0", Clock: r.clock, Workers: 4})
	check1(r, err)
	check1(r, dev.Attach(0, 0, UnitOptions{Serial: "SERIAL-0"}, r.disks[0]))
	check1(r, dev.Attach(3, 1, UnitOptions{BlockSize: 4096}, r.disks[1]))
	r.dev = dev
	r.Cleanup(func() { _ = dev.Close() })
	dev.Function().Probe().Watch(^devices.Class(0), r.rec, r.rec)
	r.d = virtiotest.New(r, dev.Function(), true)
}

func (r *rig) start() {
	r.d.Start(featureHotplug | featureChange)
	r.ctl, r.ev, r.rq = r.d.Queue(queueControl, 16), r.d.Queue(queueEvent, 8), r.d.Queue(queueRequest, 64)
	r.d.Go()
}

// answer is what a request ends with.
type answer struct {
	resp     response
	status   byte
	sense    string // as 5/24/00
	residual uint32
	data     []byte
}

func (r *rig) header(cdb []byte) []byte {
	r.id++
	b := make([]byte, requestHeader+defaultCDB)
	b[0], b[1], b[2], b[3] = 1, r.at.target, 0x40, r.at.lun
	le.PutUint64(b[8:], r.id)
	copy(b[requestHeader:], cdb)
	return b
}

func (r *rig) parse(b virtiotest.Buffer) answer {
	p := bytes.Join(b.In, nil)
	a := answer{resp: response(p[11]), status: p[10], residual: le.Uint32(p[4:])}
	if n := le.Uint32(p); n != 0 {
		s := p[answerHeader:]
		a.sense = fmt.Sprintf("%X/%02X/%02X", s[2], s[12], s[13])
	}
	if b.Len > answerHeader+defaultSense {
		a.data = p[answerHeader+defaultSense : b.Len]
	}
	return a
}

// do carries a command out with data for it and room for in bytes.
func (r *rig) do(cdb, out []byte, in int) answer {
	r.Helper()
	l := [][]byte{r.header(cdb)}
	if out != nil {
		l = append(l, out)
	}
	rooms := []int{answerHeader + defaultSense}
	if in > 0 {
		rooms = append(rooms, in)
	}
	return r.parse(r.rq.Do(l, rooms...))
}

// good is do for what must succeed.
func (r *rig) good(cdb, out []byte, in int) []byte {
	r.Helper()
	a := r.do(cdb, out, in)
	if a.resp != respOK || a.status != statusGood {
		r.Fatalf("% x: response %d, status %d, sense %s", cdb, a.resp, a.status, a.sense)
	}
	return a.data
}

// bad is do for what must end with sense data.
func (r *rig) bad(want string, cdb, out []byte, in int) {
	r.Helper()
	if a := r.do(cdb, out, in); a.resp != respOK || a.status != statusCheck || a.sense != want {
		r.Errorf("% x: response %d, status %d, sense %q, want %s", cdb, a.resp, a.status, a.sense, want)
	}
}

// ready takes the unit attention of the power-on.
func (r *rig) ready() {
	r.Helper()
	r.bad("6/29/00", []byte{opTestUnitReady, 0, 0, 0, 0, 0}, nil, 0)
	r.good([]byte{opTestUnitReady, 0, 0, 0, 0, 0}, nil, 0)
}

func cdb10(op byte, flags byte, lba uint32, n uint16) []byte {
	c := make([]byte, 10)
	c[0], c[1] = op, flags
	be.PutUint32(c[2:], lba)
	be.PutUint16(c[7:], n)
	return c
}

func cdb12(op byte, lba, n uint32) []byte {
	c := make([]byte, 12)
	c[0] = op
	be.PutUint32(c[2:], lba)
	be.PutUint32(c[6:], n)
	return c
}

func cdb16(op, flags byte, lba uint64, n uint32) []byte {
	c := make([]byte, 16)
	c[0], c[1] = op, flags
	be.PutUint64(c[2:], lba)
	be.PutUint32(c[10:], n)
	return c
}

func TestConfiguration(t *testing.T) {
	r := newRig(t)
	check1(t, configRegisters.Check())
	if id := r.d.Config(2, 2); id != 0x1048 {
		t.Errorf("device %#x", id)
	}
	for off, want := range map[uint64]uint64{0: 1, 16: 16, 20: 96, 24: 32, 32: maxLUN} {
		if v := r.d.DeviceConfig(off, 4); v != want {
			t.Errorf("config at %d: %d, want %d", off, v, want)
		}
	}
	r.d.MMIO.Write(r.d.Device+20, 4, 252)
	r.d.MMIO.Write(r.d.Device+24, 4, 8) // too small
	if a, b := r.d.DeviceConfig(20, 4), r.d.DeviceConfig(24, 4); a != 252 || b != 32 || !r.rec.Has("violation", "cdb_size") {
		t.Errorf("sense_size %d, cdb_size %d", a, b)
	}
	s := &disk{data: make([]byte, 4096)}
	for _, x := range []struct {
		target, lun int
		o           UnitOptions
		s           *disk
	}{
		{0, 0, UnitOptions{}, s}, {256, 0, UnitOptions{}, s}, {0, -1, UnitOptions{}, s}, {9, 0, UnitOptions{BlockSize: 1000}, s},
		{9, 0, UnitOptions{Serial: strings.Repeat("s", 21)}, s}, {9, 0, UnitOptions{BlockSize: 4096, PhysicalSize: 512}, s}, {9, 0, UnitOptions{}, &disk{}},
	} {
		if r.dev.Attach(x.target, x.lun, x.o, x.s) == nil {
			t.Errorf("%+v is accepted", x)
		}
	}
	if f := r.dev.Free(); f != 1 {
		t.Errorf("target %d is free", f)
	}
	for _, o := range []Options{{Queues: 65}, {QueueSize: 3}, {Workers: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestInquiry(t *testing.T) {
	r := newRig(t)
	p := r.good([]byte{opInquiry, 0, 0, 0, 96, 0}, nil, 96)
	if len(p) != 66 || p[0] != 0 || string(p[8:32]) != "DFEMU   DISK            " || p[4] != 61 || p[7] != 2 {
		t.Errorf("%d %q", len(p), p)
	}
	if p := r.good([]byte{opInquiry, 0, 0, 0, 5, 0}, nil, 96); len(p) != 5 {
		t.Errorf("%d bytes", len(p))
	}
	page := func(code byte) []byte {
		t.Helper()
		p := r.good([]byte{opInquiry, 1, code, 0, 255, 0}, nil, 255)
		if p[1] != code || int(be.Uint16(p[2:])) != len(p)-4 {
			t.Errorf("page %#x: % x", code, p)
		}
		return p
	}
	for _, code := range page(0)[4:] {
		page(code)
	}
	if s := string(page(0x80)[4:]); s != "SERIAL-0" {
		t.Errorf("serial %q", s)
	}
	if p := page(0x83); !bytes.Contains(p, []byte("DFEMU   SERIAL-0")) || p[len(p)-8]>>4 != 3 {
		t.Errorf("% x", p)
	}
	if p := page(0xb0); be.Uint32(p[20:]) != maxUnmapBlocks || len(p) != 64 {
		t.Errorf("% x", p)
	}
	if p := page(0xb2); p[5] != 0xe0 {
		t.Errorf("% x", p)
	}
	r.bad("5/24/00", []byte{opInquiry, 1, 0x99, 0, 255, 0}, nil, 255)
	r.bad("5/24/00", []byte{opInquiry, 0, 0x80, 0, 255, 0}, nil, 255)

	// No such unit, no such target.
	r.at = address{3, 0}
	if p := r.good([]byte{opInquiry, 0, 0, 0, 36, 0}, nil, 36); p[0] != 0x7f {
		t.Errorf("%#x", p[0])
	}
	r.bad("5/25/00", []byte{opTestUnitReady, 0, 0, 0, 0, 0}, nil, 0)
	luns := []byte{opReportLUNs, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0}
	if p := r.good(luns, nil, 255); be.Uint32(p) != 8 || p[9] != 1 {
		t.Errorf("% x", p)
	}
	r.at = address{9, 0}
	if a := r.do(luns, nil, 255); a.resp != respBadTarget {
		t.Errorf("%+v", a)
	}
	r.at = address{}
	if p := r.good(luns, nil, 255); be.Uint32(p) != 8 || p[9] != 0 {
		t.Errorf("% x", p)
	}
	luns[9] = 8
	r.bad("5/24/00", luns, nil, 255)
}

func TestCapacity(t *testing.T) {
	r := newRig(t)
	r.ready()
	p := r.good(cdb10(opReadCapacity10, 0, 0, 0), nil, 8)
	if be.Uint32(p) != 2047 || be.Uint32(p[4:]) != 512 {
		t.Errorf("% x", p)
	}
	p = r.good(cdb16(opServiceIn16, saReadCapacity16, 0, 32), nil, 32)
	if be.Uint64(p) != 2047 || p[13] != 3 || p[14] != 0x80 {
		t.Errorf("% x", p)
	}
	r.at = address{3, 1}
	r.ready()
	if p := r.good(cdb10(opReadCapacity10, 0, 0, 0), nil, 8); be.Uint32(p) != 255 || be.Uint32(p[4:]) != 4096 {
		t.Errorf("% x", p)
	}
	r.bad("5/20/00", []byte{0xff, 0, 0, 0, 0, 0}, nil, 0)
	r.bad("5/24/00", cdb16(opServiceIn16, 0x1f, 0, 32), nil, 32)
	r.bad("5/24/00", []byte{opTestUnitReady, 0, 0, 1, 0, 0}, nil, 0) // a reserved bit
	p = r.good([]byte{opMaintenanceIn, saReportOpcodes, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0}, nil, 4096)
	if int(be.Uint32(p))+4 != len(p) || len(p) != 4+8*len(ops()) {
		t.Errorf("%d bytes", len(p))
	}
	one := func(how, code, action byte) []byte {
		return r.good([]byte{opMaintenanceIn, saReportOpcodes, how, code, 0, action, 0, 0, 1, 0, 0, 0}, nil, 256)
	}
	if p := one(1, opWriteSame16, 0); p[1] != 3 || be.Uint16(p[2:]) != 16 || p[4] != opWriteSame16 {
		t.Errorf("% x", p)
	}
	if p := one(1, 0xee, 0); p[1] != 1 {
		t.Errorf("% x", p)
	}
	if p := one(2, opServiceIn16, saReadCapacity16); p[1] != 3 {
		t.Errorf("% x", p)
	}
	if p := one(0x83, opRead10, 0); p[1] != 0x83 || len(p) != 4+10+12 {
		t.Errorf("% x", p)
	}
	for _, bad := range [][]byte{{1, opServiceIn16}, {2, opRead10}, {4, opRead10}} {
		r.bad("5/24/00", []byte{opMaintenanceIn, saReportOpcodes, bad[0], bad[1], 0, 0, 0, 0, 1, 0, 0, 0}, nil, 256)
	}
}

// TestTransfer reads and writes with commands of all lengths.
func TestTransfer(t *testing.T) {
	r := newRig(t)
	r.ready()
	d := r.disks[0]
	for i, c := range []struct{ w, r []byte }{
		{[]byte{opWrite6, 0, 0, 5, 2, 0}, []byte{opRead6, 0, 0, 5, 2, 0}},
		{cdb10(opWrite10, 0, 50, 2), cdb10(opRead10, 0, 50, 2)},
		{cdb12(opWrite12, 60, 2), cdb12(opRead12, 60, 2)},
		{cdb16(opWrite16, 0, 70, 2), cdb16(opRead16, 0, 70, 2)},
	} {
		data := bytes.Repeat([]byte{byte(0x50 + i)}, 1024)
		r.good(c.w, data, 0)
		if p := r.good(c.r, nil, 1024); !bytes.Equal(p, data) {
			t.Errorf("%d: reads something else", i)
		}
		lba := []int{5, 50, 60, 70}[i]
		if !bytes.Equal(d.data[lba*512:lba*512+1024], data) || d.data[lba*512-1] != byte(lba-1) || d.data[lba*512+1024] != byte(lba+2) {
			t.Errorf("%d: the disk has something else", i)
		}
	}
	if p := r.good([]byte{opRead6, 0, 0, 0, 0, 0}, nil, 256*512); len(p) != 256*512 {
		t.Errorf("READ(6) of 0 blocks gives %d bytes", len(p))
	}
	if p := r.good(cdb10(opRead10, 0, 0, 0), nil, 0); len(p) != 0 {
		t.Errorf("READ(10) of 0 blocks gives %d bytes", len(p))
	}
	// Several pieces, more room than data, too little room.
	a := r.parse(r.rq.Do([][]byte{r.header(cdb10(opRead10, 0, 0, 2))}, answerHeader+defaultSense, 300, 700, 100))
	if a.residual != 76 || !bytes.Equal(a.data, d.data[:1024]) {
		t.Errorf("residual %d, %d bytes", a.residual, len(a.data))
	}
	if a := r.do(cdb10(opRead10, 0, 0, 2), nil, 1000); a.resp != respOverrun {
		t.Errorf("%+v", a)
	}
	if a := r.do(cdb10(opWrite10, 0, 0, 2), make([]byte, 1000), 0); a.resp != respOverrun {
		t.Errorf("%+v", a)
	}
	r.bad("5/21/00", cdb10(opRead10, 0, 2047, 2), nil, 1024)
	r.bad("5/21/00", cdb16(opWrite16, 0, ^uint64(0), 2), make([]byte, 1024), 0)
	before := d.flushes.Load()
	r.good(cdb10(opWrite10, bitFUA, 1, 1), make([]byte, 512), 0)
	r.good(cdb10(opSyncCache10, 0, 0, 0), nil, 0)
	r.good(cdb16(opSyncCache16, 2, 0, 0), nil, 0)
	if n := d.flushes.Load() - before; n != 3 {
		t.Errorf("%d flushes", n)
	}
	d.err = errors.New("broken")
	r.bad("3/11/00", cdb10(opRead10, 0, 0, 2), nil, 1024)
	r.bad("3/0C/00", cdb10(opWrite10, 0, 0, 2), make([]byte, 1024), 0)
	r.bad("3/0C/00", cdb10(opSyncCache10, 0, 0, 0), nil, 0)
	d.err, d.ro = nil, true
	r.bad("7/27/00", cdb10(opWrite10, 0, 0, 2), make([]byte, 1024), 0)
	if !r.rec.Has("command READ(10)", "queue=2", "target=0") || !r.rec.Has("completion WRITE(10)", "CHECK CONDITION 7/27/00") {
		t.Errorf("not traced:\n%s", r.rec.Log())
	}
}

func TestVerify(t *testing.T) {
	r := newRig(t)
	r.ready()
	same := bytes.Clone(r.disks[0].data[512:1536])
	for _, c := range [][]byte{cdb10(opVerify10, 0, 1, 2), cdb12(opVerify12, 1, 2), cdb16(opVerify16, 0, 1, 2)} {
		r.good(c, nil, 0)
		c[1] = 2
		r.good(c, same, 0)
		other := bytes.Clone(same)
		other[700]++
		r.bad("E/1D/00", c, other, 0)
		c[1] = 4
		r.bad("5/24/00", c, same, 0)
	}
}

func unmapList(ranges ...uint64) []byte {
	b := make([]byte, 8)
	for i := 0; i < len(ranges); i += 2 {
		b = be.AppendUint64(b, ranges[i])
		b = be.AppendUint32(b, uint32(ranges[i+1]))
		b = append(b, 0, 0, 0, 0)
	}
	be.PutUint16(b, uint16(len(b)-2))
	be.PutUint16(b[2:], uint16(len(b)-8))
	return b
}

func TestProvisioning(t *testing.T) {
	r := newRig(t)
	r.ready()
	d := r.disks[0]
	l := unmapList(10, 5, 100, 1)
	r.good(cdb10(opUnmap, 0, 0, uint16(len(l))), l, 0)
	if d.freed.Load() != 6*512 || d.data[10*512] != 0 || d.data[15*512] != 15 || d.data[100*512] != 0 {
		t.Errorf("%d bytes discarded", d.freed.Load())
	}
	for _, bad := range [][]uint64{{2047, 2}, {^uint64(0), 1}, {1, 1, 5000, 1}} {
		l := unmapList(bad...)
		r.bad("5/21/00", cdb10(opUnmap, 0, 0, uint16(len(l))), l, 0)
	}
	if d.freed.Load() != 6*512 {
		t.Error("part of a wrong list is carried out")
	}
	l = unmapList(0, maxUnmapBlocks+1)
	r.bad("5/26/00", cdb10(opUnmap, 0, 0, uint16(len(l))), l, 0)
	r.bad("5/1A/00", cdb10(opUnmap, 0, 0, 4), l, 0)
	r.good(cdb10(opUnmap, 0, 0, 0), nil, 0)
	le.PutUint16(l[2:], 0xffff)
	r.bad("5/26/00", cdb10(opUnmap, 0, 0, uint16(len(l))), l, 0)
	l = unmapList(20, 1, 5000, 1)
	be.PutUint16(l[2:], 16+12) // the last descriptor is not complete, and ignored
	r.good(cdb10(opUnmap, 0, 0, uint16(len(l))), l, 0)
	if d.freed.Load() != 7*512 || d.data[20*512] != 0 {
		t.Errorf("%d bytes discarded, and the byte there is %d", d.freed.Load(), d.data[20*512])
	}

	zero, pattern := make([]byte, 512), bytes.Repeat([]byte{7}, 512)
	r.good(cdb16(opWriteSame16, bitUnmap, 20, 4), zero, 0)
	r.good(cdb16(opWriteSame16, bitUnmap|1, 30, 4), nil, 0)
	r.good(cdb10(opWriteSame10, 0, 40, 4), zero, 0)
	if d.zeroed.Load() != 3 || d.data[20*512] != 0 || d.data[33*512] != 0 || d.data[34*512] != 34 {
		t.Errorf("%d times zeroed", d.zeroed.Load())
	}
	r.good(cdb10(opWriteSame10, 0, 200, 1000), pattern, 0)
	if !bytes.Equal(d.data[200*512:1200*512], bytes.Repeat([]byte{7}, 1000*512)) || d.data[1200*512] != byte(1200&0xff) {
		t.Error("the pattern is not there")
	}
	r.bad("5/24/00", cdb10(opWriteSame10, 0, 0, 0), zero, 0)
	r.bad("5/24/00", cdb16(opWriteSame16, 1, 0, 1), nil, 0)
	r.bad("5/24/00", cdb16(opWriteSame16, bitAnchor, 0, 1), zero, 0)
}

func TestModes(t *testing.T) {
	r := newRig(t)
	r.ready()
	p := r.good([]byte{opModeSense6, 0, 0x3f, 0, 255, 0}, nil, 255)
	if len(p) != 4+8+20+12 || int(p[0]) != len(p)-1 || p[2] != 0x10 || p[12] != pageCaching || p[14] != bitWCE {
		t.Errorf("% x", p)
	}
	p = r.good(cdb10(opModeSense10, 8, 0x08<<24, 255), nil, 255)
	if len(p) != 8+20 || p[10] != bitWCE {
		t.Errorf("% x", p)
	}
	// Write through, and back.
	for i, wce := range []byte{0, bitWCE} {
		list := append(make([]byte, 4), make([]byte, 20)...)
		list[4], list[5], list[6] = pageCaching, 18, wce
		r.good([]byte{opModeSelect6, 0x10, 0, 0, byte(len(list)), 0}, list, 0)
		before := r.disks[0].flushes.Load()
		r.good(cdb10(opWrite10, 0, 1, 1), make([]byte, 512), 0)
		if n := r.disks[0].flushes.Load() - before; int(n) != 1-i {
			t.Errorf("WCE %d: %d flushes", wce, n)
		}
	}
	bad := append(make([]byte, 8), make([]byte, 20)...)
	bad[8], bad[9], bad[11] = pageCaching, 18, 1
	r.bad("5/26/00", cdb10(opModeSelect10, 0x10, 0, uint16(len(bad))), bad, 0)
	r.bad("5/1A/00", cdb10(opModeSelect10, 0x10, 0, 20), bad, 0)
	r.bad("5/24/00", cdb10(opModeSelect10, 0x11, 0, uint16(len(bad))), bad, 0)
	r.bad("5/39/00", []byte{opModeSense6, 0, 0xff, 0, 255, 0}, nil, 255)
	r.bad("5/24/00", []byte{opModeSense6, 0, 0x01, 0, 255, 0}, nil, 255)
	r.bad("5/24/00", []byte{opModeSense6, 0, 0x08, 5, 255, 0}, nil, 255)

	r.good([]byte{opStartStop, 0, 0, 0, 0, 0}, nil, 0)
	r.bad("2/04/02", cdb10(opRead10, 0, 0, 1), nil, 512)
	if p := r.good([]byte{opRequestSense, 0, 0, 0, 18, 0}, nil, 18); p[2] != keyNotReady {
		t.Errorf("% x", p)
	}
	r.good([]byte{opStartStop, 0, 0, 0, 1, 0}, nil, 0)
	r.good(cdb10(opRead10, 0, 0, 1), nil, 512)
	r.bad("5/24/00", []byte{opStartStop, 0, 0, 0, 2, 0}, nil, 0) // eject
}

// tmf sends a task management function.
func (r *rig) tmf(kind uint32, id uint64) response {
	r.Helper()
	b := make([]byte, tmfSize)
	le.PutUint32(b[4:], kind)
	b[8], b[9], b[10], b[11] = 1, r.at.target, 0x40, r.at.lun
	le.PutUint64(b[16:], id)
	return response(r.ctl.Do([][]byte{b}, 1).In[0][0])
}

func TestTaskManagement(t *testing.T) {
	r := newRig(t)
	r.ready()
	pending := func(e devices.Effect) uint64 {
		t.Helper()
		r.rec.Disturb("READ(10)", e)
		r.rq.Add([][]byte{r.header(cdb10(opRead10, 0, 0, 1))}, answerHeader+defaultSense, 512)
		r.rq.Kick()
		for waiting := false; !waiting; runtime.Gosched() {
			r.dev.mu.Lock()
			for x := range r.dev.tasks {
				waiting = waiting || x.id == r.id && x.req.Waiting()
			}
			r.dev.mu.Unlock()
		}
		return r.id
	}
	ended := func(want response) {
		t.Helper()
		if a := r.parse(r.rq.Wait(1)[0]); a.resp != want {
			t.Errorf("response %d, want %d", a.resp, want)
		}
	}
	for _, e := range []devices.Effect{{Delay: 1000}, {Hang: true}} {
		id := pending(e)
		if x := r.tmf(tmfQueryTask, id); x != respDone {
			t.Errorf("query: %d", x)
		}
		if x := r.tmf(tmfAbortTask, id); x != respOK {
			t.Errorf("abort: %d", x)
		}
		ended(respAborted)
		if x := r.tmf(tmfQueryTask, id); x != respOK {
			t.Errorf("query: %d", x)
		}
	}
	pending(devices.Effect{Hang: true})
	if x := r.tmf(tmfQueryTaskSet, 0); x != respDone {
		t.Errorf("query: %d", x)
	}
	if x := r.tmf(tmfLUNReset, 0); x != respOK {
		t.Errorf("reset: %d", x)
	}
	ended(respReset)
	r.bad("6/29/03", []byte{opTestUnitReady, 0, 0, 0, 0, 0}, nil, 0)
	pending(devices.Effect{Delay: 1000})
	if x := r.tmf(tmfNexusReset, 0); x != respDone {
		t.Errorf("nexus: %d", x)
	}
	ended(respReset)
	pending(devices.Effect{Delay: 1000})
	r.tmf(tmfAbortTaskSet, 0)
	ended(respAborted)
	if r.tmf(tmfClearACA, 0) != respRejected || r.tmf(99, 0) != respRejected {
		t.Error("functions that do not exist succeed")
	}
	r.at = address{3, 7}
	if x := r.tmf(tmfAbortTask, 1); x != respWrongLUN {
		t.Errorf("%d", x)
	}
	r.at = address{77, 0}
	if x := r.tmf(tmfAbortTask, 1); x != respBadTarget {
		t.Errorf("%d", x)
	}
	// Asynchronous notifications: none exist.
	b := make([]byte, asyncSize)
	le.PutUint32(b, ctrlSubscribe)
	le.PutUint32(b[12:], 0xff)
	if got := r.ctl.Do([][]byte{b}, 5); got.Len != 5 || !bytes.Equal(got.In[0], make([]byte, 5)) {
		t.Errorf("%x", got.In[0])
	}
	for _, out := range [][]byte{{0, 0, 0, 0}, {9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		if got := r.ctl.Do([][]byte{out}, 5); got.Len != 0 {
			t.Errorf("%x is answered", out)
		}
	}
	if !r.rec.Has("command ABORT TASK") || !r.rec.Has("violation", "control request of type 9") {
		t.Error("not traced")
	}
}

func TestHotPlug(t *testing.T) {
	r := newRig(t)
	extra := &disk{data: make([]byte, 4096)}
	r.ev.Add(nil, eventSize)
	r.ev.Kick()
	check1(t, r.dev.Attach(5, 2, UnitOptions{}, extra))
	event := func(kind, reason uint32) {
		t.Helper()
		b := r.ev.Wait(1)[0]
		p := b.In[0]
		if b.Len != eventSize || le.Uint32(p) != kind || p[5] != 5 || p[7] != 2 || le.Uint32(p[12:]) != reason {
			t.Errorf("% x", p)
		}
		r.ev.Add(nil, eventSize)
		r.ev.Kick()
	}
	event(eventTransportReset, reasonRescan)
	r.at = address{5, 2}
	r.ready()
	extra.data = make([]byte, 8192)
	r.dev.Resized(5, 2)
	event(eventParamChange, 0x092a)
	r.bad("6/2A/09", []byte{opTestUnitReady, 0, 0, 0, 0, 0}, nil, 0)
	if p := r.good(cdb10(opReadCapacity10, 0, 0, 0), nil, 8); be.Uint32(p) != 15 {
		t.Errorf("% x", p)
	}
	check1(t, r.dev.Detach(5, 2))
	event(eventTransportReset, reasonRemoved)
	if a := r.do([]byte{opTestUnitReady, 0, 0, 0, 0, 0}, nil, 0); a.resp != respBadTarget || !extra.closed {
		t.Errorf("%+v", a)
	}
	if r.dev.Detach(5, 2) == nil || r.dev.Detach(5+256, 2) == nil {
		t.Error("a unit that is not there is removed")
	}
	// More events than can wait.
	r.ev.Wait(0)
	for range maxEvents + 10 {
		r.dev.Resized(0, 0)
	}
	for range maxEvents {
		r.ev.Wait(1)
		r.ev.Add(nil, eventSize)
		r.ev.Kick()
	}
}

func TestStrict(t *testing.T) {
	r := newRig(t)
	short := r.header([]byte{0})[:30]
	if b := r.rq.Do([][]byte{short}, answerHeader+defaultSense); b.Len != 0 {
		t.Errorf("%d bytes", b.Len)
	}
	h := r.header([]byte{0})
	h[0] = 2
	if a := r.parse(r.rq.Do([][]byte{h}, answerHeader+defaultSense)); a.resp != respBadTarget {
		t.Errorf("%+v", a)
	}
	r.rec.Disturb("TEST UNIT READY", devices.Effect{Hang: true})
	h = r.header([]byte{0})
	r.rq.Add([][]byte{h}, answerHeader+defaultSense)
	r.rq.Kick()
	for !r.rec.Has("command TEST UNIT READY") {
		runtime.Gosched()
	}
	r.rq.Do([][]byte{h}, answerHeader+defaultSense)
	for _, words := range [][]string{{"violation", "30 bytes"}, {"violation", "request under way"}} {
		if !r.rec.Has(words...) {
			t.Errorf("no report of %q in\n%s", words, r.rec.Log())
		}
	}
}

// TestBothDirections has data for a command, and room for some.
func TestBothDirections(t *testing.T) {
	r := newRig(t)
	r.ready()
	before := bytes.Clone(r.disks[0].data)
	if a := r.do(cdb10(opWrite10, 0, 3, 1), make([]byte, 512), 512); a.resp != respFailure {
		t.Errorf("%+v", a)
	}
	if !bytes.Equal(r.disks[0].data, before) || !r.rec.Has("violation virtio 1.2, 5.6.6.1.1: 512 bytes of data and room for 512") {
		t.Error("it is carried out, or not reported")
	}
}

func TestFaults(t *testing.T) {
	r := newRig(t)
	r.ready()
	read := cdb10(opRead10, 0, 3, 2)
	r.rec.Disturb("READ(10)", devices.Effect{Fail: true})
	r.bad("3/11/00", read, nil, 1024)
	r.rec.Disturb("WRITE(10)", devices.Effect{Fail: true})
	r.bad("3/0C/00", cdb10(opWrite10, 0, 3, 2), make([]byte, 1024), 0)
	r.rec.Disturb("READ(10)", devices.Effect{Fail: true, Status: 0x44401})
	r.bad("4/44/01", read, nil, 1024)
	r.rec.Disturb("READ(10)", devices.Effect{ShortOn: true, Short: 600})
	if a := r.do(read, nil, 1024); a.residual != 512 || len(a.data) != 512 {
		t.Errorf("residual %d, %d bytes", a.residual, len(a.data))
	}
	r.rec.Disturb("READ(10)", devices.Effect{FlipData: 1, Seed: 5})
	if a := r.do(read, nil, 1024); bytes.Equal(a.data, r.disks[0].data[3*512:5*512]) || len(a.data) != 1024 {
		t.Error("no bit is flipped")
	}
	// As many bits as there are, in two pieces: all are inverted, each once.
	r.rec.Disturb("READ(10)", devices.Effect{FlipData: 8 * 1024})
	a := r.parse(r.rq.Do([][]byte{r.header(read)}, answerHeader+defaultSense, 100, 924))
	for i, b := range a.data {
		if b != ^r.disks[0].data[3*512+i] {
			t.Fatalf("byte %d is %#x, not inverted", i, b)
		}
	}
	r.rec.Disturb("WRITE(10)", devices.Effect{FlipData: 1, Seed: 5})
	r.good(cdb10(opWrite10, 0, 3, 1), make([]byte, 512), 0)
	if bytes.Equal(r.disks[0].data[3*512:4*512], make([]byte, 512)) {
		t.Error("no bit is flipped")
	}
	r.rec.Disturb("READ(10)", devices.Effect{LoseInterrupt: true})
	r.rq.Add([][]byte{r.header(read)}, answerHeader+defaultSense, 1024)
	before := r.d.Interrupts(queueRequest)
	r.rq.Kick()
	for !r.rec.Has("completion READ(10)", "GOOD") || r.rq.Free() == 0 {
		runtime.Gosched()
	}
	for {
		if _, ok := r.rq.Take(); ok {
			break
		}
		runtime.Gosched()
	}
	if n := r.d.Interrupts(queueRequest); n != before {
		t.Errorf("%d interrupts more", n-before)
	}
}

// TestSave moves the guest with a request under way.
func TestSave(t *testing.T) {
	r := newRig(t)
	r.ready()
	list := append(make([]byte, 4), make([]byte, 20)...)
	list[4], list[5] = pageCaching, 18
	r.good([]byte{opModeSelect6, 0x10, 0, 0, byte(len(list)), 0}, list, 0)
	r.rec.Disturb("READ(10)", devices.Effect{Delay: 1000})
	r.rq.Add([][]byte{r.header(cdb10(opRead10, 0, 1, 1))}, answerHeader+defaultSense, 512)
	r.rq.Kick()
	for r.clock.Armed() == 0 {
		runtime.Gosched()
	}
	r.dev.Pause()
	if a := r.parse(r.rq.Wait(1)[0]); a.resp != respOK {
		t.Errorf("pausing does not end a delay: %+v", a)
	}
	r.dev.Resized(0, 0) // an event without a buffer
	r.rq.Add([][]byte{r.header(cdb10(opRead10, 0, 2, 1))}, answerHeader+defaultSense, 512)
	r.rq.Publish()
	r.ev.Add(nil, eventSize)
	r.ev.Publish()
	state := r.move(func([]byte) {})
	if a := r.parse(r.rq.Wait(1)[0]); a.sense != "6/2A/09" {
		t.Errorf("%+v", a)
	}
	if b := r.ev.Wait(1)[0]; le.Uint32(b.In[0]) != eventParamChange {
		t.Errorf("% x", b.In[0])
	}
	before := r.disks[0].flushes.Load()
	r.good(cdb10(opWrite10, 0, 1, 1), make([]byte, 512), 0)
	if r.disks[0].flushes.Load() == before {
		t.Error("the write cache is on again")
	}
	r.dev.Pause()
	for _, bad := range [][]byte{nil, state[:30], bytes.Replace(state, []byte(`"Target":3`), []byte(`"Target":4`), 1), bytes.Replace(state, []byte(`"CDBSize":32`), []byte(`"CDBSize":10`), 1)} {
		if r.dev.RestoreState(bad) == nil {
			t.Errorf("%.60q is accepted", bad)
		}
	}
	r.dev.Resume()
}

// move saves the device, which is paused, and goes on with another one that has its state and memory. before sees the other
// one before it is given the state.
func (r *rig) move(before func(state []byte)) []byte {
	r.Helper()
	state, err := r.dev.SaveState()
	check1(r, err)
	ram, ctl, ev, rq := bytes.Clone(r.d.RAM.Data), r.ctl, r.ev, r.rq
	r.connect()
	copy(r.d.RAM.Data, ram)
	r.dev.Pause()
	before(state)
	check1(r, r.dev.RestoreState(state))
	for _, q := range []*virtiotest.Queue{ctl, ev, rq} {
		q.Move(r.d)
	}
	r.ctl, r.ev, r.rq = ctl, ev, rq
	r.dev.Resume()
	return state
}

func TestCloseLeavesNothing(t *testing.T) {
	ended := devtest.Goroutines(t)
	r := newRig(t)
	r.ready()
	r.rec.Disturb("READ(10)", devices.Effect{Hang: true})
	r.rq.Add([][]byte{r.header(cdb10(opRead10, 0, 0, 1))}, answerHeader+defaultSense, 512)
	r.rq.Kick()
	check1(t, r.dev.Close())
	ended()
	if !r.disks[0].closed || !r.disks[1].closed {
		t.Error("a store is open")
	}
}

// FuzzCommands sends CDBs with data of any kind.
func FuzzCommands(f *testing.F) {
	for i := range ops() {
		o := &ops()[i]
		c := make([]byte, 32)
		c[0], c[1] = o.code, o.action
		if o.action == noAction {
			c[1] = 0
		}
		c[8] = 16
		f.Add(c, unmapList(1, 2), uint16(512), byte(0))
		f.Add(o.usage, bytes.Repeat([]byte{0xff}, 600), uint16(30), byte(3))
	}
	f.Fuzz(func(t *testing.T, cdb, data []byte, room uint16, target byte) {
		d := &disk{data: make([]byte, 64<<10)}
		dev, err := New(Options{Workers: 1})
		check1(t, err)
		check1(t, dev.Attach(0, 0, UnitOptions{}, d))
		drv := virtiotest.New(t, dev.Function(), true)
		drv.Start(0)
		ctl, rq := drv.Queue(queueControl, 8), drv.Queue(queueRequest, 8)
		drv.Go()
		r := &rig{T: t, at: address{target & 3, 0}}
		if len(data) > 64<<10 {
			data = data[:64<<10]
		}
		for range 2 {
			head := r.header(cdb)
			out, in := [][]byte{head, data}, []int{answerHeader + defaultSense, int(room)}
			if c := parse(ops(), head[requestHeader:]); target&4 == 0 && c.op != nil {
				// Not in both directions at once, which no command has.
				if c.dir == dirOut {
					in = in[:1]
				} else {
					out = out[:1]
				}
			}
			b := rq.Do(out, in...)
			if b.Len < answerHeader+defaultSense || b.Len > answerHeader+defaultSense+uint32(room) {
				t.Fatalf("%d bytes", b.Len)
			}
			a := r.parse(b)
			if a.status == statusCheck != (a.sense != "") {
				t.Errorf("%+v", a)
			}
			rq.Do([][]byte{r.header([]byte{opTestUnitReady, 0, 0, 0, 0, 0})}, answerHeader+defaultSense)
		}
		rq.Do([][]byte{cdb, data}, int(room))
		ctl.Do([][]byte{append([]byte{0, 0, 0, 0}, data...)}, 5)
		ctl.Do([][]byte{cdb}, 5)
		check1(t, dev.Close())
	})
}

func BenchmarkRead(b *testing.B) {
	dev, err := New(Options{})
	check1(b, err)
	defer dev.Close()
	check1(b, dev.Attach(0, 0, UnitOptions{}, &disk{data: make([]byte, 1<<20)}))
	d := virtiotest.New(b, dev.Function(), true)
	d.Start(0)
	rq := d.Queue(queueRequest, 64)
	d.Go()
	r := &rig{}
	h := r.header(cdb10(opRead10, 0, 8, 8))
	b.SetBytes(4096)
	for b.Loop() {
		rq.Do([][]byte{h}, answerHeader+defaultSense, 4096)
	}
}
