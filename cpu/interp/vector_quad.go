package interp

import "dfemu/cpu/x86"

// quadFunc computes a quadword of the result from the same quadword of the
// first and the last source. One with a single source takes it as b.
type quadFunc = func(a, b uint64) uint64

// quadOps are the instructions that work on each quadword by itself.
var quadOps = [opSlots]quadFunc{
	x86.ANDPS: pand, x86.ANDPD: pand, x86.PAND: pand,
	x86.VANDPS: pand, x86.VANDPD: pand, x86.VPAND: pand,
	x86.ANDNPS: pandn, x86.ANDNPD: pandn, x86.PANDN: pandn,
	x86.VANDNPS: pandn, x86.VANDNPD: pandn, x86.VPANDN: pandn,
	x86.ORPS: por, x86.ORPD: por, x86.POR: por,
	x86.VORPS: por, x86.VORPD: por, x86.VPOR: por,
	x86.XORPS: pxor, x86.XORPD: pxor, x86.PXOR: pxor,
	x86.VXORPS: pxor, x86.VXORPD: pxor, x86.VPXOR: pxor,

	x86.PADDB: paddb, x86.VPADDB: paddb,
	x86.PADDW: paddw, x86.VPADDW: paddw,
	x86.PADDD: paddd, x86.VPADDD: paddd,
	x86.PADDQ: paddq, x86.VPADDQ: paddq,
	x86.PSUBB: psubb, x86.VPSUBB: psubb,
	x86.PSUBW: psubw, x86.VPSUBW: psubw,
	x86.PSUBD: psubd, x86.VPSUBD: psubd,
	x86.PSUBQ: psubq, x86.VPSUBQ: psubq,
	x86.PADDSB: paddsb, x86.VPADDSB: paddsb,
	x86.PADDSW: paddsw, x86.VPADDSW: paddsw,
	x86.PADDUSB: paddusb, x86.VPADDUSB: paddusb,
	x86.PADDUSW: paddusw, x86.VPADDUSW: paddusw,
	x86.PSUBSB: psubsb, x86.VPSUBSB: psubsb,
	x86.PSUBSW: psubsw, x86.VPSUBSW: psubsw,
	x86.PSUBUSB: psubusb, x86.VPSUBUSB: psubusb,
	x86.PSUBUSW: psubusw, x86.VPSUBUSW: psubusw,
	x86.PAVGB: pavgb, x86.VPAVGB: pavgb,
	x86.PAVGW: pavgw, x86.VPAVGW: pavgw,

	x86.PCMPEQB: pcmpeqb, x86.VPCMPEQB: pcmpeqb,
	x86.PCMPEQW: pcmpeqw, x86.VPCMPEQW: pcmpeqw,
	x86.PCMPEQD: pcmpeqd, x86.VPCMPEQD: pcmpeqd,
	x86.PCMPEQQ: pcmpeqq, x86.VPCMPEQQ: pcmpeqq,
	x86.PCMPGTB: pcmpgtb, x86.VPCMPGTB: pcmpgtb,
	x86.PCMPGTW: pcmpgtw, x86.VPCMPGTW: pcmpgtw,
	x86.PCMPGTD: pcmpgtd, x86.VPCMPGTD: pcmpgtd,
	x86.PCMPGTQ: pcmpgtq, x86.VPCMPGTQ: pcmpgtq,
	x86.PMAXSB: pmaxsb, x86.VPMAXSB: pmaxsb,
	x86.PMAXSW: pmaxsw, x86.VPMAXSW: pmaxsw,
	x86.PMAXSD: pmaxsd, x86.VPMAXSD: pmaxsd,
	x86.PMAXUB: pmaxub, x86.VPMAXUB: pmaxub,
	x86.PMAXUW: pmaxuw, x86.VPMAXUW: pmaxuw,
	x86.PMAXUD: pmaxud, x86.VPMAXUD: pmaxud,
	x86.PMINSB: pminsb, x86.VPMINSB: pminsb,
	x86.PMINSW: pminsw, x86.VPMINSW: pminsw,
	x86.PMINSD: pminsd, x86.VPMINSD: pminsd,
	x86.PMINUB: pminub, x86.VPMINUB: pminub,
	x86.PMINUW: pminuw, x86.VPMINUW: pminuw,
	x86.PMINUD: pminud, x86.VPMINUD: pminud,

	x86.PABSB: pabsb, x86.VPABSB: pabsb,
	x86.PABSW: pabsw, x86.VPABSW: pabsw,
	x86.PABSD: pabsd, x86.VPABSD: pabsd,
	x86.PSIGNB: psignb, x86.VPSIGNB: psignb,
	x86.PSIGNW: psignw, x86.VPSIGNW: psignw,
	x86.PSIGND: psignd, x86.VPSIGND: psignd,
	x86.MOVSLDUP: movsldup, x86.VMOVSLDUP: movsldup,
	x86.MOVSHDUP: movshdup, x86.VMOVSHDUP: movshdup,

	x86.PMULLW: pmullw, x86.VPMULLW: pmullw,
	x86.PMULHW: pmulhw, x86.VPMULHW: pmulhw,
	x86.PMULHUW: pmulhuw, x86.VPMULHUW: pmulhuw,
	x86.PMULHRSW: pmulhrsw, x86.VPMULHRSW: pmulhrsw,
	x86.PMULLD: pmulld, x86.VPMULLD: pmulld,
	x86.PMULUDQ: pmuludq, x86.VPMULUDQ: pmuludq,
	x86.PMULDQ: pmuldq, x86.VPMULDQ: pmuldq,
	x86.PMADDWD: pmaddwd, x86.VPMADDWD: pmaddwd,
	x86.PMADDUBSW: pmaddubsw, x86.VPMADDUBSW: pmaddubsw,
	x86.PSADBW: psadbw, x86.VPSADBW: psadbw,

	x86.VPSLLVD: psllvd, x86.VPSLLVQ: psllq,
	x86.VPSRLVD: psrlvd, x86.VPSRLVQ: psrlq,
	x86.VPSRAVD: psravd,
}

