package kern

import (
	"bytes"
	"errors"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestBytes asks for memory where there is enough, too little, and enough once what others keep has been given back.
func TestBytes(t *testing.T) {
	h := &Host{}
	k := New(h)
	const kept = 8 << 20
	var asked atomic.Int32
	k.OnLowMemory(func() { asked.Add(1); h.SetRoom(h.Available() + kept) })
	for _, c := range []struct {
		name  string
		room  int64
		n     int
		asked int32
		ok    bool
	}{
		{"none", 1, 0, 1, true}, {"enough", 2 << 20, 1 << 20, 0, true}, {"after others gave back", 1 << 20, 4 << 20, 1, true},
		{"too much", 1 << 20, 16 << 20, 1, false}, {"less than none", 1 << 20, -1, 0, false}, {"more than numbers have", 1 << 20, 1<<63 - 1, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked.Store(0)
			h.SetRoom(c.room)
			b, err := k.Bytes(c.n)
			if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrNoMemory) || c.ok && len(b) != c.n {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if a := asked.Load(); a != c.asked {
				t.Errorf("others were asked %d times, want %d", a, c.asked)
			}
		})
	}
}

// TestWatchMemory has little memory left: others give back what they have, and it is said.
func TestWatchMemory(t *testing.T) {
	limit := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(limit)
	var out safeOut
	h := &Host{Out: &out, Room: 1 << 30}
	k := New(h)
	given := make(chan bool)
	k.OnLowMemory(func() { given <- true })
	k.WatchMemory()
	if debug.SetMemoryLimit(-1) > 2<<30 {
		t.Error("the heap has no limit")
	}
	for range 2 {
		h.LowMemory()
		<-given
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(out.text(), "memory is low: there is room for 1048576 KiB"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log has %q", out.text())
		}
	}
	if n := strings.Count(out.text(), "memory is low"); n != 1 {
		t.Errorf("it was said %d times at once", n)
	}
}

// safeOut is a console.
type safeOut struct{ b atomic.Pointer[bytes.Buffer] }

func (s *safeOut) Write(p []byte) (int, error) {
	var next bytes.Buffer
	next.WriteString(s.text())
	next.Write(p)
	s.b.Store(&next)
	return len(p), nil
}

func (s *safeOut) text() string {
	if b := s.b.Load(); b != nil {
		return b.String()
	}
	return ""
}
