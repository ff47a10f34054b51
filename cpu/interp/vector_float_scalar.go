package interp

// The scalar instructions that programs use most, in their legacy encoding.

func addss(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	b, ok := c.fpSource32(o)
	if !ok {
		return stFault
	}
	d := &c.s.Vec[o.dst&15]
	e := c.simd()
	r := e.Add32(uint32(d[0]), b)
	if !c.simdDone(e) {
		return stFault
	}
	d[0] = d[0]&^0xffffffff | uint64(r)
	return stNext
}

func addsd(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	b, ok := c.fpSource64(o)
	if !ok {
		return stFault
	}
	d := &c.s.Vec[o.dst&15]
	e := c.simd()
	r := e.Add64(d[0], b)
	if !c.simdDone(e) {
		return stFault
	}
	d[0] = r
	return stNext
}

func subss(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	b, ok := c.fpSource32(o)
	if !ok {
		return stFault
	}
	d := &c.s.Vec[o.dst&15]
	e := c.simd()
	r := e.Sub32(uint32(d[0]), b)
	if !c.simdDone(e) {
		return stFault
	}
	d[0] = d[0]&^0xffffffff | uint64(r)
	return stNext
}

func subsd(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	b, ok := c.fpSource64(o)
	if !ok {
		return stFault
	}
	d := &c.s.Vec[o.dst&15]
	e := c.simd()
	r := e.Sub64(d[0], b)
	if !c.simdDone(e) {
		return stFault
	}
	d[0] = r
	return stNext
}

func mulss(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	b, ok := c.fpSource32(o)
	if !ok {
		return stFault
	}
	d := &c.s.Vec[o.dst&15]
	e := c.simd()
	r := e.Mul32(uint32(d[0]), b)
	if !c.simdDone(e) {
		return stFault
	}
	d[0] = d[0]&^0xffffffff | uint64(r)
	return stNext
}

func mulsd(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	b, ok := c.fpSource64(o)
	if !ok {
		return stFault
	}
	d := &c.s.Vec[o.dst&15]
	e := c.simd()
	r := e.Mul64(d[0], b)
	if !c.simdDone(e) {
		return stFault
	}
	d[0] = r
	return stNext
}

func divss(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	b, ok := c.fpSource32(o)
	if !ok {
		return stFault
	}
	d := &c.s.Vec[o.dst&15]
	e := c.simd()
	r := e.Div32(uint32(d[0]), b)
	if !c.simdDone(e) {
		return stFault
	}
	d[0] = d[0]&^0xffffffff | uint64(r)
	return stNext
}

func divsd(c *CPU, o *Op) status {
	if !c.sseReady() {
		return stFault
	}
	b, ok := c.fpSource64(o)
	if !ok {
		return stFault
	}
	d := &c.s.Vec[o.dst&15]
	e := c.simd()
	r := e.Div64(d[0], b)
	if !c.simdDone(e) {
		return stFault
	}
	d[0] = r
	return stNext
}
