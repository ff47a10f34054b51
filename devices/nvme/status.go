package nvme

import "fmt"

// A status is the status field of a completion (base specification, section
// 3.3.3.2.1) without the phase tag: code, type, and the more and do not retry
// bits.
type status uint16

const (
	dnr  status = 1 << 14
	more status = 1 << 13
	crdt status = 3 << 11
)

// code is the status without the more, retry delay and do not retry bits.
func (s status) code() status { return s &^ (dnr | more | crdt) }

// Generic command status (figure 94) and that of the NVM command set.
const (
	success              status = 0x00
	invalidOpcode               = 0x01 | dnr
	invalidField                = 0x02 | dnr
	idConflict                  = 0x03 | dnr
	dataTransferError    status = 0x04
	powerLoss            status = 0x05
	internalError        status = 0x06
	abortRequested       status = 0x07
	abortedQueueDeletion status = 0x08
	failedFused          status = 0x09
	missingFused         status = 0x0a
	invalidNamespace            = 0x0b | dnr
	sequenceError               = 0x0c | dnr
	sglSegmentInvalid           = 0x0d | dnr
	sglCountInvalid             = 0x0e | dnr
	sglLengthInvalid            = 0x0f | dnr
	sglTypeInvalid              = 0x11 | dnr
	invalidCMBUse               = 0x12 | dnr
	prpOffsetInvalid            = 0x13 | dnr
	operationDenied             = 0x15 | dnr
	sglOffsetInvalid            = 0x16 | dnr
	hostIDInconsistent          = 0x18 | dnr
	preemptedAborted     status = 0x1b
	sanitizeFailed              = 0x1c | dnr
	sanitizeInProgress   status = 0x1d
	writeProtected              = 0x20 | dnr
	lbaOutOfRange               = 0x80 | dnr
	capacityExceeded            = 0x81 | dnr
	namespaceNotReady    status = 0x82
	reservationConflict  status = 0x83
	formatInProgress     status = 0x84
)

// Command specific status (figure 96), and those of the command sets.
const (
	cqInvalid                    = 0x100 | dnr
	queueIDInvalid               = 0x101 | dnr
	queueSizeInvalid             = 0x102 | dnr
	abortLimit                   = 0x103 | dnr
	aerLimit                     = 0x105 | dnr
	firmwareSlotInvalid          = 0x106 | dnr
	firmwareImageInvalid         = 0x107 | dnr
	vectorInvalid                = 0x108 | dnr
	logPageInvalid               = 0x109 | dnr
	formatInvalid                = 0x10a | dnr
	queueDeletionInvalid         = 0x10c | dnr
	notSaveable                  = 0x10d | dnr
	notChangeable                = 0x10e | dnr
	notNamespaceSpecific         = 0x10f | dnr
	needsControllerReset         = status(0x111)
	overlappingRange             = 0x114 | dnr
	insufficientCapacity         = 0x115 | dnr
	nsidUnavailable              = 0x116 | dnr
	alreadyAttached              = 0x118 | dnr
	namespacePrivate             = 0x119 | dnr
	notAttached                  = 0x11a | dnr
	controllerListInvalid        = 0x11c | dnr
	selfTestInProgress           = 0x11d | dnr
	commandSetUnsupported        = 0x129 | dnr
	commandSetNotEnabled         = 0x12a | dnr
	commandSetRejected           = 0x12b | dnr
	commandSetInvalid            = 0x12c | dnr
	conflictingAttributes        = 0x180 | dnr
	sizeLimitExceeded            = 0x183 | dnr
	zoneBoundary                 = 0x1b8 | dnr
	zoneFull                     = 0x1b9 | dnr
	zoneReadOnly                 = 0x1ba | dnr
	zoneOffline                  = 0x1bb | dnr
	zoneInvalidWrite             = 0x1bc | dnr
	tooManyActive                = 0x1bd | dnr
	tooManyOpen                  = 0x1be | dnr
	zoneTransition               = 0x1bf | dnr
	writeFault                   = status(0x280)
	unrecoveredRead              = status(0x281)
	compareFailure               = 0x285 | dnr
	accessDenied                 = 0x286 | dnr
	maxStatusCode         status = 0x7ff
)

