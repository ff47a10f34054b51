package interp

import (
	"math/bits"

	"dfemu/cpu/x86"
)

// The operations of compileRotate.
const (
	shROL = iota
	shROR
	shRCL
	shRCR
	shSHL
	shSHR
	shSAR
)

// compileRotate handles the shifts and rotates. Counts are masked to 5 bits, 6
// for 64-bit operands (Intel SDM vol. 2, SAL/SAR/SHL/SHR and RCL/RCR/ROL/ROR).
func compileRotate(in *x86.Inst, o *Op) bool {
	switch {
	case in.Op >= x86.ROL && in.Op <= x86.SAR:
		o.aux = uint8(in.Op - x86.ROL)
	case in.Op == x86.SHLD || in.Op == x86.SHRD:
		compileDouble(in, o)
		return true
	default:
		return false
	}
	dst, count := &in.Args[0], &in.Args[1]
	imm := count.Kind == x86.KindImm
	if imm {
		o.imm = uint64(count.Imm) & shiftMask(o.size)
	}
	if dst.Kind == x86.KindMem {
		o.fn = bySize(o.size, shiftMem[uint8], shiftMem[uint16], shiftMem[uint32], shiftMem[uint64])
		if imm {
			o.fn = bySize(o.size, shiftMemImm[uint8], shiftMemImm[uint16], shiftMemImm[uint32], shiftMemImm[uint64])
		}
		return true
	}
	o.dst = regNum(dst)
	if !imm {
		o.fn = bySize(o.size, shiftReg[uint8], shiftReg[uint16], shiftReg[uint32], shiftReg[uint64])
		if o.size >= 4 && quickShiftCL[o.aux][o.size>>3] != nil {
			o.fn = quickShiftCL[o.aux][o.size>>3]
		}
		return true
	}
	o.fn = bySize(o.size, shiftRegImm[uint8], shiftRegImm[uint16], shiftRegImm[uint32], shiftRegImm[uint64])
	if o.size >= 4 && o.imm != 0 {
		if fn := quickShift[o.aux][o.size>>3]; fn != nil {
			o.fn = fn
		}
	}
	return true
}

// shiftMask has the bits of a count that an operand size looks at.
func shiftMask(size uint8) uint64 {
	if size == 8 {
		return 63
	}
	return 31
}

// quickShift has handlers of registers by immediates that are not 0, for 32 and 64
// bits; quickShiftCL those by CL.
var quickShift = [7][2]handler{
	shROL: {rol32, rol64},
	shROR: {ror32, ror64},
	shSHL: {shl32, shl64},
	shSHR: {shr32, shr64},
	shSAR: {sar32, sar64},
}

var quickShiftCL = [7][2]handler{
	shSHL: {shlCL32, shlCL64},
	shSHR: {shrCL32, shrCL64},
}

func shl32(c *CPU, o *Op) status { return c.shl32(o, o.imm) }
func shl64(c *CPU, o *Op) status { return c.shl64(o, o.imm) }
func shr32(c *CPU, o *Op) status { return c.shr32(o, o.imm) }
func shr64(c *CPU, o *Op) status { return c.shr64(o, o.imm) }

func shlCL32(c *CPU, o *Op) status {
	if n := c.r[x86.RCX] & 31; n != 0 {
		return c.shl32(o, n)
	}
	c.r[o.dst&31] &= 0xffffffff
	return stNext
}

func shlCL64(c *CPU, o *Op) status {
	if n := c.r[x86.RCX] & 63; n != 0 {
		return c.shl64(o, n)
	}
	return stNext
}

func shrCL32(c *CPU, o *Op) status {
	if n := c.r[x86.RCX] & 31; n != 0 {
		return c.shr32(o, n)
	}
	c.r[o.dst&31] &= 0xffffffff
	return stNext
}

func shrCL64(c *CPU, o *Op) status {
	if n := c.r[x86.RCX] & 63; n != 0 {
		return c.shr64(o, n)
	}
	return stNext
}

// shl32 and the like shift by n, 1 to 31 or 63. The carry is the last bit shifted
// out; OF of SHL tells whether the last step changed the sign.
func (c *CPU) shl32(o *Op, n uint64) status {
	a := c.r[o.dst&31] << (n & 63) // bit 32 is the carry
	c.r[o.dst&31] = a & 0xffffffff
	c.fres = uint64(int32(a))
	c.fcarry = a << 31 & (fcCF | fcPO) // CF ^ OF is the sign of the result
	return stNext
}

