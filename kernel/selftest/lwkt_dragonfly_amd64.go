package selftest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/platform/pc64"
)

func testThreads(e env) error {
	const n = 64
	var ran atomic.Int32
	var list []*kern.Thread
	for i := range n {
		list = append(list, e.k.Start(kern.ThreadAttr{Name: fmt.Sprint("t", i), Priority: kern.Daemon}, func() { ran.Add(1) }))
	}
	for _, t := range list {
		t.Join()
	}
	if got := ran.Load(); got != n {
		return fmt.Errorf("%d of %d threads ran", got, n)
	}
	return nil
}

// testOwner checks that a bound thread never runs anywhere else and that migration by itself gets it
// where it wants.
func testOwner(e env) error {
	var bad atomic.Int32
	var list []*kern.Thread
	for cpu := range e.k.CPUs() {
		list = append(list, e.k.Start(kern.ThreadAttr{Name: "owner", Priority: kern.Daemon, CPU: cpu + 1}, func() {
			for i := range 200 {
				if e.k.CPU() != cpu {
					bad.Add(1)
				}
				if i%20 == 0 {
					time.Sleep(100 * time.Microsecond)
				}
			}
			for i := range 50 {
				to := (cpu + i) % e.k.CPUs()
				e.k.Migrate(to)
				if e.k.CPU() != to {
					bad.Add(1)
				}
			}
		}))
	}
	for _, t := range list {
		t.Join()
	}
	if n := bad.Load(); n != 0 {
		return fmt.Errorf("%d times a thread was on another CPU than its own", n)
	}
	return nil
}

// testPriority wakes threads of several priorities on one CPU: LWKT runs them in the order of priority. The order in which
// they come out of the kernel is another matter: there a thread needs a processor of the Go scheduler, which
// knows no priorities. What counts is the switch by which each got the CPU.
func testPriority(e env) error {
	for range 5 {
		if err := runOrder(e); err != nil {
			return err
		}
	}
	return nil
}

// runOrder wakes the threads from a critical section.
func runOrder(e env) error {
	pris := []kern.Priority{kern.SoftNormal, kern.IntrSupport, kern.Daemon, kern.SoftTimer}
	want := []kern.Priority{kern.IntrSupport, kern.SoftTimer, kern.SoftNormal, kern.Daemon}
	switches, err := e.wokenSwitches("priority", pris, []int{0, 0, 0, 0}, []int{0})
	if err != nil {
		return err
	}
	order := []int{0, 1, 2, 3}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(switches[a], switches[b]) })
	for i, j := range order {
		if pris[j] != want[i] {
			return fmt.Errorf("place %d of the run order has priority %d, want %d; the switches were %d for priorities %d", i, pris[j], want[i], switches, pris)
		}
	}
	return nil
}

// wokenSwitches has threads of some priorities wait on CPU 1, the i-th at gate waits[i], and a thread that outranks them open gates in an order, in one critical
// section. It returns by which switch of the CPU each thread got it.
func (e env) wokenSwitches(name string, pris []kern.Priority, waits, opens []int) ([]uint64, error) {
	for range 100 {
		gates := make([]atomic.Uint32, len(pris))
		switches := make([]uint64, len(pris))
		var waiting atomic.Int32
		var list []*kern.Thread
		for i, pri := range pris {
			gate := &gates[waits[i]]
			list = append(list, e.k.Start(kern.ThreadAttr{Name: name, Priority: pri, CPU: 1}, func() {
				waiting.Add(1)
				for gate.Load() == 0 {
					switches[i] = pc64.WaitOrder(gate, 0)
				}
			}))
		}
		for waiting.Load() != int32(len(pris)) {
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Millisecond)
		err := e.inThread(kern.ThreadAttr{Name: name, Priority: kern.IntrLow, CPU: 1}, func() error {
			e.k.CritEnter()
			for _, i := range opens {
				gates[i].Store(1)
				e.k.Wake(&gates[i], 0)
			}
			e.k.CritExit()
			return nil
		})
		for _, t := range list {
			t.Join()
		}
		if err != nil {
			return nil, err
		}
		if !slices.Contains(switches, 0) { // else one of them was not asleep yet
			return switches, nil
		}
	}
	return nil, errors.New("the threads do not fall asleep")
}

// testInterruptPreempts lets a thread compute and wakes an interrupt thread on its CPU: the interrupt thread runs at once.
func testInterruptPreempts(e env) error {
	before := preemptions(e)
	var hits atomic.Int32
	i, err := e.k.NewInterrupt(0)
	if err != nil {
		return err
	}
	e.k.Handle(i, "test interrupt", kern.IntrMed, func() { hits.Add(1) })
	defer i.Close()
	time.Sleep(2 * time.Millisecond)
	const rounds = 20
	err = e.inThread(kern.ThreadAttr{Name: "busy", Priority: kern.Daemon, CPU: 1}, func() error {
		for r := range int32(rounds) {
			e.p.SendInterrupt(i)
			for spin := 0; hits.Load() <= r; spin++ {
				if spin > 200_000_000 {
					return fmt.Errorf("the interrupt thread does not run while another computes (round %d)", r)
				}
			}
			// Let it get back to waiting before the next one.
			time.Sleep(200 * time.Microsecond)
		}
		return nil
	})
	if err == nil && preemptions(e) == before {
		err = errors.New("no preemption was counted")
	}
	return err
}

