package ifnet

import (
	"errors"
	"slices"
	"testing"
)

// recorder is a driver that keeps what it is to send, or fails.
type recorder struct {
	sent int
	err  error
}

func (r *recorder) Transmit(b []byte) error {
	if r.err == nil {
		r.sent++
	}
	return r.err
}

// TestInterface goes through the life of an interface: what is refused, what is counted, and who is told.
func TestInterface(t *testing.T) {
	s := New()
	var events []Event
	s.Notify(func(_ *Interface, e Event) { events = append(events, e) })
	for _, mtu := range []int{0, MinMTU - 1, MaxMTU + 1} {
		if _, err := s.Attach(Info{Name: "bad0", MTU: mtu}, nil); err == nil {
			t.Errorf("an MTU of %d is taken", mtu)
		}
	}
	d := &recorder{}
	i, err := s.Attach(Info{Name: "test0", MTU: 100}, d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Attach(Info{Name: "test0", MTU: 100}, d); err == nil {
		t.Error("a name is taken twice")
	}
	send := func(n int, want error) {
		t.Helper()
		if err := i.Send(make([]byte, n)); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", n, err, want)
		}
	}
	send(50, ErrDown)
	if !i.SetLink(true) || i.SetLink(true) {
		t.Error("the link came up not at all, or twice")
	}
	send(HeaderLen-1, ErrSize)
	send(HeaderLen+101, ErrSize)
	send(HeaderLen+100, nil)
	d.err = ErrFull
	send(50, ErrFull)
	n := &i.Stats
	if d.sent != 1 || n.OutFrames.Load() != 1 || n.OutBytes.Load() != HeaderLen+100 || n.OutErrors.Load() != 3 || n.OutDrops.Load() != 1 {
		t.Errorf("sent %d; counted %d frames %d bytes %d errors %d drops", d.sent, n.OutFrames.Load(), n.OutBytes.Load(), n.OutErrors.Load(), n.OutDrops.Load())
	}
	i.Input(make([]byte, 60))
	got := 0
	s.Handle(func(on *Interface, b []byte) {
		if on == i && len(b) == 60 {
			got++
		}
	})
	i.Input(make([]byte, 60))
	i.Input(make([]byte, HeaderLen-1))
	if got != 1 || n.InFrames.Load() != 2 || n.InDrops.Load() != 1 || n.InErrors.Load() != 1 {
		t.Errorf("received %d; counted %d frames %d drops %d errors", got, n.InFrames.Load(), n.InDrops.Load(), n.InErrors.Load())
	}
	if s.Find("test0") != i || len(s.List()) != 1 {
		t.Error("the interface is not found")
	}
	i.SetLink(false)
	i.Detach()
	i.Detach()
	if i.SetLink(true) || s.Find("test0") != nil {
		t.Error("an interface that is gone has a link, or is found")
	}
	send(50, ErrGone)
	if want := []Event{Attached, LinkUp, LinkDown, Detached}; !slices.Equal(events, want) {
		t.Errorf("events %v, want %v", events, want)
	}
}
