package interp

import (
	"dfemu/cpu/softfloat"
	"dfemu/cpu/x86"
)

// Vector floating point: SSE to SSE4.1, AVX, FMA and F16C (Intel SDM vol. 1,
// chapters 10, 11 and 14).
//
// In an Op of these instructions dst is the destination, aux the first source
// (the destination itself in the legacy encoding), src the second or only
// source or fpMem, and imm holds the immediate in its low byte and above it the
// bits below.
const (
	fpVEX     = 1 << 8  // VEX-encoded: the rest of the destination is zeroed
	fp256     = 1 << 9  // 256 bits
	fpAligned = 1 << 10 // the memory operand must be aligned
	fpAlt     = 1 << 11 // the second of the two instructions that a handler serves
	fpOpShift = 16      // the operation, as an index of lanes32 or lanes64
	fpOpMask  = 15

	fpMem = 0xff // Op.src: the memory operand
)

// simdState is the environment that MXCSR describes, kept from one instruction
// to the next.
type simdState struct {
	env softfloat.Env
	// key is the MXCSR that env was made from, with simdValid, while it masks
	// all exceptions; otherwise 0, and env is made anew for each instruction.
	key uint32
	mem [4]uint64 // a memory operand
}

const (
	simdValid = 1 << 31 // in simdState.key
	simdMasks = uint32(softfloat.AllExceptions) << 7
)

// simd returns the environment for an instruction. Its flags begin as those of
// MXCSR while all exceptions are masked, so that arithmetic need not find out
// what is known already, and otherwise as none, to tell what the instruction raises.
func (c *CPU) simd() *softfloat.Env {
	if c.s.MXCSR|simdValid == c.fp.key {
		return &c.fp.env
	}
	return c.simdLoad()
}

func (c *CPU) simdLoad() *softfloat.Env {
	m := c.s.MXCSR
	c.fp.env = softfloat.FromMXCSR(m)
	if m&simdMasks == simdMasks {
		c.fp.key = m | simdValid
	} else {
		c.fp.key = 0
		c.fp.env.Flags = 0
	}
	return &c.fp.env
}

// simdDone enters what was raised since simd into MXCSR. It reports whether the
// result may be written; if not, #XM (or #UD) is pending.
func (c *CPU) simdDone(e *softfloat.Env) bool {
	if uint32(e.Flags) == c.fp.key&uint32(softfloat.AllExceptions) {
		return true
	}
	return c.simdRaised(e)
}

// simdStage ends one step of an instruction that computes in several. It reports whether
// the next is to be done, that is, no unmasked exception was raised; then what was raised
// stays raised whatever comes.
func (c *CPU) simdStage(e *softfloat.Env) bool {
	if e.Flags&^e.Masks != 0 {
		return false
	}
	if c.fp.key == 0 {
		c.s.MXCSR |= uint32(e.Flags)
	}
	return true
}

func (c *CPU) simdRaised(e *softfloat.Env) bool {
	if c.fp.key != 0 {
		c.s.MXCSR |= uint32(e.Flags)
		c.fp.key |= uint32(e.Flags)
		return true
	}
	report, fault := e.Flags.Deliver(e.Masks)
	c.s.MXCSR |= uint32(report)
	if !fault {
		return true
	}
	if c.s.CR4&x86.CR4_OSXMMEXCPT != 0 {
		c.fault(x86.VecXM, 0)
	} else {
		c.ud()
	}
	return false
}

// fpReady reports whether an instruction of this group may execute.
func (c *CPU) fpReady(o *Op) bool {
	if o.imm&fpVEX == 0 {
		return c.sseReady()
	}
	return c.avxReady()
}

// fpSource32 and fpSource64 read a scalar second source.
func (c *CPU) fpSource32(o *Op) (uint32, bool) {
	if o.src != fpMem {
		return uint32(c.s.Vec[o.src&15][0]), true
	}
	return load[uint32](c, o)
}

func (c *CPU) fpSource64(o *Op) (uint64, bool) {
	if o.src != fpMem {
		return c.s.Vec[o.src&15][0], true
	}
	return load[uint64](c, o)
}

