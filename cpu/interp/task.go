package interp

import "dfemu/cpu/x86"

// taskReason is what has caused a task switch.
type taskReason uint8

const (
	switchJmp taskReason = iota
	switchCall
	switchInt
	switchIret
)

// Least limits of a TSS (Intel SDM vol. 3, 7.2.1, 7.6).
const (
	minTSS   = 0x67
	minTSS16 = 0x2b
)

// taskDesc reads and checks the descriptor of a TSS that is switched to: in
// the GDT, of an available TSS, present. vec is the exception for those that are not.
func (c *CPU) taskDesc(sel uint16, vec uint8) (d descriptor, ok bool) {
	if sel&4 != 0 {
		return d, c.raise(vec, sel)
	}
	if d, ok = c.readDesc(sel, vec); !ok {
		return d, false
	}
	if k := d.attr & sysType; k != typeTSS && k != typeTSS16 {
		return d, c.raise(vec, sel)
	}
	if !d.present() {
		return d, c.raise(x86.VecNP, sel)
	}
	return d, true
}

// taskState is what a TSS holds of a task.
type taskState struct {
	cr3, eip, flags uint64
	gpr             [8]uint64
	seg             [6]uint16 // ES … GS
	ldt             uint16
	trap            bool
}

// tssLayout describes the two formats of a TSS (SDM vol. 3, figures 7-2 and 7-10).
type tssLayout struct {
	word               uint64 // size of EIP, EFLAGS and the registers
	eip, gpr, seg, ldt uint64 // offsets
	step               uint64 // from one selector to the next
	segs               int
}

func layoutOf(attr x86.Attr) tssLayout {
	if k := attr & sysType; k == typeTSS16 || k == typeTSS16Busy {
		return tssLayout{word: 2, eip: 14, gpr: 18, seg: 34, ldt: 42, step: 2, segs: 4}
	}
	return tssLayout{word: 4, eip: 32, gpr: 40, seg: 72, ldt: 96, step: 4, segs: 6}
}

// saveTask writes the present task's registers to its TSS.
func (c *CPU) saveTask(flags uint64) bool {
	l := layoutOf(c.s.TR.Attr)
	base := c.s.TR.Base
	n := int(l.word)
	if !c.writeSys(base+l.eip, n, c.rip) || !c.writeSys(base+l.eip+l.word, n, flags) {
		return false
	}
	for i := range 8 {
		if !c.writeSys(base+l.gpr+uint64(i)*l.word, n, c.r[i]) {
			return false
		}
	}
	for i := range l.segs {
		if !c.writeSys(base+l.seg+uint64(i)*l.step, 2, uint64(c.s.Seg[i].Selector)) {
			return false
		}
	}
	return true
}

// readTask reads a task's registers from the TSS at base.
func (c *CPU) readTask(base uint64, attr x86.Attr) (t taskState, ok bool) {
	l := layoutOf(attr)
	ok = true
	get := func(off, n uint64) (v uint64) {
		if ok {
			v, ok = c.readSys(base+off, int(n))
		}
		return v
	}
	t.eip = get(l.eip, l.word)
	t.flags = get(l.eip+l.word, l.word)
	for i := range t.gpr {
		t.gpr[i] = get(l.gpr+uint64(i)*l.word, l.word)
	}
	for i := range l.segs {
		t.seg[i] = uint16(get(l.seg+uint64(i)*l.step, 2))
	}
	t.ldt = uint16(get(l.ldt, 2))
	if l.word == 4 {
		t.cr3 = get(28, 4)
		t.trap = get(100, 2)&1 != 0
	}
	return t, ok
}

// switchTask switches to the task of selector sel (SDM vol. 3, 7.3). c.rip is
// where the old task goes on. When it fails after c.sys.switched was set, the exception
// belongs to the new task, and c.rip is the new task's.
func (c *CPU) switchTask(sel uint16, d *descriptor, why taskReason) bool {
	g := d.segment(sel)
	l := layoutOf(g.Attr)
	least := uint32(minTSS)
	if l.word == 2 {
		least = minTSS16
	}
	if g.Limit < least {
		return c.raise(x86.VecTS, sel)
	}
	t, ok := c.readTask(g.Base, g.Attr)
	if !ok {
		return false
	}
	old := c.s.TR.Selector
	flags := c.rflags()
	if why == switchIret {
		flags &^= x86.NT
	}
	if !c.saveTask(flags) {
		return false
	}
	if why == switchCall || why == switchInt {
		if !c.writeSys(g.Base, 2, uint64(old)) {
			return false
		}
		t.flags |= x86.NT
	} else {
		o, found, ok := c.lookupDesc(old&^7, 8)
		if !ok || found && !c.setTypeBits(&o, 0, 2) {
			return false
		}
	}
	if why != switchIret && !c.setTypeBits(d, 2, 0) {
		return false
	}
	g.Attr |= 2 // busy
	c.s.TR = g
	c.sys.switched = true
	return c.loadTask(&t, l.word == 4)
}

