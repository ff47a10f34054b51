package nvme

import "dfemu/devices"

// adminTransfer tells how much data an admin command moves, and which way.
func adminTransfer(e *entry) (n uint64, write bool) {
	switch e.op {
	case opIdentify:
		return identBytes, false
	case opGetLogPage:
		return logBytes(e), false
	case opGetFeatures:
		if e.dw[10]>>8&7 != selCapabilities {
			return uint64(featureBytes(uint8(e.dw[10]), e)), false
		}
	case opSetFeatures:
		return uint64(featureBytes(uint8(e.dw[10]), e)), true
	case opFirmwareDownload:
		return (uint64(e.dw[10]) + 1) * 4, true
	case opNamespaceManage:
		if e.dw[10]&0xf == 0 {
			return 4096, true
		}
	case opNamespaceAttach:
		return 4096, true
	}
	return 0, false
}

// check does what comes before a command has effects: is it known, is it well
// formed, does it have a namespace.
func (d *Device) check(r *request) status {
	e := &r.e
	if e.resv != 0 {
		d.strictf(int(r.q.id), "NVMe base 2.0, figure 87", "reserved bits of double word 0 are set")
	}
	isAdmin := r.q.id == admin
	if e.fuse != 0 {
		if st := d.checkFused(r, isAdmin); st != success {
			return st
		}
	}
	if e.psdt == 3 {
		d.strictf(int(r.q.id), "NVMe base 2.0, figure 87", "PSDT of 11b is reserved")
		return invalidField
	}
	if isAdmin {
		if adminOpcodes[e.op].effects == 0 {
			d.strictf(admin, "NVMe base 2.0, figure 138", "admin command %#02x is not supported", e.op)
			return invalidOpcode
		}
		if e.psdt != 0 {
			d.strictf(admin, "NVMe over PCIe 1.0, 2.2", "%s uses an SGL; admin commands use PRPs", opcodeName(true, e.op))
			return invalidField
		}
		return success
	}
	if st := d.checkIO(r); st != success {
		return st
	}
	if f := r.first; f != nil {
		if st := d.checkIO(f); st != success {
			r.firstFailed = true
			return st
		}
	}
	return success
}

// checkFused tells whether a fused operation is one that exists: Compare and
// Write of the same blocks (NVM command set, section 3.1.1).
func (d *Device) checkFused(r *request, isAdmin bool) status {
	f := r.first
	switch {
	case isAdmin || r.e.fuse == 3:
		d.strictf(int(r.q.id), "NVMe base 2.0, figure 87", "FUSE of %d is not possible here", r.e.fuse)
		return invalidField
	case f == nil:
		d.strictf(int(r.q.id), "NVMe base 2.0, 3.4.2", "%s is part of a fused operation whose other command is not next to it", opcodeName(false, r.e.op))
		return missingFused
	case f.e.op != opCompare || r.e.op != opWrite:
		d.strictf(int(r.q.id), "NVM command set 1.0, 2.1.2", "%s and %s cannot be fused", opcodeName(false, f.e.op), opcodeName(false, r.e.op))
		r.firstFailed = true
		return invalidField
	case f.e.nsid != r.e.nsid || f.e.slba() != r.e.slba() || f.e.blocks() != r.e.blocks():
		d.strictf(int(r.q.id), "NVM command set 1.0, 2.1.2", "the fused Compare and Write are for different blocks")
		r.firstFailed = true
		return invalidField
	}
	return success
}

// admin carries an admin command out. done is false for one that goes on waiting.
func (d *Device) admin(r *request) (st status, done bool) {
	e := &r.e
	switch e.op {
	case opCreateCQ:
		st = d.createCQ(e)
	case opCreateSQ:
		st = d.createSQ(e)
	case opDeleteSQ:
		st = d.deleteSQ(e)
	case opDeleteCQ:
		st = d.deleteCQ(e)
	case opIdentify:
		st = d.identify(r)
	case opGetLogPage:
		st = d.getLogPage(r)
	case opAbort:
		st = d.abort(r)
	case opSetFeatures:
		st = d.setFeatures(r)
	case opGetFeatures:
		st = d.getFeatures(r)
	case opAsyncEvent:
		return d.asyncEvent(r)
	case opNamespaceManage:
		st = d.manageSpaces(r)
	case opNamespaceAttach:
		st = d.attachSpaces(r)
	case opFirmwareCommit:
		st = d.firmwareCommit(r)
	case opFirmwareDownload:
		st = d.firmwareDownload(r)
	case opSelfTest:
		st = d.selfTest(e)
	case opDoorbellBuffer:
		st = d.doorbellBuffer(r)
	case opFormat:
		st = d.format(e)
	case opSanitize:
		st = d.sanitize(e)
	default:
		st = invalidOpcode
	}
	return st, true
}

// Bits of double word 11 of the commands that create queues.
const (
	queuePC  = 1 << 0
	queueIEN = 1 << 1
)

// checkRing tells whether a queue can have the entries, and the place in memory, that the command which creates it says.
func (d *Device) checkRing(e *entry, clause, name string) status {
	size := e.dw[10]>>16 + 1
	switch {
	case size < 2 || size > uint32(d.o.QueueEntries):
		return queueSizeInvalid
	case e.dw[11]&queuePC == 0:
		d.strictf(admin, clause, "%s: PC is 0, but CAP.CQR is 1", name)
		return invalidField
	case e.prp1&(d.pageSize-1) != 0:
		d.strictf(admin, clause, "%s: PRP entry 1 is %#x, not at a page", name, e.prp1)
		return prpOffsetInvalid
	}
	return success
}

