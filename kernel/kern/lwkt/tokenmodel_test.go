package lwkt

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// tokenSystem is two CPUs whose threads take tokens, step by step, one CPU at a time.
type tokenSystem struct {
	f       *fake
	toks    [3]Token
	threads []ThreadID
}

// holds counts a token's holds by what the threads have: all of the threads that run or were preempted, none of others.
func (s *tokenSystem) holds(t *rapid.T, tok *Token) (excl ThreadID, recursive, shared int) {
	for _, id := range s.threads {
		th := s.f.sys.Thread(id)
		for i := range th.ntoks {
			r := &th.toks[i]
			if running := th.flags&flagRunning != 0; r.held != running {
				t.Fatalf("thread %d, running %v, has token %d of its %d: %v", id, running, i, th.ntoks, r.held)
			}
			switch {
			case r.tok.token() != tok || !r.held:
			case tok.owner.Load() == ownerOf(id, i) && tok.Held():
				excl = id
			case excl == id || tok.Held() && ThreadID(tok.owner.Load()>>8) == id:
				recursive++
			default:
				shared++
			}
		}
	}
	return excl, recursive, shared
}

// check compares the tokens' words with the holds.
func (s *tokenSystem) check(t *rapid.T) {
	for i := range s.toks {
		tok := &s.toks[i]
		excl, recursive, shared := s.holds(t, tok)
		want := uint64(recursive+shared) * tokenShare
		if excl != 0 {
			want |= tokenExcl
		}
		if got := tok.count.Load() &^ tokenWanted; got != want {
			t.Fatalf("token %d has the word %#x; its holds are %d exclusive, %d recursive, %d shared", i, got, excl, recursive, shared)
		}
		if excl != 0 && shared != 0 {
			t.Fatalf("token %d is exclusive to thread %d and shared %d times", i, excl, shared)
		}
	}
	if s.f.fatal != "" {
		t.Fatal(s.f.fatal)
	}
}

// allowed tells whether a thread may take a token at once, by the rules.
func (s *tokenSystem) allowed(t *rapid.T, id ThreadID, tok *Token, mode Mode) bool {
	excl, _, shared := s.holds(t, tok)
	switch {
	case excl == id:
		return true
	case excl != 0:
		return false
	case mode == Exclusive:
		return shared == 0
	}
	// Whoever has no other token lets one who waits to have it exclusively go first.
	return s.f.sys.Thread(id).ntoks > 0 || tok.count.Load()&tokenWanted == 0
}

// shares tells whether a thread has a token shared, which it must not take exclusively then.
func (s *tokenSystem) shares(id ThreadID, tok *Token) bool {
	th := s.f.sys.Thread(id)
	for i := range th.ntoks {
		if r := &th.toks[i]; r.tok.token() == tok {
			return r.mode == Shared
		}
	}
	return false
}