// fpSource128 returns a second source of 16 bytes, fpSource one of as many as the vector has.
// What lies above is not defined. They return nil when the memory cannot be read.
func (c *CPU) fpSource128(o *Op) *[4]uint64 {
	if o.src != fpMem {
		return &c.s.Vec[o.src&15]
	}
	return c.fpLoad(o, 2)
}

func (c *CPU) fpSource(o *Op) *[4]uint64 {
	if o.src != fpMem {
		return &c.s.Vec[o.src&15]
	}
	return c.fpLoad(o, o.words())
}

// fpHalf returns a second source of half the vector's size (8 or 16 bytes).
func (c *CPU) fpHalf(o *Op) *[4]uint64 {
	if o.src != fpMem {
		return &c.s.Vec[o.src&15]
	}
	return c.fpLoad(o, o.words()/2)
}

// fpLoad reads n quadwords of memory.
func (c *CPU) fpLoad(o *Op, n int) *[4]uint64 {
	va, ok := c.address(o, 8*n, accRead)
	if !ok || o.imm&fpAligned != 0 && !c.aligned(va, 8*uint64(n)) {
		return nil
	}
	if (c.ctx&ctxSlow != 0 || (va^(va+8*uint64(n)-1))&pageMask != 0) &&
		!(c.wholeCanonical(o, va, 8*n) && c.checkAlign(va, min(8*n, 16))) {
		return nil
	}
	for i := range n {
		if c.fp.mem[i&3], ok = loadAt[uint64](c, o, va+8*uint64(i)); !ok {
			return nil
		}
	}
	return &c.fp.mem
}

// words returns the number of quadwords in the vectors of o.
func (o *Op) words() int { return 2 << (o.imm >> 9 & 1) }

// fpWrite writes a vector, whose upper half is zero where the instruction has
// only 128 bits.
func (c *CPU) fpWrite(o *Op, v *[4]uint64) {
	d := &c.s.Vec[o.dst&15]
	d[0], d[1] = v[0], v[1]
	if o.imm&fpVEX != 0 {
		d[2], d[3] = v[2], v[3]
	}
}

// fpWrite32 and fpWrite64 write a scalar: the rest of the lower 128 bits comes
// from the first source.
func (c *CPU) fpWrite32(o *Op, v uint32) {
	d := &c.s.Vec[o.dst&15]
	a := &c.s.Vec[o.aux&15]
	d[0], d[1] = a[0]&^0xffffffff|uint64(v), a[1]
	if o.imm&fpVEX != 0 {
		d[2], d[3] = 0, 0
	}
}

func (c *CPU) fpWrite64(o *Op, v uint64) {
	d := &c.s.Vec[o.dst&15]
	d[0], d[1] = v, c.s.Vec[o.aux&15][1]
	if o.imm&fpVEX != 0 {
		d[2], d[3] = 0, 0
	}
}

// bindVector puts the operands of in into o.
func (o *Op) bindVector(in *x86.Inst) {
	o.imm = 0
	if in.VEX {
		o.imm |= fpVEX
	}
	if in.VecLen == 32 {
		o.imm |= fp256
	}
	if in.Enc.Aligned(in.VecLen) != 0 {
		o.imm |= fpAligned
	}
	n := int(in.NArgs)
	if a := &in.Args[n-1]; a.Kind == x86.KindImm {
		o.imm |= uint64(uint8(a.Imm))
		n--
	}
	// The last operand is the second source, whatever comes between it and the
	// destination the first.
	o.dst = uint8(in.Args[0].Reg)
	o.aux = o.dst
	if n == 3 {
		o.aux = uint8(in.Args[1].Reg)
	}
	o.src = uint8(in.Args[n-1].Reg)
	if isMem(in, n-1) {
		o.src = fpMem
	}
}

// legacyOp returns the legacy instruction that a VEX-encoded one extends, for
// those of this group that have one.
func legacyOp(op x86.Op) x86.Op {
	switch {
	case op >= x86.VADDPS && op <= x86.VROUNDSD:
		return op - x86.VADDPS + x86.ADDPS
	case op >= x86.VCVTSI2SS && op <= x86.VCVTTPD2DQ:
		return op - x86.VCVTSI2SS + x86.CVTSI2SS
	}
	return op
}

