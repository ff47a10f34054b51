package msgport

import (
	"errors"
	"testing"
	"time"

	"dfemu/kernel/kern"
)

func TestHooks(t *testing.T) {
	k := kern.New(&kern.Host{})
	p := NewSpin(k, "hooked")
	now := errors.New("at once")
	polled := New(k, nil, 0)
	device := 0
	p.Hook(Hooks{
		Put: func(m *Msg, next func(*Msg) error) error {
			if m.Data == "now" {
				return now
			}
			return next(m)
		},
		Get: func(next func() *Msg) *Msg {
			if m := next(); m != nil || device == 0 {
				return m
			}
			device--
			return polled
		},
	})
	m := New(k, NewSpin(k, "reply"), 0)
	m.Data = "now"
	if err := Do(p, m); err != now {
		t.Errorf("answered %v, want %v", err, now)
	}
	m.Data = "later"
	Send(p, m)
	if got := p.Get(); got != m {
		t.Errorf("got %v, want what was sent", got)
	}
	Reply(m, nil)
	if got := p.Get(); got != nil {
		t.Errorf("got %v from an empty port", got)
	}
	device = 1
	p.Poke()
	if got := p.WaitFor(time.Second); got != polled {
		t.Errorf("got %v, want what the hook found", got)
	}

	// Replies, and hooks upon hooks.
	r := NewSpin(k, "replies")
	order := ""
	r.Hook(Hooks{Reply: func(m *Msg, next func(*Msg)) { order += "first "; next(m) }})
	r.Hook(Hooks{Reply: func(m *Msg, next func(*Msg)) { order += "second "; next(m) }})
	m = New(k, r, 0)
	Send(NewPut(k, "put", func(*Msg) error { return nil }), m)
	if order != "second first " || r.Get() != m {
		t.Errorf("hooks were called in the order %s", order)
	}
}