// TestTokenModel compares tokens with the rules over random events on two CPUs: taking, trying, releasing, blocking, waking, ticks
// and interrupts that preempt. At the end all threads come to have what they want.
func TestTokenModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &tokenSystem{f: &fake{}}
		s.f.sys.Init(s.f, memory(2, 16))
		var intr [2]ThreadID
		for i := range 2 {
			c := s.f.sys.CPU(i)
			for range 3 {
				id := c.NewThread(Attr{CPU: i, Priority: PriKernel})
				s.threads = append(s.threads, id)
				c.Schedule(id)
			}
			intr[i] = c.NewThread(Attr{CPU: i, Priority: PriIntrMed, Intr: true})
			s.threads = append(s.threads, intr[i])
			c.Switch()
		}
		cpu := func(t *rapid.T) *CPU {
			c := s.f.sys.CPU(rapid.IntRange(0, 1).Draw(t, "cpu"))
			if c.IsIdle() {
				c.Switch() // its loop
			}
			if c.IsIdle() {
				t.Skip()
			}
			return c
		}
		token := func(t *rapid.T, c *CPU) (*Token, Mode) {
			tok, mode := &s.toks[rapid.IntRange(0, 2).Draw(t, "token")], Mode(rapid.IntRange(0, 1).Draw(t, "mode"))
			if s.f.sys.Thread(c.Current()).ntoks > 6 || mode == Exclusive && s.shares(c.Current(), tok) {
				t.Skip()
			}
			return tok, mode
		}
		t.Repeat(map[string]func(*rapid.T){
			"try": func(t *rapid.T) {
				c := cpu(t)
				tok, mode := token(t, c)
				id := c.Current()
				want, before := s.allowed(t, id, tok, mode), tok.Collisions()
				if got := c.TryToken(tok, mode); got != want || c.Current() != id || (tok.Collisions() != before) == want {
					t.Fatalf("thread %d gets the token: %v, want %v", id, got, want)
				}
			},
			"get": func(t *rapid.T) {
				c := cpu(t)
				tok, mode := token(t, c)
				id := c.Current()
				want := s.allowed(t, id, tok, mode)
				c.GetToken(tok, mode)
				if stays := c.Current() == id; want && !stays {
					t.Fatalf("thread %d gives the CPU up for a token it could have had", id)
				} else if !want && stays && s.f.sys.Thread(id).flags&flagRunning == 0 {
					t.Fatalf("thread %d runs without its token", id)
				}
			},
			"release": func(t *rapid.T) {
				c := cpu(t)
				th := s.f.sys.Thread(c.Current())
				if th.ntoks == 0 {
					t.Skip()
				}
				c.ReleaseToken(th.toks[th.ntoks-1].tok.token())
			},
			"block":  func(t *rapid.T) { cpu(t).Block() },
			"switch": func(t *rapid.T) { cpu(t).Switch() },
			"tick":   func(t *rapid.T) { cpu(t).Tick() },
			"leave": func(t *rapid.T) {
				c := cpu(t)
				id, n := c.Current(), s.f.sys.Thread(c.Current()).ntoks
				if c.WantResched() {
					if n > 0 {
						t.Fatalf("thread %d is to be switched from with %d tokens", id, n)
					}
					c.Switch()
				}
			},
			"wake": func(t *rapid.T) {
				c := s.f.sys.CPU(rapid.IntRange(0, 1).Draw(t, "cpu"))
				for _, id := range s.threads {
					if th := s.f.sys.Thread(id); th.Owner() == c.id && id != intr[c.id] && !th.Runnable() && th.flags&flagRunning == 0 {
						c.Schedule(id)
						return
					}
				}
			},
			"interrupt": func(t *rapid.T) {
				c := cpu(t)
				id := c.Current()
				held := fmt.Sprint(s.f.sys.Thread(id).toks)
				c.Schedule(intr[c.id])
				if c.Current() == intr[c.id] && id != intr[c.id] && fmt.Sprint(s.f.sys.Thread(id).toks) != held {
					t.Fatalf("thread %d loses tokens as it is preempted", id)
				}
			},
			"": s.check,
		})
		// Let all release what they have: nobody waits for ever.
		for range 200 {
			for i := range 2 {
				c := s.f.sys.CPU(i)
				for _, id := range s.threads {
					if th := s.f.sys.Thread(id); th.Owner() == i && th.ntoks > 0 && !th.Runnable() && th.flags&flagRunning == 0 {
						c.Schedule(id)
					}
				}
				if c.IsIdle() {
					c.Switch()
				}
				if th := s.f.sys.Thread(c.Current()); !c.IsIdle() && th.ntoks > 0 {
					c.ReleaseToken(th.toks[th.ntoks-1].tok.token())
				} else if !c.IsIdle() {
					c.Block()
				}
			}
		}
		s.check(t)
		for _, id := range s.threads {
			if n := s.f.sys.Thread(id).ntoks; n != 0 {
				t.Fatalf("thread %d still waits for its %d tokens", id, n)
			}
		}
	})
}
