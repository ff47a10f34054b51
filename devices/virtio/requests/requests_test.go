package requests_test

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/requests"
	"dfemu/devices/virtio/virtiotest"
)

// echo is a device whose requests are answered with their own bytes.
type echo struct {
	*virtio.Device
	s    *requests.Server
	mu   sync.Mutex
	gone int // requests aborted
	// early has requests hastened before they can be delayed.
	early bool
	last  *requests.Request
}

func (e *echo) Activate(uint64) {}
func (e *echo) Deactivate()     { e.s.Reset() }
func (e *echo) Kick(int)        {}

func newEcho(t *testing.T, keepHung bool) (*echo, *virtiotest.Driver, *virtiotest.Queue, *devtest.Recorder, *devtest.Clock) {
	t.Helper()
	clock := devtest.NewClock(time.Unix(0, 0))
	e := &echo{Device: virtio.New(virtio.Config{Name: "echo", Type: 1, Queues: []int{16}})}
	e.s = requests.New(e.Device, clock)
	e.s.Handle(0, 4, func(r *requests.Request) {
		r.KeepHung = keepHung
		if e.early && r.Hasten() {
			t.Error("taken back before it began")
		}
		r.OnAbort = func() {
			e.mu.Lock()
			e.gone++
			e.mu.Unlock()
		}
		e.mu.Lock()
		e.last = r
		e.mu.Unlock()
		r.Run(func() *devices.Command { return &devices.Command{Name: "ECHO"} }, func() {
			p := make([]byte, r.Limit(int(virtio.Total(r.Chain.Out))))
			if err := r.Chain.Read(0, p); err != nil {
				t.Error(err)
			}
			r.Flip(p)
			if err := r.Chain.Write(0, p); err != nil {
				t.Log(err) // by a table that a fault has changed
			}
			r.Complete(uint32(len(p)), devices.Status{Name: "OK"})
		})
	})
	e.Init(e)
	t.Cleanup(func() { _ = e.s.Close() })
	rec := &devtest.Recorder{}
	e.Function().Probe().Watch(^devices.Class(0), rec, rec)
	d := virtiotest.New(t, e.Function(), true)
	d.Start(0)
	q := d.Queue(0, 16)
	d.Go()
	return e, d, q, rec, clock
}

func (e *echo) aborted() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gone
}

func TestEffects(t *testing.T) {
	e, d, q, rec, clock := newEcho(t, false)
	if b := q.Do([][]byte{[]byte("abc")}, 10); b.Len != 3 || string(b.In[0][:3]) != "abc" {
		t.Errorf("%d %q", b.Len, b.In)
	}
	rec.Disturb("ECHO", devices.Effect{ShortOn: true, Short: 1})
	if b := q.Do([][]byte{[]byte("abc")}, 10); b.Len != 1 {
		t.Errorf("short: %d", b.Len)
	}
	rec.Disturb("ECHO", devices.Effect{FlipData: 3, Seed: 9})
	if b := q.Do([][]byte{[]byte("abc")}, 10); string(b.In[0][:3]) == "abc" || b.Len != 3 {
		t.Errorf("flip: %q", b.In)
	}
	rec.Disturb("ECHO", devices.Effect{FlipData: 1 << 40})
	if b := q.Do([][]byte{[]byte("abc")}, 10); string(b.In[0][:3]) != "\x9e\x9d\x9c" {
		t.Errorf("all bits flipped: %q", b.In)
	}
	rec.Disturb("ECHO", devices.Effect{FlipTable: 1 << 39})
	if b := q.Do([][]byte{[]byte("abc")}, 10); string(b.In[0][:3]) == "abc" {
		t.Error("flip-table: the answer is where it belongs")
	}
	rec.Disturb("ECHO", devices.Effect{Hang: true})
	q.Add([][]byte{[]byte("x")}, 10)
	q.Kick()
	for e.aborted() == 0 {
		runtime.Gosched()
	}
	rec.Disturb("ECHO", devices.Effect{Delay: 100})
	q.Add([][]byte{[]byte("late")}, 10)
	q.Kick()
	for clock.Armed() == 0 {
		runtime.Gosched()
	}
	if b := q.Do([][]byte{[]byte("early")}, 10); b.Len != 5 {
		t.Errorf("%d", b.Len)
	}
	clock.Advance(100)
	if b := q.Wait(1)[0]; b.Len != 4 {
		t.Errorf("%d", b.Len)
	}
	if !rec.Has("command ECHO") || !rec.Has("completion ECHO", "OK") || !rec.Has("dma response bytes=10 write=true") {
		t.Errorf("not traced:\n%s", rec.Log())
	}
	// A reset forgets what is delayed.
	rec.Disturb("ECHO", devices.Effect{Delay: 100})
	q.Add([][]byte{[]byte("never")}, 10)
	q.Kick()
	for clock.Armed() == 0 {
		runtime.Gosched()
	}
	d.Start(0)
	if e.aborted() != 2 || clock.Armed() != 0 {
		t.Errorf("%d aborted, %d timers", e.aborted(), clock.Armed())
	}
}

// TestHasten takes requests back that hang or are delayed, and pauses while one is delayed.
func TestHasten(t *testing.T) {
	e, _, q, rec, clock := newEcho(t, true)
	for _, x := range []devices.Effect{{Hang: true}, {Delay: 100}} {
		before := len(rec.Log())
		rec.Disturb("ECHO", x)
		q.Add([][]byte{[]byte("abc")}, 10)
		q.Kick()
		for len(rec.Log()) == before {
			runtime.Gosched()
		}
		for {
			e.mu.Lock()
			r := e.last
			e.mu.Unlock()
			if r == nil || !r.Waiting() { // hastened before, it would just go on
				runtime.Gosched()
				continue
			}
			if !r.Hasten() {
				t.Fatal("it waits and is not taken back")
			}
			r.Complete(7, devices.Status{})
			break
		}
		if b := q.Wait(1)[0]; b.Len != 7 {
			t.Errorf("%d bytes", b.Len)
		}
		e.mu.Lock()
		if e.last.Hasten() {
			t.Error("taken back twice")
		}
		e.last = nil
		e.mu.Unlock()
	}
	rec.Disturb("ECHO", devices.Effect{Delay: 100})
	q.Add([][]byte{[]byte("abc")}, 10)
	q.Kick()
	for clock.Armed() == 0 {
		runtime.Gosched()
	}
	e.s.Pause()
	if b := q.Wait(1)[0]; b.Len != 3 || clock.Armed() != 0 {
		t.Errorf("%d bytes, %d timers", b.Len, clock.Armed())
	}
	e.Resume()
	var got []uint32
	for i := range 3 {
		got = append(got, q.Do([][]byte{make([]byte, i+1)}, 10).Len)
	}
	if !slices.Equal(got, []uint32{1, 2, 3}) {
		t.Errorf("%v", got)
	}
}

// TestRushed hastens requests that are about to hang or to be delayed: they do neither.
func TestRushed(t *testing.T) {
	e, _, q, rec, _ := newEcho(t, true)
	e.early = true
	for _, x := range []devices.Effect{{Hang: true}, {Delay: 100}} {
		rec.Disturb("ECHO", x)
		if b := q.Do([][]byte{[]byte("abc")}, 10); b.Len != 3 {
			t.Errorf("%d bytes", b.Len)
		}
	}
}
