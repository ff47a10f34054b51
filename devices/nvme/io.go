package nvme

import "dfemu/devices"

// checkIO does what comes before an I/O command has effects: the opcode, the
// namespace, and the range of blocks.
func (d *Device) checkIO(r *request) status {
	e := &r.e
	o := ioOpcodes[e.op]
	if o.effects == 0 {
		d.strictf(int(r.q.id), "NVM command set 1.0, figure 12", "I/O command %#02x is not supported", e.op)
		return invalidOpcode
	}
	if e.op == opFlush && e.nsid == allSpaces {
		return success
	}
	ns := d.space(e.nsid)
	if ns == nil {
		d.strictf(int(r.q.id), "NVMe base 2.0, 3.2.1", "%s is for namespace %#x, which is not attached", o.name, e.nsid)
		if e.nsid == 0 || e.nsid > uint32(d.sub.o.MaxNamespaces) {
			return invalidNamespace
		}
		return invalidField
	}
	r.ns = ns
	switch {
	case o.zoned && ns.csi != csiZoned:
		return invalidOpcode
	case ns.csi != csiNVM && d.cc.Load()>>4&7 != cssAll:
		return commandSetNotEnabled
	}
	switch e.op {
	case opRead, opWrite, opCompare, opVerify, opWriteZeroes, opWriteUncorrectable, opZoneAppend:
	default:
		return success
	}
	c, st := parseRW(e)
	if st != success {
		return st
	}
	r.io = c
	g := ns.geometry()
	if moves, _ := c.data(); moves && c.blocks<<g.shift > uint64(d.o.MaxTransfer) {
		d.strictf(int(r.q.id), "NVMe base 2.0, figure 275", "%s moves %d bytes; MDTS allows %d", o.name, c.blocks<<g.shift, d.o.MaxTransfer)
		return invalidField
	}
	if !g.inside(c.slba, c.blocks) {
		d.strictf(int(r.q.id), "NVM command set 1.0, 3.1", "%s of %d blocks at %d: the namespace has %d", o.name, c.blocks, c.slba, g.blocks)
		return lbaOutOfRange
	}
	return success
}

// io carries an I/O command out.
func (d *Device) io(r *request) status {
	if r.ns == nil {
		return d.flushMany()
	}
	ns := r.ns
	if st := d.usable(r, ns); st != success {
		return st
	}
	if r.first != nil {
		ns.guard.Lock()
		defer ns.guard.Unlock()
	} else {
		ns.guard.RLock()
		defer ns.guard.RUnlock()
	}
	return d.guarded(r, ns)
}

// usable tells whether a namespace is in a state in which it takes a command.
func (d *Device) usable(r *request, ns *namespace) status {
	if ns.formatting.Load() {
		return formatInProgress
	}
	if d.sub.wipe.busy() && r.e.op != opFlush {
		return sanitizeInProgress
	}
	return success
}

// guarded carries an I/O command out with the namespace's guard held.
func (d *Device) guarded(r *request, ns *namespace) status {
	if ns.gone.Load() {
		return invalidNamespace
	}
	// Between the check and now the namespace may have been formatted.
	if n := r.io.blocks; n != 0 && !ns.geometry().inside(r.io.slba, n) {
		return lbaOutOfRange
	}
	if ns.resv.active.Load() && ns.resv.conflict(d.hostID(), r.e.op) {
		return reservationConflict
	}
	if r.first != nil {
		r.first.shape.page = d.pageSize
		if st := d.compare(r.first, ns); st != success {
			r.firstFailed = true
			return st
		}
	}
	return d.ioCommand(r, ns)
}

func (d *Device) ioCommand(r *request, ns *namespace) status {
	switch r.e.op {
	case opRead:
		return d.read(r, ns)
	case opWrite, opZoneAppend:
		return d.write(r, ns)
	case opFlush:
		return ioStatus(ns.flush(), true)
	case opCompare:
		return d.compare(r, ns)
	case opVerify:
		return d.verify(r, ns)
	case opWriteZeroes, opWriteUncorrectable:
		return d.writeNothing(r, ns)
	case opDatasetManagement:
		return d.datasetManagement(r, ns)
	case opCopy:
		return d.copyBlocks(r, ns)
	case opResvRegister, opResvAcquire, opResvRelease, opResvReport:
		return d.reservation(r, ns)
	case opZoneSend:
		return d.zoneSend(r, ns)
	case opZoneReceive:
		return d.zoneReceive(r, ns)
	}
	return invalidOpcode
}

