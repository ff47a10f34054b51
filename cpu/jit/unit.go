//go:build amd64 && linux

package jit

import (
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// builder makes one unit. It is used again for the next.
type builder struct {
	asm
	t     *translator
	r     *interp.Request
	id    uint32
	insts []inst
	sites []interp.Site
	colds []cold
	i     int // the instruction being translated
	runs  int // of the request that the unit takes
	// turned: the unit has followed a jump backwards, so that any exit may close a loop.
	turned bool
	// loops: the unit leads to its own start. It looks in its midst whether something is pending, where that costs no flags; until it
	// has looked, its exits are taken as if they closed a loop, and none is from then on.
	loops, looked bool
	word          int32 // bytes of a stack slot and of RIP: 8, or 4 outside 64-bit mode
	vec           uint8 // what the unit needs of the vector registers: 0, 1, 3
	flagState
}

// inst is one instruction of the block.
type inst struct {
	x86.Inst
	start, next uint16 // offsets in the page
	run         uint8
	followed    bool // the next instruction is where it leads
	class       class
	flags       x86.Flags
	// live are the arithmetic flags that are needed after the instruction, liveAll those with instructions
	// counted that may fault and must then find all flags.
	live, liveAll uint32
	// observer: it may fault, or be executed by the interpreter.
	observer bool
	// written has a bit for each general-purpose register that it changes.
	written uint16
	span    span
	// lazy: its flags are left to a recipe.
	lazy bool
	// result: it is a comparison that keeps its result.
	result bool
}

// cold is code that is put behind the unit, since it is executed seldom.
type cold struct {
	from []int // displacements of the jumps that lead here
	site int
	kind coldKind
	next int  // where in the unit to go on
	host bool // with the flags in the host's
	inst int
	at   uintptr // where a coldOp starts
	// Of a coldPage: the access. Of a coldRun: where it starts is in base, and size is the binary logarithm of that of an element.
	slot  int
	write bool
	size  int32
	found
	// Of a coldGroup, and of a coldOp of the first of a group: from where to where it extends.
	group  bool
	access access
}

type coldKind uint8

const (
	coldOp     coldKind = iota // the interpreter executes the instruction
	coldPage                   // the slot has another page: the coldOp before it follows if the TLB has not got this one
	coldTarget                 // a target is not in its first place: the coldOp before it follows if it is nowhere
	coldGroup                  // the slot does not serve a group: as for coldPage
	coldRun                    // the slot does not serve a repeated instruction: as for coldPage
	coldLink                   // a direct jump that is not linked yet
	coldPoll                   // something is pending at the start of the block
	coldLook                   // something is pending before an instruction
	coldVec                    // vector registers are to be loaded at the start of the block
)

// unit translates a block. It returns nil where it cannot; the code is valid until the next call.
func (b *builder) unit(t *translator, r *interp.Request, id uint32) (*interp.Unit, entries, []byte) {
	b.word = 8
	if r.Mode != x86.Mode64 {
		if r.Mode != x86.Mode32 || !r.Flat {
			return nil, entries{}, nil
		}
		b.word = 4
	}
	b.t, b.r, b.id = t, r, id
	b.asm.b = b.asm.b[:0]
	b.asm.base = t.mem.base() + uintptr(t.mem.used)
	b.sites, b.colds = b.sites[:0], b.colds[:0]
	b.vec, b.turned, b.looked = 0, false, false
	if !b.decode() {
		return nil, entries{}, nil
	}
	b.group()
	b.liveness()
	b.loops = b.selfLoop()
	b.flagState = flagState{mem: true, producer: -1}

	e := b.prologue()
	ended := false
	for b.i = range b.insts {
		ended = b.translate(&b.insts[b.i])
	}
	if !ended {
		last := &b.insts[len(b.insts)-1]
		b.direct(int64(last.next), -1)
	}
	b.finish()
	u := &interp.Unit{
		Phys: r.Phys, Phys2: r.Phys2, Runs: r.Runs[:b.runs], Mode: r.Mode, Key: r.Key, User: r.User, Entry: e.start,
		Insts: make([]interp.Inst, len(b.insts)), Sites: append([]interp.Site(nil), b.sites...),
	}
	for i := range b.insts {
		n, o := &b.insts[i], &u.Insts[i]
		o.Start, o.Next, o.Run, o.Followed = n.start, n.next, n.run, n.followed
	}
	return u, e, b.b
}

// maxInsts bounds the instructions of a unit.
const maxInsts = 100

// decode fills in insts with as many runs as it can. It reports whether that is at least the first.
func (b *builder) decode() bool {
	b.insts, b.runs = b.insts[:0], 0
	for i := range b.r.Runs {
		was, vec := len(b.insts), b.vec
		if i > 0 && !b.follows(&b.insts[was-1]) {
			return true
		}
		if !b.decodeRun(i) {
			b.insts, b.vec = b.insts[:was], vec
			return i > 0
		}
		if b.runs++; i > 0 {
			n := &b.insts[was-1]
			n.followed = true
			if n.class == clJump {
				n.class = clNothing
			}
		}
	}
	return true
}

// follows reports whether what n leads to can be in the same unit. Where interrupts were enabled just before, it is looked whether there is one.
func (b *builder) follows(n *inst) bool {
	if k := len(b.insts) - 2; k >= 0 && b.insts[k].Op == x86.STI {
		return false
	}
	return n.class >= clJump && n.class != clIndirect
}

// decodeRun appends the instructions of a run.
func (b *builder) decodeRun(i int) bool {
	r := &b.r.Runs[i]
	was := len(b.insts)
	for at := 0; at < len(r.Code); {
		if len(b.insts) == maxInsts {
			return false
		}
		b.insts = append(b.insts, inst{start: r.Start + uint16(at), run: uint8(i)})
		n := &b.insts[len(b.insts)-1]
		if err := x86.Decode(b.r.Mode, r.Code[at:], &n.Inst); err != nil {
			return false
		}
		at += int(n.Len)
		n.next = r.Start + uint16(at)
		b.classify(n, at == len(r.Code))
	}
	return len(b.insts) > was
}

// entries are where control enters a unit.
type entries struct {
	start uintptr // with the flags in memory
	// From units of the same page: with the flags in memory (mem) or in the host's (host), and those that cannot close a loop without
	// looking whether something is pending (ahead).
	host, memAhead, hostAhead uintptr
}

// prologue looks whether something is pending, and for the vector registers.
func (b *builder) prologue() (e entries) {
	if b.deadFlags() {
		e.host = b.here()
		b.lahf()
		b.poll(true)
		j := b.jumpShort()
		e.start = b.here()
		b.poll(false)
		b.landShort(j)
		e.hostAhead = b.here()
	} else {
		e.host = b.here()
		b.storeFlags()
		e.start = b.here()
		b.poll(false)
		j := b.jumpShort()
		e.hostAhead = b.here()
		b.storeFlags()
		b.landShort(j)
	}
	e.memAhead = b.here()
	if b.vec != 0 {
		b.cmp8(field(layout.VecIn), b.vec)
		j := b.jcc(ccB)
		b.colds = append(b.colds, cold{from: []int{j}, kind: coldVec, next: len(b.b)})
	}
	return e
}

// poll leaves the unit, which has not begun, if something is pending; host: the flags are in rAX.
func (b *builder) poll(host bool) {
	b.colds = append(b.colds, cold{from: []int{b.anything()}, kind: coldPoll, host: host})
}

// anything returns a jump that is taken if something is pending, or the runtime wants the goroutine to stop. It destroys r15 and the flags.
func (b *builder) anything() int {
	b.load64(r15, field(layout.Guard))
	b.aluImm(7, true, at(r15, interp.StackGuard), interp.StackPreempt)
	return b.jcc(ccE)
}

// selfLoop reports whether an exit of the unit leads to its start.
func (b *builder) selfLoop() bool {
	for i := range b.insts {
		n := &b.insts[i]
		to := int64(n.next)
		if n.class == clJump || n.class == clBranch && !n.followed {
			to += n.Args[0].Imm
		}
		if n.class >= clJump && to == int64(b.insts[0].start) {
			return true
		}
	}
	return false
}

// look leaves the unit before n if something is pending, provided that nothing but a fault would see the flags. Behind STI there must
// have been an instruction, so the first is none before which it looks.
func (b *builder) look(n *inst) {
	if b.i == 0 || n.class == clExit || !n.observer && b.host && (b.mem || !b.spare(n)) {
		return
	}
	b.observe(n)
	s := b.site(interp.Site{Inst: uint8(b.i), Flags: b.before})
	b.colds = append(b.colds, cold{from: []int{b.anything()}, site: s, kind: coldLook})
	b.looked = true
}

// translate appends the code of one instruction. It reports whether control never goes on behind it, or only in the code that follows it and not
// after the interpreter has executed it.
func (b *builder) translate(n *inst) (ended bool) {
	first := len(b.colds)
	if n.followed && b.insts[b.i+1].start <= n.start {
		b.turned = true
	}
	if b.loops && !b.looked {
		b.look(n)
	}
	if n.observer && n.class != clExit {
		b.observe(n)
	}
	switch n.class {
	case clExit:
		ended = b.leaveTo(n)
	case clNothing:
	case clGeneric:
		b.generic(n)
	case clLea:
		b.lea(n)
	case clAccumulator:
		b.accumulator(n)
	case clExchange:
		b.exchange(n)
	case clExtend:
		b.extend(n)
	case clMultiply:
		b.multiply(n)
	case clDivide:
		b.divide(n)
	case clCompareExchange:
		b.compareExchange(n)
	case clInterruptFlag:
		b.interruptFlag(n)
	case clAccessFlag:
		b.accessFlag(n)
	case clPushFlags:
		b.pushFlags(n)
	case clSelector:
		b.selector(n)
	case clOffset:
		b.offset(n)
	case clStep:
		b.step(n)
	case clSwap:
		b.swap()
	case clBase:
		b.segmentBase(n)
	case clBit:
		b.bit(n)
	case clRepeat:
		b.repeat(n)
	case clPush:
		b.push(n)
	case clPop:
		b.pop(n)
	case clLeave:
		b.leave(n)
	case clJump:
		b.direct(int64(n.next)+n.Args[0].Imm, -1)
		ended = true
	case clBranch:
		b.branch(n)
	case clCall:
		b.call(n)
		ended = true
	case clReturn:
		b.ret64(n)
		ended = true
	case clIndirect:
		b.indirect(n)
		ended = true
	}
	b.done(n)
	for i := first; i < len(b.colds); i++ {
		if c := &b.colds[i]; c.kind == coldOp {
			c.next, c.host = len(b.b), b.host
			if ended {
				c.next = -1
			}
		}
	}
	return ended
}

// leaveTo has the interpreter execute n.
func (b *builder) leaveTo(n *inst) (ended bool) {
	var recipe interp.Recipe
	if !b.mem {
		if b.host {
			b.saveFlags()
		} else {
			recipe = b.recipe
		}
	}
	s := b.site(interp.Site{Inst: uint8(b.i), Flags: recipe})
	b.storeImm32(field(layout.Site), b.number(s))
	b.jumpTo(b.t.stubs.op)
	b.mem, b.host = true, false
	if b.i == len(b.insts)-1 && n.Ctl() != x86.CtlCond && n.EndsBlock() {
		return true
	}
	b.sites[s].Resume = b.here()
	b.reloadVec()
	return false
}

// reloadVec makes sure that the vector registers are in the host's after the interpreter had them.
func (b *builder) reloadVec() {
	if b.vec != 0 {
		b.cmp8(field(layout.VecIn), b.vec)
		j := b.jcc(ccB)
		b.colds = append(b.colds, cold{from: []int{j}, kind: coldVec, next: len(b.b), inst: b.i + 1})
	}
}

// site adds a site and returns its index.
func (b *builder) site(s interp.Site) int {
	b.sites = append(b.sites, s)
	return len(b.sites) - 1
}

// number is how a site of the unit is known outside.
func (b *builder) number(site int) uint32 { return b.id<<8 | uint32(site) }

// slow adds a way out, to the interpreter, of the present instruction from the jumps at from.
func (b *builder) slow(from ...int) {
	s := b.site(interp.Site{Inst: uint8(b.i), Flags: b.before})
	b.colds = append(b.colds, cold{from: from, site: s, kind: coldOp, inst: b.i})
}

// finish appends the cold code.
func (b *builder) finish() {
	for i := range b.colds {
		c := &b.colds[i]
		for _, j := range c.from {
			b.land(j)
		}
		switch c.kind {
		case coldPage:
			b.elsewhere(c, b.colds[i-1].at)
		case coldTarget:
			b.callTo(b.t.stubs.second[b.level()])
			b.jccTo(ccB, b.colds[i-1].at)
			b.jumpTo(b.base + uintptr(c.next))
		case coldGroup:
			for _, j := range b.fillGroup(c) {
				b.aim(j, b.colds[i-1].at)
			}
			b.jumpTo(b.base + uintptr(c.next))
		case coldRun:
			b.fillRun(c, b.colds[i-1].at)
		case coldOp:
			c.at = b.here()
			b.storeImm32(field(layout.Site), b.number(c.site))
			b.jumpTo(b.t.stubs.op)
			if c.next < 0 {
				continue
			}
			b.sites[c.site].Resume = b.here()
			if b.vec != 0 {
				b.callVec(c.inst + 1)
			}
			var apart []int
			if c.group {
				apart = b.fillGroup(c)
			}
			if c.host {
				b.loadFlags()
			}
			b.jumpTo(b.base + uintptr(c.next))
			if c.group {
				for _, j := range apart {
					b.land(j)
				}
				b.load64(r14, field(layout.Page))
				b.add(r14, int32(b.insts[c.inst].next))
				b.jumpTo(b.t.stubs.apart)
			}
		case coldLink:
			b.sites[c.site].Resume = b.here()
			if c.host {
				b.storeFlags()
			}
			b.storeImm32(field(layout.Site), b.number(c.site))
			b.jumpTo(b.t.stubs.link)
		case coldPoll:
			if c.host {
				b.store32(field(layout.Flags), rAX)
			}
			b.load64(r14, field(layout.Page))
			b.add(r14, int32(b.insts[0].start))
			b.jumpTo(b.t.stubs.rip)
		case coldLook:
			b.storeImm32(field(layout.Site), b.number(c.site))
			b.jumpTo(b.t.stubs.poll)
		case coldVec:
			b.callVec(c.inst)
			b.jumpTo(b.base + uintptr(c.next))
		}
	}
}

// callVec loads the vector registers, or leaves so that the block from instruction i on is interpreted.
func (b *builder) callVec(i int) {
	stub := b.t.stubs.vec1
	if b.vec == 3 {
		stub = b.t.stubs.vec3
	}
	b.callTo(stub)
	j := b.jccShort(ccAE)
	off := b.insts[len(b.insts)-1].next
	if i < len(b.insts) {
		off = b.insts[i].start
	}
	b.load64(r14, field(layout.Page))
	b.add(r14, int32(off))
	b.jumpTo(b.t.stubs.interpret)
	b.landShort(j)
}
