package selftest

import (
	"errors"
	"fmt"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/proc"
)

// pidCount is how many processes there are at once, pidRoom what they take of memory, in bytes, and buckets how many lists they are in.
const (
	pidCount = 900_000
	pidRoom  = 72 << 20
	buckets  = 256
)

// testPIDs makes 900,000 processes, on all CPUs at once: each has an id of its own. Then many go, and their ids are not given again to those that come.
func testPIDs(e env) error {
	if err := e.k.Room(pidRoom); err != nil {
		return fmt.Errorf("for %d processes: %w", pidCount, err)
	}
	defer e.k.GiveBack()
	t := proc.New(e.k)
	n := e.k.CPUs()
	all := make([][]*proc.Process, n)
	parallel := func(f func(cpu int) error) error {
		errs := make([]error, n)
		var list []*kern.Thread
		for cpu := range n {
			list = append(list, e.k.Start(kern.ThreadAttr{Name: "pids", Priority: kern.Daemon, CPU: cpu + 1}, func() { errs[cpu] = f(cpu) }))
		}
		for _, t := range list {
			t.Join()
		}
		return errors.Join(errs...)
	}
	err := parallel(func(cpu int) error {
		share := pidCount / n
		if cpu == 0 {
			share += pidCount % n
		}
		list := make([]*proc.Process, share)
		for i := range list {
			p, err := t.New(nil)
			if err != nil {
				return fmt.Errorf("after %d processes: %w", i, err)
			}
			list[i] = p
		}
		all[cpu] = list
		return nil
	})
	if err != nil {
		return err
	}
	seen := make([]bool, proc.MaxPID+1)
	for _, list := range all {
		for _, p := range list {
			if seen[p.PID()] {
				return fmt.Errorf("process id %d is given twice", p.PID())
			}
			seen[p.PID()] = true
		}
	}
	// So many go, and all ids that are left are given: the search passes the end and comes to those of what went, which are not given again yet.
	const gone = 60_000
	return e.inThread(kern.ThreadAttr{Name: "pids", Priority: kern.Daemon}, func() error {
		start := e.k.Now()
		for _, list := range all {
			for _, p := range list[:gone/n] {
				if err := t.Reap(p); err != nil {
					return err
				}
			}
		}
		for i := 0; ; i++ {
			p, err := t.New(nil)
			if errors.Is(err, proc.ErrNoID) && i > proc.MaxPID-pidCount-buckets { // the highest of them share what is remembered with the lowest
				return nil
			} else if err != nil {
				return fmt.Errorf("after %d more processes: %w", i, err)
			}
			if e.k.Now()-start >= proc.Delay {
				return nil // a slow machine: they may be given again
			}
			if seen[p.PID()] {
				return fmt.Errorf("process id %d is given again after %v", p.PID(), e.k.Now()-start)
			}
			seen[p.PID()] = true
		}
	})
}
