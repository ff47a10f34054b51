package interp

import "dfemu/cpu/x86"

// compileFar handles far jumps, calls and returns, and IRET.
func compileFar(in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.JMPFAR, x86.CALLFAR:
		o.aux = 0
		if in.Op == x86.CALLFAR {
			o.aux = 1
		}
		if a := &in.Args[0]; a.Kind == x86.KindFar {
			o.imm = uint64(a.Reg)<<32 | uint64(uint32(a.Imm))
			o.fn = farDirect
		} else {
			o.fn = farIndirect
		}
	case x86.RETFAR:
		o.imm = 0
		if in.NArgs > 0 {
			o.imm = uint64(in.Args[0].Imm) & 0xffff
		}
		o.fn = retFar
	case x86.IRET:
		o.fn = iret
	default:
		return false
	}
	return true
}

func farDirect(c *CPU, o *Op) status {
	return c.far(o, uint16(o.imm>>32), o.imm&0xffffffff)
}

// farPointer reads the offset and selector of the memory operand.
func (c *CPU) farPointer(o *Op) (sel uint16, off uint64, ok bool) {
	n := int(o.size)
	va, ok := c.address(o, n+2, accRead)
	if !ok || c.ctx&ctxSlow != 0 && !(c.wholeCanonical(o, va, n+2) && c.checkAlign(va, n)) || !c.probe(o, va, n+2, accRead) {
		return 0, 0, false
	}
	if off, ok = c.loadN(o, va, n); !ok {
		return 0, 0, false
	}
	at := va + uint64(n)
	if c.mode != x86.Mode64 {
		at &= 0xffffffff
	}
	s, ok := loadAt[uint16](c, o, at)
	return s, off, ok
}

func farIndirect(c *CPU, o *Op) status {
	sel, off, ok := c.farPointer(o)
	if !ok {
		return stFault
	}
	return c.far(o, sel, off)
}

// far is CALL (o.aux set) or JMP to a far pointer (Intel SDM vol. 2, CALL and JMP; vol. 3, 5.8).
func (c *CPU) far(o *Op, sel uint16, off uint64) status {
	call := o.aux != 0
	size := int(o.size)
	if !c.protected() {
		if off > uint64(c.s.Seg[x86.CS].Limit) {
			return c.gp(0)
		}
		if call && !c.pushWords(size, uint64(c.s.Seg[x86.CS].Selector), c.nextRIP(o)) {
			return stFault
		}
		if c.flags&x86.VM != 0 {
			c.s.Seg[x86.CS] = vmSegment(sel)
		} else {
			c.realSegment(x86.CS, sel)
		}
		c.modeChanged()
		c.rip = off
		return stBranch
	}
	d, ok := c.readDesc(sel, x86.VecGP)
	if !ok {
		return stFault
	}
	if d.code() {
		if !c.codeDesc(sel, &d) || !c.targetOK(&d, off) {
			return stFault
		}
		if call {
			if !c.pushWords(size, uint64(c.s.Seg[x86.CS].Selector), c.nextRIP(o)) {
				return stFault
			}
		}
		if !c.access(&d) {
			if call {
				c.drop(uint64(2 * size))
			}
			return stFault
		}
		c.setCS(sel, c.cpl, &d)
		c.modeChanged()
		c.rip = off
		return stBranch
	}
	rpl := uint8(sel & 3)
	kind := d.attr & sysType
	switch {
	case c.long && kind != typeCallGate2,
		kind != typeCallGate && kind != typeCallGate2 && kind != typeTaskGate && kind != typeTSS && kind != typeTSS16,
		d.dpl() < c.cpl, rpl > d.dpl():
		c.raise(x86.VecGP, sel)
		return stFault
	case !d.present():
		c.raise(x86.VecNP, sel)
		return stFault
	}
	why := switchJmp
	if call {
		why = switchCall
	}
	switch kind {
	case typeTSS, typeTSS16:
		if d, ok = c.taskDesc(sel, x86.VecGP); !ok {
			return stFault
		}
		return c.taskSwitchOp(o, sel, &d, why)
	case typeTaskGate:
		tss := uint16(d.raw >> 16)
		if d, ok = c.taskDesc(tss, x86.VecGP); !ok {
			return stFault
		}
		return c.taskSwitchOp(o, tss, &d, why)
	}
	return finish(c.callGate(o, sel, &d, call), stBranch)
}

// callGate transfers control through a call gate (SDM vol. 3, 5.8.4).
func (c *CPU) callGate(o *Op, gateSel uint16, gate *descriptor, call bool) bool {
	size := 4
	off := gate.raw&0xffff | gate.raw>>48<<16
	if c.long {
		full, found, ok := c.lookupDesc(gateSel, 16)
		if !ok {
			return false
		}
		if !found {
			return c.raise(x86.VecGP, gateSel)
		}
		high, ok := c.readSys(full.va+8, 8)
		if !ok {
			return false
		}
		if high>>40&0x1f != 0 {
			return c.raise(x86.VecGP, gateSel)
		}
		off |= high << 32
		size = 8
	} else if gate.attr&sysType == typeCallGate {
		size = 2
		off &= 0xffff
	}
	sel := uint16(gate.raw >> 16)
	d, ok := c.readDesc(sel, x86.VecGP)
	if !ok {
		return false
	}
	if !d.code() || d.dpl() > c.cpl || c.long && d.attr&(x86.AttrL|x86.AttrDB) != x86.AttrL ||
		!call && !d.conforming() && d.dpl() != c.cpl {
		return c.raise(x86.VecGP, sel)
	}
	if !d.present() {
		return c.raise(x86.VecNP, sel)
	}
	if !c.targetOK(&d, off) {
		return false
	}
	cs := uint64(c.s.Seg[x86.CS].Selector)
	switch {
	case !call:
		if !c.access(&d) {
			return false
		}
		c.setCS(sel, c.cpl, &d)
	case !d.conforming() && d.dpl() < c.cpl:
		if !c.callInner(o, gate, sel, &d, size) {
			return false
		}
	default:
		// The accessed bit first: the push cannot be taken back by a fault then.
		if !c.access(&d) || !c.pushWords(size, cs, c.nextRIP(o)) {
			return false
		}
		c.setCS(sel, c.cpl, &d)
	}
	c.modeChanged()
	c.rip = off
	return true
}

