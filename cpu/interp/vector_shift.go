package interp

import "dfemu/cpu/x86"

// Packed shifts inside one quadword, by the same count in every element. A
// count of the element's width or more shifts everything out.

func psllw(a, n uint64) uint64 {
	if n > 15 {
		return 0
	}
	return a << n & (0xffff << n & 0xffff * 0x0001000100010001)
}

func psrlw(a, n uint64) uint64 {
	if n > 15 {
		return 0
	}
	return a >> n & (0xffff >> n * 0x0001000100010001)
}

func psraw(a, n uint64) (r uint64) {
	n = min(n, 15)
	for i := 0; i < 64; i += 16 {
		r |= uint64(uint16(int16(a>>i)>>n)) << i
	}
	return r
}

func pslld(a, n uint64) uint64 {
	if n > 31 {
		return 0
	}
	return a<<n&^0xffffffff&(0xffffffff<<(32+n)) | uint64(uint32(a)<<n)
}

func psrld(a, n uint64) uint64 {
	if n > 31 {
		return 0
	}
	return a>>(32+n)<<32 | uint64(uint32(a)>>n)
}

func psrad(a, n uint64) uint64 {
	n = min(n, 31)
	return uint64(int64(a)>>(32+n))<<32 | uint64(uint32(int32(a)>>n))
}

func psllq(a, n uint64) uint64 { return a << n }
func psrlq(a, n uint64) uint64 { return a >> n }

// The shifts with a count for each doubleword.

func psllvd(a, n uint64) uint64 {
	return uint64(uint32(a)<<uint32(n)) | uint64(uint32(a>>32)<<(n>>32))<<32
}

func psrlvd(a, n uint64) uint64 {
	return uint64(uint32(a)>>uint32(n)) | uint64(uint32(a>>32)>>(n>>32))<<32
}

func psravd(a, n uint64) uint64 {
	return uint64(uint32(int32(a)>>uint32(n))) | uint64(uint32(int32(a>>32)>>(n>>32)))<<32
}

// shiftOps are the shifts by one count; a is the data.
var shiftOps = [opSlots]quadFunc{
	x86.PSLLW: psllw, x86.VPSLLW: psllw,
	x86.PSLLD: pslld, x86.VPSLLD: pslld,
	x86.PSLLQ: psllq, x86.VPSLLQ: psllq,
	x86.PSRLW: psrlw, x86.VPSRLW: psrlw,
	x86.PSRLD: psrld, x86.VPSRLD: psrld,
	x86.PSRLQ: psrlq, x86.VPSRLQ: psrlq,
	x86.PSRAW: psraw, x86.VPSRAW: psraw,
	x86.PSRAD: psrad, x86.VPSRAD: psrad,
}

// compileShift takes the instructions of shiftOps with XMM or YMM operands. The count is an
// immediate byte, kept in the bits of o.imm above opMask, or the low quadword of the last operand.
func compileShift(in *x86.Inst, o *Op) bool {
	if shiftOps[in.Op&opMask] == nil {
		return false
	}
	bindVec(in, o)
	switch {
	case in.Args[in.NArgs-1].Kind != x86.KindImm:
		o.fn = shiftVar
	case in.VecLen == 32:
		o.fn = shiftImm256
	default:
		o.fn = shiftImm
	}
	o.imm = o.imm*opSlots | uint64(in.Op)
	return true
}

func shiftImm(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	f, n := shiftOps[o.imm&opMask], o.imm/opSlots
	a := &c.s.Vec[o.src&15]
	c.setXMM(o, lane{f(a[0], n), f(a[1], n)})
	return stNext
}

func shiftImm256(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	f, n := shiftOps[o.imm&opMask], o.imm/opSlots
	a, d := &c.s.Vec[o.src&15], &c.s.Vec[o.dst&15]
	for i := range d {
		d[i] = f(a[i], n)
	}
	return stNext
}

func shiftVar(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	count, ok := c.source128(o)
	if !ok {
		return stFault
	}
	f, n := shiftOps[o.imm&opMask], count.lo
	a := &c.s.Vec[o.aux&auxReg]
	if o.aux&aux256 != 0 {
		d := &c.s.Vec[o.dst&15]
		for i := range d {
			d[i] = f(a[i], n)
		}
		return stNext
	}
	c.setXMM(o, lane{f(a[0], n), f(a[1], n)})
	return stNext
}
