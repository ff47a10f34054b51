package ata

// Bits of the Status register (ACS-4, section 6.3).
const (
	StatusErr   = 1 << 0 // for packet devices CHK
	StatusData  = 1 << 3 // DRQ
	StatusSeek  = 1 << 4 // DSC
	StatusFault = 1 << 5 // DF
	StatusReady = 1 << 6 // DRDY
	StatusBusy  = 1 << 7 // BSY
)

// Bits of the Error register (ACS-4, section 6.4).
const (
	ErrAborted       = 1 << 2 // ABRT
	ErrNotFound      = 1 << 4 // IDNF
	ErrUncorrectable = 1 << 6 // UNC
	ErrCRC           = 1 << 7 // ICRC
)

// Bits of the Device field.
const (
	deviceLBA = 1 << 6
	deviceFUA = 1 << 7 // of queued writes
)

// Commands (ACS-4, clause 7; those marked with the standard that had them last
// are obsolete and still used by firmware).
const (
	CmdNOP               = 0x00
	CmdDataSetManagement = 0x06
	CmdDeviceReset       = 0x08
	CmdRequestSense      = 0x0b
	CmdRecalibrate       = 0x10 // ATA-3
	CmdReadSectors       = 0x20
	CmdReadSectorsNR     = 0x21 // ATA-4: no retries
	CmdReadSectorsExt    = 0x24
	CmdReadDMAExt        = 0x25
	CmdReadNativeMaxExt  = 0x27 // ACS-2
	CmdReadMultipleExt   = 0x29
	CmdReadLogExt        = 0x2f
	CmdWriteSectors      = 0x30
	CmdWriteSectorsNR    = 0x31 // ATA-4
	CmdWriteSectorsExt   = 0x34
	CmdWriteDMAExt       = 0x35
	CmdWriteMultipleExt  = 0x39
	CmdWriteDMAFUAExt    = 0x3d
	CmdWriteLogExt       = 0x3f
	CmdVerify            = 0x40
	CmdVerifyNR          = 0x41 // ATA-4
	CmdVerifyExt         = 0x42
	CmdZeroExt           = 0x44
	CmdWriteUncorrect    = 0x45
	CmdReadLogDMAExt     = 0x47
	CmdWriteLogDMAExt    = 0x57
	CmdReadFPDMA         = 0x60
	CmdWriteFPDMA        = 0x61
	CmdNCQNonData        = 0x63
	CmdSendFPDMA         = 0x64
	CmdReceiveFPDMA      = 0x65
	CmdSeek              = 0x70 // ATA-6
	CmdDiagnostic        = 0x90
	CmdInitParameters    = 0x91 // ATA-5
	CmdPacket            = 0xa0
	CmdIdentifyPacket    = 0xa1
	CmdSMART             = 0xb0
	CmdReadMultiple      = 0xc4
	CmdWriteMultiple     = 0xc5
	CmdSetMultiple       = 0xc6
	CmdReadDMA           = 0xc8
	CmdReadDMANR         = 0xc9 // ATA-4
	CmdWriteDMA          = 0xca
	CmdWriteDMANR        = 0xcb // ATA-4
	CmdWriteMultipleFUA  = 0xce
	CmdStandbyImmediate  = 0xe0
	CmdIdleImmediate     = 0xe1
	CmdStandby           = 0xe2
	CmdIdle              = 0xe3
	CmdReadBuffer        = 0xe4 // to the control port of a port multiplier: read
	CmdCheckPower        = 0xe5
	CmdSleep             = 0xe6
	CmdFlush             = 0xe7
	CmdWriteBuffer       = 0xe8 // to the control port of a port multiplier: write
	CmdReadBufferDMA     = 0xe9
	CmdFlushExt          = 0xea
	CmdWriteBufferDMA    = 0xeb
	CmdIdentify          = 0xec
	CmdSetFeatures       = 0xef
	CmdReadNativeMax     = 0xf8 // ACS-2
)

const (
	pageSize   = 512 // of IDENTIFY data, logs and the buffer
	chsHeads   = 16  // the translation of cylinders, heads and sectors
	chsSectors = 63
	max28      = 1<<28 - 1 // sectors that 28-bit commands can count
	trimEntry  = 8         // bytes of one range of DATA SET MANAGEMENT
	trimPages  = 8         // of 512 bytes that one such command may have
	maxMulti   = 16        // sectors in one block of READ MULTIPLE
)
