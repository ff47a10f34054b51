package interp

import "dfemu/cpu/x86"

// event is an interrupt or exception being delivered through the IDT (Intel
// SDM vol. 3, chapter 6).
type event struct {
	exception
	external bool // an interrupt or NMI from outside
}

// DR6 bits of debug exceptions, and those that always read as 1.
const (
	dr6BD    = 1 << 13 // access to a debug register while DR7.GD was set
	dr6BS    = 1 << 14 // single step
	dr6BT    = 1 << 15 // task switch
	dr6Fixed = 0xffff0ff0
)

// deliverFault delivers c.exc at c.rip, with the rules for double faults. It
// returns false when the processor shuts down (triple fault).
func (c *CPU) deliverFault() bool { return c.dispatch(event{exception: c.exc}) }

// interrupt delivers an external interrupt or NMI at c.rip. It returns false
// when the processor shuts down.
func (c *CPU) interrupt(vec uint8) bool {
	return c.dispatch(event{exception: exception{vec: vec}, external: true})
}

// contributory are the exceptions that make a double fault of one another
// (Intel SDM vol. 3, table 6-4).
const contributory = 1<<x86.VecDE | 1<<x86.VecTS | 1<<x86.VecNP | 1<<x86.VecSS | 1<<x86.VecGP

// dispatch delivers an event and whatever goes wrong meanwhile.
func (c *CPU) dispatch(e event) bool {
	c.s.Run = x86.Running
	for {
		if c.deliver(&e) {
			return true
		}
		first, second := uint32(1)<<(e.vec&31), uint32(1)<<(c.exc.vec&31)
		if e.external || e.soft {
			first = 0
		}
		const pf = 1 << x86.VecPF
		switch {
		case first == 1<<x86.VecDF && second&(contributory|pf) != 0:
			c.logf("triple fault: vector %d while #DF is delivered at %#x:%#x", c.exc.vec, c.s.Seg[x86.CS].Selector, c.rip)
			return false
		case first&(contributory|pf) != 0 && second&contributory != 0, first == pf && second == pf:
			e = event{exception: exception{vec: x86.VecDF, hasCode: true}}
		default:
			e = event{exception: c.exc}
		}
	}
}

// deliver makes the processor enter the handler of an event. When it returns false,
// an exception has come up on the way, and (unless a task switch was under way) no state has changed.
func (c *CPU) deliver(e *event) (ok bool) {
	if !e.soft {
		c.sys.ext = 1
	}
	switch {
	case c.s.CR0&x86.CR0_PE == 0:
		ok = c.deliverReal(e)
	case c.long:
		ok = c.deliverLong(e)
	default:
		ok = c.deliverProtected(e)
	}
	c.sys.ext = 0
	if !ok {
		return false
	}
	c.s.IntrShadow = false
	if e.vec == x86.VecDB && !e.soft && !e.external {
		c.s.DR[6] = c.s.DR[6]&^0xf | e.db | dr6Fixed
		c.s.DR[7] &^= 1 << 13
		c.s.MSR.DebugCtl &^= 3 // LBR and BTF
	}
	c.modeChanged()
	return true
}

// image is RFLAGS as pushed for an event. Faults set RF in it, so that the
// instruction is executed again without its breakpoint (SDM vol. 3, 17.3.1.1).
func (c *CPU) image(e *event) uint64 {
	f := c.rflags()
	switch {
	case e.soft || e.external || e.vec == x86.VecBP || e.vec == x86.VecOF:
	case e.vec == x86.VecDB && e.db&dr6BD == 0:
	default:
		f |= x86.RF
	}
	return f
}

// idtCode is the error code that names the event's IDT entry.
func (c *CPU) idtCode(e *event) uint32 { return uint32(e.vec)<<3 | 2 | c.sys.ext }

// idtEntry reads n bytes (8 or 16) of the event's gate.
func (c *CPU) idtEntry(e *event, n uint64) (lo, hi uint64, ok bool) {
	off := uint64(e.vec) * n
	if off+n-1 > uint64(c.s.IDTR.Limit) {
		c.gp(c.idtCode(e))
		return 0, 0, false
	}
	va := c.s.IDTR.Base + off
	if !c.long {
		va &= 0xffffffff
	}
	lo, ok = c.readSys(va, 8)
	if ok && n == 16 {
		hi, ok = c.readSys(va+8, 8)
	}
	return lo, hi, ok
}

