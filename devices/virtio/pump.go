package virtio

import "sync"

// A pump serves a queue with up to max goroutines, started when there is work.
// Each takes a chain, wakes another one if there are more, and handles its own,
// which includes giving it back.
type pump struct {
	q      *Queue
	max    int
	handle func(c *Chain)

	mu      sync.Mutex
	n       int  // goroutines
	idle    int  // of them waiting, and not yet sent a token
	pending bool // there may be work, and nobody was idle
	closed  bool
	wake    chan struct{} // one token for each goroutine woken
	wg      sync.WaitGroup
}

func newPump(q *Queue, max int, handle func(c *Chain)) *pump {
	return &pump{q: q, max: max, handle: handle, wake: make(chan struct{}, max)}
}

// kick has someone look at the queue. It never waits.
func (p *pump) kick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
	case p.idle > 0:
		p.idle--
		p.wake <- struct{}{}
	case p.n < p.max:
		p.n++
		p.wg.Add(1)
		go p.run()
	default:
		p.pending = true
	}
}

func (p *pump) run() {
	defer p.wg.Done()
	for {
		p.work()
		p.mu.Lock()
		switch {
		case p.closed:
			p.mu.Unlock()
			return
		case p.pending:
			p.pending = false
			p.mu.Unlock()
			continue
		}
		p.idle++
		p.mu.Unlock()
		if _, ok := <-p.wake; !ok {
			return
		}
	}
}

// work handles chains until there are none.
func (p *pump) work() {
	for {
		c, more := p.q.Next()
		if c == nil {
			return
		}
		if more && p.max > 1 {
			p.kick()
		}
		p.handle(c)
	}
}

// close ends the goroutines and waits for them.
func (p *pump) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.wake)
	}
	p.mu.Unlock()
	p.wg.Wait()
}
