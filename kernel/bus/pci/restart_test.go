package pci

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/kerntest"
)

// frail is a driver whose threads fail when they are told to.
type frail struct {
	attaches, detaches atomic.Int32
	inAttach           atomic.Int32 // so many attachments fail
	stuck              bool         // it does not let go

	mu   sync.Mutex
	work chan bool // of the unit there is: closed, its thread fails
}

func (*frail) Name() string         { return "frail" }
func (*frail) Match(d *Device) bool { return d.Class == 0x010802 }
func (f *frail) Attach(d *Device, _ int) (Attached, error) {
	f.attaches.Add(1)
	if f.inAttach.Add(-1) >= 0 {
		panic("it does not attach")
	}
	work := make(chan bool)
	f.mu.Lock()
	f.work = work
	f.mu.Unlock()
	d.k.Start(kern.ThreadAttr{Name: "frail thread", Priority: kern.IntrSupport, Failed: d.Failed}, func() {
		<-work
		var p *int
		*p = 1
	})
	return f, nil
}

func (f *frail) Detach() {
	f.detaches.Add(1)
	if f.stuck {
		panic("it cannot be detached")
	}
}

func (f *frail) fail() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.work)
}

// frailBus is a bus with a function for the driver, and its log.
func frailBus(t *testing.T, f *frail) (*Bus, func() string) {
	t.Helper()
	var mu sync.Mutex
	var log strings.Builder
	h := &kern.Host{Out: writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	})}
	conf, none := kerntest.Fixed(4096), kerntest.Fixed(4096)
	conf.Put(regID, 0x00011234)
	conf.Put(8, 0x01080200)
	none.Put(regID, 0xffffffff)
	b := New(kern.New(h), f)
	b.OnRestart(func(d *Device) { b.k.Printf("%v: restarts, attached %d times", d.Address, f.attaches.Load()) },
		func(d *Device, ok bool) { b.k.Printf("%v: restarted, %v", d.Address, ok) })
	b.AddConfig(func(a Address) kern.Registers {
		if a == (Address{0, 3, 0}) {
			return conf
		}
		return none
	})
	if err := b.Scan(); err != nil {
		t.Fatal(err)
	}
	return b, func() string {
		mu.Lock()
		defer mu.Unlock()
		return log.String()
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// await waits until the log has a text so often.
func await(t *testing.T, log func() string, text string, n int) {
	t.Helper()
	for start := time.Now(); strings.Count(log(), text) < n; time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("the log has not %d times %q:\n%s", n, text, log())
		}
	}
}

// TestRestart has a driver's thread fail again and again: the driver is restarted, but not without end.
func TestRestart(t *testing.T) {
	f := &frail{}
	b, log := frailBus(t, f)
	for n := int32(1); n <= restartMost; n++ {
		f.fail()
		await(t, log, "frail0: its driver is restarted", int(n))
		for start := time.Now(); f.attaches.Load() != n+1; time.Sleep(time.Millisecond) {
			if time.Since(start) > 10*time.Second {
				t.Fatal("it is not attached again")
			}
		}
		if l := b.List(); len(l) != 1 || l[0].Name != "frail0" || f.detaches.Load() != n {
			t.Fatalf("restart %d: %v, %d attachments, %d detachments", n, l, f.attaches.Load(), f.detaches.Load())
		}
	}
	f.fail()
	await(t, log, "frail0: its driver fails again and again: out of use", 1)
	await(t, log, "00:03.0: restarted, false", 1)
	for n := 1; n <= restartMost+1; n++ {
		await(t, log, fmt.Sprintf("00:03.0: restarts, attached %d times", n), 1) // each before the next attachment
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if a, d := f.attaches.Load(), f.detaches.Load(); a != restartMost+1 || d != restartMost+1 {
		t.Errorf("%d attachments and %d detachments", a, d)
	}
	if !strings.Contains(log(), "frail thread: panic: runtime error: invalid memory address") {
		t.Errorf("the panic is not in the log:\n%s", log())
	}
}

// TestRestartAttach has a driver fail as it attaches.
func TestRestartAttach(t *testing.T) {
	f := &frail{}
	f.inAttach.Store(2)
	b, log := frailBus(t, f)
	await(t, log, "frail0: its driver is restarted", 2)
	for start := time.Now(); f.attaches.Load() != 3; time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("it is not attached")
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := strings.Count(log(), "00:03.0: restarted, true"); n != 1 {
		t.Errorf("the end of the restart is told %d times", n)
	}
	if b.found[Address{0, 3, 0}].attached == nil || f.detaches.Load() != 0 {
		t.Errorf("it is not attached, or was detached %d times", f.detaches.Load())
	}
}

// TestRestartStuck has a driver fail that cannot be detached either.
func TestRestartStuck(t *testing.T) {
	f := &frail{stuck: true}
	_, log := frailBus(t, f)
	f.fail()
	await(t, log, "frail0: its driver does not let go of it: out of use", 1)
	await(t, log, "00:03.0: restarted, false", 1)
	if f.attaches.Load() != 1 {
		t.Error("it is attached again")
	}
}
