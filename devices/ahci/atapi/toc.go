package atapi

import (
	"encoding/binary"

	"dfemu/devices/ahci/ata"
)

// frames in a second, and the frames of the pause before block 0 (MMC-6, section
// 4.2.3).
const (
	frames = 75
	pause  = 150
)

// msf is the address of a block in minutes, seconds and frames.
func msf(lba uint64) (m, s, f byte) {
	n := lba + pause
	return byte(n / (60 * frames)), byte(n / frames % 60), byte(n % frames)
}

// fromMSF is the block at an address, negative in the pause before the first.
func fromMSF(m, s, f uint8) int64 {
	return (int64(m)*60+int64(s))*frames + int64(f) - pause
}

// putAddress stores a block's address in one of the two forms.
func putAddress(p []byte, lba uint64, inMSF bool) {
	if inMSF {
		p[0] = 0
		p[1], p[2], p[3] = msf(lba)
		return
	}
	binary.BigEndian.PutUint32(p, uint32(lba))
}

// A medium has one track, a data track.
const (
	control = 0x14 // Q sub-channel with the position; data track
	leadOut = 0xaa
)

// readTOC implements READ TOC/PMA/ATIP: the formats TOC, session and full TOC.
func (d *Drive) readTOC(r *ata.Request) sense {
	p := &r.Packet
	inMSF, first := p[1]&2 != 0, p[6]
	format := p[2] & 0xf
	if format == 0 { // older drivers put it into the control byte (SFF-8020)
		format = p[9] >> 6
	}
	b := []byte{0, 0, 1, 1}
	switch format {
	case 0:
		if first > 1 && first != leadOut {
			return senseField
		}
		if first <= 1 {
			e := make([]byte, 8)
			e[1], e[2] = control, 1
			putAddress(e[4:], 0, inMSF)
			b = append(b, e...)
		}
		e := make([]byte, 8)
		e[1], e[2] = control, leadOut
		putAddress(e[4:], d.s.Blocks, inMSF)
		b = append(b, e...)
	case 1:
		e := make([]byte, 8)
		e[1], e[2] = control, 1
		putAddress(e[4:], 0, inMSF)
		b = append(b, e...)
	case 2:
		if first > 1 {
			return senseField
		}
		m, s, f := msf(d.s.Blocks)
		b = append(b,
			1, control, 0, 0xa0, 0, 0, 0, 0, 1, 0, 0, // first track, disc type
			1, control, 0, 0xa1, 0, 0, 0, 0, 1, 0, 0, // last track
			1, control, 0, 0xa2, 0, 0, 0, 0, m, s, f, // lead-out
			1, control, 0, 1, 0, 0, 0, 0, 0, 2, 0) // track 1 starts at 00:02:00
	default:
		return senseField
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return give(r, b)
}

// subchannel implements the current position: nothing is being played.
func (d *Drive) subchannel(r *ata.Request) sense {
	p := &r.Packet
	b := []byte{0, 0x15, 0, 0} // no audio status
	if p[2]&0x40 != 0 {
		switch p[3] {
		case 1:
			b = append(b, 1, control, 1, 1)
			b = append(b, make([]byte, 8)...)
			putAddress(b[8:], 0, p[1]&2 != 0)
		case 2, 3: // no catalogue number, no recording code
			b = append(b, p[3])
			b = append(b, make([]byte, 19)...)
		default:
			return senseField
		}
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return give(r, b)
}

func (d *Drive) readHeader(r *ata.Request) sense {
	p := &r.Packet
	lba := uint64(binary.BigEndian.Uint32(p[2:]))
	if lba >= d.s.Blocks {
		return senseRange
	}
	b := make([]byte, 8)
	b[0] = 1 // mode 1
	putAddress(b[4:], lba, p[1]&2 != 0)
	return give(r, b)
}
