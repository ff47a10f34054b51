package console_test

import (
	"bytes"
	"runtime"
	"strings"
	"sync"
	"testing"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/console"
	"dfemu/devices/virtio/virtiotest"
)

// sink collects output.
type sink struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func start(t *testing.T) (*console.Device, *virtiotest.Driver, *sink, *virtiotest.Queue, *virtiotest.Queue) {
	out := &sink{}
	dev := console.New(console.Options{Name: "virtio-console0", Out: out, Cols: 80, Rows: 25})
	t.Cleanup(func() { dev.Close() })
	d := virtiotest.New(t, dev.Function(), true)
	d.Start(1)
	rx, tx := d.Queue(0, 16), d.Queue(1, 16)
	d.Go()
	return dev, d, out, rx, tx
}

func TestOutput(t *testing.T) {
	_, _, out, _, tx := start(t)
	var want strings.Builder
	for i := range 200 {
		s := strings.Repeat(string(rune('a'+i%26)), 1+i*7%900)
		want.WriteString(s)
		if b := tx.Do([][]byte{[]byte(s[:len(s)/2+1]), []byte(s[len(s)/2+1:])}); b.Len != 0 {
			t.Fatalf("%d bytes written by a transmission", b.Len)
		}
	}
	big := strings.Repeat("0123456789", 2000)
	tx.Do([][]byte{[]byte(big)})
	want.WriteString(big)
	if out.String() != want.String() {
		t.Error("output differs from what was sent")
	}
}

func TestInput(t *testing.T) {
	dev, _, _, rx, _ := start(t)
	if n := dev.Receive([]byte("x")); n != 0 {
		t.Errorf("took %d bytes without a buffer", n)
	}
	space := make(chan struct{}, 4)
	dev.OnSpace(func() { space <- struct{}{} })
	rx.Add(nil, 4)
	rx.Add(nil, 2, 3)
	rx.Kick()
	<-space
	if n := dev.Receive([]byte("hello, world")); n != 9 {
		t.Errorf("took %d bytes, have room for 9", n)
	}
	got := ""
	for _, b := range rx.Wait(2) {
		got += string(bytes.Join(b.In, nil)[:b.Len])
	}
	if got != "hello, wo" {
		t.Errorf("guest got %q", got)
	}
	rx.Add(nil, 64)
	rx.Kick()
	<-space
	if n := dev.Receive([]byte("rld")); n != 3 {
		t.Errorf("took %d", n)
	}
	if b := rx.Wait(1)[0]; b.Len != 3 || string(b.In[0][:3]) != "rld" {
		t.Errorf("guest got %d %q", b.Len, b.In)
	}
	// With room from the start nobody waits, and nobody is called.
	rx.Add(nil, 64)
	rx.Kick()
	select {
	case <-space:
		t.Error("called for space that was not missed")
	default:
	}
}

func TestSize(t *testing.T) {
	dev, d, _, _, _ := start(t)
	if d.DeviceConfig(0, 2) != 80 || d.DeviceConfig(2, 2) != 25 || d.DeviceConfig(4, 4) != 1 {
		t.Error("configuration is not as described")
	}
	dev.Resize(132, 50)
	d.WaitInterrupt(2)
	if d.DeviceConfig(0, 2) != 132 || d.DeviceConfig(2, 2) != 50 {
		t.Error("size not changed")
	}
}

