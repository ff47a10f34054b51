package interp

import "dfemu/cpu/x86"

// status is what executing an [Op] means for the block it is in.
type status uint8

const (
	// stNext: done, go on with the next op.
	stNext status = iota
	// stTaken: a direct branch was taken; the handler has set c.rip. The
	// target is always the same distance from the block, so it can be linked.
	stTaken
	// stBranch: the handler has set c.rip to anywhere.
	stBranch
	// stFall: the end of the block; see blockEnd.
	stFall
	// stEnd: done, but leave the block: what follows may have to be decoded,
	// translated or interrupted differently. RIP becomes that of the next op.
	stEnd
	// stRestart: leave the block with RIP at this op, which is executed again
	// (a repeated string instruction that made room for an interrupt).
	stRestart
	// stFault: c.exc holds an exception; RIP stays at this op.
	stFault
	// stTrap: c.exc holds an exception of the trap kind; RIP moves past this op.
	stTrap
)

// handler executes one op. It must not have changed any architectural state
// when it returns stFault or stRestart (but for the progress of a repeated
// string instruction).
type handler func(c *CPU, o *Op) status

// Op is one instruction made ready to execute: the handler and its operands.
// What the fields but the first block mean is between compile and handler.
type Op struct {
	fn handler

	// The memory operand: ((r[base] + r[index]<<scale + disp) & amask) +
	// segBase[seg]. Absent registers are regZero; RIP-relative is regRIP, with
	// disp counted from the start of the block.
	disp  uint64
	amask uint64
	base  uint8
	index uint8
	scale uint8
	seg   uint8

	dst  uint8 // register number, or byte offset into c.r for byte registers
	src  uint8 // likewise
	size uint8 // operand size in bytes
	aux  uint8 // free for handlers
	// legacy: outside 64-bit mode and not known to be flat, so that segment
	// limits and types must be checked.
	legacy bool

	fuse  uint8  // what it may be fused with; see fuse.go
	start uint16 // offset of the first byte from the start of the block
	next  uint16 // offset of the next instruction
	count uint8  // instructions in the block up to this one
	width uint8  // how many of them this op stands for
	imm   uint64
	jump  uint64 // offset of the target of a fused branch

	// link is the block that follows when the op is a direct branch that is
	// taken. Only blocks of the same page are linked: they are there whenever
	// this one is.
	link *block
}

// Registers beyond the sixteen.
const (
	regZero = 16 // always 0
	regRIP  = 17 // RIP of the first byte of the block being executed
	// RegResult is, for translated code, the result of the last comparison with memory, RegDst and RegSrc what the operands of another
	// instruction were: see Recipe.
	RegResult = 18
	RegDst    = 19
	RegSrc    = 20
)

// segNone is the index of segBase that is always 0.
const segNone = 6

// bindMem puts in's memory operand into o. The op's start and next are set.
func (o *Op) bindMem(in *x86.Inst) {
	m := &in.Mem
	o.base, o.index, o.scale = regZero, regZero, m.Scale
	o.disp = uint64(m.Disp)
	switch m.Base {
	case x86.NoReg:
	case x86.RIPBase:
		o.base = regRIP
		o.disp += uint64(o.next)
	default:
		o.base = m.Base
	}
	if m.Index != x86.NoReg && !m.VSIB {
		o.index = m.Index
	}
	switch in.AddrSize {
	case 2:
		o.amask = 0xffff
	case 4:
		o.amask = 0xffffffff
	default:
		o.amask = ^uint64(0)
	}
	o.seg = m.Seg
}

// byteReg returns the offset into c.r of a one-byte register operand.
func byteReg(a *x86.Arg) uint8 {
	if a.High {
		return uint8(a.Reg)*8 + 1
	}
	return uint8(a.Reg) * 8
}

// regNum returns how a register operand of any size is named in an Op.
func regNum(a *x86.Arg) uint8 {
	if a.Size == 1 {
		return byteReg(a)
	}
	return uint8(a.Reg)
}

// mem reports whether argument i of in is the memory operand.
func isMem(in *x86.Inst, i int) bool { return in.Args[i].Kind == x86.KindMem }
