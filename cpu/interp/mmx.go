package interp

import "dfemu/cpu/x86"

// The MMX registers are the significands of the x87 registers, by physical
// number. Executing any MMX instruction sets TOP to 0 and marks all
// registers as in use, or EMMS as empty; writing one sets its exponent to all ones (Intel SDM vol. 1, 9.5).

// swTop is TOP in the x87 status word.
const swTop = 7 << 11

// mmxUse notes that an MMX instruction is executed; it can no longer fault.
func (c *CPU) mmxUse() {
	c.s.FPU.SW &^= swTop
	c.s.FPU.Tag = 0xff
}

func (c *CPU) mm(n uint8) uint64 { return c.s.FPU.R[n&7].Mant }

func (c *CPU) setMM(n uint8, v uint64) { c.s.FPU.R[n&7] = x86.F80{Mant: v, SE: 0xffff} }

// mmxFunc computes an MMX instruction that has no quadFunc.
type mmxFunc = func(a, b, imm uint64) uint64

// mmxOps are the MMX forms of instructions whose 128-bit form mixes the elements of
// a lane. Where a lane of both operands gives the result, that is used.
var mmxOps = [opSlots]mmxFunc{
	x86.PACKSSWB: func(a, b, _ uint64) uint64 { return packsswb(lane{a, b}, lane{}, 0).lo },
	x86.PACKUSWB: func(a, b, _ uint64) uint64 { return packuswb(lane{a, b}, lane{}, 0).lo },
	x86.PACKSSDW: func(a, b, _ uint64) uint64 { return packssdw(lane{a, b}, lane{}, 0).lo },

	x86.PUNPCKLBW: func(a, b, _ uint64) uint64 { return interleaveBytes(a, b).lo },
	x86.PUNPCKLWD: func(a, b, _ uint64) uint64 { return interleaveWords(a, b).lo },
	x86.PUNPCKLDQ: func(a, b, _ uint64) uint64 { return interleaveDwords(a, b).lo },
	x86.PUNPCKHBW: func(a, b, _ uint64) uint64 { return interleaveBytes(a, b).hi },
	x86.PUNPCKHWD: func(a, b, _ uint64) uint64 { return interleaveWords(a, b).hi },
	x86.PUNPCKHDQ: func(a, b, _ uint64) uint64 { return interleaveDwords(a, b).hi },

	x86.PSHUFB: func(a, b, _ uint64) uint64 { return pshufb(lane{a, a}, lane{b, b}, 0).lo },
	x86.PSHUFW: func(_, b, imm uint64) uint64 { return shuffleWords(b, imm) },
	x86.PALIGNR: func(a, b, imm uint64) uint64 {
		return lane{b, a}.shiftRight(imm).lo
	},

	x86.PHADDW:  func(a, b, _ uint64) uint64 { return joinWords(a, b, false) },
	x86.PHADDSW: func(a, b, _ uint64) uint64 { return joinWordsSat(a, b, false) },
	x86.PHADDD:  func(a, b, _ uint64) uint64 { return joinDwords(a, b, false) },
	x86.PHSUBW:  func(a, b, _ uint64) uint64 { return joinWords(a, b, true) },
	x86.PHSUBSW: func(a, b, _ uint64) uint64 { return joinWordsSat(a, b, true) },
	x86.PHSUBD:  func(a, b, _ uint64) uint64 { return joinDwords(a, b, true) },
}

// compileMMX takes the instructions on MMX registers, but for conversions from and to
// floating point. o.size is the number of bytes of the memory operand.
func compileMMX(in *x86.Inst, o *Op) bool {
	op := in.Op
	switch op {
	case x86.EMMS:
		o.fn = emms
		return true
	case x86.MOVQ2DQ:
		bindMMX(in, o)
		o.fn = movq2dq
		return true
	case x86.MOVDQ2Q:
		bindMMX(in, o)
		o.fn = movdq2q
		return true
	case x86.MOVD, x86.MOVQ, x86.MOVNTQ:
		bindMMX(in, o)
		compileMMXMove(in, o)
		return true
	case x86.MASKMOVQ:
		bindMMX(in, o)
		o.dst, o.src = uint8(in.Args[0].Reg), uint8(in.Args[1].Reg)
		o.fn = maskmovq
		return true
	case x86.PINSRW:
		bindMMX(in, o)
		o.fn = mmxPINSRW
		return true
	case x86.PEXTRW:
		bindMMX(in, o)
		o.fn = mmxPEXTRW
		return true
	case x86.PMOVMSKB:
		bindMMX(in, o)
		o.fn = mmxPMOVMSKB
		return true
	}
	var fn handler
	switch {
	case quadOps[op&opMask] != nil:
		fn = mmxQuad
	case mmxOps[op&opMask] != nil:
		fn = mmxMix
	case shiftOps[op&opMask] != nil:
		fn = mmxShift
		if in.Args[1].Kind == x86.KindImm {
			fn = mmxShiftImm
		}
	default:
		return false
	}
	bindMMX(in, o)
	o.imm = o.imm*opSlots | uint64(op)
	o.fn = fn
	return true
}

