package interp

import (
	"math"

	"dfemu/cpu/softfloat"
	"dfemu/cpu/x86"
)

// The operations that work on each lane by itself, in the order of the
// instructions from ADDPS to CMPSD and then others.
const (
	laneADD = iota
	laneMUL
	laneSUB
	laneMIN
	laneDIV
	laneMAX
	laneSQRT
	laneCMP
	laneROUND
	laneRCP
	laneRSQRT
	laneDQ2PS
	lanePS2DQ
	laneTPS2DQ
)

// lane32 and lane64 compute one lane from those of the first and the second
// source and the immediate.
type (
	lane32 func(e *softfloat.Env, a, b uint32, imm uint8) uint32
	lane64 func(e *softfloat.Env, a, b uint64, imm uint8) uint64
)

var lanes32 = [fpOpMask + 1]lane32{
	laneADD:    func(e *softfloat.Env, a, b uint32, _ uint8) uint32 { return e.Add32(a, b) },
	laneMUL:    func(e *softfloat.Env, a, b uint32, _ uint8) uint32 { return e.Mul32(a, b) },
	laneSUB:    func(e *softfloat.Env, a, b uint32, _ uint8) uint32 { return e.Sub32(a, b) },
	laneMIN:    func(e *softfloat.Env, a, b uint32, _ uint8) uint32 { return e.Min32(a, b) },
	laneDIV:    func(e *softfloat.Env, a, b uint32, _ uint8) uint32 { return e.Div32(a, b) },
	laneMAX:    func(e *softfloat.Env, a, b uint32, _ uint8) uint32 { return e.Max32(a, b) },
	laneSQRT:   func(e *softfloat.Env, _, b uint32, _ uint8) uint32 { return e.Sqrt32(b) },
	laneCMP:    cmp32,
	laneROUND:  round32,
	laneRCP:    func(_ *softfloat.Env, _, b uint32, _ uint8) uint32 { return rcp32(b) },
	laneRSQRT:  func(_ *softfloat.Env, _, b uint32, _ uint8) uint32 { return rsqrt32(b) },
	laneDQ2PS:  func(e *softfloat.Env, _, b uint32, _ uint8) uint32 { return e.I32ToF32(int32(b)) },
	lanePS2DQ:  func(e *softfloat.Env, _, b uint32, _ uint8) uint32 { return uint32(e.F32ToI32(b, e.Round)) },
	laneTPS2DQ: func(e *softfloat.Env, _, b uint32, _ uint8) uint32 { return uint32(e.F32ToI32(b, softfloat.RoundZero)) },
}

var lanes64 = [fpOpMask + 1]lane64{
	laneADD:   func(e *softfloat.Env, a, b uint64, _ uint8) uint64 { return e.Add64(a, b) },
	laneMUL:   func(e *softfloat.Env, a, b uint64, _ uint8) uint64 { return e.Mul64(a, b) },
	laneSUB:   func(e *softfloat.Env, a, b uint64, _ uint8) uint64 { return e.Sub64(a, b) },
	laneMIN:   func(e *softfloat.Env, a, b uint64, _ uint8) uint64 { return e.Min64(a, b) },
	laneDIV:   func(e *softfloat.Env, a, b uint64, _ uint8) uint64 { return e.Div64(a, b) },
	laneMAX:   func(e *softfloat.Env, a, b uint64, _ uint8) uint64 { return e.Max64(a, b) },
	laneSQRT:  func(e *softfloat.Env, _, b uint64, _ uint8) uint64 { return e.Sqrt64(b) },
	laneCMP:   cmp64,
	laneROUND: round64,
}

func cmp32(e *softfloat.Env, a, b uint32, imm uint8) uint32 {
	if e.Predicate32(a, b, imm) {
		return ^uint32(0)
	}
	return 0
}

func cmp64(e *softfloat.Env, a, b uint64, imm uint8) uint64 {
	if e.Predicate64(a, b, imm) {
		return ^uint64(0)
	}
	return 0
}

// roundControl returns the rounding mode of an immediate of ROUNDPS or VCVTPS2PH
// (SDM vol. 2, table 4-18).
func roundControl(e *softfloat.Env, imm uint8) softfloat.RoundingMode {
	if imm&4 != 0 {
		return e.Round
	}
	return softfloat.RoundingMode(imm & 3)
}

