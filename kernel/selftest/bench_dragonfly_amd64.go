package selftest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/msgport"
	"dfemu/kernel/kern/objcache"
	"dfemu/kernel/platform/pc64"
)

// benchmarks are what Bench measures; each returns the time of n operations.
var benchmarks = []struct {
	name, what string
	cpus       int // fewer than this do not do
	run        func(e env, n int) (time.Duration, error)
}{
	{"syscall", "call of the bottom layer", 1, benchCall},
	{"switch", "context switch, two threads that yield", 1, benchSwitch},
	{"wake", "sleep and wake-up there and back, same CPU", 1, func(e env, n int) (time.Duration, error) { return benchWake(e, n, 1) }},
	{"wake-far", "sleep and wake-up there and back, other CPU", 2, func(e env, n int) (time.Duration, error) { return benchWake(e, n, 2) }},
	{"message", "message to a thread and its answer, same CPU", 1, func(e env, n int) (time.Duration, error) { return benchMessage(e, n, 1) }},
	{"message-far", "message to a thread and its answer, other CPU", 2, func(e env, n int) (time.Duration, error) { return benchMessage(e, n, 2) }},
	{"message-sync", "message that is answered at once", 1, benchPut},
	{"token", "take and release a token", 1, benchToken},
	{"token-shared", "take and release a token that is shared", 1, benchTokenShared},
	{"slab", "get and free an object", 1, benchSlab},
	{"ipi", "call on another CPU, and its end", 2, benchIPI},
	{"interrupt", "interrupt to its thread, which preempts", 1, benchInterrupt},
}

// benchTime is about how long each benchmark takes.
const benchTime = 100 * time.Millisecond

// Bench measures what the kernel is made of and prints a line for each: its name, nanoseconds of one
// operation, and how many there were. Without names it measures all.
func Bench(w io.Writer, k *kern.Kernel, p *pc64.Platform, names []string) error {
	e := env{k, p}
	ran := false
	var failed error
	for _, b := range benchmarks {
		if len(names) > 0 && !slices.Contains(names, b.name) {
			continue
		}
		ran = true
		if k.CPUs() < b.cpus {
			fmt.Fprintf(w, "bench: %s needs %d CPUs\n", b.name, b.cpus)
			continue
		}
		n, took, err := 16, time.Duration(0), error(nil)
		for {
			if took, err = b.run(e, n); err != nil || took >= benchTime/2 {
				break
			}
			per := max(took/time.Duration(n), 1)
			n = min(max(int(benchTime/per), 2*n), 50*n)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", b.name, err))
			continue
		}
		fmt.Fprintf(w, "bench: %s %.1f ns, %d times: %s\n", b.name, float64(took)/float64(n), n, b.what)
	}
	if !ran {
		return errors.New("no such benchmark")
	}
	return failed
}

// timed runs f in a thread on the first CPU and returns how long it took there.
func (e env) timed(f func()) time.Duration {
	var took time.Duration
	e.k.Start(kern.ThreadAttr{Name: "bench", Priority: kern.SoftNormal, CPU: 1}, func() {
		start := e.k.Now()
		f()
		took = e.k.Now() - start
	}).Join()
	return took
}

func benchCall(e env, n int) (time.Duration, error) {
	return e.timed(func() {
		for range n {
			e.k.CPU()
		}
	}), nil
}

// benchSwitch lets two threads yield to each other n times in all. They outrank the thread that waits for them:
// what starts and stops the other one is done in the one that is timed.
func benchSwitch(e env, n int) (time.Duration, error) {
	var begin atomic.Uint32
	var stop atomic.Bool
	var turns atomic.Int64
	ready := e.k.NewEvent()
	other := e.k.Start(kern.ThreadAttr{Name: "bench", Priority: kern.SoftNormal, CPU: 1}, func() {
		ready.Set()
		for begin.Load() == 0 {
			e.k.Wait(&begin, 0, -1)
		}
		for !stop.Load() {
			pc64.Yield()
			turns.Add(1)
		}
	})
	ready.Wait(-1)
	var took time.Duration
	var never atomic.Uint32
	e.k.Start(kern.ThreadAttr{Name: "bench", Priority: kern.SoftNormal, CPU: 1}, func() {
		// The Go runtime's own threads, which these two outrank, let go of the processors that they have got to look for work.
		e.k.Wait(&never, 0, time.Millisecond)
		start := e.k.Now()
		begin.Store(1)
		e.k.Wake(&begin, 1)
		for range (n + 1) / 2 {
			pc64.Yield()
		}
		took = e.k.Now() - start
		stop.Store(true)
	}).Join()
	other.Join()
	if t := turns.Load(); t < int64(n)/4 {
		return 0, fmt.Errorf("the other thread has run %d times, not %d", t, n/2)
	}
	return took, nil
}

