package scsi

import (
	"encoding/binary"
	"sort"
)

// Commands about the unit itself (SPC-4, chapter 6; SBC-3, 5.15 and 5.16).

// pad copies s into a field filled with spaces.
func pad(b []byte, s string) {
	for i := range b {
		b[i] = ' '
	}
	copy(b, s)
}

func inquiry(t *task) result {
	c, u := &t.cmd, t.unit
	if c.cdb[1]&1 != 0 {
		p, ok := u.page(c.cdb[2])
		if !ok {
			return check(senseField)
		}
		return t.give(p, c.length)
	}
	if c.cdb[2] != 0 {
		return check(senseField)
	}
	b := make([]byte, 66)
	b[2] = 6 // SPC-4
	b[3] = 2 // response data format; no HISUP: addresses are single-level
	b[4] = byte(len(b) - 5)
	b[7] = 2 // CMDQUE
	pad(b[8:16], u.o.Vendor)
	pad(b[16:32], u.o.Product)
	pad(b[32:36], u.o.Revision)
	for i, v := range []uint16{0x00a0, 0x0460, 0x04c0} { // SAM-5, SPC-4, SBC-3
		be.PutUint16(b[58+2*i:], v)
	}
	return t.give(b, c.length)
}

// inquiryNoUnit is what a target answers for a unit that it does not have.
func inquiryNoUnit(t *task) result {
	if t.cmd.cdb[1]&1 != 0 {
		return check(senseLUN)
	}
	b := make([]byte, 36)
	b[0] = 0x7f // no such unit possible
	b[2], b[3], b[4] = 6, 2, byte(len(b)-5)
	return t.give(b, t.cmd.length)
}

// page is a page of vital product data.
func (u *unit) page(code uint8) ([]byte, bool) {
	b := []byte{0, code, 0, 0}
	switch code {
	case 0x00:
		b = append(b, 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2)
	case 0x80:
		b = append(b, u.o.Serial...)
	case 0x83:
		id := make([]byte, 8, 8+20)
		pad(id, u.o.Vendor)
		id = append(id, u.o.Serial...)
		b = append(b, 2, 1, 0, byte(len(id))) // T10 vendor ID, ASCII
		b = append(b, id...)
		b = append(b, 1, 3, 0, 8) // NAA, binary
		b = be.AppendUint64(b, u.name())
	case 0xb0:
		b = append(b, make([]byte, 60)...)
		b[4] = 1 // WSNZ: WRITE SAME of no blocks is an error
		be.PutUint16(b[6:], uint16(u.o.PhysicalSize/u.o.BlockSize))
		be.PutUint32(b[8:], maxTransfer)
		be.PutUint32(b[20:], maxUnmapBlocks)
		be.PutUint32(b[24:], maxUnmapRanges)
		be.PutUint32(b[28:], uint32(u.o.PhysicalSize/u.o.BlockSize)) // unmap granularity
		be.PutUint32(b[32:], 1<<31)                                  // its alignment, 0, is valid
		be.PutUint64(b[36:], maxSameBlocks)
	case 0xb1:
		b = append(b, make([]byte, 60)...)
		be.PutUint16(b[4:], 1) // does not rotate
	case 0xb2:
		b = append(b, 0, 0xe0, 2, 0) // LBPU, LBPWS, LBPWS10; thin provisioned
	default:
		return nil, false
	}
	be.PutUint16(b[2:], uint16(len(b)-4))
	return b, true
}

// requestSense gives a pending unit attention, or nothing.
func requestSense(t *task) result {
	if t.cmd.cdb[1]&1 != 0 { // descriptor format
		return check(senseField)
	}
	s, ok := t.unit.takeAttention()
	if !ok {
		s = senseNone
		if t.stopped() != nil {
			s = senseStopped
		}
	}
	return t.give(s.encode(), t.cmd.length)
}

