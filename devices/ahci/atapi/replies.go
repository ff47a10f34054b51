package atapi

import (
	"encoding/binary"

	"dfemu/devices/ahci/ata"
)

// requestSense returns the sense data and forgets it; with none, a pending unit
// attention is reported.
func (d *Drive) requestSense(r *ata.Request) sense {
	s := d.s.Sense
	if s == senseNone && len(d.s.Attention) > 0 {
		s = d.s.Attention[0]
		d.s.Attention = d.s.Attention[1:]
	}
	d.s.Sense = senseNone
	return give(r, []byte{0: 0x70, 2: s.Key, 7: 10, 12: s.ASC, 13: s.ASCQ, 17: 0})
}

// inquiry implements standard data and the vital product data pages 00h, 80h, 83h.
func (d *Drive) inquiry(r *ata.Request) sense {
	p := &r.Packet
	if p[1]&1 == 0 {
		if p[2] != 0 {
			return senseField
		}
		b := make([]byte, 96)
		// A removable CD/DVD device, SPC-3, response format 2.
		b[0], b[1], b[2], b[3], b[4] = 5, 0x80, 5, 0x02, 91
		pad(b[8:32], d.o.Model)
		pad(b[32:36], d.o.Firmware)
		// Version descriptors: SAM-3, MMC-6, SPC-3.
		copy(b[58:], []byte{0x00, 0x60, 0x04, 0xe0, 0x03, 0x00})
		return give(r, b)
	}
	b := []byte{5, p[2], 0, 0}
	switch p[2] {
	case 0x00:
		b = append(b, 0x00, 0x80, 0x83)
	case 0x80:
		s := make([]byte, 20)
		pad(s, d.o.Serial)
		b = append(b, s...)
	case 0x83:
		// Vendor-specific: model and serial number (SAT-4, section 10.3.4.2.3).
		id := make([]byte, 68)
		pad(id[:8], "ATA")
		pad(id[8:48], d.o.Model)
		pad(id[48:], d.o.Serial)
		b = append(append(b, 2, 1, 0, byte(len(id))), id...)
		if d.o.WWN != 0 {
			b = append(b, 1, 3, 0, 8)
			b = binary.BigEndian.AppendUint64(b, d.o.WWN)
		}
	default:
		return senseField
	}
	b[3] = byte(len(b) - 4)
	return give(r, b)
}

// pad stores s padded with blanks.
func pad(p []byte, s string) {
	for i := copy(p, s); i < len(p); i++ {
		p[i] = ' '
	}
}

// Mode pages (MMC-6, clause 7).
const (
	pageRecovery     = 0x01
	pagePower        = 0x1a
	pageTimeout      = 0x1d
	pageCapabilities = 0x2a
	pageAll          = 0x3f
)

// recoveryPage is the page that the host may change, after power-on: three retries.
var recoveryPage = [12]byte{pageRecovery, 10, 0, 3}

// modePage returns a page as it is now, could be changed, or was at first.
func (d *Drive) modePage(page, control uint8) []byte {
	var b []byte
	switch page {
	case pageRecovery:
		p := d.s.Error
		if control == 2 {
			p = recoveryPage
		}
		b = p[:]
		if control == 1 {
			return []byte{pageRecovery, 10, 0x3f, 0xff, 11: 0}
		}
	case pagePower:
		b = []byte{pagePower, 10, 11: 0}
	case pageTimeout:
		b = []byte{pageTimeout, 10, 4: 0, 7: 60, 9: 60, 11: 0}
	case pageCapabilities:
		b = make([]byte, 22)
		b[0], b[1] = pageCapabilities, 20
		b[2] = 0x3b // reads CD-R, CD-RW, DVD-ROM, DVD-R, DVD-RAM
		b[6] = 0x29 // tray, ejects, locks
		if d.s.Locked {
			b[6] |= 2
		}
		binary.BigEndian.PutUint16(b[8:], maxSpeed)
		binary.BigEndian.PutUint16(b[12:], 256) // buffer in KiB
		binary.BigEndian.PutUint16(b[14:], maxSpeed)
	default:
		return nil
	}
	if control == 1 { // nothing of it can be changed
		c := make([]byte, len(b))
		c[0], c[1] = b[0], b[1]
		return c
	}
	return b
}

// maxSpeed in kB/s is that of a 48x CD drive.
const maxSpeed = 48 * 176

// modeHeader is the length of the mode parameter header.
func modeHeader(op uint8) int {
	if op == opModeSense6 || op == opModeSelect6 {
		return 4
	}
	return 8
}

