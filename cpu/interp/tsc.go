package interp

import (
	"math/bits"

	"dfemu/cpu/x86"
)

// tscCount is the time-stamp count, without TSCOffset, at the clock's time now.
func (a *Accel) tscCount(now int64) uint64 {
	hi, lo := bits.Mul64(uint64(max(now, 0)), a.cfg.TSCHz)
	q, _ := bits.Div64(hi%1e9, lo, 1e9)
	return q
}

// tsc is the time-stamp count that the guest sees.
func (c *CPU) tsc() uint64 {
	return c.acc.tscCount(c.acc.cfg.Clock.Now()) + c.s.TSCOffset
}

// tscAllowed raises #GP(0) where CR4.TSD keeps programs from reading the count.
func (c *CPU) tscAllowed() bool {
	if c.cpl != 0 && c.s.CR4&x86.CR4_TSD != 0 {
		c.gp(0)
		return false
	}
	return true
}

func rdtsc(c *CPU, o *Op) status {
	if !c.tscAllowed() {
		return stFault
	}
	t := c.tsc()
	c.r[x86.RAX], c.r[x86.RDX] = t&0xffffffff, t>>32
	return stNext
}

func rdtscp(c *CPU, o *Op) status {
	if rdtsc(c, o) != stNext {
		return stFault
	}
	c.r[x86.RCX] = c.s.MSR.TSCAux & 0xffffffff
	return stNext
}

func rdpid(c *CPU, o *Op) status {
	c.r[o.dst&15] = c.s.MSR.TSCAux & 0xffffffff
	return stNext
}

// rdpmc always fails: CPUID announces no performance counters.
func rdpmc(c *CPU, _ *Op) status { return c.gp(0) }

// setTSCOffset changes what the guest's count is ahead of the machine's.
func (c *CPU) setTSCOffset(v uint64) {
	c.s.TSCOffset = v
	c.apic.TSCChanged()
	c.updateKVMClock()
}
