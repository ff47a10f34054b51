package kern

import (
	"strings"
	"sync/atomic"
	"testing"
)

// TestLine shares a pin: all are called, one that panics does not keep the others from it, one that has gone is not called, and
// a pin without anybody stays masked.
func TestLine(t *testing.T) {
	var out lockedBuffer
	h := &Host{Out: &out}
	k := New(h)
	in, err := h.NewPin(20, 0)
	if err != nil {
		t.Fatal(err)
	}
	armed := make(chan bool, 100)
	in.Rearm = func() { armed <- true }
	l := k.NewLine("irq20", in)
	var a, b atomic.Int32
	ia, ib := l.Member(), l.Member()
	if !ia.Shared() || in.Shared() {
		t.Error("a member is shared, a pin is not")
	}
	k.Handle(ia, "a", IntrMed, func() {
		if a.Add(1) == 1 {
			panic("once")
		}
	})
	k.Handle(ib, "b", IntrMed, func() { b.Add(1) })
	<-armed
	for range 2 {
		in.Raise(k)
		<-armed
	}
	if a.Load() != 2 || b.Load() != 2 || !strings.Contains(out.String(), "a: panic: once") {
		t.Errorf("%d and %d calls of 2; the log is %s", a.Load(), b.Load(), out.String())
	}
	ia.Close()
	in.Raise(k)
	<-armed
	if a.Load() != 2 || b.Load() != 3 {
		t.Errorf("after one was closed %d and %d calls, want 2 and 3", a.Load(), b.Load())
	}
	ib.Close()
	l.run()
	select {
	case <-armed:
		t.Error("the pin of nobody was unmasked")
	default:
	}
}

// TestLineStorm has a line storm: what its devices say of their interrupts counts, and they are named.
func TestLineStorm(t *testing.T) {
	var out lockedBuffer
	h := &Host{Out: &out}
	k := New(h)
	in, err := h.NewPin(20, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := k.NewLine("irq20", in)
	a, b := l.Member(), l.Member()
	var busy atomic.Bool
	k.Handle(a, "vtblk0", IntrMed, func() {
		if busy.Load() {
			a.Busy()
		} else {
			a.Idle()
		}
	})
	k.Handle(b, "ahci0", IntrMed, func() { b.Idle() })
	l.mu.Lock()
	was := in.storm
	l.mu.Unlock()
	l.run()
	if in.storm.idle != was.idle+1 {
		t.Error("two devices with nothing to say: the line had something")
	}
	busy.Store(true)
	l.run()
	if in.storm.busy != was.busy+1 {
		t.Error("a device had something to say: the line had nothing")
	}
	in.storm.on = true
	l.run()
	l.run()
	if n := strings.Count(out.String(), "irq20: the storm is made by one of vtblk0, ahci0"); n != 1 {
		t.Errorf("it was told %d times who shares the line:\n%s", n, out.String())
	}
}
