package atapi

import "dfemu/devices/ahci/ata"

// Operation codes (SPC-4, MMC-6).
const (
	opTestUnitReady     = 0x00
	opRequestSense      = 0x03
	opInquiry           = 0x12
	opModeSelect6       = 0x15
	opModeSense6        = 0x1a
	opStartStopUnit     = 0x1b
	opPreventAllow      = 0x1e
	opReadFormatCaps    = 0x23
	opReadCapacity      = 0x25
	opRead10            = 0x28
	opSeek10            = 0x2b
	opVerify10          = 0x2f
	opSyncCache         = 0x35
	opReadSubchannel    = 0x42
	opReadTOC           = 0x43
	opReadHeader        = 0x44
	opGetConfiguration  = 0x46
	opGetEventStatus    = 0x4a
	opReadDiscInfo      = 0x51
	opReadTrackInfo     = 0x52
	opModeSelect10      = 0x55
	opModeSense10       = 0x5a
	opReportLUNs        = 0xa0
	opRead12            = 0xa8
	opGetPerformance    = 0xac
	opReadDiscStructure = 0xad
	opSetReadAhead      = 0xa7
	opReadCDMSF         = 0xb9
	opSetSpeed          = 0xbb
	opMechanismStatus   = 0xbd
	opReadCD            = 0xbe
)

// length is how a packet says how much data it asks for.
type length uint8

const (
	lenNone   length = iota
	len8at4          // 8 bits at byte 4
	len16at3         // 16 bits at byte 3
	len16at7         // 16 bits at byte 7
	len16at8         // 16 bits at byte 8
	len32at6         // 32 bits at byte 6
	lenBlocks        // a number of blocks
	len8             // 8 bytes
	lenDescr         // 8 bytes and 16 for each of 16 bits at byte 8
)

// row is what is fixed of an operation.
type row struct {
	name   string
	length length
	write  bool
	// media: the operation needs a medium. calm: a unit attention condition does not
	// get in its way.
	media, calm bool
}

func lookup(op uint8) (row, bool) {
	r := operations[op]
	return r, r.name != ""
}

var operations = [256]row{
	opTestUnitReady:     {name: "TEST UNIT READY", media: true},
	opRequestSense:      {name: "REQUEST SENSE", length: len8at4, calm: true},
	opInquiry:           {name: "INQUIRY", length: len16at3, calm: true},
	opModeSelect6:       {name: "MODE SELECT(6)", length: len8at4, write: true},
	opModeSense6:        {name: "MODE SENSE(6)", length: len8at4},
	opStartStopUnit:     {name: "START STOP UNIT"},
	opPreventAllow:      {name: "PREVENT ALLOW MEDIUM REMOVAL"},
	opReadFormatCaps:    {name: "READ FORMAT CAPACITIES", length: len16at7},
	opReadCapacity:      {name: "READ CAPACITY", length: len8, media: true},
	opRead10:            {name: "READ(10)", length: lenBlocks, media: true},
	opSeek10:            {name: "SEEK(10)", media: true},
	opVerify10:          {name: "VERIFY(10)", media: true},
	opSyncCache:         {name: "SYNCHRONIZE CACHE", media: true},
	opReadSubchannel:    {name: "READ SUB-CHANNEL", length: len16at7, media: true},
	opReadTOC:           {name: "READ TOC/PMA/ATIP", length: len16at7, media: true},
	opReadHeader:        {name: "READ HEADER", length: len16at7, media: true},
	opGetConfiguration:  {name: "GET CONFIGURATION", length: len16at7, calm: true},
	opGetEventStatus:    {name: "GET EVENT STATUS NOTIFICATION", length: len16at7, calm: true},
	opReadDiscInfo:      {name: "READ DISC INFORMATION", length: len16at7, media: true},
	opReadTrackInfo:     {name: "READ TRACK INFORMATION", length: len16at7, media: true},
	opModeSelect10:      {name: "MODE SELECT(10)", length: len16at7, write: true},
	opModeSense10:       {name: "MODE SENSE(10)", length: len16at7},
	opReportLUNs:        {name: "REPORT LUNS", length: len32at6, calm: true},
	opRead12:            {name: "READ(12)", length: lenBlocks, media: true},
	opGetPerformance:    {name: "GET PERFORMANCE", length: lenDescr},
	opReadDiscStructure: {name: "READ DISC STRUCTURE", length: len16at8, media: true},
	opSetReadAhead:      {name: "SET READ AHEAD", media: true},
	opReadCDMSF:         {name: "READ CD MSF", length: lenBlocks, media: true},
	opSetSpeed:          {name: "SET CD SPEED"},
	opMechanismStatus:   {name: "MECHANISM STATUS", length: len16at8},
	opReadCD:            {name: "READ CD", length: lenBlocks, media: true},
}

// blockSize is the length of the user data of one block in bytes.
const blockSize = 2048

// A sense is sense data: key, additional code and qualifier (SPC-4, section 4.5).
type sense struct{ Key, ASC, ASCQ uint8 }

var (
	senseNone          = sense{}
	senseNoMedium      = sense{2, 0x3a, 1}
	senseTrayOpen      = sense{2, 0x3a, 2}
	senseRead          = sense{3, 0x11, 0}
	senseOpcode        = sense{5, 0x20, 0}
	senseRange         = sense{5, 0x21, 0}
	senseField         = sense{5, 0x24, 0}
	senseParameter     = sense{5, 0x26, 0}
	senseSaving        = sense{5, 0x39, 0}
	senseIncompatible  = sense{5, 0x30, 2} // cannot read medium: incompatible format
	senseLocked        = sense{5, 0x53, 2}
	senseMode          = sense{5, 0x64, 0} // illegal mode for this track
	senseMediumChanged = sense{6, 0x28, 0}
	senseReset         = sense{6, 0x29, 0}
)

// reasonDone is the interrupt reason at the end of a packet command, in the Count
// field: command and data, to the host.
const reasonDone = 3

// good is the status of a packet device without an error.
const good = ata.StatusReady | ata.StatusSeek
