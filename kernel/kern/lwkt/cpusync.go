package lwkt

import "sync/atomic"

// cpusync is the state of the one synchronization of CPUs that can be under way.
type cpusync struct {
	owner atomic.Int32 // CPU + 1
	state atomic.Uint32
	acks  atomic.Int32
	done  atomic.Int32
	fn    IPIFunc
	a     uint64
}

const (
	syncHold uint32 = iota
	syncGo
)

// Quiesce makes the CPUs of a set, without the caller's, stand still in the kernel until Unquiesce.
func (c *CPU) Quiesce(has func(cpu int) bool) {
	s := &c.sys.sync
	for !s.owner.CompareAndSwap(0, int32(c.id)+1) {
		c.ProcessIPIs()
		c.sys.p.Pause(c.id)
	}
	s.state.Store(syncHold)
	s.acks.Store(0)
	s.done.Store(0)
	sent := int32(0)
	for i := range c.sys.cpus {
		if i != c.id && has(i) {
			c.Send(i, ipiSync, 0, 0)
			sent++
		}
	}
	for s.acks.Load() != sent {
		c.ProcessIPIs()
		c.sys.p.Pause(c.id)
	}
}

// Unquiesce calls fn(a, 0) on each of the CPUs that stand still, and lets them go. When it returns
// all have called it.
func (c *CPU) Unquiesce(fn IPIFunc, a uint64) {
	s := &c.sys.sync
	s.fn, s.a = fn, a
	held := s.acks.Load()
	s.state.Store(syncGo)
	for s.done.Load() != held {
		c.sys.p.Pause(c.id)
	}
	s.owner.Store(0)
}

// syncIPI is a CPU standing still.
func syncIPI(c *CPU, _, _ uint64) {
	s := &c.sys.sync
	s.acks.Add(1)
	for s.state.Load() == syncHold {
		c.sys.p.Pause(c.id)
	}
	c.sys.funcs[s.fn](c, s.a, 0)
	s.done.Add(1)
}

// CallAll calls fn(a, 0) on the CPUs of a set, without making them stand still
// first, and returns when all have called it.
func (c *CPU) CallAll(has func(cpu int) bool, fn IPIFunc, a uint64) {
	var seq [MaxCPUs]uint32
	n := len(c.sys.cpus)
	for i := 1; i <= n; i++ {
		if t := (c.id + i) % n; has(t) {
			seq[t] = c.Send(t, fn, a, 0)
		}
	}
	for t := range n {
		if t != c.id && has(t) {
			c.Wait(t, seq[t])
		}
	}
}
