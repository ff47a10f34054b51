package lwkt

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is the scheduler's rules, written down as a list.
type model struct {
	queue []modelThread // best first; the running thread is on it
	cur   ThreadID
}

type modelThread struct {
	id        ThreadID
	pri, upri int
	ahead     bool
}

func (t modelThread) before(o modelThread) bool {
	return t.pri > o.pri || t.pri == o.pri && (t.upri > o.upri || t.upri == o.upri && t.ahead && !o.ahead)
}

// add looks for the place from both ends: where ticks, which ignore the user priority, have left
// threads of one priority out of order, that decides.
func (m *model) add(t modelThread) {
	front, back := 0, len(m.queue)-1
	for front < len(m.queue) && back >= 0 && !t.before(m.queue[front]) && t.before(m.queue[back]) {
		front++
		back--
	}
	at := front
	if front < len(m.queue) && !t.before(m.queue[front]) {
		at = back + 1
	}
	m.queue = slices.Insert(m.queue, at, t)
}

func (m *model) del(id ThreadID) modelThread {
	i := slices.IndexFunc(m.queue, func(t modelThread) bool { return t.id == id })
	t := m.queue[i]
	m.queue = slices.Delete(m.queue, i, i+1)
	return t
}

func (m *model) has(id ThreadID) bool {
	return slices.ContainsFunc(m.queue, func(t modelThread) bool { return t.id == id })
}

func (m *model) pick(idle ThreadID) {
	m.cur = idle
	if len(m.queue) > 0 {
		m.cur = m.queue[0].id
	}
}

// TestSchedulerModel compares the run queue and what runs with the model over random
// events.
func TestSchedulerModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &fake{t: nil}
		f.sys.Init(f, memory(1, 32))
		c := f.sys.CPU(0)
		idle := c.idleThread
		m := &model{cur: idle}
		var all []ThreadID
		attr := map[ThreadID]modelThread{}
		mark := func(id ThreadID, ahead bool) {
			a := attr[id]
			a.ahead = ahead
			attr[id] = a
			if i := slices.IndexFunc(m.queue, func(t modelThread) bool { return t.id == id }); i >= 0 {
				m.queue[i].ahead = ahead
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"new": func(t *rapid.T) {
				if len(all) == 20 {
					t.Skip()
				}
				pri := rapid.IntRange(1, 4).Draw(t, "pri") * 6
				id := c.NewThread(Attr{Priority: pri})
				all = append(all, id)
				attr[id] = modelThread{id: id, pri: pri}
			},
			"schedule": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				id := rapid.SampledFrom(all).Draw(t, "thread")
				c.Schedule(id)
				if !m.has(id) {
					m.add(attr[id])
				}
			},
			"priority": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				id := rapid.SampledFrom(all).Draw(t, "thread")
				a := modelThread{id, rapid.IntRange(1, 4).Draw(t, "pri") * 6, rapid.IntRange(-1, 1).Draw(t, "upri"), attr[id].ahead}
				c.SetPriority(id, a.pri, a.upri)
				attr[id] = a
				if m.has(id) {
					m.del(id)
					m.add(a)
				}
			},
			"switch": func(*rapid.T) {
				c.Switch()
				m.pick(idle)
			},
			"block": func(t *rapid.T) {
				if m.cur == idle {
					t.Skip()
				}
				c.Block()
				if m.has(m.cur) {
					m.del(m.cur)
				}
				m.pick(idle)
			},
			"wait": func(t *rapid.T) { // Schedule wakes it
				if m.cur == idle {
					t.Skip()
				}
				c.SleepLock(uint64(m.cur))
				c.SleepAhead(uint64(m.cur), 0)
				c.SleepLock(uint64(m.cur))
				c.sys.bucket(uint64(m.cur)).remove(c.sys, c.thread(m.cur))
				c.SleepUnlock(uint64(m.cur))
				if m.has(m.cur) {
					m.del(m.cur)
				}
				mark(m.cur, true)
				m.pick(idle)
			},
			"yield": func(t *rapid.T) {
				if m.cur == idle {
					t.Skip()
				}
				c.Yield()
				if m.has(m.cur) {
					mark(m.cur, false)
					a := m.del(m.cur)
					a.ahead = false
					m.add(a)
				}
				m.pick(idle)
			},
			"tick": func(*rapid.T) {
				c.Tick()
				if m.cur != idle {
					mark(m.cur, false)
				}
				if len(m.queue) > 0 && m.queue[0].id == m.cur {
					pri := m.queue[0].pri
					head := m.queue[0]
					i := 1
					for i < len(m.queue) && m.queue[i].pri == pri {
						i++
					}
					m.queue = slices.Insert(m.queue, i, head)
					m.queue = slices.Delete(m.queue, 0, 1)
				}
			},
			"": func(t *rapid.T) {
				if c.Current() != m.cur {
					t.Fatalf("the CPU runs %d, want %d", c.Current(), m.cur)
				}
				var got, want []ThreadID
				for id := c.head; id != 0; id = c.thread(id).next {
					got = append(got, id)
				}
				for _, q := range m.queue {
					want = append(want, q.id)
				}
				if !slices.Equal(got, want) || c.Load() != len(want) {
					t.Fatalf("run queue %v (load %d), want %v", got, c.Load(), want)
				}
				if len(want) > 0 && want[0] != m.cur && !c.WantResched() && m.cur != idle {
					// A change of priority may put another at the head without an event of its own;
					// all else asks for a switch.
					if attr[want[0]].pri > attr[m.cur].pri {
						t.Fatalf("thread %d is better than %d, and no switch is wanted", want[0], m.cur)
					}
				}
			},
		})
	})
}

