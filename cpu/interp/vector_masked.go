package interp

import "dfemu/cpu/x86"

// compileMasked takes the instructions in which a vector register says, element by
// element, what is done: blends, masked moves and gathers.
func compileMasked(in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.PBLENDVB, x86.VPBLENDVB:
		compileBlend(in, o, 1)
	case x86.BLENDVPS, x86.VBLENDVPS:
		compileBlend(in, o, 4)
	case x86.BLENDVPD, x86.VBLENDVPD:
		compileBlend(in, o, 8)
	case x86.VMASKMOVPS, x86.VPMASKMOVD:
		compileMaskMove(in, o, 4)
	case x86.VMASKMOVPD, x86.VPMASKMOVQ:
		compileMaskMove(in, o, 8)
	case x86.MASKMOVDQU, x86.VMASKMOVDQU:
		bindVec(in, o)
		o.dst, o.src = uint8(in.Args[0].Reg), uint8(in.Args[1].Reg)
		o.fn = maskMoveBytes
	case x86.VPGATHERDD, x86.VGATHERDPS:
		compileGather(in, o, 4, 4)
	case x86.VPGATHERDQ, x86.VGATHERDPD:
		compileGather(in, o, 4, 8)
	case x86.VPGATHERQD, x86.VGATHERQPS:
		compileGather(in, o, 8, 4)
	case x86.VPGATHERQQ, x86.VGATHERQPD:
		compileGather(in, o, 8, 8)
	default:
		return false
	}
	return true
}

// signMask makes masks of the elements of n (1, 4, 8) bytes whose top bit is set.
func signMask(v uint64, n uint8) uint64 {
	switch n {
	case 1:
		return fill(v&h8, 8)
	case 4:
		return fill(v&h32, 32)
	}
	return uint64(int64(v) >> 63)
}

// compileBlend takes the blends by the sign bits of XMM0 (legacy) or of a fourth
// register. o.imm is that register and, above it, the element size.
func compileBlend(in *x86.Inst, o *Op, n uint8) {
	bindVec(in, o)
	mask := in.Args[in.NArgs-1].Reg
	if !in.VEX {
		o.aux = uint8(in.Args[0].Reg) & auxReg
		if isMem(in, 1) {
			o.aux |= auxMem
		}
		o.src = uint8(in.Args[1].Reg)
	}
	o.imm = uint64(mask)&15 | uint64(n)<<8
	o.fn = blendVar
}

func blendVar(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	m := &c.s.Vec[o.imm&15]
	a := &c.s.Vec[o.aux&auxReg]
	n := uint8(o.imm >> 8)
	if o.aux&aux256 == 0 {
		b, ok := c.source128(o)
		if !ok {
			return stFault
		}
		c.setXMM(o, lane{pick(signMask(m[0], n), b.lo, a[0]), pick(signMask(m[1], n), b.hi, a[1])})
		return stNext
	}
	l, h, ok := c.source256(o)
	if !ok {
		return stFault
	}
	c.s.Vec[o.dst&15] = [4]uint64{
		pick(signMask(m[0], n), l.lo, a[0]), pick(signMask(m[1], n), l.hi, a[1]),
		pick(signMask(m[2], n), h.lo, a[2]), pick(signMask(m[3], n), h.hi, a[3]),
	}
	return stNext
}

// compileMaskMove takes VMASKMOVPS and its like; o.size is the element size.
func compileMaskMove(in *x86.Inst, o *Op, n uint8) {
	bindVec(in, o)
	o.size = n
	o.fn = maskLoad
	if isMem(in, 0) {
		o.fn = maskStore
	}
}

// elementAddress returns the linear address of the n bytes at distance off from o's
// memory operand.
func (c *CPU) elementAddress(o *Op, off uint64, n uint8, acc access) (va uint64, ok bool) {
	va = (c.lea(o) + off) & o.amask
	if o.legacy {
		return c.linear(o.seg, va, uint64(n), acc)
	}
	return va + c.segBase[o.seg&7], true
}

// quads returns how many quadwords o's operands have.
func (o *Op) quads() int {
	if o.aux&aux256 != 0 {
		return 4
	}
	return 2
}

// maskLoad reads the elements whose mask (the first source) is negative and clears the others.
// It never faults on an element it does not read, and never checks alignment.
func maskLoad(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	ac := c.flags & x86.AC
	c.flags &^= ac
	st := c.loadMasked(o)
	c.flags |= ac
	return st
}