// quadDirect are handlers of their own for what programs use most: legacy
// encoding, both operands registers. quadDirect256 are those for 256 bits.
var quadDirect = [opSlots]handler{
	x86.ANDPS: ssePAND, x86.ANDPD: ssePAND, x86.PAND: ssePAND, x86.PANDN: ssePANDN,
	x86.ORPS: ssePOR, x86.ORPD: ssePOR, x86.POR: ssePOR,
	x86.XORPS: ssePXOR, x86.XORPD: ssePXOR, x86.PXOR: ssePXOR,
	x86.PADDD: ssePADDD, x86.PADDQ: ssePADDQ, x86.PSUBB: ssePSUBB,
	x86.PCMPEQB: ssePCMPEQB, x86.PMINUB: ssePMINUB,
}

var quadDirect256 = [opSlots]handler{
	x86.VORPS: vexPOR, x86.VORPD: vexPOR, x86.VPOR: vexPOR,
	x86.VXORPS: vexPXOR, x86.VXORPD: vexPXOR, x86.VPXOR: vexPXOR,
	x86.VPCMPEQB: vexPCMPEQB, x86.VPMINUB: vexPMINUB,
}

// compileQuad takes the instructions of quadOps that have XMM or YMM operands.
func compileQuad(in *x86.Inst, o *Op) bool {
	if quadOps[in.Op&opMask] == nil {
		return false
	}
	bindVec(in, o)
	o.imm = uint64(in.Op)
	switch {
	case in.VecLen == 32 && quadDirect256[in.Op&opMask] != nil:
		o.fn = quadDirect256[in.Op&opMask]
	case in.VecLen == 32:
		o.fn = quad256
	case in.VEX:
		o.fn = quadVEX
	case quadDirect[in.Op&opMask] != nil && o.aux&auxMem == 0:
		o.fn = quadDirect[in.Op&opMask]
	default:
		o.fn = quadSSE
	}
	return true
}

