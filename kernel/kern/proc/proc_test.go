package proc

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"dfemu/kernel/kern"
)

// clock is a host whose time a test sets.
type clock struct {
	kern.Host
	now atomic.Int64
}

func (c *clock) Now() time.Duration { return time.Duration(c.now.Load()) }

func (c *clock) pass(d time.Duration) { c.now.Add(int64(d)) }

// alone is a clock for one thread, whose tokens need nobody to keep them.
type alone struct{ clock }

func (*alone) GetToken(*kern.Token, kern.TokenMode) {}
func (*alone) ReleaseToken(*kern.Token)             {}

func table() (*Table, *clock) {
	c := &clock{}
	return New(kern.New(c)), c
}

func TestOrder(t *testing.T) {
	x, _ := table()
	for want := 1; want <= 1000; want++ {
		p, err := x.New(nil)
		if err != nil || p.PID() != want {
			t.Fatalf("%v, %v, want %d", p, err, want)
		}
		if x.Find(want) != p {
			t.Fatalf("%d is not found", want)
		}
	}
	if x.Find(1001) != nil || x.Find(0) != nil || x.Find(-1) != nil || x.Find(MaxPID+1) != nil {
		t.Error("what is not there is found")
	}
}

// TestRound comes to the last id: the search goes on at FirstPID, and steps over what is in use, within its bucket.
func TestRound(t *testing.T) {
	x, _ := table()
	var first []*Process
	for range 200 {
		p, _ := x.New(nil)
		first = append(first, p)
	}
	x.hint.Store(MaxPID - 1)
	if p, _ := x.New(nil); p.PID() != MaxPID {
		t.Fatalf("the last id is %d", p.PID())
	}
	if p, _ := x.New(nil); p.PID() != FirstPID+buckets {
		t.Errorf("after the last id comes %d, want %d, as %d is in use", p.PID(), FirstPID+buckets, FirstPID)
	}
	x.hint.Store(MaxPID + 201 - FirstPID)
	if p, _ := x.New(nil); p.PID() != 201 {
		t.Errorf("%d, want 201", p.PID())
	}
	_ = first
}

// TestDelay has an id not given again for ten seconds, nor those of its domain.
func TestDelay(t *testing.T) {
	x, c := table()
	c.pass(time.Hour)
	p, _ := x.New(nil)
	if err := x.Reap(p); err != nil {
		t.Fatal(err)
	}
	if err := x.Reap(p); !errors.Is(err, ErrNoProcess) {
		t.Errorf("reaped twice: %v", err)
	}
	again := func() int {
		x.hint.Store(0)
		q, err := x.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return q.PID()
	}
	if got := again(); got != 1+buckets {
		t.Errorf("at once: %d, want %d", got, 1+buckets)
	}
	x.hint.Store(domains)
	if q, _ := x.New(nil); q.PID() != domains+1-MaxPID/buckets*buckets+2*buckets { // the next but one of the bucket: 1 + 256 is in use
		t.Errorf("of the same domain: %d", q.PID())
	}
	c.pass(Delay)
	if got := again(); got == 1 {
		t.Error("given again after 10 s, which may be less by the clock's seconds")
	}
	c.pass(time.Second)
	if got := again(); got != 1 {
		t.Errorf("after 11 s: %d, want 1", got)
	}
}

// TestFull uses all ids up.
func TestFull(t *testing.T) {
	c := &alone{}
	x := New(kern.New(c))
	seen := make([]bool, MaxPID+1)
	var list []*Process
	for range MaxPID {
		p, err := x.New(nil)
		if err != nil {
			t.Fatalf("after %d: %v", len(list), err)
		}
		if seen[p.PID()] {
			t.Fatalf("%d is given twice", p.PID())
		}
		seen[p.PID()] = true
		list = append(list, p)
	}
	if _, err := x.New(nil); !errors.Is(err, ErrNoID) {
		t.Fatalf("one more: %v", err)
	}
	if err := x.Reap(list[5000]); err != nil {
		t.Fatal(err)
	}
	if _, err := x.New(nil); !errors.Is(err, ErrNoID) {
		t.Fatalf("the id of what has just gone: %v", err)
	}
	c.pass(Delay + time.Second)
	if p, err := x.New(nil); err != nil || p.PID() != list[5000].PID() {
		t.Errorf("%v, %v, want %d", p, err, list[5000].PID())
	}
}