func (c *CPU) loadMasked(o *Op) status {
	m := &c.s.Vec[o.aux&auxReg]
	var d [4]uint64
	n := uint64(o.size)
	for at := uint64(0); at < 8*uint64(o.quads()); at += n {
		sh := 8 * (at & 7)
		if m[at>>3&3]<<(64-8*n-sh)>>63 == 0 {
			continue
		}
		va, ok := c.elementAddress(o, at, o.size, accRead)
		if !ok {
			return stFault
		}
		v, ok := c.loadPartAt(o, va, o.size)
		if !ok {
			return stFault
		}
		d[at>>3&3] |= v << sh
	}
	c.s.Vec[o.dst&15] = d
	return stNext
}

// maskStore writes the elements whose mask is negative: all of them, or none.
func maskStore(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	return c.storeMasked(o, &c.s.Vec[o.aux&auxReg], &c.s.Vec[o.src&15], o.size, o.quads())
}

// maskMoveBytes is MASKMOVDQU: the bytes of dst whose mask in src is negative are
// written to DS:rDI. It faults for all 16 bytes, written or not, which the SDM leaves open.
func maskMoveBytes(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	va, ok := c.address(o, 16, accWrite)
	if !ok || !c.probeStore(o, va, 8) || !c.probeStore(o, c.after(va, 8), 8) {
		return stFault
	}
	return c.storeMasked(o, &c.s.Vec[o.src&15], &c.s.Vec[o.dst&15], 1, 2)
}

// storeMasked writes the elements of v, of n bytes, whose mask in m is negative. It never checks alignment.
func (c *CPU) storeMasked(o *Op, m, v *[4]uint64, n uint8, quads int) status {
	ac := c.flags & x86.AC
	c.flags &^= ac
	st := c.storeElements(o, m, v, n, quads)
	c.flags |= ac
	return st
}

func (c *CPU) storeElements(o *Op, m, v *[4]uint64, n uint8, quads int) status {
	for _, write := range [...]bool{false, true} {
		for at := uint64(0); at < 8*uint64(quads); at += uint64(n) {
			sh := 8 * (at & 7)
			if m[at>>3&3]<<(64-8*uint64(n)-sh)>>63 == 0 {
				continue
			}
			va, ok := c.elementAddress(o, at, n, accWrite)
			switch {
			case !ok:
				return stFault
			case !write:
				ok = c.probe(o, va, int(n), accWrite)
			default:
				ok = c.storePartAt(o, va, n, v[at>>3&3]>>sh)
			}
			if !ok {
				return stFault
			}
		}
	}
	return stNext
}

// compileGather takes gathers with indices of x and elements of n bytes.
// o.src is the index register, o.aux names the mask, o.imm holds the sizes
// and the number of elements.
func compileGather(in *x86.Inst, o *Op, x, n uint8) {
	bindVec(in, o)
	o.aux = o.aux&^(auxReg|auxMem) | uint8(in.Args[2].Reg)&auxReg
	o.src = in.Mem.Index
	o.size = n
	o.imm = uint64(x) | uint64(in.VecLen/max(x, n))<<8
	o.fn = gather
}

// gather reads elements at base + index*scale, in order from the lowest,
// where the mask is negative. The mask of an element is cleared when it has been dealt with, so
// that after a fault the instruction goes on where it was.
func gather(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	x, n := o.imm&0xff, uint64(o.size)
	count := o.imm >> 8
	dst, mask, index := &c.s.Vec[o.dst&15], &c.s.Vec[o.aux&auxReg], &c.s.Vec[o.src&15]
	base := c.r[o.base&31] + o.disp
	for i := range count {
		at := i * n
		sh := 8 * (at & 7)
		em := elementMask(o.size) << sh
		m := &mask[at>>3&3]
		if signMask(*m, o.size)&em == 0 {
			*m &^= em
			continue
		}
		off := index[i*x>>3&3] >> (8 * (i * x & 7))
		if x == 4 {
			off = uint64(int32(off))
		}
		va, ok := (base+off<<(o.scale&3))&o.amask, true
		if o.legacy {
			va, ok = c.linear(o.seg, va, n, accRead)
		} else {
			va += c.segBase[o.seg&7]
		}
		if !ok {
			return stFault
		}
		v, ok := c.loadPartAt(o, va, o.size)
		if !ok {
			return stFault
		}
		d := &dst[at>>3&3]
		*d = *d&^em | v<<sh
		*m &^= em
	}
	// What lies above the last element is cleared, as is the whole mask.
	for i := count * n; i < 32; i += n {
		dst[i>>3&3] &^= elementMask(o.size) << (8 * (i & 7))
	}
	*mask = [4]uint64{}
	return stNext
}
