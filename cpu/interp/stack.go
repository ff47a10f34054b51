package interp

import "dfemu/cpu/x86"

// compileStack handles PUSH and POP of general-purpose registers, immediates
// and memory, PUSHA, POPA, ENTER and LEAVE.
func compileStack(c *CPU, in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.PUSH:
		a := &in.Args[0]
		switch a.Kind {
		case x86.KindImm:
			o.imm = uint64(a.Imm)
			o.fn = bySize(o.size, nil, pushImm[uint16], pushImm[uint32], pushImm[uint64])
		case x86.KindReg:
			o.aux, o.src = 0, regNum(a)
			o.fn = bySize(o.size, nil, pushOperand[uint16], pushOperand[uint32], pushReg64)
		default:
			o.aux = 1
			o.fn = bySize(o.size, nil, pushOperand[uint16], pushOperand[uint32], pushOperand[uint64])
		}
	case x86.POP:
		if isMem(in, 0) {
			o.fn = bySize(o.size, nil, popMem[uint16], popMem[uint32], popMem[uint64])
			break
		}
		o.dst = regNum(&in.Args[0])
		o.fn = bySize(o.size, nil, popReg[uint16], popReg[uint32], popReg64)
	case x86.PUSHA:
		o.fn = bySize(o.size, nil, pusha[uint16], pusha[uint32], nil)
	case x86.POPA:
		o.fn = bySize(o.size, nil, popa[uint16], popa[uint32], nil)
	case x86.ENTER:
		o.imm, o.aux = uint64(in.Args[0].Imm), uint8(in.Args[1].Imm)&31
		o.fn = bySize(o.size, nil, enter[uint16], enter[uint32], enter[uint64])
	case x86.LEAVE:
		o.fn = bySize(o.size, nil, leave[uint16], leave[uint32], leave[uint64])
	default:
		return false
	}
	return true
}

// onStack returns the linear address of n bytes at offset sp of the stack.
func (c *CPU) onStack(o *Op, sp, n uint64, acc access) (uint64, bool) {
	if o.legacy {
		return c.linear(x86.SS, sp, n, acc)
	}
	return sp, true
}

// storeStack and loadStack access linear address va of the stack. Where the TLB does
// not help they do it for an op whose segment is SS, by which a fault is named.
func storeStack[T word](c *CPU, o *Op, va uint64, v T) bool {
	if p := c.writable(va, sizeOf[T]()); p != nil {
		hostStore(p, v)
		return true
	}
	q := *o
	q.seg = x86.SS
	return storeAt(c, &q, va, v)
}

func loadStack[T word](c *CPU, o *Op, va uint64) (T, bool) {
	if p := c.readable(va, sizeOf[T]()); p != nil {
		return hostLoad[T](p), true
	}
	q := *o
	q.seg = x86.SS
	return loadAt[T](c, &q, va)
}

// pushWord pushes v. On a fault nothing has changed.
func pushWord[T word](c *CPU, o *Op, v T) bool {
	sp := (c.r[x86.RSP] - sizeOf[T]()) & c.spMask
	va, ok := c.onStack(o, sp, sizeOf[T](), accWrite)
	if !ok || !storeStack(c, o, va, v) {
		return false
	}
	c.setSP(sp, c.spMask)
	return true
}

// topOfStack reads the word at the top of the stack and leaves it there.
func topOfStack[T word](c *CPU, o *Op) (T, bool) {
	va, ok := c.onStack(o, c.r[x86.RSP]&c.spMask, sizeOf[T](), accRead)
	if !ok {
		return 0, false
	}
	return loadStack[T](c, o, va)
}

func pushImm[T word](c *CPU, o *Op) status {
	if !pushWord(c, o, T(o.imm)) {
		return stFault
	}
	return stNext
}

func pushReg64(c *CPU, o *Op) status {
	v := c.r[o.src&31]
	sp := c.r[x86.RSP] - 8
	p := c.writable(sp, 8)
	if p == nil {
		return pushOperand[uint64](c, o)
	}
	hostStore(p, v)
	c.r[x86.RSP] = sp
	return stNext
}

func popReg64(c *CPU, o *Op) status {
	sp := c.r[x86.RSP]
	p := c.readable(sp, 8)
	if p == nil {
		return popReg[uint64](c, o)
	}
	c.r[x86.RSP] = sp + 8
	c.r[o.dst&31] = hostLoad[uint64](p)
	return stNext
}

