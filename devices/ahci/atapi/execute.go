package atapi

import (
	"encoding/binary"

	"dfemu/devices/ahci/ata"
)

// Parse implements [ata.Drive].
func (d *Drive) Parse(t *ata.Task, packet *[16]byte) ata.Command {
	c := ata.Command{Opcode: t.Command, Block: 512}
	switch t.Command {
	case ata.CmdPacket:
		return parsePacket(packet)
	case ata.CmdIdentifyPacket:
		c.Name, c.Protocol, c.Bytes = "IDENTIFY PACKET DEVICE", ata.PIOIn, 512
	case ata.CmdIdentify:
		c.Name, c.Protocol = "IDENTIFY DEVICE", ata.PIOIn
	case ata.CmdReadSectors:
		c.Name, c.Protocol = "READ SECTOR(S)", ata.PIOIn
	case ata.CmdDeviceReset:
		c.Name, c.Protocol = "DEVICE RESET", ata.DeviceReset
	case ata.CmdDiagnostic:
		c.Name, c.Protocol = "EXECUTE DEVICE DIAGNOSTIC", ata.Diagnostic
	case ata.CmdSetFeatures:
		c.Name = "SET FEATURES"
	case ata.CmdNOP:
		c.Name = "NOP"
	case ata.CmdFlush:
		c.Name = "FLUSH CACHE"
	case ata.CmdCheckPower:
		c.Name = "CHECK POWER MODE"
	case ata.CmdIdle:
		c.Name = "IDLE"
	case ata.CmdIdleImmediate:
		c.Name = "IDLE IMMEDIATE"
	case ata.CmdStandby:
		c.Name = "STANDBY"
	case ata.CmdStandbyImmediate:
		c.Name = "STANDBY IMMEDIATE"
	case ata.CmdSleep:
		c.Name = "SLEEP"
	default:
		c.Name, c.Refused = "unknown command", ata.ErrAborted
	}
	return c
}

// parsePacket understands a packet.
func parsePacket(p *[16]byte) ata.Command {
	c := ata.Command{Opcode: p[0], Protocol: ata.Packet, Name: "unknown packet"}
	r, ok := lookup(p[0])
	if !ok {
		return c // answered with sense data
	}
	c.Name, c.Write = r.name, r.write
	be := binary.BigEndian
	switch r.length {
	case len8at4:
		c.Bytes = int64(p[4])
	case len16at3:
		c.Bytes = int64(be.Uint16(p[3:]))
	case len16at7:
		c.Bytes = int64(be.Uint16(p[7:]))
	case len16at8:
		c.Bytes = int64(be.Uint16(p[8:]))
	case len32at6:
		c.Bytes = int64(be.Uint32(p[6:]))
	case len8:
		c.Bytes = 8
	case lenDescr:
		c.Bytes = 8 + 16*int64(be.Uint16(p[8:]))
	case lenBlocks:
		c.LBA, c.Blocks = blocksOf(p)
		c.Bytes = int64(c.Blocks) * blockSize
	}
	return c
}

// blocksOf is the range of a packet that reads blocks. Of READ CD, blocks of which
// nothing is wanted count as none.
func blocksOf(p *[16]byte) (lba, n uint64) {
	be := binary.BigEndian
	switch p[0] {
	case opRead10:
		return uint64(be.Uint32(p[2:])), uint64(be.Uint16(p[7:]))
	case opRead12:
		return uint64(be.Uint32(p[2:])), uint64(be.Uint32(p[6:]))
	case opReadCD:
		return uint64(be.Uint32(p[2:])), uint64(p[6])<<16 | uint64(p[7])<<8 | uint64(p[8])
	case opReadCDMSF:
		first, end := fromMSF(p[3], p[4], p[5]), fromMSF(p[6], p[7], p[8])
		if end < first || first < 0 {
			return 1<<32 - 1, 1 // nowhere
		}
		return uint64(first), uint64(end - first)
	}
	return 0, 0
}

// Execute implements [ata.Drive].
func (d *Drive) Execute(r *ata.Request) {
	r.Moved = 0
	d.mu.Lock()
	open := d.s.Open
	if r.Task.Command == ata.CmdPacket {
		d.packet(r)
	} else {
		d.task(r)
	}
	now := d.s.Open
	d.mu.Unlock()
	if open != now && d.o.Ejected != nil {
		d.o.Ejected(now)
	}
}

