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
		x.disp = int32(int64(b.page) + int64(n.next) + m.Disp)
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
		d := int64(b.page) + int64(n.next) + m.Disp
		return d == int64(int32(d)) && n.AddrSize == 8
	}
	return true
}

// reach turns the linear address in r14 into that of the host, for an access of size bytes. Where the TLB does
// not answer, or the address is not aligned to align bytes (0: need not be), the interpreter
// executes the instruction. page is the index of the copy of a TLB entry to try first, or -1. It destroys rAX, r15 and the flags.
func (b *builder) reach(page int, size int32, write bool, align uint8) {
	var from []int
	if align > 1 {
		b.op(0, false, false, mapOne, 0xf7, 0, inReg(r14))
		b.u32(uint32(align - 1))
		from = append(from, b.jcc(ccNE))
	}
	tag, stub := layout.TLBRead, b.t.stubs.read
	if write {
		tag, stub = layout.TLBWrite, b.t.stubs.write
	}
	entry := layout.Pages + int32(page)*layout.TLBEntrySize
	var away []int // to where the TLB itself is asked
	b.mov64(r15, r14)
	b.aluImm(4, true, inReg(r15), -pageSize)
	if size > 1 {
		// An access that leaves the page of its first byte may wrap around the address space: the ends of
		// accesses are not compared, beginnings are.
		b.lea64(rAX, at(r15, pageSize-size))
		b.alu64(7, r14, inReg(rAX))
		away = append(away, b.jcc(ccA))
	}
	b.alu64(1, r15, field(layout.Ctx))
	b.alu64(7, r15, field(entry+tag))
	away = append(away, b.jcc(ccNE))
	back := len(b.b)
	b.alu64(0, r14, field(entry+layout.TLBDelta))
	b.slow(from...)
	b.colds = append(b.colds, cold{from: away, kind: coldPage, next: back, stub: stub, page: entry, size: size})
}

// pageOf is the index of the copy of a TLB entry for n's memory operand.
func (b *builder) pageOf(n *inst) int {
	m := &n.Mem
	switch {
	case m.Seg == x86.FS:
		return interp.PageFS
	case m.Seg == x86.GS:
		return interp.PageGS
	case m.Base < 16:
		return int(m.Base)
	}
	return interp.PageRIP
}

// reachOperand makes r14 the host's address of n's memory operand.
func (b *builder) reachOperand(n *inst, size int32, write bool, align uint8) {
	b.address(n)
	b.reach(b.pageOf(n), size, write, align)
}
