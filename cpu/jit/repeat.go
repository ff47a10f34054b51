//go:build amd64 && linux

package jit

import (
	"math/bits"

	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// Kernels clear and copy small structures with REP STOS and REP MOVS. Where all bytes that one reaches are in one page, or one of the source and
// one of the destination, the host's processor executes the same instruction on its own addresses. The rest, and what has DF set, is
// the interpreter's.

// repeatable reports whether n is such an instruction.
func (b *builder) repeatable(n *inst) bool {
	return (n.Op == x86.STOS || n.Op == x86.MOVS) && n.Rep && !n.Repne && n.AddrSize == 8 && n.Mem.Seg != x86.FS && n.Mem.Seg != x86.GS
}

// The slots of the two ends of a move.
const (
	slotTo   = interp.SlotCount - 1
	slotFrom = interp.SlotCount - 2
)

// repeat is REP STOS and REP MOVS.
func (b *builder) repeat(n *inst) {
	// test DF
	b.op(0, false, false, mapOne, 0xf6, 0, field(layout.RFLAGS+1))
	b.byte(x86.DF >> 8)
	down := b.jcc(ccNE)
	b.aluImm(7, true, inReg(rCX), pageSize/int32(n.OpSize))
	many := b.jcc(ccA)
	b.op(0, true, false, mapOne, 0x85, uint8(rCX), inReg(rCX)) // test
	none := b.jcc(ccE)
	b.slow(down, many)
	b.run(n, rDI, slotTo, true)
	moved := r15 // the distance of RDI from the host's address
	if n.Op == x86.MOVS {
		moved = rAX // r15 is that of RSI
		b.store64(field(layout.Temp), r14)
		b.slow()
		b.run(n, rSI, slotFrom, false)
		b.mov64(r15, r14)
		b.alu64(5, r15, inReg(rSI))
		b.mov64(rSI, r14)
		b.load64(r14, field(layout.Temp))
	}
	b.mov64(moved, r14)
	b.alu64(5, moved, inReg(rDI))
	b.mov64(rDI, r14)
	if n.Op == x86.STOS {
		b.mov64(rAX, hRAX)
	}
	code := n.Enc.Code
	switch n.OpSize {
	case 2:
		b.byte(0x66, 0xf3, code)
	case 8:
		b.byte(0xf3, 0x48, code)
	default:
		b.byte(0xf3, code)
	}
	b.alu64(5, rDI, inReg(moved))
	if n.Op == x86.MOVS {
		b.alu64(5, rSI, inReg(r15))
	}
	b.land(none)
}

// run puts into r14 where in the host the bytes are that n reaches from the one at the address in p on, RCX times its operand size. Where they are not
// in one page that may be accessed, it goes to the interpreter by the way that was added last. It destroys rAX and r15.
func (b *builder) run(n *inst, p reg, slot int, write bool) {
	scale := uint8(bits.TrailingZeros8(n.OpSize))
	b.mov64(r14, p)
	b.alu64(5, r14, b.slotAt(slot, slotTag(write)))
	b.within(r14, slot, 1)
	from := []int{b.jcc(ccA)}
	end := rm{mem: true, reg: r14, index: rCX, scale: scale}
	if b.r.User {
		b.lea64(rAX, end)
		b.aluImm(7, true, inReg(rAX), pageSize)
	} else {
		end.disp = -interp.Margins[0]
		b.lea64(rAX, end)
		b.alu64(7, rAX, b.slotAt(slot, layout.SlotLast))
	}
	from = append(from, b.jcc(ccG))
	b.alu64(0, r14, b.slotAt(slot, layout.SlotHost))
	b.colds = append(b.colds, cold{from: from, kind: coldRun, next: len(b.b), slot: slot, write: write, found: found{base: p}, size: int32(scale)})
}

// fillRun is cold code: the bytes of c are not in the page that the slot has.
func (b *builder) fillRun(c *cold, miss uintptr) {
	b.mov64(r14, c.base)
	b.lea64(r15, rm{mem: true, reg: c.base, index: rCX, scale: uint8(c.size), disp: -1})
	b.lea64(rAX, b.slotAt(c.slot, 0))
	b.callTo(b.filler(c.write))
	b.jccTo(ccB, miss)
	b.jumpTo(b.base + uintptr(c.next))
}
