package block_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/devtest"
)

func memory(t testing.TB, n int) *block.Memory {
	t.Helper()
	m, err := block.NewMemory(make([]byte, n), false)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func volatileOver(t testing.TB, b devices.Block, o block.VolatileOptions) *block.Volatile {
	t.Helper()
	v, err := block.NewVolatile(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func content(t testing.TB, b devices.Block) []byte {
	t.Helper()
	p := make([]byte, b.Size())
	if _, err := b.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

func filled(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

// TestVolatileLoss pulls the plug many times: each sector then has what it had
// at the last flush or any write since, and every outcome occurs.
func TestVolatileLoss(t *testing.T) {
	const sectors, size = 64, 64 * 512
	var total block.Loss
	reordered := false
	for seed := range uint64(200) {
		m := memory(t, size)
		v := volatileOver(t, m, block.VolatileOptions{Seed: seed})
		r := rand.New(rand.NewPCG(seed, 1))
		var may [sectors]map[byte]bool
		only := func(p []byte) {
			for s := range may {
				may[s] = map[byte]bool{p[s*512]: true}
			}
		}
		model := make([]byte, size)
		only(model)
		for i := range 30 {
			s := r.IntN(sectors)
			n := 1 + r.IntN(min(8, sectors-s))
			p := filled(n*512, byte(i+1))
			var err error
			switch k := r.IntN(12); {
			case k == 0:
				if err = v.Flush(); err == nil {
					only(model)
				}
			case k == 1:
				if _, err = v.WriteFUA(p, int64(s)*512); err == nil {
					copy(model[s*512:], p)
					for j := s; j < s+n; j++ {
						may[j] = map[byte]bool{p[0]: true}
					}
				}
			case k == 2:
				clear(p)
				err = v.WriteZeroes(int64(s)*512, int64(len(p)), true)
				fallthrough
			default:
				if k > 2 {
					_, err = v.WriteAt(p, int64(s)*512)
				}
				copy(model[s*512:], p)
				for j := s; j < s+n; j++ {
					may[j][p[0]] = true
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(content(t, v), model) {
				t.Fatalf("seed %d, write %d: content differs before the loss", seed, i)
			}
		}
		if err := v.PowerLoss(); err != nil {
			t.Fatal(err)
		}
		got := content(t, v)
		if !bytes.Equal(got, content(t, m)) || v.Unflushed() != 0 {
			t.Fatal("something is in the cache after the loss")
		}
		for s := range sectors {
			b := got[s*512]
			if !may[s][b] || !bytes.Equal(got[s*512:(s+1)*512], filled(512, b)) {
				t.Fatalf("seed %d: sector %d has %d, which it never had since the flush", seed, s, b)
			}
		}
		l := v.LastLoss()
		if l.Writes != l.Kept+l.Torn+l.Lost {
			t.Fatalf("%+v", l)
		}
		total.Kept, total.Torn, total.Lost = total.Kept+l.Kept, total.Torn+l.Torn, total.Lost+l.Lost
		reordered = reordered || l.Kept > 0 && l.Lost > 0
	}
	if total.Kept < 200 || total.Torn < 100 || total.Lost < 200 || !reordered {
		t.Errorf("outcomes are missing: %+v", total)
	}
}

// TestVolatileSeed checks that the seed alone decides, and that it does.
func TestVolatileSeed(t *testing.T) {
	run := func(seed uint64) []byte {
		v := volatileOver(t, memory(t, 1<<20), block.VolatileOptions{Seed: seed, Sector: 4096})
		for range 2 {
			for i := range 50 {
				if _, err := v.WriteAt(filled(16384, byte(i+1)), int64(i)*20480); err != nil {
					t.Fatal(err)
				}
			}
			if err := v.PowerLoss(); err != nil {
				t.Fatal(err)
			}
		}
		p := content(t, v)
		for off := 0; off < len(p); off += 4096 {
			if !bytes.Equal(p[off:off+4096], filled(4096, p[off])) {
				t.Fatal("a sector of 4096 bytes is torn")
			}
		}
		return p
	}
	if !bytes.Equal(run(7), run(7)) {
		t.Error("the same seed has two outcomes")
	}
	if bytes.Equal(run(7), run(8)) {
		t.Error("two seeds have the same outcome")
	}
}

// TestVolatileFull checks that a small cache writes by itself, and then nothing
// is wrong with what is read.
func TestVolatileFull(t *testing.T) {
	m := memory(t, 1<<20)
	v := volatileOver(t, m, block.VolatileOptions{Size: 64 << 10})
	model := make([]byte, 1<<20)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 500 {
		off, n := r.Int64N(1<<20-20000), 1+r.IntN(20000)
		p := filled(n, byte(i))
		copy(model[off:], p)
		if _, err := v.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
		if v.Unflushed() > 64<<10 {
			t.Fatalf("%d bytes in the cache", v.Unflushed())
		}
	}
	if !bytes.Equal(content(t, v), model) {
		t.Error("content differs")
	}
	if bytes.Equal(content(t, m), model) {
		t.Error("nothing is in the cache")
	}
	if err := v.Flush(); err != nil || !bytes.Equal(content(t, m), model) {
		t.Errorf("content differs after the flush (%v)", err)
	}
}

// failing is a store whose writes fail while it is told to.
type failing struct {
	devices.Block
	fail atomic.Bool
}

var errBroken = errors.New("broken")

func (f *failing) WriteAt(p []byte, off int64) (int, error) {
	if f.fail.Load() {
		return 0, errBroken
	}
	return f.Block.WriteAt(p, off)
}

func TestVolatileFlushFails(t *testing.T) {
	f := &failing{Block: memory(t, 8192)}
	v := volatileOver(t, f, block.VolatileOptions{})
	if _, err := v.WriteAt(filled(4096, 1), 0); err != nil {
		t.Fatal(err)
	}
	f.fail.Store(true)
	if err := v.Flush(); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	f.fail.Store(false)
	if err := v.Flush(); err != nil || content(t, f)[4095] != 1 {
		t.Error("a failed flush forgot a write:", err)
	}
}

func TestLimited(t *testing.T) {
	c := devtest.NewClock(time.Unix(0, 0))
	l, err := block.NewLimited(memory(t, 1<<20), block.Limits{IOPS: 100, BytesPerSecond: 1 << 20}, c)
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Int64
	var wg sync.WaitGroup
	start := func(n int) {
		wg.Go(func() {
			if _, err := l.ReadAt(make([]byte, n), 0); err != nil {
				t.Error(err)
			}
			done.Add(1)
		})
	}
	// The first starts at once; each of the others 10 ms later.
	for range 11 {
		start(512)
	}
	block.AwaitWaiting(l, 10)
	for i := range 10 {
		if n := done.Load(); n > int64(i+1) {
			t.Fatalf("%d requests are done after %d ms", n, i*10)
		}
		c.Advance(10e6)
		block.AwaitWaiting(l, 9-i)
	}
	wg.Wait()
	// 1 MiB takes a second.
	c.Advance(1e9)
	start(1 << 20)
	wg.Wait()
	start(512)
	block.AwaitWaiting(l, 1)
	c.Advance(999e6)
	if block.Waiting(l) != 1 {
		t.Error("the request did not wait for the bytes before it")
	}
	c.Advance(1e6)
	wg.Wait()
	// While paused, nobody waits.
	start(1 << 20)
	start(1 << 20)
	l.Pause()
	start(1 << 20)
	wg.Wait()
	l.Resume()
	start(512)
	block.AwaitWaiting(l, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

func TestBurst(t *testing.T) {
	c := devtest.NewClock(time.Unix(0, 0))
	l, err := block.NewLimited(memory(t, 4096), block.Limits{IOPS: 10, Burst: time.Second}, c)
	if err != nil {
		t.Fatal(err)
	}
	c.Advance(5e9)
	for range 11 { // ten for the idle second, and the present one
		if _, err := l.ReadAt(make([]byte, 512), 0); err != nil {
			t.Fatal(err)
		}
	}
	go l.ReadAt(make([]byte, 512), 0)
	block.AwaitWaiting(l, 1)
	l.Close()
}

func TestDelayed(t *testing.T) {
	c := devtest.NewClock(time.Unix(0, 0))
	d, err := block.NewDelayed(memory(t, 4096), 5*time.Millisecond, c)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, f := range []func() error{
		func() error { _, err := d.ReadAt(make([]byte, 512), 0); return err },
		func() error { _, err := d.WriteAt(make([]byte, 512), 0); return err },
		func() error { return d.ReadVAt([][]byte{make([]byte, 512)}, 0) },
		d.Flush,
		func() error { return d.Discard(0, 512) },
	} {
		wg.Go(func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		})
	}
	block.AwaitWaiting(d, 5)
	c.Advance(5e6 - 1)
	if block.Waiting(d) != 5 {
		t.Error("somebody did not wait")
	}
	c.Advance(1)
	wg.Wait()
}

func TestReadOnlyStore(t *testing.T) {
	b := block.NewReadOnly(memory(t, 4096))
	_, err := b.WriteAt(make([]byte, 512), 0)
	_, errFUA := block.WriteFUA(b, make([]byte, 512), 0)
	for _, err := range []error{err, errFUA, block.WriteV(b, [][]byte{{1}}, 0), b.Discard(0, 512), b.WriteZeroes(0, 512, false)} {
		if !errors.Is(err, block.ErrReadOnly) {
			t.Error(err)
		}
	}
	if !b.ReadOnly() || b.Flush() != nil {
		t.Error("not a proper read-only store")
	}
}

// TestForwarding checks that wrappers keep what the stores below can do.
func TestForwarding(t *testing.T) {
	c := devtest.NewClock(time.Unix(0, 0))
	v := volatileOver(t, memory(t, 4096), block.VolatileOptions{})
	l, _ := block.NewLimited(v, block.Limits{IOPS: 1e6}, c)
	d, _ := block.NewDelayed(l, 0, c)
	if _, err := d.WriteAt(filled(512, 1), 0); err != nil {
		t.Fatal(err)
	}
	if err := d.PowerLoss(); err != nil || v.LastLoss().Writes != 1 {
		t.Errorf("the loss of power did not arrive: %v, %+v", err, v.LastLoss())
	}
	for _, b := range []any{d, l} {
		_, a := b.(devices.VectorBlock)
		_, f := b.(devices.FUABlock)
		_, e := b.(devices.ExtentBlock)
		_, p := b.(devices.Pauser)
		if !a || !f || !e || !p {
			t.Errorf("%T lacks an interface", b)
		}
	}
}
