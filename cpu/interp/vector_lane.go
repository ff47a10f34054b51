package interp

import "dfemu/cpu/x86"

// laneFunc computes 128 bits of the result from the same 128 bits of the first and
// the last source and an immediate. One with a single source takes it as b.
type laneFunc = func(a, b lane, imm uint64) lane

// laneOp is an instruction that works on each 128-bit lane by itself.
type laneOp struct {
	f laneFunc
	// step is by how much the immediate is shifted for the upper lane.
	step uint8
}

// The forms of VPERMILPS and VPERMILPD with an immediate, in slots that no Op has.
const (
	opPermilPSImm = opSlots - 1 - iota
	opPermilPDImm
)

var laneOps = [opSlots]laneOp{
	x86.PUNPCKLBW: {f: punpcklbw}, x86.VPUNPCKLBW: {f: punpcklbw},
	x86.PUNPCKLWD: {f: punpcklwd}, x86.VPUNPCKLWD: {f: punpcklwd},
	x86.PUNPCKLDQ: {f: punpckldq}, x86.VPUNPCKLDQ: {f: punpckldq},
	x86.PUNPCKLQDQ: {f: punpcklqdq}, x86.VPUNPCKLQDQ: {f: punpcklqdq},
	x86.PUNPCKHBW: {f: punpckhbw}, x86.VPUNPCKHBW: {f: punpckhbw},
	x86.PUNPCKHWD: {f: punpckhwd}, x86.VPUNPCKHWD: {f: punpckhwd},
	x86.PUNPCKHDQ: {f: punpckhdq}, x86.VPUNPCKHDQ: {f: punpckhdq},
	x86.PUNPCKHQDQ: {f: punpckhqdq}, x86.VPUNPCKHQDQ: {f: punpckhqdq},
	x86.UNPCKLPS: {f: punpckldq}, x86.VUNPCKLPS: {f: punpckldq},
	x86.UNPCKLPD: {f: punpcklqdq}, x86.VUNPCKLPD: {f: punpcklqdq},
	x86.UNPCKHPS: {f: punpckhdq}, x86.VUNPCKHPS: {f: punpckhdq},
	x86.UNPCKHPD: {f: punpckhqdq}, x86.VUNPCKHPD: {f: punpckhqdq},
	x86.PACKSSWB: {f: packsswb}, x86.VPACKSSWB: {f: packsswb},
	x86.PACKSSDW: {f: packssdw}, x86.VPACKSSDW: {f: packssdw},
	x86.PACKUSWB: {f: packuswb}, x86.VPACKUSWB: {f: packuswb},
	x86.PACKUSDW: {f: packusdw}, x86.VPACKUSDW: {f: packusdw},

	x86.PSHUFB: {f: pshufb}, x86.VPSHUFB: {f: pshufb},
	x86.PSHUFD: {f: pshufd}, x86.VPSHUFD: {f: pshufd},
	x86.PSHUFHW: {f: pshufhw}, x86.VPSHUFHW: {f: pshufhw},
	x86.PSHUFLW: {f: pshuflw}, x86.VPSHUFLW: {f: pshuflw},
	x86.SHUFPS: {f: shufps}, x86.VSHUFPS: {f: shufps},
	x86.SHUFPD: {f: shufpd}, x86.VSHUFPD: {f: shufpd, step: 2},
	x86.PALIGNR: {f: palignr}, x86.VPALIGNR: {f: palignr},
	x86.PSLLDQ: {f: pslldq}, x86.VPSLLDQ: {f: pslldq},
	x86.PSRLDQ: {f: psrldq}, x86.VPSRLDQ: {f: psrldq},
	x86.MOVHLPS: {f: movhlps}, x86.VMOVHLPS: {f: movhlps},
	x86.MOVLHPS: {f: punpcklqdq}, x86.VMOVLHPS: {f: punpcklqdq},

	x86.VPERMILPS: {f: vpermilps}, opPermilPSImm: {f: pshufd},
	x86.VPERMILPD: {f: vpermilpd}, opPermilPDImm: {f: vpermilpdImm, step: 2},

	x86.PBLENDW: {f: pblendw}, x86.VPBLENDW: {f: pblendw},
	x86.BLENDPS: {f: blendps}, x86.VBLENDPS: {f: blendps, step: 4},
	x86.VPBLENDD: {f: blendps, step: 4},
	x86.BLENDPD:  {f: blendpd}, x86.VBLENDPD: {f: blendpd, step: 2},

	x86.PHADDW: {f: phaddw}, x86.VPHADDW: {f: phaddw},
	x86.PHADDD: {f: phaddd}, x86.VPHADDD: {f: phaddd},
	x86.PHADDSW: {f: phaddsw}, x86.VPHADDSW: {f: phaddsw},
	x86.PHSUBW: {f: phsubw}, x86.VPHSUBW: {f: phsubw},
	x86.PHSUBD: {f: phsubd}, x86.VPHSUBD: {f: phsubd},
	x86.PHSUBSW: {f: phsubsw}, x86.VPHSUBSW: {f: phsubsw},
	x86.PHMINPOSUW: {f: phminposuw}, x86.VPHMINPOSUW: {f: phminposuw},
	x86.MPSADBW: {f: mpsadbw}, x86.VMPSADBW: {f: mpsadbw, step: 3},

	x86.AESENC: {f: aesenc}, x86.VAESENC: {f: aesenc},
	x86.AESENCLAST: {f: aesenclast}, x86.VAESENCLAST: {f: aesenclast},
	x86.AESDEC: {f: aesdec}, x86.VAESDEC: {f: aesdec},
	x86.AESDECLAST: {f: aesdeclast}, x86.VAESDECLAST: {f: aesdeclast},
	x86.AESIMC: {f: aesimc}, x86.VAESIMC: {f: aesimc},
	x86.AESKEYGENASSIST: {f: aeskeygenassist}, x86.VAESKEYGENASSIST: {f: aeskeygenassist},
	x86.PCLMULQDQ: {f: pclmulqdq}, x86.VPCLMULQDQ: {f: pclmulqdq},
	x86.SHA1MSG1:   {f: sha1msg1},
	x86.SHA1MSG2:   {f: sha1msg2},
	x86.SHA1NEXTE:  {f: sha1nexte},
	x86.SHA1RNDS4:  {f: sha1rnds4},
	x86.SHA256MSG1: {f: sha256msg1},
	x86.SHA256MSG2: {f: sha256msg2},
}