// task executes commands other than PACKET. mu is held.
func (d *Drive) task(r *ata.Request) {
	t := &r.Task
	if r.Command.Refused != 0 {
		r.Fail(r.Command.Refused)
		return
	}
	switch t.Command {
	case ata.CmdIdentifyPacket:
		w := d.identify()
		r.Moved = int64(r.Data.Copy(0, w[:]))
		r.Finish()
	case ata.CmdIdentify, ata.CmdReadSectors:
		// The signature tells the host what kind of device it is talking to.
		r.Fail(ata.ErrAborted)
		r.Result.LBA, r.Result.Count, r.Result.Device = signature.LBA, signature.Count, 0
	case ata.CmdDeviceReset:
		d.s.Asleep, d.s.Standby = false, false
		r.Result = signature
	case ata.CmdDiagnostic:
		r.Result = signature
	case ata.CmdSetFeatures:
		d.setFeatures(r)
	case ata.CmdCheckPower:
		r.Finish()
		r.Result.Count = 0xff
		if d.s.Standby {
			r.Result.Count = 0
		}
	case ata.CmdIdle, ata.CmdIdleImmediate:
		d.s.Standby = false
		r.Finish()
	case ata.CmdStandby, ata.CmdStandbyImmediate, ata.CmdSleep:
		d.s.Standby = true
		d.s.Asleep = t.Command == ata.CmdSleep
		r.Finish()
	case ata.CmdFlush:
		r.Finish()
	default: // NOP
		r.Fail(ata.ErrAborted)
	}
}

// setFeatures executes SET FEATURES: transfer modes and asynchronous notification.
func (d *Drive) setFeatures(r *ata.Request) {
	sub, arg := uint8(r.Task.Feature), uint8(r.Task.Count)
	ok := false
	switch sub {
	case 0x03:
		mode := arg & 7
		switch arg >> 3 {
		case 0:
			ok = mode <= 1
		case 1:
			ok = mode <= 4
		case 4:
			ok = mode <= 2
		case 8:
			ok = mode <= 5
		}
	case 0x10, 0x90:
		switch arg {
		case 5:
			d.s.Notifies = sub == 0x10
			ok = true
		case 6:
			ok = true // settings are always preserved
		}
	case 0x66, 0xcc:
		ok = true
	}
	if !ok {
		r.Fail(ata.ErrAborted)
		return
	}
	r.Finish()
}

// identify makes the data of IDENTIFY PACKET DEVICE (ACS-4, section 7.13).
func (d *Drive) identify() ata.Words {
	var w ata.Words
	w.Set(0, 0x85c0) // removable CD-ROM, 12-byte packets
	w.Text(10, 10, d.o.Serial)
	w.Text(23, 4, d.o.Firmware)
	w.Text(27, 20, d.o.Model)
	w.Set(49, 0x0f00)
	w.Set(50, 0x4000)
	w.Set(53, 0x0006)
	w.Set(63, 0x0007)
	w.Set(64, 0x0003)
	for i := 65; i <= 68; i++ {
		w.Set(i, 120)
	}
	w.Set(76, 1<<9|0xe)
	w.Set(77, 3<<1)
	w.Set(78, 1<<6|1<<5) // settings preserved, asynchronous notification
	w.Set(79, 1<<6)
	if d.s.Notifies {
		w.Or(79, 1<<5)
	}
	w.Set(80, 0x0ff0)
	const features = 1<<14 | 1<<9 | 1<<4 | 1<<3 // NOP, DEVICE RESET, PACKET, power management
	w.Set(82, features)
	w.Set(83, 0x4000)
	w.Set(84, 0x4000)
	w.Set(85, features)
	w.Set(87, 0x4000)
	w.Set(88, 0x203f)
	if d.o.WWN != 0 {
		w.Or(84, 1<<8)
		w.Or(87, 1<<8)
		for i := range 4 {
			w.Set(108+i, uint16(d.o.WWN>>(48-16*i)))
		}
	}
	w.Set(222, 0x10ff)
	w.Seal()
	return w
}

// packet executes PACKET. mu is held.
func (d *Drive) packet(r *ata.Request) {
	row, ok := lookup(r.Packet[0])
	if !ok {
		d.check(r, senseOpcode)
		return
	}
	if !row.calm && len(d.s.Attention) > 0 {
		s := d.s.Attention[0]
		d.s.Attention = d.s.Attention[1:]
		d.check(r, s)
		return
	}
	if row.media {
		switch {
		case d.s.Open:
			d.check(r, senseTrayOpen)
			return
		case d.store == nil:
			d.check(r, senseNoMedium)
			return
		}
		d.s.Standby = false
	}
	if s := d.operation(r); s != senseNone {
		d.check(r, s)
		return
	}
	r.Result = ata.Result{Status: good, Count: reasonDone, LBA: r.Task.LBA & 0xffff00, Device: r.Task.Device}
	if r.Packet[0] != opRequestSense {
		d.s.Sense = senseNone
	}
}

// check ends the command with CHECK CONDITION.
func (d *Drive) check(r *ata.Request, s sense) {
	d.s.Sense = s
	r.Result = ata.Result{
		Status: good | ata.StatusErr, Error: s.Key << 4, Count: reasonDone,
		LBA: r.Task.LBA & 0xffff00, Device: r.Task.Device,
	}
	if s.Key == 5 || s.Key == 0xb {
		r.Result.Error |= ata.ErrAborted
	}
}

