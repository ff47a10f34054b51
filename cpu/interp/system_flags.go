package interp

import "dfemu/cpu/x86"

// compileFlags handles PUSHF, POPF and the instructions for IF and AC.
func compileFlags(in *x86.Inst, o *Op) (done, end bool) {
	switch in.Op {
	case x86.PUSHF:
		o.fn = pushf
	case x86.POPF:
		o.fn = popf
	case x86.CLI:
		o.fn = cli
	case x86.STI:
		o.fn = sti
	case x86.CLAC:
		o.fn = clac
	case x86.STAC:
		o.fn = stac
	default:
		return false, false
	}
	return true, false
}

func pushf(c *CPU, o *Op) status {
	f := c.rflags() &^ (x86.VM | x86.RF)
	if c.flags&x86.VM != 0 && c.flags&x86.IOPL != x86.IOPL {
		if c.s.CR4&x86.CR4_VME == 0 || o.size != 2 {
			return c.gp(0)
		}
		f = f&^x86.IF | f&x86.VIF>>10 | x86.IOPL
	}
	return finish(c.pushWords(int(o.size), f), stNext)
}

func popf(c *CPU, o *Op) status {
	n := int(o.size)
	iopl := uint8(c.flags >> 12 & 3)
	vm := c.flags&x86.VM != 0
	if vm && iopl < 3 && (c.s.CR4&x86.CR4_VME == 0 || n != 2) {
		return c.gp(0)
	}
	image, ok := c.peek(0, n)
	if !ok {
		return stFault
	}
	var f uint64
	switch {
	case vm && iopl < 3:
		if image&x86.TF != 0 || image&x86.IF != 0 && c.flags&x86.VIP != 0 {
			return c.gp(0)
		}
		f = c.loadFlags(image, n, loadable)&^x86.VIF | image&x86.IF<<10
	case c.cpl == 0:
		f = c.loadFlags(image, n, loadable|x86.IF|x86.IOPL)
	case c.cpl <= iopl:
		f = c.loadFlags(image, n, loadable|x86.IF)
	default:
		f = c.loadFlags(image, n, loadable)
	}
	c.drop(uint64(n))
	f &^= x86.RF
	changed := (f ^ c.flags) &^ x86.ArithFlags
	if changed&(x86.TF|x86.AC|x86.RF) != 0 {
		c.setRFLAGS(f)
		return stEnd
	}
	c.setArith(f)
	c.flags = f &^ x86.ArithFlags
	if changed&f&x86.IF != 0 {
		c.pending.Or(pendIntr)
		return stEnd
	}
	return stNext
}

// interruptFlag says which flag CLI and STI change: IF, or VIF where the program may not
// change IF but has a virtual one (SDM vol. 2, CLI; vol. 3, 21.3.3.4, 21.4). 0: #GP(0).
func (c *CPU) interruptFlag() uint64 {
	if c.cpl <= uint8(c.flags>>12&3) {
		return x86.IF
	}
	if c.flags&x86.VM != 0 {
		if c.s.CR4&x86.CR4_VME != 0 {
			return x86.VIF
		}
	} else if c.cpl == 3 && c.s.CR4&x86.CR4_PVI != 0 {
		return x86.VIF
	}
	return 0
}

func cli(c *CPU, _ *Op) status {
	f := c.interruptFlag()
	if f == 0 {
		return c.gp(0)
	}
	c.flags &^= f
	return stNext
}

// sti holds interrupts off until the next instruction is done. Blocks end after that one
// (see build), so that it need not be executed by itself unless it is not in this block.
func sti(c *CPU, o *Op) status {
	f := c.interruptFlag()
	switch {
	case f == 0, f == x86.VIF && c.flags&x86.VIP != 0:
		return c.gp(0)
	case c.flags&f != 0:
		return stNext
	}
	c.flags |= f
	if f == x86.VIF {
		return stNext
	}
	c.pending.Or(pendIntr)
	if c.last != o.start {
		return stNext
	}
	c.shadow()
	return stEnd
}

// clac and stac change AC, by which SMAP is suspended.
func clac(c *CPU, _ *Op) status { return c.setAC(0) }
func stac(c *CPU, _ *Op) status { return c.setAC(x86.AC) }

func (c *CPU) setAC(ac uint64) status {
	if c.cpl != 0 {
		return c.ud()
	}
	c.flags = c.flags&^x86.AC | ac
	c.ctx &^= ctxAC
	if ac != 0 {
		c.ctx |= ctxAC
	}
	return stNext
}