// flushMany is Flush for all namespaces.
func (d *Device) flushMany() status {
	for _, ns := range d.attached() {
		if err := ns.flush(); err != nil {
			return ioStatus(err, true)
		}
	}
	return success
}

// ioStatus is the status for what a store answered.
func ioStatus(err error, write bool) status {
	switch {
	case err == nil:
		return success
	case write:
		return writeFault
	}
	return unrecoveredRead
}

// settle makes a write durable where that is asked for: by the command, or by
// turning the write cache off.
func (d *Device) settle(ns *namespace, fua bool) status {
	if fua || !d.writeCache.Load() {
		return ioStatus(ns.flush(), true)
	}
	return success
}

// readable finds out where in the store the n bytes of the command's blocks begin, if they can be read. out is the
// direction of its own data: it comes from the host.
func (r *request) readable(ns *namespace, out bool) (off int64, n uint64, st status) {
	c, g := &r.io, ns.geometry()
	off, n = ns.base+int64(c.slba<<g.shift), c.blocks<<g.shift
	if st := r.shape.parse(&r.e, n, out); st != success {
		return 0, 0, st
	}
	return off, n, ns.checkBlocks(c)
}

// checkBlocks tells whether blocks that are there can be read.
func (ns *namespace) checkBlocks(c *rw) status {
	if ns.bad.hit(c.slba, c.blocks) {
		return unrecoveredRead
	}
	if ns.zones != nil {
		return ns.zones.checkRead(ns, c.slba, c.blocks)
	}
	return success
}

func (d *Device) read(r *request, ns *namespace) status {
	off, n, st := r.readable(ns, false)
	if st != success {
		return st
	}
	d.counters.reads.Add(1)
	d.counters.readUnits.Add(n >> 9)
	if r.io.fua && ns.flush() != nil {
		return unrecoveredRead
	}
	if r.swift {
		if r.q.prepare(r, ns, off) {
			return started
		}
		r.q.startReads()
	}
	return d.move(r, ns, off, false)
}

func (d *Device) write(r *request, ns *namespace) status {
	c, g := &r.io, ns.geometry()
	n := c.blocks << g.shift
	if ns.readOnly() {
		return writeProtected
	}
	if st := r.shape.parse(&r.e, n, true); st != success {
		return st
	}
	slba := c.slba
	if ns.zones != nil {
		at, st := ns.zones.reserve(ns, slba, c.blocks, c.op == opZoneAppend)
		if st != success {
			return st
		}
		if slba = at; c.op == opZoneAppend {
			r.result = at
		}
	}
	d.counters.writes.Add(1)
	d.counters.writtenUnits.Add(n >> 9)
	ns.bad.clear(slba, c.blocks)
	if st := d.move(r, ns, ns.base+int64(slba<<g.shift), true); st != success {
		return st
	}
	return d.settle(ns, c.fua)
}

// view finds the pieces of memory in r.shape. It reports whether data can be moved
// there as it is.
func (r *request) view() bool {
	if r.effect.FlipData != 0 || r.effect.ShortOn {
		return false
	}
	d, segs := r.q.d, r.shape.segs
	r.bufs = r.bufs[:0]
	for i := range segs {
		s := &segs[i]
		if s.bucket {
			return false
		}
		b, err := d.mem.View(s.addr, int(s.len))
		if err != nil {
			return false
		}
		r.bufs = append(r.bufs, b)
	}
	return true
}

// reportData tells those who watch about the pieces of memory in r.shape.
func (r *request) reportData(write bool) {
	if d := r.q.d; d.probe.Wants(devices.ClassDMA) {
		for i := range r.shape.segs {
			d.reportDMA(r.shape.segs[i], !write)
		}
	}
}

