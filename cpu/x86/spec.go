package x86

// Spec is the form of one operand of a row, named as in the opcode maps of
// the SDM (vol. 2, appendix A.2): a letter for where it is found, and
// letters for its size.
type Spec uint8

// The operand forms.
const (
	NoArg Spec = iota

	// E: ModRM.rm, a general-purpose register or memory. v is the operand
	// size, z the operand size but at most 4, b, w, d and q are 1, 2, 4, 8.
	Eb
	Ew
	Ed
	Eq
	Ev
	Ez
	RvMw // register of the operand size, or word in memory
	RdMb // register of 4 bytes, or byte in memory
	RdMw // register of 4 bytes, or word in memory
	RvMd // register of the operand size, or doubleword in memory
	Rd   // ModRM.rm, a register (mod 3)
	Rv
	Rm // ModRM.rm, a register of 4 bytes, or 8 in 64-bit mode

	// G: ModRM.reg, a general-purpose register.
	Gb
	Gw
	Gd
	Gv
	Gdq // register of 4 bytes, or 8 for operand size 8

	Bv // VEX.vvvv, a general-purpose register
	Zb // the low bits of the opcode, a general-purpose register
	Zv

	// Implied registers.
	AL
	AX
	Av // rAX of the operand size
	CL
	DX
	One // the constant 1

	// Segment, control and debug registers.
	Sw // ModRM.reg
	SegES
	SegCS
	SegSS
	SegDS
	SegFS
	SegGS
	Cd // ModRM.reg
	Dd // ModRM.reg

	// Immediates. Arg.Imm is sign-extended in Is, Iz and Iv (Iv is up to 8
	// bytes), zero-extended in Ib and Iw.
	Ib
	Is // one byte
	Iw
	Iz // 2 bytes for operand size 2, otherwise 4
	Iv
	Jb // branch displacement of one byte
	Jz // likewise of 2 or 4 bytes
	Ap // far pointer: offset of 2 or 4 bytes, then selector
	Ob // memory at an offset in the instruction (moffs), byte
	Ov // likewise, of the operand size

	// M: ModRM.rm, memory only.
	M // no access, or one only the instruction knows: FXSAVE, XSAVE
	Mb
	Mw
	Md
	Mq
	Mdq
	Mqq
	Mx
	Mp    // far pointer of the operand size: offset, then selector
	Ma    // two values of the operand size: BOUND
	Ms    // pseudo-descriptor: 2 bytes, then 4, or 8 in 64-bit mode
	Mt    // 10 bytes
	Menv  // x87 environment: 14 or 28 bytes
	Msave // x87 state: 94 or 108 bytes
	VMd   // VSIB, elements of 4 bytes
	VMq   // VSIB, elements of 8 bytes

	// Implied memory.
	Xv  // DS:rSI (or the override), of the operand size
	Yv  // ES:rDI
	XBX // DS:rBX + AL, one byte. Mem has the base rBX only.
	XDI // DS:rDI, of 8 or (XMM) 16 bytes: MASKMOVQ, MASKMOVDQU

	// x87 registers.
	ST0
	STi // ModRM.rm

	// P, Q, N: MMX register in ModRM.reg; MMX register or memory in
	// ModRM.rm; MMX register in ModRM.rm.
	Pd
	Pq
	Qd
	Qq
	Nq

	// V, W, U: vector register in ModRM.reg; vector register or memory in
	// ModRM.rm; vector register in ModRM.rm. x is the vector length, h, f
	// and e half, a quarter and an eighth of it; dq is 16, qq 32 bytes.
	Vx
	Vd
	Vq
	Vdq
	Vqq
	Wx
	Wh
	Wf
	We
	Ww
	Wb
	Wd
	Wq
	Wdq
	Wqq
	UdqMd // vector register of 16 bytes, or 4 bytes of memory
	Ux
	Ud
	Uq
	Udq
	Uqq

	// H, L: vector register in VEX.vvvv; in the high bits of an immediate byte.
	Hx
	Hd
	Hq
	Hdq
	Hqq
	Lx
	XMM0 // implied

	NumSpecs = int(iota)
)

