package selftest

import (
	"errors"
	"fmt"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/msgport"
	"dfemu/kernel/kern/objcache"
	"dfemu/kernel/platform/pc64"
)

// testPortSync sends messages to a port that answers at once: that takes no switch and wakes nobody.
func testPortSync(e env) error {
	answer := errors.New("an answer")
	p := msgport.NewPut(e.k, "sync", func(*msgport.Msg) error { return answer })
	return e.inThread(kern.ThreadAttr{Name: "sync", Priority: kern.Daemon, CPU: 1}, func() error {
		m := msgport.New(e.k, nil, 0)
		e.k.CritEnter() // other threads' switches do not count
		defer e.k.CritExit()
		before := pc64.StatsOf(0)
		for range 100 {
			if err := msgport.Do(p, m); err != answer {
				return fmt.Errorf("the answer is %w", err)
			}
		}
		if s := pc64.StatsOf(0); s.Switches != before.Switches || s.Syscalls-before.Syscalls > 0 {
			return fmt.Errorf("100 messages take %d switches and %d calls of the bottom layer", s.Switches-before.Switches, s.Syscalls-before.Syscalls)
		}
		return nil
	})
}

// testPortIPI sends messages to a thread's port on another CPU: if the thread waits, that takes one message between CPUs, if not, none.
func testPortIPI(e env) error {
	if e.k.CPUs() == 1 {
		return nil // there is nobody to send one to
	}
	const rounds = 60
	p, back := msgport.NewThread(e.k, "far"), msgport.NewSpin(e.k, "back")
	server := e.k.Start(kern.ThreadAttr{Name: "far", Priority: kern.Daemon, CPU: 2}, func() {
		for range 2 * rounds {
			msgport.Reply(p.Wait(), nil)
		}
	})
	counts := map[uint64]int{}
	err := e.inThread(kern.ThreadAttr{Name: "near", Priority: kern.Daemon, CPU: 1}, func() error {
		a, b := msgport.New(e.k, back, 0), msgport.New(e.k, back, 0)
		for range rounds {
			time.Sleep(500 * time.Microsecond) // the other falls asleep
			e.k.CritEnter()
			before := pc64.StatsOf(0).IPIsSent
			msgport.Send(p, a)
			first := pc64.StatsOf(0).IPIsSent - before
			e.k.CritExit()
			msgport.Send(p, b)
			counts[first]++
			back.Wait()
			back.Wait()
		}
		return nil
	})
	server.Join()
	// The server may not have been asleep: what a message to one that is takes is what it took then.
	if err == nil && (counts[1] < rounds/10 || counts[0]+counts[1] < rounds*9/10) {
		err = fmt.Errorf("the numbers of messages between CPUs for one to a port, and how often they were seen, are %v; want one", counts)
	}
	return err
}

// testPassive frees objects of another CPU: it is told of the first, without being interrupted, and uses them again.
func testPassive(e env) error {
	if e.k.CPUs() == 1 {
		return nil
	}
	const n = 8
	s := objcache.NewSlab[[4]int](objcache.Critical{K: e.k}, n)
	var list [n]*[4]int
	get := func() error {
		for i := range list {
			list[i] = s.Get()
		}
		return nil
	}
	on := func(cpu int, f func() error) error {
		return e.inThread(kern.ThreadAttr{Name: "passive", Priority: kern.Daemon, CPU: cpu}, f)
	}
	if err := on(1, get); err != nil {
		return err
	}
	old := map[*[4]int]bool{}
	for _, o := range list {
		old[o] = true
	}
	err := on(2, func() error {
		e.k.CritEnter()
		defer e.k.CritExit()
		before := pc64.StatsOf(1)
		for _, o := range list {
			s.Put(o)
		}
		if now := pc64.StatsOf(1); now.IPIsSent-before.IPIsSent != 1 || now.IPIHard != before.IPIHard {
			return fmt.Errorf("%d objects of one zone take %d messages and %d interrupts, want one and none", n, now.IPIsSent-before.IPIsSent, now.IPIHard-before.IPIHard)
		}
		return nil
	})
	if err == nil {
		err = on(1, get)
	}
	for _, o := range list {
		if err == nil && !old[o] {
			err = errors.New("an object that another CPU has freed is not used again")
		}
	}
	return err
}

// testCalls calls a function on all CPUs, and on those that stand still: once on each.
func testCalls(e env) error {
	for range 20 {
		before := pc64.TestMessages()
		pc64.TestIPIAll()
		if n := pc64.TestMessages() - before; n != uint64(e.k.CPUs()) {
			return fmt.Errorf("a function was called %d times on %d CPUs", n, e.k.CPUs())
		}
		before = pc64.TestMessages()
		pc64.TestQuiesce()
		if n := pc64.TestMessages() - before; n != uint64(e.k.CPUs()-1) {
			return fmt.Errorf("a function was called %d times on %d CPUs that stood still", n, e.k.CPUs()-1)
		}
	}
	return nil
}
