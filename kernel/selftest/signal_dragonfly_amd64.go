package selftest

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/platform/pc64"
)

// Errors of system calls, by DragonFly's numbers.
const (
	eINTR   = 4
	eBUSY   = 16
	eAGAIN  = 35
	tooLong = 5 * time.Second
)

// interrupted runs f, which sleeps, in a thread and sends that a signal now and then until f returns. The time it took must not be
// the whole of tooLong.
func (e env) interrupted(f func() error) error {
	var id atomic.Int32
	var err error
	start := e.k.Now()
	t := e.k.Start(kern.ThreadAttr{Name: "sleeper", Priority: kern.Daemon, CPU: e.k.CPUs()}, func() {
		id.Store(int32(pc64.TestThread()))
		err = f()
		id.Store(-1)
	})
	for id.Load() >= 0 {
		time.Sleep(2 * time.Millisecond)
		if n := id.Load(); n > 0 {
			pc64.TestSignal(int(n))
		}
	}
	t.Join()
	if took := e.k.Now() - start; err == nil && took >= tooLong {
		err = fmt.Errorf("a signal does not end a sleep: it took %v", took)
	}
	return err
}

// testEINTR sends signals to threads that sleep in each of the ways there are. The calls end with EINTR; what waits for a condition waits on.
func testEINTR(e env) error {
	var word atomic.Uint32
	for _, c := range []struct {
		name string
		want uint64
		call func() uint64
	}{
		{"umtx_sleep", eINTR, func() uint64 { return pc64.TestUmtxSleep(&word, 0, tooLong) }},
		{"umtx_sleep without a timeout", eINTR, func() uint64 { return pc64.TestUmtxSleep(&word, 0, 0) }},
		{"nanosleep", eINTR, func() uint64 { return pc64.TestNanosleep(tooLong) }},
	} {
		if err := e.interrupted(func() error {
			if got := c.call(); got != c.want {
				return fmt.Errorf("%s returns %d, want %d", c.name, got, c.want)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if err := e.interrupted(func() error {
		if !e.k.Wait(&word, 0, tooLong) {
			return errors.New("a wait that a signal ends tells of a timeout")
		}
		return nil
	}); err != nil {
		return err
	}
	// These do not return before they should.
	if err := e.interrupted(func() error {
		start := e.k.Now()
		time.Sleep(20 * time.Millisecond)
		if took := e.k.Now() - start; took < 20*time.Millisecond {
			return fmt.Errorf("a sleep of 20 ms took %v", took)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := e.interrupted(func() error {
		if e.k.NewEvent().Wait(20 * time.Millisecond) {
			return errors.New("an event that does not happen has happened")
		}
		return nil
	}); err != nil {
		return err
	}
	if got := pc64.TestUmtxSleep(&word, 0, time.Millisecond); got != eAGAIN && got != eINTR {
		return fmt.Errorf("umtx_sleep for a millisecond returns %d, want %d", got, eAGAIN)
	}
	if got := pc64.TestUmtxSleep(&word, 1, tooLong); got != eBUSY {
		return fmt.Errorf("umtx_sleep for another value returns %d, want %d", got, eBUSY)
	}
	return nil
}

// bombard sends signals to threads until it is stopped; the first is known from when the thread has stored its number.
func (e env) bombard(ids []atomic.Int32) (stop func()) {
	var over atomic.Bool
	t := e.k.Start(kern.ThreadAttr{Name: "signals", Priority: kern.SoftNormal, CPU: e.k.CPUs()}, func() {
		for !over.Load() {
			for i := range ids {
				if id := ids[i].Load(); id > 0 {
					pc64.TestSignal(int(id))
				}
			}
			time.Sleep(20 * time.Microsecond)
		}
	})
	return func() {
		over.Store(true)
		t.Join()
	}
}

// testAsyncTokens has the Go scheduler's signals hit threads that hold tokens, while they compute: none loses its token.
func testAsyncTokens(e env) error {
	var tok [2]kern.Token
	var inside, bad, rounds atomic.Int32
	n := 2 * e.k.CPUs()
	ids := make([]atomic.Int32, n)
	stop := e.bombard(ids)
	err := e.contend(func(worker int) error {
		ids[worker].Store(int32(pc64.TestThread()))
		defer ids[worker].Store(0)
		for end := e.k.Now() + 50*time.Millisecond; e.k.Now() < end; rounds.Add(1) {
			e.k.GetToken(&tok[0], kern.Shared)
			e.k.GetToken(&tok[1], kern.Exclusive)
			if inside.Add(1) != 1 {
				bad.Add(1)
			}
			for i := range 2000 {
				if i%500 == 0 && inside.Load() != 1 {
					bad.Add(1)
				}
			}
			inside.Add(-1)
			e.k.ReleaseToken(&tok[1])
			e.k.ReleaseToken(&tok[0])
		}
		return nil
	})
	stop()
	if b := bad.Load(); b != 0 {
		return fmt.Errorf("%d times in %d rounds two threads had the token", b, rounds.Load())
	}
	return err
}

// testAsyncCritical has signals hit a thread in a critical section: it stays on its CPU, and its equals do not run.
func testAsyncCritical(e env) error {
	var other atomic.Int32
	var over atomic.Bool
	equal := e.k.Start(kern.ThreadAttr{Name: "equal", Priority: kern.Daemon, CPU: 1}, func() {
		for !over.Load() {
			other.Add(1)
			pc64.Yield()
		}
	})
	ids := make([]atomic.Int32, 1)
	stop := e.bombard(ids)
	err := e.inThread(kern.ThreadAttr{Name: "critical", Priority: kern.Daemon, CPU: 1}, func() error {
		ids[0].Store(int32(pc64.TestThread()))
		defer ids[0].Store(0)
		for range 20 {
			e.k.CritEnter()
			before := other.Load()
			for end := e.k.Now() + time.Millisecond; e.k.Now() < end; {
			}
			after, cpu := other.Load(), e.k.CPU()
			e.k.CritExit()
			if after != before || cpu != 0 {
				return fmt.Errorf("in a critical section %d rounds of an equal thread ran; it is on CPU %d", after-before, cpu)
			}
			time.Sleep(100 * time.Microsecond)
		}
		return nil
	})
	stop()
	over.Store(true)
	equal.Join()
	if err == nil && other.Load() == 0 {
		err = errors.New("the equal thread has never run")
	}
	return err
}

// testStorm lets an interrupt come without end: it is held back, with a message, and what runs on its CPU goes on.
func testStorm(e env) error {
	i, err := e.k.NewInterrupt(0)
	if err != nil {
		return err
	}
	e.k.Handle(i, "test storm", kern.IntrMed, i.Idle)
	defer i.Close()
	said := func(text string) bool {
		for _, l := range e.k.Log().Lines() {
			if strings.Contains(l, text) {
				return true
			}
		}
		return false
	}
	return e.inThread(kern.ThreadAttr{Name: "storm", Priority: kern.Daemon, CPU: 1}, func() error {
		start := e.k.Now()
		n := 0
		for !said("test storm: interrupt storm") {
			for range 1000 {
				e.p.SendInterrupt(i)
			}
			n += 1000
			if took := e.k.Now() - start; took > tooLong {
				if rate := float64(n) / took.Seconds(); rate < 50_000 {
					return nil // the machine is too slow for a storm
				}
				return fmt.Errorf("%d interrupts in %v are not held back", n, took)
			}
		}
		for end := e.k.Now() + tooLong; !said("test storm: the interrupt storm is over"); {
			if e.k.Now() > end {
				return errors.New("the storm does not end")
			}
			e.p.SendInterrupt(i)
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	})
}