func benchWake(e env, n, cpu int) (time.Duration, error) {
	var ping, pong atomic.Uint32
	t := e.k.Start(kern.ThreadAttr{Name: "bench", Priority: kern.SoftNormal, CPU: cpu}, func() {
		for i := range uint32(n) {
			for ping.Load() == i {
				e.k.Wait(&ping, i, -1)
			}
			pong.Add(1)
			e.k.Wake(&pong, 1)
		}
	})
	took := e.timed(func() {
		for i := range uint32(n) {
			ping.Add(1)
			e.k.Wake(&ping, 1)
			for pong.Load() == i {
				e.k.Wait(&pong, i, -1)
			}
		}
	})
	t.Join()
	return took, nil
}

func benchMessage(e env, n, cpu int) (time.Duration, error) {
	port := msgport.NewThread(e.k, "bench")
	t := e.k.Start(kern.ThreadAttr{Name: "bench", Priority: kern.SoftNormal, CPU: cpu}, func() {
		for range n {
			msgport.Reply(port.Wait(), nil)
		}
	})
	m := msgport.New(e.k, nil, 0)
	var err error
	took := e.timed(func() {
		for range n {
			err = errors.Join(err, msgport.Do(port, m))
		}
	})
	t.Join()
	return took, err
}

func benchPut(e env, n int) (time.Duration, error) {
	port := msgport.NewPut(e.k, "bench", func(*msgport.Msg) error { return nil })
	m := msgport.New(e.k, nil, 0)
	var err error
	return e.timed(func() {
		for range n {
			if e := msgport.Do(port, m); e != nil {
				err = e
			}
		}
	}), err
}

func benchToken(e env, n int) (time.Duration, error) {
	var tok kern.Token
	return e.timed(func() {
		for range n {
			e.k.GetToken(&tok, kern.Exclusive)
			e.k.ReleaseToken(&tok)
		}
	}), nil
}

func benchTokenShared(e env, n int) (time.Duration, error) {
	var tok kern.Token
	return e.timed(func() {
		for range n {
			e.k.GetToken(&tok, kern.Shared)
			e.k.ReleaseToken(&tok)
		}
	}), nil
}

func benchSlab(e env, n int) (time.Duration, error) {
	s := objcache.NewSlab[[64]byte](objcache.Critical{K: e.k}, 64)
	return e.timed(func() {
		for range n {
			s.Put(s.Get())
		}
	}), nil
}

func benchIPI(e env, n int) (time.Duration, error) {
	return e.timed(func() {
		for range n {
			pc64.TestIPI(1, 1)
		}
	}), nil
}

// benchInterrupt adds up the times from an interrupt in a thread that computes to the interrupt's handler.
func benchInterrupt(e env, n int) (time.Duration, error) {
	var hits atomic.Int64
	var sum, at atomic.Int64
	i, err := e.k.NewInterrupt(0)
	if err != nil {
		return 0, err
	}
	e.k.Handle(i, "bench interrupt", kern.IntrMed, func() {
		sum.Add(int64(e.k.Now()) - at.Load())
		hits.Add(1)
	})
	defer i.Close()
	time.Sleep(time.Millisecond)
	err = e.inThread(kern.ThreadAttr{Name: "bench", Priority: kern.Daemon, CPU: 1}, func() error {
		for r := range int64(n) {
			at.Store(int64(e.k.Now()))
			e.p.SendInterrupt(i)
			for end := e.k.Now() + 5*time.Second; hits.Load() <= r; {
				if e.k.Now() > end {
					return errors.New("an interrupt was lost")
				}
			}
			pause := e.k.Now() + 20*time.Microsecond // the thread gets back to waiting
			for e.k.Now() < pause {
			}
		}
		return nil
	})
	return time.Duration(sum.Load()), err
}
