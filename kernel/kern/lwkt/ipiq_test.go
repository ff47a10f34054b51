package lwkt

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// TestIPIOrder floods all pairs of CPUs, from within messages too: nothing is lost, and messages of one
// sender arrive in their order.
func TestIPIOrder(t *testing.T) {
	h := newHost(t, 3, 8)
	last := make([]uint64, 9) // [target*3+source], the target's
	var total atomic.Int64
	note := FirstIPIFunc
	echo := FirstIPIFunc + 1
	h.sys.RegisterIPI(note, func(c *CPU, source, n uint64) {
		total.Add(1)
		at := &last[c.id*3+int(source)]
		if n <= *at {
			t.Errorf("CPU %d has message %d of CPU %d after %d", c.id, n, source, *at)
		}
		*at = n
	})
	h.sys.RegisterIPI(echo, func(c *CPU, to, _ uint64) {
		total.Add(1)
		c.Send(int(to), FirstIPIFunc+2, 0, 0)
	})
	h.sys.RegisterIPI(FirstIPIFunc+2, func(*CPU, uint64, uint64) { total.Add(1) })
	const n = 2000
	h.workers(3, func(x *hostThread, w int) {
		rng := rand.New(rand.NewPCG(2, uint64(w)))
		for i := range uint64(n) {
			x.kernel(func(c *CPU) {
				to := rng.IntN(3)
				if i%2 == 0 {
					c.Send(to, note, uint64(c.id), i+1)
				} else {
					c.Send(to, echo, uint64(rng.IntN(3)), 0)
				}
				if i%50 == 49 {
					next := (c.id + 1) % 3
					seq := c.Send(next, note, uint64(c.id), i+1)
					c.Wait(next, seq)
					if got := h.sys.ring(c.id, next).xindex.Load(); int32(got-seq) < 0 {
						t.Errorf("Wait for %d returned with %d executed", seq, got)
					}
				}
			})
		}
		for to := range 3 {
			x.kernel(func(c *CPU) { c.Wait(to, c.sys.ring(c.id, to).windex.Load()) })
		}
	})
	// Echoes of the last messages may still be under way; all that was sent is counted or waits.
	if got := total.Load(); got < 3*n {
		t.Errorf("%d messages arrived, want at least %d", got, 3*n)
	}
}

func TestQuiesce(t *testing.T) {
	h := newHost(t, 4, 8)
	var moving, still atomic.Int32
	h.sys.RegisterIPI(FirstIPIFunc, func(*CPU, uint64, uint64) { still.Add(1) })
	counts := make([]atomic.Int64, 4)
	all := func(int) bool { return true }
	h.workers(4, func(x *hostThread, w int) {
		for i := range 60 {
			counts[w].Add(1)
			x.poll()
			if i%3 != 0 {
				continue
			}
			x.kernel(func(c *CPU) {
				c.Quiesce(all)
				if moving.Add(1) != 1 {
					t.Error("two CPUs have quiesced the others at once")
				}
				moving.Add(-1)
				c.Unquiesce(FirstIPIFunc, 0)
			})
		}
	})
	if got := still.Load(); got != 4*20*3 {
		t.Errorf("the function ran %d times, want %d", got, 4*20*3)
	}
}

func TestCallAll(t *testing.T) {
	h := newHost(t, 3, 8)
	var n atomic.Int32
	h.sys.RegisterIPI(FirstIPIFunc, func(*CPU, uint64, uint64) { n.Add(1) })
	h.workers(3, func(x *hostThread, _ int) {
		for range 50 {
			x.kernel(func(c *CPU) { c.CallAll(func(int) bool { return true }, FirstIPIFunc, 0) })
		}
	})
	if n.Load() != 3*50*3 {
		t.Errorf("%d calls, want %d", n.Load(), 3*50*3)
	}
}

// TestCalloutModel compares callouts with a map of times.
func TestCalloutModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &fake{now: 1}
		f.sys.Init(f, memory(1, 40))
		c := f.sys.CPU(0)
		fired := map[uint64]int64{}
		f.sys.RegisterIPI(FirstIPIFunc, func(_ *CPU, arg, _ uint64) { fired[arg] = f.now })
		set := map[CalloutID]int64{}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				id := CalloutID(rapid.IntRange(42, 60).Draw(t, "id"))
				when := f.now + int64(rapid.IntRange(0, 50).Draw(t, "in"))
				c.SetCallout(id, when, FirstIPIFunc, uint64(id))
				set[id] = when
			},
			"stop": func(t *rapid.T) {
				id := CalloutID(rapid.IntRange(42, 60).Draw(t, "id"))
				c.StopCallout(id)
				delete(set, id)
			},
			"time": func(t *rapid.T) {
				f.now += int64(rapid.IntRange(0, 30).Draw(t, "step"))
				if f.timer != 0 && f.now >= f.timer {
					f.timer = 0
				}
				c.Timer()
				for id, when := range set {
					if when <= f.now {
						if fired[uint64(id)] != f.now {
							t.Fatalf("callout %d for %d has not fired at %d", id, when, f.now)
						}
						delete(set, id)
						delete(fired, uint64(id))
					}
				}
				if len(fired) > 0 {
					t.Fatalf("callouts fired that were not due: %v", fired)
				}
			},
			"": func(t *rapid.T) {
				c.ArmTimer()
				first := int64(0)
				for _, when := range set {
					if first == 0 || when < first {
						first = when
					}
				}
				if f.timer != first {
					t.Fatalf("the timer is set to %d, want %d", f.timer, first)
				}
			},
		})
	})
}

// TestEarlyTimer lets the timer go off before its time by the clock.
func TestEarlyTimer(t *testing.T) {
	f, c := single(t)
	f.sys.RegisterIPI(FirstIPIFunc, func(*CPU, uint64, uint64) {})
	c.SetCallout(100, 1000, FirstIPIFunc, 0)
	c.ArmTimer()
	f.now, f.timer = 999, 0
	c.Timer()
	if c.ArmTimer(); f.timer != 1000 {
		t.Errorf("the timer is set to %d after it went off early, want 1000", f.timer)
	}
}

func TestSleep(t *testing.T) {
	h := newHost(t, 2, 8)
	const ident = 0x2000
	var timedOut, woken, state atomic.Int32
	h.workers(4, func(x *hostThread, w int) {
		sleep := func(d int64) SleepResult {
			x.kernel(func(c *CPU) {
				c.SleepLock(ident)
				when := int64(0)
				if d > 0 {
					when = h.Now() + d
				}
				c.SleepOn(ident, when)
			})
			return h.sys.Thread(x.id).Result()
		}
		switch w {
		case 0:
			if sleep(2_000_000) == TimedOut {
				timedOut.Add(1)
			}
			state.Add(1)
		case 1, 2:
			for state.Load() == 0 {
				x.poll()
			}
			state.Add(1)
			if sleep(0) == Woken {
				woken.Add(1)
			}
		case 3:
			for state.Load() != 3 {
				x.poll()
			}
			for n := 0; n < 2; {
				x.kernel(func(c *CPU) { n += c.Wakeup(ident, 1) })
			}
		}
	})
	if timedOut.Load() != 1 || woken.Load() != 2 {
		t.Errorf("%d sleeps timed out and %d were woken, want 1 and 2", timedOut.Load(), woken.Load())
	}
}
