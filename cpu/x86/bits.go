package x86

// RFLAGS bits (Intel SDM vol. 1, 3.4.3).
const (
	CF    = 1 << 0
	Flag1 = 1 << 1 // always set
	PF    = 1 << 2
	AF    = 1 << 4
	ZF    = 1 << 6
	SF    = 1 << 7
	TF    = 1 << 8
	IF    = 1 << 9
	DF    = 1 << 10
	OF    = 1 << 11
	IOPL  = 3 << 12
	NT    = 1 << 14
	RF    = 1 << 16
	VM    = 1 << 17
	AC    = 1 << 18
	VIF   = 1 << 19
	VIP   = 1 << 20
	ID    = 1 << 21

	// ArithFlags are the flags that arithmetic writes.
	ArithFlags = CF | PF | AF | ZF | SF | OF
)

// CR0 bits (Intel SDM vol. 3, 2.5).
const (
	CR0_PE = 1 << 0
	CR0_MP = 1 << 1
	CR0_EM = 1 << 2
	CR0_TS = 1 << 3
	CR0_ET = 1 << 4
	CR0_NE = 1 << 5
	CR0_WP = 1 << 16
	CR0_AM = 1 << 18
	CR0_NW = 1 << 29
	CR0_CD = 1 << 30
	CR0_PG = 1 << 31
)

// CR4 bits.
const (
	CR4_VME        = 1 << 0
	CR4_PVI        = 1 << 1
	CR4_TSD        = 1 << 2
	CR4_DE         = 1 << 3
	CR4_PSE        = 1 << 4
	CR4_PAE        = 1 << 5
	CR4_MCE        = 1 << 6
	CR4_PGE        = 1 << 7
	CR4_PCE        = 1 << 8
	CR4_OSFXSR     = 1 << 9
	CR4_OSXMMEXCPT = 1 << 10
	CR4_UMIP       = 1 << 11
	CR4_LA57       = 1 << 12
	CR4_FSGSBASE   = 1 << 16
	CR4_PCIDE      = 1 << 17
	CR4_OSXSAVE    = 1 << 18
	CR4_SMEP       = 1 << 20
	CR4_SMAP       = 1 << 21
)

// EFER bits.
const (
	EFER_SCE = 1 << 0
	EFER_LME = 1 << 8
	EFER_LMA = 1 << 10
	EFER_NXE = 1 << 11
)

// XCR0 bits.
const (
	XCR0_X87 = 1 << 0
	XCR0_SSE = 1 << 1
	XCR0_AVX = 1 << 2
)

// Exception vectors (Intel SDM vol. 3, 6.3).
const (
	VecDE  = 0
	VecDB  = 1
	VecNMI = 2
	VecBP  = 3
	VecOF  = 4
	VecBR  = 5
	VecUD  = 6
	VecNM  = 7
	VecDF  = 8
	VecTS  = 10
	VecNP  = 11
	VecSS  = 12
	VecGP  = 13
	VecPF  = 14
	VecMF  = 16
	VecAC  = 17
	VecMC  = 18
	VecXM  = 19
)

// Page-fault error code bits.
const (
	PFP = 1 << 0 // protection violation (clear: page not present)
	PFW = 1 << 1 // write
	PFU = 1 << 2 // user-mode access
	PFR = 1 << 3 // reserved bit set in a paging entry
	PFI = 1 << 4 // instruction fetch
)
