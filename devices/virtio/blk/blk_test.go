package blk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/devtest"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/blk"
	"dfemu/devices/virtio/virtiotest"
)

const diskSize = 1 << 20

// store is a disk in memory that counts and can be made to fail or to wait.
type store struct {
	devices.Block
	mu       sync.Mutex
	flushes  int
	discards [][2]int64
	fail     error
	gate     chan struct{}
	grown    int64
	closed   bool
}

func (s *store) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes++
	return s.fail
}

func (s *store) ReadAt(p []byte, off int64) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	if s.fail != nil {
		return 0, s.fail
	}
	return s.Block.ReadAt(p, off)
}

func (s *store) Discard(off, n int64) error {
	s.mu.Lock()
	s.discards = append(s.discards, [2]int64{off, n})
	s.mu.Unlock()
	return s.Block.Discard(off, n)
}

func (s *store) Size() int64 {
	if s.grown != 0 {
		return s.grown
	}
	return s.Block.Size()
}

func (s *store) Close() error { s.closed = true; return nil }

func newStore(t testing.TB, ro bool) *store {
	t.Helper()
	data := make([]byte, diskSize)
	for i := range data {
		data[i] = byte(i>>9) ^ byte(i)
	}
	m, err := block.NewMemory(data, ro)
	if err != nil {
		t.Fatal(err)
	}
	return &store{Block: m}
}

// disk is a device with its driver.
type disk struct {
	*virtiotest.Driver
	dev *blk.Device
	s   *store
	q   []*virtiotest.Queue
}

const (
	featureRO          = 1 << 5
	featureFlush       = 1 << 9
	featureWCE         = 1 << 11
	featureMQ          = 1 << 12
	featureDiscard     = 1 << 13
	featureWriteZeroes = 1 << 14
)

func newDisk(t testing.TB, s *store, o blk.Options, features uint64) *disk {
	t.Helper()
	o.Name = "virtio-blk0"
	dev, err := blk.New(o, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	d := &disk{Driver: virtiotest.New(t, dev.Function(), true), dev: dev, s: s}
	d.Start(features)
	for i := range max(o.Queues, 1) {
		d.q = append(d.q, d.Queue(i, 32))
	}
	d.Go()
	return d
}

func header(kind uint32, sector uint64) []byte {
	b := make([]byte, 16)
	binary.LittleEndian.PutUint32(b, kind)
	binary.LittleEndian.PutUint64(b[8:], sector)
	return b
}

// do sends a request and returns what was read and the status.
func (d *disk) do(kind uint32, sector uint64, out []byte, in ...int) (data []byte, status byte, n uint32) {
	d.T.Helper()
	l := [][]byte{header(kind, sector)}
	if out != nil {
		l = append(l, out)
	}
	b := d.q[0].Do(l, append(in, 1)...)
	all := bytes.Join(b.In, nil)
	return all[:len(all)-1], all[len(all)-1], b.Len
}

func TestReadWrite(t *testing.T) {
	for name, f := range map[string]uint64{
		"split": 0, "indirect": virtiotest.Indirect | virtiotest.EventIdx, "packed": virtiotest.Packed | virtiotest.EventIdx | virtiotest.Indirect,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, newStore(t, false), blk.Options{Packed: true}, f|featureFlush)
			want := bytes.Repeat([]byte("0123456789abcdef"), 3*512/16)
			if _, st, n := d.do(1, 10, want); st != 0 || n != 1 {
				t.Fatalf("write: status %d, %d bytes", st, n)
			}
			got, st, n := d.do(0, 10, nil, 512, 24, 1000)
			if st != 0 || n != 1537 || !bytes.Equal(got, want) {
				t.Fatalf("read: status %d, %d bytes, equal %v", st, n, bytes.Equal(got, want))
			}
			// Scattered writes, with the header in pieces too.
			h := header(1, 20)
			b := d.q[0].Do([][]byte{h[:3], h[3:], want[:100], want[100:512]}, 1)
			if b.In[0][0] != 0 {
				t.Fatalf("scattered write: status %d", b.In[0][0])
			}
			if got, _, _ := d.do(0, 20, nil, 512); !bytes.Equal(got, want[:512]) {
				t.Error("scattered write stored something else")
			}
			if got, _, _ := d.do(0, diskSize/512-1, nil, 512); got[1] != 1^byte((diskSize/512-1)&0xff) {
				t.Error("last sector reads wrong")
			}
		})
	}
}