func preemptions(e env) (n uint64) {
	for i := range e.k.CPUs() {
		n += pc64.StatsOf(i).Preemptions
	}
	return n
}

// testCritical sends an interrupt in a critical section: its thread runs after it.
func testCritical(e env) error {
	var hits atomic.Int32
	i, err := e.k.NewInterrupt(0)
	if err != nil {
		return err
	}
	e.k.Handle(i, "test interrupt", kern.IntrMed, func() { hits.Add(1) })
	defer i.Close()
	time.Sleep(2 * time.Millisecond)
	return e.inThread(kern.ThreadAttr{Name: "critical", Priority: kern.Daemon, CPU: 1}, func() error {
		e.k.CritEnter()
		e.k.CritEnter()
		e.p.SendInterrupt(i)
		for end := e.k.Now() + 2*time.Millisecond; e.k.Now() < end; {
			if hits.Load() != 0 {
				e.k.CritExit()
				e.k.CritExit()
				return errors.New("the interrupt thread ran in a critical section")
			}
		}
		e.k.CritExit()
		inner := hits.Load()
		e.k.CritExit()
		if inner != 0 {
			return errors.New("the interrupt thread ran before the outer critical section ended")
		}
		for end := e.k.Now() + 2*time.Second; hits.Load() == 0; {
			if e.k.Now() > end {
				return errors.New("the interrupt was lost")
			}
		}
		return nil
	})
}

func testWaitWake(e env) error {
	var a atomic.Uint32
	start := e.k.Now()
	if e.k.Wait(&a, 0, 3*time.Millisecond) || e.k.Now()-start < 3*time.Millisecond {
		return errors.New("a wait of 3 ms does not time out after that")
	}
	const rounds = 500
	var ping, pong atomic.Uint32
	t := e.k.Start(kern.ThreadAttr{Name: "pong", Priority: kern.Daemon, CPU: e.k.CPUs()}, func() {
		for i := range uint32(rounds) {
			for ping.Load() == i {
				e.k.Wait(&ping, i, -1)
			}
			pong.Add(1)
			e.k.Wake(&pong, 1)
		}
	})
	for i := range uint32(rounds) {
		ping.Add(1)
		e.k.Wake(&ping, 1)
		for pong.Load() == i {
			e.k.Wait(&pong, i, -1)
		}
	}
	t.Join()
	return nil
}

// contend runs f in threads on all CPUs, two on each.
func (e env) contend(f func(worker int) error) error {
	n := 2 * e.k.CPUs()
	errs := make([]error, n)
	var list []*kern.Thread
	for i := range n {
		list = append(list, e.k.Start(kern.ThreadAttr{Name: "contend", Priority: kern.Daemon, CPU: i%e.k.CPUs() + 1}, func() {
			errs[i] = f(i)
		}))
	}
	for _, t := range list {
		t.Join()
	}
	return errors.Join(errs...)
}

func testTokenExclusive(e env) error {
	var tok kern.Token
	count := 0
	const rounds = 2000
	err := e.contend(func(int) error {
		for range rounds {
			e.k.GetToken(&tok, kern.Exclusive)
			count++
			e.k.ReleaseToken(&tok)
		}
		return nil
	})
	if want := 2 * e.k.CPUs() * rounds; err == nil && count != want {
		err = fmt.Errorf("the count is %d, want %d", count, want)
	}
	return err
}

func testTokenShared(e env) error {
	var tok kern.Token
	var a, b int
	var readers, most atomic.Int32
	return e.contend(func(worker int) error {
		for i := range 500 {
			if worker == 0 || i%10 == 0 {
				e.k.GetToken(&tok, kern.Exclusive)
				if readers.Load() != 0 {
					e.k.ReleaseToken(&tok)
					return errors.New("a writer shares with readers")
				}
				a++
				b++
				e.k.ReleaseToken(&tok)
				continue
			}
			e.k.GetToken(&tok, kern.Shared)
			most.Store(max(most.Load(), readers.Add(1)))
			same := a == b
			readers.Add(-1)
			e.k.ReleaseToken(&tok)
			if !same {
				return errors.New("a reader saw half of a write")
			}
		}
		return nil
	})
}

