package x86

// Mode is the operating mode that decides how bytes are decoded.
type Mode uint8

// The decoding modes. Mode16 and Mode32 are also virtual-8086 mode and the
// compatibility sub-modes: the default operand and address size of CS.
const (
	Mode16 Mode = iota
	Mode32
	Mode64
)

// MaxInstLen is the longest instruction, in bytes (Intel SDM vol. 2, 2.3.11).
const MaxInstLen = 15

// Inst is one decoded instruction.
type Inst struct {
	Op  Op    // the mnemonic
	Enc *Enc  // the row of the opcode table it was decoded from
	Len uint8 // bytes, prefixes included

	// OpSize is the effective operand size of the general-purpose part: 1, 2,
	// 4 or 8 bytes. For vector instructions it is the size of their
	// general-purpose operand, where they have one.
	OpSize uint8
	// AddrSize is the effective address size: 2, 4 or 8 bytes.
	AddrSize uint8
	// VecLen is 16 or 32 for vector instructions (8 for MMX), otherwise 0.
	VecLen uint8

	Lock  bool // F0
	Rep   bool // F3, where it is a repeat prefix and not part of the opcode
	Repne bool // F2, likewise
	VEX   bool // VEX-encoded
	ModRM byte // the ModRM byte, if Enc.ModRM says that there is one

	NArgs uint8
	Args  [4]Arg // in the SDM's order: destination first
	Mem   Mem    // the memory operand, if some Arg is KindMem
}

// Kind says what an operand is.
type Kind uint8

// The kinds of operand.
const (
	KindNone Kind = iota
	KindReg       // general-purpose register Reg, Size bytes; High: AH, CH, DH, BH
	KindMem       // Inst.Mem, Size bytes (0: no access of its own, as LEA and INVLPG)
	KindImm       // Imm, sign- or zero-extended as the instruction says
	KindRel       // Imm: branch displacement from the next instruction
	KindFar       // far pointer: Imm is the offset, Reg the selector
	KindSeg       // segment register Reg
	KindCR        // control register Reg
	KindDR        // debug register Reg
	KindX87       // ST(Reg)
	KindMMX       // MM Reg
	KindVec       // XMM or YMM Reg, Size bytes of it are used
)

// Arg is one operand.
type Arg struct {
	Kind Kind
	Size uint8 // bytes accessed
	High bool  // KindReg of one byte: bits 8–15 of register Reg (0–3)
	Reg  uint16
	Imm  int64
}

// NoReg marks an absent base or index register.
const NoReg = 0xff

// RIPBase as Mem.Base means relative to the next instruction's RIP.
const RIPBase = 0xfe

// Mem is a memory operand. Its linear address is the base of Seg plus
// (Base + Index*Scale + Disp) truncated to the instruction's AddrSize.
type Mem struct {
	Seg   uint8 // ES … GS: the override, or the default for the base register
	Base  uint8 // register number, NoReg or RIPBase
	Index uint8 // register number, or NoReg. With VSIB: a vector register.
	Scale uint8 // shift: 0 to 3
	VSIB  bool
	Disp  int64 // sign-extended
}
