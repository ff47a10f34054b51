package lwkt

import (
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
)

// workers runs f in n threads spread over the CPUs.
func (h *host) workers(n int, f func(t *hostThread, worker int)) {
	h.t.Helper()
	var all []*hostThread
	byCPU := make([][]*hostThread, len(h.cpus))
	for i := range n {
		cpu := i % len(h.cpus)
		x := h.spawn(Attr{CPU: cpu, Priority: PriKernel, Name: "worker"}, func(t *hostThread) { f(t, i) })
		all = append(all, x)
		byCPU[cpu] = append(byCPU[cpu], x)
	}
	for cpu, list := range byCPU {
		h.startOn(cpu, list...)
	}
	join(h.t, all)
}

func TestTokenExcludes(t *testing.T) {
	h := newHost(t, 3, 20)
	var tok Token
	var inside atomic.Int32
	count := 0
	const rounds = 500
	h.workers(9, func(x *hostThread, _ int) {
		for range rounds {
			x.kernel(func(c *CPU) { c.GetToken(&tok, Exclusive) })
			if inside.Add(1) != 1 {
				t.Error("two threads hold the token")
			}
			count++
			inside.Add(-1)
			x.kernel(func(c *CPU) { c.ReleaseToken(&tok) })
		}
	})
	if count != 9*rounds {
		t.Errorf("the count is %d, want %d", count, 9*rounds)
	}
	if tok.count.Load()&^tokenWanted != 0 || tok.owner.Load() != 0 {
		t.Errorf("the token ends with count %#x and owner %#x", tok.count.Load(), tok.owner.Load())
	}
}

// TestTokenOrder takes tokens in random orders: all threads end.
func TestTokenOrder(t *testing.T) {
	h := newHost(t, 4, 20)
	var toks [5]Token
	var counts [5]int
	const rounds = 300
	h.workers(8, func(x *hostThread, w int) {
		rng := rand.New(rand.NewPCG(1, uint64(w)))
		for range rounds {
			order := rng.Perm(len(toks))[:1+rng.IntN(4)]
			for _, i := range order {
				x.kernel(func(c *CPU) { c.GetToken(&toks[i], Exclusive) })
			}
			for _, i := range order {
				counts[i]++
			}
			for j := len(order) - 1; j >= 0; j-- {
				x.kernel(func(c *CPU) { c.ReleaseToken(&toks[order[j]]) })
			}
		}
	})
}

// TestTokenShared lets readers in together, and writers alone.
func TestTokenShared(t *testing.T) {
	h := newHost(t, 4, 20)
	var tok Token
	var readers, writers, most atomic.Int32
	h.workers(8, func(x *hostThread, w int) {
		for i := range 300 {
			mode := Shared
			if w == 0 || i%16 == w {
				mode = Exclusive
			}
			x.kernel(func(c *CPU) { c.GetToken(&tok, mode) })
			if mode == Exclusive {
				if writers.Add(1) != 1 || readers.Load() != 0 {
					t.Error("a writer is not alone")
				}
				writers.Add(-1)
			} else {
				n := readers.Add(1)
				if writers.Load() != 0 {
					t.Error("a reader is in with a writer")
				}
				most.Store(max(most.Load(), n))
				h.Pause(0)
				readers.Add(-1)
			}
			x.kernel(func(c *CPU) { c.ReleaseToken(&tok) })
		}
	})
}

// TestTokenGivenUp lets a thread block with a token: another one holds it meanwhile, and
// the first has it again when it runs on.
func TestTokenGivenUp(t *testing.T) {
	h := newHost(t, 2, 4)
	var tok Token
	var asleep, got atomic.Bool
	const ident = 0x1000
	first := h.spawn(Attr{CPU: 0, Priority: PriKernel}, func(x *hostThread) {
		x.kernel(func(c *CPU) { c.GetToken(&tok, Exclusive) })
		asleep.Store(true)
		x.kernel(func(c *CPU) { c.SleepLock(ident); c.SleepOn(ident, 0) })
		if !got.Load() || ThreadID(tok.owner.Load()>>8) != x.id {
			t.Errorf("the first thread runs on: the other has had the token: %v; owner %d", got.Load(), tok.owner.Load()>>8)
		}
		x.kernel(func(c *CPU) { c.ReleaseToken(&tok) })
	})
	second := h.spawn(Attr{CPU: 1, Priority: PriKernel}, func(x *hostThread) {
		for !asleep.Load() {
			x.poll()
		}
		x.kernel(func(c *CPU) { c.GetToken(&tok, Exclusive) })
		got.Store(true)
		for {
			n := 0
			x.kernel(func(c *CPU) { n = c.Wakeup(ident, 0) })
			if n > 0 {
				break
			}
		}
		x.kernel(func(c *CPU) { c.ReleaseToken(&tok) })
	})
	h.startOn(0, first)
	h.startOn(1, second)
	join(t, []*hostThread{first, second})
}