// TestGroups compares groups and sessions with a model.
func TestGroups(t *testing.T) {
	type ids struct{ group, session int }
	rapid.Check(t, func(t *rapid.T) {
		x, _ := table()
		var list []*Process
		model := map[int]ids{} // by process
		pick := func(t *rapid.T) *Process {
			if len(list) == 0 {
				t.Skip()
			}
			return rapid.SampledFrom(list).Draw(t, "process")
		}
		used := func(id int, of func(ids) int) bool {
			for _, m := range model {
				if of(m) == id {
					return true
				}
			}
			return false
		}
		group, session := func(m ids) int { return m.group }, func(m ids) int { return m.session }
		t.Repeat(map[string]func(*rapid.T){
			"new": func(t *rapid.T) {
				var parent *Process
				if len(list) > 0 && rapid.Bool().Draw(t, "child") {
					parent = pick(t)
				}
				p, err := x.New(parent)
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := model[p.PID()]; ok || used(p.PID(), group) || used(p.PID(), session) {
					t.Fatalf("%d is in use", p.PID())
				}
				if parent != nil {
					model[p.PID()] = model[parent.PID()]
				} else {
					model[p.PID()] = ids{}
				}
				list = append(list, p)
			},
			"reap": func(t *rapid.T) {
				p := pick(t)
				if err := x.Reap(p); err != nil {
					t.Fatal(err)
				}
				delete(model, p.PID())
				for i, q := range list {
					if q == p {
						list = append(list[:i:i], list[i+1:]...)
						break
					}
				}
				if x.Find(p.PID()) != nil || !errors.Is(x.NewSession(p), ErrNoProcess) || !errors.Is(x.SetGroup(p, 0), ErrNoProcess) {
					t.Fatal("a process that is gone can still be used")
				}
				if _, err := x.New(p); !errors.Is(err, ErrNoProcess) {
					t.Fatalf("a child of it: %v", err)
				}
			},
			"session": func(t *rapid.T) {
				p := pick(t)
				err := x.NewSession(p)
				if used(p.PID(), group) || used(p.PID(), session) {
					if !errors.Is(err, ErrPermission) {
						t.Fatal(err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				model[p.PID()] = ids{p.PID(), p.PID()}
			},
			"group": func(t *rapid.T) {
				p, id := pick(t), 0
				if rapid.Bool().Draw(t, "other") {
					id = model[pick(t).PID()].group
				}
				to := id
				if to == 0 {
					to = p.PID()
				}
				was := model[p.PID()]
				exists, same := false, false
				for _, m := range model {
					if m.group == to {
						exists, same = true, m.session == was.session
					}
				}
				ok := was.group != 0 && was.session != p.PID() && (exists && same || !exists && to == p.PID())
				if err := x.SetGroup(p, id); ok != (err == nil) || !ok && !errors.Is(err, ErrPermission) {
					t.Fatalf("%d of %v to group %d: %v", p.PID(), was, to, err)
				}
				if ok {
					model[p.PID()] = ids{to, was.session}
				}
			},
			"": func(t *rapid.T) {
				groups, sessions := map[int]bool{}, map[int]bool{}
				for _, p := range list {
					m := model[p.PID()]
					if g, s := x.Group(p); g != m.group || s != m.session {
						t.Fatalf("%d is in group %d of session %d, want %v", p.PID(), g, s, m)
					}
					if x.Find(p.PID()) != p {
						t.Fatalf("%d is not found", p.PID())
					}
					if m.group != 0 {
						groups[m.group], sessions[m.session] = true, true
					}
				}
				n, g, s := 0, 0, 0
				for i := range x.buckets {
					n, g, s = n+x.buckets[i].procs.n, g+x.buckets[i].groups.n, s+x.buckets[i].sessions.n
				}
				if n != len(list) || g != len(groups) || s != len(sessions) {
					t.Fatalf("there are %d processes, %d groups and %d sessions, want %d, %d and %d", n, g, s, len(list), len(groups), len(sessions))
				}
			},
		})
	})
}

// TestTogether makes, groups, finds and reaps processes in several threads.
func TestTogether(t *testing.T) {
	x, _ := table()
	init, _ := x.New(nil)
	if err := x.NewSession(init); err != nil {
		t.Fatal(err)
	}
	var seen sync.Map
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			leader, err := x.New(init)
			for i := range 300 {
				p, e := x.New(leader)
				if err = errors.Join(err, e); err != nil {
					t.Error(err)
					return
				}
				if _, twice := seen.LoadOrStore(p.PID(), true); twice {
					t.Errorf("%d is given twice", p.PID())
				}
				if i%3 == w%3 {
					err = errors.Join(err, x.SetGroup(p, 0))
				}
				if i%5 == 0 {
					err = errors.Join(err, x.SetGroup(leader, init.PID()))
				}
				if x.Find(p.PID()) != p {
					t.Errorf("%d is not found", p.PID())
				}
				err = errors.Join(err, x.Reap(p))
			}
			if err = errors.Join(err, x.Reap(leader)); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if err := x.Reap(init); err != nil {
		t.Error(err)
	}
	for i := range x.buckets {
		if b := &x.buckets[i]; b.procs.n+b.groups.n+b.sessions.n != 0 {
			t.Fatalf("bucket %d is not empty", i)
		}
	}
}
