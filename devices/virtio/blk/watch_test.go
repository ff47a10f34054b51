package blk_test

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/blk"
	"dfemu/devices/virtio/virtiotest"
)

const (
	every = devices.ClassRegister | devices.ClassCommand | devices.ClassInterrupt | devices.ClassDMA | devices.ClassStrict | devices.ClassState

	kindIn, kindOut, kindFlush, kindID, kindDiscard, kindZeroes = 0, 1, 4, 8, 11, 13
)

// watched is a disk with an audience and a clock.
func watched(t *testing.T, features uint64, effect func(*devices.Command) devices.Effect) (*disk, *devtest.Recorder, *devtest.Clock) {
	t.Helper()
	clock := devtest.NewClock(time.Time{})
	d := newDisk(t, newStore(t, false), blk.Options{Clock: clock, Workers: 1, Packed: true, Serial: "0123456789"}, features|featureFlush|featureDiscard|featureWriteZeroes)
	a := disturbed(effect)
	d.dev.Function().Probe().Watch(every, a, a)
	return d, a, clock
}

// disturbed records events and does to commands what f says, if it is not nil.
func disturbed(f func(*devices.Command) devices.Effect) *devtest.Recorder {
	r := &devtest.Recorder{}
	r.DisturbBy(f)
	return r
}

func always(e devices.Effect) func(*devices.Command) devices.Effect {
	return func(*devices.Command) devices.Effect { return e }
}

// once applies an effect to the first command only.
func once(e devices.Effect) func(*devices.Command) devices.Effect {
	done := false
	return func(*devices.Command) devices.Effect {
		if done {
			return devices.Effect{}
		}
		done = true
		return e
	}
}

func formats(t *testing.T, f func(t *testing.T, features uint64)) {
	for name, features := range map[string]uint64{"split": 0, "event": virtiotest.EventIdx, "packed": virtiotest.Packed | virtiotest.Indirect} {
		t.Run(name, func(t *testing.T) { f(t, features) })
	}
}

func TestTrace(t *testing.T) {
	d, a, _ := watched(t, 0, nil)
	d.do(kindOut, 6, make([]byte, 1024))
	d.do(kindZeroes, 0, ranges(9, 2, 20, 4))
	d.DeviceConfig(0x14, 4)
	d.Get(virtiotest.Status, 1)
	got := strings.Join(a.Lines(), "\n")
	for _, want := range []string{
		"register queue_notify[0] write=true value=0x0 ", "command OUT queue=0 bytes=1024 type=1 sector=6 descriptors=3", "dma header bytes=16 write=false", "dma data bytes=1024 write=false",
		"dma status bytes=1 write=true", "completion OUT code=0 OK", "interrupt 0", "command WRITE_ZEROES queue=0 bytes=32 type=13 sector=0 descriptors=3 range0.sector=9",
		"register blk_size write=false value=0x200 ", "register device_status write=false value=0xf ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if l := a.Violations(); len(l) != 0 {
		t.Errorf("violations %q", l)
	}
	d.Put(virtiotest.Status, 1, 0)
	d.Get(virtiotest.Status, 1)
	d.Start(featureFlush)
	d.Queue(0, 8)
	d.Go()
	got = strings.Join(a.Lines(), "\n")
	for _, want := range []string{"state features 0x100000200: FLUSH VERSION_1", "state queue 0: enabled with 8 descriptors", "state driver is ready"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestBlocks checks which blocks a request is said to touch: those that rules for faults match.
func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		kind       uint32
		sector     uint64
		out        []byte
		in         []int
		lba, count uint64
	}{
		{kindIn, 16, nil, []int{4096}, 2, 1},
		{kindIn, 15, nil, []int{1024}, 1, 2},
		{kindOut, 7, make([]byte, 512), nil, 0, 1},
		{kindZeroes, 0, ranges(32, 8, 9, 1), nil, 1, 4},
		{kindFlush, 0, nil, nil, 0, 0},
	} {
		var got devices.Command
		d := newDisk(t, newStore(t, false), blk.Options{BlockSize: 4096}, featureFlush|featureWriteZeroes)
		d.dev.Function().Probe().Watch(0, nil, disturbed(func(c *devices.Command) devices.Effect {
			got = *c
			return devices.Effect{}
		}))
		if _, st, _ := d.do(c.kind, c.sector, c.out, c.in...); st != 0 || got.LBA != c.lba || got.Blocks != c.count || got.Opcode != c.kind {
			t.Errorf("%+v: status %d, %d blocks from %d on", c, st, got.Blocks, got.LBA)
		}
	}
}

