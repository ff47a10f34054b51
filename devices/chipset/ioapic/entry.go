package ioapic

// An entry is a redirection table entry, in the layout of the 82093AA (section
// 3.2.4).
type entry uint64

// Fields of a redirection table entry.
const (
	vectorMask entry = 0xff
	modeShift        = 8 // delivery mode, 3 bits
	modeMask   entry = 7 << modeShift
	logical    entry = 1 << 11 // destination mode
	activeLow  entry = 1 << 13 // polarity: a note to the board, lines here are logical
	remoteIRR  entry = 1 << 14
	levelMode  entry = 1 << 15 // trigger mode
	masked     entry = 1 << 16
	extDest    entry = 0x7f << 49 // destination ID bits 14..8
	destShift        = 56         // destination ID bits 7..0

	writable = vectorMask | modeMask | logical | activeLow | levelMode | masked | 0xff<<destShift
)

// Delivery modes.
const (
	fixed = iota
	lowestPriority
	smi
	_
	nmi
	initIPI
	_
	extINT
)

func (e entry) mode() entry { return e & modeMask >> modeShift }

// level tells whether the pin is level-triggered. Delivery modes that carry no
// vector of their own are edges whatever the trigger mode says.
func (e entry) level() bool {
	return e&levelMode != 0 && (e.mode() == fixed || e.mode() == lowestPriority)
}

// Message layout (Intel SDM vol. 3, section 12.11; ICH9, section 13.5).
const (
	msiBase         = 0xfee0_0000
	msiDestShift    = 12
	msiExtDestShift = 5 // destination ID bits 14..8, where the platform offers them
	msiHint         = 1 << 3
	msiLogical      = 1 << 2

	dataAssert = 1 << 14
	dataLevel  = 1 << 15
)

// message is the interrupt message that the entry sends.
func (e entry) message() (addr uint64, data uint32) {
	addr = msiBase | uint64(e>>destShift)<<msiDestShift | uint64(e&extDest>>49)<<msiExtDestShift
	if e&logical != 0 {
		addr |= msiLogical
	}
	if e.mode() == lowestPriority {
		addr |= msiHint
	}
	data = uint32(e&vectorMask) | uint32(e&modeMask) | dataAssert
	if e.level() {
		data |= dataLevel
	}
	return addr, data
}
