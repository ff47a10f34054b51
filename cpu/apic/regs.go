package apic

// Registers, as MMIO offset >> 4; the x2APIC MSR is 0x800 plus this
// (SDM vol. 3, tables 11-1 and 11-6).
const (
	regID         = 0x02
	regVersion    = 0x03
	regTPR        = 0x08
	regAPR        = 0x09
	regPPR        = 0x0a
	regEOI        = 0x0b
	regRRD        = 0x0c
	regLDR        = 0x0d
	regDFR        = 0x0e
	regSVR        = 0x0f
	regISR        = 0x10
	regTMR        = 0x18
	regIRR        = 0x20
	regESR        = 0x28
	regICR        = 0x30
	regICR2       = 0x31
	regLVTTimer   = 0x32
	regLVTThermal = 0x33
	regLVTPerf    = 0x34
	regLVTLINT0   = 0x35
	regLVTLINT1   = 0x36
	regLVTError   = 0x37
	regTICR       = 0x38
	regTCCR       = 0x39
	regTDCR       = 0x3e
	regSelfIPI    = 0x3f

	// Two reserved offsets of a snapshot's register array hold what no
	// register shows: errors detected since the last write of the ESR, and
	// (bit 0) an ExtINT message that has not been acknowledged.
	snapErrors = 0x29
	snapExtINT = 0x2a
)

// The local vector table, in register order.
const (
	lvtTimer = iota
	lvtThermal
	lvtPerf
	lvtLINT0
	lvtLINT1
	lvtError
	numLVT
)

// Bits of LVT entries (SDM figure 11-8).
const (
	lvtStatus    = 1 << 12 // delivery status, read-only; always idle here
	lvtRemoteIRR = 1 << 14 // read-only
	lvtLevel     = 1 << 15
	lvtMasked    = 1 << 16
	lvtTimerMode = 3 << 17

	timerOneShot  = 0 << 17
	timerPeriodic = 1 << 17
	timerDeadline = 2 << 17
)

// lvtWritable has the bits of each LVT entry that software sets.
var lvtWritable = [numLVT]uint32{
	lvtTimer:   0x700ff,
	lvtThermal: 0x107ff,
	lvtPerf:    0x107ff,
	lvtLINT0:   0x1a7ff,
	lvtLINT1:   0x1a7ff,
	lvtError:   0x100ff,
}

// lvtReadOnly has the bits of each LVT entry that are defined but ignored when
// written; all bits in neither table are reserved.
var lvtReadOnly = [numLVT]uint32{
	lvtTimer:   lvtStatus,
	lvtThermal: lvtStatus,
	lvtPerf:    lvtStatus,
	lvtLINT0:   lvtStatus | lvtRemoteIRR,
	lvtLINT1:   lvtStatus | lvtRemoteIRR,
	lvtError:   lvtStatus,
}

// Delivery modes, bits 10–8 of the ICR, LVT entries and MSI data.
const (
	dmFixed  = 0
	dmLowest = 1
	dmSMI    = 2
	dmNMI    = 4
	dmINIT   = 5
	dmSIPI   = 6 // ICR only
	dmExtINT = 7 // LVT and MSI only
)

// Bits of the spurious-interrupt vector register (SDM figure 11-23).
const (
	svrEnable      = 1 << 8
	svrFocus       = 1 << 9
	svrSuppressEOI = 1 << 12
)

// Bits of the interrupt command register (SDM figures 11-12 and 11-28).
const (
	icrLogical   = 1 << 11
	icrAssert    = 1 << 14
	icrLevel     = 1 << 15
	icrWritable  = 0xccfff
	icrShorthand = 18 // shift of the two bits
)

// Destination shorthands.
const (
	destNone = iota
	destSelf
	destAll
	destOthers
)

// Bits of the error status register (SDM 11.5.3).
const (
	errSendIllegal    = 1 << 5
	errReceiveIllegal = 1 << 6
	errRegister       = 1 << 7
)

// MSRs this package answers for.
const (
	// MSRBase is IA32_APIC_BASE.
	MSRBase = 0x1b
	// MSRDeadline is IA32_TSC_DEADLINE.
	MSRDeadline = 0x6e0
	// MSRFirst and MSRLast bound the range reserved for x2APIC registers.
	MSRFirst = 0x800
	MSRLast  = 0x8ff
)

// Bits of IA32_APIC_BASE (SDM figure 11-5).
const (
	baseBSP    = 1 << 8
	baseX2     = 1 << 10
	baseEnable = 1 << 11

	// DefaultBase is the physical address of the register page after reset.
	DefaultBase = 0xfee00000
)

// versionValue is the version register: an integrated APIC (14H) with six LVT
// entries. Bit 24 is set where EOI-broadcast suppression is supported.
const (
	versionValue       = 0x14 | (numLVT-1)<<16
	versionSuppressEOI = 1 << 24
)