// ranges makes the data of a discard or write-zeroes request.
func ranges(l ...uint32) []byte {
	var b []byte
	for i := 0; i < len(l); i += 2 {
		b = binary.LittleEndian.AppendUint64(b, uint64(l[i]))
		b = binary.LittleEndian.AppendUint32(b, l[i+1])
		b = binary.LittleEndian.AppendUint32(b, 0)
	}
	return b
}

func TestFail(t *testing.T) {
	for _, c := range []struct {
		kind   uint32
		out    []byte
		in     []int
		status uint32
		want   byte
	}{
		{kindIn, nil, []int{512}, 0, 1},
		{kindIn, nil, []int{512}, 2, 2},
		{kindOut, make([]byte, 512), nil, 0, 1},
		{kindFlush, nil, nil, 7, 7},
		{kindID, nil, []int{20}, 0, 1},
		{kindDiscard, ranges(0, 1), nil, 0, 1},
		{kindZeroes, ranges(0, 1), nil, 0, 1},
	} {
		d, a, _ := watched(t, 0, always(devices.Effect{Fail: true, Status: c.status}))
		before := bytes.Clone(content(t, d))
		if _, st, _ := d.do(c.kind, 0, c.out, c.in...); st != c.want {
			t.Errorf("type %d: status %d, want %d", c.kind, st, c.want)
		}
		if d.s.flushes != 0 || !bytes.Equal(before, content(t, d)) {
			t.Errorf("type %d: it was carried out", c.kind)
		}
		if got := strings.Join(a.Lines(), "\n"); !strings.Contains(got, "completion") {
			t.Errorf("type %d: no completion reported", c.kind)
		}
	}
}

