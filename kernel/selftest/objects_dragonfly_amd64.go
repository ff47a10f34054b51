package selftest

import (
	"errors"
	"fmt"
	"sync/atomic"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/msgport"
	"dfemu/kernel/kern/objcache"
)

// testSlab passes objects from CPU to CPU: what one gets another frees.
func testSlab(e env) error {
	s := objcache.NewSlab[[4]int](objcache.Critical{K: e.k}, 64)
	n := 2 * e.k.CPUs()
	pass := make([]chan *[4]int, n)
	for i := range pass {
		pass[i] = make(chan *[4]int, 16)
	}
	return e.contend(func(worker int) error {
		next := pass[(worker+1)%n]
		var err error
		for i := range 500 {
			p := s.Get()
			if *p != [4]int{} {
				err = fmt.Errorf("an object is %v", *p)
			}
			*p = [4]int{worker, i}
			next <- p
			q := <-pass[worker]
			if q[0] != (worker+n-1)%n || q[1] != i {
				err = fmt.Errorf("object %d of worker %d arrived as %v", i, (worker+n-1)%n, *q)
			}
			s.Put(q)
		}
		return err
	})
}

func testCache(e env) error {
	type thing struct{ busy atomic.Bool }
	c := objcache.NewCache(e.k, objcache.Critical{K: e.k}, 0, func() (*thing, error) { return new(thing), nil }, nil)
	few := objcache.NewCache(e.k, objcache.Critical{K: e.k}, 2, func() (*thing, error) { return new(thing), nil }, nil)
	return e.contend(func(int) error {
		for range 300 {
			for _, c := range []*objcache.Cache[thing]{c, few} {
				o, err := c.Get()
				if err != nil {
					return err
				}
				if !o.busy.CompareAndSwap(false, true) {
					return errors.New("an object is in use twice")
				}
				o.busy.Store(false)
				c.Put(o)
			}
		}
		return nil
	})
}

// testPorts lets threads of all CPUs ask a server on each kind of port.
func testPorts(e env) error {
	for _, server := range []*msgport.Port{msgport.NewThread(e.k, "thread"), msgport.NewSpin(e.k, "spin")} {
		stop := errors.New("stop")
		t := e.k.Start(kern.ThreadAttr{Name: "server", Priority: kern.SoftNormal, CPU: 1}, func() {
			for {
				m := server.Wait()
				n, ok := m.Data.(int)
				if !ok {
					msgport.Reply(m, stop)
					return
				}
				m.Data = n * 2
				msgport.Reply(m, nil)
			}
		})
		err := e.contend(func(worker int) error {
			back := msgport.NewThread(e.k, "back")
			for i := range 100 {
				m := msgport.New(e.k, back, 0)
				m.Data = i
				if i&1 == 0 {
					if err := msgport.Do(server, m); err != nil {
						return err
					}
				} else {
					msgport.Send(server, m)
					if back.Wait() != m {
						return errors.New("another message came back")
					}
				}
				if m.Data != 2*i {
					return fmt.Errorf("answer %v to %d", m.Data, i)
				}
			}
			return nil
		})
		if end := msgport.Do(server, msgport.New(e.k, nil, 0)); end != stop {
			return fmt.Errorf("the server ends with %v", end)
		}
		t.Join()
		if err != nil {
			return err
		}
	}
	return nil
}

// testTokenPool guards counters by the tokens of the pool for their addresses.
func testTokenPool(e env) error {
	var counts [64]int
	const rounds = 500
	err := e.contend(func(worker int) error {
		for i := range rounds {
			n := (worker*7 + i) % len(counts)
			tok := e.k.PoolToken(uintptr(0x1000 + 64*n))
			e.k.GetToken(tok, kern.Exclusive)
			counts[n]++
			e.k.ReleaseToken(tok)
		}
		return nil
	})
	sum := 0
	for _, n := range counts {
		sum += n
	}
	if want := 2 * e.k.CPUs() * rounds; err == nil && sum != want {
		err = fmt.Errorf("the counts add up to %d, want %d", sum, want)
	}
	return err
}

// testBytes gets memory of many sizes on all CPUs and frees it there and elsewhere.
func testBytes(e env) error {
	b := objcache.NewBytes(objcache.Critical{K: e.k})
	n := 2 * e.k.CPUs()
	pass := make([]chan []byte, n)
	for i := range pass {
		pass[i] = make(chan []byte, 400)
	}
	err := e.contend(func(worker int) error {
		for i := range 400 {
			p := b.Get(1 + (i*i*37+worker)%20000)
			for j := range p {
				if p[j] != 0 {
					return fmt.Errorf("byte %d of %d is %#x", j, len(p), p[j])
				}
			}
			p[0], p[len(p)-1] = 0xff, 0xff
			pass[(worker+i)%n] <- p
			select {
			case p := <-pass[worker]:
				b.Put(p)
			default:
			}
		}
		return nil
	})
	for _, c := range pass {
		for len(c) > 0 {
			p := <-c
			if p[0] != 0xff || p[len(p)-1] != 0xff {
				return fmt.Errorf("%d bytes were changed by somebody else", len(p))
			}
			err = errors.Join(err, e.inThread(kern.ThreadAttr{Name: "bytes", Priority: kern.Daemon}, func() error { b.Put(p); return nil }))
		}
	}
	return err
}