// bindMMX puts the operands of in into o.
func bindMMX(in *x86.Inst, o *Op) {
	bindVec(in, o)
	o.size = 8
	for i := range in.NArgs {
		if isMem(in, int(i)) {
			o.size = in.Args[i].Size
		}
	}
}

// mmxSource returns the last operand: a register, or memory, zero-extended.
func (c *CPU) mmxSource(o *Op) (uint64, bool) {
	if o.aux&auxMem != 0 {
		return c.loadPart(o, o.size)
	}
	return c.mm(o.src), true
}

func mmxQuad(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	b, ok := c.mmxSource(o)
	if !ok {
		return stFault
	}
	c.mmxUse()
	c.setMM(o.dst, quadOps[o.imm&opMask](c.mm(o.dst), b))
	return stNext
}

func mmxMix(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	b, ok := c.mmxSource(o)
	if !ok {
		return stFault
	}
	c.mmxUse()
	c.setMM(o.dst, mmxOps[o.imm&opMask](c.mm(o.dst), b, o.imm/opSlots))
	return stNext
}

func mmxShift(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	n, ok := c.mmxSource(o)
	if !ok {
		return stFault
	}
	c.mmxUse()
	c.setMM(o.dst, shiftOps[o.imm&opMask](c.mm(o.dst), n))
	return stNext
}

func mmxShiftImm(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	c.mmxUse()
	c.setMM(o.dst, shiftOps[o.imm&opMask](c.mm(o.dst), o.imm/opSlots))
	return stNext
}

// compileMMXMove takes MOVD, MOVQ and MOVNTQ.
func compileMMXMove(in *x86.Inst, o *Op) {
	dst, src := in.Args[0].Kind, in.Args[1].Kind
	switch {
	case dst == x86.KindMem:
		o.fn = mmxStore
	case dst == x86.KindReg:
		o.size = in.Args[0].Size
		o.fn = mmxToReg
	case src == x86.KindReg:
		o.size = in.Args[1].Size
		o.fn = mmxFromReg
	default:
		o.fn = mmxLoad
	}
}

func mmxStore(c *CPU, o *Op) status {
	if !c.mmxReady() || !c.storePart(o, o.size, c.mm(o.src)) {
		return stFault
	}
	c.mmxUse()
	return stNext
}

func mmxToReg(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	c.mmxUse()
	c.r[o.dst&15] = c.mm(o.src) & elementMask(o.size)
	return stNext
}

func mmxFromReg(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	c.mmxUse()
	c.setMM(o.dst, c.r[o.src&15]&elementMask(o.size))
	return stNext
}

func mmxLoad(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	v, ok := c.mmxSource(o)
	if !ok {
		return stFault
	}
	c.mmxUse()
	c.setMM(o.dst, v)
	return stNext
}

// maskmovq writes the bytes of dst whose mask in src is negative to DS:rDI.
func maskmovq(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	if va, ok := c.address(o, 8, accWrite); !ok || !c.probeStore(o, va, 8) {
		return stFault // for all bytes, as MASKMOVDQU
	}
	m, v := [4]uint64{c.mm(o.src)}, [4]uint64{c.mm(o.dst)}
	if st := c.storeMasked(o, &m, &v, 1, 1); st != stNext {
		return st
	}
	c.mmxUse()
	return stNext
}

func mmxPINSRW(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	v := c.r[o.src&15]
	if o.aux&auxMem != 0 {
		var ok bool
		if v, ok = c.loadPart(o, 2); !ok {
			return stFault
		}
	}
	c.mmxUse()
	sh := o.imm & 3 * 16
	c.setMM(o.dst, c.mm(o.dst)&^(0xffff<<sh)|v&0xffff<<sh)
	return stNext
}

func mmxPEXTRW(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	c.mmxUse()
	c.r[o.dst&15] = c.mm(o.src) >> (o.imm & 3 * 16) & 0xffff
	return stNext
}

func mmxPMOVMSKB(c *CPU, o *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	c.mmxUse()
	c.r[o.dst&15] = byteSigns(c.mm(o.src))
	return stNext
}

func movq2dq(c *CPU, o *Op) status {
	if !c.sseReady() || !c.mmxReady() {
		return stFault
	}
	c.mmxUse()
	c.setXMM(o, lane{lo: c.mm(o.src)})
	return stNext
}

func movdq2q(c *CPU, o *Op) status {
	if !c.sseReady() || !c.mmxReady() {
		return stFault
	}
	c.mmxUse()
	c.setMM(o.dst, c.s.Vec[o.src&15][0])
	return stNext
}

// emms marks all x87 registers as empty.
func emms(c *CPU, _ *Op) status {
	if !c.mmxReady() {
		return stFault
	}
	c.s.FPU.SW &^= swTop
	c.s.FPU.Tag = 0
	return stNext
}
