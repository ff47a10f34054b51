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
			k := New(&Host{Out: &out})
			i, err := k.NewInterrupt(0)
			if err != nil {
				t.Fatal(err)
			}
			var calls, masks atomic.Int64
			i.Mask = func(bool) { masks.Add(1) }
			k.Handle(i, "dev0", IntrMed, func() { c.work(i, calls.Add(1)) })
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
			before, start := calls.Load(), time.Now()
			flood(func() bool { return time.Since(start) > 50*time.Millisecond })
			if n := calls.Load() - before; n > 60 {
				t.Errorf("it is called %d times in 50 ms", n)
			}
			if masks.Load() == 0 {
				t.Error("it is not masked")
			}
			// Now and then one: it is over.
			for end := time.Now().Add(10 * time.Second); !has("dev0: the interrupt storm is over")(); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal(out.String())
				}
				i.Raise(k)
			}
			i.Close()
		})
	}
}