func reportLUNs(t *task) result {
	c := &t.cmd
	alloc := uint64(be.Uint32(c.cdb[6:]))
	if c.cdb[2] > 2 || alloc < 16 {
		return check(senseField)
	}
	b := make([]byte, 8)
	if c.cdb[2] != 1 { // 1: well-known units only, of which there are none
		var l []int
		t.d.mu.Lock()
		for a := range t.d.units {
			if a.target == t.at.target {
				l = append(l, int(a.lun))
			}
		}
		t.d.mu.Unlock()
		sort.Ints(l)
		for _, n := range l {
			b = append(b, 0, byte(n), 0, 0, 0, 0, 0, 0)
		}
	}
	be.PutUint32(b, uint32(len(b)-8))
	return t.give(b, alloc)
}

func readCapacity10(t *task) result {
	c := &t.cmd
	if r := t.stopped(); r != nil {
		return *r
	}
	if c.cdb[8]&1 == 0 && c.lba != 0 {
		return check(senseField)
	}
	b := make([]byte, 8)
	be.PutUint32(b, uint32(min(t.unit.blocks.Load()-1, 0xffffffff)))
	be.PutUint32(b[4:], uint32(t.unit.o.BlockSize))
	return t.give(b, 8)
}

func readCapacity16(t *task) result {
	c := &t.cmd
	if r := t.stopped(); r != nil {
		return *r
	}
	if c.cdb[14]&1 == 0 && c.lba != 0 {
		return check(senseField)
	}
	b := make([]byte, 32)
	be.PutUint64(b, t.unit.blocks.Load()-1)
	be.PutUint32(b[8:], uint32(t.unit.o.BlockSize))
	b[13] = byte(t.unit.o.exponent())
	if !t.unit.store.ReadOnly() {
		b[14] = 0x80 // LBPME: blocks can be unmapped; what they read as then is not said
	}
	return t.give(b, c.length)
}

// reportOpcodes tells what commands there are (SPC-4, 6.35).
func reportOpcodes(t *task) result {
	c := &t.cmd
	alloc := uint64(be.Uint32(c.cdb[6:]))
	timeouts := c.cdb[2]&0x80 != 0
	descriptor := func(b []byte) []byte {
		if timeouts {
			b = append(b, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // of unknown length
		}
		return b
	}
	one := func(match func(o *op) bool) result {
		b := []byte{0, 1, 0, 0} // not supported
		for i := range t.d.table {
			if o := &t.d.table[i]; match(o) {
				b[1] = 3
				if timeouts {
					b[1] |= 0x80
				}
				be.PutUint16(b[2:], uint16(len(o.usage)))
				b = descriptor(append(b, o.usage...))
				break
			}
		}
		return t.give(b, alloc)
	}
	code, action := c.cdb[3], be.Uint16(c.cdb[4:])
	switch c.cdb[2] & 7 {
	case 0:
		b := make([]byte, 4)
		for i := range t.d.table {
			o := &t.d.table[i]
			e := []byte{o.code, 0, 0, 0, 0, 0, 0, 0}
			if o.action != noAction {
				e[3], e[5] = o.action, 1
			}
			if timeouts {
				e[5] |= 2
			}
			binary.BigEndian.PutUint16(e[6:], uint16(len(o.usage)))
			b = append(b, descriptor(e)...)
		}
		be.PutUint32(b, uint32(len(b)-4))
		return t.give(b, alloc)
	case 1:
		for i := range t.d.table {
			if o := &t.d.table[i]; o.code == code && o.action != noAction {
				return check(senseField)
			}
		}
		return one(func(o *op) bool { return o.code == code })
	case 2:
		for i := range t.d.table {
			if o := &t.d.table[i]; o.code == code && o.action == noAction {
				return check(senseField)
			}
		}
		return one(func(o *op) bool { return o.code == code && uint16(o.action) == action })
	case 3:
		return one(func(o *op) bool {
			return o.code == code && (o.action == noAction && action == 0 || o.action != noAction && uint16(o.action) == action)
		})
	}
	return check(senseField)
}