func (d *Drive) modeSense(r *ata.Request) sense {
	p := &r.Packet
	control, page := p[2]>>6, p[2]&0x3f
	if control == 3 {
		return senseSaving
	}
	h := modeHeader(p[0])
	b := make([]byte, h)
	if page == pageAll {
		for _, n := range []uint8{pageRecovery, pagePower, pageTimeout, pageCapabilities} {
			b = append(b, d.modePage(n, control)...)
		}
	} else {
		m := d.modePage(page, control)
		if m == nil || p[3] != 0 && p[3] != 0xff {
			return senseField
		}
		b = append(b, m...)
	}
	if h == 4 {
		b[0], b[1] = byte(len(b)-1), d.mediumType()
	} else {
		binary.BigEndian.PutUint16(b, uint16(len(b)-2))
		b[2] = d.mediumType()
	}
	return give(r, b)
}

// mediumType is the code in mode parameter headers (MMC-3, table 347; firmware still
// looks at it).
func (d *Drive) mediumType() uint8 {
	switch {
	case d.s.Open:
		return 0x71
	case d.store == nil:
		return 0x70
	}
	return 0x01
}

// modeSelect takes the error recovery page.
func (d *Drive) modeSelect(r *ata.Request) sense {
	b := make([]byte, min(r.Command.Bytes, 256))
	n := r.Data.Gather(0, b)
	r.Moved = int64(n)
	h := modeHeader(r.Packet[0])
	b = b[:n]
	if r.Packet[1]&1 != 0 {
		return senseField // nothing is saved
	}
	if len(b) == 0 {
		return senseNone
	}
	if len(b) < h {
		return senseParameter
	}
	for b = b[h:]; len(b) > 0; {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return senseParameter
		}
		page := b[:2+int(b[1])]
		b = b[len(page):]
		if page[0]&0x3f != pageRecovery || len(page) != len(d.s.Error) {
			return senseParameter
		}
		d.s.Error[2], d.s.Error[3] = page[2]&0x3f, page[3]
	}
	return senseNone
}

func (d *Drive) formatCapacities(r *ata.Request) sense {
	b := make([]byte, 12)
	b[3] = 8
	if d.store != nil && !d.s.Open {
		binary.BigEndian.PutUint32(b[4:], uint32(d.s.Blocks))
		b[8] = 2 // formatted
	} else {
		binary.BigEndian.PutUint32(b[4:], 1<<32-1)
		b[8] = 3 // no medium
	}
	b[10] = blockSize >> 8
	return give(r, b)
}

// Profiles (MMC-6, table 92).
const (
	profileNone = 0
	profileCD   = 0x0008
	profileDVD  = 0x0010
	profileBD   = 0x0040
)

// profile is that of the medium: images that fit on a 99-minute CD are CDs, those that
// fit on two layers DVDs.
func (d *Drive) profile() uint16 {
	switch {
	case d.store == nil || d.s.Open:
		return profileNone
	case d.s.Blocks <= 99*60*75:
		return profileCD
	case d.s.Blocks <= 4_173_824:
		return profileDVD
	}
	return profileBD
}

