//go:build amd64 && linux

package jit

import (
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// direct goes to an offset from the start of the page, if condition cc holds (-1: always). The flags are in memory or in
// the host's. Exits are linked only within the page, whose translation the unit was entered by, and not to where an
// instruction may cross into the next.
func (b *builder) direct(target int64, cc int) {
	if target >= 0 && target <= pageSize-x86.MaxInstLen {
		back := b.turned || target <= int64(b.insts[b.i].start)
		if b.loops {
			back = !b.looked
		}
		s := b.site(interp.Site{Target: int32(target), HostFlags: !b.mem, Back: back})
		// The displacement is replaced while others may execute it: it must not cross a boundary of 8 bytes. The prefix
		// has no meaning here, and keeps the jump together with a comparison before it.
		size := 1
		if cc >= 0 {
			size = 2
		}
		for (len(b.b)+size)&7 > 4 {
			b.byte(0x3e)
		}
		var j int
		if cc < 0 {
			j = b.jump()
		} else {
			j = b.jcc(uint8(cc))
		}
		b.sites[s].Patch = b.base + uintptr(j)
		b.colds = append(b.colds, cold{from: []int{j}, site: s, kind: coldLink, host: !b.mem})
		return
	}
	skip := 0
	if cc >= 0 {
		skip = b.jcc(uint8(cc) ^ 1)
	}
	mem := b.mem
	b.saveFlags()
	b.mem = mem
	b.load64(r14, field(layout.Page))
	b.add(r14, int32(target))
	miss := b.lookup()
	found := b.here()
	b.goTo()
	for _, j := range miss {
		b.land(j)
	}
	b.callTo(b.t.stubs.second[b.level()])
	b.jccTo(ccAE, found)
	b.untag()
	b.jumpTo(b.t.stubs.rip)
	if cc >= 0 {
		b.land(skip)
	}
}

// targets is the table of a privilege, and where its generation is.
func targets(user bool) (table, generation int32) {
	if user {
		return layout.User - bias, layout.Generation + 8
	}
	return layout.Kernel - bias, layout.Generation
}

// add adds a distance to the instruction pointer in d, without changing flags.
func (b *builder) add(d reg, n int32) {
	if b.word == 4 {
		b.lea32(d, at(d, n))
		return
	}
	b.lea64(d, at(d, n))
}

// tag makes the target in r14 differ from the same address in 64-bit mode, untag takes that back.
func (b *builder) tag() {
	if b.word == 4 {
		b.op(0, true, false, map0F, 0xba, 5, inReg(r14)) // bts
		b.byte(interp.TargetTag)
	}
}

func (b *builder) untag() {
	if b.word == 4 {
		b.mov32(r14, r14)
	}
}

// lookup finds the entry for the target in r14 and leaves its place in r15. It returns the jumps that are taken when
// it is not in its first place; the stub second looks further. It destroys rAX.
func (b *builder) lookup() []int {
	table, gen := targets(b.r.User)
	b.tag()
	b.mov64(r15, r14)
	b.shrImm64(r15, interp.TargetBits)
	b.op(0, false, false, mapOne, 0x33, uint8(r15), inReg(r14))
	b.aluImm(4, false, inReg(r15), 1<<interp.TargetBits-1)
	b.op(0, false, false, mapOne, 0xc1, 4, inReg(r15))
	b.byte(5)
	b.alu64(7, r14, rm{mem: true, reg: rBP, index: r15, disp: table})
	rip := b.jcc(ccNE)
	b.load64(rAX, rm{mem: true, reg: rBP, index: r15, disp: table + 8})
	b.alu64(7, rAX, field(gen))
	return []int{rip, b.jcc(ccNE)}
}

// target is lookup for an instruction that the interpreter executes where there is no entry.
func (b *builder) target() {
	miss := b.lookup()
	back := len(b.b)
	b.slow()
	b.colds = append(b.colds, cold{from: miss, kind: coldTarget, next: back})
}

// goTo continues at the target in r14, whose entry r15 points to.
func (b *builder) goTo() {
	table, _ := targets(b.r.User)
	b.untag()
	b.aluImm(4, true, inReg(r14), -pageSize)
	b.store64(field(layout.Page), r14)
	b.op(0, false, false, mapOne, 0xff, 4, rm{mem: true, reg: rBP, index: r15, disp: table + 16})
}

// branch is a conditional jump.
func (b *builder) branch(n *inst) {
	b.needFlags()
	cc, _ := n.Op.Cond()
	if n.followed {
		b.direct(int64(n.next), int(cc)^1)
		return
	}
	b.direct(int64(n.next)+n.Args[0].Imm, int(cc))
}

// returnAddress puts the address after n into d.
func (b *builder) returnAddress(n *inst, d reg) {
	b.load64(d, field(layout.Page))
	b.add(d, int32(n.next))
}

// call is CALL to a fixed distance.
func (b *builder) call(n *inst) {
	x := b.reachStack(n, -b.word, true)
	b.returnAddress(n, rAX)
	b.storeWord(x, rAX)
	b.below(hRSP, b.word)
	if !n.followed {
		b.direct(int64(n.next)+n.Args[0].Imm, -1)
	}
}

// ret64 is RET. Where the table of targets does not have the address, the interpreter executes it.
func (b *builder) ret64(n *inst) {
	b.loadWord(r14, b.reachStack(n, 0, false))
	pop := b.word
	if n.NArgs > 0 {
		pop += int32(uint16(n.Args[0].Imm))
	}
	back := 0
	if n.followed { // to the call in this unit, unless the guest does something else
		b.load64(r15, field(layout.Page))
		b.add(r15, int32(b.insts[b.i+1].start))
		b.alu64(7, r14, inReg(r15))
		back = b.jcc(ccE)
	}
	b.target()
	b.below(hRSP, -pop)
	b.goTo()
	if n.followed {
		b.land(back)
		b.below(hRSP, -pop)
	}
}

// indirect is CALL and JMP through a register or memory.
func (b *builder) indirect(n *inst) {
	a := &n.Args[0]
	if a.Kind == x86.KindMem {
		b.loadWord(r14, b.reachOperand(n, b.word, false, 0))
	} else {
		b.top(b.value(a.Reg, r14))
	}
	b.target()
	if n.Op == x86.JMP {
		b.goTo()
		return
	}
	b.store64(field(layout.Temp), r14)
	b.store64(field(layout.Temp+8), r15)
	x := b.reachStack(n, -b.word, true)
	b.returnAddress(n, rAX)
	b.storeWord(x, rAX)
	b.below(hRSP, b.word)
	b.load64(r14, field(layout.Temp))
	b.load64(r15, field(layout.Temp+8))
	b.goTo()
}
