package kern

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for start := time.Now(); !so(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal(what)
		}
	}
}

// TestHandlerFails has handlers, of an interrupt and of one on a line, use a nil pointer: who is to know is told once, and they are not called any more.
func TestHandlerFails(t *testing.T) {
	for _, shared := range []bool{false, true} {
		var out lockedBuffer
		h := &Host{Out: &out}
		k := New(h)
		i, err := h.NewInterrupt(0)
		if shared {
			var in *Interrupt
			if in, err = h.NewPin(20, 0); err == nil {
				in.Rearm = func() {}
				i = k.NewLine("irq20", in).Member()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		var calls, failed atomic.Int32
		i.Failed = func() { failed.Add(1) }
		k.Handle(i, "frail", IntrMed, func() { calls.Add(1) })
		raise := func() {
			if shared {
				i.line.in.Raise(k)
			} else {
				i.Raise(k)
			}
		}
		raise()
		eventually(t, "the handler is not called", func() bool { return calls.Load() == 1 })
		i.Crash(k)
		eventually(t, "nobody is told", func() bool { return failed.Load() == 1 })
		raise()
		time.Sleep(5 * time.Millisecond)
		i.Close()
		if calls.Load() != 1 || failed.Load() != 1 {
			t.Errorf("shared %v: %d calls, %d failures", shared, calls.Load(), failed.Load())
		}
		if s := out.String(); !strings.Contains(s, "frail: panic: runtime error: invalid memory address") || !strings.Contains(s, "interrupt.go:") {
			t.Errorf("the log is %s", s)
		}
	}
}

// TestThreadFails tells of a panic of a thread.
func TestThreadFails(t *testing.T) {
	var out lockedBuffer
	k := New(&Host{Out: &out})
	failed := false
	k.Start(ThreadAttr{Name: "frail", Failed: func() { failed = true }}, func() { panic("so it is") }).Join()
	if !failed || !strings.Contains(out.String(), "frail: panic: so it is") {
		t.Errorf("failed %v; the log is %s", failed, out.String())
	}
	k.Start(ThreadAttr{Name: "sound", Failed: func() { t.Error("a thread that ends has failed") }}, func() {}).Join()
}
