//go:build amd64 && linux

package jit

import "dfemu/cpu/x86"

// below puts the address of n bytes below the top of the stack into d.
func (b *builder) below(d reg, n int32) {
	if b.word == 4 {
		b.lea32(d, at(hRSP, -n))
		return
	}
	b.lea64(d, at(hRSP, -n))
}

// loadWord and storeWord move a word of the stack.
func (b *builder) loadWord(d reg, m rm) {
	if b.word == 4 {
		b.load32(d, m)
		return
	}
	b.load64(d, m)
}

func (b *builder) storeWord(m rm, s reg) {
	if b.word == 4 {
		b.store32(m, s)
		return
	}
	b.store64(m, s)
}

// push is PUSH of a word.
func (b *builder) push(n *inst) {
	a := &n.Args[0]
	if a.Kind == x86.KindMem {
		b.loadWord(r14, b.reachOperand(n, b.word, false, 0))
		b.store64(field(layout.Temp), r14)
	}
	x := b.reachStack(n, -b.word, true)
	switch a.Kind {
	case x86.KindMem:
		b.load64(rAX, field(layout.Temp))
		b.storeWord(x, rAX)
	case x86.KindReg:
		b.storeWord(x, b.value(a.Reg, rAX))
	default:
		b.op(0, b.word == 8, false, mapOne, 0xc7, 0, x)
		b.u32(uint32(a.Imm))
	}
	b.below(hRSP, b.word)
}

// top puts an address or an instruction pointer into r14.
func (b *builder) top(from reg) {
	if b.word == 4 {
		b.mov32(r14, from)
		return
	}
	b.mov64(r14, from)
}

// pop is POP of a word into a register.
func (b *builder) pop(n *inst) {
	x := b.reachStack(n, 0, false)
	g := n.Args[0].Reg
	if h := hostOf[g]; h != noReg {
		b.loadWord(h, x)
		if g != gRSP {
			b.below(hRSP, -b.word)
		}
		return
	}
	b.load64(rAX, x)
	b.store64(slot(uint8(g)), rAX)
	b.below(hRSP, -b.word)
}

// leave is LEAVE.
func (b *builder) leave(n *inst) {
	x := rm{}
	if n.span.role == first || n.span.role == member {
		a, _ := groupable(n)
		x = b.reachAt(n, a)
	} else {
		b.top(hRBP)
		b.reach(gRBP, b.word, false, 0)
		x = at(r14, 0)
	}
	if b.word == 4 {
		b.lea32(hRSP, at(hRBP, b.word))
	} else {
		b.lea64(hRSP, at(hRBP, b.word))
	}
	b.loadWord(hRBP, x)
}
