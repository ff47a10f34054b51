package kern

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lockedBuffer is a console.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// stepped is a host whose clock moves when an interrupt is served or something waits for a time, however fast the machine is.
type stepped struct {
	*Host
	now atomic.Int64
}

func (s *stepped) Now() time.Duration { return time.Duration(s.now.Load()) }

func (s *stepped) Wait(addr *atomic.Uint32, val uint32, timeout time.Duration) bool {
	if timeout < 0 {
		return s.Host.Wait(addr, val, timeout)
	}
	s.now.Add(int64(timeout))
	return false
}

// TestStorm lets an interrupt come without end: it is held back, with a message; when it is quiet again it is as before.
func TestStorm(t *testing.T) {
	for _, c := range []struct {
		name        string
		work        func(i *Interrupt, n int64)
		storm       bool
		maskedTwice bool
	}{
		{"idle", func(i *Interrupt, _ int64) { i.Idle() }, true, true},
		{"mostly idle", func(i *Interrupt, n int64) {
			if n%64 == 0 {
				i.Busy()
			} else {
				i.Idle()
			}
		}, true, true},
		{"half idle", func(i *Interrupt, n int64) {
			if n%2 == 0 {
				i.Busy()
			} else {
				i.Idle()
			}
		}, false, false},
		{"busy", func(i *Interrupt, _ int64) { i.Busy() }, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out lockedBuffer
			p := &stepped{Host: &Host{Out: &out}}
			p.now.Store(1e9)
			k := New(p)
			i, err := k.NewInterrupt(0)
			if err != nil {
				t.Fatal(err)
			}
			var calls, masks atomic.Int64
			i.Mask = func(bool) { masks.Add(1) }
			k.Handle(i, "dev0", IntrMed, func() {
				p.now.Add(10_000)
				c.work(i, calls.Add(1))
			})
			flood := func(until func() bool) {
				for end := time.Now().Add(10 * time.Second); !until(); {
					if time.Now().After(end) {
						t.Fatalf("after %d calls:\n%s", calls.Load(), out.String())
					}
					i.Raise(k)
				}
			}
			has := func(s string) func() bool { return func() bool { return strings.Contains(out.String(), s) } }
			if !c.storm {
				flood(func() bool { return calls.Load() > 3*idleLimit })
				if has("storm")() {
					t.Errorf("it is called a storm:\n%s", out.String())
				}
				i.Close()
				return
			}
			flood(has("dev0: interrupt storm"))
			before, start := calls.Load(), p.Now()
			flood(func() bool { return p.Now()-start > 50*time.Millisecond })
			if n := calls.Load() - before; n > 60 {
				t.Errorf("it is called %d times in 50 ms", n)
			}
			if masks.Load() == 0 {
				t.Error("it is not masked")
			}
			// Now and then one: it is over.
			for !has("dev0: the interrupt storm is over")() {
				p.now.Add(int64(50 * time.Millisecond))
				before := calls.Load()
				flood(func() bool { return calls.Load() > before })
			}
			i.Close()
		})
	}
}
