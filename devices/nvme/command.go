package nvme

import "encoding/binary"

var le = binary.LittleEndian

// An entry is a submission queue entry, taken apart (base specification, figure
// 87).
type entry struct {
	op   uint8
	fuse uint8 // 0 normal, 1 first, 2 second of a fused operation
	psdt uint8 // 0 PRPs, 1 and 2 SGL
	resv uint8 // reserved bits of the first double word
	cid  uint16
	nsid uint32
	mptr uint64
	prp1 uint64 // with SGL: the first half of the descriptor
	prp2 uint64
	dw   [16]uint32 // command double words, 10 to 15 are the command's own
}

const (
	fuseFirst  = 1
	fuseSecond = 2
)

func parseEntry(b *[sqeSize]byte) (e entry) {
	e.op = b[0]
	e.fuse = b[1] & 3
	e.psdt = b[1] >> 6
	e.resv = b[1] >> 2 & 0xf
	e.cid = le.Uint16(b[2:])
	e.nsid = le.Uint32(b[4:])
	e.mptr = le.Uint64(b[16:])
	e.prp1 = le.Uint64(b[24:])
	e.prp2 = le.Uint64(b[32:])
	for i := 2; i < 16; i++ {
		e.dw[i] = le.Uint32(b[4*i:])
	}
	return e
}

// slba is the starting LBA of commands that have one.
func (e *entry) slba() uint64 { return uint64(e.dw[10]) | uint64(e.dw[11])<<32 }

// blocks is NLB of commands that have it, counted from one.
func (e *entry) blocks() uint64 { return uint64(e.dw[12]&0xffff) + 1 }

// Bits of command double word 12 of reads and writes (NVM command set, figures
// 38 and 58).
const (
	rwFUA  = 1 << 30
	rwLR   = 1 << 31
	rwPR   = 0xf << 26 // protection information
	rwDEAC = 1 << 25   // Write Zeroes: deallocate
	rwSTC  = 1 << 24
)

// A transfer is a parsed Read, Write, Compare, Verify, Write Zeroes, Write
// Uncorrectable or Zone Append.
type rw struct {
	op     uint8
	slba   uint64
	blocks uint64
	fua    bool
	deac   bool
}

func parseRW(e *entry) (rw, status) {
	c := rw{op: e.op, slba: e.slba(), blocks: e.blocks(), fua: e.dw[12]&rwFUA != 0}
	if e.op == opWriteZeroes {
		c.deac = e.dw[12]&rwDEAC != 0
	}
	// No format here has protection information: PRACT and the checks have no meaning and are ignored.
	// A directive cannot have been enabled.
	if e.op == opWrite && e.dw[12]>>20&0xf != 0 {
		return c, invalidField
	}
	return c, success
}

// data tells whether the command moves data, and which way.
func (c rw) data() (moves, write bool) {
	switch c.op {
	case opRead:
		return true, false
	case opWrite, opCompare, opZoneAppend:
		return true, true
	}
	return false, false
}

// changes tells whether the command changes logical blocks.
func (c rw) changes() bool {
	switch c.op {
	case opWrite, opWriteZeroes, opWriteUncorrectable, opZoneAppend:
		return true
	}
	return false
}

// A blockRange is a range of logical blocks.
type blockRange struct {
	slba, blocks uint64
}

// Attributes of Dataset Management (NVM command set, figure 43).
const (
	dsmIDR = 1 << 0
	dsmIDW = 1 << 1
	dsmAD  = 1 << 2

	dsmRangeSize = 16
)

// parseRanges takes the ranges of Dataset Management apart.
func parseRanges(p []byte) []blockRange {
	l := make([]blockRange, 0, len(p)/dsmRangeSize)
	for ; len(p) >= dsmRangeSize; p = p[dsmRangeSize:] {
		l = append(l, blockRange{le.Uint64(p[8:]), uint64(le.Uint32(p[4:]))})
	}
	return l
}

const copyRangeSize = 32

// parseSources takes the source ranges of Copy, format 0, apart (NVM command
// set, figure 33).
func parseSources(p []byte) []blockRange {
	l := make([]blockRange, 0, len(p)/copyRangeSize)
	for ; len(p) >= copyRangeSize; p = p[copyRangeSize:] {
		l = append(l, blockRange{le.Uint64(p[8:]), uint64(le.Uint16(p[16:])) + 1})
	}
	return l
}