func TestErrors(t *testing.T) {
	d := newDisk(t, newStore(t, false), blk.Options{}, featureFlush|featureDiscard|featureWriteZeroes)
	last := uint64(diskSize / 512)
	seg := func(sector uint64, n, flags uint32) []byte {
		b := make([]byte, 16)
		binary.LittleEndian.PutUint64(b, sector)
		binary.LittleEndian.PutUint32(b[8:], n)
		binary.LittleEndian.PutUint32(b[12:], flags)
		return b
	}
	for _, c := range []struct {
		name   string
		kind   uint32
		sector uint64
		out    []byte
		in     []int
		want   byte
	}{
		{"read past the end", 0, last, nil, []int{512}, 1},
		{"read across the end", 0, last - 1, nil, []int{1024}, 1},
		{"read at a wrapping sector", 0, ^uint64(0), nil, []int{512}, 1},
		{"read at 2^55", 0, 1 << 55, nil, []int{512}, 1},
		{"read half a sector", 0, 0, nil, []int{256}, 1},
		{"write past the end", 1, last, make([]byte, 512), nil, 1},
		{"write half a sector", 1, 0, make([]byte, 100), nil, 1},
		{"empty read", 0, 0, nil, nil, 0},
		{"unknown", 99, 0, nil, nil, 2},
		{"SCSI", 2, 0, nil, nil, 2},
		{"discard outside", 11, 0, seg(last, 1, 0), nil, 1},
		{"discard with flag", 11, 0, seg(0, 1, 1), nil, 2},
		{"discard of half a range", 11, 0, make([]byte, 8), nil, 1},
		{"discard of nothing", 11, 0, nil, nil, 1},
		{"zeroes, unknown flag", 13, 0, seg(0, 1, 2), nil, 2},
		{"zeroes, too many", 13, 0, seg(0, 1<<31, 0), nil, 1},
	} {
		if _, st, _ := d.do(c.kind, c.sector, c.out, c.in...); st != c.want {
			t.Errorf("%s: status %d, want %d", c.name, st, c.want)
		}
	}
	// Buffers that are not RAM are an error of the request, if its status can
	// be stored.
	h := d.Alloc(16)
	copy(d.Bytes(h, 16), header(0, 0))
	st := d.Alloc(1)
	for _, addr := range []uint64{1 << 45, virtiotest.RAMSize - 256} {
		d.q[0].AddDescs([]virtiotest.Desc{{Addr: h, Len: 16}, {Addr: addr, Len: 512, Write: true}, {Addr: st, Len: 1, Write: true}})
		d.Bytes(st, 1)[0] = 0xee
		d.q[0].Publish()
		d.q[0].Notify()
		for _, ok := d.q[0].TakeRaw(); !ok; _, ok = d.q[0].TakeRaw() {
			d.WaitInterrupt(0)
		}
		if got := d.Bytes(st, 1)[0]; got != 1 {
			t.Errorf("buffer at %#x: status %d", addr, got)
		}
	}
	d.s.fail = errors.New("broken disk")
	if _, st, n := d.do(0, 0, nil, 512); st != 1 || n != 1 {
		t.Errorf("failing disk: status %d, %d bytes", st, n)
	}
	if _, st, _ := d.do(4, 0, nil); st != 1 {
		t.Errorf("failing flush: status %d", st)
	}
}

func TestMalformed(t *testing.T) {
	for name, add := range map[string]func(q *virtiotest.Queue){
		"no status":    func(q *virtiotest.Queue) { q.Add([][]byte{header(0, 0)}) },
		"short header": func(q *virtiotest.Queue) { q.Add([][]byte{header(0, 0)[:15]}, 513) },
		"no header":    func(q *virtiotest.Queue) { q.Add(nil, 513) },
	} {
		d := newDisk(t, newStore(t, false), blk.Options{}, 0)
		add(d.q[0])
		d.q[0].Kick()
		d.WaitInterrupt(1)
		if d.Get(virtiotest.Status, 1)&virtio.StatusNeedsReset == 0 {
			t.Errorf("%s: NEEDS_RESET is not set", name)
		}
	}
}