// compileLane takes the instructions of laneOps that have XMM or YMM operands.
// o.imm holds Op, immediate, and the immediate of the upper lane.
func compileLane(in *x86.Inst, o *Op) bool {
	op := in.Op
	if in.Args[in.NArgs-min(in.NArgs, 1)].Kind == x86.KindImm {
		switch op {
		case x86.VPERMILPS:
			op = opPermilPSImm
		case x86.VPERMILPD:
			op = opPermilPDImm
		}
	}
	if laneOps[op&opMask].f == nil {
		return false
	}
	bindVec(in, o)
	imm := o.imm & 0xff
	o.imm = uint64(op) | imm*opSlots | imm>>laneOps[op&opMask].step<<8*opSlots
	if in.VecLen == 32 {
		o.fn = lane256
	} else {
		o.fn = lane128
	}
	return true
}

func lane128(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	b, ok := c.source128(o)
	if !ok {
		return stFault
	}
	c.setXMM(o, laneOps[o.imm&opMask].f(c.xmm(o.aux&auxReg), b, o.imm/opSlots&0xff))
	return stNext
}

func lane256(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	bl, bh, ok := c.source256(o)
	if !ok {
		return stFault
	}
	f := laneOps[o.imm&opMask].f
	l := f(c.xmm(o.aux&auxReg), bl, o.imm/opSlots&0xff)
	h := f(c.ymmh(o.aux&auxReg), bh, o.imm/(opSlots<<8))
	c.setYMM(o, l, h)
	return stNext
}