var statusNames = map[status]string{
	0x00: "Successful Completion", 0x01: "Invalid Command Opcode", 0x02: "Invalid Field in Command", 0x03: "Command ID Conflict",
	0x04: "Data Transfer Error", 0x05: "Commands Aborted due to Power Loss Notification", 0x06: "Internal Error",
	0x07: "Command Abort Requested", 0x08: "Command Aborted due to SQ Deletion", 0x09: "Command Aborted due to Failed Fused Command",
	0x0a: "Command Aborted due to Missing Fused Command", 0x0b: "Invalid Namespace or Format", 0x0c: "Command Sequence Error",
	0x0d: "Invalid SGL Segment Descriptor", 0x0e: "Invalid Number of SGL Descriptors", 0x0f: "Data SGL Length Invalid",
	0x10: "Metadata SGL Length Invalid", 0x11: "SGL Descriptor Type Invalid", 0x12: "Invalid Use of Controller Memory Buffer",
	0x13: "PRP Offset Invalid", 0x14: "Atomic Write Unit Exceeded", 0x15: "Operation Denied", 0x16: "SGL Offset Invalid",
	0x18: "Host Identifier Inconsistent Format", 0x19: "Keep Alive Timer Expired", 0x1a: "Keep Alive Timeout Invalid",
	0x1b: "Command Aborted due to Preempt and Abort", 0x1c: "Sanitize Failed", 0x1d: "Sanitize In Progress",
	0x1e: "SGL Data Block Granularity Invalid", 0x1f: "Command Not Supported for Queue in CMB", 0x20: "Namespace is Write Protected",
	0x21: "Command Interrupted", 0x22: "Transient Transport Error", 0x24: "Admin Command Media Not Ready",
	0x80: "LBA Out of Range", 0x81: "Capacity Exceeded", 0x82: "Namespace Not Ready", 0x83: "Reservation Conflict", 0x84: "Format In Progress",

	0x100: "Completion Queue Invalid", 0x101: "Invalid Queue Identifier", 0x102: "Invalid Queue Size", 0x103: "Abort Command Limit Exceeded",
	0x105: "Asynchronous Event Request Limit Exceeded", 0x106: "Invalid Firmware Slot", 0x107: "Invalid Firmware Image",
	0x108: "Invalid Interrupt Vector", 0x109: "Invalid Log Page", 0x10a: "Invalid Format", 0x10b: "Firmware Activation Requires Conventional Reset",
	0x10c: "Invalid Queue Deletion", 0x10d: "Feature Identifier Not Saveable", 0x10e: "Feature Not Changeable",
	0x10f: "Feature Not Namespace Specific", 0x110: "Firmware Activation Requires NVM Subsystem Reset",
	0x111: "Firmware Activation Requires Controller Level Reset", 0x114: "Overlapping Range", 0x115: "Namespace Insufficient Capacity",
	0x116: "Namespace Identifier Unavailable", 0x118: "Namespace Already Attached", 0x119: "Namespace Is Private",
	0x11a: "Namespace Not Attached", 0x11c: "Controller List Invalid", 0x11d: "Device Self-test In Progress",
	0x129: "I/O Command Set Not Supported", 0x12a: "I/O Command Set Not Enabled", 0x12b: "I/O Command Set Combination Rejected",
	0x12c: "Invalid I/O Command Set",
	0x180: "Conflicting Attributes", 0x181: "Invalid Protection Information", 0x182: "Attempted Write to Read Only Range",
	0x183: "Command Size Limit Exceeded",
	0x1b8: "Zoned Boundary Error", 0x1b9: "Zone Is Full", 0x1ba: "Zone Is Read Only", 0x1bb: "Zone Is Offline",
	0x1bc: "Zone Invalid Write", 0x1bd: "Too Many Active Zones", 0x1be: "Too Many Open Zones", 0x1bf: "Invalid Zone State Transition",
	0x280: "Write Fault", 0x281: "Unrecovered Read Error", 0x285: "Compare Failure", 0x286: "Access Denied",
	0x287: "Deallocated or Unwritten Logical Block",
}

// String is the specification's name of the status.
func (s status) String() string {
	if n, ok := statusNames[s.code()]; ok {
		return n
	}
	return fmt.Sprintf("status %#x", uint16(s.code()))
}
