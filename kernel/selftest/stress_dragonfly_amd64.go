package selftest

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
)

// Stress loads all CPUs with allocation, collection, faults, threads and tokens for a time.
func Stress(w io.Writer, k *kern.Kernel, d time.Duration) error {
	var wg sync.WaitGroup
	var ops, bad atomic.Int64
	end := time.Now().Add(d)
	run := func(f func(r int) bool) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for r := 0; time.Now().Before(end); r++ {
				if !f(r) {
					bad.Add(1)
					return
				}
				ops.Add(1)
			}
		}()
	}
	n := 2 * k.CPUs()
	for g := range n {
		run(func(r int) bool {
			m := map[int]*node{}
			for i := range 300 {
				m[i] = &node{nil, [4]int{i ^ r}}
			}
			for i := range 300 {
				if m[i].v[0] != i^r {
					return false
				}
			}
			if g&1 == 0 {
				time.Sleep(200 * time.Microsecond)
			}
			return true
		})
	}
	run(func(int) bool { return derefNil() != nil })
	run(func(int) bool { runtime.GC(); time.Sleep(5 * time.Millisecond); return true })
	run(func(r int) bool {
		c := make(chan int)
		go func() { c <- r }()
		return <-c == r
	})
	run(func(int) bool {
		t := k.Start(kern.ThreadAttr{Name: "stress", Priority: kern.Daemon}, func() {})
		t.Join()
		return true
	})
	var toks [2]kern.Token
	shared := 0
	for i := range n {
		wg.Add(1)
		k.Start(kern.ThreadAttr{Name: "stress token", Priority: kern.Daemon, CPU: i%k.CPUs() + 1}, func() {
			defer wg.Done()
			for r := 0; time.Now().Before(end); r++ {
				k.GetToken(&toks[i&1], kern.Exclusive)
				k.GetToken(&toks[i&1^1], kern.Exclusive)
				was := shared
				shared++
				p := &node{nil, [4]int{was}}
				if shared != was+1 || p.v[0] != was {
					bad.Add(1)
				}
				k.ReleaseToken(&toks[i&1^1])
				k.ReleaseToken(&toks[i&1])
				ops.Add(1)
				if r%8 == 0 {
					time.Sleep(50 * time.Microsecond)
				}
			}
		})
	}
	wg.Wait()
	fmt.Fprintf(w, "stress: %d operations, %d failures\n", ops.Load(), bad.Load())
	if n := bad.Load(); n != 0 {
		return fmt.Errorf("%d workers saw wrong data", n)
	}
	return nil
}
