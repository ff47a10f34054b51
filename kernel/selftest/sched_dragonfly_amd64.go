package selftest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/platform/pc64"
)

// testFIFO wakes threads of one priority in an order that is not that of their start: they get the CPU in the order in which they were woken.
func testFIFO(e env) error {
	order := []int{2, 0, 3, 1}
	pris := slices.Repeat([]kern.Priority{kern.Daemon}, len(order))
	switches, err := e.wokenSwitches("fifo", pris, []int{0, 1, 2, 3}, order)
	if err != nil {
		return err
	}
	for i := range order[1:] {
		if switches[order[i]] > switches[order[i+1]] {
			return fmt.Errorf("threads woken in the order %d got the CPU in that of the switches %d", order, switches)
		}
	}
	return nil
}

// testSlices has threads of one priority compute on a CPU: ticks let each have its turn.
func testSlices(e env) error {
	const n = 3
	var rounds [n]atomic.Int64
	var over atomic.Bool
	var list []*kern.Thread
	for i := range n {
		list = append(list, e.k.Start(kern.ThreadAttr{Name: "slices", Priority: kern.Daemon, CPU: 1}, func() {
			for !over.Load() {
				rounds[i].Add(1)
			}
		}))
	}
	err := e.inThread(kern.ThreadAttr{Name: "slices", Priority: kern.SoftTimer, CPU: 1}, func() error {
		before := pc64.StatsOf(0).Ticks
		for end := e.k.Now() + tooLong; ; time.Sleep(5 * time.Millisecond) {
			all := true
			for i := range rounds {
				all = all && rounds[i].Load() > 0
			}
			switch {
			case all && pc64.StatsOf(0).Ticks-before >= n:
				return nil
			case e.k.Now() > end:
				return errors.New("a thread that computes keeps the CPU from its equals")
			}
		}
	})
	over.Store(true)
	for _, t := range list {
		t.Join()
	}
	return err
}