func TestPreemption(t *testing.T) {
	f, c := single(t)
	low := f.thread(c, PriKernel)
	c.SwitchTo(low)
	intr := c.NewThread(Attr{Priority: PriIntrLow, Intr: true})
	high := c.NewThread(Attr{Priority: PriIntrHigh, Intr: true})
	third := c.NewThread(Attr{Priority: PriMax, Intr: true})

	f.sys.Thread(low).CritEnter()
	c.Schedule(intr)
	if c.Current() != low || !c.WantResched() {
		t.Fatal("a thread in a critical section is preempted")
	}
	if !f.sys.Thread(low).CritExit() {
		t.Fatal("the critical section does not end")
	}
	c.Switch()
	if c.Current() != intr {
		t.Fatal("the better thread does not run after the critical section")
	}
	c.Block()
	if c.Current() != low {
		t.Fatal("the first thread does not run on")
	}
	// Nested: each returns to the one it preempted; a third level is not allowed.
	c.Schedule(intr)
	c.Schedule(high)
	if c.Current() != high || f.sys.Thread(intr).flags&flagPreempted == 0 {
		t.Fatal("preemptors do not nest")
	}
	c.Schedule(third)
	if c.Current() != high {
		t.Fatal("preemption nests too deep")
	}
	c.Block()
	if c.Current() != intr {
		t.Fatalf("thread %d runs after the second preemptor, want the first, %d", c.Current(), intr)
	}
	if !c.WantResched() {
		t.Fatal("the third preemptor is forgotten")
	}
	c.Block()
	if c.Current() != low {
		t.Fatal("the preempted thread does not run after its preemptor")
	}
	c.Switch()
	if c.Current() != third {
		t.Fatal("the best thread does not run")
	}
}