func (c *CPU) shl64(o *Op, n uint64) status {
	a := c.r[o.dst&31] << ((n - 1) & 63)
	r := a << 1
	c.r[o.dst&31] = r
	c.fres = r
	c.fcarry = a & (fcCF | fcPO)
	return stNext
}

// shr32 and shr64: OF is the sign of the operand where the count is 1, and clear otherwise.
func (c *CPU) shr32(o *Op, n uint64) status {
	a := c.r[o.dst&31] & 0xffffffff >> ((n - 1) & 63)
	r := a >> 1
	c.r[o.dst&31] = r
	c.fres = r
	c.fcarry = a<<63 | (a<<62^a<<31)&fcPO
	return stNext
}

func (c *CPU) shr64(o *Op, n uint64) status {
	a := c.r[o.dst&31] >> ((n - 1) & 63)
	r := a >> 1
	c.r[o.dst&31] = r
	c.fres = r
	c.fcarry = a<<63 | (a<<62^a>>1)&fcPO
	return stNext
}

func sar32(c *CPU, o *Op) status {
	a := uint64(int64(int32(c.r[o.dst&31])) >> ((o.imm - 1) & 63))
	r := uint64(int64(a) >> 1)
	c.r[o.dst&31] = r & 0xffffffff
	c.fres = r
	c.fcarry = a<<63 | a<<62&fcPO
	return stNext
}

func sar64(c *CPU, o *Op) status {
	a := uint64(int64(c.r[o.dst&31]) >> ((o.imm - 1) & 63))
	r := uint64(int64(a) >> 1)
	c.r[o.dst&31] = r
	c.fres = r
	c.fcarry = a<<63 | a<<62&fcPO
	return stNext
}

func rol32(c *CPU, o *Op) status {
	r := bits.RotateLeft32(uint32(c.r[o.dst&31]), int(o.imm))
	c.r[o.dst&31] = uint64(r)
	c.changeCO(r&1 != 0, (r^r>>31)&1 != 0)
	return stNext
}

func rol64(c *CPU, o *Op) status {
	r := bits.RotateLeft64(c.r[o.dst&31], int(o.imm))
	c.r[o.dst&31] = r
	c.changeCO(r&1 != 0, (r^r>>63)&1 != 0)
	return stNext
}

func ror32(c *CPU, o *Op) status {
	r := bits.RotateLeft32(uint32(c.r[o.dst&31]), -int(o.imm))
	c.r[o.dst&31] = uint64(r)
	c.changeCO(r>>31 != 0, (r^r<<1)>>31 != 0)
	return stNext
}

func ror64(c *CPU, o *Op) status {
	r := bits.RotateLeft64(c.r[o.dst&31], -int(o.imm))
	c.r[o.dst&31] = r
	c.changeCO(r>>63 != 0, (r^r<<1)>>63 != 0)
	return stNext
}

// The general handlers: registers and memory, by CL and by an immediate.
func shiftReg[T word](c *CPU, o *Op) status {
	n := c.r[x86.RCX] & shiftMask(uint8(sizeOf[T]()))
	setReg(c, o.dst, shift(c, o.aux, getReg[T](c, o.dst), n))
	return stNext
}

func shiftRegImm[T word](c *CPU, o *Op) status {
	setReg(c, o.dst, shift(c, o.aux, getReg[T](c, o.dst), o.imm))
	return stNext
}

func shiftMem[T word](c *CPU, o *Op) status {
	return shiftMemBy[T](c, o, c.r[x86.RCX]&shiftMask(uint8(sizeOf[T]())))
}

func shiftMemImm[T word](c *CPU, o *Op) status { return shiftMemBy[T](c, o, o.imm) }

func shiftMemBy[T word](c *CPU, o *Op, n uint64) status {
	va, ok := c.address(o, int(sizeOf[T]()), accWrite)
	if !ok {
		return stFault
	}
	if p := c.writable(va, sizeOf[T]()); p != nil {
		hostStore(p, shift(c, o.aux, hostLoad[T](p), n))
		return stNext
	}
	v, ok := loadForStore[T](c, o, va)
	if !ok {
		return stFault
	}
	res, carry := c.fres, c.fcarry
	if !storeAt(c, o, va, shift(c, o.aux, v, n)) {
		c.fres, c.fcarry = res, carry
		return stFault
	}
	return stNext
}

