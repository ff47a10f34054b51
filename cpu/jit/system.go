//go:build amd64 && linux

package jit

import (
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// interruptFlag is CLI and STI at CPL 0. An STI after which there may be an interrupt to take is left to the interpreter.
func (b *builder) interruptFlag(n *inst) {
	if n.Op == x86.CLI {
		b.aluImm(4, false, field(layout.RFLAGS), ^int32(x86.IF))
		return
	}
	b.cmp8(field(layout.Held), 0)
	b.slow(b.jcc(ccNE))
	b.aluImm(1, false, field(layout.RFLAGS), int32(x86.IF))
}

// accessFlag is CLAC and STAC at CPL 0.
func (b *builder) accessFlag(n *inst) {
	if n.Op == x86.CLAC {
		b.aluImm(4, false, field(layout.RFLAGS), ^int32(x86.AC))
		b.aluImm(4, false, field(layout.Ctx), ^int32(interp.ContextAC))
		return
	}
	b.aluImm(1, false, field(layout.RFLAGS), int32(x86.AC))
	b.aluImm(1, false, field(layout.Ctx), int32(interp.ContextAC))
}

// pushFlags is PUSHF of 8 bytes.
func (b *builder) pushFlags(*inst) {
	b.lea64(r14, at(hRSP, -8))
	b.reach(interp.SlotNone, 8, true, 0)
	// In memory the low byte is in bits 8 to 15, OF in bit 0.
	b.op(0, false, false, map0F, 0xb6, uint8(r15), field(layout.Flags+1))
	b.op(0, false, false, map0F, 0xb6, uint8(rAX), field(layout.Flags))
	b.op(0, false, false, mapOne, 0xc1, 4, inReg(rAX))
	b.byte(11)
	b.op(0, false, false, mapOne, 0x0b, uint8(rAX), inReg(r15))
	b.op(0, false, false, mapOne, 0x0b, uint8(rAX), field(layout.RFLAGS))
	b.aluImm(4, false, inReg(rAX), ^int32(x86.VM|x86.RF))
	b.store64(at(r14, 0), rAX)
	b.lea64(hRSP, at(hRSP, -8))
}

// selector is MOV from a segment register to a general-purpose one.
func (b *builder) selector(n *inst) {
	b.op(0, false, false, map0F, 0xb7, uint8(rAX), field(layout.Selector[n.Args[1].Reg]))
	g := n.Args[0].Reg
	if n.OpSize > 2 {
		b.set(g, rAX)
		return
	}
	x := slot(uint8(g))
	if h := hostOf[g]; h != noReg {
		x = inReg(h)
	}
	b.op(0x66, false, false, mapOne, 0x89, uint8(rAX), x)
}

// swap is SWAPGS at CPL 0.
func (b *builder) swap() {
	b.load64(rAX, field(layout.Base[x86.GS]))
	b.load64(r15, field(layout.KernelGSBase))
	b.store64(field(layout.KernelGSBase), rAX)
	b.store64(field(layout.Base[x86.GS]), r15)
	b.store64(field(layout.SegBase+8*x86.GS), r15)
}

// segmentBase is RDFSBASE, RDGSBASE, WRFSBASE and WRGSBASE. Where CR4.FSGSBASE is 0, or an address would take more than 48 bits, the interpreter
// executes it.
func (b *builder) segmentBase(n *inst) {
	seg, g := x86.FS, n.Args[0].Reg
	if n.Op == x86.RDGSBASE || n.Op == x86.WRGSBASE {
		seg = x86.GS
	}
	b.op(0, false, false, mapOne, 0xf7, 0, field(layout.CR4)) // test
	b.u32(x86.CR4_FSGSBASE)
	from := []int{b.jcc(ccE)}
	shadow, base := field(layout.Base[seg]), field(layout.SegBase+8*int32(seg))
	if n.Op == x86.RDFSBASE || n.Op == x86.RDGSBASE {
		if n.OpSize == 4 {
			b.load32(rAX, shadow)
		} else {
			b.load64(rAX, shadow)
		}
		b.slow(from...)
		b.set(g, rAX)
		return
	}
	v := b.value(g, r14)
	if n.OpSize == 4 {
		b.mov32(r14, v)
	} else {
		b.mov64(r14, v)
		b.mov64(rAX, v)
		b.op(0, true, false, mapOne, 0xc1, 4, inReg(rAX)) // shl
		b.byte(16)
		b.op(0, true, false, mapOne, 0xc1, 7, inReg(rAX)) // sar
		b.byte(16)
		b.alu64(7, rAX, inReg(r14))
		from = append(from, b.jcc(ccNE))
	}
	b.slow(from...)
	b.store64(shadow, r14)
	b.store64(base, r14)
}

// bit is BT, BTS, BTR or BTC of a string of bits in memory, at a place in it given by a register.
func (b *builder) bit(n *inst) {
	g := n.Args[1].Reg
	w := n.OpSize == 8
	shift, scale, mask := uint8(5), uint8(2), int32(31)
	if w {
		shift, scale, mask = 6, 3, 63
	}
	b.address(n)
	if w {
		b.mov64(r15, b.value(g, r15))
	} else {
		s := b.value(g, r15)
		b.op(0, true, false, mapOne, 0x63, uint8(r15), inReg(s))
	}
	b.op(0, true, false, mapOne, 0xc1, 7, inReg(r15))
	b.byte(shift)
	b.lea64(r14, rm{mem: true, reg: r14, index: r15, scale: scale})
	b.reach(b.slotOf(n), int32(n.OpSize), n.Op != x86.BT, 0)
	s := b.value(g, r15)
	b.mov32(r15, s)
	b.aluImm(4, false, inReg(r15), mask)
	b.preserveFlags(n)
	if n.Lock {
		b.byte(0xf0)
	}
	b.op(0, w, false, map0F, n.Enc.Code, uint8(r15), at(r14, 0))
}
