package scsi

import "dfemu/devices"

// Feature bits (Virtual I/O Device 1.2, section 5.6.3).
const (
	featureHotplug = 1 << 1
	featureChange  = 1 << 2
)

var featureNames = map[uint64]string{1 << 0: "INOUT", featureHotplug: "HOTPLUG", featureChange: "CHANGE", 1 << 3: "T10_PI"}

// Queues (section 5.6.2); from queueRequest on they are for requests.
const (
	queueControl = 0
	queueEvent   = 1
	queueRequest = 2
)

// Rows of the device configuration (section 5.6.4).
const (
	regNumQueues = iota
	regSegMax
	regMaxSectors
	regCmdPerLUN
	regEventSize
	regSenseSize
	regCDBSize
	regMaxChannel
	regMaxTarget
	regMaxLUN
)

const configSize = 36

// configRegisters is the table of the device configuration.
var configRegisters = devices.NewBank("virtio scsi", []devices.Register{
	regNumQueues:  {Offset: 0, Size: 4, Name: "num_queues", Rights: devices.RO},
	regSegMax:     {Offset: 4, Size: 4, Name: "seg_max", Rights: devices.RO},
	regMaxSectors: {Offset: 8, Size: 4, Name: "max_sectors", Rights: devices.RO},
	regCmdPerLUN:  {Offset: 12, Size: 4, Name: "cmd_per_lun", Rights: devices.RO},
	regEventSize:  {Offset: 16, Size: 4, Name: "event_info_size", Rights: devices.RO},
	regSenseSize:  {Offset: 20, Size: 4, Name: "sense_size"},
	regCDBSize:    {Offset: 24, Size: 4, Name: "cdb_size"},
	regMaxChannel: {Offset: 28, Size: 2, Name: "max_channel", Rights: devices.RO},
	regMaxTarget:  {Offset: 30, Size: 2, Name: "max_target", Rights: devices.RO},
	regMaxLUN:     {Offset: 32, Size: 4, Name: "max_lun", Rights: devices.RO},
}).With(devices.Rules{Clause: "virtio 1.2, 5.6.4"})

const (
	requestHeader = 19 // lun[8] id[8] task_attr prio crn, before the CDB
	answerHeader  = 12 // sense_len[4] residual[4] status_qualifier[2] status response, before the sense data
	defaultCDB    = 32
	defaultSense  = 96
	maxCDB        = 260 // what drivers may set the sizes to
	maxSense      = 252
	eventSize     = 16

	maxTarget = 255
	maxLUN    = 255 // single-level addresses (SAM-5, 4.7.4)
)

// response is how the transport fared with a request (section 5.6.6.1).
type response uint8

const (
	respOK        response = 0
	respOverrun   response = 1
	respAborted   response = 2
	respBadTarget response = 3
	respReset     response = 4
	respFailure   response = 9
	respDone      response = 10 // of a task management function
	respRejected  response = 11
	respWrongLUN  response = 12
)

var responseNames = map[response]string{
	respOK: "OK", respOverrun: "OVERRUN", respAborted: "ABORTED", respBadTarget: "BAD_TARGET", respReset: "RESET", respFailure: "FAILURE",
	respDone: "FUNCTION_SUCCEEDED", respRejected: "FUNCTION_REJECTED", respWrongLUN: "INCORRECT_LUN",
}

// Control requests and their subtypes (section 5.6.6.2).
const (
	ctrlTMF       = 0
	ctrlQuery     = 1
	ctrlSubscribe = 2

	tmfSize   = 24
	asyncSize = 16

	tmfAbortTask    = 0
	tmfAbortTaskSet = 1
	tmfClearACA     = 2
	tmfClearTaskSet = 3
	tmfNexusReset   = 4
	tmfLUNReset     = 5
	tmfQueryTask    = 6
	tmfQueryTaskSet = 7
)

var tmfNames = [...]string{
	"ABORT TASK", "ABORT TASK SET", "CLEAR ACA", "CLEAR TASK SET", "I_T NEXUS RESET", "LOGICAL UNIT RESET", "QUERY TASK", "QUERY TASK SET",
}

// Events (section 5.6.6.3).
const (
	eventTransportReset = 1
	eventParamChange    = 3
	eventsMissed        = 1 << 31
	reasonRescan        = 1
	reasonRemoved       = 2
	maxEvents           = 64 // waiting for the driver
)

// Status of a command (SAM-5, 5.3.1).
const (
	statusGood     = 0x00
	statusCheck    = 0x02
	statusBusy     = 0x08
	statusConflict = 0x18
	statusFull     = 0x28
	statusAborted  = 0x40
)

var statusNames = map[uint8]string{
	statusGood: "GOOD", statusCheck: "CHECK CONDITION", statusBusy: "BUSY", statusConflict: "RESERVATION CONFLICT", statusFull: "TASK SET FULL",
	statusAborted: "TASK ABORTED",
}

// sense is a sense key with its additional code and qualifier (SPC-4, 4.5).
type sense struct {
	Key, ASC, ASCQ uint8
	// Info is the block concerned, if HasInfo.
	Info    uint64
	HasInfo bool
}

const (
	keyNone       = 0x0
	keyNotReady   = 0x2
	keyMedium     = 0x3
	keyIllegal    = 0x5
	keyAttention  = 0x6
	keyProtect    = 0x7
	keyMiscompare = 0xe
)

// The sense data that commands end with.
var (
	senseNone         = sense{Key: keyNone}
	senseReadError    = sense{Key: keyMedium, ASC: 0x11}
	senseWriteError   = sense{Key: keyMedium, ASC: 0x0c}
	senseOpcode       = sense{Key: keyIllegal, ASC: 0x20}
	senseRange        = sense{Key: keyIllegal, ASC: 0x21}
	senseField        = sense{Key: keyIllegal, ASC: 0x24}
	senseLUN          = sense{Key: keyIllegal, ASC: 0x25}
	senseParameter    = sense{Key: keyIllegal, ASC: 0x26}
	senseRelease      = sense{Key: keyIllegal, ASC: 0x26, ASCQ: 0x04} // invalid release of persistent reservation
	senseListLength   = sense{Key: keyIllegal, ASC: 0x1a}
	senseNoSaving     = sense{Key: keyIllegal, ASC: 0x39}
	senseProtected    = sense{Key: keyProtect, ASC: 0x27}
	senseMiscompare   = sense{Key: keyMiscompare, ASC: 0x1d}
	senseStopped      = sense{Key: keyNotReady, ASC: 0x04, ASCQ: 0x02}
	sensePowerOn      = sense{Key: keyAttention, ASC: 0x29}
	senseDeviceReset  = sense{Key: keyAttention, ASC: 0x29, ASCQ: 0x03}
	senseCapacity     = sense{Key: keyAttention, ASC: 0x2a, ASCQ: 0x09}
	senseTargetFailed = sense{Key: 0x4, ASC: 0x44} // internal target failure
)

const senseSize = 18

// encode is the sense data in the fixed format (SPC-4, 4.5.3).
func (s sense) encode() []byte {
	b := make([]byte, senseSize)
	b[0] = 0x70
	if s.HasInfo && s.Info < 1<<32 {
		b[0] |= 0x80
		be.PutUint32(b[3:], uint32(s.Info))
	}
	b[2], b[7], b[12], b[13] = s.Key, senseSize-8, s.ASC, s.ASCQ
	return b
}
