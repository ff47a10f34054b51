package lwkt

import (
	"slices"
	"testing"
)

// pair is two CPUs, each with a thread that runs.
func pair(t *testing.T) (f *fake, c [2]*CPU, id [2]ThreadID) {
	f = &fake{t: t}
	f.sys.Init(f, memory(2, 16))
	for i := range c {
		c[i] = f.sys.CPU(i)
		id[i] = f.thread(c[i], PriKernel)
		c[i].SwitchTo(id[i])
	}
	return f, c, id
}

// TestTokenWanted looks at the bit that keeps sharers out while a thread waits to have a token exclusively.
func TestTokenWanted(t *testing.T) {
	_, c, id := pair(t)
	var tok, other Token
	wanted := func(want bool) {
		t.Helper()
		if got := tok.count.Load()&tokenWanted != 0; got != want {
			t.Fatalf("the token's word is %#x, wanted: %v", tok.count.Load(), want)
		}
	}
	c[0].GetToken(&tok, Shared)
	if c[1].TryToken(&tok, Exclusive) {
		t.Fatal("a token that is shared is had exclusively")
	}
	wanted(false) // by who only tries
	c[1].GetToken(&tok, Exclusive)
	if wanted(true); !c[1].IsIdle() || tok.Collisions() != 2 {
		t.Fatalf("the thread does not wait, or %d collisions are counted, want 2", tok.Collisions())
	}
	// Who has no other token waits behind it, who has one does not: it could be what the other waits for.
	third := c[0].NewThread(Attr{Priority: PriIntrHigh, Intr: true})
	c[0].Schedule(third)
	if c[0].Current() != third {
		t.Fatal("the interrupt thread does not preempt")
	}
	if c[0].TryToken(&tok, Shared) {
		t.Fatal("a sharer without other tokens goes before one who waits")
	}
	c[0].GetToken(&other, Exclusive)
	if !c[0].TryToken(&tok, Shared) {
		t.Fatal("a sharer with another token does not get it")
	}
	wanted(true)
	c[0].ReleaseToken(&tok)
	c[0].ReleaseToken(&other)
	c[0].Block()
	if c[0].Current() != id[0] || !c[0].HoldsToken(&tok) {
		t.Fatal("the preempted thread does not run on with its token")
	}
	c[0].ReleaseToken(&tok)
	c[1].Switch()
	if c[1].Current() != id[1] || !tok.Held() {
		t.Fatalf("the thread does not get the token: %#x", tok.count.Load())
	}
	wanted(false) // who has got it has cleared it
	c[1].ReleaseToken(&tok)
	if tok.count.Load() != 0 {
		t.Errorf("the word is %#x in the end", tok.count.Load())
	}
}

// TestTokenSorted has a thread wait for two tokens for long: at first it tries them in the order in which it took them, then by address.
func TestTokenSorted(t *testing.T) {
	_, c, id := pair(t)
	var toks [2]Token
	low, high := &toks[0], &toks[1]
	c[0].GetToken(high, Exclusive)
	c[0].GetToken(low, Exclusive)
	waiter := c[0].Current()
	c[0].Block() // gives both up
	c[1].GetToken(low, Exclusive)
	c[1].GetToken(high, Exclusive)
	c[0].Schedule(waiter)
	for round := range spinOrder {
		c[0].Switch()
		if !c[0].IsIdle() || !c[0].WantResched() {
			t.Fatal("the thread runs without its tokens, or the CPU would halt")
		}
		if low.count.Load()&tokenWanted != 0 || high.count.Load()&tokenWanted == 0 {
			t.Fatalf("round %d: the words are %#x and %#x, want only that of the first to be wanted", round, low.count.Load(), high.count.Load())
		}
	}
	if c[0].Switch(); low.count.Load()&tokenWanted == 0 {
		t.Error("it still does not go by address")
	}
	c[1].ReleaseToken(high)
	c[0].Switch()
	if !c[0].IsIdle() || high.Held() {
		t.Error("one of two tokens is kept")
	}
	c[1].ReleaseToken(low)
	if c[0].Switch(); c[0].Current() != id[0] || !c[0].HoldsToken(low) || !c[0].HoldsToken(high) {
		t.Error("the thread does not run with both")
	}
	if n := c[0].thread(waiter).spins; n != 0 {
		t.Errorf("%d rounds are still counted", n)
	}
}

