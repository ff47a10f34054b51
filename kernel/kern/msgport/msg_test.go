package msgport

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfemu/kernel/kern"

	"pgregory.net/rapid"
)

var errTest = errors.New("an answer")

func TestFlagValues(t *testing.T) {
	for i, f := range []Flags{Done, Replied, Queued, Sync, InTransit, Waiting, Dropable, Abortable, Priority, Receipt} {
		if f != 1<<i {
			t.Errorf("flag %d is %#x", i, f)
		}
	}
}

// TestSynchronous lets a port answer at once: nobody waits or is woken.
func TestSynchronous(t *testing.T) {
	k := kern.New(&counting{t: t})
	p := NewPut(k, "sync", func(m *Msg) error { return errTest })
	m := New(k, nil, 0)
	if err := Do(p, m); err != errTest || !m.Has(Done|Replied|Sync) || m.Has(Queued) {
		t.Errorf("Do: %v, flags %#x", err, m.Flags())
	}
	back := NewSpin(k, "back")
	m = New(k, back, 0)
	if Send(p, m); !m.Has(Done|Replied|Queued) || m.Has(Sync) || m.Err != errTest {
		t.Errorf("Send: %v, flags %#x", m.Err, m.Flags())
	}
	if got := back.Get(); got != m || m.Has(Queued) {
		t.Errorf("the reply port has %p, want %p", got, m)
	}
}

// counting is a platform on which it is a failure to wait, and counts who is woken.
type counting struct {
	kern.Host
	t     *testing.T
	wakes int
}

func (c *counting) Wait(*atomic.Uint32, uint32, time.Duration) bool {
	c.t.Error("a thread waits")
	return true
}

func (c *counting) Wake(*atomic.Uint32, int) { c.wakes++ }

// TestWakes counts how often somebody is woken: only where a thread waits.
func TestWakes(t *testing.T) {
	p := &counting{t: t}
	k := kern.New(p)
	back := NewThread(k, "back")
	for name, port := range map[string]*Port{"thread": NewThread(k, "thread"), "spin": NewSpin(k, "spin")} {
		p.wakes = 0
		m := New(k, back, 0)
		if Send(port, m); port.Get() != m || p.wakes != 0 {
			t.Errorf("%s: %d wakes for a message nobody waits for", name, p.wakes)
		}
		if Reply(m, nil); back.Get() != m || p.wakes != 0 {
			t.Errorf("%s: %d wakes for a reply nobody waits for", name, p.wakes)
		}
		port.consumers.Add(1) // a thread sleeps in Wait
		if Send(port, m); port.Get() != m || p.wakes != 1 {
			t.Errorf("%s: %d wakes for a message that a thread waits for", name, p.wakes)
		}
		port.consumers.Add(-1)
		m.set(Waiting) // its sender sleeps
		if Reply(m, nil); p.wakes != 2 || !m.Has(Done|Replied) {
			t.Errorf("%s: %d wakes for a reply that a thread waits for", name, p.wakes-1)
		}
		Wait(m)
	}
}

// TestServer sends from several threads to several servers through each kind of port.
func TestServer(t *testing.T) {
	for name, make := range map[string]func(k *kern.Kernel) *Port{
		"thread":     func(k *kern.Kernel) *Port { return NewThread(k, "p") },
		"spin":       func(k *kern.Kernel) *Port { return NewSpin(k, "p") },
		"serializer": func(k *kern.Kernel) *Port { return NewSerializer(k, "p", new(sync.Mutex)) },
	} {
		t.Run(name, func(t *testing.T) {
			k := kern.New(&kern.Host{})
			p := make(k)
			const clients, rounds = 4, 200
			servers := 2
			if name == "thread" {
				servers = 1
			}
			stop := errors.New("stop")
			for range servers {
				k.Start(kern.ThreadAttr{Name: "server"}, func() {
					for {
						m := p.Wait()
						n, ok := m.Data.(int)
						if !ok {
							Reply(m, stop)
							return
						}
						m.Data = n + 1
						Reply(m, nil)
					}
				})
			}
			var list []*kern.Thread
			for c := range clients {
				list = append(list, k.Start(kern.ThreadAttr{Name: "client"}, func() {
					back := NewThread(k, "back")
					for i := range rounds {
						m := New(k, back, 0)
						m.Data = i
						switch (c + i) % 3 {
						case 0:
							if err := Do(p, m); err != nil {
								t.Error(err)
							}
						case 1:
							Send(p, m)
							if got := back.Wait(); got != m {
								t.Errorf("got %p, want %p", got, m)
							}
						case 2:
							Send(p, m)
							if Wait(m); m.Has(Queued) {
								t.Error("the reply is queued after Wait")
							}
						}
						if m.Data != i+1 {
							t.Errorf("answer %v to %d", m.Data, i)
						}
						if m := back.Get(); m != nil {
							t.Error("the reply port has a message too many")
						}
					}
				}))
			}
			for _, c := range list {
				c.Join()
			}
			for range servers {
				if err := Do(p, New(k, nil, 0)); err != stop {
					t.Error(err)
				}
			}
		})
	}
}