func TestConfig(t *testing.T) {
	s := newStore(t, false)
	d := newDisk(t, s, blk.Options{Serial: "S12345", Queues: 3, BlockSize: 512, PhysicalSize: 4096}, featureMQ|featureWCE|featureFlush)
	for _, c := range []struct {
		name string
		off  uint64
		size int
		want uint64
	}{
		{"capacity", 0, 8, diskSize / 512},
		{"capacity, high half", 4, 4, 0},
		{"seg_max", 0xc, 4, 254},
		{"blk_size", 0x14, 4, 512},
		{"physical_block_exp", 0x18, 1, 3},
		{"min_io_size", 0x1a, 2, 8},
		{"writeback", 0x20, 1, 1},
		{"num_queues", 0x22, 2, 3},
		{"max_discard_seg", 0x28, 4, 32},
	} {
		if got := d.DeviceConfig(c.off, c.size); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
	if id, st, n := d.do(8, 0, nil, 20); st != 0 || n != 21 || string(id) != "S12345"+string(make([]byte, 14)) {
		t.Errorf("GET_ID: status %d, %d bytes, %q", st, n, id)
	}
	if id, st, _ := d.do(8, 0, nil, 4); st != 0 || string(id) != "S123" {
		t.Errorf("short GET_ID: %d %q", st, id)
	}
	// Each queue works and interrupts with its own vector.
	for i, q := range d.q {
		if b := q.Do([][]byte{header(0, 1)}, 512, 1); b.In[1][0] != 0 {
			t.Errorf("queue %d: status %d", i, b.In[1][0])
		}
	}
	// Write-through: each write is flushed.
	d.MMIO.Write(d.Device+0x20, 1, 0)
	before := s.flushes
	d.do(1, 0, make([]byte, 512))
	if s.flushes != before+1 || d.DeviceConfig(0x20, 1) != 0 {
		t.Error("write-through does not flush")
	}
	d.MMIO.Write(d.Device+0x20, 1, 1)
	d.do(1, 0, make([]byte, 512))
	if s.flushes != before+1 {
		t.Error("write-back flushes")
	}
	d.do(4, 0, nil)
	if s.flushes != before+2 {
		t.Error("flush does not flush")
	}
	s.grown = 2 * diskSize
	d.dev.Resized()
	d.WaitInterrupt(3)
	if got := d.DeviceConfig(0, 8); got != 2*diskSize/512 {
		t.Errorf("capacity after resize: %d", got)
	}
}

func TestWithoutFlush(t *testing.T) {
	s := newStore(t, false)
	d := newDisk(t, s, blk.Options{}, 0)
	d.do(1, 0, make([]byte, 512))
	if s.flushes != 1 {
		t.Error("a driver without flush gets no durable writes")
	}
}

func TestReadOnly(t *testing.T) {
	d := newDisk(t, newStore(t, true), blk.Options{}, featureRO)
	if d.Offered()&featureRO == 0 || d.Offered()&(featureDiscard|featureWriteZeroes) != 0 {
		t.Errorf("features %#x", d.Offered())
	}
	if _, st, _ := d.do(1, 0, make([]byte, 512)); st != 1 {
		t.Errorf("write: status %d", st)
	}
	if _, st, _ := d.do(13, 0, make([]byte, 16)); st != 1 {
		t.Errorf("write zeroes: status %d", st)
	}
	if got, st, _ := d.do(0, 3, nil, 512); st != 0 || got[0] != 3 {
		t.Errorf("read: status %d", st)
	}
}

func TestDiscardAndZeroes(t *testing.T) {
	s := newStore(t, false)
	d := newDisk(t, s, blk.Options{}, featureDiscard|featureWriteZeroes|featureFlush)
	b := make([]byte, 32)
	binary.LittleEndian.PutUint64(b[0:], 4)
	binary.LittleEndian.PutUint32(b[8:], 2)
	binary.LittleEndian.PutUint64(b[16:], 9)
	binary.LittleEndian.PutUint32(b[24:], 1)
	if _, st, _ := d.do(13, 0, b); st != 0 {
		t.Fatalf("write zeroes: status %d", st)
	}
	got, _, _ := d.do(0, 3, nil, 512*8)
	for i := range 8 {
		zero := bytes.Equal(got[i*512:(i+1)*512], make([]byte, 512))
		if want := i == 1 || i == 2 || i == 6; zero != want {
			t.Errorf("sector %d: zero is %v", 3+i, zero)
		}
	}
	if _, st, _ := d.do(11, 0, b[:16]); st != 0 || len(s.discards) != 1 || s.discards[0] != [2]int64{4 * 512, 2 * 512} {
		t.Errorf("discard: status %d, %v", st, s.discards)
	}
}

// TestConcurrency checks that a slow read holds nothing else up: a flush
// overtakes reads that wait, and the notification returns at once.
func TestConcurrency(t *testing.T) {
	s := newStore(t, false)
	s.gate = make(chan struct{})
	d := newDisk(t, s, blk.Options{Workers: 4}, featureFlush)
	q := d.q[0]
	for range 3 {
		q.Add([][]byte{header(0, 0)}, 512, 1)
		q.Kick()
	}
	flush := q.Add([][]byte{header(4, 0)}, 1)
	q.Kick()
	if b := q.Wait(1)[0]; b.ID != flush {
		t.Errorf("buffer %d came back first", b.ID)
	}
	close(s.gate)
	q.Wait(3)
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newStore(t, false)
	d := newDisk(t, s, blk.Options{Queues: 4}, featureMQ)
	for i := range 4 {
		for range 8 {
			d.q[i].Add([][]byte{header(0, 0)}, 512, 1)
		}
		d.q[i].Kick()
	}
	d.dev.Close() // with requests in flight
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines before, %d after", before, n)
	}
	if !s.closed {
		t.Error("store not closed")
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]blk.Options{
		"serial":     {Serial: "123456789012345678901"},
		"queues":     {Queues: 1000},
		"queue size": {QueueSize: 100},
		"block size": {BlockSize: 1000},
		"physical":   {PhysicalSize: 256},
		"workers":    {Workers: -1},
	} {
		if _, err := blk.New(o, newStore(t, false)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzRequests sends requests made of random bytes: the device must answer each
// or ask for a reset, and stay within the disk.
func FuzzRequests(f *testing.F) {
	devtest.HostileMemory(f)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, uint16(513), uint64(0))
	f.Add(append(header(1, 5), make([]byte, 512)...), uint16(1), uint64(virtiotest.Indirect))
	f.Add(append(header(11, 0), make([]byte, 16)...), uint16(1), uint64(virtiotest.Packed))
	f.Add(append(header(13, 0), bytes.Repeat([]byte{1}, 32)...), uint16(1), uint64(virtiotest.Packed|virtiotest.EventIdx))
	f.Add(header(8, 0), uint16(21), uint64(0))
	f.Add([]byte{}, uint16(0), uint64(0))
	f.Fuzz(func(t *testing.T, out []byte, in uint16, features uint64) {
		features &= virtiotest.Indirect | virtiotest.EventIdx | virtiotest.Packed
		d := newDisk(t, newStore(t, false), blk.Options{Packed: true}, features|featureFlush)
		var l [][]byte
		r := rand.New(rand.NewPCG(uint64(len(out)), uint64(in)))
		for b := out; len(b) > 0 && len(l) < 8; {
			n := min(len(b), 1+r.IntN(600))
			l = append(l, b[:n])
			b = b[n:]
		}
		var sizes []int
		for n := int(in); n > 0 && len(sizes) < 8; {
			k := min(n, 1+r.IntN(600))
			sizes = append(sizes, k)
			n -= k
		}
		if len(l)+len(sizes) == 0 {
			return
		}
		q := d.q[0]
		q.Add(l, sizes...)
		q.Kick()
		for {
			if b, ok := q.Take(); ok {
				if all := bytes.Join(b.In, nil); len(all) == 0 || all[len(all)-1] > 2 {
					t.Fatalf("status of %d bytes", len(all))
				}
				return
			}
			if d.Get(virtiotest.Status, 1)&virtio.StatusNeedsReset != 0 {
				return
			}
			runtime.Gosched()
		}
	})
}
