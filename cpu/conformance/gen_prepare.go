package conformance

import "dfemu/cpu/x86"

// selectors are worth loading, verifying and jumping through: user and kernel
// segments of Linux with each privilege, null, system, empty and missing
// descriptors, and ones in the LDT, which is empty.
var selectors = []uint16{0, 1, 2, 3, selData, selData, selData, selCode64, selCode64, selCode32, selCode32, 0x28, 0x29, 0x30, 0x20,
	0x08, 0x0b, 0x10, 0x13, 0x18, 0x1b, 0x40, 0x43, 0x48, 0x50, 0x60, 0x63, 0x6b, 0x73, 0x80, 0x83, 0x1003, 0xffff, 4, 7, 0x2f, 0x37}

// setArg gives a source operand a value: in its register or in memory.
func (g *generator) setArg(i int, v uint64) {
	c := g.c
	a := &c.Inst.Args[i]
	switch a.Kind {
	case x86.KindReg:
		p := &c.Regs.GPR[a.Reg&15]
		switch {
		case a.High:
			*p = *p&^0xff00 | v&0xff<<8
		case a.Size == 8:
			*p = v
		case a.Size > 0:
			mask := uint64(1)<<(8*a.Size) - 1
			*p = *p&^mask | v&mask
		}
	case x86.KindMem:
		g.pokeInt(c.Operand, v, min(int(a.Size), 8))
	case x86.KindVec:
		c.Regs.Vec[a.Reg&15][0] = v
	}
}

// isMem reports whether operand i is in memory. What is there must not be given
// through a register then, which may be part of its address.
func (g *generator) isMem(i int) bool { return g.c.Inst.Args[i].Kind == x86.KindMem }

// lowStack makes the stack pointer one that the stack of a 32-bit code segment can have too.
func (g *generator) lowStack() {
	if p := &g.c.Regs.GPR[x86.RSP]; !g.addresses(x86.RSP) {
		*p = uint64(uint32(*p))
		if off := *p - highBase&0xffffffff; off < dataAll {
			*p = dataBase + off
		}
	}
}

// codeAddress returns somewhere to jump to.
func (g *generator) codeAddress() uint64 {
	r := &g.r
	switch {
	case r.pct(6):
		return g.target(1, g.f.Mode != x86.Mode64)
	case r.pct(4):
		return codeBase + codeSize - uint64(r.n(3))
	}
	return codeBase + uint64(r.n(codeSize))
}