// TestQueueModel compares a port's order with two lists.
func TestQueueModel(t *testing.T) {
	for _, kind := range []string{"spin", "thread"} {
		t.Run(kind, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				k := kern.New(&kern.Host{})
				back := NewReply(k, "back")
				p := NewSpin(k, "p")
				if kind == "thread" {
					p = NewThread(k, "p")
				}
				var prio, norm []*Msg
				receipts := 0
				t.Repeat(map[string]func(*rapid.T){
					"send": func(t *rapid.T) {
						f := Dropable | Receipt
						if rapid.Bool().Draw(t, "priority") {
							f |= Priority
						}
						m := New(k, back, f)
						m.Receipted = func(*Msg) { receipts++ }
						Send(p, m)
						if f&Priority != 0 {
							prio = append(prio, m)
						} else {
							norm = append(norm, m)
						}
					},
					"drop": func(t *rapid.T) {
						all := slices.Concat(prio, norm)
						if len(all) == 0 {
							t.Skip()
						}
						m := rapid.SampledFrom(all).Draw(t, "message")
						if !Drop(m) || !m.Has(Done) || Drop(m) {
							t.Fatalf("message with flags %#x is not dropped once", m.Flags())
						}
						gone := func(o *Msg) bool { return o == m }
						prio, norm = slices.DeleteFunc(prio, gone), slices.DeleteFunc(norm, gone)
					},
					"get": func(t *rapid.T) {
						before := receipts
						m := p.Get()
						var want *Msg
						if len(prio) > 0 {
							want, prio = prio[0], prio[1:]
						} else if len(norm) > 0 {
							want, norm = norm[0], norm[1:]
						}
						if m != want {
							t.Fatalf("got %p, want %p", m, want)
						}
						if m == nil {
							return
						}
						if receipts != before+1 {
							t.Fatal("no receipt")
						}
						Reply(m, errTest)
						if !m.Has(Done|Replied) || m.Err != errTest {
							t.Fatalf("flags %#x after the reply", m.Flags())
						}
					},
				})
			})
		})
	}
}

func TestForward(t *testing.T) {
	k := kern.New(&kern.Host{})
	first, second := NewSpin(k, "first"), NewSpin(k, "second")
	k.Start(kern.ThreadAttr{Name: "first"}, func() { Forward(second, first.Wait()) })
	k.Start(kern.ThreadAttr{Name: "second"}, func() { Reply(second.Wait(), errTest) })
	m := New(k, nil, 0)
	if err := Do(first, m); err != errTest || m.Target() != second {
		t.Errorf("answer %v from %s", err, m.Target().Name)
	}
	// To a port that answers at once, the forwarder's side replies.
	now := NewPut(k, "now", func(*Msg) error { return errTest })
	k.Start(kern.ThreadAttr{Name: "first"}, func() { Forward(now, first.Wait()) })
	if err := Do(first, New(k, nil, 0)); err != errTest {
		t.Error(err)
	}
}

func TestAbort(t *testing.T) {
	k := kern.New(&kern.Host{})
	p, back := NewSpin(k, "p"), NewThread(k, "back")
	m := New(k, back, Abortable|Dropable)
	m.OnAbort = func(m *Msg) {
		if p.b.remove(p, m) {
			Reply(m, ErrAborted)
		}
	}
	Send(p, m)
	if WaitFor(m, time.Millisecond) {
		t.Fatal("the message is done before it is aborted")
	}
	Abort(m)
	if Wait(m); m.Err != ErrAborted || p.Get() != nil {
		t.Errorf("result %v", m.Err)
	}
	Abort(m) // does nothing
	if p.WaitFor(time.Millisecond) != nil {
		t.Error("an empty port has a message")
	}
}

func TestMisuse(t *testing.T) {
	k := kern.New(&kern.Host{})
	p := NewSpin(k, "p")
	for name, f := range map[string]func(){
		"send twice":  func() { m := New(k, p, 0); Send(p, m); Send(p, m) },
		"reply twice": func() { m := New(k, p, 0); Send(p, m); p.Get(); Reply(m, nil); Reply(m, nil) },
		"forward":     func() { Forward(p, New(k, p, 0)) },
		"reply port":  func() { Send(NewReply(k, "r"), New(k, p, 0)) },
		"panic port":  func() { Send(NewPanic(k, "x"), New(k, p, 0)) },
		"put only":    func() { m := New(k, NewPut(k, "x", nil), 0); Send(p, m); Reply(m, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