func round32(e *softfloat.Env, _, b uint32, imm uint8) uint32 {
	return e.RoundToInt32(b, roundControl(e, imm), imm&8 != 0)
}

func round64(e *softfloat.Env, _, b uint64, imm uint8) uint64 {
	return e.RoundToInt64(b, roundControl(e, imm), imm&8 != 0)
}

// The parts of a binary32.
const (
	f32Sign  = 1 << 31
	f32Inf   = 0x7f800000
	f32Quiet = 1 << 22
	// f32Indefinite is the QNaN that answers invalid operations.
	f32Indefinite = 0xffc00000
)

// approximate rounds the reciprocal of x, which is not zero or denormal, to 12
// bits after the binary point. The relative error is at most 2^-13, where the architecture
// allows 1.5 * 2^-12; what bits a processor returns within that is its own affair.
// Results below the normal range are zero.
func approximate(x float64) uint32 {
	b := math.Float32bits(float32(1 / x))
	if b&f32Inf == 0 {
		return b & f32Sign // a denormal result is zero, however near it is to a normal number
	}
	return (b + 1<<10) &^ (1<<11 - 1)
}

// rcp32 is a lane of RCPPS. It raises nothing and takes denormals for zeros,
// whatever MXCSR says.
func rcp32(a uint32) uint32 {
	switch {
	case a&^f32Sign > f32Inf:
		return a | f32Quiet
	case a&f32Inf == 0:
		return a&f32Sign | f32Inf
	}
	return approximate(float64(math.Float32frombits(a)))
}

// rsqrt32 is a lane of RSQRTPS.
func rsqrt32(a uint32) uint32 {
	switch {
	case a&^f32Sign > f32Inf:
		return a | f32Quiet
	case a&f32Inf == 0:
		return a&f32Sign | f32Inf
	case a&f32Sign != 0:
		return f32Indefinite
	}
	return approximate(math.Sqrt(float64(math.Float32frombits(a))))
}

// laneHandlers are the handlers for the four forms of an instruction: PS, PD,
// SS and SD.
var laneHandlers = [4]handler{fpPacked32, fpPacked64, fpScalar32, fpScalar64}

// hotScalar are the handlers for the commonest legacy instructions, by operation.
var hotScalar = [laneCMP + 1][2]handler{
	laneADD: {addss, addsd},
	laneMUL: {mulss, mulsd},
	laneSUB: {subss, subsd},
	laneDIV: {divss, divsd},
}

func (o *Op) setLanes(lane uint64, fn handler) handler {
	o.imm |= lane << fpOpShift
	return fn
}

// compileLanes chooses the handler for ADDPS to CMPSD.
func (o *Op) compileLanes(op x86.Op) handler {
	lane, form := uint64(op-x86.ADDPS)/4, (op-x86.ADDPS)&3
	if lane == laneCMP && o.imm&fpVEX == 0 {
		o.imm &^= 0xf8 // legacy CMPPS looks at three bits
	}
	if form >= 2 && o.imm&fpVEX == 0 {
		if fn := hotScalar[lane][form-2]; fn != nil {
			return fn
		}
	}
	return o.setLanes(lane, laneHandlers[form])
}

func fpPacked32(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpSource(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	f, imm := lanes32[o.imm>>fpOpShift&fpOpMask], uint8(o.imm)
	a := &c.s.Vec[o.aux&15]
	var r [4]uint64
	for i := range o.words() {
		x, y := a[i&3], b[i&3]
		lo := f(e, uint32(x), uint32(y), imm)
		r[i&3] = uint64(lo) | uint64(f(e, uint32(x>>32), uint32(y>>32), imm))<<32
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

func fpPacked64(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpSource(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	f, imm := lanes64[o.imm>>fpOpShift&fpOpMask], uint8(o.imm)
	a := &c.s.Vec[o.aux&15]
	var r [4]uint64
	for i := range o.words() {
		r[i&3] = f(e, a[i&3], b[i&3], imm)
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

func fpScalar32(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b, ok := c.fpSource32(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	r := lanes32[o.imm>>fpOpShift&fpOpMask](e, uint32(c.s.Vec[o.aux&15][0]), b, uint8(o.imm))
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite32(o, r)
	return stNext
}

func fpScalar64(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b, ok := c.fpSource64(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	r := lanes64[o.imm>>fpOpShift&fpOpMask](e, c.s.Vec[o.aux&15][0], b, uint8(o.imm))
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite64(o, r)
	return stNext
}