// prepare makes the state such that the instruction has something to do.
func (g *generator) prepare() {
	r, c, f := &g.r, g.c, g.f
	gpr := &c.Regs.GPR
	switch op := c.Inst.Op; op {
	case x86.DIV, x86.IDIV:
		if f.OpSize > 1 && !g.addresses(x86.RDX) && r.pct(80) {
			gpr[x86.RDX] = pick(r, []uint64{0, uint64(r.n(16)), gpr[x86.RDX] >> 40, uint64(int64(gpr[x86.RAX]<<(64-8*f.OpSize)) >> 63)})
		}
	case x86.ROL, x86.ROR, x86.RCL, x86.RCR, x86.SHL, x86.SHR, x86.SAR, x86.SHLD, x86.SHRD:
		if !g.addresses(x86.RCX) && r.pct(80) {
			gpr[x86.RCX] = gpr[x86.RCX]&^0xff | uint64(r.n(70))
		}
	case x86.BEXTR, x86.BZHI:
		if i := 2; c.Inst.Args[i].Kind == x86.KindReg && !g.addresses(c.Inst.Args[i].Reg) && r.pct(80) {
			gpr[c.Inst.Args[i].Reg] = uint64(r.n(72) | r.n(72)<<8)
		}
	case x86.LOOP, x86.LOOPE, x86.LOOPNE, x86.JCXZ, x86.JECXZ, x86.JRCXZ:
		gpr[x86.RCX] = pick(r, []uint64{0, 1, 2, gpr[x86.RCX], gpr[x86.RCX] << 32, 1 << 32})
	case x86.CMPXCHG:
		if r.pct(50) {
			v := gpr[x86.RAX]
			if c.Inst.Args[0].Kind != x86.KindReg || c.Inst.Args[0].Reg != x86.RAX {
				g.setArg(0, v)
			}
		}
	case x86.CMPXCHG8B, x86.CMPXCHG16B:
		if r.pct(60) {
			half := int(c.Inst.Args[0].Size) / 2
			g.pokeInt(c.Operand, gpr[x86.RAX], half)
			g.pokeInt(c.Operand+uint64(half), gpr[x86.RDX], half)
		}
	case x86.LAR, x86.LSL:
		g.setArg(1, uint64(pick(r, selectors)))
	case x86.VERR, x86.VERW, x86.LLDT, x86.LTR:
		g.setArg(0, uint64(pick(r, selectors)))
	case x86.ARPL:
		if r.pct(60) {
			g.setArg(0, uint64(pick(r, selectors)))
		}
	case x86.MOVSEG:
		if c.Inst.Args[0].Kind == x86.KindSeg {
			g.setArg(1, uint64(pick(r, selectors)))
		}
	case x86.LFS, x86.LGS, x86.LSS, x86.LDS, x86.LES:
		g.pokeInt(c.Operand+uint64(f.OpSize), uint64(pick(r, selectors)), 2)
	case x86.JMPFAR, x86.CALLFAR:
		if !g.addresses(x86.RSP) {
			gpr[x86.RSP] = g.stack(true)
			g.lowStack()
		}
		if g.isMem(0) {
			g.pokeInt(c.Operand, g.codeAddress(), int(f.OpSize))
			sel := pick(r, selectors)
			if sp := gpr[x86.RSP]; sel&^3 == selCode32&^3 && (sp>>32 != 0 || sp < 16) {
				sel = selCode64 // the stack as it is before or after the change of mode: that is not defined
			}
			g.pokeInt(c.Operand+uint64(f.OpSize), uint64(sel), 2)
		} else {
			g.choice.Args[0].Imm = int64(g.codeAddress() & (1<<(8*f.OpSize) - 1))
			g.choice.Args[0].Reg = pick(r, selectors)
		}
	case x86.JMP, x86.CALL:
		if k := c.Inst.Args[0].Kind; k == x86.KindReg || k == x86.KindMem {
			g.setArg(0, g.codeAddress())
		}
		if op == x86.CALL && !g.addresses(x86.RSP) && !(c.Inst.Args[0].Kind == x86.KindReg && c.Inst.Args[0].Reg == x86.RSP) {
			gpr[x86.RSP] = g.stack(true)
		}
	case x86.POPF, x86.IRET, x86.RET, x86.RETFAR, x86.POPSEG, x86.PUSH, x86.POP, x86.PUSHF, x86.PUSHSEG,
		x86.PUSHA, x86.POPA, x86.LEAVE, x86.ENTER:
		g.prepareStack()
	case x86.INT:
		for g.choice.Args[0].Imm == 0x80 {
			g.choice.Args[0].Imm = int64(r.u64() & 0xff)
		}
	case x86.MOVS, x86.CMPS, x86.STOS, x86.LODS, x86.SCAS, x86.INS, x86.OUTS:
		g.prepareString()
	case x86.FXRSTOR, x86.XRSTOR, x86.XSAVE, x86.XSAVEOPT, x86.XSAVEC, x86.LDMXCSR, x86.VLDMXCSR, x86.FLDCW, x86.FLDENV, x86.FRSTOR:
		g.prepareImage()
	case x86.CVTPI2PS:
		if g.isMem(1) { // AMD does not look at pending x87 exceptions then
			c.Regs.FPU.SW &^= swExceptions | swES | swBusy
		}
	case x86.F2XM1, x86.FYL2XP1:
		if !inDomain(c) { // so that no more than the result is undefined
			c.Regs.FPU.CW |= swExceptions
			c.Regs.FPU.SW &^= swES | swBusy
		}
	case x86.WRFSBASE, x86.WRGSBASE:
		if r.pct(80) {
			gpr[c.Inst.Args[0].Reg] = g.segmentBase()
		}
	case x86.PCMPESTRI, x86.PCMPESTRM, x86.VPCMPESTRI, x86.VPCMPESTRM:
		for _, reg := range []uint16{x86.RAX, x86.RDX} {
			if !g.addresses(reg) && r.pct(80) {
				gpr[reg] = uint64(int64(r.n(48) - 24))
			}
		}
		g.strings()
	case x86.PCMPISTRI, x86.PCMPISTRM, x86.VPCMPISTRI, x86.VPCMPISTRM:
		g.strings()
	case x86.BOUND:
		half := int(f.OpSize)
		v := gpr[c.Inst.Args[0].Reg]
		g.pokeInt(c.Operand, v-uint64(r.n(4))+1, half)
		g.pokeInt(c.Operand+uint64(half), v+uint64(r.n(4))-1, half)
	case x86.AAA, x86.AAS, x86.DAA, x86.DAS, x86.AAM, x86.AAD:
		if r.pct(50) {
			gpr[x86.RAX] = gpr[x86.RAX]&^0xffff | uint64(r.n(0x100)) | uint64(r.n(10))<<8
		}
	default:
		g.prepareShift()
	}
}