// pushOperand pushes a register or memory. PUSH SP pushes the value before the instruction.
func pushOperand[T word](c *CPU, o *Op) status {
	v, ok := getOperand[T](c, o)
	if !ok || !pushWord(c, o, v) {
		return stFault
	}
	return stNext
}

// popReg writes the register after it has moved the stack pointer, as POP SP needs.
func popReg[T word](c *CPU, o *Op) status {
	v, ok := topOfStack[T](c, o)
	if !ok {
		return stFault
	}
	c.setSP(c.r[x86.RSP]+sizeOf[T](), c.spMask)
	setReg(c, o.dst, v)
	return stNext
}

// popMem computes the destination's address with the stack pointer already moved.
func popMem[T word](c *CPU, o *Op) status {
	v, ok := topOfStack[T](c, o)
	if !ok {
		return stFault
	}
	sp := c.r[x86.RSP]
	c.setSP(sp+sizeOf[T](), c.spMask)
	if !store(c, o, v) {
		c.r[x86.RSP] = sp
		return stFault
	}
	return stNext
}

// stackWords finds the linear addresses of eight words at sp and upwards and
// checks that they can be accessed.
func stackWords[T word](c *CPU, o *Op, sp uint64, acc access) (va [8]uint64, ok bool) {
	q := *o
	q.seg = x86.SS
	n := sizeOf[T]()
	for i := range va {
		if va[i], ok = c.onStack(o, (sp+uint64(i)*n)&c.spMask, n, acc); !ok || !c.probe(&q, va[i], int(n), acc) {
			return va, false
		}
	}
	return va, true
}

// pusha pushes all eight registers, SP as it was.
func pusha[T word](c *CPU, o *Op) status {
	sp := c.r[x86.RSP] - 8*sizeOf[T]()
	va, ok := stackWords[T](c, o, sp, accWrite)
	if !ok {
		return stFault
	}
	for i := range va {
		if !storeStack(c, o, va[i], getReg[T](c, uint8(7-i))) {
			return stFault
		}
	}
	c.setSP(sp, c.spMask)
	return stNext
}

// popa pops all registers but SP.
func popa[T word](c *CPU, o *Op) status {
	va, ok := stackWords[T](c, o, c.r[x86.RSP], accRead)
	if !ok {
		return stFault
	}
	var v [8]T
	for i := range v {
		if v[i], ok = loadStack[T](c, o, va[i]); !ok {
			return stFault
		}
	}
	for i := range v {
		if n := uint8(7 - i); n != x86.RSP {
			setReg(c, n, v[i])
		}
	}
	c.setSP(c.r[x86.RSP]+8*sizeOf[T](), c.spMask)
	return stNext
}

// enter makes a stack frame (Intel SDM vol. 2, ENTER). Nothing but memory below
// the stack pointer has changed when it faults.
func enter[T word](c *CPU, o *Op) status {
	n := sizeOf[T]()
	sp, bp := c.r[x86.RSP], c.r[x86.RBP]
	push := func(v T) bool {
		to := (sp - n) & c.spMask
		va, ok := c.onStack(o, to, n, accWrite)
		if !ok || !storeStack(c, o, va, v) {
			return false
		}
		sp = to
		return true
	}
	if !push(T(bp)) {
		return stFault
	}
	frame := sp
	if c.spMask == 0xffff {
		frame = c.r[x86.RSP]&^0xffff | sp
	}
	if level := o.aux; level > 0 {
		for range level - 1 {
			bp -= n
			va, ok := c.onStack(o, bp&c.spMask, n, accRead)
			if !ok {
				return stFault
			}
			v, ok := loadStack[T](c, o, va)
			if !ok || !push(v) {
				return stFault
			}
		}
		if !push(T(frame)) {
			return stFault
		}
	}
	sp -= o.imm
	// A store at the new top of the stack must be possible.
	q := *o
	q.seg = x86.SS
	va, ok := c.onStack(o, sp&c.spMask, n, accWrite)
	if !ok || !c.probeStore(&q, va, int(n)) {
		return stFault
	}
	setReg(c, x86.RBP, T(frame))
	c.setSP(sp, c.spMask)
	return stNext
}

// leave takes a stack frame down.
func leave[T word](c *CPU, o *Op) status {
	bp := c.r[x86.RBP] & c.spMask
	va, ok := c.onStack(o, bp, sizeOf[T](), accRead)
	if !ok {
		return stFault
	}
	v, ok := loadStack[T](c, o, va)
	if !ok {
		return stFault
	}
	c.setSP(bp+sizeOf[T](), c.spMask)
	setReg(c, x86.RBP, v)
	return stNext
}
