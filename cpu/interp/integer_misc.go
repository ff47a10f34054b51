package interp

import (
	"crypto/rand"
	"encoding/binary"
	"runtime"

	"dfemu/cpu/x86"
)

// compileMiscInteger handles single flags, AH and the flags, hints, fences,
// cache control, BOUND and random numbers.
func compileMiscInteger(in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.CLC:
		o.fn = clc
	case x86.STC:
		o.fn = stc
	case x86.CMC:
		o.fn = cmc
	case x86.CLD:
		o.fn = cld
	case x86.STD:
		o.fn = std
	case x86.LAHF:
		o.fn = lahf
	case x86.SAHF:
		o.fn = sahf
	case x86.SALC:
		o.fn = salc
	case x86.NOP, x86.ENDBR32, x86.ENDBR64, x86.PREFETCH, x86.PREFETCHW,
		x86.PREFETCHNTA, x86.PREFETCHT0, x86.PREFETCHT1, x86.PREFETCHT2:
		o.fn = nop
	case x86.PAUSE:
		o.fn = pause
	case x86.LFENCE, x86.SFENCE:
		o.fn = nop
	case x86.MFENCE:
		o.fn = mfence
	case x86.CLFLUSH, x86.CLFLUSHOPT, x86.CLWB:
		o.fn = cacheLine
	case x86.BOUND:
		o.dst = regNum(&in.Args[0])
		o.fn = bound
	case x86.RDRAND, x86.RDSEED:
		o.dst = regNum(&in.Args[0])
		o.fn = random
	default:
		return false
	}
	return true
}

func clc(c *CPU, _ *Op) status {
	c.setCF(false)
	return stNext
}

func stc(c *CPU, _ *Op) status {
	c.setCF(true)
	return stNext
}

func cmc(c *CPU, _ *Op) status {
	c.setCF(!c.cf())
	return stNext
}

func cld(c *CPU, _ *Op) status {
	c.flags &^= x86.DF
	return stNext
}

func std(c *CPU, _ *Op) status {
	c.flags |= x86.DF
	return stNext
}

const ahFlags = x86.SF | x86.ZF | x86.AF | x86.PF | x86.CF

func lahf(c *CPU, _ *Op) status {
	setReg(c, x86.RAX*8+1, uint8(c.arith()&ahFlags|x86.Flag1))
	return stNext
}

func sahf(c *CPU, _ *Op) status {
	c.setArith(c.arith()&x86.OF | c.r[x86.RAX]>>8&ahFlags)
	return stNext
}

func salc(c *CPU, _ *Op) status {
	var v uint8
	if c.cf() {
		v = 0xff
	}
	setReg(c, x86.RAX*8, v)
	return stNext
}

func nop(*CPU, *Op) status { return stNext }

// yieldPauses is after how many PAUSEs a processor that spins lets another goroutine have its
// host processor: the one it waits for may not be executing.
const yieldPauses = 64

func pause(c *CPU, _ *Op) status {
	if c.pauses++; c.pauses%yieldPauses == 0 {
		runtime.Gosched()
	}
	return stNext
}

// mfence orders the stores before it with the loads after it, for which the host needs an atomic
// operation.
func mfence(c *CPU, _ *Op) status {
	c.pending.Or(0)
	return stNext
}

// cacheLine is CLFLUSH and its like: it faults as a load of one byte does.
func cacheLine(c *CPU, o *Op) status {
	va, ok := c.address(o, 1, accRead)
	if !ok || !c.probe(o, va, 1, accRead) {
		return stFault
	}
	return stNext
}

// bound raises #BR unless the signed register is between the two in memory.
func bound(c *CPU, o *Op) status {
	n := int(o.size)
	va, ok := c.address(o, 2*n, accRead)
	if !ok {
		return stFault
	}
	lower, ok := c.loadN(o, va, n)
	if !ok {
		return stFault
	}
	upper, ok := c.loadN(o, (va+uint64(n))&0xffffffff, n)
	if !ok {
		return stFault
	}
	shift := 64 - 8*n
	signed := func(v uint64) int64 { return int64(v<<shift) >> shift }
	if i := signed(c.r[o.dst&31]); i < signed(lower) || i > signed(upper) {
		return c.fault(x86.VecBR, 0)
	}
	return stNext
}

// random is RDRAND and RDSEED, which never run dry here: CF is set.
func random(c *CPU, o *Op) status {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	v := binary.LittleEndian.Uint64(b[:])
	c.setSized(o, v)
	c.setCO(1, true, false) // the other flags are clear
	return stNext
}