// deliverReal goes through the interrupt table of real-address mode (SDM vol. 3, 20.1.4).
func (c *CPU) deliverReal(e *event) bool {
	if uint64(e.vec)*4+3 > uint64(c.s.IDTR.Limit) {
		c.gp(c.idtCode(e))
		return false
	}
	v, ok := c.readSys((c.s.IDTR.Base+uint64(e.vec)*4)&0xffffffff, 4)
	if !ok {
		return false
	}
	if !c.pushWords(2, c.image(e)&0xffff, uint64(c.s.Seg[x86.CS].Selector), c.rip&0xffff) {
		return false
	}
	c.realSegment(x86.CS, uint16(v>>16))
	c.rip = v & 0xffff
	c.flags &^= x86.IF | x86.TF | x86.AC | x86.RF
	return true
}

// gateOK checks what all kinds of gates have in common: the privilege of a software
// interrupt, and presence.
func (c *CPU) gateOK(e *event, gate uint64) bool {
	if e.soft && uint8(gate>>45&3) < c.cpl {
		c.gp(c.idtCode(e))
		return false
	}
	if gate>>47&1 == 0 {
		c.fault(x86.VecNP, c.idtCode(e))
		return false
	}
	return true
}

// handlerDesc reads the code segment of a gate and checks it. inner tells that the
// handler is more privileged.
func (c *CPU) handlerDesc(sel uint16) (d descriptor, inner, ok bool) {
	if d, ok = c.readDesc(sel, x86.VecGP); !ok {
		return d, false, false
	}
	if !d.code() || d.dpl() > c.cpl || c.long && d.attr&(x86.AttrL|x86.AttrDB) != x86.AttrL {
		return d, false, c.raise(x86.VecGP, sel)
	}
	if !d.present() {
		return d, false, c.raise(x86.VecNP, sel)
	}
	inner = !d.conforming() && d.dpl() < c.cpl
	if c.flags&x86.VM != 0 && (!inner || d.dpl() != 0) {
		return d, false, c.raise(x86.VecGP, sel)
	}
	return d, inner, true
}

// deliverProtected goes through the IDT in protected and virtual-8086 mode (SDM vol. 3, 6.12, 20.3).
func (c *CPU) deliverProtected(e *event) bool {
	gate, _, ok := c.idtEntry(e, 8)
	if !ok {
		return false
	}
	kind := gate >> 40 & 0x1f
	switch kind {
	case typeTaskGate, typeInt16, typeTrap16, typeInt, typeTrap:
	default:
		c.gp(c.idtCode(e))
		return false
	}
	if !c.gateOK(e, gate) {
		return false
	}
	sel := uint16(gate >> 16)
	if kind == typeTaskGate {
		return c.deliverTask(e, sel)
	}
	size, off := 4, gate&0xffff|gate>>48<<16
	if kind == typeInt16 || kind == typeTrap16 {
		size, off = 2, gate&0xffff
	}
	d, inner, ok := c.handlerDesc(sel)
	if !ok {
		return false
	}
	cpl := c.cpl
	t := target{ss: c.s.Seg[x86.SS], sp: c.r[x86.RSP], cpl: cpl, code: c.sys.ext}
	var stack descriptor
	var f frame
	vm := c.flags&x86.VM != 0
	if inner {
		cpl = d.dpl()
		if stack, ok = c.innerStack(cpl, &t); !ok {
			return false
		}
		if vm {
			for _, i := range [...]int{x86.GS, x86.FS, x86.DS, x86.ES} {
				f.push(uint64(c.s.Seg[i].Selector))
			}
		}
		f.push(uint64(c.s.Seg[x86.SS].Selector))
		f.push(c.r[x86.RSP])
	}
	t.mask = segStackMask(&t.ss)
	f.push(c.image(e))
	f.push(uint64(c.s.Seg[x86.CS].Selector))
	f.push(c.rip)
	if e.hasCode {
		f.push(uint64(e.code))
	}
	if !c.targetOK(&d, off) || !c.writeFrame(&t, &f, size) || !c.access(&d) ||
		inner && !c.access(&stack) {
		return false
	}
	if vm {
		for _, i := range [...]int{x86.ES, x86.DS, x86.FS, x86.GS} {
			c.s.Seg[i] = nullSegment(0, 0)
		}
	}
	if inner {
		c.s.Seg[x86.SS] = stack.segment(t.ss.Selector)
	}
	c.setCS(sel, cpl, &d)
	c.setSP(t.sp, t.mask)
	c.enter(off, kind&1 == 0)
	return true
}

// enter goes to the handler: RIP, and the flags that a gate clears.
func (c *CPU) enter(rip uint64, masks bool) {
	c.rip = rip
	c.flags &^= x86.TF | x86.VM | x86.RF | x86.NT
	if masks {
		c.flags &^= x86.IF
	}
}