// loadTask makes t the processor's state. The selectors are checked once all else has been loaded.
func (c *CPU) loadTask(t *taskState, wide bool) bool {
	s := &c.s
	s.CR0 |= x86.CR0_TS
	s.DR[7] &^= 0x155
	if wide && s.CR0&x86.CR0_PG != 0 {
		s.CR3 = t.cr3
		c.enterSpace(false)
	}
	copy(c.r[:8], t.gpr[:])
	c.rip = t.eip
	vm := t.flags&x86.VM != 0
	cpl := uint8(t.seg[x86.CS] & 3)
	for i := range s.Seg {
		if vm {
			s.Seg[i] = vmSegment(t.seg[i])
		} else {
			s.Seg[i] = nullSegment(t.seg[i], cpl)
		}
	}
	s.LDTR = nullSegment(t.ldt, 0)
	c.returnFlags(t.flags) // calls modeChanged
	if t.trap {
		c.trapLater(dr6BT)
	}

	if !c.taskLDT(t.ldt) {
		return false
	}
	if !vm && !c.taskSegments(t, cpl) {
		return false
	}
	c.modeChanged()
	if c.rip > uint64(s.Seg[x86.CS].Limit) {
		return c.raise0(x86.VecGP)
	}
	return true
}

// taskLDT loads the LDTR in a task switch.
func (c *CPU) taskLDT(sel uint16) bool {
	if sel&0xfffc == 0 {
		return true
	}
	if sel&4 != 0 {
		return c.raise(x86.VecTS, sel)
	}
	d, ok := c.readDesc(sel, x86.VecTS)
	if !ok {
		return false
	}
	if d.attr&sysType != typeLDT || !d.present() {
		return c.raise(x86.VecTS, sel)
	}
	c.s.LDTR = d.segment(sel)
	return true
}

// taskSegments loads the segment registers in a task switch.
func (c *CPU) taskSegments(t *taskState, cpl uint8) bool {
	sel := t.seg[x86.CS]
	d, ok := c.readDesc(sel, x86.VecTS)
	if !ok {
		return false
	}
	if !d.code() || d.conforming() && d.dpl() > cpl || !d.conforming() && d.dpl() != cpl {
		return c.raise(x86.VecTS, sel)
	}
	if !d.present() {
		return c.raise(x86.VecNP, sel)
	}
	if !c.access(&d) {
		return false
	}
	c.s.Seg[x86.CS] = d.segment(sel)

	sel = t.seg[x86.SS]
	if d, ok = c.stackDesc(sel, cpl, x86.VecTS); !ok || !c.access(&d) {
		return false
	}
	c.s.Seg[x86.SS] = d.segment(sel)
	c.modeChanged()

	for _, i := range [...]int{x86.DS, x86.ES, x86.FS, x86.GS} {
		d, null, ok := c.dataDesc(t.seg[i], cpl, x86.VecTS)
		if !ok || !null && !c.access(&d) {
			return false
		}
		if !null {
			c.s.Seg[i] = d.segment(t.seg[i])
		}
	}
	return true
}

// taskFault is what a handler returns when something failed that may have
// switched tasks: the fault is then reported at the new task's RIP.
func (c *CPU) taskFault(o *Op) status {
	if c.sys.switched {
		c.sys.switched = false
		c.r[regRIP] = c.rip - uint64(o.start)
	}
	return stFault
}

// taskReturn is IRET with NT set: back to the task that the TSS links to.
func (c *CPU) taskReturn(o *Op) status {
	v, ok := c.readSys(c.s.TR.Base, 2)
	if !ok {
		return stFault
	}
	sel := uint16(v)
	if sel&4 != 0 {
		c.raise(x86.VecTS, sel)
		return stFault
	}
	d, ok := c.readDesc(sel, x86.VecTS)
	if !ok {
		return stFault
	}
	if k := d.attr & sysType; k != typeTSSBusy && k != typeTSS16Busy {
		c.raise(x86.VecTS, sel)
		return stFault
	}
	if !d.present() {
		c.raise(x86.VecNP, sel)
		return stFault
	}
	return c.taskSwitchOp(o, sel, &d, switchIret)
}

// taskSwitchOp switches tasks for an instruction.
func (c *CPU) taskSwitchOp(o *Op, sel uint16, d *descriptor, why taskReason) status {
	rip := c.rip
	c.rip = c.nextRIP(o)
	c.sys.switched = false
	if !c.switchTask(sel, d, why) {
		if !c.sys.switched {
			c.rip = rip
		}
		return c.taskFault(o)
	}
	return stBranch
}

// trapLater makes a debug trap pending that is delivered before the next instruction.
func (c *CPU) trapLater(db uint64) {
	c.sys.trapDB |= db
	c.pending.Or(pendSlow)
}
