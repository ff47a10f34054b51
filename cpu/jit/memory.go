//go:build amd64 && linux

package jit

import (
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// address puts the linear address of n's memory operand into r14. It destroys r15, and flags where the operand has a segment base.
func (b *builder) address(n *inst) {
	m := &n.Mem
	b.effective(n, r14)
	if m.Seg == x86.FS || m.Seg == x86.GS {
		b.alu64(0, r14, field(layout.SegBase+8*int32(m.Seg)))
	}
}

// effective puts the offset of n's memory operand in its segment into d. It uses r14 and r15 and changes no flags.
func (b *builder) effective(n *inst, d reg) {
	m := &n.Mem
	x := rm{mem: true, reg: noReg, index: noReg, disp: int32(m.Disp), scale: m.Scale}
	switch {
	case m.Base == x86.RIPBase:
		b.load64(r14, field(layout.Page))
		x.reg = r14
		x.disp = int32(int64(n.next) + m.Disp)
	case m.Base != x86.NoReg:
		x.reg = hostOf[m.Base]
		if x.reg == noReg {
			b.load64(r14, slot(m.Base))
			x.reg = r14
		}
	}
	if m.Index != x86.NoReg {
		x.index = hostOf[m.Index]
		if x.index == noReg {
			b.load64(r15, slot(m.Index))
			x.index = r15
		}
	}
	if n.AddrSize == 4 {
		b.lea32(d, x)
	} else {
		b.lea64(d, x)
	}
}

// addressable reports whether effective can do it.
func (b *builder) addressable(n *inst) bool {
	m := &n.Mem
	if m.VSIB || n.AddrSize != 8 && n.AddrSize != 4 || m.Disp != int64(int32(m.Disp)) && (n.AddrSize == 8 || m.Disp>>32 != 0) {
		return false
	}
	if m.Base == x86.RIPBase {
		d := int64(n.next) + m.Disp
		return d == int64(int32(d)) && n.AddrSize == 8
	}
	return true
}

// slotAt is a field of a slot of the unit's privilege.
func (b *builder) slotAt(slot int, off int32) rm {
	return field(layout.Slots[b.level()] + int32(slot)*layout.SlotSize + off)
}

// level is 1 for a unit of CPL 3.
func (b *builder) level() int {
	if b.r.User {
		return 1
	}
	return 0
}

// within compares the distance of an access of size bytes from the start of a slot's page, in d, with the largest for which it is inside.
func (b *builder) within(d reg, slot int, size int32) {
	if b.r.User {
		b.aluImm(7, true, inReg(d), pageSize-size)
		return
	}
	b.alu64(7, d, b.slotAt(slot, lastOf(size)))
}

// slotTag is where a slot has the address that loads or stores compare with.
func slotTag(write bool) int32 {
	if write {
		return layout.SlotW
	}
	return layout.SlotR
}

// lastOf is where a slot has the limit for accesses of size bytes.
func lastOf(size int32) int32 {
	at := layout.SlotLast
	for _, m := range interp.Margins[:len(interp.Margins)-1] {
		if size > m {
			at += 8
		}
	}
	return at
}

// reach turns the linear address in r14 into that of the host, for an access of size bytes. Where the TLB does
// not answer, or the address is not aligned to align bytes (0: need not be), the interpreter
// executes the instruction. It destroys rAX, r15 and the flags.
func (b *builder) reach(slot int, size int32, write bool, align uint8) {
	b.check(slot, size, write, align, found{base: noReg})
}

// found says what is wanted of an address that was checked.
type found struct {
	// pair: r14 keeps the linear address, and r15 gets the distance from it to that of the host.
	pair bool
	// base, if not noReg: r14 gets the distance, rather than the host's address; the linear address is disp from the base.
	base reg
	disp int32
}

// check is reach with a choice of what it leaves.
func (b *builder) check(slot int, size int32, write bool, align uint8, f found) {
	var from []int
	if align > 1 {
		b.op(0, false, false, mapOne, 0xf7, 0, inReg(r14))
		b.u32(uint32(align - 1))
		from = append(from, b.jcc(ccNE))
	}
	// The distance from the start of the slot's page is below pageSize just for its own addresses.
	d := r14
	if f.pair {
		d = r15
		b.mov64(r15, r14)
	}
	b.alu64(5, d, b.slotAt(slot, slotTag(write)))
	b.within(d, slot, size)
	away := b.jcc(ccA)
	if f.pair || f.base != noReg {
		b.load64(d, b.slotAt(slot, layout.SlotDelta))
	} else {
		b.alu64(0, r14, b.slotAt(slot, layout.SlotHost))
	}
	back := len(b.b)
	b.slow(from...)
	b.colds = append(b.colds, cold{from: []int{away}, kind: coldPage, next: back, slot: slot, write: write, size: size, found: f})
}

// filler is the stub that fills a slot for loads or stores.
func (b *builder) filler(write bool) uintptr {
	if write {
		return b.t.stubs.write[b.level()]
	}
	return b.t.stubs.read[b.level()]
}

// elsewhere is cold code: the access c is not to the page that its slot has, but at r14 from there. The slot changes to
// a page that is reached the second time in a row; with other accesses in between that would cost more than it gains.
func (b *builder) elsewhere(c *cold, miss uintptr) {
	back := b.base + uintptr(c.next)
	entry := layout.TLBRead
	if c.write {
		entry = layout.TLBWrite
	}
	if !c.pair {
		b.alu64(0, r14, b.slotAt(c.slot, slotTag(c.write)))
	}
	b.lea64(r15, at(r14, c.size-1))
	b.aluImm(4, true, inReg(r15), -pageSize)
	b.alu64(1, r15, field(layout.Ctx))
	b.rotate(rAX, r14, 12-5)
	if b.r.User {
		b.alu64(6, rAX, field(layout.Space))
	}
	b.aluImm(4, false, inReg(rAX), (layout.TLBEntries-1)<<5)
	// An access that crosses into the next page finds the entry of the first and has the tag of the second.
	b.alu64(7, r15, rm{mem: true, reg: rBP, index: rAX, disp: layout.TLB + entry - bias})
	fill := b.jcc(ccNE)
	b.load64(rAX, rm{mem: true, reg: rBP, index: rAX, disp: layout.TLB + layout.TLBDelta - bias})
	b.alu64(7, r15, b.slotAt(c.slot, layout.SlotNext))
	b.store64(b.slotAt(c.slot, layout.SlotNext), r15)
	again := b.jcc(ccE)
	b.take(c)
	if c.pair {
		b.mov64(r15, rAX)
	}
	b.jumpTo(back)
	b.land(again)
	if b.r.User {
		b.aluImm(4, true, inReg(r15), -pageSize)
		b.store64(b.slotAt(c.slot, layout.SlotDelta), rAX)
		b.take(c)
		b.alu64(0, rAX, inReg(r15))
		b.store64(b.slotAt(c.slot, layout.SlotHost), rAX)
		b.store64(b.slotAt(c.slot, layout.SlotR), r15)
		if !c.write {
			b.load64(r15, field(layout.NoPage))
		}
		b.store64(b.slotAt(c.slot, layout.SlotW), r15)
		if c.pair {
			b.load64(r15, b.slotAt(c.slot, layout.SlotDelta))
		}
		b.jumpTo(back)
	}
	b.land(fill)
	if c.pair {
		b.store64(field(layout.Temp+24), r14)
	}
	b.lea64(r15, at(r14, c.size-1))
	b.lea64(rAX, b.slotAt(c.slot, 0))
	b.callTo(b.filler(c.write))
	b.jccTo(ccB, miss)
	switch {
	case c.pair:
		b.mov64(rAX, r14)
		b.load64(r14, field(layout.Temp+24))
		b.alu64(5, rAX, inReg(r14))
		b.mov64(r15, rAX)
	case c.base != noReg:
		b.lea64(r15, at(c.base, c.disp))
		b.alu64(5, r14, inReg(r15))
	}
	b.jumpTo(back)
}

// take makes of the distance in rAX and the linear address in r14 what r14 is to have.
func (b *builder) take(c *cold) {
	switch {
	case c.pair:
	case c.base != noReg:
		b.mov64(r14, rAX)
	default:
		b.alu64(0, r14, inReg(rAX))
	}
}

// slotOf is the index of the slot for n's memory operand.
func (b *builder) slotOf(n *inst) int {
	m := &n.Mem
	switch {
	case m.Seg == x86.FS:
		return interp.SlotFS
	case m.Seg == x86.GS:
		return interp.SlotGS
	case m.Index != x86.NoReg || m.Base < 16 && (n.span.role == apart || max(m.Disp, -m.Disp) >= pageSize/2):
		return interp.SlotHashed + (int(m.Base)*5+int(m.Index)*3+int(m.Disp>>12))&(interp.SlotCount-interp.SlotHashed-1)
	case m.Base < 16:
		return int(m.Base)
	case m.Base == x86.RIPBase:
		return interp.SlotRIP
	}
	return interp.SlotNone
}

// reachOperand returns the host's operand for n's memory operand. It may destroy rAX, r14, r15 and the flags.
func (b *builder) reachOperand(n *inst, size int32, write bool, align uint8) rm {
	return b.operand(n, size, write, align, false)
}

// operand is reachOperand; pair: the operand may have both r14 and r15 in it.
func (b *builder) operand(n *inst, size int32, write bool, align uint8, pair bool) rm {
	if n.span.role == first || n.span.role == member {
		if a, ok := groupable(n); ok {
			return b.reachAt(n, a)
		}
	}
	b.address(n)
	m := &n.Mem
	if m.Base >= 16 || m.Index != x86.NoReg || m.Seg == x86.FS || m.Seg == x86.GS || n.AddrSize != 8 || hostOf[m.Base] == noReg {
		b.check(b.slotOf(n), size, write, align, found{pair: pair, base: noReg})
		if pair {
			return rm{mem: true, reg: r14, index: r15}
		}
		return at(r14, 0)
	}
	// What the processor waits for is the register and a load, not the comparison.
	h := hostOf[m.Base]
	b.check(b.slotOf(n), size, write, align, found{base: h, disp: int32(m.Disp)})
	return rm{mem: true, reg: h, index: r14, disp: int32(m.Disp)}
}

// reachStack returns the host's operand for the word at a distance from the top of the stack.
func (b *builder) reachStack(n *inst, disp int32, write bool) rm {
	if n.span.role == first || n.span.role == member {
		a, _ := groupable(n)
		return b.reachAt(n, a)
	}
	top := gRSP
	if n.span.role == apart {
		top += interp.SlotHashed
	}
	b.below(r14, -disp)
	b.reach(top, b.word, write, 0)
	return at(r14, 0)
}