// TestRingLimits fills a ring: a sender waits at half of it, within a message at nearly all of it, and takes its own messages meanwhile.
func TestRingLimits(t *testing.T) {
	const count, more = FirstIPIFunc, FirstIPIFunc + 1
	for name, limit := range map[string]int{"outside": ringSize / 2, "in a message": ringSize - 8} {
		t.Run(name, func(t *testing.T) {
			f, c, _ := pair(t)
			got, back := 0, 0
			f.sys.RegisterIPI(count, func(x *CPU, a, _ uint64) {
				if x.id == 1 {
					got++
				} else {
					back++
				}
			})
			c[1].Send(0, count, 0, 0)
			waits := 0
			f.pause = func() {
				if waits++; waits == 3 {
					c[1].ProcessIPIs()
				}
			}
			fill := func() {
				for range limit {
					c[0].Send(1, count, 0, 0)
				}
				if waits != 0 {
					t.Fatalf("it waits with %d messages", limit)
				}
				c[0].Send(1, count, 0, 0)
			}
			f.sys.RegisterIPI(more, func(*CPU, uint64, uint64) { fill() })
			if limit == ringSize/2 {
				fill()
			} else {
				c[1].ProcessIPIs()
				c[1].Send(0, more, 0, 0)
				c[0].ProcessIPIs()
			}
			if waits < 3 || got != limit || back != 1 {
				t.Errorf("it waited %d times, and %d messages were taken meanwhile, %d of its own", waits, got, back)
			}
			if c[1].ProcessIPIs(); got != limit+1 {
				t.Errorf("%d messages arrived, want %d", got, limit+1)
			}
		})
	}
}

// TestSendMask sends to sets of CPUs: from the one after the sender on, and the sender itself calls at once.
func TestSendMask(t *testing.T) {
	f := &fake{t: t}
	f.sys.Init(f, memory(5, 8))
	var called []int
	f.sys.RegisterIPI(FirstIPIFunc, func(c *CPU, a, b uint64) {
		if a != 7 || b != 8 {
			t.Errorf("called with %d, %d", a, b)
		}
		called = append(called, c.id)
	})
	f.sys.CPU(3).SendMask(func(cpu int) bool { return cpu != 1 }, FirstIPIFunc, 7, 8)
	if !slices.Equal(f.ipis, []int{4, 0, 2}) || !slices.Equal(called, []int{3}) {
		t.Errorf("interrupts to %v, called on %v", f.ipis, called)
	}
	for i := range 5 {
		f.sys.CPU(i).ProcessIPIs()
	}
	if !slices.Equal(called, []int{3, 0, 2, 4}) {
		t.Errorf("called on %v", called)
	}
}

// TestWaitIPI waits for a message that the other CPU takes long for, which is told once, and for one that has been executed.
func TestWaitIPI(t *testing.T) {
	f, c, _ := pair(t)
	f.sys.RegisterIPI(FirstIPIFunc, func(*CPU, uint64, uint64) {})
	f.pause = func() {
		if f.now += slowIPI / 4; f.now > 3*slowIPI {
			c[1].ProcessIPIs()
		}
	}
	seq := c[0].Send(1, FirstIPIFunc, 0, 0)
	c[0].Wait(1, seq)
	if !slices.Equal(f.slow, []int{1}) {
		t.Errorf("slow CPUs: %v", f.slow)
	}
	now := f.now
	if c[0].Wait(1, seq); f.now != now {
		t.Error("it waits for a message that has been executed")
	}
	// Its own messages keep it for long: that is no fault of the other's.
	f.now, f.slow = 0, nil
	f.sys.RegisterIPI(FirstIPIFunc+1, func(*CPU, uint64, uint64) { f.now += 10 * slowIPI })
	c[1].Send(0, FirstIPIFunc+1, 0, 0)
	polls := 0
	f.pause = func() {
		if polls++; polls == 3 {
			c[1].ProcessIPIs()
		}
	}
	if c[0].Wait(1, c[0].Send(1, FirstIPIFunc, 0, 0)); f.slow != nil {
		t.Errorf("slow CPUs: %v", f.slow)
	}
}

