package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// BenchmarkSyscall measures SYSCALL and SYSRET.
func BenchmarkSyscall(b *testing.B) {
	r := newSysrig(b, 1)
	r.enter(true, selWide3, selData3)
	m := &r.c.s.MSR
	m.STAR, m.LSTAR = 0x0023_0050<<32, 0x9a00
	r.put(rigCode, 0x0f, 0x05)
	r.put(0x9a00, 0x48, 0x0f, 0x07)
	r.loop(b, rigCode, rigCode+2)
}

// BenchmarkFault measures an exception from CPL 3, and IRETQ.
func BenchmarkFault(b *testing.B) {
	r := newSysrig(b, 1)
	r.enter(true, selWide3, selData3)
	r.put(rigCode, 0x0f, 0x0b)
	r.put(handlerOf(6), 0x48, 0xcf)
	r.loop(b, rigCode, rigCode)
}

// BenchmarkCR3 measures a change of address space.
func BenchmarkCR3(b *testing.B) {
	r := newSysrig(b, 1)
	r.enter(true, selWide0, selData0)
	r.c.r[x86.RAX] = rigPML4
	r.put(rigCode, 0x0f, 0x22, 0xd8)
	r.loop(b, rigCode, rigCode+3)
}

// BenchmarkXSAVE measures XSAVE and XRSTOR of all components.
func BenchmarkXSAVE(b *testing.B) {
	r := newSysrig(b, 1)
	r.enter(true, selWide0, selData0)
	fillState(r.c)
	r.c.r[x86.RAX], r.c.r[x86.RBX] = 7, rigData
	r.put(rigCode, 0x48, 0x0f, 0xae, 0x23, 0x48, 0x0f, 0xae, 0x2b, 0xf4)
	r.loop(b, rigCode, rigCode+9)
}

// loop executes what starts at rip, until it comes to end, b.N times.
func (r *sysrig) loop(b *testing.B, rip, end uint64) {
	c := r.c
	c.dropAll()
	for range b.N {
		c.rip = rip
		for done := false; !done; done = c.rip == end {
			c.pending.Store(pendKick) // one block at a time
			st := stFault
			if blk := c.lookup(); blk != nil {
				st = c.blocksFrom(blk)
			}
			if st == stFault || st == stTrap {
				c.deliverFault()
			}
		}
	}
}