// addresses reports whether a register is part of the operand's address.
func (g *generator) addresses(reg uint16) bool {
	m := &g.choice.Mem
	return uint16(m.Base) == reg || uint16(m.Index) == reg && !m.VSIB
}

// prepareShift makes the counts of packed shifts small.
func (g *generator) prepareShift() {
	c := g.c
	name := c.Inst.Op.String()
	if name[0] == 'V' {
		name = name[1:]
	}
	if len(name) < 5 || name[:3] != "PSL" && name[:3] != "PSR" || !g.r.pct(70) {
		return
	}
	i := int(c.Inst.NArgs) - 1
	a := &c.Inst.Args[i]
	v := uint64(g.r.n(70))
	switch {
	case name[3] == 'L' && name[4] == 'V' || name[3] == 'A' && name[4] == 'V':
		for j := range 4 {
			n := uint64(g.r.n(70)) | uint64(g.r.n(40))<<32
			switch a.Kind {
			case x86.KindVec:
				c.Regs.Vec[a.Reg][j] = n
			case x86.KindMem:
				g.pokeInt(c.Operand+uint64(8*j), n, 8)
			}
		}
	case a.Kind == x86.KindVec, a.Kind == x86.KindMem:
		g.setArg(i, v)
	case a.Kind == x86.KindMMX:
		p := &c.Regs.FPU
		p.R[a.Reg&7].Mant = v
	}
}

// strings fills the operands of string comparisons with few different characters and a zero.
func (g *generator) strings() {
	r, c := &g.r, g.c
	if !r.pct(70) {
		return
	}
	alphabet := byte(1 + r.n(5))
	var b [16]byte
	text := func() {
		for i := range b {
			b[i] = byte(r.u64()) % alphabet
			if r.pct(80) && b[i] == 0 {
				b[i] = 'a'
			}
		}
	}
	for i := range 2 {
		text()
		switch a := &c.Inst.Args[i]; a.Kind {
		case x86.KindVec:
			for j := range 2 {
				var v uint64
				for k := range 8 {
					v |= uint64(b[8*j+k]) << (8 * k)
				}
				c.Regs.Vec[a.Reg][j] = v
			}
		case x86.KindMem:
			g.poke(c.Operand, b[:])
		}
	}
}

// prepareString places what MOVS and CMPS do not name, makes equal elements, and bounds the count.
func (g *generator) prepareString() {
	r, c, f := &g.r, g.c, g.f
	gpr := &c.Regs.GPR
	op := c.Inst.Op
	dst := gpr[x86.RDI]
	if op == x86.MOVS || op == x86.CMPS {
		dst = g.target(int(f.OpSize), f.AddrSize != 8 || f.Mode != x86.Mode64)
		if dst&g.addressMask() != dst {
			dst = dataBase
		}
		g.setAddress(x86.RDI, dst)
	}
	count := r.n(24)
	if f.Rep || f.Repne {
		v := uint64(count)
		if r.pct(10) {
			v = r.integer(8)
		}
		if op == x86.MOVS && inHigh(c.Operand) != inHigh(dst) {
			// Processors that move more than an element at a time look for
			// overlap by linear address, and here are two of the same memory.
			v = uint64(count) & 1
		}
		mask := g.addressMask()
		gpr[x86.RCX] = v
		if mask != ^uint64(0) && f.Mode == x86.Mode64 {
			gpr[x86.RCX] = v&mask | r.u64()&^mask
		}
		if f.Mode != x86.Mode64 {
			gpr[x86.RCX] &= 0xffffffff
		}
	}
	if op != x86.CMPS && op != x86.SCAS || !r.pct(75) {
		return
	}
	// Runs of equal elements around both operands.
	v := r.u64()
	if op == x86.SCAS && r.pct(50) {
		v = gpr[x86.RAX]
	}
	if op == x86.SCAS && r.pct(50) {
		gpr[x86.RAX] = v
	}
	n := count * int(f.OpSize)
	for _, va := range [...]uint64{c.Operand, dst} {
		for i := -n; i <= n; i += int(f.OpSize) {
			if !r.pct(3) {
				g.pokeInt(va+uint64(int64(i)), v, int(f.OpSize))
			}
		}
	}
}

// inHigh reports whether an address is one of the second addresses of the data pages, or near them.
func inHigh(va uint64) bool { return va>>32 == highBase>>32 }

