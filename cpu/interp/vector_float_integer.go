package interp

// Conversions from and to general-purpose and MMX registers.

// fpInteger reads the integer source of CVTSI2SS and CVTSI2SD.
func (c *CPU) fpInteger(o *Op) (int64, bool) {
	if o.size == 8 {
		if o.src != fpMem {
			return int64(c.r[o.src&15]), true
		}
		v, ok := load[uint64](c, o)
		return int64(v), ok
	}
	if o.src != fpMem {
		return int64(int32(c.r[o.src&15])), true
	}
	v, ok := load[uint32](c, o)
	return int64(int32(v)), ok
}

// fpSetInteger writes the integer destination of CVTSS2SI and the like.
func (c *CPU) fpSetInteger(o *Op, v int64) {
	if o.size == 8 {
		c.r[o.dst&15] = uint64(v)
	} else {
		c.r[o.dst&15] = uint64(uint32(v))
	}
}

func cvtsi2ss(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	v, ok := c.fpInteger(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	r := e.I64ToF32(v)
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite32(o, r)
	return stNext
}

func cvtsi2sd(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	v, ok := c.fpInteger(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	r := e.I64ToF64(v)
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite64(o, r)
	return stNext
}

// cvtss2si is CVTSS2SI and CVTTSS2SI.
func cvtss2si(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b, ok := c.fpSource32(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	rm := truncating(e, o)
	var r int64
	if o.size == 8 {
		r = e.F32ToI64(b, rm)
	} else {
		r = int64(e.F32ToI32(b, rm))
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpSetInteger(o, r)
	return stNext
}

// cvtsd2si is CVTSD2SI and CVTTSD2SI.
func cvtsd2si(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b, ok := c.fpSource64(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	rm := truncating(e, o)
	var r int64
	if o.size == 8 {
		r = e.F64ToI64(b, rm)
	} else {
		r = int64(e.F64ToI32(b, rm))
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpSetInteger(o, r)
	return stNext
}

// mmxFloatReady is fpReady for the instructions that use MMX registers too: they
// wait for x87 exceptions.
func (c *CPU) mmxFloatReady() bool { return c.sseReady() && c.noPendingMF() }

// cvtpi2ps is CVTPI2PS and, with fpAlt, CVTPI2PD. With a source in memory they
// leave the x87 registers alone, and CVTPI2PD does not even wait for x87 exceptions
// then (SDM vol. 2, CVTPI2PD).
func cvtpi2ps(c *CPU, o *Op) status {
	double := o.imm&fpAlt != 0
	mem := o.src == fpMem
	if !c.sseReady() || !(double && mem) && !c.noPendingMF() {
		return stFault
	}
	var v uint64
	if mem {
		var ok bool
		if v, ok = load[uint64](c, o); !ok {
			return stFault
		}
	} else {
		v = c.mm(o.src)
	}
	e := c.simd()
	d := &c.s.Vec[o.dst&15]
	if double {
		d[0], d[1] = e.I32ToF64(int32(v)), e.I32ToF64(int32(v>>32))
	} else {
		r := uint64(e.I32ToF32(int32(v)))
		r |= uint64(e.I32ToF32(int32(v>>32))) << 32
		if !c.simdDone(e) {
			return stFault
		}
		d[0] = r
	}
	if !mem {
		c.mmxUse()
	}
	return stNext
}

// cvtps2pi is CVTPS2PI and CVTTPS2PI.
func cvtps2pi(c *CPU, o *Op) status {
	if !c.mmxFloatReady() {
		return stFault
	}
	b, ok := c.fpSource64(o)
	if !ok {
		return stFault
	}
	e := c.simd()
	rm := truncating(e, o)
	r := uint64(uint32(e.F32ToI32(uint32(b), rm)))
	r |= uint64(uint32(e.F32ToI32(uint32(b>>32), rm))) << 32
	if !c.simdDone(e) {
		return stFault
	}
	c.mmxUse()
	c.setMM(o.dst, r)
	return stNext
}

// cvtpd2pi is CVTPD2PI and CVTTPD2PI.
func cvtpd2pi(c *CPU, o *Op) status {
	if !c.mmxFloatReady() {
		return stFault
	}
	b := c.fpSource128(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	rm := truncating(e, o)
	r := uint64(uint32(e.F64ToI32(b[0], rm)))
	r |= uint64(uint32(e.F64ToI32(b[1], rm))) << 32
	if !c.simdDone(e) {
		return stFault
	}
	c.mmxUse()
	c.setMM(o.dst, r)
	return stNext
}
