package interp

import (
	"dfemu/cpu/softfloat"
	"dfemu/cpu/x86"
)

// The fused multiply-adds. Above the bits of the other vector instructions,
// imm holds the signs for even and for odd lanes and the order of the operands.
const (
	fmaEven  = 20 // softfloat.FMAOp of even lanes
	fmaOdd   = 22 // and of odd lanes
	fmaOrder = 24 // 0: 132, 1: 213, 2: 231
)

// compileFMA chooses the handler for a fused multiply-add.
func (o *Op) compileFMA(op x86.Op) handler {
	var even, odd softfloat.FMAOp
	var order, form uint64
	if n := uint64(op - x86.VFMADDSUB132PS); n < 12 {
		// VFMADDSUB and VFMSUBADD, each 132, 213 and 231, each PS and PD.
		even, odd = softfloat.MulSub, softfloat.MulAdd
		if n >= 6 {
			even, odd = odd, even
		}
		order, form = n%6/2, n&1
	} else {
		// VFMADD, VFMSUB, VFNMADD and VFNMSUB, each 132, 213 and 231, each in four forms.
		n -= 12
		even = [...]softfloat.FMAOp{softfloat.MulAdd, softfloat.MulSub, softfloat.NegMulAdd, softfloat.NegMulSub}[n/12&3]
		odd = even
		order, form = n%12/4, n&3
	}
	o.imm |= uint64(even)<<fmaEven | uint64(odd)<<fmaOdd | order<<fmaOrder
	return [...]handler{fmaPS, fmaPD, fmaSS, fmaSD}[form]
}

// fma32 computes a lane from the three operands in the order of the instruction.
func fma32(e *softfloat.Env, o *Op, x, y, z uint32, sign softfloat.FMAOp) uint32 {
	switch o.imm >> fmaOrder & 3 {
	case 0:
		return e.FMA32(x, z, y, sign)
	case 1:
		return e.FMA32(y, x, z, sign)
	}
	return e.FMA32(y, z, x, sign)
}

func fma64(e *softfloat.Env, o *Op, x, y, z uint64, sign softfloat.FMAOp) uint64 {
	switch o.imm >> fmaOrder & 3 {
	case 0:
		return e.FMA64(x, z, y, sign)
	case 1:
		return e.FMA64(y, x, z, sign)
	}
	return e.FMA64(y, z, x, sign)
}

func fmaPS(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	z := c.fpSource(o)
	if z == nil {
		return stFault
	}
	e := c.simd()
	x, y := &c.s.Vec[o.dst&15], &c.s.Vec[o.aux&15]
	even, odd := softfloat.FMAOp(o.imm>>fmaEven&3), softfloat.FMAOp(o.imm>>fmaOdd&3)
	var r [4]uint64
	for i := range o.words() {
		x, y, z := x[i&3], y[i&3], z[i&3]
		r[i&3] = uint64(fma32(e, o, uint32(x), uint32(y), uint32(z), even))
		r[i&3] |= uint64(fma32(e, o, uint32(x>>32), uint32(y>>32), uint32(z>>32), odd)) << 32
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

func fmaPD(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	z := c.fpSource(o)
	if z == nil {
		return stFault
	}
	e := c.simd()
	x, y := &c.s.Vec[o.dst&15], &c.s.Vec[o.aux&15]
	sign := [2]softfloat.FMAOp{softfloat.FMAOp(o.imm >> fmaEven & 3), softfloat.FMAOp(o.imm >> fmaOdd & 3)}
	var r [4]uint64
	for i := range o.words() {
		r[i&3] = fma64(e, o, x[i&3], y[i&3], z[i&3], sign[i&1])
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

// fmaSS and fmaSD leave the rest of the destination's lower 128 bits as it is.
func fmaSS(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	z, ok := c.fpSource32(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	d := &c.s.Vec[o.dst&15]
	r := fma32(e, o, uint32(d[0]), uint32(c.s.Vec[o.aux&15][0]), z, softfloat.FMAOp(o.imm>>fmaEven&3))
	if !c.simdDone(e) {
		return stFault
	}
	d[0] = d[0]&^0xffffffff | uint64(r)
	d[2], d[3] = 0, 0
	return stNext
}

func fmaSD(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	z, ok := c.fpSource64(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	d := &c.s.Vec[o.dst&15]
	r := fma64(e, o, d[0], c.s.Vec[o.aux&15][0], z, softfloat.FMAOp(o.imm>>fmaEven&3))
	if !c.simdDone(e) {
		return stFault
	}
	d[0] = r
	d[2], d[3] = 0, 0
	return stNext
}
