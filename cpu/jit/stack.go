//go:build amd64 && linux

package jit

import "dfemu/cpu/x86"

// push is PUSH of 8 bytes.
func (b *builder) push(n *inst) {
	a := &n.Args[0]
	if a.Kind == x86.KindMem {
		b.reachOperand(n, 8, false, 0)
		b.load64(r14, at(r14, 0))
		b.store64(field(layout.Temp), r14)
	}
	b.lea64(r14, at(hRSP, -8))
	b.reach(gRSP, 8, true, 0)
	switch a.Kind {
	case x86.KindMem:
		b.load64(rAX, field(layout.Temp))
		b.store64(at(r14, 0), rAX)
	case x86.KindReg:
		b.store64(at(r14, 0), b.value(a.Reg, rAX))
	default:
		b.op(0, true, false, mapOne, 0xc7, 0, at(r14, 0))
		b.u32(uint32(a.Imm))
	}
	b.lea64(hRSP, at(hRSP, -8))
}

// pop is POP of 8 bytes into a register.
func (b *builder) pop(n *inst) {
	b.mov64(r14, hRSP)
	b.reach(gRSP, 8, false, 0)
	g := n.Args[0].Reg
	if h := hostOf[g]; h != noReg {
		if g != gRSP {
			b.lea64(hRSP, at(hRSP, 8))
		}
		b.load64(h, at(r14, 0))
		return
	}
	b.load64(rAX, at(r14, 0))
	b.store64(slot(uint8(g)), rAX)
	b.lea64(hRSP, at(hRSP, 8))
}

// leave is LEAVE.
func (b *builder) leave(*inst) {
	b.mov64(r14, hRBP)
	b.reach(gRSP, 8, false, 0)
	b.lea64(hRSP, at(hRBP, 8))
	b.load64(hRBP, at(r14, 0))
}