// Names of forms whose size is that of another by the row's SizeClass.
const (
	Ey = Ev // with SizeY
	Gy = Gv
	By = Bv
)

// Where says where an operand is encoded.
type Where uint8

// The places.
const (
	InNothing Where = iota // implied
	InReg                  // ModRM.reg
	InRM                   // ModRM.rm
	InOpcode               // low three bits of the opcode
	InVvvv                 // VEX.vvvv
	InImm                  // immediate, MemSize or RegSize bytes
	InIs4                  // bits 7–4 of an immediate byte
)

// SizeCode is a number of bytes up to 127, or one of the Sz constants, which
// depend on the instruction.
type SizeCode uint8

// The sizes that depend on prefixes and mode.
const (
	SzV    SizeCode = 128 + iota // Inst.OpSize
	SzZ                          // Inst.OpSize, at most 4
	SzDQ                         // Inst.OpSize, at least 4
	SzX                          // Inst.VecLen
	SzH                          // half of it
	SzF                          // a quarter
	SzE                          // an eighth
	SzP                          // OpSize + 2
	SzA                          // OpSize * 2
	SzS                          // 10 in 64-bit mode, otherwise 6
	SzM                          // 8 in 64-bit mode, otherwise 4
	SzEnv                        // 14 or 28
	SzSave                       // 94 or 108
)

// Bytes returns the size for a given operand size, vector length and mode.
func (c SizeCode) Bytes(opSize, vecLen uint8, mode Mode) uint8 {
	if c < SzV { // most: kept small so that it is inlined
		return uint8(c)
	}
	return c.bytes(opSize, vecLen, mode)
}

// bytes is Bytes for the sizes that depend on the instruction.
func (c SizeCode) bytes(opSize, vecLen uint8, mode Mode) uint8 {
	switch c {
	case SzV:
		return opSize
	case SzZ:
		return min(opSize, 4)
	case SzDQ:
		return max(opSize, 4)
	case SzX:
		return vecLen
	case SzH:
		return vecLen / 2
	case SzF:
		return vecLen / 4
	case SzE:
		return vecLen / 8
	case SzP:
		return opSize + 2
	case SzA:
		return opSize * 2
	case SzS:
		if mode == Mode64 {
			return 10
		}
		return 6
	case SzM:
		if mode == Mode64 {
			return 8
		}
		return 4
	case SzEnv:
		if opSize == 2 {
			return 14
		}
		return 28
	case SzSave:
		if opSize == 2 {
			return 94
		}
		return 108
	}
	return 0
}

// SpecInfo is what a Spec stands for.
type SpecInfo struct {
	Where   Where
	Kind    Kind // of the operand when it is not memory; KindNone: always memory
	Mem     bool // it can be memory
	Fixed   uint8
	RegSize SizeCode // bytes, as register or immediate
	MemSize SizeCode // bytes, as memory
}

// Info returns what s stands for.
func (s Spec) Info() SpecInfo { return specs[s] }

