package balloon

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/virtio/virtiotest"
)

// rig is a balloon with a driver.
type rig struct {
	*testing.T
	dev   *Device
	d     *virtiotest.Driver
	q     [queues]*virtiotest.Queue
	rec   *devtest.Recorder
	clock *devtest.Clock
}

func newRig(t *testing.T, features uint64) *rig {
	t.Helper()
	r := &rig{T: t, rec: &devtest.Recorder{}}
	r.connect()
	r.start(features)
	return r
}

func (r *rig) connect() {
	r.Helper()
	r.clock = devtest.NewClock(time.Unix(0, 0))
	dev, err := New(Options{Name: "virtio-balloon0", RAM: virtiotest.RAMSize, Clock: r.clock})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = dev.Close() })
	r.dev = dev
	dev.Function().Probe().Watch(^devices.Class(0), r.rec, r.rec)
	r.d = virtiotest.New(r, dev.Function(), true)
}

func (r *rig) start(features uint64) {
	r.d.Start(features)
	for i := range r.q {
		r.q[i] = r.d.Queue(i, 8)
	}
	r.d.Go()
}

const all = featureStats | featureDeflateOnOOM | featurePoison | featureReporting

// fill puts something into pages.
func (r *rig) fill(pages ...uint32) {
	for _, p := range pages {
		copy(r.d.Bytes(uint64(p)*pageSize, pageSize), bytes.Repeat([]byte{0xaa}, pageSize))
	}
}

// empty tells whether a page is.
func (r *rig) empty(p uint32) bool {
	return bytes.Equal(r.d.Bytes(uint64(p)*pageSize, pageSize), make([]byte, pageSize))
}

func (r *rig) move(queue int, pages ...uint32) {
	r.Helper()
	var b []byte
	for _, p := range pages {
		b = binary.LittleEndian.AppendUint32(b, p)
	}
	r.q[queue].Do([][]byte{b})
}

func TestTarget(t *testing.T) {
	r := newRig(t, all)
	if err := configRegisters.Check(); err != nil {
		t.Fatal(err)
	}
	if id := r.d.Config(2, 2); id != 0x1045 || r.d.Offered()&all != all {
		t.Errorf("device %#x, features %#x", id, r.d.Offered())
	}
	if n := r.d.DeviceConfig(0, 4); n != 0 {
		t.Errorf("num_pages %d", n)
	}
	r.dev.SetTarget(virtiotest.RAMSize - 100*pageSize)
	r.d.WaitInterrupt(queues)
	if n := r.d.DeviceConfig(0, 4); n != 100 {
		t.Errorf("num_pages %d", n)
	}
	r.d.MMIO.Write(r.d.Device+4, 4, 90)
	if a := r.dev.Actual(); a != virtiotest.RAMSize-90*pageSize {
		t.Errorf("actual %d", a)
	}
	r.d.MMIO.Write(r.d.Device+4, 4, 0xffffffff) // nonsense
	if a := r.dev.Actual(); a != 0 {
		t.Errorf("actual %d", a)
	}
	r.dev.SetTarget(1 << 50)
	if n := r.d.DeviceConfig(0, 4); n != 0 {
		t.Errorf("num_pages %d", n)
	}
	for _, ram := range []uint64{0, 100, 1 << 44} {
		if _, err := New(Options{RAM: ram}); err == nil {
			t.Errorf("%d bytes are accepted", ram)
		}
	}
}