// innerStack finds the stack of privilege level cpl in the TSS (SDM vol. 3, 5.8.5).
func (c *CPU) innerStack(cpl uint8, t *target) (d descriptor, ok bool) {
	tr := &c.s.TR
	var sel uint16
	var v uint64
	if tr.Attr&sysType == typeTSS16Busy {
		off := uint64(cpl)*4 + 2
		if off+3 > uint64(tr.Limit) {
			return d, c.raise(x86.VecTS, tr.Selector)
		}
		if v, ok = c.readSys(tr.Base+off, 4); !ok {
			return d, false
		}
		t.sp, sel = v&0xffff, uint16(v>>16)
	} else {
		off := uint64(cpl)*8 + 4
		if off+5 > uint64(tr.Limit) {
			return d, c.raise(x86.VecTS, tr.Selector)
		}
		if v, ok = c.readSys(tr.Base+off, 4); !ok {
			return d, false
		}
		t.sp = v
		if v, ok = c.readSys(tr.Base+off+4, 2); !ok {
			return d, false
		}
		sel = uint16(v)
	}
	if d, ok = c.stackDesc(sel, cpl, x86.VecTS); !ok {
		return d, false
	}
	t.ss = d.segment(sel)
	t.cpl = cpl
	t.code = c.selCode(sel)
	return d, true
}

// deliverTask switches to the task of a task gate.
func (c *CPU) deliverTask(e *event, sel uint16) bool {
	d, ok := c.taskDesc(sel, x86.VecGP)
	if !ok || !c.switchTask(sel, &d, switchInt) {
		return false
	}
	if !e.hasCode {
		return true
	}
	size := 4
	if c.s.TR.Attr&sysType == typeTSS16Busy {
		size = 2
	}
	return c.pushWords(size, uint64(e.code))
}

// deliverLong goes through the IDT in IA-32e mode (SDM vol. 3, 6.14).
func (c *CPU) deliverLong(e *event) bool {
	gate, high, ok := c.idtEntry(e, 16)
	if !ok {
		return false
	}
	kind := gate >> 40 & 0x1f
	if kind != typeInt && kind != typeTrap || high>>40&0x1f != 0 {
		c.gp(c.idtCode(e))
		return false
	}
	if !c.gateOK(e, gate) {
		return false
	}
	sel := uint16(gate >> 16)
	off := gate&0xffff | gate>>48<<16 | high<<32
	d, inner, ok := c.handlerDesc(sel)
	if !ok {
		return false
	}
	cpl := c.cpl
	if inner {
		cpl = d.dpl()
	}
	t := target{sp: c.r[x86.RSP], mask: ^uint64(0), cpl: cpl, wide: true, code: c.sys.ext}
	slot := uint64(0)
	if ist := gate >> 32 & 7; ist != 0 {
		slot = 28 + ist*8
	} else if inner {
		slot = 4 + uint64(cpl)*8
	}
	if slot != 0 {
		if t.sp, ok = c.longStack(slot); !ok {
			return false
		}
	}
	if !c.canonical(off) {
		return c.raise0(x86.VecGP)
	}
	t.sp &^= 15
	var f frame
	f.push(uint64(c.s.Seg[x86.SS].Selector))
	f.push(c.r[x86.RSP])
	f.push(c.image(e))
	f.push(uint64(c.s.Seg[x86.CS].Selector))
	f.push(c.rip)
	if e.hasCode {
		f.push(uint64(e.code))
	}
	if !c.writeFrame(&t, &f, 8) || !c.access(&d) {
		return false
	}
	if inner {
		c.s.Seg[x86.SS] = nullSegment(uint16(cpl), cpl)
	}
	c.setCS(sel, cpl, &d)
	c.r[x86.RSP] = t.sp
	c.enter(off, kind == typeInt)
	return true
}

// longStack reads a stack pointer of the 64-bit TSS.
func (c *CPU) longStack(off uint64) (uint64, bool) {
	if off+7 > uint64(c.s.TR.Limit) {
		return 0, c.raise(x86.VecTS, c.s.TR.Selector)
	}
	sp, ok := c.readSys(c.s.TR.Base+off, 8)
	if ok && !c.canonical(sp) {
		return 0, c.raise0(x86.VecSS)
	}
	return sp, ok
}

// softInt enters the handler of INT n, INT3 or INTO. A fault on the way is one of the
// instruction: RIP and state are those before it.
func (c *CPU) softInt(o *Op, vec uint8) status {
	rip := c.rip
	c.rip = c.nextRIP(o)
	c.sys.switched = false
	if !c.deliver(&event{exception: exception{vec: vec, soft: true}}) {
		if !c.sys.switched {
			c.rip = rip
		}
		return c.taskFault(o)
	}
	c.sys.lateTF = true
	return stBranch
}
