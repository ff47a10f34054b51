package scsi

import "encoding/binary"

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// Operation codes (SPC-4, SBC-3).
const (
	opTestUnitReady     = 0x00
	opRequestSense      = 0x03
	opRead6             = 0x08
	opWrite6            = 0x0a
	opInquiry           = 0x12
	opReserve6          = 0x16
	opRelease6          = 0x17
	opModeSelect6       = 0x15
	opModeSense6        = 0x1a
	opStartStop         = 0x1b
	opPreventAllow      = 0x1e
	opReadCapacity10    = 0x25
	opRead10            = 0x28
	opWrite10           = 0x2a
	opVerify10          = 0x2f
	opSyncCache10       = 0x35
	opWriteSame10       = 0x41
	opUnmap             = 0x42
	opModeSelect10      = 0x55
	opReserve10         = 0x56
	opRelease10         = 0x57
	opModeSense10       = 0x5a
	opPersistentIn      = 0x5e
	opPersistentOut     = 0x5f
	opRead16            = 0x88
	opWrite16           = 0x8a
	opVerify16          = 0x8f
	opSyncCache16       = 0x91
	opWriteSame16       = 0x93
	opServiceIn16       = 0x9e
	opReportLUNs        = 0xa0
	opMaintenanceIn     = 0xa3
	opRead12            = 0xa8
	opWrite12           = 0xaa
	opVerify12          = 0xaf
	saReadCapacity16    = 0x10
	saReportOpcodes     = 0x0c
	noAction            = 0xff // the operation code has no service actions
	bitFUA, bitDPO      = 0x08, 0x10
	bitUnmap, bitAnchor = 0x08, 0x10
)

// A direction says where data goes.
type direction uint8

const (
	dirNone direction = iota
	dirIn             // to the guest
	dirOut
)

// op is what there is to know of a command.
type op struct {
	code, action uint8
	name         string
	dir          direction
	run          func(t *task) result
	// changes: refused when the disk is read-only. always: works also while a unit attention is pending or the unit is
	// stopped.
	changes, always bool
	// usage are the bits of the CDB that count, as REPORT SUPPORTED OPERATION CODES has them; its length is the CDB's.
	usage []byte
}

func ff(b ...byte) []byte { return b }