// callInner is a call through a gate to a more privileged segment: the stack is switched and
// parameters are copied.
func (c *CPU) callInner(o *Op, gate *descriptor, sel uint16, d *descriptor, size int) bool {
	cpl := d.dpl()
	t := target{cpl: cpl, wide: c.long, mask: ^uint64(0)}
	var stack descriptor
	var f frame
	var ok bool
	if c.long {
		if t.sp, ok = c.longStack(4 + uint64(cpl)*8); !ok {
			return false
		}
	} else {
		if stack, ok = c.innerStack(cpl, &t); !ok {
			return false
		}
		t.mask = segStackMask(&t.ss)
	}
	f.push(uint64(c.s.Seg[x86.SS].Selector))
	f.push(c.r[x86.RSP])
	if !c.long {
		n := int(gate.raw >> 32 & 31)
		for i := n - 1; i >= 0; i-- {
			v, ok := c.peek(uint64(i*size), size)
			if !ok {
				return false
			}
			f.push(v)
		}
	}
	f.push(uint64(c.s.Seg[x86.CS].Selector))
	f.push(c.nextRIP(o))
	if !c.writeFrame(&t, &f, size) || !c.access(d) || !c.long && !c.access(&stack) {
		return false
	}
	if c.long {
		c.s.Seg[x86.SS] = nullSegment(uint16(cpl), cpl)
		c.r[x86.RSP] = t.sp
	} else {
		c.s.Seg[x86.SS] = stack.segment(t.ss.Selector)
		c.setSP(t.sp, t.mask)
	}
	c.setCS(sel, cpl, d)
	return true
}

// retFar is RET to a far pointer, releasing o.imm bytes of parameters.
func retFar(c *CPU, o *Op) status {
	n := int(o.size)
	off, ok := c.peek(0, n)
	if !ok {
		return stFault
	}
	v, ok := c.peek(uint64(n), n)
	if !ok {
		return stFault
	}
	sel := uint16(v)
	if !c.protected() {
		if off > uint64(c.s.Seg[x86.CS].Limit) {
			return c.gp(0)
		}
		c.drop(uint64(2*n) + o.imm)
		if c.flags&x86.VM != 0 {
			c.s.Seg[x86.CS] = vmSegment(sel)
		} else {
			c.realSegment(x86.CS, sel)
		}
		c.modeChanged()
		c.rip = off
		return stBranch
	}
	d, ok := c.returnDesc(sel)
	if !ok {
		return stFault
	}
	if uint8(sel&3) == c.cpl {
		if !c.targetOK(&d, off) || !c.access(&d) {
			return stFault
		}
		c.drop(uint64(2*n) + o.imm)
		c.setCS(sel, c.cpl, &d)
		c.modeChanged()
		c.rip = off
		return stBranch
	}
	at := uint64(2*n) + o.imm
	sp, ok := c.peek(at, n)
	if !ok {
		return stFault
	}
	ss, ok := c.peek(at+uint64(n), n)
	if !ok {
		return stFault
	}
	if !c.returnOuter(sel, &d, off, uint16(ss), sp, o.imm) {
		return stFault
	}
	c.modeChanged()
	return stBranch
}

// returnOuter goes to a code segment with the stack of its privilege level, which is that of the
// selector's RPL. release is added to the new stack pointer. The caller calls modeChanged.
func (c *CPU) returnOuter(sel uint16, d *descriptor, off uint64, ss uint16, sp, release uint64) bool {
	cpl := uint8(sel & 3)
	stack := nullSegment(ss, cpl)
	if ss&0xfffc == 0 {
		if !c.wide(d) || cpl == 3 {
			return c.raise0(x86.VecGP)
		}
		if !c.targetOK(d, off) {
			return false
		}
	} else {
		sd, ok := c.stackDesc(ss, cpl, x86.VecGP)
		if !ok || !c.targetOK(d, off) || !c.access(&sd) {
			return false
		}
		stack = sd.segment(ss)
	}
	if !c.access(d) {
		return false
	}
	outer := cpl > c.cpl
	c.s.Seg[x86.SS] = stack
	c.setCS(sel, cpl, d)
	if c.wide(d) {
		c.r[x86.RSP] = sp + release
	} else {
		c.setSP(sp+release, segStackMask(&stack))
	}
	if outer {
		c.dropSegments(cpl)
	}
	c.rip = off
	return true
}

// dropSegments makes those data segment registers null that privilege level cpl
// could not have loaded (SDM vol. 3, 5.8.6).
func (c *CPU) dropSegments(cpl uint8) {
	for _, i := range [...]int{x86.ES, x86.DS, x86.FS, x86.GS} {
		g := &c.s.Seg[i]
		const conforming = x86.AttrCode | x86.AttrDC
		if g.Attr&x86.AttrUnusable == 0 && g.Attr&conforming != conforming && uint8(g.Attr.DPL()) < cpl {
			*g = nullSegment(0, 0)
		}
	}
}