// TestNestedCompletion has a message wait for room within another: both count as executed when the outer one has ended.
func TestNestedCompletion(t *testing.T) {
	f, c, _ := pair(t)
	const inner, outer = FirstIPIFunc, FirstIPIFunc + 1
	var during uint32
	f.sys.RegisterIPI(inner, func(*CPU, uint64, uint64) {})
	f.sys.RegisterIPI(outer, func(x *CPU, _, _ uint64) {
		x.ProcessIPIs() // as a send that finds no room does
		during = f.sys.ring(0, 1).xindex.Load()
	})
	c[0].Send(1, outer, 0, 0)
	c[0].Send(1, inner, 0, 0)
	c[1].sources[0].Store(1)
	r := f.sys.ring(0, 1)
	c[1].ProcessIPIs()
	if during != 0 || r.xindex.Load() != 2 || r.rindex.Load() != 2 {
		t.Errorf("within the outer message %d were executed, then %d of %d", during, r.xindex.Load(), r.rindex.Load())
	}
}

// TestQuiesceSome makes some CPUs stand still; the function is called on these alone.
func TestQuiesceSome(t *testing.T) {
	f := &fake{t: t}
	f.sys.Init(f, memory(3, 8))
	var called []int
	f.sys.RegisterIPI(FirstIPIFunc, func(c *CPU, a, _ uint64) { called = append(called, c.id*10+int(a)) })
	c := f.sys.CPU(0)
	c.Quiesce(func(cpu int) bool { return cpu == 0 }) // nobody else
	c.Unquiesce(FirstIPIFunc, 5)
	if len(called) != 0 || len(f.ipis) != 0 {
		t.Fatalf("called on %v, interrupts to %v", called, f.ipis)
	}
	inside := 0
	f.pause = func() {
		if f.sys.sync.acks.Load() == 0 && inside == 0 {
			inside++
			// CPU 2 comes to stand still: it goes on when the state changes, which the fake does from within its loop.
			f.pause = func() {
				if f.sys.sync.state.Load() == syncHold && inside == 1 {
					inside++
					f.sys.sync.fn, f.sys.sync.a = FirstIPIFunc, 5
					f.sys.sync.state.Store(syncGo)
				}
			}
			f.sys.CPU(2).ProcessIPIs()
		}
	}
	c.Quiesce(func(cpu int) bool { return cpu == 2 })
	if !slices.Equal(f.ipis, []int{2}) || !slices.Equal(called, []int{25}) {
		t.Errorf("interrupts to %v, called on %v", f.ipis, called)
	}
	c.Unquiesce(FirstIPIFunc, 5)
	if f.sys.sync.owner.Load() != 0 {
		t.Error("the CPUs are still held")
	}
}

// TestNoPreemption lets interrupt threads become runnable where they must not preempt: they run at the next switch.
func TestNoPreemption(t *testing.T) {
	var tok Token
	for name, c := range map[string]struct {
		pri     int
		prepare func(c *CPU, cur, intr ThreadID)
	}{
		"of equal priority": {PriKernel, func(*CPU, ThreadID, ThreadID) {}},
		"of less priority":  {PriUser, func(*CPU, ThreadID, ThreadID) {}},
		"in a critical section": {PriMax, func(c *CPU, cur, _ ThreadID) {
			c.thread(cur).CritEnter()
		}},
		"that wants tokens": {PriMax, func(c *CPU, cur, intr ThreadID) {
			c.Schedule(intr)
			c.GetToken(&tok, Exclusive)
			c.Block() // with the token, which is given up
		}},
		"that is no interrupt thread": {PriMax, func(c *CPU, cur, intr ThreadID) { c.SetClass(intr, false, false) }},
	} {
		t.Run(name, func(t *testing.T) {
			f, cpu := single(t)
			cur := f.thread(cpu, PriKernel)
			cpu.SwitchTo(cur)
			intr := cpu.NewThread(Attr{Priority: c.pri, Intr: true})
			c.prepare(cpu, cur, intr)
			before := cpu.Stats.Preemptions
			if cpu.Schedule(intr); cpu.Current() != cur || cpu.Stats.Preemptions != before {
				t.Error("the thread is preempted")
			}
			if want := c.pri > PriKernel; cpu.WantResched() != want {
				t.Errorf("a switch is wanted: %v, want %v", !want, want)
			}
		})
	}
}
