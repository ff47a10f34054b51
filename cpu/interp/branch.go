package interp

import "dfemu/cpu/x86"

// compileBranch puts the handler for in into o. done tells that the instruction
// is of this group, end that nothing may follow in the same block.
func compileBranch(c *CPU, in *x86.Inst, o *Op) (done, end bool) {
	switch {
	case compileJump(c, in, o):
		return true, true
	case compileStack(c, in, o):
		return true, false
	}
	return false, false
}

// compileJump handles the near jumps, calls and returns. The displacement of a
// relative one is put into o.imm, counted from the start of the block.
func compileJump(c *CPU, in *x86.Inst, o *Op) bool {
	wide := c.mode == x86.Mode64
	flat := wide || c.key&keyFlat != 0 && in.OpSize == 4 // no limit to check
	relative := in.NArgs > 0 && in.Args[0].Kind == x86.KindRel
	if relative {
		o.imm = uint64(o.next) + uint64(in.Args[0].Imm)
	}
	if in.Op >= x86.JO && in.Op <= x86.JG {
		cc := in.Op - x86.JO
		o.aux = uint8(cc)
		if flat {
			o.fuse = fuseJump
		}
		switch {
		case wide:
			o.fn = jcc64Table[cc]
		case flat:
			o.fn = jcc32Table[cc]
		default:
			o.fn = jccLimited
		}
		return true
	}
	switch in.Op {
	case x86.JMP:
		switch {
		case relative && wide:
			o.fn = jmp64
		case relative:
			o.fn = jmpRelative
		case wide:
			o.aux = operand(in, o, 0)
			o.fn = jmpIndirect64
		default:
			o.aux = operand(in, o, 0)
			o.fn = bySize(o.size, nil, jmpIndirect[uint16], jmpIndirect[uint32], nil)
		}
	case x86.CALL:
		switch {
		case relative && wide:
			o.fn = call64
		case relative:
			o.fn = bySize(o.size, nil, callRelative[uint16], callRelative[uint32], nil)
		case wide:
			o.aux = operand(in, o, 0)
			o.fn = callIndirect64
		default:
			o.aux = operand(in, o, 0)
			o.fn = bySize(o.size, nil, callIndirect[uint16], callIndirect[uint32], nil)
		}
	case x86.RET:
		o.imm = 0
		if in.NArgs > 0 {
			o.imm = uint64(in.Args[0].Imm)
		}
		o.fn = bySize(o.size, nil, ret[uint16], ret[uint32], ret64)
	case x86.LOOP, x86.LOOPE, x86.LOOPNE:
		o.aux = uint8(in.Op - x86.LOOP)
		o.amask = sizeMask(in.AddrSize)
		o.fn = loop
	case x86.JCXZ, x86.JECXZ, x86.JRCXZ:
		o.amask = sizeMask(in.AddrSize)
		o.fn = jcxz
	default:
		return false
	}
	return true
}

// sizeMask has the low bits of a size in bytes.
func sizeMask(size uint8) uint64 {
	switch size {
	case 2:
		return 0xffff
	case 4:
		return 0xffffffff
	}
	return ^uint64(0)
}

// reach checks the target of a near branch outside 64-bit mode, cut to the
// operand size, against the limit of the code segment (#GP(0)).
func (c *CPU) reach(o *Op, to uint64) (uint64, bool) {
	to &= sizeMask(o.size)
	if to > uint64(c.s.Seg[x86.CS].Limit) {
		c.gp(0)
		return 0, false
	}
	return to, true
}

// reach64 checks the target of an indirect branch in 64-bit mode.
func (c *CPU) reach64(to uint64) bool {
	if (to+1<<47)>>48 == 0 || c.canonical(to) {
		return true
	}
	c.gp(0)
	return false
}

// relative goes to o's fixed target outside 64-bit mode.
func (c *CPU) relative(o *Op) status {
	to, ok := c.reach(o, c.r[regRIP]+o.imm)
	if !ok {
		return stFault
	}
	c.rip = to
	if o.size == 2 {
		return stBranch // IP wraps: the distance depends on where the block is
	}
	return stTaken
}

