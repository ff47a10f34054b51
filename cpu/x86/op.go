package x86

import "strconv"

//go:generate go run ./internal/genop

// Op is an instruction's mnemonic, as the Intel SDM (vol. 2) names it, in
// upper case. Names differ from the SDM's where one mnemonic stands for
// instructions that have little in common: see the groups below.
type Op uint16

// Invalid is the zero Op: no instruction.
const Invalid Op = 0

// The general-purpose and system instructions.
const (
	// Integer arithmetic and logic.
	ADD Op = Invalid + 1 + iota
	OR
	ADC
	SBB
	AND
	SUB
	XOR
	CMP
	TEST
	INC
	DEC
	NEG
	NOT
	MUL
	IMUL
	DIV
	IDIV
	ADCX
	ADOX
	ROL
	ROR
	RCL
	RCR
	SHL
	SHR
	SAR
	SHLD
	SHRD
	BT
	BTS
	BTR
	BTC
	BSF
	BSR
	TZCNT
	LZCNT
	POPCNT
	CRC32
	AAA
	AAS
	AAD
	AAM
	DAA
	DAS
	CBW
	CWDE
	CDQE
	CWD
	CDQ
	CQO

	// BMI1 and BMI2 (VEX-encoded, general-purpose registers).
	ANDN
	BEXTR
	BLSI
	BLSMSK
	BLSR
	BZHI
	MULX
	PDEP
	PEXT
	RORX
	SARX
	SHLX
	SHRX

	// Data movement. MOVSEG, MOVCR and MOVDR are MOV to or from a segment,
	// control or debug register; PUSHSEG and POPSEG PUSH and POP of a segment
	// register.
	MOV
	MOVSEG
	MOVCR
	MOVDR
	MOVZX
	MOVSX
	MOVSXD
	MOVBE
	MOVNTI
	LEA
	XCHG
	XADD
	CMPXCHG
	CMPXCHG8B
	CMPXCHG16B
	BSWAP
	XLAT
	PUSH
	POP
	PUSHSEG
	POPSEG
	PUSHA
	POPA
	PUSHF
	POPF
	ENTER
	LEAVE
	LDS
	LES
	LFS
	LGS
	LSS
	LAHF
	SAHF
	SALC
	CLC
	STC
	CMC
	CLD
	STD

	// String and port I/O instructions; the element size is Inst.OpSize.
	MOVS
	CMPS
	STOS
	LODS
	SCAS
	INS
	OUTS
	IN
	OUT

	// CMOVcc, in the order of the condition code (Op - CMOVO).
	CMOVO
	CMOVNO
	CMOVB
	CMOVAE
	CMOVE
	CMOVNE
	CMOVBE
	CMOVA
	CMOVS
	CMOVNS
	CMOVP
	CMOVNP
	CMOVL
	CMOVGE
	CMOVLE
	CMOVG

	// SETcc, likewise.
	SETO
	SETNO
	SETB
	SETAE
	SETE
	SETNE
	SETBE
	SETA
	SETS
	SETNS
	SETP
	SETNP
	SETL
	SETGE
	SETLE
	SETG

	// Jcc, likewise.
	JO
	JNO
	JB
	JAE
	JE
	JNE
	JBE
	JA
	JS
	JNS
	JP
	JNP
	JL
	JGE
	JLE
	JG

	// Control transfer. CALLFAR, JMPFAR and RETFAR are the far forms; IRET is
	// IRET, IRETD or IRETQ by Inst.OpSize.
	JMP
	CALL
	RET
	JMPFAR
	CALLFAR
	RETFAR
	IRET
	JCXZ
	JECXZ
	JRCXZ
	LOOP
	LOOPE
	LOOPNE
	INT
	INT1
	INT3
	INTO
	BOUND
	UD0
	UD1
	UD2
	SYSCALL
	SYSRET
	SYSENTER
	SYSEXIT
	VMCALL
	VMMCALL
	RSM

	// System.
	CLI
	STI
	CLAC
	STAC
	CLTS
	HLT
	INVD
	WBINVD
	INVLPG
	INVPCID
	LGDT
	LIDT
	LLDT
	LTR
	LMSW
	SGDT
	SIDT
	SLDT
	STR
	SMSW
	LAR
	LSL
	VERR
	VERW
	ARPL
	RDMSR
	WRMSR
	RDPMC
	RDTSC
	RDTSCP
	RDPID
	CPUID
	SWAPGS
	RDFSBASE
	RDGSBASE
	WRFSBASE
	WRGSBASE
	MONITOR
	MWAIT
	XGETBV
	XSETBV
	XSAVE
	XSAVEOPT
	XSAVEC
	XRSTOR
	RDRAND
	RDSEED

	// Hints, fences and cache control.
	NOP
	PAUSE
	ENDBR32
	ENDBR64
	PREFETCH
	PREFETCHW
	PREFETCHNTA
	PREFETCHT0
	PREFETCHT1
	PREFETCHT2
	CLFLUSH
	CLFLUSHOPT
	CLWB
	LFENCE
	MFENCE
	SFENCE

	lastGeneral = iota + Invalid // the last of this group
)

// String returns the mnemonic in upper case.
func (op Op) String() string {
	if int(op) >= NumOps {
		return "Op(" + strconv.Itoa(int(op)) + ")"
	}
	start := 0
	if op > 0 {
		start = int(opNameEnd[op-1])
	}
	return opNames[start:opNameEnd[op]]
}