// compileVectorFloat puts the handler for in into o. done tells that the
// instruction is of this group, end that nothing may follow in the same block.
func compileVectorFloat(_ *CPU, in *x86.Inst, o *Op) (done, end bool) {
	op := legacyOp(in.Op)
	var fn handler
	switch {
	case op >= x86.ADDPS && op <= x86.CMPSD:
		o.bindVector(in)
		fn = o.compileLanes(op)
	case op >= x86.RCPPS && op <= x86.RSQRTSS:
		o.bindVector(in)
		fn = o.setLanes(laneRCP+uint64(op-x86.RCPPS)/2, laneHandlers[(op-x86.RCPPS)&1*2])
	case op >= x86.ROUNDPS && op <= x86.ROUNDSD:
		o.bindVector(in)
		fn = o.setLanes(laneROUND, laneHandlers[op-x86.ROUNDPS])
	case op >= x86.VFMADDSUB132PS && op <= x86.VFNMSUB231SD:
		o.bindVector(in)
		fn = o.compileFMA(op)
	default:
		fn = compileVectorFloatMore(op, in, o)
	}
	if fn == nil {
		return false, false
	}
	o.fn = fn
	return true, false
}

// compileVectorFloatMore is compileVectorFloat for the instructions that are
// not in a regular order.
func compileVectorFloatMore(op x86.Op, in *x86.Inst, o *Op) handler {
	var fn handler
	alt := false
	switch op {
	case x86.COMISS, x86.UCOMISS:
		fn, alt = comiss, op == x86.UCOMISS
	case x86.COMISD, x86.UCOMISD:
		fn, alt = comisd, op == x86.UCOMISD
	case x86.HADDPS, x86.HSUBPS:
		fn, alt = haddps, op == x86.HSUBPS
	case x86.HADDPD, x86.HSUBPD:
		fn, alt = haddpd, op == x86.HSUBPD
	case x86.ADDSUBPS:
		fn = addsubps
	case x86.ADDSUBPD:
		fn = addsubpd
	case x86.DPPS:
		fn = dpps
	case x86.DPPD:
		fn = dppd
	case x86.CVTPI2PS, x86.CVTPI2PD:
		fn, alt = cvtpi2ps, op == x86.CVTPI2PD
	case x86.CVTPS2PI, x86.CVTTPS2PI:
		fn, alt = cvtps2pi, op == x86.CVTTPS2PI
	case x86.CVTPD2PI, x86.CVTTPD2PI:
		o.bindVector(in)
		o.imm |= fpAligned
		if op == x86.CVTTPD2PI {
			o.imm |= fpAlt
		}
		return cvtpd2pi
	case x86.CVTSI2SS:
		fn = cvtsi2ss
	case x86.CVTSI2SD:
		fn = cvtsi2sd
	case x86.CVTSS2SI, x86.CVTTSS2SI:
		fn, alt = cvtss2si, op == x86.CVTTSS2SI
	case x86.CVTSD2SI, x86.CVTTSD2SI:
		fn, alt = cvtsd2si, op == x86.CVTTSD2SI
	case x86.CVTPS2PD:
		fn = cvtps2pd
	case x86.CVTPD2PS:
		fn = cvtpd2ps
	case x86.CVTSS2SD:
		fn = cvtss2sd
	case x86.CVTSD2SS:
		fn = cvtsd2ss
	case x86.CVTDQ2PS:
		o.bindVector(in)
		return o.setLanes(laneDQ2PS, fpPacked32)
	case x86.CVTPS2DQ:
		o.bindVector(in)
		return o.setLanes(lanePS2DQ, fpPacked32)
	case x86.CVTTPS2DQ:
		o.bindVector(in)
		return o.setLanes(laneTPS2DQ, fpPacked32)
	case x86.CVTDQ2PD:
		fn = cvtdq2pd
	case x86.CVTPD2DQ, x86.CVTTPD2DQ:
		fn, alt = cvtpd2dq, op == x86.CVTTPD2DQ
	case x86.VCVTPH2PS:
		fn = vcvtph2ps
	case x86.VCVTPS2PH:
		o.bindVector(in)
		o.src = o.dst
		o.dst, o.aux = uint8(in.Args[0].Reg), uint8(in.Args[1].Reg)
		if isMem(in, 0) {
			return vcvtps2phMem
		}
		return vcvtps2ph
	default:
		return nil
	}
	o.bindVector(in)
	if alt {
		o.imm |= fpAlt
	}
	return fn
}