func content(t *testing.T, d *disk) []byte {
	t.Helper()
	b := make([]byte, diskSize)
	if _, err := d.s.Block.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWrongOnesAreNotDecided: what fails by itself is no fault's business.
func TestWrongOnesAreNotDecided(t *testing.T) {
	decided := 0
	d, _, _ := watched(t, 0, func(*devices.Command) devices.Effect { decided++; return devices.Effect{} })
	d.do(kindIn, diskSize, nil, 512)
	d.do(77, 0, nil)
	if decided != 0 {
		t.Error("asked about commands that are wrong")
	}
	if d.do(kindIn, 0, nil, 512); decided != 1 {
		t.Error("not asked about a good command")
	}
}

func TestDelay(t *testing.T) {
	formats(t, func(t *testing.T, features uint64) {
		d, _, clock := watched(t, features, once(devices.Effect{Delay: 5000}))
		q := d.q[0]
		late := q.Add([][]byte{header(kindOut, 3), bytes.Repeat([]byte{9}, 512)}, 1)
		q.Kick()
		// Another one overtakes it: with one worker, the first has been put off by then.
		if got, _, _ := d.do(kindIn, 3, nil, 512); got[0] == 9 {
			t.Error("it was not delayed")
		}
		clock.Advance(4999)
		if _, ok := q.Take(); ok {
			t.Error("it came early")
		}
		clock.Advance(1)
		if b := q.Wait(1)[0]; b.ID != late || b.In[0][0] != 0 {
			t.Errorf("buffer %d, status %d", b.ID, b.In[0][0])
		}
		if got, _, _ := d.do(kindIn, 3, nil, 512); got[0] != 9 {
			t.Error("it was not carried out")
		}
	})
}

// settled waits until the one worker has seen all that was made available.
func settled(d *disk) { d.dev.Pause(); d.dev.Resume() }

func TestHangUntilReset(t *testing.T) {
	formats(t, func(t *testing.T, features uint64) {
		for _, e := range []devices.Effect{{Hang: true}, {Delay: 1e9}, {Drop: true}, {Hold: 100}} {
			d, _, clock := watched(t, features, once(e))
			q := d.q[0]
			q.Add([][]byte{header(kindOut, 3), bytes.Repeat([]byte{9}, 512)}, 1)
			q.Kick()
			d.do(kindIn, 0, nil, 512) // it was seen
			if e.Hold == 0 {
				settled(d)
			}
			if _, ok := q.Take(); ok {
				t.Fatalf("%+v: it came back", e)
			}
			d.Put(virtiotest.Status, 1, 0)
			if d.Get(virtiotest.Status, 1) != 0 {
				t.Fatal("no reset")
			}
			clock.Advance(2e9)
			d.Start(features | featureFlush)
			d.q[0] = d.Queue(0, 32)
			d.Go()
			got, st, _ := d.do(kindIn, 3, nil, 512)
			if done := got[0] == 9; st != 0 || done != (e.Drop || e.Hold > 0) {
				t.Errorf("%+v: status %d, carried out: %v", e, st, done)
			}
		}
	})
}

func TestDuplicate(t *testing.T) {
	d, _, _ := watched(t, 0, once(devices.Effect{Duplicate: true}))
	q := d.q[0]
	id := q.Add([][]byte{header(kindIn, 1)}, 512, 1)
	q.Kick()
	q.Wait(1)
	settled(d)
	ring := d.Bytes(q.Device, 4+8*32)
	if n := binary.LittleEndian.Uint16(ring[2:]); n != 2 {
		t.Fatalf("%d completions", n)
	}
	for i := range 2 {
		if got := binary.LittleEndian.Uint32(ring[4+8*i:]); got != uint32(id) {
			t.Errorf("completion %d is of %d, want %d", i, got, id)
		}
	}
}

func TestHold(t *testing.T) {
	formats(t, func(t *testing.T, features uint64) {
		d, _, _ := watched(t, features, once(devices.Effect{Hold: 2}))
		q := d.q[0]
		first := q.Add([][]byte{header(kindIn, 1)}, 512, 1)
		q.Kick()
		var order []uint16
		for range 2 {
			q.Add([][]byte{header(kindIn, 2)}, 512, 1)
			q.Kick()
			order = append(order, q.Wait(1)[0].ID)
		}
		order = append(order, q.Wait(1)[0].ID)
		if order[2] != first || order[0] == first {
			t.Errorf("order %v, want %d last", order, first)
		}
	})
}

func TestInterruptFaults(t *testing.T) {
	d, _, _ := watched(t, 0, once(devices.Effect{LoseInterrupt: true}))
	q := d.q[0]
	q.Add([][]byte{header(kindIn, 1)}, 512, 1)
	q.Kick()
	for _, ok := q.Take(); !ok; _, ok = q.Take() {
		settled(d)
	}
	if n := d.Interrupts(0); n != 0 {
		t.Errorf("%d interrupts", n)
	}
	d, _, _ = watched(t, 0, always(devices.Effect{ExtraInterrupt: true}))
	d.do(kindIn, 1, nil, 512)
	settled(d)
	if n := d.Interrupts(0); n != 2 {
		t.Errorf("%d interrupts, want 2", n)
	}
}

func TestShort(t *testing.T) {
	d, _, _ := watched(t, 0, always(devices.Effect{ShortOn: true, Short: 1100}))
	got, st, n := d.do(kindIn, 1, nil, 2048)
	if st != 0 || n != 1025 || got[0] != 1 || got[512] != 2 || got[1024] != 0 {
		t.Errorf("read: status %d, %d bytes, %d %d %d", st, n, got[0], got[512], got[1024])
	}
	d.do(kindOut, 10, bytes.Repeat([]byte{0xee}, 2048))
	c := content(t, d)
	if c[11*512] != 0xee || c[12*512] == 0xee {
		t.Error("write: not the first two sectors")
	}
	d.dev.Function().Probe().Watch(0, nil, disturbed(always(devices.Effect{ShortOn: true, Short: 16})))
	d.do(kindZeroes, 0, ranges(20, 1, 30, 1))
	if c := content(t, d); c[20*512] != 0 || c[30*512] == 0 {
		t.Error("zeroes: not the first range")
	}
	if id, st, _ := d.do(kindID, 0, nil, 20); st != 0 || string(id[:16]) != "0123456789\x00\x00\x00\x00\x00\x00" {
		t.Errorf("id: %d %q", st, id)
	}
}

// differ counts the bits in which a and b differ.
func differ(a, b []byte) (n int) {
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

func TestFlipData(t *testing.T) {
	const size = 3 << 20 / 4 // more than a chunk is not on this disk; several pieces are
	d, _, _ := watched(t, 0, always(devices.Effect{FlipData: 5, Seed: 77}))
	good := bytes.Clone(content(t, d)[:size])
	got, st, _ := d.do(kindIn, 0, nil, 1000, size-1000)
	if st != 0 || differ(got, good) != 5 {
		t.Fatalf("read: status %d, %d bits differ", st, differ(got, good))
	}
	again, _, _ := d.do(kindIn, 0, nil, size)
	if !bytes.Equal(got, again) {
		t.Error("the same seed flips other bits")
	}
	out := bytes.Repeat([]byte{0x55}, 4096)
	id := d.q[0].Add([][]byte{header(kindOut, 0), out}, 1)
	addr := d.RAM.Data // the guest's memory stays
	before := bytes.Count(addr, out)
	d.q[0].Kick()
	if b := d.q[0].Wait(1)[0]; b.ID != id || b.In[0][0] != 0 {
		t.Fatal("write failed")
	}
	if n := differ(content(t, d)[:4096], out); n != 5 {
		t.Errorf("write: %d bits differ", n)
	}
	if bytes.Count(addr, out) != before {
		t.Error("the guest's memory was changed")
	}
	if id, st, _ := d.do(kindID, 0, nil, 20); st != 0 || differ(id, append([]byte("0123456789"), make([]byte, 10)...)) != 5 {
		t.Errorf("id: %d %q", st, id)
	}
	// Of a table of ranges nothing may come but what is on the disk.
	for seed := range uint64(50) {
		d.dev.Function().Probe().Watch(0, nil, disturbed(always(devices.Effect{FlipData: 3, Seed: seed})))
		if _, st, _ := d.do(kindDiscard, 0, ranges(0, 1)); st > 2 {
			t.Errorf("discard: status %d", st)
		}
	}
}

func TestFlipTable(t *testing.T) {
	moved, refused := 0, 0
	for seed := range uint64(60) {
		d, _, _ := watched(t, 0, always(devices.Effect{FlipTable: 1 << (seed % 40), Seed: seed}))
		got, st, _ := d.do(kindIn, 5, nil, 512)
		switch {
		case st == 1:
			refused++
		case bytes.Equal(got, content(t, d)[5*512:6*512]):
			t.Errorf("seed %d: the data is where it belongs", seed)
		default:
			moved++
		}
	}
	if moved == 0 || refused == 0 {
		t.Errorf("%d times elsewhere, %d times refused: want both", moved, refused)
	}
}

// TestSaveInMidRequest moves a device with requests that a fault delays, holds and hangs.
func TestSaveInMidRequest(t *testing.T) {
	formats(t, func(t *testing.T, features uint64) {
		var n atomic.Int32
		d, _, clock := watched(t, features, func(*devices.Command) devices.Effect {
			return []devices.Effect{{Delay: 5000}, {Hang: true}, {Hold: 3}, {Delay: 7000, Fail: true}}[min(n.Add(1)-1, 3)]
		})
		q := d.q[0]
		delayed := q.Add([][]byte{header(kindOut, 3), bytes.Repeat([]byte{9}, 512)}, 1)
		hung := q.Add([][]byte{header(kindIn, 0)}, 512, 1)
		held := q.Add([][]byte{header(kindIn, 0)}, 512, 1)
		failing := q.Add([][]byte{header(kindFlush, 0)}, 1)
		q.Kick()
		for n.Load() < 4 {
			settled(d)
		}
		clock.Advance(2000)
		d.dev.Pause()
		state, err := d.dev.SaveState()
		if err != nil {
			t.Fatal(err)
		}
		// Completions that are held back are posted by the pause.
		if b := q.Wait(1)[0]; b.ID != held {
			t.Errorf("buffer %d, want %d", b.ID, held)
		}

		clock2 := devtest.NewClock(time.Time{})
		dev2, err := blk.New(blk.Options{Name: "virtio-blk0", Clock: clock2, Packed: true}, newStore(t, false))
		if err != nil {
			t.Fatal(err)
		}
		defer dev2.Close()
		d2 := virtiotest.New(t, dev2.Function(), true)
		copy(d2.RAM.Data, d.RAM.Data)
		dev2.Pause()
		if err := dev2.RestoreState(state); err != nil {
			t.Fatal(err)
		}
		q.Move(d2)
		dev2.Resume()
		clock2.Advance(2999)
		if b, ok := q.Take(); ok {
			t.Fatalf("buffer %d came early", b.ID)
		}
		clock2.Advance(1)
		if b := q.Wait(1)[0]; b.ID != delayed || b.In[0][0] != 0 {
			t.Errorf("buffer %d, status %d; want %d", b.ID, b.In[0][0], delayed)
		}
		clock2.Advance(2000)
		if b := q.Wait(1)[0]; b.ID != failing || b.In[0][0] != 1 {
			t.Errorf("buffer %d, status %d; want %d with 1", b.ID, b.In[0][0], failing)
		}
		b := q.Do([][]byte{header(kindIn, 3)}, 512, 1)
		if b.ID == hung || b.In[0][0] != 9 || b.In[1][0] != 0 {
			t.Errorf("buffer %d reads %d, status %d", b.ID, b.In[0][0], b.In[1][0])
		}
	})
}

func TestRestoreRefuses(t *testing.T) {
	d, _, clock := watched(t, 0, always(devices.Effect{Delay: 1e9}))
	d.q[0].Add([][]byte{header(kindIn, 0)}, 512, 1)
	d.q[0].Kick()
	for clock.Armed() == 0 {
		settled(d)
	}
	d.dev.Pause()
	state, err := d.dev.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	restore := func(o blk.Options, ram []byte, old, new string) error {
		o.Name, o.Packed = "virtio-blk0", true
		dev, err := blk.New(o, newStore(t, false))
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		copy(virtiotest.New(t, dev.Function(), true).RAM.Data, ram)
		dev.Pause()
		return dev.RestoreState(bytes.Replace(state, []byte(old), []byte(new), 1))
	}
	if err := restore(blk.Options{Clock: clock}, d.RAM.Data, "", ""); err != nil {
		t.Fatalf("the state itself: %v", err)
	}
	for name, err := range map[string]error{
		"no clock":      restore(blk.Options{}, d.RAM.Data, "", ""),
		"other queue":   restore(blk.Options{Clock: clock}, d.RAM.Data, `"Queue":0`, `"Queue":9`),
		"too long":      restore(blk.Options{Clock: clock}, d.RAM.Data, `"Count":1`, `"Count":0`),
		"no request":    restore(blk.Options{Clock: clock}, bytes.Repeat([]byte{0xff}, virtiotest.RAMSize), "", ""),
		"not JSON":      restore(blk.Options{Clock: clock}, d.RAM.Data, `{"Cache"`, `["Cache"`),
		"other version": restore(blk.Options{Clock: clock}, d.RAM.Data, "\x02", "\x01"),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestStrict breaks each rule for requests once.
func TestStrict(t *testing.T) {
	flags := func(n uint32) []byte {
		b := ranges(0, 1)
		b[12] = byte(n)
		return b
	}
	for _, c := range []struct {
		name   string
		off    uint64 // features that are not accepted
		kind   uint32
		sector uint64
		out    []byte
		in     []int
		want   string
	}{
		{"half a sector", 0, kindIn, 0, nil, []int{100}, "5.2.6.1: IN of 100 bytes"},
		{"beyond", 0, kindOut, diskSize / 512, make([]byte, 512), nil, "5.2.6.1: OUT of 1 sectors from 2048 on"},
		{"flush with sector", 0, kindFlush, 4, nil, nil, "5.2.6.1: FLUSH with sector 4"},
		{"flush with data", 0, kindFlush, 0, make([]byte, 3), nil, "5.2.6.1: FLUSH with 3 bytes"},
		{"flush not accepted", featureFlush, kindFlush, 0, nil, nil, "5.2.3: FLUSH without VIRTIO_BLK_F_FLUSH"},
		{"half an id", 0, kindID, 0, nil, []int{10}, "5.2.6.1: GET_ID of 10 bytes"},
		{"discard not accepted", featureDiscard, kindDiscard, 0, ranges(0, 1), nil, "DISCARD without VIRTIO_BLK_F_DISCARD"},
		{"half a range", 0, kindZeroes, 0, make([]byte, 8), nil, "5.2.6.1: WRITE_ZEROES with 8 bytes of ranges"},
		{"many ranges", 0, kindZeroes, 0, make([]byte, 16*33), nil, "33 ranges: the device's limit is 32"},
		{"large range", 0, kindZeroes, 0, ranges(0, 1<<22), nil, "4194304 sectors: the device's limit"},
		{"range beyond", 0, kindDiscard, 0, ranges(4000, 1), nil, "DISCARD of 1 sectors from 4000 on"},
		{"discard with unmap", 0, kindDiscard, 0, flags(1), nil, "DISCARD with unmap set"},
		{"unknown flag", 0, kindZeroes, 0, flags(2), nil, "only unmap is defined"},
		{"unknown type", 0, 99, 0, nil, nil, "5.2.6: request of type 99"},
		{"data both ways", 0, kindIn, 0, make([]byte, 5), []int{512}, "5 bytes in buffers of the wrong direction"},
	} {
		clock := devtest.NewClock(time.Time{})
		d := newDisk(t, newStore(t, false), blk.Options{Clock: clock}, (featureFlush|featureDiscard|featureWriteZeroes)&^c.off)
		a := &devtest.Recorder{}
		d.dev.Function().Probe().Watch(devices.ClassStrict, a, nil)
		d.do(c.kind, c.sector, c.out, c.in...)
		if l := a.Violations(); len(l) != 1 || !strings.Contains(l[0], c.want) {
			t.Errorf("%s: %q, want %q", c.name, l, c.want)
		}
		// Who is to be halted at the notification hears of it before that ends, while nobody takes requests.
		d.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, a, nil)
		d.dev.Pause()
		d.q[0].Add([][]byte{header(c.kind, c.sector), c.out}, append(slices.Clone(c.in), 1)...)
		d.q[0].Notify()
		if l := a.Violations(); len(l) != 0 {
			t.Errorf("%s: %q before it is made available", c.name, l)
		}
		d.q[0].Kick()
		if l := a.Violations(); len(l) != 1 || !strings.Contains(l[0], c.want) {
			t.Errorf("%s: %q at the notification, want %q", c.name, l, c.want)
		}
		d.dev.Resume()
		d.q[0].Wait(1)
	}
	d := newDisk(t, newStore(t, true), blk.Options{}, featureFlush)
	a := &devtest.Recorder{}
	d.dev.Function().Probe().Watch(devices.ClassStrict, a, nil)
	d.do(kindOut, 0, make([]byte, 512))
	d.MMIO.Write(d.Device+0x20, 1, 0)
	if l := a.Violations(); !slices.Contains(l, "virtio 1.2, 5.2.6.2: OUT on a read-only disk") {
		t.Errorf("%q", l)
	}
	if l := a.Lines(); !slices.ContainsFunc(l, func(s string) bool {
		return s == "register writeback write=true value=0x0 err=write to a read-only register"
	}) {
		t.Errorf("writeback without CONFIG_WCE: %q", l)
	}
	d.Put(virtiotest.Status, 1, 0)
	d.Get(virtiotest.Status, 1)
	d.DeviceConfig(0x20, 1)
	if l := a.Violations(); len(l) != 1 || !strings.Contains(l[0], "5.2.5.1: writeback is read") {
		t.Errorf("%q", l)
	}
}

// TestMalformedClause checks that a request that stops the device says why.
func TestMalformedClause(t *testing.T) {
	d, a, _ := watched(t, 0, nil)
	d.q[0].Add([][]byte{header(0, 0)[:15]}, 513)
	d.q[0].Kick()
	d.WaitInterrupt(1)
	if l := a.Violations(); len(l) != 1 || !strings.HasPrefix(l[0], "virtio 1.2, 5.2.6: request of 15 and 513 bytes") {
		t.Errorf("%q", l)
	}
	e, b, _ := watched(t, 0, nil)
	e.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, b, nil)
	e.dev.Pause()
	e.q[0].Add([][]byte{header(0, 0)[:15]}, 513)
	e.q[0].Kick()
	if l := b.Violations(); len(l) != 1 || !strings.HasPrefix(l[0], "virtio 1.2, 5.2.6: request of 15 and 513 bytes") || !e.dev.Active() {
		t.Errorf("at the notification %q, active %v", l, e.dev.Active())
	}
	if d.Get(virtiotest.Status, 1)&virtio.StatusNeedsReset == 0 {
		t.Error("NEEDS_RESET is not set")
	}
}

func TestPowerLoss(t *testing.T) {
	d, _, _ := watched(t, 0, nil)
	d.do(kindOut, 0, make([]byte, 512))
	if err := d.dev.PowerLoss(); err != nil {
		t.Fatal(err)
	}
	if d.dev.Active() {
		t.Error("the device survives it")
	}
}

// FuzzFaults disturbs requests at will: the device stays on its disk, ends requests that are not to hang, and
// can be reset at any moment.
func FuzzFaults(f *testing.F) {
	f.Add(uint8(0xff), int64(700), uint64(3), uint8(0), uint32(1))
	f.Add(uint8(1), int64(0), uint64(1<<19), uint8(1), uint32(0))
	f.Add(uint8(0), int64(-1), uint64(9), uint8(3), uint32(13))
	f.Fuzz(func(t *testing.T, bits uint8, short int64, seed uint64, hold uint8, kind uint32) {
		on := func(n int) bool { return bits>>n&1 != 0 }
		e := devices.Effect{
			Fail: on(0) && on(1), Status: uint32(seed), Drop: on(2) && on(3), Duplicate: on(4), LoseInterrupt: on(5), ExtraInterrupt: on(6),
			ShortOn: on(7), Short: short, FlipData: seed % 5000, Hold: int(hold % 4), Seed: seed,
		}
		if on(1) {
			e.FlipTable = 1 << (seed % 40)
		}
		if on(2) {
			e.Delay = int64(seed % 1000)
		}
		clock := devtest.NewClock(time.Time{})
		d := newDisk(t, newStore(t, false), blk.Options{Clock: clock, Packed: true}, featureFlush|featureDiscard|featureWriteZeroes)
		d.dev.Function().Probe().Watch(0, nil, disturbed(always(e)))
		q := d.q[0]
		for i := range 5 {
			if kind == kindIn || kind == kindID {
				q.Add([][]byte{header(kind, uint64(i))}, 20, 1004, 1)
			} else {
				q.Add([][]byte{header(kind, uint64(i)), ranges(uint32(i), 3, uint32(seed>>40), 2)}, 1)
			}
			q.Kick()
		}
		clock.Advance(500)
		d.dev.Pause()
		if _, err := d.dev.SaveState(); err != nil {
			t.Error(err)
		}
		d.dev.Resume()
		clock.Advance(2e6)
		d.Put(virtiotest.Status, 1, 0)
		if d.Get(virtiotest.Status, 1) != 0 || clock.Armed() != 0 {
			t.Error("the reset has left something")
		}
	})
}
