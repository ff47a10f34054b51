package x86

// Enc is one row of the opcode table: one line of the SDM's instruction
// pages, one encoding of one instruction. Rows are read-only.
type Enc struct {
	Op     Op
	Map    Map
	Code   byte  // the opcode byte; with PlusR the first of eight
	Prefix Pfx   // mandatory prefix, or VEX.pp
	ModRM  ModRM // what is required of the ModRM byte; 0: there is none
	W      WReq  // REX.W or VEX.W
	L      LReq  // VEX.L
	Size   SizeClass
	Exc    Exc
	Feat   Feature // the CPUID feature needed; FeatNone: always there
	Attr   Attr32
	Args   Ops
}

// Ops are the operands of a row, in the SDM's order; unused ones are zero.
type Ops = [4]Spec

// Map is an opcode map: the escape bytes, or VEX.mmmmm, before the opcode.
type Map uint8

// The opcode maps (Intel SDM vol. 2, appendix A; 2.3.5.1 for VEX.mmmmm). The
// x87 escapes D8–DF are opcodes of MapOne.
const (
	MapOne   Map = iota // no escape
	Map0F               // 0F
	Map0F38             // 0F 38
	Map0F3A             // 0F 3A
	MapVEX1             // VEX, mmmmm 1: 0F
	MapVEX2             // VEX, mmmmm 2: 0F 38
	MapVEX3             // VEX, mmmmm 3: 0F 3A
	NumMaps  = iota
	firstVEX = MapVEX1
)

// IsVEX reports whether the map's opcodes follow a VEX prefix.
func (m Map) IsVEX() bool { return m >= firstVEX }

// Pfx is what a row requires of the prefixes 66, F3 and F2. The last of F3
// and F2 hides the other, and 66.
type Pfx uint8

// The prefix requirements.
const (
	PAny Pfx = iota // none of them is part of the opcode
	PNP             // no 66, F3 or F2 (VEX.pp 0)
	PNF             // no F3 or F2; 66 selects the operand size
	P66             // 66, without F3 or F2 (VEX.pp 1)
	PF3             // F3 (VEX.pp 2)
	PF2             // F2 (VEX.pp 3)
)

// ModRM is what a row requires of the ModRM byte: flags, and in the low byte
// the digit or the whole value.
type ModRM uint16

// The ModRM requirements. MR to MR7 allow registers and memory; they are
// combined with MemOnly or RegOnly, or with FixedRM and a value.
const (
	HasModRM ModRM = 1 << 8
	HasDigit ModRM = 1 << 9  // ModRM.reg is an opcode extension, ModRM&7
	RegOnly  ModRM = 1 << 10 // mod == 3
	MemOnly  ModRM = 1 << 11 // mod != 3
	FixedRM  ModRM = 1 << 12 // the byte is ModRM&0xff

	MR    = HasModRM            // /r
	MRmem = HasModRM | MemOnly  // /r, memory
	MRreg = HasModRM | RegOnly  // /r, register
	MRfix = HasModRM | FixedRM  // | value
	MR0   = HasModRM | HasDigit // /0 …
	MR1   = MR0 + 1
	MR2   = MR0 + 2
	MR3   = MR0 + 3
	MR4   = MR0 + 4
	MR5   = MR0 + 5
	MR6   = MR0 + 6
	MR7   = MR0 + 7
)

// Digit returns the opcode extension in ModRM.reg, and whether there is one.
func (m ModRM) Digit() (byte, bool) { return byte(m & 7), m&HasDigit != 0 }

// WReq is what a row requires of REX.W or VEX.W.
type WReq uint8

// The requirements on W. REX.W is 0 outside of 64-bit mode; VEX.W is the bit as it stands.
const (
	WAny WReq = iota
	W0
	W1
)

// LReq is what a row requires of VEX.L.
type LReq uint8

// The requirements on L.
const (
	LAny LReq = iota // ignored (LIG), or the vector length where the operands have one
	L0
	L1
)