func TestInflate(t *testing.T) {
	r := newRig(t, all)
	r.fill(10, 11, 12, 14, 15)
	r.move(queueInflate, 12, 10, 11, 15)
	if !r.empty(10) || !r.empty(11) || !r.empty(12) || r.empty(14) || !r.empty(15) {
		t.Error("other pages have gone than those of the balloon")
	}
	for _, c := range []struct {
		addr, n uint64
		want    bool
	}{
		{9 * pageSize, pageSize, false}, {9 * pageSize, pageSize + 1, true}, {13*pageSize - 1, 1, true}, {13 * pageSize, 2 * pageSize, false},
		{13 * pageSize, 2*pageSize + 1, true}, {10 * pageSize, 0, false}, {1 << 63, 1 << 63, false}, {1 << 44, 5, false}, {11 * pageSize, 1 << 63, false},
	} {
		if got := r.dev.Holds(c.addr, c.n); got != c.want {
			t.Errorf("%d bytes at %#x are in the balloon: %v", c.n, c.addr, got)
		}
	}
	r.move(queueDeflate, 11, 10)
	if r.dev.Holds(10*pageSize, 2*pageSize) {
		t.Error("pages that came back are in the balloon still")
	}
	r.fill(10)
	if r.rec.Has("violation 5") || r.rec.Has("violation virtio 1.2, 5.5") {
		t.Errorf("rules broken:\n%s", r.rec.Log())
	}
	r.move(queueInflate, 15)            // there already
	r.move(queueDeflate, 11)            // not there
	r.move(queueInflate, 0xffffffff)    // no memory
	r.q[queueInflate].Do([][]byte{{1}}) // no page number
	for _, words := range [][]string{
		{"pages 0xf to 0xf go into", "already"}, {"pages 0xb to 0xb leave"}, {"0xffffffff", "not RAM"}, {"array of 1 bytes"},
		{"command INFLATE", "bytes=16", "pages=4"}, {"completion DEFLATE", "OK"}, {"completion INFLATE", "without effect"}, {"dma discard bytes=12288"},
	} {
		if !r.rec.Has(words...) {
			t.Errorf("no %q in\n%s", words, r.rec.Log())
		}
	}
}

func TestReport(t *testing.T) {
	for _, queue := range []int{queueHints, queueReport} {
		r := newRig(t, all)
		r.fill(100, 101, 102, 103)
		r.q[queue].AddDescs([]virtiotest.Desc{{Addr: 100 * pageSize, Len: 2 * pageSize, Write: true}, {Addr: 103 * pageSize, Len: pageSize, Write: true}})
		r.q[queue].Kick()
		r.q[queue].Wait(1)
		if !r.empty(100) || !r.empty(101) || r.empty(102) || !r.empty(103) {
			t.Errorf("queue %d: wrong pages", queue)
		}
		// Pages that are filled with a pattern keep it.
		r.d.MMIO.Write(r.d.Device+12, 4, 0xaaaaaaaa)
		r.fill(100)
		r.q[queue].AddDescs([]virtiotest.Desc{{Addr: 100 * pageSize, Len: pageSize, Write: true}})
		r.q[queue].Kick()
		r.q[queue].Wait(1)
		if r.empty(100) {
			t.Error("the pattern is gone")
		}
		if !r.rec.Has("violation virtio 1.2, 5.5.6.6.1: poison_val is changed from 0x0 to 0xaaaaaaaa") {
			t.Error("a pattern that changes at work is not reported")
		}
		r.d.MMIO.Write(r.d.Device+12, 4, 0)
		for _, d := range []virtiotest.Desc{{Addr: 100*pageSize + 1, Len: pageSize, Write: true}, {Addr: 1 << 50, Len: pageSize, Write: true}} {
			r.q[queue].AddDescs([]virtiotest.Desc{d})
			r.q[queue].Kick()
			for ok := false; !ok; _, ok = r.q[queue].TakeRaw() {
				r.d.WaitInterrupt(queue)
			}
		}
		if r.empty(100) || !r.rec.Has("violation", "not whole pages") {
			t.Error("part of a page is given back")
		}
	}
}

// TestReportShort reports three pages of which a fault has two and a half count.
func TestReportShort(t *testing.T) {
	r := newRig(t, all)
	r.fill(100, 101, 103)
	r.rec.Disturb("REPORT", devices.Effect{ShortOn: true, Short: 2*pageSize + 2048})
	r.q[queueReport].AddDescs([]virtiotest.Desc{{Addr: 100 * pageSize, Len: 2 * pageSize, Write: true}, {Addr: 103 * pageSize, Len: pageSize, Write: true}})
	r.q[queueReport].Kick()
	r.q[queueReport].Wait(1)
	if !r.empty(100) || !r.empty(101) || r.empty(103) {
		t.Error("wrong pages")
	}
}

