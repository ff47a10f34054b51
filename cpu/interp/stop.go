package interp

import "runtime"

// stopOthers makes every other processor stand still between two blocks and
// returns the function that lets them go on. Only one processor at a time
// does this; one that waits for its turn counts as standing still.
func (a *Accel) stopOthers(c *CPU) (resume func()) {
	if len(a.cpus) == 1 {
		return func() {}
	}
	c.quiet.Store(true)
	a.world.Lock()
	c.quiet.Store(false)
	a.stopping.Store(true)
	for _, o := range a.cpus {
		if o != c {
			o.signal(pendStop)
		}
	}
	for _, o := range a.cpus {
		for o != c && !o.quiet.Load() {
			runtime.Gosched()
		}
	}
	return func() {
		a.stopping.Store(false)
		a.world.Unlock()
	}
}

// standStill waits while another processor needs the world to stop.
func (c *CPU) standStill() {
	c.quiet.Store(true)
	c.acc.world.Lock()
	c.quiet.Store(false)
	c.acc.world.Unlock()
	c.pending.Or(pendInval)
}
