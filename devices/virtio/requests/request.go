package requests

import (
	"dfemu/devices"
	"dfemu/devices/virtio"
)

// A Request is a chain on its way through a device. It belongs to one goroutine at a time.
type Request struct {
	Chain *virtio.Chain
	Queue *virtio.Queue
	// Effect is what a fault does to it. The request itself sees to delays, hanging and all about
	// the completion; Fail, Short and FlipData are for the device (see [Request.Flip]).
	Effect devices.Effect
	// OnAbort, if not nil, is called when the request will never be completed.
	OnAbort func()
	// KeepHung has a request that hangs wait for Hasten or a reset; otherwise it is aborted at once.
	KeepHung bool

	s       *Server
	cmd     *devices.Command
	do      func()
	detach  virtio.Detached
	hung    bool // guarded by Server.mu
	rushed  bool // guarded by Server.mu: it must not hang or be delayed any more
	aborted bool
}

// Run reports the command that the request is, asks for faults, and then calls do: at once, after
// the delay that a fault makes on another goroutine, or, when the request hangs, never. command is
// called only if somebody wants to know.
func (r *Request) Run(command func() *devices.Command, do func()) {
	s := r.s
	faulty := s.probe.Faulty()
	r.traceDMA()
	if !faulty && !s.probe.Wants(devices.ClassCommand) {
		do()
		return
	}
	c := command()
	r.cmd = c
	s.probe.Command(c)
	if !faulty {
		do()
		return
	}
	r.Effect = s.probe.Decide(c)
	switch e := &r.Effect; {
	case e.Hang:
		if r.hang() {
			return
		}
		e.Hang = false
	case e.FlipTable != 0:
		r.flipTable()
	}
	if r.Effect.Delay > 0 && s.clock != nil && r.delay(do) {
		return
	}
	do()
}

func (r *Request) traceDMA() {
	p := r.s.probe
	if !p.Wants(devices.ClassDMA) {
		return
	}
	for _, g := range r.Chain.Out {
		p.DMA(devices.Transfer{Addr: g.Addr, Bytes: int(g.Len), What: "request"})
	}
	for _, g := range r.Chain.In {
		p.DMA(devices.Transfer{Addr: g.Addr, Bytes: int(g.Len), Write: true, What: "response"})
	}
}

// flipTable inverts an address bit in the device's copy of the descriptors. The first descriptor is spared if there are
// others: it has the command that was parsed already.
func (r *Request) flipTable() {
	var l []*virtio.Segment
	for i := range r.Chain.Out {
		l = append(l, &r.Chain.Out[i])
	}
	for i := range r.Chain.In {
		l = append(l, &r.Chain.In[i])
	}
	if len(l) > 1 {
		l = l[1:]
	}
	if len(l) == 0 {
		return
	}
	l[r.Effect.Seed%uint64(len(l))].Addr ^= r.Effect.FlipTable
}

// hang leaves the request alone and reports whether it did.
func (r *Request) hang() bool {
	s := r.s
	s.mu.Lock()
	if r.rushed {
		s.mu.Unlock()
		return false
	}
	r.detach, r.hung = r.Queue.Detach(r.Chain), r.KeepHung
	s.mu.Unlock()
	if !r.KeepHung {
		r.abort()
	}
	return true
}

// delay puts the request off and reports whether it did.
func (r *Request) delay(do func()) bool {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hurry || s.closed || r.rushed {
		return false
	}
	r.do = do
	r.detach = r.Queue.Detach(r.Chain)
	t := s.clock.NewTimer(func() {
		s.mu.Lock()
		_, due := s.delayed[r]
		delete(s.delayed, r)
		if !due || s.closed {
			s.mu.Unlock()
			return
		}
		s.wg.Add(1)
		s.mu.Unlock()
		// Not on the clock's goroutine: what the device does may take time.
		go func() {
			defer s.wg.Done()
			r.resume()
		}()
	})
	s.delayed[r] = t
	t.Set(s.clock.Now() + r.Effect.Delay)
	return true
}

// resume ends a delay.
func (r *Request) resume() {
	c := r.Queue.Attach(r.detach)
	if c == nil {
		r.abort()
		return
	}
	r.Chain = c
	r.do()
}

// Hasten takes a request back that a fault delays or has hang. It reports whether that was so: then the caller completes
// it. Otherwise the request is not delayed and does not hang any more: it ends by itself.
func (r *Request) Hasten() bool {
	s := r.s
	s.mu.Lock()
	t, ok := s.delayed[r]
	if ok {
		t.Stop()
		delete(s.delayed, r)
	}
	ok = ok || r.hung
	r.hung, r.rushed = false, true
	s.mu.Unlock()
	if !ok {
		return false
	}
	c := r.Queue.Attach(r.detach)
	if c == nil {
		r.abort()
		return false
	}
	r.Chain, r.Effect = c, devices.Effect{}
	return true
}

// Waiting tells whether a fault delays the request or has it hang.
func (r *Request) Waiting() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	_, delayed := r.s.delayed[r]
	return delayed || r.hung
}

func (r *Request) abort() {
	if r.OnAbort != nil && !r.aborted {
		r.aborted = true
		r.OnAbort()
	}
}

// Complete gives the chain back with written bytes stored in its device-writable part.
func (r *Request) Complete(written uint32, status devices.Status) {
	if r.cmd != nil {
		r.s.probe.Completion(r.cmd, status)
	}
	r.Queue.Finish(r.Chain, written, &r.Effect)
}

// Limit is how many of n bytes of data are transferred: fewer with a fault that shortens.
func (r *Request) Limit(n int) int {
	if r.Effect.ShortOn {
		return int(min(max(r.Effect.Short, 0), int64(n)))
	}
	return n
}

// Flip inverts bits of the data as a fault says.
func (r *Request) Flip(p []byte) { devices.Flip(p, 0, r.Effect.Flips(uint64(len(p)))) }

// Keep ends the request without giving its chain back, which is then the caller's until Queue.Attach.
func (r *Request) Keep(status devices.Status) virtio.Detached {
	if r.cmd != nil {
		r.s.probe.Completion(r.cmd, status)
	}
	return r.Queue.Detach(r.Chain)
}