// operation executes a packet whose preconditions are met.
func (d *Drive) operation(r *ata.Request) sense {
	p := &r.Packet
	switch p[0] {
	case opTestUnitReady, opSyncCache, opSetSpeed, opSetReadAhead:
		return senseNone
	case opRequestSense:
		return d.requestSense(r)
	case opInquiry:
		return d.inquiry(r)
	case opModeSense6, opModeSense10:
		return d.modeSense(r)
	case opModeSelect6, opModeSelect10:
		return d.modeSelect(r)
	case opStartStopUnit:
		return d.startStop(p)
	case opPreventAllow:
		d.s.Locked = p[4]&1 != 0
		return senseNone
	case opReadCapacity:
		var b [8]byte
		binary.BigEndian.PutUint32(b[0:], uint32(d.s.Blocks-1))
		binary.BigEndian.PutUint32(b[4:], blockSize)
		return give(r, b[:])
	case opReadFormatCaps:
		return d.formatCapacities(r)
	case opRead10, opRead12:
		return d.read(r)
	case opReadCD, opReadCDMSF:
		return d.readCD(r)
	case opSeek10:
		if uint64(binary.BigEndian.Uint32(p[2:])) >= d.s.Blocks {
			return senseRange
		}
		return senseNone
	case opVerify10:
		return d.verify(p)
	case opReadTOC:
		return d.readTOC(r)
	case opReadSubchannel:
		return d.subchannel(r)
	case opReadHeader:
		return d.readHeader(r)
	case opGetConfiguration:
		return d.configuration(r)
	case opGetEventStatus:
		return d.eventStatus(r)
	case opReadDiscInfo:
		return d.discInfo(r)
	case opReadTrackInfo:
		return d.trackInfo(r)
	case opReportLUNs:
		return give(r, []byte{0, 0, 0, 8, 7: 0, 15: 0})
	case opGetPerformance:
		return d.performance(r)
	case opReadDiscStructure:
		return d.discStructure(r)
	case opMechanismStatus:
		b := make([]byte, 8)
		if d.s.Open {
			b[1] = 1 << 4
		}
		return give(r, b)
	}
	return senseOpcode
}

// give answers with data, of which the host gets no more than it asked for.
func give(r *ata.Request, p []byte) sense {
	p = p[:min(int64(len(p)), r.Command.Bytes)]
	r.Moved = int64(r.Data.Copy(0, p))
	return senseNone
}

// read reads blocks from the medium.
func (d *Drive) read(r *ata.Request) sense {
	c := &r.Command
	if c.LBA > d.s.Blocks || c.Blocks > d.s.Blocks-c.LBA {
		return senseRange
	}
	n := min(c.Bytes, r.Data.Size)
	off := int64(c.LBA) * blockSize
	for _, piece := range r.Data.Pieces {
		if n <= 0 {
			break
		}
		piece = piece[:min(int64(len(piece)), n)]
		if _, err := d.store.ReadAt(piece, off); err != nil {
			return senseRead
		}
		off += int64(len(piece))
		n -= int64(len(piece))
		r.Moved += int64(len(piece))
	}
	return senseNone
}

// readCD reads blocks of which parts are selected. Images hold the user data only;
// the parts around it are not made up.
func (d *Drive) readCD(r *ata.Request) sense {
	p := &r.Packet
	kind, parts, sub := p[1]>>2&7, p[9]&0xf8, p[10]&7
	switch {
	case d.profile() != profileCD:
		return senseIncompatible
	case kind != 0 && kind != 2 && kind != 4:
		return senseMode // audio, mode 2 formless and form 2
	case sub != 0:
		return senseField
	case parts == 0:
		return senseNone
	case parts != 0x10:
		return senseField
	}
	return d.read(r)
}

func (d *Drive) verify(p *[16]byte) sense {
	lba, n := uint64(binary.BigEndian.Uint32(p[2:])), uint64(binary.BigEndian.Uint16(p[7:]))
	if lba > d.s.Blocks || n > d.s.Blocks-lba {
		return senseRange
	}
	var b [blockSize]byte
	for i := range n {
		if _, err := d.store.ReadAt(b[:], int64(lba+i)*blockSize); err != nil {
			return senseRead
		}
	}
	return senseNone
}

// startStop moves the tray and the motor.
func (d *Drive) startStop(p *[16]byte) sense {
	if p[4]>>4 != 0 { // a power condition
		d.s.Standby = p[4]>>4 == 3
		return senseNone
	}
	if p[4]&2 == 0 { // only the motor
		return senseNone
	}
	open := p[4]&1 == 0
	switch {
	case open == d.s.Open:
	case open && d.s.Locked:
		return senseLocked
	case open:
		d.s.Open = true
		d.changed(eventRemoval)
	default:
		d.s.Open = false
		if d.store != nil {
			d.changed(eventNewMedia)
		}
	}
	return senseNone
}
