package ahci

import (
	"encoding/binary"

	"dfemu/devices/ahci/ata"
)

// FIS types (Serial ATA 3.3, section 10.5).
const (
	fisH2D      = 0x27
	fisD2H      = 0x34
	fisDMASetup = 0x41
	fisBIST     = 0x58
	fisPIOSetup = 0x5f
	fisSDB      = 0xa1
)

// Where the adapter puts them in the received FIS structure (AHCI 1.3.1, section
// 4.2.1), and how large they are.
const (
	rxDMASetup, dmaSetupSize = 0x00, 28
	rxPIOSetup, pioSetupSize = 0x20, 20
	rxD2H, d2hSize           = 0x40, 20
	rxSDB, sdbSize           = 0x58, 8

	rxStride = 0x100 // of the structures of one port with FIS-based switching
)

const (
	fisInterrupt = 1 << 6 // the I bit
	fisIn        = 1 << 5 // the D bit: to the host
	fisNotify    = 1 << 7 // the N bit of Set Device Bits

	h2dCommand  = 1 << 7 // the C bit: the Command field was written, not Control
	controlSRST = 1 << 2
)

// decodeH2D reads a Register Host to Device FIS.
func decodeH2D(p *[64]byte) ata.Task {
	return ata.Task{
		Command: p[2],
		Feature: uint16(p[3]) | uint16(p[11])<<8,
		LBA:     uint64(p[4]) | uint64(p[5])<<8 | uint64(p[6])<<16 | uint64(p[8])<<24 | uint64(p[9])<<32 | uint64(p[10])<<40,
		Count:   uint16(p[12]) | uint16(p[13])<<8,
		Device:  p[7],
		Control: p[15],
		ICC:     p[14],
		Aux:     binary.LittleEndian.Uint32(p[16:]),
	}
}

// putResult stores what the register FISes from the device have in common.
func putResult(p []byte, kind, flags, pmp uint8, r *ata.Result) {
	p[0], p[1], p[2], p[3] = kind, flags|pmp, r.Status, r.Error
	p[4], p[5], p[6], p[7] = byte(r.LBA), byte(r.LBA>>8), byte(r.LBA>>16), r.Device
	p[8], p[9], p[10], p[11] = byte(r.LBA>>24), byte(r.LBA>>32), byte(r.LBA>>40), 0
	p[12], p[13], p[14], p[15] = byte(r.Count), byte(r.Count>>8), 0, 0
	p[16], p[17], p[18], p[19] = 0, 0, 0, 0
}

// signature is how a result shows in PxSIG.
func signature(r *ata.Result) uint32 {
	return uint32(r.Count&0xff) | uint32(r.LBA&0xffffff)<<8
}