func TestBroken(t *testing.T) {
	for name, run := range map[string]func(dev *console.Device, d *virtiotest.Driver, rx, tx *virtiotest.Queue){
		"receive buffer without room": func(dev *console.Device, d *virtiotest.Driver, rx, tx *virtiotest.Queue) {
			rx.Add([][]byte{{1}})
			rx.Kick()
			if n := dev.Receive([]byte("x")); n != 0 {
				t.Errorf("took %d", n)
			}
		},
		"endless transmission": func(dev *console.Device, d *virtiotest.Driver, rx, tx *virtiotest.Queue) {
			tx.AddDescs([]virtiotest.Desc{{Addr: 0, Len: 1 << 31}})
			tx.Kick()
		},
		"transmission that is not RAM": func(dev *console.Device, d *virtiotest.Driver, rx, tx *virtiotest.Queue) {
			tx.AddDescs([]virtiotest.Desc{{Addr: 1 << 40, Len: 100}})
			tx.Kick()
		},
	} {
		dev, d, _, rx, tx := start(t)
		run(dev, d, rx, tx)
		d.WaitInterrupt(2)
		if d.Get(virtiotest.Status, 1)&virtio.StatusNeedsReset == 0 {
			t.Errorf("%s: NEEDS_RESET is not set", name)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	dev, _, _, rx, tx := start(t)
	done := make(chan struct{})
	dev.OnSpace(func() { close(done) })
	dev.Receive([]byte("x"))
	rx.Add(nil, 1)
	rx.Kick()
	<-done
	tx.Do([][]byte{{1}})
	dev.Close()
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines before, %d after", before, n)
	}
}

// TestWatched traces writes, disturbs them, and has buffers break rules.
func TestWatched(t *testing.T) {
	dev, _, out, rx, tx := start(t)
	rec := &devtest.Recorder{}
	dev.Function().Probe().Watch(^devices.Class(0), rec, rec)
	for _, e := range []devices.Effect{{Fail: true}, {ShortOn: true, Short: 2}, {FlipData: 1, Seed: 3}, {}} {
		rec.Disturb("WRITE", e)
		tx.Do([][]byte{[]byte("text")})
	}
	if s := out.String(); len(s) != 10 || s[:2] != "te" || s[2:6] == "text" || s[6:] != "text" {
		t.Errorf("output %q", s)
	}
	if l := rec.Violations(); len(l) != 0 || !rec.Has("command WRITE queue=1 bytes=4") || !rec.Has("completion WRITE code=1 lost") {
		t.Errorf("%q\n%s", l, rec.Log())
	}
	dev.Pause()
	tx.Add([][]byte{[]byte("x")}, 4)
	tx.Kick()
	rx.Add([][]byte{[]byte("x")}, 4)
	rx.Kick()
	if l := rec.Violations(); len(l) != 2 || !strings.Contains(l[0], "5.3.6.1: what is transmitted") || !strings.Contains(l[1], "5.3.6.1: a receive buffer") {
		t.Errorf("%q", l)
	}
	rx.Add(nil, 0)
	rx.Kick()
	tx.AddDescs([]virtiotest.Desc{{Addr: 0, Len: 10 << 20}, {Addr: 0, Len: 10 << 20}})
	tx.Kick()
	if l := rec.Violations(); len(l) != 2 || !strings.Contains(l[0], "without room for a byte") || !strings.Contains(l[1], "write of more than 16 MiB") || !dev.Active() {
		t.Errorf("%q at the notification, active %v", l, dev.Active())
	}
	dev.Resume()
	tx.Wait(1)
}

// FuzzDriver lets the input be a driver, while characters arrive.
func FuzzDriver(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 1, 1, 9, 9, 2, 0, 0, 2, 0, 1, 0, 3, 1, 0, 0, 1, 1, 9, 9, 0, 0, 1, 2, 0, 1, 1, 3, 0, 5, 1, 0, 0, 1, 1, 9, 9, 1, 0, 1, 2, 0, 1, 1, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		out := &sink{}
		dev := console.New(console.Options{Name: "virtio-console0", Out: out})
		dev.OnSpace(func() { dev.Receive([]byte("some text")) })
		d := virtiotest.Monkey(t, dev, dev.Function(), 2, in)
		d.Start(0)
		d.Queue(0, 8)
		tx := d.Queue(1, 8)
		d.Go()
		tx.Do([][]byte{[]byte("the end")})
		if !strings.HasSuffix(out.String(), "the end") {
			t.Error("the device does not work any more")
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
}
