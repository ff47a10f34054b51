package interp

import "dfemu/cpu/softfloat"

// Conversions between floating-point formats, and of packed integers.

// truncating returns the rounding mode of an instruction that serves both as
// CVT… and, with fpAlt, as CVTT….
func truncating(e *softfloat.Env, o *Op) softfloat.RoundingMode {
	if o.imm&fpAlt != 0 {
		return softfloat.RoundZero
	}
	return e.Round
}

func cvtss2sd(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b, ok := c.fpSource32(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	r := e.F32ToF64(b)
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite64(o, r)
	return stNext
}

func cvtsd2ss(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b, ok := c.fpSource64(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	r := e.F64ToF32(b)
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite32(o, r)
	return stNext
}

func cvtps2pd(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpHalf(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	var r [4]uint64
	for i := range o.words() {
		r[i&3] = e.F32ToF64(uint32(b[i>>1&1] >> (32 * (i & 1))))
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

func cvtpd2ps(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpSource(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	var r [4]uint64
	for i := range o.words() {
		r[i>>1&1] |= uint64(e.F64ToF32(b[i&3])) << (32 * (i & 1))
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

// cvtpd2dq is CVTPD2DQ and CVTTPD2DQ.
func cvtpd2dq(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpSource(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	rm := truncating(e, o)
	var r [4]uint64
	for i := range o.words() {
		r[i>>1&1] |= uint64(uint32(e.F64ToI32(b[i&3], rm))) << (32 * (i & 1))
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

// cvtdq2pd is always exact.
func cvtdq2pd(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpHalf(o)
	if b == nil {
		return stFault
	}
	e := &c.fp.env
	var r [4]uint64
	for i := range o.words() {
		r[i&3] = e.I32ToF64(int32(b[i>>1&1] >> (32 * (i & 1))))
	}
	c.fpWrite(o, &r)
	return stNext
}

func vcvtph2ps(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	b := c.fpHalf(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	var r [4]uint64
	for i := range 2 * o.words() {
		h := uint16(b[i>>2&1] >> (16 * (i & 3)))
		r[i>>1&3] |= uint64(e.F16ToF32(h)) << (32 * (i & 1))
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

// halves converts the first source of VCVTPS2PH.
func (c *CPU) halves(o *Op) (r [4]uint64, ok bool) {
	e := c.simd()
	rm := roundControl(e, uint8(o.imm))
	a := &c.s.Vec[o.aux&15]
	for i := range 2 * o.words() {
		h := e.F32ToF16(uint32(a[i>>1&3]>>(32*(i&1))), rm)
		r[i>>2&1] |= uint64(h) << (16 * (i & 3))
	}
	return r, c.simdDone(e)
}

func vcvtps2ph(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	r, ok := c.halves(o)
	if !ok {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

func vcvtps2phMem(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	n := 4 * o.words()
	va, ok := c.address(o, n, accWrite)
	if !ok || !c.probeStore(o, va, n) {
		return stFault
	}
	r, ok := c.halves(o)
	if !ok || !storeAt(c, o, va, r[0]) || n == 16 && !storeAt(c, o, va+8, r[1]) {
		return stFault
	}
	return stNext
}
