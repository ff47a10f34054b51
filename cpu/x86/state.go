package x86

// State is the architectural state of one logical processor: what two
// implementations must agree on, what a snapshot holds, what KVM is given.
// It is plain data; whoever holds it owns it.
type State struct {
	GPR    [16]uint64 // RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 … R15
	RIP    uint64
	RFLAGS uint64

	Seg  [6]Segment // indexed by ES … GS
	LDTR Segment
	TR   Segment
	GDTR Table
	IDTR Table

	CR0, CR2, CR3, CR4, CR8 uint64
	XCR0                    uint64
	DR                      [8]uint64 // DR4 and DR5 unused

	MSR MSRs

	FPU FPU
	// Vec holds the vector registers: 0 to 3 of each are the quadwords of
	// YMM, of which 0 and 1 are XMM.
	Vec   [16][4]uint64
	MXCSR uint32

	// Run is what the processor is doing.
	Run RunState
	// IntrShadow is set for the one instruction after STI, MOV SS or POP SS.
	IntrShadow bool
	// NMIBlocked is set from the delivery of an NMI to the next IRET.
	NMIBlocked bool
	// NMIPending is an NMI that has arrived and is not yet delivered.
	NMIPending bool

	// APIC is the local APIC.
	APIC APIC
	// TSCOffset is added to the clock's time-stamp count: guest TSC = count + TSCOffset.
	TSCOffset uint64
}

// RunState is what a logical processor is doing (Intel SDM vol. 3, 9.4).
type RunState uint8

// The run states.
const (
	Running     RunState = iota // executing instructions
	Halted                      // in HLT or MWAIT, woken by an interrupt
	WaitForSIPI                 // an application processor after INIT
)

// Segment is a segment register with its hidden part.
type Segment struct {
	Selector uint16
	Base     uint64
	Limit    uint32 // in bytes, after applying the granularity bit
	Attr     Attr
}

// Attr holds a descriptor's attribute bits as they stand in bits 8–23 of its
// upper doubleword, with the limit bits (8–11 here) zero: type 0–3, S 4,
// DPL 5–6, P 7, AVL 12, L 13, D/B 14, G 15. Bit 16 marks an unusable segment
// register (loaded with a null selector).
type Attr uint32

// The attribute bits.
const (
	AttrType     Attr = 0xf
	AttrAccessed Attr = 1 << 0 // data and code: accessed
	AttrRW       Attr = 1 << 1 // data: writable; code: readable
	AttrDC       Attr = 1 << 2 // data: expand down; code: conforming
	AttrCode     Attr = 1 << 3 // code segment
	AttrS        Attr = 1 << 4 // code or data (not a system segment)
	AttrDPL      Attr = 3 << 5
	AttrP        Attr = 1 << 7
	AttrAVL      Attr = 1 << 12
	AttrL        Attr = 1 << 13
	AttrDB       Attr = 1 << 14
	AttrG        Attr = 1 << 15
	AttrUnusable Attr = 1 << 16
)

// DPL returns the descriptor privilege level.
func (a Attr) DPL() int { return int(a >> 5 & 3) }

// Table is GDTR or IDTR.
type Table struct {
	Base  uint64
	Limit uint16
}

// MSRs are the model-specific registers that hold state of their own.
type MSRs struct {
	EFER, STAR, LSTAR, CSTAR, FMASK, KernelGSBase uint64
	SysenterCS, SysenterESP, SysenterEIP          uint64
	PAT, TSCAux, MiscEnable, APICBase             uint64
	TSCDeadline, TSCAdjust, SpecCtrl, XSS         uint64
	MTRRDefType                                   uint64
	MTRRFixed                                     [11]uint64 // 64K_00000, 16K_80000, 16K_A0000, 4K_C0000 … 4K_F8000
	MTRRPhys                                      [16]uint64 // base0, mask0, base1, …
	KVMWallClock, KVMSystemTime, KVMPollControl   uint64
	KVMAsyncPF, KVMStealTime, KVMPVEOI            uint64
	MCGStatus                                     uint64
	DebugCtl                                      uint64
}

// FPU is the x87 state. MMX registers are the low 64 bits of the physical registers.
type FPU struct {
	CW, SW uint16 // control and status word; TOP is SW[13:11]
	// Tag has a bit for each physical register that is not empty (the
	// abridged tag word of FXSAVE).
	Tag uint8
	FOP uint16
	// FIP and FDP are the last instruction's and operand's offsets; FCS and
	// FDS their selectors.
	FIP, FDP uint64
	FCS, FDS uint16
	R        [8]F80 // physical registers: ST(i) is R[(TOP+i)&7]
}

// F80 is a double extended-precision value: the 64-bit significand with its
// explicit integer bit, and sign and exponent.
type F80 struct {
	Mant uint64
	SE   uint16
}

// APIC is the state of a local APIC (Intel SDM vol. 3, chapter 11). Registers
// are held by the low byte of their MMIO offset divided by 16.
type APIC struct {
	ID   uint32
	Regs [64]uint32 // index = MMIO offset >> 4: 0x02 ID … 0x3e divide configuration
	// TimerStart is the clock time, in nanoseconds, at which the timer's
	// present period began.
	TimerStart int64
}

// Indices of Seg, as encoded in instructions.
const (
	ES = iota
	CS
	SS
	DS
	FS
	GS
)

// Indices of GPR, as encoded in instructions.
const (
	RAX = iota
	RCX
	RDX
	RBX
	RSP
	RBP
	RSI
	RDI
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
)