// specs is indexed by Spec.
var specs = [NumSpecs]SpecInfo{
	Eb:   {Where: InRM, Kind: KindReg, Mem: true, RegSize: 1, MemSize: 1},
	Ew:   {Where: InRM, Kind: KindReg, Mem: true, RegSize: 2, MemSize: 2},
	Ed:   {Where: InRM, Kind: KindReg, Mem: true, RegSize: 4, MemSize: 4},
	Eq:   {Where: InRM, Kind: KindReg, Mem: true, RegSize: 8, MemSize: 8},
	Ev:   {Where: InRM, Kind: KindReg, Mem: true, RegSize: SzV, MemSize: SzV},
	Ez:   {Where: InRM, Kind: KindReg, Mem: true, RegSize: SzZ, MemSize: SzZ},
	RvMw: {Where: InRM, Kind: KindReg, Mem: true, RegSize: SzV, MemSize: 2},
	RdMb: {Where: InRM, Kind: KindReg, Mem: true, RegSize: 4, MemSize: 1},
	RdMw: {Where: InRM, Kind: KindReg, Mem: true, RegSize: 4, MemSize: 2},
	RvMd: {Where: InRM, Kind: KindReg, Mem: true, RegSize: SzV, MemSize: 4},
	Rd:   {Where: InRM, Kind: KindReg, RegSize: 4},
	Rv:   {Where: InRM, Kind: KindReg, RegSize: SzV},
	Rm:   {Where: InRM, Kind: KindReg, RegSize: SzM},
	Gb:   {Where: InReg, Kind: KindReg, RegSize: 1},
	Gw:   {Where: InReg, Kind: KindReg, RegSize: 2},
	Gd:   {Where: InReg, Kind: KindReg, RegSize: 4},
	Gv:   {Where: InReg, Kind: KindReg, RegSize: SzV},
	Gdq:  {Where: InReg, Kind: KindReg, RegSize: SzDQ},
	Bv:   {Where: InVvvv, Kind: KindReg, RegSize: SzV},
	Zb:   {Where: InOpcode, Kind: KindReg, RegSize: 1},
	Zv:   {Where: InOpcode, Kind: KindReg, RegSize: SzV},

	AL:  {Kind: KindReg, Fixed: RAX, RegSize: 1},
	AX:  {Kind: KindReg, Fixed: RAX, RegSize: 2},
	Av:  {Kind: KindReg, Fixed: RAX, RegSize: SzV},
	CL:  {Kind: KindReg, Fixed: RCX, RegSize: 1},
	DX:  {Kind: KindReg, Fixed: RDX, RegSize: 2},
	One: {Kind: KindImm, Fixed: 1, RegSize: 1},

	Sw:    {Where: InReg, Kind: KindSeg, RegSize: 2},
	SegES: {Kind: KindSeg, Fixed: ES, RegSize: 2},
	SegCS: {Kind: KindSeg, Fixed: CS, RegSize: 2},
	SegSS: {Kind: KindSeg, Fixed: SS, RegSize: 2},
	SegDS: {Kind: KindSeg, Fixed: DS, RegSize: 2},
	SegFS: {Kind: KindSeg, Fixed: FS, RegSize: 2},
	SegGS: {Kind: KindSeg, Fixed: GS, RegSize: 2},
	Cd:    {Where: InReg, Kind: KindCR, RegSize: SzM},
	Dd:    {Where: InReg, Kind: KindDR, RegSize: SzM},

	Ib: {Where: InImm, Kind: KindImm, RegSize: 1},
	Is: {Where: InImm, Kind: KindImm, RegSize: 1},
	Iw: {Where: InImm, Kind: KindImm, RegSize: 2},
	Iz: {Where: InImm, Kind: KindImm, RegSize: SzZ},
	Iv: {Where: InImm, Kind: KindImm, RegSize: SzV},
	Jb: {Where: InImm, Kind: KindRel, RegSize: 1},
	Jz: {Where: InImm, Kind: KindRel, RegSize: SzZ},
	Ap: {Where: InImm, Kind: KindFar, RegSize: SzP},
	Ob: {Where: InImm, Mem: true, MemSize: 1},
	Ov: {Where: InImm, Mem: true, MemSize: SzV},

	M:     {Where: InRM, Mem: true},
	Mb:    {Where: InRM, Mem: true, MemSize: 1},
	Mw:    {Where: InRM, Mem: true, MemSize: 2},
	Md:    {Where: InRM, Mem: true, MemSize: 4},
	Mq:    {Where: InRM, Mem: true, MemSize: 8},
	Mdq:   {Where: InRM, Mem: true, MemSize: 16},
	Mqq:   {Where: InRM, Mem: true, MemSize: 32},
	Mx:    {Where: InRM, Mem: true, MemSize: SzX},
	Mp:    {Where: InRM, Mem: true, MemSize: SzP},
	Ma:    {Where: InRM, Mem: true, MemSize: SzA},
	Ms:    {Where: InRM, Mem: true, MemSize: SzS},
	Mt:    {Where: InRM, Mem: true, MemSize: 10},
	Menv:  {Where: InRM, Mem: true, MemSize: SzEnv},
	Msave: {Where: InRM, Mem: true, MemSize: SzSave},
	VMd:   {Where: InRM, Mem: true, MemSize: 4},
	VMq:   {Where: InRM, Mem: true, MemSize: 8},

	Xv:  {Mem: true, Fixed: RSI, MemSize: SzV},
	Yv:  {Mem: true, Fixed: RDI, MemSize: SzV},
	XBX: {Mem: true, Fixed: RBX, MemSize: 1},
	XDI: {Mem: true, Fixed: RDI, MemSize: SzX},

	ST0: {Kind: KindX87, RegSize: 10},
	STi: {Where: InRM, Kind: KindX87, RegSize: 10},

	Pd: {Where: InReg, Kind: KindMMX, RegSize: 4},
	Pq: {Where: InReg, Kind: KindMMX, RegSize: 8},
	Qd: {Where: InRM, Kind: KindMMX, Mem: true, RegSize: 4, MemSize: 4},
	Qq: {Where: InRM, Kind: KindMMX, Mem: true, RegSize: 8, MemSize: 8},
	Nq: {Where: InRM, Kind: KindMMX, RegSize: 8},

	Vx:    {Where: InReg, Kind: KindVec, RegSize: SzX},
	Vd:    {Where: InReg, Kind: KindVec, RegSize: 4},
	Vq:    {Where: InReg, Kind: KindVec, RegSize: 8},
	Vdq:   {Where: InReg, Kind: KindVec, RegSize: 16},
	Vqq:   {Where: InReg, Kind: KindVec, RegSize: 32},
	Wx:    {Where: InRM, Kind: KindVec, Mem: true, RegSize: SzX, MemSize: SzX},
	Wh:    {Where: InRM, Kind: KindVec, Mem: true, RegSize: SzH, MemSize: SzH},
	Wf:    {Where: InRM, Kind: KindVec, Mem: true, RegSize: SzF, MemSize: SzF},
	We:    {Where: InRM, Kind: KindVec, Mem: true, RegSize: SzE, MemSize: SzE},
	Wb:    {Where: InRM, Kind: KindVec, Mem: true, RegSize: 1, MemSize: 1},
	Ww:    {Where: InRM, Kind: KindVec, Mem: true, RegSize: 2, MemSize: 2},
	Wd:    {Where: InRM, Kind: KindVec, Mem: true, RegSize: 4, MemSize: 4},
	Wq:    {Where: InRM, Kind: KindVec, Mem: true, RegSize: 8, MemSize: 8},
	Wdq:   {Where: InRM, Kind: KindVec, Mem: true, RegSize: 16, MemSize: 16},
	Wqq:   {Where: InRM, Kind: KindVec, Mem: true, RegSize: 32, MemSize: 32},
	UdqMd: {Where: InRM, Kind: KindVec, Mem: true, RegSize: 16, MemSize: 4},
	Ux:    {Where: InRM, Kind: KindVec, RegSize: SzX},
	Ud:    {Where: InRM, Kind: KindVec, RegSize: 4},
	Uq:    {Where: InRM, Kind: KindVec, RegSize: 8},
	Udq:   {Where: InRM, Kind: KindVec, RegSize: 16},
	Uqq:   {Where: InRM, Kind: KindVec, RegSize: 32},
	Hx:    {Where: InVvvv, Kind: KindVec, RegSize: SzX},
	Hd:    {Where: InVvvv, Kind: KindVec, RegSize: 4},
	Hq:    {Where: InVvvv, Kind: KindVec, RegSize: 8},
	Hdq:   {Where: InVvvv, Kind: KindVec, RegSize: 16},
	Hqq:   {Where: InVvvv, Kind: KindVec, RegSize: 32},
	Lx:    {Where: InIs4, Kind: KindVec, RegSize: SzX},

	XMM0: {Kind: KindVec, RegSize: 16},
}
