package interp

import "dfemu/cpu/x86"

// compilePermute takes the instructions that move data between the lanes of YMM registers.
func compilePermute(in *x86.Inst, o *Op) bool {
	var fn handler
	switch in.Op {
	case x86.VBROADCASTF128, x86.VBROADCASTI128:
		fn = broadcast128
	case x86.VINSERTF128, x86.VINSERTI128:
		fn = insert128
	case x86.VEXTRACTF128, x86.VEXTRACTI128:
		fn = extract128
		if isMem(in, 0) {
			fn = extract128Mem
		}
	case x86.VPERM2F128, x86.VPERM2I128:
		fn = perm2x128
	case x86.VPERMQ, x86.VPERMPD:
		fn = permQ
	case x86.VPERMD, x86.VPERMPS:
		fn = permD
	default:
		return false
	}
	bindVec(in, o)
	o.fn = fn
	return true
}

func broadcast128(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	v, ok := c.loadLane(o)
	if !ok {
		return stFault
	}
	c.setYMM(o, v, v)
	return stNext
}

func insert128(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	v, ok := c.source128(o)
	if !ok {
		return stFault
	}
	if o.imm&1 != 0 {
		c.setYMM(o, c.xmm(o.aux&auxReg), v)
	} else {
		c.setYMM(o, v, c.ymmh(o.aux&auxReg))
	}
	return stNext
}

// half128 returns the half of a register that bit 0 of n selects.
func (c *CPU) half128(reg uint8, n uint64) lane {
	if n&1 != 0 {
		return c.ymmh(reg)
	}
	return c.xmm(reg)
}

func extract128(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	c.setXMM(o, c.half128(o.src, o.imm))
	return stNext
}

func extract128Mem(c *CPU, o *Op) status {
	if !c.avxReady() || !c.storeLane(o, c.half128(o.src, o.imm)) {
		return stFault
	}
	return stNext
}

func perm2x128(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	l, h, ok := c.source256(o)
	if !ok {
		return stFault
	}
	from := [4]lane{c.xmm(o.aux & auxReg), c.ymmh(o.aux & auxReg), l, h}
	var r [2]lane
	for i := range r {
		if sel := o.imm >> (4 * i); sel&8 == 0 {
			r[i] = from[sel&3]
		}
	}
	c.setYMM(o, r[0], r[1])
	return stNext
}

func permQ(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	l, h, ok := c.source256(o)
	if !ok {
		return stFault
	}
	from := [4]uint64{l.lo, l.hi, h.lo, h.hi}
	c.s.Vec[o.dst&15] = [4]uint64{
		from[o.imm&3], from[o.imm>>2&3], from[o.imm>>4&3], from[o.imm>>6&3],
	}
	return stNext
}

// dwordOf returns the doubleword of v that the low three bits of n select.
func dwordOf(v *[4]uint64, n uint64) uint64 { return v[n>>1&3] >> (n & 1 * 32) & 0xffffffff }

// permD picks doublewords of the last source by the elements of the first.
func permD(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	l, h, ok := c.source256(o)
	if !ok {
		return stFault
	}
	from := [4]uint64{l.lo, l.hi, h.lo, h.hi}
	sel := c.s.Vec[o.aux&auxReg]
	d := &c.s.Vec[o.dst&15]
	for i, n := range sel {
		d[i] = dwordOf(&from, n) | dwordOf(&from, n>>32)<<32
	}
	return stNext
}
