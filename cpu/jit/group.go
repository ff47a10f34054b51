//go:build amd64 && linux

package jit

import (
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// Several accesses of a unit off one base register, which changes meanwhile by known distances at most, make a group:
// the first of them finds out that all lie in one page that may be accessed, and the others use what its slot says. They
// cannot fault then, and change no flags. Where they do not lie in one page, the interpreter executes the first, and
// the rest of the block too; a unit to which that happens often is made again without groups.
//
// Invariant: nothing else uses the slot of a base register while a group of it lasts. Slots are emptied
// only between units and by instructions that the interpreter executes on its own account, which end all groups.

// maxSpan bounds the bytes that a group extends over: the longer, the likelier it crosses the end of a page.
const maxSpan = 512

// access is an instruction's access to memory at a distance from a register.
type access struct {
	base  uint8
	disp  int32
	size  int32
	write bool
}

// span is an instruction's part in a group.
type span struct {
	role role
	// Of the first: the group extends over size bytes from lo off the base register, as that is before the instruction
	// and, from after, behind it.
	lo, after, size int32
}

type role uint8

const (
	alone role = iota
	first
	member
	// apart: an access that cannot be in a group.
	apart
)

// groupable returns the access of n that may be in a group.
func groupable(n *inst) (a access, ok bool) {
	switch n.class {
	case clPush:
		return access{gRSP, -8, 8, true}, n.Args[0].Kind != x86.KindMem
	case clCall:
		return access{gRSP, -8, 8, true}, true
	case clPop, clReturn:
		return access{gRSP, 0, 8, true}, true
	case clLeave:
		return access{gRBP, 0, 8, false}, true
	case clGeneric, clMultiply, clDivide, clCompareExchange:
	default:
		return a, false
	}
	m, arg := &n.Mem, memArg(n)
	if arg == nil || m.Base >= 16 || m.Index != x86.NoReg || m.Seg == x86.FS || m.Seg == x86.GS || n.AddrSize != 8 ||
		n.Enc.Aligned(n.VecLen) > 1 || n.Op == x86.CMPXCHG16B || max(m.Disp, -m.Disp) > 1<<30 {
		return a, false
	}
	// Stacks are written to sooner or later.
	write := m.Base == gRSP || n.class == clCompareExchange || n.class == clGeneric && n.Args[0].Kind == x86.KindMem && isDest(n, 0)
	return access{m.Base, int32(m.Disp), int32(arg.Size), write}, true
}

// shift returns by how much n changes register g, which it writes, if that is known.
func shift(n *inst, g uint8) (d int64, ok bool) {
	if g == gRSP {
		switch n.class {
		case clPush, clCall, clPushFlags:
			return -8, true
		case clReturn: // the unit goes on only where it was called
			d = 8
			if n.NArgs > 0 {
				d += int64(uint16(n.Args[0].Imm))
			}
			return d, n.followed
		case clPop:
			return 8, n.Args[0].Kind == x86.KindReg && n.Args[0].Reg != gRSP
		}
	}
	if n.NArgs == 0 || n.Args[0].Kind != x86.KindReg || n.Args[0].Reg != uint16(g) || n.Args[0].Size != 8 {
		return 0, false
	}
	imm := n.NArgs == 2 && n.Args[1].Kind == x86.KindImm
	switch n.Op {
	case x86.ADD:
		return n.Args[1].Imm, imm
	case x86.SUB:
		return -n.Args[1].Imm, imm
	case x86.INC:
		return 1, true
	case x86.DEC:
		return -1, true
	case x86.LEA:
		m := &n.Mem
		return m.Disp, m.Base == g && m.Index == x86.NoReg && m.Seg != x86.FS && m.Seg != x86.GS && n.AddrSize == 8
	}
	return 0, false
}

// group finds the groups of the unit.
func (b *builder) group() {
	type open struct {
		lead   int   // index of the first, -1: none
		shift  int64 // what was added to the base since before it
		lo, hi int64
		write  bool
		n      int
	}
	if b.word != 8 || b.r.Plain {
		return
	}
	var groups [16]open
	end := func(g *open) {
		if g.n > 1 {
			n := &b.insts[g.lead]
			n.span.role, n.span.lo, n.span.size = first, int32(g.lo), int32(g.hi-g.lo)
		}
		g.lead, g.n = -1, 0
	}
	for g := range groups {
		groups[g].lead = -1
	}
	for i := range b.insts {
		n := &b.insts[i]
		if n.class == clExit {
			for g := range groups {
				end(&groups[g])
			}
			continue
		}
		a, ok := groupable(n)
		if ok {
			g := &groups[a.base]
			lo := int64(a.disp) + g.shift
			hi := lo + int64(a.size)
			if g.lead >= 0 && (a.write && !g.write || max(hi, g.hi)-min(lo, g.lo) > maxSpan) {
				end(g)
			}
			if g.lead < 0 {
				*g = open{lead: i, lo: int64(a.disp), hi: int64(a.disp) + int64(a.size), write: a.write, n: 1}
			} else {
				g.lo, g.hi, g.n = min(g.lo, lo), max(g.hi, hi), g.n+1
				n.span.role = member
				if n.class != clDivide && n.class != clReturn {
					n.observer = false
				}
			}
		} else {
			n.span.role = apart
		}
		for r := range uint8(16) {
			if n.written>>r&1 == 0 || groups[r].lead < 0 {
				continue
			}
			g := &groups[r]
			d, known := shift(n, r)
			if g.shift += d; !known || g.shift != int64(int32(g.shift)) || max(g.shift, -g.shift) > 1<<20 {
				end(g)
			} else if g.lead == i {
				n.span.after = int32(-d)
			}
		}
	}
	for g := range groups {
		end(&groups[g])
	}
}

// offBase puts the sum of register g and a distance into d, without changing flags.
func (b *builder) offBase(d reg, g uint8, disp int32) {
	b.lea64(d, at(b.value(uint16(g), d), disp))
}

// reachAt returns the host's operand for the access a of n, which is of a group. It destroys rAX, r14 and r15, and the flags
// where n is the first.
func (b *builder) reachAt(n *inst, a access) rm {
	if n.span.role == member {
		b.load64(r14, b.slotAt(int(a.base), layout.SlotDelta))
		if h := hostOf[a.base]; h != noReg {
			return rm{mem: true, reg: h, index: r14, disp: a.disp}
		}
		b.load64(r15, slot(a.base))
		b.lea64(r14, rm{mem: true, reg: r14, index: r15})
		return at(r14, a.disp)
	}
	s := &n.span
	b.offBase(r14, a.base, s.lo)
	b.alu64(5, r14, b.slotAt(int(a.base), slotTag(a.write)))
	b.within(r14, int(a.base), s.size)
	away := b.jcc(ccA)
	back := len(b.b)
	h := hostOf[a.base]
	if h != noReg {
		b.load64(r14, b.slotAt(int(a.base), layout.SlotDelta))
	} else {
		b.alu64(0, r14, b.slotAt(int(a.base), layout.SlotHost))
	}
	b.slow()
	op := &b.colds[len(b.colds)-1]
	op.group, op.access, op.access.disp, op.size = true, a, s.lo+s.after, s.size
	c := cold{from: []int{away}, kind: coldGroup, next: back, access: a, size: s.size}
	c.access.disp = s.lo
	b.colds = append(b.colds, c)
	if h != noReg {
		return rm{mem: true, reg: h, index: r14, disp: a.disp}
	}
	return at(r14, a.disp-s.lo)
}

// fillGroup is cold code: it makes the slot that of the group of c. It returns the jumps that are taken where that is not
// possible, and leaves in r14 the distance of the group's start from that of the page.
func (b *builder) fillGroup(c *cold) []int {
	a := &c.access
	b.offBase(r14, a.base, a.disp)
	b.lea64(r15, at(r14, c.size-1))
	b.lea64(rAX, b.slotAt(int(a.base), 0))
	b.callTo(b.filler(a.write))
	j := b.jcc(ccB)
	b.offBase(r14, a.base, a.disp)
	b.alu64(5, r14, b.slotAt(int(a.base), slotTag(a.write)))
	// The first and the last byte are in one page, which is that of the slot if this has been filled.
	if b.r.User {
		b.aluImm(7, true, inReg(r14), pageSize-c.size)
	} else {
		b.load64(rAX, b.slotAt(int(a.base), layout.SlotLast))
		b.lea64(rAX, at(rAX, interp.Margins[0]-c.size))
		b.alu64(7, r14, inReg(rAX))
	}
	return []int{j, b.jcc(ccA)}
}
