package rng_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/rng"
	"dfemu/devices/virtio/virtiotest"
)

func start(t *testing.T, src io.Reader) (*virtiotest.Driver, *virtiotest.Queue) {
	dev := rng.New(rng.Options{Name: "virtio-rng0", Source: src})
	t.Cleanup(func() { dev.Close() })
	d := virtiotest.New(t, dev.Function(), true)
	d.Start(0)
	q := d.Queue(0, 8)
	d.Go()
	return d, q
}

func TestSource(t *testing.T) {
	d, q := start(t, strings.NewReader("entropy is what you make of it"))
	if got := d.Config(2, 2); got != 0x1044 {
		t.Errorf("device %#x", got)
	}
	b := q.Do(nil, 7)
	if b.Len != 7 || string(b.In[0]) != "entropy" {
		t.Errorf("%d %q", b.Len, b.In)
	}
	b = q.Do(nil, 1, 2, 3)
	if b.Len != 6 || string(bytes.Join(b.In, nil)) != " is wh" {
		t.Errorf("%d %q", b.Len, b.In)
	}
	// What is left is less than asked for.
	if b = q.Do(nil, 100); b.Len != 17 || string(b.In[0][:17]) != "at you make of it" {
		t.Errorf("%d %q", b.Len, b.In)
	}
}

func TestDefaultSource(t *testing.T) {
	_, q := start(t, nil)
	b := q.Do(nil, 64)
	if b.Len != 64 || bytes.Equal(b.In[0], make([]byte, 64)) {
		t.Errorf("%d bytes, %x", b.Len, b.In)
	}
}

func TestBroken(t *testing.T) {
	for name, run := range map[string]struct {
		src io.Reader
		out [][]byte
		in  []int
	}{
		"source fails": {iotest.ErrReader(errors.New("no entropy")), nil, []int{4}},
		"no room":      {strings.NewReader("x"), [][]byte{{1}}, nil},
	} {
		d, q := start(t, run.src)
		q.Add(run.out, run.in...)
		q.Kick()
		d.WaitInterrupt(1)
		if d.Get(virtiotest.Status, 1)&virtio.StatusNeedsReset == 0 {
			t.Errorf("%s: NEEDS_RESET is not set", name)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	ended := devtest.Goroutines(t)
	dev := rng.New(rng.Options{Name: "virtio-rng0"})
	d := virtiotest.New(t, dev.Function(), true)
	d.Start(0)
	q := d.Queue(0, 8)
	d.Go()
	q.Do(nil, 8)
	dev.Close()
	ended()
}

// TestWatched traces requests, disturbs them, and has one break a rule.
func TestWatched(t *testing.T) {
	rec := &devtest.Recorder{}
	clock := devtest.NewClock(time.Unix(0, 0))
	dev := rng.New(rng.Options{Name: "virtio-rng0", Source: bytes.NewReader(make([]byte, 1000)), Clock: clock})
	defer dev.Close()
	dev.Function().Probe().Watch(^devices.Class(0), rec, rec)
	d := virtiotest.New(t, dev.Function(), true)
	d.Start(0)
	q := d.Queue(0, 8)
	d.Go()
	rec.Forget()
	for _, x := range []struct {
		e    devices.Effect
		want uint32
	}{
		{devices.Effect{}, 16}, {devices.Effect{Fail: true}, 0}, {devices.Effect{ShortOn: true, Short: 3}, 3}, {devices.Effect{FlipData: 1, Seed: 4}, 16},
	} {
		rec.Disturb("ENTROPY", x.e)
		b := q.Do(nil, 16)
		if flipped := !bytes.Equal(b.In[0], make([]byte, 16)); b.Len != x.want || flipped != (x.e.FlipData != 0) {
			t.Errorf("%+v: %d bytes, %x", x.e, b.Len, b.In[0])
		}
	}
	rec.Disturb("ENTROPY", devices.Effect{Delay: 1000})
	q.Add(nil, 16)
	q.Kick()
	for clock.Armed() == 0 {
		runtime.Gosched()
	}
	clock.Advance(1000)
	q.Wait(1)
	if l := rec.Violations(); len(l) != 0 || !rec.Has("command ENTROPY queue=0 bytes=16") || !rec.Has("completion ENTROPY code=1") {
		t.Errorf("%q\n%s", l, rec.Log())
	}
	dev.Pause()
	q.Add([][]byte{{1, 2}}, 4)
	q.Kick()
	if l := rec.Violations(); len(l) != 1 || l[0] != "virtio 1.2, 5.4.6.1: a request has 2 bytes in device-readable buffers" {
		t.Errorf("%q", l)
	}
	q.Add(nil, 0)
	q.Kick()
	if l := rec.Violations(); len(l) != 1 || !strings.Contains(l[0], "without room for a byte") || !dev.Active() {
		t.Errorf("%q at the notification, active %v", l, dev.Active())
	}
	dev.Resume()
	q.Wait(1)
}

// FuzzDriver lets the input be a driver.
func FuzzDriver(f *testing.F) {
	f.Add([]byte{})
	// A descriptor, its entry in the ring, a notification; then one that is read, a loop, a pause.
	f.Add([]byte{0, 0, 0, 1, 1, 9, 9, 2, 0, 0, 2, 0, 1, 0, 3, 0, 1, 1, 1, 1, 9, 9, 0, 0, 0, 2, 1, 1, 0, 3, 0, 5, 0, 0, 0, 1, 1, 9, 9, 1, 0, 0, 2, 0, 1, 0, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		dev := rng.New(rng.Options{Name: "virtio-rng0", Source: bytes.NewReader(make([]byte, 1<<20))})
		d := virtiotest.Monkey(t, dev, dev.Function(), 1, in)
		d.Start(0)
		q := d.Queue(0, 8)
		d.Go()
		q.Do(nil, 4)
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
}
