package scsi

import (
	"fmt"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

// What a driver must not do, as far as that can be told of a request by itself: rules of SAM-5 for all commands, of SPC-4 and
// SBC-3 for each. To ask for a command, page or service action that there is not is no breach: that is how drivers find out.

// maxTold bounds what is kept of requests that wait to be taken; a driver that changes them then would have it grow.
const maxTold = 1 << 16

// take forgets that a request was foreseen. The caller holds mu.
func (d *Device) take(id uint64) {
	if d.told[id]--; d.told[id] <= 0 {
		delete(d.told, id)
	}
}

// Clauses of SPC-4 about the fields that many CDBs have.
const (
	clauseTransfer   = "SPC-4, 4.2.5.4"
	clauseList       = "SPC-4, 4.2.5.5"
	clauseAllocation = "SPC-4, 4.2.5.6"
	clauseControl    = "SAM-5, 5.2"
	clauseExecute    = "SAM-5, 5.1"
	clauseLimits     = "SBC-3, Block Limits VPD page"
)

// Bits of the CONTROL byte.
const (
	controlLink     = 0x03 // with FLAG: obsolete
	controlNACA     = 0x04
	controlReserved = 0x38
)

// attributeACA is the last task attribute, which is for units that support NACA.
const (
	attributeOffset = 16 // in the request header
	attributeACA    = 3
)

// blockClauses are the sections of SBC-3 about commands, by operation code.
var blockClauses = map[uint8]string{
	opPreventAllow: "5.10", opRead10: "5.11", opRead12: "5.12", opRead16: "5.13", opReadCapacity10: "5.15", opServiceIn16: "5.16",
	opStartStop: "5.25", opSyncCache10: "5.26", opSyncCache16: "5.27", opUnmap: "5.28", opVerify10: "5.29", opVerify12: "5.30",
	opVerify16: "5.31", opWrite10: "5.33", opWrite12: "5.34", opWrite16: "5.35", opWriteSame10: "5.43", opWriteSame16: "5.44",
}

// clause is where the command is specified.
func (o *op) clause() string {
	if s := blockClauses[o.code]; s != "" {
		return "SBC-3, " + s
	}
	switch o.code {
	case opRead6, opWrite6:
		return "SBC-2, " + o.name // no newer one has them
	case opReserve6, opRelease6, opReserve10, opRelease10:
		return "SPC-2, " + o.name
	}
	return "SPC-4, " + o.name
}

// Foresee implements virtio.Foreseer.
func (d *Device) Foresee(queue int, c *virtio.Chain) {
	switch {
	case queue >= queueRequest:
		t, header, _, err := d.understand(queue, c)
		if err == nil {
			d.mu.Lock()
			double := d.underWay(t.id) || d.told[t.id] != 0
			if len(d.told) < maxTold {
				d.told[t.id]++
			}
			d.mu.Unlock()
			t.judge(queue, c, header, double)
		}
	case queue == queueControl:
		out := virtio.Total(c.Out)
		var b [tmfSize]byte
		if c.Read(0, b[:min(out, tmfSize)]) == nil {
			d.checkControl(b[:], out, virtio.Total(c.In))
		}
	case virtio.Total(c.In) < eventSize:
		d.Violation(queue, "5.6.6.3.1", "a buffer of %d bytes for an event of %d", virtio.Total(c.In), eventSize)
	}
}

// checkControl looks at a control request (section 5.6.6.2), of which b is the beginning, in chains of out and in bytes. It reports
// whether the request is whole.
func (d *Device) checkControl(b []byte, out, in uint64) bool {
	kind, subtype := le.Uint32(b), le.Uint32(b[4:])
	need, room := uint64(asyncSize), uint64(5)
	if kind == ctrlTMF {
		need, room = tmfSize, 1
	}
	switch {
	case kind > ctrlSubscribe:
		d.Violation(queueControl, "5.6.6.2", "a control request of type %d: the types are 0 to %d", kind, ctrlSubscribe)
		return false
	case out < need || in < room:
		d.Violation(queueControl, "5.6.6.2", "a control request of type %d with %d bytes and room for %d: at least %d and %d are needed", kind, out, in, need, room)
		return false
	case kind == ctrlTMF && int(subtype) >= len(tmfNames):
		d.Violation(queueControl, "5.6.6.2", "a task management function of subtype %d: the subtypes are 0 to %d", subtype, len(tmfNames)-1)
	}
	return true
}

// judge reports what is wrong with a request. double tells that its identifier is that of another one under way.
func (t *task) judge(queue int, chain *virtio.Chain, header []byte, double bool) {
	transport := func(section, format string, a ...any) { t.d.Violation(queue, section, format, a...) }
	if double {
		transport("5.6.6.1", "id %#x is that of a request under way", t.id)
	}
	if t.outSize != 0 && t.inSize != 0 {
		transport("5.6.6.1.1", "%d bytes of data and room for %d, which is possible only with VIRTIO_SCSI_F_INOUT", t.outSize, t.inSize)
	}
	if _, ok := parseLUN(header); !ok && !reportLUNsUnit(header) {
		transport("5.6.6.1", "lun is % x: must be 1, the target, two bytes of a single-level unit number, and zeroes", header[:8])
	}
	switch a := header[attributeOffset]; {
	case a > attributeACA:
		transport("5.6.6.1", "task_attr is %d: the attributes are 0 to %d", a, attributeACA)
	case a == attributeACA:
		t.breach(queue, clauseExecute, "the task attribute is ACA, and no ACA condition is possible: NORMACA is 0")
	}
	if t.cmd.op != nil {
		t.judgeCDB(queue)
		t.judgeData(queue, chain)
	}
}

// reportLUNsUnit tells whether a request is for the well-known unit of REPORT LUNS, which a device need not have.
func reportLUNsUnit(b []byte) bool { return string(b[:8]) == "\xc1\x01\x00\x00\x00\x00\x00\x00" }

// breach reports what is wrong with the command.
func (t *task) breach(queue int, clause, format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	if t.cmd.op != nil {
		text = t.cmd.name + ": " + text
	}
	t.d.Function().Probe().Violation(devices.Violation{Clause: clause, Text: text, Queue: queue})
}

// judgeCDB looks at the fields of the CDB.
func (t *task) judgeCDB(queue int) {
	c := &t.cmd
	last := len(c.usage) - 1
	for i := 1; i < last; i++ {
		if bad := c.cdb[i] &^ c.usage[i] &^ groupNumber(c, i); bad != 0 {
			t.breach(queue, c.clause(), "bits %#x of byte %d of the CDB are reserved or not supported, and set", bad, i)
		}
	}
	control := c.cdb[last]
	if control&controlNACA != 0 {
		t.breach(queue, clauseControl, "NACA is set in the CONTROL byte, and NORMACA is 0")
	}
	if control&controlLink != 0 {
		t.breach(queue, clauseControl, "the CONTROL byte is %#x: linked commands are obsolete", control)
	}
	if control&controlReserved != 0 {
		t.breach(queue, clauseControl, "the CONTROL byte is %#x: bits 3 to 5 are reserved", control)
	}
	switch c.code {
	case opReadCapacity10:
		if c.cdb[8]&1 == 0 && c.lba != 0 {
			t.breach(queue, c.clause(), "the logical block address is %d without PMI", c.lba)
		}
	case opServiceIn16:
		if c.cdb[14]&1 == 0 && c.lba != 0 {
			t.breach(queue, c.clause(), "the logical block address is %d without PMI", c.lba)
		}
	case opReportLUNs:
		if c.length < 16 {
			t.breach(queue, c.clause(), "the allocation length is %d: at least 16 are needed", c.length)
		}
	case opPersistentOut:
		if c.length != persistentListSize {
			t.breach(queue, c.clause(), "the parameter list length is %d: must be %d without SPEC_I_PT", c.length, persistentListSize)
		}
	case opVerify10, opVerify12, opVerify16:
		if c.cdb[1]>>1&3 == 2 {
			t.breach(queue, c.clause(), "BYTCHK is 2, which is reserved")
		}
	case opWriteSame10, opWriteSame16:
		t.judgeWriteSame(queue)
	}
	if u := t.unit; u != nil && c.ranged() && !u.inside(c.lba, c.blocks) {
		t.breach(queue, c.clause(), "%d blocks from %d on: the unit has %d", c.blocks, c.lba, u.blocks.Load())
	}
}

func (t *task) judgeWriteSame(queue int) {
	c := &t.cmd
	flags := c.cdb[1]
	switch {
	case c.blocks == 0:
		t.breach(queue, clauseLimits, "no blocks, and WSNZ is 1")
	case c.blocks > maxSameBlocks:
		t.breach(queue, clauseLimits, "%d blocks: at most %d are possible", c.blocks, maxSameBlocks)
	}
	if flags&bitAnchor != 0 {
		t.breach(queue, c.clause(), "ANCHOR is set, and ANC_SUP is 0")
	}
}

// judgeData looks at the lengths in the CDB and the buffers that came with it, and at what is in a parameter list.
func (t *task) judgeData(queue int, chain *virtio.Chain) {
	c := &t.cmd
	if t.outSize == 0 != (t.inSize == 0) && (c.dir != dirOut && t.outSize != 0 || c.dir != dirIn && t.inSize != 0) {
		t.breach(queue, clauseExecute, "%d bytes of data and room for %d: the command has %s", t.outSize, t.inSize, [...]string{"neither", "data to the driver", "data from the driver"}[c.dir])
		return
	}
	room := map[direction]uint64{dirIn: t.inSize, dirOut: t.outSize}[c.dir]
	size := t.unitSize()
	switch {
	case c.ranged():
		t.judgeBlocks(queue, room, size)
	case c.dir == dirIn && c.code == opReadCapacity10:
		if room < 8 {
			t.breach(queue, c.clause(), "there is room for %d bytes: the answer has 8", room)
		}
	case c.dir == dirIn && c.length > room:
		t.breach(queue, clauseAllocation, "the allocation length is %d, and there is room for %d bytes", c.length, room)
	case c.dir == dirOut && c.length > room:
		t.breach(queue, clauseList, "the parameter list length is %d, and there are %d bytes", c.length, room)
	case c.code == opUnmap && c.length != 0 && t.unit != nil:
		t.judgeUnmap(queue, chain)
	}
}

// judgeBlocks looks at the length of a command for blocks of size bytes; 0 is that of a unit that there is not.
func (t *task) judgeBlocks(queue int, room, size uint64) {
	c := &t.cmd
	n := c.blocks
	switch c.code {
	case opSyncCache10, opSyncCache16:
		return
	case opWriteSame10, opWriteSame16:
		n = 1
		if c.code == opWriteSame16 && c.cdb[1]&1 != 0 { // NDOB
			n = 0
		}
	case opVerify10, opVerify12, opVerify16:
		if c.cdb[1]>>1&3 != 1 {
			n = 0
		}
	}
	if c.blocks > maxTransfer && n == c.blocks {
		t.breach(queue, clauseLimits, "%d blocks: at most %d are possible", c.blocks, maxTransfer)
	} else if n*size > room {
		t.breach(queue, clauseTransfer, "%d blocks of %d bytes, and a buffer of %d", n, size, room)
	}
}

// judgeUnmap looks at the list of UNMAP, which is wholly in the chain.
func (t *task) judgeUnmap(queue int, chain *virtio.Chain) {
	c := &t.cmd
	p := make([]byte, c.length) // at most 64 KiB
	if chain.Read(t.out, p) != nil {
		return
	}
	if len(p) < 8 {
		t.breach(queue, c.clause(), "a list of %d bytes: its header has 8", len(p))
		return
	}
	data, n := int(be.Uint16(p)), int(be.Uint16(p[2:]))
	switch {
	case data != n+6:
		t.breach(queue, c.clause(), "the data length is %d with %d bytes of descriptors: must be %d", data, n, n+6)
	case n > len(p)-8:
		t.breach(queue, clauseList, "%d bytes of descriptors in a list of %d", n, len(p))
	case n%16 != 0:
		t.breach(queue, c.clause(), "%d bytes of descriptors: each has 16", n)
	case n/16 > maxUnmapRanges:
		t.breach(queue, clauseLimits, "%d descriptors: at most %d are possible", n/16, maxUnmapRanges)
	}
	total := uint64(0)
	for l := p[8:min(8+n, len(p))]; len(l) >= 16; l = l[16:] {
		lba, blocks := be.Uint64(l), uint64(be.Uint32(l[8:]))
		total += blocks
		if !t.unit.inside(lba, blocks) {
			t.breach(queue, c.clause(), "%d blocks from %d on: the unit has %d", blocks, lba, t.unit.blocks.Load())
		}
	}
	if total > maxUnmapBlocks {
		t.breach(queue, clauseLimits, "%d blocks: at most %d are possible", total, maxUnmapBlocks)
	}
}