// configuration implements GET CONFIGURATION (MMC-6, section 6.6).
func (d *Drive) configuration(r *ata.Request) sense {
	p := &r.Packet
	rt, start := p[1]&3, binary.BigEndian.Uint16(p[2:])
	if rt == 3 {
		return senseField
	}
	profile := d.profile()
	current := func(on bool) byte {
		if on {
			return 1
		}
		return 0
	}
	medium := profile != profileNone
	serial := make([]byte, (len(d.o.Serial)+3)&^3)
	pad(serial, d.o.Serial)
	type feature struct {
		code     uint16
		version  uint8
		flags    uint8 // persistent, current
		contents []byte
	}
	list := []feature{
		{0x0000, 0, 3, []byte{
			0, profileBD, current(profile == profileBD), 0,
			0, profileDVD, current(profile == profileDVD), 0,
			0, profileCD, current(profile == profileCD), 0}},
		{0x0001, 2, 3, []byte{0, 0, 0, 7, 1, 0, 0, 0}}, // core, Serial ATA
		{0x0002, 1, 3, []byte{2, 0, 0, 0}},             // morphing; events are polled
		{0x0003, 2, 3, []byte{0x39, 0, 0, 0}},          // removable medium: tray, load, eject, lock
		{0x0010, 0, current(medium), []byte{0, 0, blockSize >> 8, 0, 0, 1, 0, 0}},
		{0x001d, 0, 2 | current(medium), nil}, // multi-read
		{0x001e, 2, current(profile == profileCD), []byte{0, 0, 0, 0}},
		{0x001f, 1, current(profile == profileDVD), []byte{1, 0, 0, 0}},
		{0x0040, 0, current(profile == profileBD), make([]byte, 28)},
		{0x0100, 0, 3, nil},                // power management
		{0x0105, 1, 3, []byte{1, 0, 0, 0}}, // timeout
		{0x0107, 5, 3, []byte{0, 0, 0, 0}}, // real-time streaming
		{0x0108, 0, 3, serial},
	}
	b := make([]byte, 8)
	binary.BigEndian.PutUint16(b[6:], profile)
	for _, f := range list {
		if f.code < start || rt == 2 && f.code != start || rt == 1 && f.flags&1 == 0 {
			continue
		}
		b = binary.BigEndian.AppendUint16(b, f.code)
		b = append(b, f.version<<2|f.flags, byte(len(f.contents)))
		b = append(b, f.contents...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return give(r, b)
}

// eventStatus implements GET EVENT STATUS NOTIFICATION, for media events.
func (d *Drive) eventStatus(r *ata.Request) sense {
	p := &r.Packet
	if p[1]&1 == 0 {
		return senseField // only polling is possible
	}
	const media = 4
	b := []byte{0, 0, 0, 1 << media}
	if p[4]&(1<<media) == 0 {
		b[1], b[2] = 2, 0x80 // no event class that was asked for
		return give(r, b)
	}
	status := byte(0)
	if d.s.Open {
		status |= 1
	}
	if d.store != nil && !d.s.Open {
		status |= 2
	}
	b = append(b, d.s.Event, status, 0, 0)
	b[1], b[2] = 6, media
	if r.Command.Bytes > 4 {
		d.s.Event = eventNone
	}
	return give(r, b)
}

func (d *Drive) discInfo(r *ata.Request) sense {
	if r.Packet[1]&7 != 0 {
		return senseField
	}
	b := make([]byte, 34)
	b[1] = 32
	b[2] = 0x0e                // complete disc, complete last session
	b[3], b[4], b[5] = 1, 1, 1 // first track, sessions, first track in the last session
	b[6] = 1                   // last track in the last session
	b[7] = 0x20                // unrestricted use
	copy(b[16:24], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	return give(r, b)
}

func (d *Drive) trackInfo(r *ata.Request) sense {
	p := &r.Packet
	n := binary.BigEndian.Uint32(p[2:])
	switch p[1] & 3 {
	case 0:
		if uint64(n) >= d.s.Blocks {
			return senseRange
		}
	case 1:
		if n != 1 {
			return senseField
		}
	case 2:
		if n != 1 {
			return senseField
		}
	default:
		return senseField
	}
	b := make([]byte, 36)
	b[1] = 34
	b[2], b[3] = 1, 1 // track, session
	b[5] = 4          // a data track
	b[6] = 1          // mode 1
	binary.BigEndian.PutUint32(b[24:], uint32(d.s.Blocks))
	return give(r, b)
}

// performance implements the nominal read performance of GET PERFORMANCE.
func (d *Drive) performance(r *ata.Request) sense {
	p := &r.Packet
	if p[10] != 0 || p[1]&4 != 0 {
		return senseField
	}
	b := make([]byte, 24)
	be := binary.BigEndian
	be.PutUint32(b, 20)
	last := uint32(0)
	if d.s.Blocks > 0 {
		last = uint32(d.s.Blocks - 1)
	}
	be.PutUint32(b[12:], maxSpeed)
	be.PutUint32(b[16:], last)
	be.PutUint32(b[20:], maxSpeed)
	if be.Uint16(p[8:]) == 0 {
		b = b[:8]
	}
	return give(r, b)
}

// discStructure implements the physical format and copyright information of DVDs.
func (d *Drive) discStructure(r *ata.Request) sense {
	p := &r.Packet
	if d.profile() != profileDVD || p[1]&0xf != 0 {
		return senseIncompatible
	}
	if p[6] != 0 {
		return senseField // one layer only
	}
	var b []byte
	switch p[7] {
	case 0:
		b = make([]byte, 4+2048)
		c := b[4:]
		c[0] = 0x01 // DVD-ROM, version 1
		c[1] = 0x0f // 120 mm, any transfer rate
		c[2] = 0x01 // one layer, read-only
		const start = 0x30000
		binary.BigEndian.PutUint32(c[4:], start)
		binary.BigEndian.PutUint32(c[8:], uint32(start+d.s.Blocks-1))
	case 1:
		b = make([]byte, 8)
	default:
		return senseField
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return give(r, b)
}