// received tells the CPUs about data in the pieces of memory in r.shape. Also
// after an error some of it may have changed.
func (r *request) received() {
	for i := range r.shape.segs {
		s := &r.shape.segs[i]
		r.q.d.mem.Written(s.addr, int(s.len))
	}
}

// move copies between the store and the pieces of memory in r.shape: directly
// where they are RAM and the store takes them as they are, else through a buffer.
func (d *Device) move(r *request, ns *namespace, off int64, write bool) status {
	if len(r.shape.segs) > 1 && ns.vec == nil || !r.view() {
		return d.moveBuffered(r, ns, off, write)
	}
	r.reportData(write)
	bufs := r.bufs
	var err error
	switch {
	case len(bufs) == 1 && write:
		_, err = ns.store.WriteAt(bufs[0], off)
	case len(bufs) == 1:
		_, err = ns.store.ReadAt(bufs[0], off)
	case write:
		err = ns.vec.WriteVAt(bufs, off)
	default:
		err = ns.vec.ReadVAt(bufs, off)
	}
	if !write {
		r.received()
	}
	return ioStatus(err, write)
}

func (d *Device) moveBuffered(r *request, ns *namespace, off int64, write bool) status {
	total := uint64(0)
	for i := range r.shape.segs {
		total += r.shape.segs[i].len
	}
	p := d.buffer()
	defer d.release(p)
	for at := uint64(0); at < total; {
		b := (*p)[:min(total-at, chunk)]
		if write {
			// What a short transfer left out is not written.
			st := d.gather(r, b, at)
			keep, _ := r.limit(at, uint64(len(b)))
			if st != success {
				b = b[:keep>>9<<9]
			}
			if len(b) > 0 && (st == success || r.effect.ShortOn) {
				if _, err := ns.store.WriteAt(b, off+int64(at)); err != nil {
					return writeFault
				}
			}
			if st != success {
				return st
			}
		} else {
			if _, err := ns.store.ReadAt(b, off+int64(at)); err != nil {
				return unrecoveredRead
			}
			if st := d.scatter(r, b, at); st != success {
				return st
			}
		}
		at += uint64(len(b))
	}
	return success
}

// compare is the command Compare.
func (d *Device) compare(r *request, ns *namespace) status {
	off, n, st := r.readable(ns, true)
	if st != success {
		return st
	}
	mine, theirs := d.buffer(), d.buffer()
	defer d.release(mine)
	defer d.release(theirs)
	for at := uint64(0); at < n; at += chunk {
		k := min(n-at, chunk)
		a, b := (*mine)[:k], (*theirs)[:k]
		if st := d.gather(r, b, at); st != success {
			return st
		}
		if _, err := ns.store.ReadAt(a, off+int64(at)); err != nil {
			return unrecoveredRead
		}
		if string(a) != string(b) {
			return compareFailure
		}
	}
	return success
}

// verify is the command Verify: the blocks can be read.
func (d *Device) verify(r *request, ns *namespace) status {
	c, g := &r.io, ns.geometry()
	if st := ns.checkBlocks(c); st != success {
		return st
	}
	return d.eachChunk(ns, c.slba, c.blocks<<g.shift, func([]byte, uint64) status { return success })
}

// eachChunk reads n bytes from a block on, and calls f for each part.
func (d *Device) eachChunk(ns *namespace, slba, n uint64, f func(b []byte, at uint64) status) status {
	p := d.buffer()
	defer d.release(p)
	base := ns.base + int64(slba<<ns.geometry().shift)
	for at := uint64(0); at < n; at += chunk {
		b := (*p)[:min(n-at, chunk)]
		if _, err := ns.store.ReadAt(b, base+int64(at)); err != nil {
			return unrecoveredRead
		}
		if st := f(b, at); st != success {
			return st
		}
	}
	return success
}