// testWokenFirst has a thread wait while an equal of it computes: when an interrupt wakes it, it does not wait for the equal's time slice.
func testWokenFirst(e env) error {
	i, err := e.k.NewInterrupt(0)
	if err != nil {
		return err
	}
	var asked, done atomic.Uint32
	e.k.Handle(i, "test interrupt", kern.IntrMed, func() {
		asked.Add(1)
		e.k.Wake(&asked, 0)
	})
	defer i.Close()
	const rounds = 20
	waiter := e.k.Start(kern.ThreadAttr{Name: "waiter", Priority: kern.Daemon, CPU: 1}, func() {
		for n := range uint32(rounds) {
			for asked.Load() == n {
				e.k.Wait(&asked, n, -1)
			}
			done.Add(1)
		}
	})
	time.Sleep(2 * time.Millisecond)
	atOnce := 0
	err = e.inThread(kern.ThreadAttr{Name: "busy", Priority: kern.Daemon, CPU: 1}, func() error {
		for n := range uint32(rounds) {
			time.Sleep(time.Millisecond) // the waiter gets back to waiting
			before := pc64.StatsOf(0).Ticks
			e.p.SendInterrupt(i)
			for end := e.k.Now() + tooLong; done.Load() == n; {
				if e.k.Now() > end {
					return fmt.Errorf("the thread that was woken does not run (round %d)", n)
				}
			}
			if pc64.StatsOf(0).Ticks == before {
				atOnce++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	waiter.Join()
	if atOnce < rounds/2 {
		return fmt.Errorf("in %d of %d rounds the thread that was woken ran only after a tick", rounds-atOnce, rounds)
	}
	return nil
}

// testPreemptionReturns has an interrupt thread preempt one with a token, and make another runnable that outranks that and wants the token: when the interrupt thread
// blocks, the first goes on at once with its token, and the other runs when that is released.
func testPreemptionReturns(e env) error {
	i, err := e.k.NewInterrupt(0)
	if err != nil {
		return err
	}
	var gate, hits, ran atomic.Uint32
	e.k.Handle(i, "test interrupt", kern.IntrMed, func() {
		hits.Add(1)
		gate.Add(1)
		e.k.Wake(&gate, 0)
	})
	defer i.Close()
	const rounds = 20
	var tok kern.Token
	better := e.k.Start(kern.ThreadAttr{Name: "better", Priority: kern.SoftNormal, CPU: 1}, func() {
		for n := range uint32(rounds) {
			for gate.Load() == n {
				e.k.Wait(&gate, n, -1)
			}
			e.k.GetToken(&tok, kern.Exclusive)
			ran.Add(1)
			e.k.ReleaseToken(&tok)
		}
	})
	time.Sleep(2 * time.Millisecond)
	before := preemptions(e)
	seen := 0
	err = e.inThread(kern.ThreadAttr{Name: "preempted", Priority: kern.Daemon, CPU: 1}, func() error {
		for n := range uint32(rounds) {
			time.Sleep(200 * time.Microsecond) // the others get back to waiting
			e.k.GetToken(&tok, kern.Exclusive)
			came := e.hit(i, func() bool { return hits.Load() != n })
			first, held := ran.Load(), tok.Held()
			for end := e.k.Now() + 200*time.Microsecond; came && e.k.Now() < end; {
			}
			then := ran.Load()
			e.k.ReleaseToken(&tok)
			if came {
				seen++
			}
			if came && (first != n || then != n || !held) {
				return fmt.Errorf("round %d: another thread ran before the one that was preempted (%d, then %d); that has its token: %v", n, first, then, held)
			}
			for end := e.k.Now() + tooLong; ran.Load() == n; {
				if e.k.Now() > end {
					return fmt.Errorf("the better thread does not run once the token is free (round %d)", n)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	better.Join()
	if seen == 0 || preemptions(e) == before {
		return fmt.Errorf("in %d of %d rounds the interrupt thread ran at once, and %d preemptions were counted", seen, rounds, preemptions(e)-before)
	}
	return nil
}

// hitTime is how long a thread with a token waits for another. It must not do so for ever: a collection of garbage that begins stops the other, and waits for the
// thread with the token.
const hitTime = 50 * time.Millisecond

// hit sends an interrupt and tells whether it has come soon.
func (e env) hit(i *kern.Interrupt, came func() bool) bool {
	e.p.SendInterrupt(i)
	for end := e.k.Now() + hitTime; !came(); {
		if e.k.Now() > end {
			return false
		}
	}
	return true
}

// testTokenReaders preempts a thread that shares a token: others share it, too, and none has it for itself.
func testTokenReaders(e env) error {
	i, err := e.k.NewInterrupt(0)
	if err != nil {
		return err
	}
	var tok kern.Token
	var shared, exclusive atomic.Int32
	var hits atomic.Int32
	e.k.Handle(i, "test interrupt", kern.IntrMed, func() {
		if e.k.TryToken(&tok, kern.Exclusive) {
			exclusive.Add(1)
			e.k.ReleaseToken(&tok)
		}
		if e.k.TryToken(&tok, kern.Shared) {
			shared.Add(1)
			e.k.ReleaseToken(&tok)
		}
		hits.Add(1)
	})
	defer i.Close()
	time.Sleep(2 * time.Millisecond)
	return e.inThread(kern.ThreadAttr{Name: "reader", Priority: kern.Daemon, CPU: 1}, func() error {
		for _, c := range []struct {
			mode              kern.TokenMode
			shared, exclusive int32
		}{{kern.Shared, 1, 0}, {kern.Exclusive, 0, 0}} {
			came := false
			for try := 0; !came && try < 20; try++ {
				was := hits.Load()
				shared.Store(0)
				exclusive.Store(0)
				e.k.GetToken(&tok, c.mode)
				came = e.hit(i, func() bool { return hits.Load() != was })
				s, x := shared.Load(), exclusive.Load()
				e.k.ReleaseToken(&tok)
				if came && (s != c.shared || x != c.exclusive) {
					return fmt.Errorf("while a thread has the token in mode %d, %d others share it, want %d, and %d have it for themselves, want %d", c.mode, s, c.shared, x, c.exclusive)
				}
				for end := e.k.Now() + tooLong; hits.Load() == was; time.Sleep(time.Millisecond) {
					if e.k.Now() > end {
						return errors.New("the interrupt thread does not run")
					}
				}
			}
			if !came {
				return errors.New("the interrupt thread never runs at once")
			}
		}
		return nil
	})
}

// testIPICount wakes a thread of another CPU: that takes one message.
func testIPICount(e env) error {
	if e.k.CPUs() == 1 {
		return nil // there is nobody to send one to
	}
	var gate atomic.Uint32
	const rounds = 60
	waiter := e.k.Start(kern.ThreadAttr{Name: "far", Priority: kern.Daemon, CPU: 2}, func() {
		for n := range uint32(rounds) {
			for gate.Load() == n {
				e.k.Wait(&gate, n, -1)
			}
		}
	})
	counts := map[uint64]int{}
	err := e.inThread(kern.ThreadAttr{Name: "near", Priority: kern.Daemon, CPU: 1}, func() error {
		for range rounds {
			time.Sleep(500 * time.Microsecond) // the other falls asleep
			e.k.CritEnter()
			before := pc64.StatsOf(0).IPIsSent
			gate.Add(1)
			e.k.Wake(&gate, 0)
			counts[pc64.StatsOf(0).IPIsSent-before]++
			e.k.CritExit()
		}
		return nil
	})
	waiter.Join()
	// An idle CPU may ask for a thread meanwhile and be sent one, or the other not have been asleep: what a wake-up takes is what it took without that.
	if err == nil && counts[1] < rounds/10 {
		err = fmt.Errorf("the numbers of messages for a wake-up, and how often they were seen, are %v; want one message", counts)
	}
	return err
}
