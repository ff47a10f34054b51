package interp

import "dfemu/cpu/x86"

// How a string instruction is repeated, in o.aux.
const (
	repNone     = iota
	repEqual    // REP, REPE
	repNotEqual // REPNE
)

// compileString puts the handler for in into o. done tells that the instruction
// is of this group, end that nothing may follow in the same block.
func compileString(c *CPU, in *x86.Inst, o *Op) (done, end bool) {
	switch in.Op {
	case x86.MOVS:
		o.fn = bySize(o.size, movs[uint8], movs[uint16], movs[uint32], movs[uint64])
	case x86.STOS:
		o.fn = bySize(o.size, stos[uint8], stos[uint16], stos[uint32], stos[uint64])
	case x86.LODS:
		o.fn = bySize(o.size, lods[uint8], lods[uint16], lods[uint32], lods[uint64])
	case x86.CMPS:
		o.fn = bySize(o.size, cmps[uint8], cmps[uint16], cmps[uint32], cmps[uint64])
	case x86.SCAS:
		o.fn = bySize(o.size, scas[uint8], scas[uint16], scas[uint32], scas[uint64])
	case x86.INS:
		o.fn = bySize(o.size, ins[uint8], ins[uint16], ins[uint32], nil)
	case x86.OUTS:
		o.fn = bySize(o.size, outs[uint8], outs[uint16], outs[uint32], nil)
	default:
		return false, false
	}
	o.aux = repNone
	switch {
	case in.Repne:
		o.aux = repNotEqual
	case in.Rep:
		o.aux = repEqual
	}
	return true, false
}

// source and destination return the linear addresses of the elements at
// rSI in o's segment and at ES:rDI.
func (c *CPU) source(o *Op, n uint64) (uint64, bool) {
	off := c.r[x86.RSI] & o.amask
	if o.legacy {
		return c.linear(o.seg, off, n, accRead)
	}
	return off + c.segBase[o.seg&7], true
}

func (c *CPU) destination(o *Op, n uint64, acc access) (uint64, bool) {
	off := c.r[x86.RDI] & o.amask
	if o.legacy {
		return c.linear(x86.ES, off, n, acc)
	}
	return off + c.segBase[x86.ES], true
}

// advance adds to a register of o's address size.
func (c *CPU) advance(o *Op, reg uint8, delta uint64) {
	v := c.r[reg&31] + delta
	if o.amask == 0xffff {
		setReg(c, reg, uint16(v))
	} else {
		c.r[reg&31] = v & o.amask
	}
}

// stride is what k elements of n bytes add to rSI and rDI.
func (c *CPU) stride(k, n uint64) uint64 {
	if c.flags&x86.DF != 0 {
		return -k * n
	}
	return k * n
}

// stepping reports whether a debug trap is due after each iteration.
func (c *CPU) stepping() bool {
	return c.flags&x86.TF != 0 && c.s.MSR.DebugCtl&2 == 0
}

// between looks, after an iteration that is not the last, whether the instruction must be left:
// for an interrupt, or for a debug trap, for which the iteration counts as an instruction done. RF
// then keeps an instruction breakpoint from being met again (Intel SDM vol. 3, 17.3.1.1).
func (c *CPU) between(o *Op) (st status, leave bool) {
	p := c.pending.Load()
	if p == 0 {
		return stNext, false
	}
	if p&pendSlow != 0 && (c.stepping() || c.dbHit != 0) {
		c.flags |= x86.RF
		c.keepRF = true
		c.rip = c.ripOf(o)
		return stBranch, true
	}
	return stRestart, p&^pendSlow != 0
}

// room returns how many of at most n elements of the given size, from the one
// at offset off of its segment and linear address va on, lie in its page, in
// the direction of DF, before the offset wraps around.
func (c *CPU) room(o *Op, off, va, size, n uint64) uint64 {
	in := va & pageOffset
	off &= o.amask
	if c.flags&x86.DF != 0 {
		return min(n, in/size+1, off/size+1)
	}
	n = min(n, (pageSize-in)/size)
	if o.amask != ^uint64(0) {
		n = min(n, (o.amask+1-off)/size)
	}
	return n
}

// span is some memory of one page that a store may be made to directly.
type span struct {
	p    hostPage
	phys uint64
	code bool // codeWritten must be told
}

// storable returns where the element of the given size at va, for which the
// TLB had no answer, may be stored directly. ok is false where it may not.
func (c *CPU) storable(o *Op, va, size uint64) (s span, ok bool) {
	if p := c.writable(va, size); p != nil {
		return span{p: p}, true
	}
	if c.ctx&ctxSlow != 0 || (va^(va+size-1))&pageMask != 0 {
		return s, false
	}
	phys, _, ok := c.translate(o, va, accWrite, c.ctx)
	if !ok {
		return s, false
	}
	page, readOnly := c.acc.mem.page(phys)
	if page == nil || readOnly {
		return s, false
	}
	return span{hostAt(page, phys), phys, c.acc.code.any(phys)}, true
}

// stored is called after n bytes were written, of which the first lie delta bytes before s.
func (c *CPU) stored(s *span, delta, n uint64) {
	if s.code {
		c.codeWritten(s.phys-delta, int(n))
	}
}