// writeNothing is Write Zeroes and Write Uncorrectable.
func (d *Device) writeNothing(r *request, ns *namespace) status {
	c, g := &r.io, ns.geometry()
	if ns.readOnly() {
		return writeProtected
	}
	if ns.zones != nil {
		if _, st := ns.zones.reserve(ns, c.slba, c.blocks, false); st != success {
			return st
		}
	}
	if c.op == opWriteUncorrectable {
		if !ns.bad.mark(c.slba, c.blocks) {
			return internalError
		}
		return success
	}
	ns.bad.clear(c.slba, c.blocks)
	if err := ns.store.WriteZeroes(ns.base+int64(c.slba<<g.shift), int64(c.blocks<<g.shift), c.deac); err != nil {
		return writeFault
	}
	return d.settle(ns, c.fua)
}

// datasetManagement is the command Dataset Management: ranges can be deallocated;
// the other hints are taken note of and change nothing.
func (d *Device) datasetManagement(r *request, ns *namespace) status {
	e := &r.e
	b := make([]byte, (e.dw[10]&0xff+1)*dsmRangeSize)
	if st := d.fromHost(r, b); st != success {
		return st
	}
	if e.dw[11]&dsmAD == 0 {
		return success
	}
	if ns.readOnly() {
		return writeProtected
	}
	g := ns.geometry()
	l := parseRanges(b)
	for _, s := range l {
		if !g.inside(s.slba, s.blocks) {
			return lbaOutOfRange
		}
	}
	if ns.zones != nil {
		return success // zones are emptied by resetting them
	}
	for _, s := range l {
		if s.blocks == 0 {
			continue
		}
		ns.bad.clear(s.slba, s.blocks)
		if err := ns.store.Discard(ns.base+int64(s.slba<<g.shift), int64(s.blocks<<g.shift)); err != nil {
			return writeFault
		}
	}
	return d.settle(ns, false)
}

// copyRanges is the number of ranges of Copy.
func copyRanges(e *entry) uint32 { return e.dw[12]&0xff + 1 }

// checkCopy tells whether the ranges of Copy are in a format that there is, and not too many.
func (d *Device) checkCopy(r *request) status {
	if format := r.e.dw[12] >> 8 & 0xf; format != 0 {
		d.strictf(int(r.q.id), "NVM command set 1.0, 3.2.2", "Copy with descriptor format %d; only format 0 is supported", format)
		return invalidField
	}
	if copyRanges(&r.e) > copyMaxRanges {
		return sizeLimitExceeded
	}
	return success
}

// copyBlocks is the command Copy (NVM command set, section 3.2.2).
func (d *Device) copyBlocks(r *request, ns *namespace) status {
	e := &r.e
	if st := d.checkCopy(r); st != success {
		return st
	}
	count := copyRanges(e)
	if ns.readOnly() {
		return writeProtected
	}
	b := make([]byte, count*copyRangeSize)
	if st := d.fromHost(r, b); st != success {
		return st
	}
	g := ns.geometry()
	total := uint64(0)
	l := parseSources(b)
	for _, s := range l {
		if s.blocks > copyMaxBlocks {
			return sizeLimitExceeded
		}
		if !g.inside(s.slba, s.blocks) {
			return lbaOutOfRange
		}
		total += s.blocks
	}
	to := e.slba()
	switch {
	case total > copyMaxTotal:
		return sizeLimitExceeded
	case !g.inside(to, total):
		return lbaOutOfRange
	}
	for _, s := range l {
		if s.slba < to+total && to < s.slba+s.blocks {
			return overlappingRange
		}
		if ns.zones != nil {
			if st := ns.zones.checkRead(ns, s.slba, s.blocks); st != success {
				return st
			}
		}
	}
	if ns.zones != nil {
		if _, st := ns.zones.reserve(ns, to, total, false); st != success {
			return st
		}
	}
	for i, s := range l {
		r.result = uint64(i) // on failure: the first range that was not copied
		if ns.bad.hit(s.slba, s.blocks) {
			return unrecoveredRead
		}
		ns.bad.clear(to, s.blocks)
		base := ns.base + int64(to<<g.shift)
		st := d.eachChunk(ns, s.slba, s.blocks<<g.shift, func(b []byte, at uint64) status {
			_, err := ns.store.WriteAt(b, base+int64(at))
			return ioStatus(err, true)
		})
		if st != success {
			return st
		}
		to += s.blocks
	}
	r.result = 0
	return d.settle(ns, e.dw[12]&rwFUA != 0)
}