// ops returns the table of commands.
func ops() []op {
	const x = 0xff
	return []op{
		{opTestUnitReady, noAction, "TEST UNIT READY", dirNone, testUnitReady, false, false, ff(0x00, 0, 0, 0, 0, 0)},
		{opRequestSense, noAction, "REQUEST SENSE", dirIn, requestSense, false, true, ff(0x03, 1, 0, 0, x, 0)},
		{opRead6, noAction, "READ(6)", dirIn, read, false, false, ff(0x08, 0x1f, x, x, x, 0)},
		{opWrite6, noAction, "WRITE(6)", dirOut, write, true, false, ff(0x0a, 0x1f, x, x, x, 0)},
		{opInquiry, noAction, "INQUIRY", dirIn, inquiry, false, true, ff(0x12, 1, x, x, x, 0)},
		{opModeSelect6, noAction, "MODE SELECT(6)", dirOut, modeSelect, false, false, ff(0x15, 0x11, 0, 0, x, 0)},
		{opReserve6, noAction, "RESERVE(6)", dirNone, reserve, false, false, ff(0x16, 0, 0, 0, 0, 0)},
		{opRelease6, noAction, "RELEASE(6)", dirNone, release, false, false, ff(0x17, 0, 0, 0, 0, 0)},
		{opModeSense6, noAction, "MODE SENSE(6)", dirIn, modeSense, false, false, ff(0x1a, 8, x, x, x, 0)},
		{opStartStop, noAction, "START STOP UNIT", dirNone, startStop, false, true, ff(0x1b, 1, 0, 0xf, 0xf7, 0)},
		{opPreventAllow, noAction, "PREVENT ALLOW MEDIUM REMOVAL", dirNone, testUnitReady, false, false, ff(0x1e, 0, 0, 0, 3, 0)},
		{opReadCapacity10, noAction, "READ CAPACITY(10)", dirIn, readCapacity10, false, false, ff(0x25, 0, x, x, x, x, 0, 0, 1, 0)},
		{opRead10, noAction, "READ(10)", dirIn, read, false, false, ff(0x28, 0x18, x, x, x, x, 0, x, x, 0)},
		{opWrite10, noAction, "WRITE(10)", dirOut, write, true, false, ff(0x2a, 0x18, x, x, x, x, 0, x, x, 0)},
		{opVerify10, noAction, "VERIFY(10)", dirOut, verify, false, false, ff(0x2f, 0x16, x, x, x, x, 0, x, x, 0)},
		{opSyncCache10, noAction, "SYNCHRONIZE CACHE(10)", dirNone, syncCache, false, false, ff(0x35, 2, x, x, x, x, 0, x, x, 0)},
		{opWriteSame10, noAction, "WRITE SAME(10)", dirOut, writeSame, true, false, ff(0x41, 0x18, x, x, x, x, 0, x, x, 0)},
		{opUnmap, noAction, "UNMAP", dirOut, unmap, true, false, ff(0x42, 1, 0, 0, 0, 0, 0, x, x, 0)},
		{opModeSelect10, noAction, "MODE SELECT(10)", dirOut, modeSelect, false, false, ff(0x55, 0x11, 0, 0, 0, 0, 0, x, x, 0)},
		{opReserve10, noAction, "RESERVE(10)", dirNone, reserve, false, false, ff(0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
		{opRelease10, noAction, "RELEASE(10)", dirNone, release, false, false, ff(0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
		{opModeSense10, noAction, "MODE SENSE(10)", dirIn, modeSense, false, false, ff(0x5a, 0x18, x, x, 0, 0, 0, x, x, 0)},
		{opPersistentIn, prReadKeys, "PERSISTENT RESERVE IN READ KEYS", dirIn, persistentIn, false, false, ff(0x5e, 0, 0, 0, 0, 0, 0, x, x, 0)},
		{opPersistentIn, prReadReservation, "PERSISTENT RESERVE IN READ RESERVATION", dirIn, persistentIn, false, false, ff(0x5e, 1, 0, 0, 0, 0, 0, x, x, 0)},
		{opPersistentIn, prCapabilities, "PERSISTENT RESERVE IN REPORT CAPABILITIES", dirIn, persistentIn, false, false, ff(0x5e, 2, 0, 0, 0, 0, 0, x, x, 0)},
		{opPersistentIn, prReadFullStatus, "PERSISTENT RESERVE IN READ FULL STATUS", dirIn, persistentIn, false, false, ff(0x5e, 3, 0, 0, 0, 0, 0, x, x, 0)},
		{opPersistentOut, prRegister, "PERSISTENT RESERVE OUT REGISTER", dirOut, persistentOut, false, false, ff(0x5f, 0, x, 0, 0, x, x, x, x, 0)},
		{opPersistentOut, prReserve, "PERSISTENT RESERVE OUT RESERVE", dirOut, persistentOut, false, false, ff(0x5f, 1, x, 0, 0, x, x, x, x, 0)},
		{opPersistentOut, prRelease, "PERSISTENT RESERVE OUT RELEASE", dirOut, persistentOut, false, false, ff(0x5f, 2, x, 0, 0, x, x, x, x, 0)},
		{opPersistentOut, prClear, "PERSISTENT RESERVE OUT CLEAR", dirOut, persistentOut, false, false, ff(0x5f, 3, x, 0, 0, x, x, x, x, 0)},
		{opPersistentOut, prPreempt, "PERSISTENT RESERVE OUT PREEMPT", dirOut, persistentOut, false, false, ff(0x5f, 4, x, 0, 0, x, x, x, x, 0)},
		{opPersistentOut, prPreemptAbort, "PERSISTENT RESERVE OUT PREEMPT AND ABORT", dirOut, persistentOut, false, false, ff(0x5f, 5, x, 0, 0, x, x, x, x, 0)},
		{opPersistentOut, prRegisterIgnore, "PERSISTENT RESERVE OUT REGISTER AND IGNORE EXISTING KEY", dirOut, persistentOut, false, false, ff(0x5f, 6, x, 0, 0, x, x, x, x, 0)},
		{opRead16, noAction, "READ(16)", dirIn, read, false, false, ff(0x88, 0x18, x, x, x, x, x, x, x, x, x, x, x, x, 0, 0)},
		{opWrite16, noAction, "WRITE(16)", dirOut, write, true, false, ff(0x8a, 0x18, x, x, x, x, x, x, x, x, x, x, x, x, 0, 0)},
		{opVerify16, noAction, "VERIFY(16)", dirOut, verify, false, false, ff(0x8f, 0x16, x, x, x, x, x, x, x, x, x, x, x, x, 0, 0)},
		{opSyncCache16, noAction, "SYNCHRONIZE CACHE(16)", dirNone, syncCache, false, false, ff(0x91, 2, x, x, x, x, x, x, x, x, x, x, x, x, 0, 0)},
		{opWriteSame16, noAction, "WRITE SAME(16)", dirOut, writeSame, true, false, ff(0x93, 0x19, x, x, x, x, x, x, x, x, x, x, x, x, 0, 0)},
		{opServiceIn16, saReadCapacity16, "READ CAPACITY(16)", dirIn, readCapacity16, false, false, ff(0x9e, 0x10, x, x, x, x, x, x, x, x, x, x, x, x, 1, 0)},
		{opReportLUNs, noAction, "REPORT LUNS", dirIn, reportLUNs, false, true, ff(0xa0, 0, x, 0, 0, 0, x, x, x, x, 0, 0)},
		{opMaintenanceIn, saReportOpcodes, "REPORT SUPPORTED OPERATION CODES", dirIn, reportOpcodes, false, false, ff(0xa3, 0x0c, 0x87, x, x, x, x, x, x, x, 0, 0)},
		{opRead12, noAction, "READ(12)", dirIn, read, false, false, ff(0xa8, 0x18, x, x, x, x, x, x, x, x, 0, 0)},
		{opWrite12, noAction, "WRITE(12)", dirOut, write, true, false, ff(0xaa, 0x18, x, x, x, x, x, x, x, x, 0, 0)},
		{opVerify12, noAction, "VERIFY(12)", dirOut, verify, false, false, ff(0xaf, 0x16, x, x, x, x, x, x, x, x, 0, 0)},
	}
}

// A command is a CDB, understood: nothing is known of its values.
type command struct {
	*op           // nil for one that does not exist
	known  bool   // the operation code exists, if not with this service action
	cdb    []byte // at least 16 bytes
	lba    uint64 // where there is one
	blocks uint64 // likewise
	length uint64 // of parameter data: allocation length or list length
}

// parse understands a CDB.
func parse(table []op, cdb []byte) command {
	c := command{cdb: cdb}
	for i := range table {
		o := &table[i]
		c.known = c.known || o.code == cdb[0]
		if o.code == cdb[0] && (o.action == noAction || o.action == cdb[1]&0x1f) {
			c.op = o
			break
		}
	}
	if c.op == nil {
		return c
	}
	switch len(c.usage) {
	case 6:
		c.lba = uint64(be.Uint32(cdb) & 0x1fffff)
		c.length = uint64(cdb[4])
		if c.blocks = c.length; c.blocks == 0 {
			c.blocks = 256
		}
		if c.code == opInquiry {
			c.length = uint64(be.Uint16(cdb[3:]))
		}
	case 10:
		c.lba, c.blocks = uint64(be.Uint32(cdb[2:])), uint64(be.Uint16(cdb[7:]))
		if c.length = c.blocks; c.code == opReadCapacity10 {
			c.length = 8
		}
		if c.code == opPersistentOut {
			c.length = uint64(be.Uint32(cdb[5:]))
		}
	case 12:
		c.lba, c.blocks = uint64(be.Uint32(cdb[2:])), uint64(be.Uint32(cdb[6:]))
		c.length = c.blocks
	case 16:
		c.lba, c.blocks = be.Uint64(cdb[2:]), uint64(be.Uint32(cdb[10:]))
		c.length = c.blocks
	}
	return c
}

// ranged tells whether lba and blocks of the command have a meaning.
func (c *command) ranged() bool {
	switch c.code {
	case opRead6, opWrite6, opRead10, opWrite10, opRead12, opWrite12, opRead16, opWrite16, opVerify10, opVerify12, opVerify16,
		opSyncCache10, opSyncCache16, opWriteSame10, opWriteSame16:
		return true
	}
	return false
}