// checkCQ tells whether a completion queue can be created as a command says. The caller holds mu.
func (d *Device) checkCQ(e *entry) status {
	id := e.dw[10] & 0xffff
	if id == 0 || id > uint32(d.o.Queues) || d.cqs[id].Load() != nil {
		d.strictf(admin, "NVMe base 2.0, 5.4", "Create I/O Completion Queue: identifier %d is not possible, or in use", id)
		return queueIDInvalid
	}
	if st := d.checkRing(e, "NVMe base 2.0, 5.4", "Create I/O Completion Queue"); st != success {
		return st
	}
	switch {
	case e.dw[11]>>16 >= uint32(d.vectors):
		return vectorInvalid
	case d.cc.Load()>>20&0xf != 4:
		d.strictf(admin, "NVMe base 2.0, 3.1.3.5", "CC.IOCQES is %d while a queue is created: must be 4", d.cc.Load()>>20&0xf)
		return queueSizeInvalid
	}
	return success
}

func (d *Device) createCQ(e *entry) status {
	id, size := e.dw[10]&0xffff, e.dw[10]>>16+1
	vector := e.dw[11] >> 16
	d.mu.Lock()
	defer d.mu.Unlock()
	if st := d.checkCQ(e); st != success {
		return st
	}
	q := newCompQueue(d, uint16(id), size, e.prp1, uint16(vector), e.dw[11]&queueIEN != 0)
	d.cqs[id].Store(q)
	d.statef("completion queue %d: %d entries at %#x, vector %d", id, size, e.prp1, vector)
	return success
}

// checkSQ is checkCQ for a submission queue.
func (d *Device) checkSQ(e *entry) status {
	id := e.dw[10] & 0xffff
	cqid := e.dw[11] >> 16
	switch {
	case id == 0 || id > uint32(d.o.Queues) || d.sqs[id].Load() != nil:
		d.strictf(admin, "NVMe base 2.0, 5.5", "Create I/O Submission Queue: identifier %d is not possible, or in use", id)
		return queueIDInvalid
	case cqid == 0 || cqid >= maxQueues || d.cqs[cqid].Load() == nil:
		d.strictf(admin, "NVMe base 2.0, 5.5", "Create I/O Submission Queue %d: completion queue %d does not exist", id, cqid)
		if cqid == 0 || cqid > uint32(d.o.Queues) {
			return queueIDInvalid
		}
		return cqInvalid
	}
	if st := d.checkRing(e, "NVMe base 2.0, 5.5", "Create I/O Submission Queue"); st != success {
		return st
	}
	switch {
	case d.cc.Load()>>16&0xf != 6:
		d.strictf(admin, "NVMe base 2.0, 3.1.3.5", "CC.IOSQES is %d while a queue is created: must be 6", d.cc.Load()>>16&0xf)
		return queueSizeInvalid
	case d.cc.Load()>>4&7 == cssAdmin:
		return invalidField
	}
	return success
}

func (d *Device) createSQ(e *entry) status {
	id, size := e.dw[10]&0xffff, e.dw[10]>>16+1
	cqid := e.dw[11] >> 16
	d.mu.Lock()
	defer d.mu.Unlock()
	if st := d.checkSQ(e); st != success {
		return st
	}
	cq := d.cqs[cqid].Load()
	cq.refs++
	q := newSubQueue(d, uint16(id), size, e.prp1, cq)
	q.prio = uint8(e.dw[11] >> 1 & 3)
	d.sqs[id].Store(q)
	// With shadow doorbells commands may be there already.
	q.kick()
	d.statef("submission queue %d: %d entries at %#x, completion queue %d", id, size, e.prp1, cqid)
	return success
}

// noQueue reports that a submission queue is to be deleted which there is not.
func (d *Device) noQueue(id uint32) {
	d.strictf(admin, "NVMe base 2.0, 5.7", "Delete I/O Submission Queue: there is no queue %d", id)
}

func (d *Device) deleteSQ(e *entry) status {
	id := e.dw[10] & 0xffff
	if id == 0 || id >= maxQueues {
		return queueIDInvalid
	}
	q := d.sqs[id].Swap(nil)
	if q == nil {
		d.noQueue(id)
		return queueIDInvalid
	}
	for _, r := range q.stop() {
		c := completion{SQ: q.id, CID: r.e.cid, Status: abortedQueueDeletion}
		if r.cmd != nil {
			d.probe.Completion(r.cmd, devices.Status{Code: uint32(c.Status), Name: c.Status.String()})
		}
		if r.parked != parkedHung {
			q.cq.post(c)
		}
	}
	q.cq.notify()
	d.mu.Lock()
	q.cq.refs--
	d.mu.Unlock()
	d.statef("submission queue %d deleted", id)
	return success
}

// checkDeleteCQ tells whether a completion queue can be deleted as a command says. The caller holds mu.
func (d *Device) checkDeleteCQ(e *entry) (*compQueue, status) {
	id := e.dw[10] & 0xffff
	if id == 0 || id >= maxQueues {
		return nil, queueIDInvalid
	}
	q := d.cqs[id].Load()
	switch {
	case q == nil:
		d.strictf(admin, "NVMe base 2.0, 5.6", "Delete I/O Completion Queue: there is no queue %d", id)
		return nil, queueIDInvalid
	case q.refs > 0:
		d.strictf(admin, "NVMe base 2.0, 5.6", "completion queue %d is deleted before its %d submission queues", id, q.refs)
		return nil, queueDeletionInvalid
	}
	return q, success
}

func (d *Device) deleteCQ(e *entry) status {
	id := e.dw[10] & 0xffff
	d.mu.Lock()
	defer d.mu.Unlock()
	q, st := d.checkDeleteCQ(e)
	if st != success {
		return st
	}
	d.cqs[id].Store(nil)
	q.stop()
	if d.pinMode() {
		d.updatePin()
	}
	d.statef("completion queue %d deleted", id)
	return success
}