func jccLimited(c *CPU, o *Op) status {
	if !c.cond(o.aux) {
		return stNext
	}
	return c.relative(o)
}

func jmp64(c *CPU, o *Op) status {
	c.rip = c.r[regRIP] + o.imm
	return stTaken
}

func jmpRelative(c *CPU, o *Op) status { return c.relative(o) }

func jmpIndirect64(c *CPU, o *Op) status {
	to, ok := getOperand[uint64](c, o)
	if !ok || !c.reach64(to) {
		return stFault
	}
	c.rip = to
	return stBranch
}

func jmpIndirect[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	to, ok := c.reach(o, uint64(v))
	if !ok {
		return stFault
	}
	c.rip = to
	return stBranch
}

func call64(c *CPU, o *Op) status {
	next := c.r[regRIP] + uint64(o.next)
	sp := c.r[x86.RSP] - 8
	if p := c.writable(sp, 8); p != nil {
		hostStore(p, next)
		c.r[x86.RSP] = sp
	} else if !pushWord(c, o, next) {
		return stFault
	}
	c.rip = c.r[regRIP] + o.imm
	return stTaken
}

func callRelative[T word](c *CPU, o *Op) status {
	to, ok := c.reach(o, c.r[regRIP]+o.imm)
	if !ok || !pushWord(c, o, T(c.nextRIP(o))) {
		return stFault
	}
	c.rip = to
	if sizeOf[T]() == 2 {
		return stBranch
	}
	return stTaken
}

func callIndirect64(c *CPU, o *Op) status {
	to, ok := getOperand[uint64](c, o)
	if !ok || !c.reach64(to) || !pushWord(c, o, c.nextRIP(o)) {
		return stFault
	}
	c.rip = to
	return stBranch
}

func callIndirect[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok {
		return stFault
	}
	to, ok := c.reach(o, uint64(v))
	if !ok || !pushWord(c, o, T(c.nextRIP(o))) {
		return stFault
	}
	c.rip = to
	return stBranch
}

func ret64(c *CPU, o *Op) status {
	sp := c.r[x86.RSP]
	var to uint64
	if p := c.readable(sp, 8); p != nil {
		to = hostLoad[uint64](p)
	} else {
		var ok bool
		if to, ok = topOfStack[uint64](c, o); !ok {
			return stFault
		}
	}
	if !c.reach64(to) {
		return stFault
	}
	c.r[x86.RSP] = sp + 8 + o.imm
	c.rip = to
	return stBranch
}

func ret[T word](c *CPU, o *Op) status {
	v, ok := topOfStack[T](c, o)
	if !ok {
		return stFault
	}
	to, ok := c.reach(o, uint64(v))
	if !ok {
		return stFault
	}
	c.setSP(c.r[x86.RSP]+sizeOf[T]()+o.imm, c.spMask)
	c.rip = to
	return stBranch
}

// takeBranch goes to o's fixed target in any mode.
func (c *CPU) takeBranch(o *Op) status {
	if c.mode == x86.Mode64 {
		return jmp64(c, o)
	}
	return c.relative(o)
}

// loop counts rCX of the address size down: LOOP, and LOOPE and LOOPNE, which look at ZF too.
func loop(c *CPU, o *Op) status {
	n := (c.r[x86.RCX] - 1) & o.amask
	taken := n != 0
	switch x86.LOOP + x86.Op(o.aux) {
	case x86.LOOPE:
		taken = taken && c.zf()
	case x86.LOOPNE:
		taken = taken && !c.zf()
	}
	st := stNext
	if taken {
		if st = c.takeBranch(o); st == stFault {
			return st
		}
	}
	switch o.amask {
	case 0xffff:
		setReg(c, x86.RCX, uint16(n))
	default:
		c.r[x86.RCX] = n
	}
	return st
}

func jcxz(c *CPU, o *Op) status {
	if c.r[x86.RCX]&o.amask != 0 {
		return stNext
	}
	return c.takeBranch(o)
}