func quadSSE(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	b, ok := c.source128(o)
	if !ok {
		return stFault
	}
	f := quadOps[o.imm&opMask]
	d := &c.s.Vec[o.dst&15]
	d[0] = f(d[0], b.lo)
	d[1] = f(d[1], b.hi)
	return stNext
}

func quadVEX(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	b, ok := c.source128(o)
	if !ok {
		return stFault
	}
	f := quadOps[o.imm&opMask]
	a := &c.s.Vec[o.aux&auxReg]
	lo, hi := f(a[0], b.lo), f(a[1], b.hi)
	c.s.Vec[o.dst&15] = [4]uint64{lo, hi, 0, 0}
	return stNext
}

func quad256(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	l, h, ok := c.source256(o)
	if !ok {
		return stFault
	}
	f := quadOps[o.imm&opMask]
	a := &c.s.Vec[o.aux&auxReg]
	d := &c.s.Vec[o.dst&15]
	d[0] = f(a[0], l.lo)
	d[1] = f(a[1], l.hi)
	d[2] = f(a[2], h.lo)
	d[3] = f(a[3], h.hi)
	return stNext
}

func ssePAND(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0] &= s[0]
	d[1] &= s[1]
	return stNext
}

func ssePANDN(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0] = ^d[0] & s[0]
	d[1] = ^d[1] & s[1]
	return stNext
}

func ssePOR(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0] |= s[0]
	d[1] |= s[1]
	return stNext
}

func ssePXOR(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0] ^= s[0]
	d[1] ^= s[1]
	return stNext
}

func ssePADDD(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0] = paddd(d[0], s[0])
	d[1] = paddd(d[1], s[1])
	return stNext
}

func ssePADDQ(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0] += s[0]
	d[1] += s[1]
	return stNext
}

func ssePSUBB(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0] = psubb(d[0], s[0])
	d[1] = psubb(d[1], s[1])
	return stNext
}

func ssePCMPEQB(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0] = pcmpeqb(d[0], s[0])
	d[1] = pcmpeqb(d[1], s[1])
	return stNext
}

func ssePMINUB(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	d, s := &c.s.Vec[o.dst&15], &c.s.Vec[o.src&15]
	d[0] = pminub(d[0], s[0])
	d[1] = pminub(d[1], s[1])
	return stNext
}

func vexPOR(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	l, h, ok := c.source256(o)
	if !ok {
		return stFault
	}
	a := &c.s.Vec[o.aux&auxReg]
	c.s.Vec[o.dst&15] = [4]uint64{a[0] | l.lo, a[1] | l.hi, a[2] | h.lo, a[3] | h.hi}
	return stNext
}

func vexPXOR(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	l, h, ok := c.source256(o)
	if !ok {
		return stFault
	}
	a := &c.s.Vec[o.aux&auxReg]
	c.s.Vec[o.dst&15] = [4]uint64{a[0] ^ l.lo, a[1] ^ l.hi, a[2] ^ h.lo, a[3] ^ h.hi}
	return stNext
}

func vexPCMPEQB(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	l, h, ok := c.source256(o)
	if !ok {
		return stFault
	}
	a := &c.s.Vec[o.aux&auxReg]
	c.s.Vec[o.dst&15] = [4]uint64{pcmpeqb(a[0], l.lo), pcmpeqb(a[1], l.hi), pcmpeqb(a[2], h.lo), pcmpeqb(a[3], h.hi)}
	return stNext
}

func vexPMINUB(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	l, h, ok := c.source256(o)
	if !ok {
		return stFault
	}
	a := &c.s.Vec[o.aux&auxReg]
	c.s.Vec[o.dst&15] = [4]uint64{pminub(a[0], l.lo), pminub(a[1], l.hi), pminub(a[2], h.lo), pminub(a[3], h.hi)}
	return stNext
}