// prepareStack gives instructions that use the stack one that sometimes faults,
// with what they pop.
func (g *generator) prepareStack() {
	r, c, f := &g.r, g.c, g.f
	gpr := &c.Regs.GPR
	if !g.addresses(x86.RSP) {
		gpr[x86.RSP] = g.stack(true)
	}
	sp := gpr[x86.RSP]
	size := int(f.OpSize)
	word := uint64(size)
	flags := r.u64()&(x86.ArithFlags|x86.DF|x86.AC|x86.ID|x86.NT|x86.IOPL|x86.IF|x86.RF) | x86.Flag1
	if r.pct(50) {
		flags &^= x86.NT | x86.AC
	}
	switch c.Inst.Op {
	case x86.POPF:
		if r.pct(20) {
			flags |= x86.TF
		}
		g.pokeInt(sp, flags, size)
	case x86.RET:
		g.pokeInt(sp, g.codeAddress(), size)
	case x86.RETFAR:
		g.lowStack()
		sp = gpr[x86.RSP]
		g.pokeInt(sp, g.codeAddress(), size)
		g.pokeInt(sp+word, uint64(pick(r, selectors)), size)
	case x86.IRET:
		cs, ss := pick(r, selectors), pick(r, selectors)
		if r.pct(60) {
			cs, ss = selCode64, selData
			if r.pct(30) {
				cs = selCode32
			}
		}
		if f.Mode == x86.Mode64 {
			c.Regs.RFLAGS &^= x86.NT
		}
		g.lowStack()
		sp = gpr[x86.RSP]
		g.pokeInt(sp, g.codeAddress(), size)
		g.pokeInt(sp+word, uint64(cs), size)
		g.pokeInt(sp+2*word, flags, size)
		g.pokeInt(sp+3*word, g.stack(false), size)
		g.pokeInt(sp+4*word, uint64(ss), size)
	case x86.POPSEG:
		g.pokeInt(sp, uint64(pick(r, selectors)), 2)
	case x86.LEAVE, x86.ENTER:
		gpr[x86.RBP] = g.stack(true)
		if c.Inst.Op == x86.ENTER {
			g.choice.Args[0].Imm = int64(r.n(256) << r.n(9) & 0xffff)
			g.choice.Args[1].Imm = int64(r.n(4))
			if r.pct(30) {
				g.choice.Args[1].Imm = int64(r.u64() & 0xff)
			}
		}
	}
}

// xstate is what XSAVE and its relatives may be asked for: x87, SSE and AVX,
// and bits that no processor has. The host's XCR0 has more.
const xstate = 7

// savesState reports whether an instruction is XSAVE or one of its relatives.
func savesState(op x86.Op) bool {
	return op == x86.XSAVE || op == x86.XSAVEOPT || op == x86.XSAVEC || op == x86.XRSTOR
}

// prepareImage puts an image of the x87 and vector state in memory, mostly a valid one.
func (g *generator) prepareImage() {
	r, c := &g.r, g.c
	va := c.Operand
	gpr := &c.Regs.GPR
	mxcsr := r.u64() & 0xffff
	if r.pct(8) {
		mxcsr |= 1 << (16 + r.n(16)) &^ (1 << 17) // AMD has a bit 17
	}
	switch c.Inst.Op {
	case x86.LDMXCSR, x86.VLDMXCSR:
		g.pokeInt(va, mxcsr, 4)
	case x86.FLDCW:
		if r.pct(70) {
			g.pokeInt(va, r.u64()|0x3f, 2)
		}
	case x86.FLDENV, x86.FRSTOR:
		g.flavor = flavorF80
		if r.pct(60) {
			g.pokeInt(va, r.u64()|0x3f, 2)
		}
	case x86.FXRSTOR, x86.XRSTOR:
		for i := range uint64(8) {
			f := r.f80()
			g.pokeInt(va+32+16*i, f.Mant, 8)
			g.pokeInt(va+40+16*i, uint64(f.SE), 2)
		}
		g.pokeInt(va, r.u64()|0x3f, 2)
		g.pokeInt(va+24, mxcsr, 4)
	}
	if !savesState(c.Inst.Op) {
		return
	}
	gpr[x86.RAX] = r.u64()<<32 | uint64(r.n(xstate+1))
	gpr[x86.RDX] = r.u64() << 32
	if c.Inst.Op != x86.XRSTOR {
		return
	}
	bv := uint64(r.n(xstate + 1))
	compact := uint64(0)
	if r.pct(30) {
		compact = 1<<63 | bv | uint64(r.n(xstate+1))
	}
	if r.pct(6) {
		bv |= 1 << (10 + r.n(54))
	}
	g.pokeInt(va+512, bv, 8)
	g.pokeInt(va+520, compact, 8)
	for i := range uint64(6) {
		v := uint64(0)
		if r.pct(2) {
			v = 1
		}
		g.pokeInt(va+528+8*i, v, 8)
	}
}
