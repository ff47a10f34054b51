package blk

// Feature bits (Virtual I/O Device 1.2, section 5.2.3).
const (
	featureSegMax      = 1 << 2
	featureRO          = 1 << 5
	featureBlkSize     = 1 << 6
	featureFlush       = 1 << 9
	featureTopology    = 1 << 10
	featureConfigWCE   = 1 << 11
	featureMQ          = 1 << 12
	featureDiscard     = 1 << 13
	featureWriteZeroes = 1 << 14
)

// Offsets in the device configuration (section 5.2.4).
const (
	cfgCapacity            = 0x00 // 64 bits, in sectors
	cfgSegMax              = 0x0c // 32 bits
	cfgBlkSize             = 0x14 // 32 bits, in bytes
	cfgPhysicalExp         = 0x18 // 8 bits
	cfgMinIO               = 0x1a // 16 bits, in logical blocks
	cfgOptIO               = 0x1c // 32 bits, in logical blocks
	cfgWriteback           = 0x20 // 8 bits
	cfgNumQueues           = 0x22 // 16 bits
	cfgMaxDiscardSectors   = 0x24 // 32 bits
	cfgMaxDiscardSeg       = 0x28 // 32 bits
	cfgDiscardAlignment    = 0x2c // 32 bits, in sectors
	cfgMaxZeroesSectors    = 0x30 // 32 bits
	cfgMaxZeroesSeg        = 0x34 // 32 bits
	cfgWriteZeroesMayUnmap = 0x38 // 8 bits
	cfgSize                = 0x3c
)

// Types of requests (section 5.2.6).
const (
	typeIn          = 0
	typeOut         = 1
	typeFlush       = 4
	typeGetID       = 8
	typeDiscard     = 11
	typeWriteZeroes = 13
)

// Status of a request, its last byte.
const (
	statusOK    = 0
	statusIOErr = 1
	statusUnsup = 2
)

const (
	sectorSize   = 512
	headerSize   = 16
	idSize       = 20 // of the serial number
	rangeSize    = 16 // of one range to discard or zero
	rangeUnmap   = 1
	maxRanges    = 32
	maxSectors   = 1 << 21 // in one range: 1 GiB
	defaultQueue = 256
)
