package ahci

import "time"

// Registers of the controller (3.1).
const (
	regCAP   = 0x00
	regGHC   = 0x04
	regIS    = 0x08
	regPI    = 0x0c
	regVS    = 0x10
	regCAP2  = 0x24
	regBOHC  = 0x28
	regPorts = 0x100
	portSize = 0x80

	capSlots = 8 // shift of NCS
	capSPM   = 1 << 17
	capCLO   = 1 << 24
	capSSS   = 1 << 27
	capNCQ   = 1 << 30
	cap64    = 1 << 31
	cap2BOH  = 1 << 0

	ghcReset  = 1 << 0
	ghcIntr   = 1 << 1
	ghcEnable = 1 << 31

	bohBIOS = 1 << 0
	bohOS   = 1 << 1
	bohBusy = 1 << 4

	allOnes = 0xffffffff
)

// Registers of a port (3.3).
const (
	portCLB  = 0x00
	portFB   = 0x08
	portIS   = 0x10
	portIE   = 0x14
	portCMD  = 0x18
	portTFD  = 0x20
	portSIG  = 0x24
	portSSTS = 0x28
	portSCTL = 0x2c
	portSERR = 0x30
	portSACT = 0x34
	portCI   = 0x38

	cmdStart  = 1 << 0
	cmdSpinUp = 1 << 1
	cmdPower  = 1 << 2
	cmdCLO    = 1 << 3
	cmdFRE    = 1 << 4
	cmdSlot   = 8 // shift of CCS
	cmdFR     = 1 << 14
	cmdCR     = 1 << 15
	cmdATAPI  = 1 << 24
	cmdActive = 1 << 28

	intDevice  = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<5 // D2H, PIO setup, DMA setup, set device bits, descriptor
	intUnknown = 1 << 4
	intConnect = 1 << 6
	intPhy     = 1 << 22
	intOver    = 1 << 24
	intIF      = 1 << 27
	intHBData  = 1 << 28
	intHBFatal = 1 << 29
	intTFE     = 1 << 30
	intChange  = intConnect | intPhy
	intError   = intTFE | intHBFatal | intHBData | intIF | intUnknown | intOver
	intAll     = intDevice | intChange | intError

	serrChange = 1<<16 | 1<<26 // the connection was lost, a device was connected

	tfdError = 1 << 0
	tfdDRQ   = 1 << 3
	tfdFault = 1 << 5
	tfdBusy  = 1 << 7
)

// ATA commands (ACS-3), and their bits.
const (
	ataDataset       = 0x06
	ataReadDMAExt    = 0x25
	ataReadLogExt    = 0x2f
	ataWriteDMAExt   = 0x35
	ataReadFPDMA     = 0x60
	ataWriteFPDMA    = 0x61
	ataPacket        = 0xa0
	ataIdentifyPkt   = 0xa1
	ataReadDMA       = 0xc8
	ataWriteDMA      = 0xca
	ataSetMultiple   = 0xc6
	ataFlush         = 0xe7
	ataFlushExt      = 0xea
	ataIdentify      = 0xec
	logNCQError      = 0x10
	deviceLBA        = 0x40
	errUncorrectable = 1 << 6
	errCRC           = 1 << 7
	errNotFound      = 1 << 4
	errAborted       = 1 << 2
)

// Signatures.
const (
	sigATA        = 0x00000101
	sigATAPI      = 0xeb140101
	sigMultiplier = 0x96690101
	ownPort       = 15 // of a port multiplier
)

// The layout of a port's memory.
const (
	offFIS      = 1024
	offTables   = 4096
	tableSize   = 256
	tablePRDT   = 128
	tableCDB    = 64
	slots       = 32
	offScratch  = offTables + slots*tableSize // a page for identification, logs and sense
	portMemory  = offScratch + 4096
	maxTransfer = 1 << 20
)

// Limits of what is tried.
const (
	maxTries    = 4
	maxFailures = 5 // recoveries in a row without a command that succeeded
)

// times is how long things may take.
type times struct {
	reset       time.Duration // of the controller
	stop        time.Duration // of a port
	comReset    time.Duration // how long a COMRESET is sent
	presence    time.Duration // until a device is detected
	negotiation time.Duration // until the connection is up
	busy        time.Duration // of a device after a reset
	exec        time.Duration // of a command of the probe
	command     time.Duration // of others, unless Driver.Timeout says otherwise
	tick        time.Duration // between looks at commands that are under way, at most
	irq         time.Duration // until an interrupt that has been sent is handled
	media       time.Duration // between looks for a medium
	away        time.Duration // of a device that comes back as the same
}

var usualTimes = times{
	reset: time.Second, stop: 500 * time.Millisecond, comReset: 2 * time.Millisecond, presence: 30 * time.Millisecond,
	negotiation: 3 * time.Second, busy: 8 * time.Second, exec: 5 * time.Second, command: 10 * time.Second,
	tick: time.Second, irq: 10 * time.Millisecond, media: 5 * time.Second,
	away: 500 * time.Millisecond,
}