// TestRemoteSchedule counts the messages and interrupts it takes to make a thread of another CPU
// runnable.
func TestRemoteSchedule(t *testing.T) {
	f := &fake{t: t}
	f.sys.Init(f, memory(2, 8))
	c0, c1 := f.sys.CPU(0), f.sys.CPU(1)
	id := f.thread(c1, PriKernel)
	c0.Schedule(id)
	if c0.Stats.IPIsSent != 1 || !slices.Equal(f.ipis, []int{1}) || c1.head != 0 {
		t.Fatalf("%d messages and interrupts %v, want one each to CPU 1, and its queue untouched", c0.Stats.IPIsSent, f.ipis)
	}
	c0.Schedule(id) // the CPU has been interrupted already
	if len(f.ipis) != 1 {
		t.Errorf("%d interrupts for two messages, want 1", len(f.ipis))
	}
	c1.ProcessIPIs()
	c1.Switch()
	if c1.Current() != id || c1.Load() != 1 {
		t.Errorf("CPU 1 runs %d with %d threads, want %d with 1", c1.Current(), c1.Load(), id)
	}
	c1.Polling(true)
	c0.Send(1, ipiSchedule, uint64(id), 0)
	if len(f.ipis) != 1 {
		t.Error("a CPU that polls is interrupted")
	}
}

// TestInterruptAfterMessage executes a message before the interrupt for it is asked for: the next message
// must be able to interrupt again.
func TestInterruptAfterMessage(t *testing.T) {
	f := &fake{t: t}
	f.sys.Init(f, memory(2, 8))
	f.sys.RegisterIPI(FirstIPIFunc, func(*CPU, uint64, uint64) {})
	c0, c1 := f.sys.CPU(0), f.sys.CPU(1)
	c0.SendPassive(1, FirstIPIFunc, 0, 0)
	c1.ProcessIPIs()
	c1.kick(c0) // the rest of a Send whose message was quickly seen
	if len(f.ipis) != 1 {
		t.Fatalf("%d interrupts, want 1", len(f.ipis))
	}
	if !c1.HasIPIs() {
		t.Fatal("the interrupt that was sent is not seen")
	}
	c1.ProcessIPIs()
	if c0.Send(1, FirstIPIFunc, 0, 0); len(f.ipis) != 2 {
		t.Errorf("%d interrupts after another message, want 2", len(f.ipis))
	}
}

func TestPassive(t *testing.T) {
	f := &fake{t: t}
	f.sys.Init(f, memory(2, 8))
	n := 0
	f.sys.RegisterIPI(FirstIPIFunc, func(*CPU, uint64, uint64) { n++ })
	c0, c1 := f.sys.CPU(0), f.sys.CPU(1)
	for range ringSize / 4 {
		c0.SendPassive(1, FirstIPIFunc, 0, 0)
	}
	if len(f.ipis) != 0 {
		t.Errorf("%d interrupts for a quarter of the ring", len(f.ipis))
	}
	c0.SendPassive(1, FirstIPIFunc, 0, 0)
	if len(f.ipis) != 1 {
		t.Errorf("%d interrupts for more than a quarter of the ring, want 1", len(f.ipis))
	}
	if c1.ProcessIPIs(); n != ringSize/4+1 {
		t.Errorf("%d messages arrived", n)
	}
}

func TestMigrate(t *testing.T) {
	h := newHost(t, 3, 8)
	h.workers(6, func(x *hostThread, w int) {
		for i := range 200 {
			to := (w + i) % 3
			x.kernel(func(c *CPU) { c.Migrate(to) })
			if x.cpu != to {
				t.Errorf("thread %d is on CPU %d after it went to %d", x.id, x.cpu, to)
			}
		}
	})
}

// TestFloating puts all work on one CPU: the idle ones take their share.
func TestFloating(t *testing.T) {
	h := newHost(t, 3, 8)
	var list []*hostThread
	seen := make([]map[int]bool, 6)
	for i := range seen {
		seen[i] = map[int]bool{}
		list = append(list, h.spawn(Attr{CPU: 0, Priority: PriKernelUser, Floating: true}, func(x *hostThread) {
			end := h.Now() + 60_000_000
			for h.Now() < end {
				x.poll()
				seen[i][x.cpu] = true
			}
		}))
	}
	h.startOn(0, list...)
	join(t, list)
	all := map[int]bool{}
	for _, s := range seen {
		for cpu := range s {
			all[cpu] = true
		}
	}
	if len(all) != 3 {
		t.Errorf("CPUs %v have worked, want 3", all)
	}
}
