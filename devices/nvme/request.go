package nvme

import (
	"dfemu/devices"
	"dfemu/devices/internal/aio"
)

// A request is a command on its way through the controller.
type request struct {
	e      entry
	q      *subQueue
	ns     *namespace // of I/O commands, once looked up
	io     rw         // of I/O commands that are reads or writes in a wide sense
	result uint64     // double words 0 and 1 of the completion
	first  *request   // the first command of the fused operation whose second one this is
	shape  shape
	bufs   [][]byte

	effect  devices.Effect
	faulted bool             // a fault injector has been asked
	cmd     *devices.Command // for traces and faults; nil while nobody watches

	op    aio.Op // of a read that nobody waits for
	alone bool   // no other command was there when it was taken
	swift bool   // it may land later

	parked      parking
	firstFailed bool  // of a fused operation, it was the first command
	due         int64 // when a delayed command is executed
	timer       devices.Timer
	slot        int // index in subQueue.active
	next        *request
}

// parking says why a command that was taken is not being executed.
type parking uint8

const (
	running     parking = iota
	parkedEvent         // an Asynchronous Event Request waits for an event
	parkedHung          // a fault: until a reset
	parkedDelay         // a fault: until its time
)

// reset makes r ready for another command.
func (r *request) reset() {
	r.ns, r.first, r.cmd, r.timer, r.next = nil, nil, nil, nil, nil
	r.result, r.due = 0, 0
	r.io = rw{}
	r.effect = devices.Effect{}
	r.faulted, r.firstFailed, r.alone, r.swift, r.parked = false, false, false, false, running
	clear(r.bufs)
	r.bufs = r.bufs[:0]
}

// describe fills cmd for those who watch.
func (r *request) describe() {
	e := &r.e
	isAdmin := r.q.id == admin
	c := &devices.Command{
		Queue: int(r.q.id), Tag: int(e.cid), NSID: e.nsid, Opcode: uint32(e.op), Admin: isAdmin, Name: opcodeName(isAdmin, e.op),
	}
	if isAdmin {
		c.Bytes, c.Write = adminTransfer(e)
	} else {
		r.describeIO(c)
	}
	copied := *e
	c.Fields = func() []devices.FieldValue { return decode(isAdmin, &copied) }
	r.cmd = c
}

// describeIO fills in what is particular to I/O commands. Blocks are taken as the
// namespace has them formatted now.
func (r *request) describeIO(c *devices.Command) {
	e := &r.e
	shift := uint8(9)
	zoned := false
	if ns := r.q.d.space(e.nsid); ns != nil {
		shift, zoned = ns.geometry().shift, ns.csi == csiZoned
	}
	switch e.op {
	case opRead, opWrite, opCompare, opVerify, opWriteZeroes, opWriteUncorrectable, opZoneAppend:
		if e.op == opZoneAppend && !zoned {
			return
		}
		x, _ := parseRW(e)
		c.LBA, c.Blocks = x.slba, x.blocks
		if moves, write := x.data(); moves {
			c.Bytes, c.Write = x.blocks<<shift, write
		} else {
			c.Write = x.changes()
		}
	case opDatasetManagement:
		c.Bytes, c.Write = (uint64(e.dw[10]&0xff)+1)*dsmRangeSize, true
	case opCopy:
		c.LBA, c.Blocks = e.slba(), uint64(e.dw[12]&0xff)+1
		c.Bytes, c.Write = c.Blocks*copyRangeSize, true
	case opResvRegister, opResvAcquire, opResvRelease:
		c.Bytes, c.Write = resvDataSize(e.op), true
	case opResvReport, opZoneReceive:
		c.Bytes = dwords(e)
	}
}

// dwords is the length in bytes of commands that have it in NUMD, double word 10
// or 12, counted in double words from zero.
func dwords(e *entry) uint64 {
	if e.op == opZoneReceive {
		return (uint64(e.dw[12]) + 1) * 4
	}
	return (uint64(e.dw[10]) + 1) * 4
}