// SizeClass says how the operand size is found (Intel SDM vol. 1, 3.6).
type SizeClass uint8

// The size classes.
const (
	SizeV    SizeClass = iota // by mode; 66 selects the other; REX.W 64 bits
	SizeB                     // 1 byte
	SizeD64                   // as SizeV, but 64 bits by default in 64-bit mode, and 32 is not possible
	SizeF64                   // as SizeV, but always 64 bits in 64-bit mode
	SizeY                     // 4 bytes, or 8 with W in 64-bit mode; 66 is not looked at
	SizeMode                  // 8 bytes in 64-bit mode, otherwise 4
	SizeZ                     // as SizeV, but REX.W means 4 bytes: port I/O
)

// Attr32 are further properties of a row.
type Attr32 uint32

// The properties.
const (
	Not64     Attr32 = 1 << iota // #UD in 64-bit mode
	Only64                       // #UD outside of 64-bit mode
	Lockable                     // LOCK is allowed, with a memory destination
	IgnoreMod                    // ModRM.rm is a register whatever mod is
	PlusR                        // the low three bits of the opcode are a register: eight opcodes
	NoREXB                       // REX.B must be clear
	Rep                          // F3 and F2 repeat the instruction
	RepZ                         // as Rep, and ZF ends the repetition: REPE, REPNE
	Unaligned                    // a legacy SSE memory operand of 16 bytes need not be aligned
	Gather                       // #UD unless destination, index and mask are different registers
	OnlyOS16                     // this row is for operand size 16
	OnlyOS32
	OnlyOS64
	OnlyAS16 // this row is for address size 16
	OnlyAS32
	OnlyAS64
)

// Exc is the class of an SSE or AVX instruction's exceptions (Intel SDM
// vol. 2, 2.4), or of an MMX one (vol. 3, 23.25.3).
type Exc uint8

// The exception classes.
const (
	ExcNone Exc = 0
	Exc1    Exc = 1  // memory aligned, no floating-point exceptions
	Exc2    Exc = 2  // legacy memory aligned, floating-point exceptions
	Exc3    Exc = 3  // scalar, floating-point exceptions
	Exc4    Exc = 4  // legacy memory aligned (if not Unaligned), no floating-point exceptions
	Exc5    Exc = 5  // scalar or partial, no floating-point exceptions
	Exc6    Exc = 6  // VEX only, no floating-point exceptions
	Exc7    Exc = 7  // no memory operand
	Exc8    Exc = 8  // VZEROALL, VZEROUPPER
	Exc11   Exc = 11 // F16C
	Exc12   Exc = 12 // gathers
	ExcGPR  Exc = 13 // VEX-encoded, general-purpose registers
	ExcMMX  Exc = 14 // MMX registers: #NM for CR0.TS, #MF, changes the x87 tag word
	ExcMMXF Exc = 15 // likewise with SIMD floating-point exceptions
	ExcX87  Exc = 16 // x87: #NM for CR0.EM or TS; #MF unless the instruction does not wait
)

// Aligned returns the alignment, in bytes, that the row's memory operand must
// have for the instruction not to raise #GP: 0, 16 or 32. vecLen is Inst.VecLen.
func (e *Enc) Aligned(vecLen uint8) uint8 {
	switch {
	case e.Exc == Exc1 && e.Map.IsVEX():
		return vecLen
	case e.Exc == Exc1:
		return 16
	case e.Map.IsVEX() || e.Attr&Unaligned != 0 || e.Exc != Exc2 && e.Exc != Exc4:
		return 0
	}
	for _, s := range e.Args {
		if i := s.Info(); i.Mem && (i.MemSize == 16 || i.MemSize == SzX) {
			return 16
		}
	}
	return 0
}

// Uses reports whether some operand of the row is found at w.
func (e *Enc) Uses(w Where) bool {
	for _, s := range e.Args {
		if specs[s].Where == w {
			return true
		}
	}
	return false
}