func testTokenRecursive(e env) error {
	return e.inThread(kern.ThreadAttr{Name: "recursive", Priority: kern.Daemon}, func() error {
		var a, b kern.Token
		e.k.GetToken(&a, kern.Exclusive)
		e.k.GetToken(&b, kern.Shared)
		e.k.GetToken(&a, kern.Exclusive)
		e.k.GetToken(&a, kern.Shared)
		held := a.Held()
		e.k.ReleaseToken(&a)
		e.k.ReleaseToken(&a)
		still := a.Held()
		e.k.ReleaseToken(&b)
		e.k.ReleaseToken(&a)
		if !held || !still || a.Held() || b.Held() {
			return fmt.Errorf("held %v, after two of three releases %v, at the end %v %v", held, still, a.Held(), b.Held())
		}
		return nil
	})
}

// testTokenDeadlock takes tokens in all orders at once.
func testTokenDeadlock(e env) error {
	var toks [4]kern.Token
	var counts [4]int
	const rounds = 500
	err := e.contend(func(worker int) error {
		for i := range rounds {
			x, y, z := (worker+i)%4, (worker*3+i+1)%4, (worker+2*i+2)%4
			e.k.GetToken(&toks[x], kern.Exclusive)
			e.k.GetToken(&toks[y], kern.Exclusive)
			e.k.GetToken(&toks[z], kern.Exclusive)
			counts[x]++
			e.k.ReleaseToken(&toks[z])
			e.k.ReleaseToken(&toks[y])
			e.k.ReleaseToken(&toks[x])
		}
		return nil
	})
	sum := 0
	for _, c := range counts {
		sum += c
	}
	if want := 2 * e.k.CPUs() * rounds; err == nil && sum != want {
		err = fmt.Errorf("the counts add up to %d, want %d", sum, want)
	}
	return err
}

// testTokenBlocks lets a thread block with a token: another gets it, and the first has it again when it
// runs on.
func testTokenBlocks(e env) error {
	var tok kern.Token
	entered := e.k.NewEvent()
	release := e.k.NewEvent()
	var inside atomic.Int32
	first := e.k.Start(kern.ThreadAttr{Name: "first", Priority: kern.Daemon, CPU: 1}, func() {
		e.k.GetToken(&tok, kern.Exclusive)
		inside.Add(1)
		entered.Set()
		inside.Add(-1)
		release.Wait(-1)
		inside.Add(1)
		inside.Add(-1)
		e.k.ReleaseToken(&tok)
	})
	entered.Wait(-1)
	err := e.inThread(kern.ThreadAttr{Name: "second", Priority: kern.Daemon, CPU: e.k.CPUs()}, func() error {
		got := make(chan struct{})
		defer close(got)
		e.k.GetToken(&tok, kern.Exclusive)
		defer e.k.ReleaseToken(&tok)
		if inside.Load() != 0 {
			return errors.New("two threads are inside")
		}
		release.Set()
		for end := e.k.Now() + 2*time.Millisecond; e.k.Now() < end; {
			if inside.Load() != 0 {
				return errors.New("the first thread runs on without its token")
			}
		}
		return nil
	})
	first.Join()
	return err
}

func testTokenCollisions(e env) error {
	var tok kern.Token
	held, tried := e.k.NewEvent(), e.k.NewEvent()
	t := e.k.Start(kern.ThreadAttr{Name: "holder", Priority: kern.Daemon, CPU: 1}, func() {
		e.k.GetToken(&tok, kern.Exclusive)
		held.Set()
		for !tried.Happened() {
			if e.k.CPUs() == 1 {
				break
			}
		}
		e.k.ReleaseToken(&tok)
	})
	held.Wait(-1)
	if e.k.CPUs() == 1 {
		t.Join()
		return nil
	}
	err := e.inThread(kern.ThreadAttr{Name: "taker", Priority: kern.Daemon, CPU: 2}, func() error {
		defer tried.Set()
		if e.k.TryToken(&tok, kern.Exclusive) {
			e.k.ReleaseToken(&tok)
			return errors.New("a held token was taken")
		}
		return nil
	})
	t.Join()
	if n := tok.Collisions(); err == nil && n != 1 {
		err = fmt.Errorf("%d collisions, want 1", n)
	}
	return err
}

// testIPI fills the rings beyond their size in all directions at once.
func testIPI(e env) error {
	before := pc64.TestMessages()
	n := max(1000/max(e.k.CPUs()/4, 1), 300)
	err := e.contend(func(worker int) error {
		for to := range e.k.CPUs() {
			pc64.TestIPI(to, n)
		}
		return nil
	})
	want := uint64(2*e.k.CPUs()) * uint64(e.k.CPUs()) * uint64(n)
	if got := pc64.TestMessages() - before; err == nil && got != want {
		err = fmt.Errorf("%d messages arrived of %d", got, want)
	}
	return err
}

func testQuiesce(e env) error {
	return e.contend(func(worker int) error {
		for range min(max(40/e.k.CPUs(), 1), 10) { // the more CPUs, the longer until all stand still
			if n := pc64.TestQuiesce(); n != 0 {
				return fmt.Errorf("%d messages were executed while all CPUs stood still", n)
			}
			pc64.TestIPIAll()
		}
		return nil
	})
}
