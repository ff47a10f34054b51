package nvme

import "slices"

// What is checked at the doorbell, for those who halt the machine there: breaches of the specification that show without executing
// commands. Who takes the commands looks at them again. What a command finds that is executed before, as another queue, counts as
// it is now: a driver relies on a command only when it has its completion.

// outstanding are the identifiers of the commands that the queue has been told of and that have not ended, as bits. It is
// called before the tail moves.
func (q *subQueue) outstanding() []uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	used := slices.Clone(q.cids)
	for _, r := range q.active {
		enter(used, r.e.cid)
	}
	for r := q.pending; r != nil; r = r.next {
		enter(used, r.e.cid)
		if r.first != nil {
			enter(used, r.first.e.cid)
		}
	}
	var b [2]byte
	for i, tail := q.head.Load(), q.tail.Load(); i != tail; i = (i + 1) % q.size {
		if q.d.mem.Read(q.base+uint64(i)*sqeSize+2, b[:]) == nil {
			enter(used, le.Uint16(b[:]))
		}
	}
	return used
}

// enter sets the bit of an identifier, and reports whether it was set.
func enter(used []uint64, cid uint16) bool {
	w, bit := &used[cid/64], uint64(1)<<(cid%64)
	was := *w&bit != 0
	*w |= bit
	return was
}

// foresee looks at the commands between two tails. It is called by the processor that rang the doorbell. used are the identifiers that
// the commands must not have; nil if that is not known.
func (q *subQueue) foresee(from, to uint32, used []uint64) {
	d := q.d
	if !d.fn.BusMaster() {
		return
	}
	r := &request{q: q}
	r.shape.d, r.shape.queue, r.shape.page, r.shape.quiet = d, int(q.id), d.pageSize, true
	var b [sqeSize]byte
	for i := from; i != to; i = (i + 1) % q.size {
		if d.mem.Read(q.base+uint64(i)*sqeSize, b[:]) != nil {
			return
		}
		r.reset()
		r.e = parseEntry(&b)
		if used != nil && enter(used, r.e.cid) {
			q.conflict(r)
			continue
		}
		// Of a fused operation the partner counts, too.
		if r.e.fuse != 0 || d.check(r) != success {
			continue
		}
		n, write := uint64(0), false
		if q.id == admin {
			n, write = d.foreseeAdmin(&r.e)
		} else if r.ns != nil {
			n, write = d.foreseeIO(r)
		}
		if n <= uint64(d.o.MaxTransfer) {
			_ = r.shape.parse(&r.e, n, write) // the status is for whoever executes it
		}
	}
}

// foreseeAdmin looks at an admin command, and tells how much data it moves, and which way, as far as that is known before.
func (d *Device) foreseeAdmin(e *entry) (n uint64, write bool) {
	st := success
	if e.op == opIdentify {
		if d.identity(make([]byte, identBytes), uint8(e.dw[10]), uint16(e.dw[10]>>16), uint8(e.dw[11]>>24), e.nsid) != success {
			return 0, false
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e.op {
	case opCreateCQ:
		st = d.checkCQ(e)
	case opCreateSQ:
		st = d.checkSQ(e)
	case opDeleteCQ:
		_, st = d.checkDeleteCQ(e)
	case opDeleteSQ:
		if id := e.dw[10] & 0xffff; id != 0 && id < maxQueues && d.sqs[id].Load() == nil {
			d.noQueue(id)
		}
	case opGetLogPage:
		st = d.checkLogPage(e)
	case opSetFeatures:
		st = d.foreseeFeature(e)
	case opDoorbellBuffer:
		st = d.checkDoorbellBuffer(e)
	}
	if st != success {
		return 0, false
	}
	return adminTransfer(e)
}

// foreseeFeature looks at Set Features. The caller holds mu.
func (d *Device) foreseeFeature(e *entry) status {
	if st := d.checkFeature(e); st != success {
		return st
	}
	switch v := e.dw[11]; {
	case uint8(e.dw[10]) == featQueues:
		return d.checkQueues(v)
	case uint8(e.dw[10]) == featHostMemory && v&hmbEnable != 0:
		_, st := d.lentMemory(e)
		return st
	}
	return success
}

// foreseeIO is foreseeAdmin for a command on a namespace.
func (d *Device) foreseeIO(r *request) (n uint64, write bool) {
	e := &r.e
	switch e.op {
	case opDatasetManagement:
		return (uint64(e.dw[10]&0xff) + 1) * dsmRangeSize, true
	case opCopy:
		if d.checkCopy(r) == success {
			return uint64(copyRanges(e)) * copyRangeSize, true
		}
	case opResvRegister, opResvAcquire, opResvRelease:
		if d.checkHost(r, d.hostID()) == success {
			return resvDataSize(e.op), true
		}
	case opZoneSend:
		_ = d.checkZone(r, r.ns) // as above
	default:
		if moves, out := r.io.data(); moves {
			return r.io.blocks << r.ns.geometry().shift, out
		}
	}
	return 0, false
}
