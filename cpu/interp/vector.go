package interp

import "dfemu/cpu/x86"

// Vector instructions are grouped by how far the data of one result travels.
// Those whose result in each quadword depends on the same quadword of the
// sources only (most arithmetic and logic) are functions of uint64 and serve
// MMX, XMM and YMM alike: vector_quad.go. Those that stay inside 128 bits are
// functions of lane: vector_lane.go. The rest, and the moves, have handlers
// of their own.
//
// In an Op of a vector instruction dst and src are the numbers of the
// destination and of the last source register; aux holds the number of the first source and
// the flags below; size the alignment mask of the memory operand.
const (
	auxReg = 0x0f // the first source, where there are two
	aux256 = 0x20 // 256-bit
	auxMem = 0x40 // the last source is the memory operand
	auxVEX = 0x80 // VEX-encoded: bits of the register above the result are cleared
)

// lane is 128 bits of a vector register: an XMM register, or a half of a YMM register.
type lane struct{ lo, hi uint64 }

// opSlots is the length of tables indexed by Op, a power of 2 so that a masked
// index needs no check.
const (
	opSlots = 2048
	opMask  = opSlots - 1
)

var _ [opSlots - 2 - x86.NumOps]struct{} // every Op has a slot, and two are left

// compileVector puts the handler for in into o. done tells that the instruction
// is of this group, end that nothing may follow in the same block.
func compileVector(c *CPU, in *x86.Inst, o *Op) (done, end bool) {
	if compilePacked(in, o) {
		return true, false
	}
	return compileVectorFloat(c, in, o)
}

// compilePacked takes all vector instructions but arithmetic, comparison and
// conversion of floating-point values.
func compilePacked(in *x86.Inst, o *Op) bool {
	if in.Enc.Exc == x86.ExcMMX {
		return compileMMX(in, o)
	}
	return compileVectorMove(in, o) || compileQuad(in, o) || compileLane(in, o) ||
		compileShift(in, o) || compileElement(in, o) || compilePermute(in, o) ||
		compileMasked(in, o) || compileVectorMisc(in, o)
}

// bindVec puts the operands of in into o: the destination, one or two
// sources, and an immediate byte.
func bindVec(in *x86.Inst, o *Op) {
	n := in.NArgs
	if n > 0 && in.Args[n-1].Kind == x86.KindImm {
		n--
		o.imm = uint64(uint8(in.Args[n].Imm))
	}
	o.size = max(in.Enc.Aligned(in.VecLen), 1) - 1
	o.aux = 0
	if in.VEX {
		o.aux |= auxVEX
	}
	if in.VecLen == 32 {
		o.aux |= aux256
	}
	if n == 0 {
		return
	}
	o.dst = uint8(in.Args[0].Reg)
	first := &in.Args[0]
	if n > 2 {
		first = &in.Args[1]
	}
	o.aux |= uint8(first.Reg) & auxReg
	last := &in.Args[min(n-1, 2)]
	if last.Kind == x86.KindMem {
		o.aux |= auxMem
	} else {
		o.src = uint8(last.Reg)
	}
}

// vecReady reports whether the instruction may execute; if not, the exception is pending.
// The bit of c.ready is the first for the legacy encoding, the second for VEX.
func (c *CPU) vecReady(o *Op) bool { return c.ready>>(o.aux>>7)&1 != 0 || c.checkVec(o) }

func (c *CPU) checkVec(o *Op) bool {
	if o.aux&auxVEX != 0 {
		return c.checkAVX()
	}
	return c.checkSSE()
}

// xmm returns the low half of a vector register, ymmh the high half.
func (c *CPU) xmm(n uint8) lane {
	v := &c.s.Vec[n&15]
	return lane{v[0], v[1]}
}

func (c *CPU) ymmh(n uint8) lane {
	v := &c.s.Vec[n&15]
	return lane{v[2], v[3]}
}

// setXMM writes a 128-bit result into o's destination.
func (c *CPU) setXMM(o *Op, v lane) {
	d := &c.s.Vec[o.dst&15]
	d[0], d[1] = v.lo, v.hi
	if o.aux&auxVEX != 0 {
		d[2], d[3] = 0, 0
	}
}

// setYMM writes a 256-bit result into o's destination.
func (c *CPU) setYMM(o *Op, l, h lane) {
	c.s.Vec[o.dst&15] = [4]uint64{l.lo, l.hi, h.lo, h.hi}
}

// source128 returns the last source: 128 bits of a register or of memory.
func (c *CPU) source128(o *Op) (lane, bool) {
	if o.aux&auxMem != 0 {
		return c.loadLane(o)
	}
	return c.xmm(o.src), true
}

// source256 is source128 for 256 bits.
func (c *CPU) source256(o *Op) (l, h lane, ok bool) {
	if o.aux&auxMem != 0 {
		return c.loadLanes(o)
	}
	return c.xmm(o.src), c.ymmh(o.src), true
}