func stats(values ...uint64) []byte {
	var b []byte
	for i, v := range values {
		b = binary.LittleEndian.AppendUint16(b, uint16(i))
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func (r *rig) refill(values ...uint64) {
	r.q[queueStats].Add([][]byte{stats(values...)})
	r.q[queueStats].Kick()
}

// wantStats waits for statistics.
func (r *rig) wantStats(free uint64) {
	r.Helper()
	for range 1000 {
		r.dev.mu.Lock()
		got, ok := r.dev.stats["stat-free-memory"], r.dev.holding
		r.dev.mu.Unlock()
		if ok && got == free {
			return
		}
		time.Sleep(time.Millisecond)
	}
	r.Fatalf("no statistics with %d", free)
}

func TestStats(t *testing.T) {
	r := newRig(t, all)
	if s, _ := r.dev.Stats(); s != nil {
		t.Errorf("%v", s)
	}
	r.refill(1, 2, 3, 4, 5)
	r.wantStats(5)
	s, changed := r.dev.Stats()
	if len(s) != 5 || s["stat-swap-out"] != 2 {
		t.Errorf("%v", s)
	}
	r.q[queueStats].Wait(1) // the buffer comes back
	r.refill(1, 2, 3, 4, 6)
	<-changed
	r.wantStats(6)
	if r.rec.Has("violation", "second buffer") {
		t.Error("the buffer that came back is taken for a second one")
	}
	r.refill(1) // a second one
	r.q[queueStats].Wait(1)
	if !r.rec.Has("violation", "second buffer") {
		t.Error("not reported")
	}
	r.dev.Stats()
	r.q[queueStats].Wait(1)
	r.q[queueStats].Do([][]byte{{1, 2, 3}})
	if !r.rec.Has("violation", "statistics of 3 bytes") {
		t.Error("not reported")
	}
}

// TestForesee breaks rules while nobody takes requests: who is to be halted at the notification hears of it before that ends, and once.
// Requests are judged by those before them, whether they have been carried out or not.
func TestForesee(t *testing.T) {
	array := func(pages ...uint32) (b []byte) {
		for _, p := range pages {
			b = binary.LittleEndian.AppendUint32(b, p)
		}
		return b
	}
	out := func(b []byte) func(q *virtiotest.Queue) { return func(q *virtiotest.Queue) { q.Add([][]byte{b}) } }
	in := func(addr uint64, n uint32) func(q *virtiotest.Queue) {
		return func(q *virtiotest.Queue) { q.AddDescs([]virtiotest.Desc{{Addr: addr, Len: n, Write: true}}) }
	}
	r := newRig(t, all)
	r.move(queueInflate, 1, 2, 3)
	for _, x := range []struct {
		name  string
		queue int
		add   func(q *virtiotest.Queue)
		want  string
	}{
		{"pages", queueInflate, out(array(10, 11)), ""},
		{"pages that wait to be taken", queueInflate, out(array(11, 12)), "5.5.6: pages 0xb to 0xc go into the balloon, where some of them are already"},
		{"pages taken before", queueInflate, out(array(2)), "5.5.6: pages 0x2 to 0x2 go into the balloon, where some of them are already"},
		{"no memory", queueInflate, out(array(0xffffff)), "5.5.6: pages 0xffffff to 0xffffff go into the balloon: "},
		{"no array", queueInflate, out([]byte{1, 2, 3}), "5.5.6: an array of 3 bytes"},
		{"back", queueDeflate, out(array(1, 2, 10)), ""},
		{"back twice", queueDeflate, out(array(2)), "5.5.6: pages 0x2 to 0x2 leave the balloon"},
		{"in again", queueInflate, out(array(1)), ""},
		{"statistics", queueStats, out(stats(1, 2)), ""},
		{"second statistics", queueStats, out(stats(1)), "5.5.6.3.1: a second buffer"},
		{"no statistics", queueStats, out([]byte{1}), "5.5.6.3: statistics of 1 bytes"},
		{"report", queueReport, in(100*pageSize, pageSize), ""},
		{"half a page", queueReport, in(100*pageSize, 100), "5.5.6.7: 100 bytes at 0x64000 are reported: not whole pages"},
		{"report of no memory", queueReport, in(virtiotest.RAMSize, pageSize), "5.5.6.7: 4096 bytes at 0xc00000 are reported: "},
	} {
		r.rec.Violations()
		r.dev.Pause()
		x.add(r.q[x.queue])
		r.q[x.queue].Kick()
		l := r.rec.Violations()
		if x.want == "" {
			if len(l) != 0 {
				t.Errorf("%s: %q", x.name, l)
			}
			continue
		}
		// That a buffer is not memory is known of any chain.
		if !slices.ContainsFunc(l, func(s string) bool { return strings.HasPrefix(s, "virtio 1.2, "+x.want) }) {
			t.Errorf("%s: %q at the notification, want %q", x.name, l, x.want)
		}
	}
	r.rec.Violations()
	r.dev.Resume()
	r.q[queueInflate].Poll(6)
	r.q[queueDeflate].Poll(2)
	r.q[queueStats].Poll(2) // the first is kept
	if l := r.rec.Violations(); slices.ContainsFunc(l, func(s string) bool { return strings.Contains(s, "5.5.6") }) {
		t.Errorf("%q when they are taken", l)
	}
}

func TestFaults(t *testing.T) {
	r := newRig(t, all)
	r.fill(1, 2, 3)
	r.rec.Disturb("INFLATE", devices.Effect{Fail: true})
	r.move(queueInflate, 1)
	r.rec.Disturb("INFLATE", devices.Effect{ShortOn: true, Short: 7})
	r.move(queueInflate, 2, 3)
	if r.empty(1) || !r.empty(2) || r.empty(3) {
		t.Error("wrong pages")
	}
	r.rec.Disturb("INFLATE", devices.Effect{Delay: 100})
	b := binary.LittleEndian.AppendUint32(nil, 3)
	r.q[queueInflate].Add([][]byte{b})
	r.q[queueInflate].Kick()
	for r.clock.Armed() == 0 {
		runtime.Gosched()
	}
	if r.empty(3) {
		t.Error("not delayed")
	}
	r.clock.Advance(100)
	r.q[queueInflate].Wait(1)
	if !r.empty(3) {
		t.Error("never done")
	}
}

func TestSave(t *testing.T) {
	r := newRig(t, all)
	r.dev.SetTarget(virtiotest.RAMSize - 5*pageSize)
	r.move(queueInflate, 1, 2, 3, 7)
	r.d.MMIO.Write(r.d.Device+4, 4, 4)
	r.refill(1, 2, 3, 4, 5)
	r.wantStats(5)
	r.dev.Pause()
	state, err := r.dev.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	ram, q := bytes.Clone(r.d.RAM.Data), r.q
	r.connect()
	copy(r.d.RAM.Data, ram)
	r.dev.Pause()
	if err := r.dev.RestoreState(state); err != nil {
		t.Fatal(err)
	}
	for i := range q {
		q[i].Move(r.d)
	}
	r.q = q
	r.dev.Resume()
	if n := r.d.DeviceConfig(0, 4); n != 5 || r.dev.Actual() != virtiotest.RAMSize-4*pageSize {
		t.Errorf("num_pages %d, actual %d", n, r.dev.Actual())
	}
	r.move(queueDeflate, 1, 2, 3, 7)
	if r.rec.Has("violation", "leave the balloon") {
		t.Error("pages of the balloon are forgotten")
	}
	r.dev.Stats()
	r.q[queueStats].Wait(1)
	for _, bad := range [][]byte{nil, {1, 0, 0, 0, 0}, state[:len(state)/2]} {
		r.dev.Pause()
		if r.dev.RestoreState(bad) == nil {
			t.Errorf("%d bytes are accepted", len(bad))
		}
		r.dev.Resume()
	}
}

// TestPageSet compares the set with a plain one.
func TestPageSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s pageSet
		plain := map[uint32]bool{}
		for range 100 {
			first, n := rng.Uint32N(60), rng.Uint32N(8)
			whole, any := true, false
			for p := first; p < first+n; p++ {
				whole, any = whole && plain[p], any || plain[p]
			}
			if n > 0 && s.has(first, n) != any {
				t.Fatalf("has(%d, %d) in %v", first, n, s)
			}
			if rng.IntN(2) == 0 {
				s.add(first, n)
				for p := first; p < first+n; p++ {
					plain[p] = true
				}
			} else if n > 0 {
				before := append(pageSet(nil), s...)
				if got := s.remove(first, n); got != whole {
					t.Fatalf("remove(%d, %d) from %v: %v", first, n, before, got)
				}
				for p := first; p < first+n; p++ {
					delete(plain, p)
				}
			}
			total := uint64(0)
			for i, r := range s {
				total += r.end - r.first
				if r.first >= r.end || i > 0 && s[i-1].end >= r.first {
					t.Fatalf("%v", s)
				}
			}
			if total != uint64(len(plain)) {
				t.Fatalf("%v has %d pages, want %d", s, total, len(plain))
			}
		}
	}
	var s pageSet
	s.add(0xffffffff, 1)
	if !s.has(0xffffffff, 1) || !s.remove(0xffffffff, 1) || len(s) != 0 {
		t.Error("the last page")
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRig(t, all)
	r.refill(1)
	r.move(queueInflate, 1)
	_ = r.dev.Close()
	// One that has ended may take a moment to go.
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i > 1000 {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
		time.Sleep(time.Millisecond)
	}
}

// FuzzRequests sends anything to any queue.
func FuzzRequests(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 2, 0, 0, 0}, uint64(all))
	f.Add([]byte{1, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, uint64(0))
	f.Add(append([]byte{2}, stats(1, 2, 3)...), uint64(featureStats))
	f.Add([]byte{3, 0, 0x10, 0, 0, 0x10}, uint64(featureReporting))
	f.Fuzz(func(t *testing.T, p []byte, features uint64) {
		dev, err := New(Options{RAM: virtiotest.RAMSize})
		if err != nil {
			t.Fatal(err)
		}
		d := virtiotest.New(t, dev.Function(), true)
		d.Start(features & all)
		var q [queues]*virtiotest.Queue
		for i := range q {
			q[i] = d.Queue(i, 8)
		}
		d.Go()
		if len(p) > 0 {
			i := int(p[0]) % queues
			p = p[1:]
			// The rings and their driver keep out of the way of what is given back.
			for j := 0; j+4 <= len(p); j += 4 {
				p[j+3] |= 0x80
			}
			q[i].Add([][]byte{p})
			if len(p) >= 5 && i >= queueStats {
				q[i].AddDescs([]virtiotest.Desc{{Addr: 1<<40 + uint64(p[0])<<8, Len: binary.LittleEndian.Uint32(p), Write: true}})
			}
			q[i].Kick()
			dev.Stats()
		}
		dev.SetTarget(uint64(len(p)) << 12)
		dev.Pause()
		if _, err := dev.SaveState(); err != nil {
			t.Error(err)
		}
		dev.Resume()
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	dev, err := New(Options{RAM: virtiotest.RAMSize})
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	d := virtiotest.New(b, dev.Function(), true)
	d.Start(0)
	in, out := d.Queue(queueInflate, 8), d.Queue(queueDeflate, 8)
	d.Go()
	var p []byte
	for i := range uint32(128) {
		p = binary.LittleEndian.AppendUint32(p, 2*i)
	}
	for b.Loop() {
		in.Do([][]byte{p})
		out.Do([][]byte{p})
	}
}
