package selftest

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
)

func testClock(env) error {
	last := time.Now()
	for range 10000 {
		now := time.Now()
		if now.Before(last) {
			return fmt.Errorf("time runs back by %v", last.Sub(now))
		}
		last = now
	}
	if y := last.Year(); y < 2024 || y > 2100 {
		return fmt.Errorf("the year is %d", y)
	}
	return nil
}

func testGoroutines(env) error {
	c := make(chan int)
	const n, keys = 16, 2000
	for g := range n {
		go func() {
			m := map[int]string{}
			for i := range keys {
				m[i*n+g] = strings.Repeat("x", i&31)
			}
			c <- len(m)
		}()
	}
	for range n {
		if got := <-c; got != keys {
			return fmt.Errorf("a map has %d keys, want %d", got, keys)
		}
	}
	return nil
}

type node struct {
	next *node
	v    [4]int
}

func testGC(env) error {
	for range 5 {
		var head *node
		const n = 20000
		for i := range n {
			head = &node{head, [4]int{i}}
		}
		runtime.GC()
		want := n - 1
		for p := head; p != nil; p = p.next {
			if p.v[0] != want {
				return fmt.Errorf("node %d has %d", want, p.v[0])
			}
			want--
		}
		if want != -1 {
			return errors.New("nodes are lost")
		}
	}
	return nil
}

//go:noinline
func derefNil() (err any) {
	defer func() { err = recover() }()
	var p *node
	p.v[1] = 3
	return nil
}

func testNil(e env) error {
	for i := range 1000 {
		if derefNil() == nil {
			return fmt.Errorf("round %d: no panic", i)
		}
	}
	// In a kernel thread it is that thread's end only.
	ended := e.k.Start(kern.ThreadAttr{Name: "nil", Priority: kern.Daemon}, func() {
		defer func() { _ = recover() }()
		var p *node
		p.v[0]++
	})
	ended.Join()
	return nil
}

func testPreempt(env) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var started, stop atomic.Bool
	done := make(chan int)
	go func() {
		n := 0
		started.Store(true)
		for !stop.Load() {
			n++
		}
		done <- n
	}()
	for !started.Load() {
		runtime.Gosched()
	}
	runtime.GC() // must stop a loop that calls nothing
	stop.Store(true)
	<-done
	return nil
}

func testFloat(env) error {
	var wg sync.WaitGroup
	var bad atomic.Int32
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var want float64
			for r := range 5 {
				s := float64(g)
				for i := 1; i < 20000; i++ {
					s += math.Sqrt(float64(i)) / float64(g+1)
				}
				if r == 0 {
					want = s
				} else if s != want {
					bad.Add(1)
				}
			}
		}()
	}
	wg.Wait()
	if n := bad.Load(); n != 0 {
		return fmt.Errorf("%d sums differ", n)
	}
	return nil
}

func testTimers(env) error {
	for _, d := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		start := time.Now()
		time.Sleep(d)
		if took := time.Since(start); took < d {
			return fmt.Errorf("a sleep of %v took %v", d, took)
		}
	}
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for range 5 {
		select {
		case <-t.C:
		case <-time.After(5 * time.Second):
			return errors.New("a ticker does not tick")
		}
	}
	return nil
}

func testDMA(e env) error {
	for _, align := range []int{0, 4096, 65536} {
		d, err := e.k.AllocDMA(10000, align, 1<<32)
		if err != nil {
			return err
		}
		defer e.k.FreeDMA(d)
		if align > 0 && d.Phys&uint64(align-1) != 0 || d.Phys+10000 > 1<<32 || len(d.Bytes) != 10000 {
			return fmt.Errorf("memory at %#x of %d bytes, want alignment %d", d.Phys, len(d.Bytes), align)
		}
		for i, v := range d.Bytes {
			if v != 0 {
				return fmt.Errorf("byte %d is %#x", i, v)
			}
		}
	}
	return nil
}
