package interp

import "dfemu/cpu/softfloat"

// The instructions that combine lanes: ADDSUBPS, HADDPS, DPPS and the like.

// sum32 and sum64 return a+b, or a-b.
func sum32(e *softfloat.Env, a, b uint32, sub bool) uint32 {
	if sub {
		return e.Sub32(a, b)
	}
	return e.Add32(a, b)
}

func sum64(e *softfloat.Env, a, b uint64, sub bool) uint64 {
	if sub {
		return e.Sub64(a, b)
	}
	return e.Add64(a, b)
}

// pair returns the sum or difference of the two lanes of a quadword.
func pair(e *softfloat.Env, v uint64, sub bool) uint64 {
	return uint64(sum32(e, uint32(v), uint32(v>>32), sub))
}

// haddps is HADDPS and HSUBPS.
func haddps(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpSource(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	a := &c.s.Vec[o.aux&15]
	sub := o.imm&fpAlt != 0
	var r [4]uint64
	for i := 0; i < o.words(); i += 2 {
		r[i&2] = pair(e, a[i&2], sub)
		r[i&2] |= pair(e, a[i&2+1], sub) << 32
		r[i&2+1] = pair(e, b[i&2], sub)
		r[i&2+1] |= pair(e, b[i&2+1], sub) << 32
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

// haddpd is HADDPD and HSUBPD.
func haddpd(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpSource(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	a := &c.s.Vec[o.aux&15]
	sub := o.imm&fpAlt != 0
	var r [4]uint64
	for i := 0; i < o.words(); i += 2 {
		r[i&2] = sum64(e, a[i&2], a[i&2+1], sub)
		r[i&2+1] = sum64(e, b[i&2], b[i&2+1], sub)
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

// addsubps subtracts even lanes and adds odd ones.
func addsubps(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpSource(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	a := &c.s.Vec[o.aux&15]
	var r [4]uint64
	for i := range o.words() {
		x, y := a[i&3], b[i&3]
		r[i&3] = uint64(e.Sub32(uint32(x), uint32(y)))
		r[i&3] |= uint64(e.Add32(uint32(x>>32), uint32(y>>32))) << 32
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

func addsubpd(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpSource(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	a := &c.s.Vec[o.aux&15]
	var r [4]uint64
	for i := range o.words() {
		r[i&3] = sum64(e, a[i&3], b[i&3], i&1 == 0)
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

// dpps multiplies the lanes that bits 4–7 of the immediate select, adds the
// products pairwise, and puts the sum into the lanes of bits 0–3 (SDM vol. 2, DPPS). After an
// unmasked exception of one step the next ones do not take part.
func dpps(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpSource(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	a := &c.s.Vec[o.aux&15]
	var p [8]uint32
	for i := range 2 * o.words() {
		if o.imm>>(4+i&3)&1 != 0 {
			sh := 32 * (i & 1)
			p[i&7] = e.Mul32(uint32(a[i>>1&3]>>sh), uint32(b[i>>1&3]>>sh))
		}
	}
	var r [4]uint64
	if c.simdStage(e) {
		for i := range o.words() {
			p[i] = e.Add32(p[2*i&7], p[(2*i+1)&7])
		}
	}
	if c.simdStage(e) {
		for i := 0; i < o.words(); i += 2 {
			sum := uint64(e.Add32(p[i&7], p[(i+1)&7]))
			for j := range 4 {
				if o.imm>>j&1 != 0 {
					r[i&2+j>>1] |= sum << (32 * (j & 1))
				}
			}
		}
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}

func dppd(c *CPU, o *Op) status {
	if !c.fpReady(o) {
		return stFault
	}
	b := c.fpSource128(o)
	if b == nil {
		return stFault
	}
	e := c.simd()
	a := &c.s.Vec[o.aux&15]
	var p [2]uint64
	for i := range p {
		if o.imm>>(4+i)&1 != 0 {
			p[i] = e.Mul64(a[i], b[i])
		}
	}
	var r [4]uint64
	if c.simdStage(e) {
		sum := e.Add64(p[0], p[1])
		for i := range p {
			if o.imm>>i&1 != 0 {
				r[i] = sum
			}
		}
	}
	if !c.simdDone(e) {
		return stFault
	}
	c.fpWrite(o, &r)
	return stNext
}