// single is a CPU without goroutines: a state machine to be driven step by step.
func single(t testing.TB) (*fake, *CPU) {
	f := &fake{t: t}
	f.sys.Init(f, memory(1, 64))
	return f, f.sys.CPU(0)
}

// fake is a Platform that remembers what it was told.
type fake struct {
	t     testing.TB
	sys   System
	now   int64
	ipis  []int
	timer int64
	fatal string
	slow  []int
	pause func() // what other CPUs do meanwhile
}

func (f *fake) SendIPI(cpu int)          { f.ipis = append(f.ipis, cpu) }
func (f *fake) Now() int64               { return f.now }
func (f *fake) SetTimer(_ int, at int64) { f.timer = at }
func (f *fake) Slow(cpu int)             { f.slow = append(f.slow, cpu) }
func (f *fake) Pause(int) {
	if f.pause != nil {
		f.pause()
	}
}
func (f *fake) Panic(msg string) { f.fatal = msg }

func (f *fake) thread(c *CPU, pri int) ThreadID {
	id := c.NewThread(Attr{CPU: c.id, Priority: pri})
	if id == 0 {
		f.t.Fatal("no thread is free")
	}
	return id
}

func TestTokenRules(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(c *CPU, a, b *Token)
		want string
	}{
		"reverse order":  {func(c *CPU, a, b *Token) { c.GetToken(a, 0); c.GetToken(b, 0); c.ReleaseToken(b); c.ReleaseToken(a) }, ""},
		"wrong order":    {func(c *CPU, a, b *Token) { c.GetToken(a, 0); c.GetToken(b, 0); c.ReleaseToken(a) }, "reverse order"},
		"not held":       {func(c *CPU, a, _ *Token) { c.ReleaseToken(a) }, "reverse order"},
		"upgrade":        {func(c *CPU, a, _ *Token) { c.GetToken(a, Shared); c.GetToken(a, Exclusive) }, "shares"},
		"excl then both": {func(c *CPU, a, _ *Token) { c.GetToken(a, 0); c.GetToken(a, Shared); c.GetToken(a, 0) }, ""},
		"exit":           {func(c *CPU, a, _ *Token) { c.GetToken(a, 0); c.Exit() }, "exits"},
		"too many": {func(c *CPU, a, _ *Token) {
			for range MaxTokens + 1 {
				c.GetToken(a, 0)
			}
		}, "32"},
	} {
		t.Run(name, func(t *testing.T) {
			f, cpu := single(t)
			cpu.SwitchTo(f.thread(cpu, PriKernel))
			var a, b Token
			c.do(cpu, &a, &b)
			if c.want == "" && f.fatal != "" || !strings.Contains(f.fatal, c.want) {
				t.Errorf("panic %q, want %q", f.fatal, c.want)
			}
		})
	}
}

func TestTokenCollisions(t *testing.T) {
	f, c := single(t)
	a, b := f.thread(c, PriKernel), f.thread(c, PriKernel)
	c.SwitchTo(a)
	var tok Token
	for range 2 {
		if !c.TryToken(&tok, Exclusive) || tok.Collisions() != 0 {
			t.Fatal("a free token cannot be had twice by one thread")
		}
	}
	// The holder is preempted: the token stays with it.
	it := c.NewThread(Attr{Priority: PriIntrHigh, Intr: true})
	c.Schedule(it)
	if c.Current() != it {
		t.Fatal("the interrupt thread does not preempt")
	}
	for i := uint64(1); i <= 3; i++ {
		if c.TryToken(&tok, Shared) || tok.Collisions() != i {
			t.Fatalf("attempt %d: collisions %d", i, tok.Collisions())
		}
	}
	c.Block()
	if c.Current() != a || !c.HoldsToken(&tok) {
		t.Error("the preempted thread does not run on with its token")
	}
	c.ReleaseToken(&tok)
	c.ReleaseToken(&tok)
	_ = b
	if tok.count.Load() != 0 {
		t.Errorf("count %#x at the end", tok.count.Load())
	}
}

// TestTokensKeepTheCPU lets the time of a thread with tokens run out, and a better thread wait: it goes on until it has released the
// last of them.
func TestTokensKeepTheCPU(t *testing.T) {
	f, c := single(t)
	cur, equal, better := f.thread(c, PriKernel), f.thread(c, PriKernel), f.thread(c, PriSoftTimer)
	c.Schedule(cur)
	c.Switch()
	c.Schedule(equal)
	var a, b Token
	c.GetToken(&a, Exclusive)
	c.GetToken(&b, Shared)
	c.Tick()
	c.Schedule(better)
	if c.WantResched() {
		t.Error("a thread is to be switched from while it has tokens")
	}
	c.ReleaseToken(&b)
	if c.WantResched() {
		t.Error("a thread is to be switched from while it has a token")
	}
	c.ReleaseToken(&a)
	if !c.WantResched() {
		t.Error("nobody waits after the last token was released")
	}
	c.Switch()
	if c.Current() != better {
		t.Errorf("thread %d runs, want the better, %d", c.Current(), better)
	}
}