// shift returns the result of an operation by a masked count and sets the
// flags: none for a count of 0; OF, which is undefined for counts other than 1,
// as the formula for 1 gives it.
func shift[T word](c *CPU, op uint8, v T, n uint64) T {
	if n == 0 {
		return v
	}
	width := 8 * sizeOf[T]()
	top := width - 1
	switch op {
	case shROL:
		n %= width
		r := v<<n | v>>(width-n)
		c.changeCO(r&1 != 0, (r^r>>top)&1 != 0)
		return r
	case shROR:
		n %= width
		r := v>>n | v<<(width-n)
		c.changeCO(r>>top != 0, (r^r<<1)>>top != 0)
		return r
	case shRCL:
		if n %= width + 1; n == 0 {
			c.changeCO(c.cf(), (v>>top != 0) != c.cf())
			return v
		}
		r := v<<n | T(c.carryIn())<<(n-1)
		if n > 1 {
			r |= v >> (width + 1 - n)
		}
		cf := v>>(width-n)&1 != 0
		c.changeCO(cf, (r>>top != 0) != cf)
		return r
	case shRCR:
		if n %= width + 1; n == 0 {
			c.changeCO(c.cf(), (v^v<<1)>>top != 0)
			return v
		}
		r := v>>n | T(c.carryIn())<<(width-n)
		if n > 1 {
			r |= v << (width + 1 - n)
		}
		c.changeCO(v>>(n-1)&1 != 0, (r^r<<1)>>top != 0)
		return r
	case shSHL:
		a := v << (n - 1)
		r := a << 1
		c.setCO(sext(r), a>>top != 0, (a^r)>>top != 0)
		return r
	case shSHR:
		a := v >> (n - 1)
		r := a >> 1
		c.setCO(sext(r), a&1 != 0, a>>top != 0)
		return r
	}
	a := uint64(int64(sext(v)) >> (n - 1))
	r := T(int64(a) >> 1)
	c.setCO(sext(r), a&1 != 0, false)
	return r
}

// compileDouble handles SHLD and SHRD.
func compileDouble(in *x86.Inst, o *Op) {
	o.src = regNum(&in.Args[1])
	o.aux = 0
	if in.Op == x86.SHRD {
		o.aux |= doubleRight
	}
	if a := &in.Args[2]; a.Kind == x86.KindImm {
		o.imm = uint64(a.Imm) & shiftMask(o.size)
	} else {
		o.aux |= doubleCL
	}
	if isMem(in, 0) {
		o.fn = bySize(o.size, nil, doubleMem[uint16], doubleMem[uint32], doubleMem[uint64])
		return
	}
	o.dst = regNum(&in.Args[0])
	o.fn = bySize(o.size, nil, doubleReg[uint16], doubleReg[uint32], doubleReg[uint64])
}

// Bits of aux for SHLD and SHRD.
const (
	doubleRight = 1 << iota
	doubleCL
)

// doubleCount is the count of a SHLD or SHRD.
func (c *CPU) doubleCount(o *Op) uint64 {
	if o.aux&doubleCL != 0 {
		return c.r[x86.RCX] & shiftMask(o.size)
	}
	return o.imm
}

func doubleReg[T word](c *CPU, o *Op) status {
	setReg(c, o.dst, shiftDouble(c, o.aux&doubleRight != 0, getReg[T](c, o.dst), getReg[T](c, o.src), c.doubleCount(o)))
	return stNext
}

func doubleMem[T word](c *CPU, o *Op) status {
	va, ok := c.address(o, int(sizeOf[T]()), accWrite)
	if !ok {
		return stFault
	}
	v, ok := loadForStore[T](c, o, va)
	if !ok {
		return stFault
	}
	res, carry := c.fres, c.fcarry
	if !storeAt(c, o, va, shiftDouble(c, o.aux&doubleRight != 0, v, getReg[T](c, o.src), c.doubleCount(o))) {
		c.fres, c.fcarry = res, carry
		return stFault
	}
	return stNext
}

// shiftDouble shifts v by a masked count and fills in from w. Counts beyond the
// width, possible with 16 bits, are undefined: w follows itself, as on AMD processors.
func shiftDouble[T word](c *CPU, right bool, v, w T, n uint64) T {
	if n == 0 {
		return v
	}
	width := 8 * sizeOf[T]()
	top := width - 1
	if n > width {
		v = w
		n -= width
	}
	var r T
	var cf bool
	if right {
		r = v>>n | w<<(width-n)
		cf = v>>(n-1)&1 != 0
	} else {
		r = v<<n | w>>(width-n)
		cf = v>>(width-n)&1 != 0
	}
	c.setCO(sext(r), cf, (r^v)>>top != 0)
	return r
}
