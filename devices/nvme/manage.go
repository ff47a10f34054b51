package nvme

// manageSpaces is the command Namespace Management (base specification, section
// 5.23).
func (d *Device) manageSpaces(r *request) status {
	e := &r.e
	switch e.dw[10] & 0xf {
	case 0:
		b := make([]byte, 4096)
		if st := d.fromHost(r, b); st != success {
			return st
		}
		id, st := d.sub.create(b, uint8(e.dw[11]>>24))
		r.result = uint64(id)
		if st == success {
			d.statef("namespace %d created", id)
		}
		return st
	case 1:
		return d.deleteSpaces(e.nsid)
	}
	return invalidField
}

// create makes a namespace of the host's description.
func (s *Subsystem) create(b []byte, csi uint8) (uint32, status) {
	size, capacity, flbas, dps, nmic := le.Uint64(b[0:]), le.Uint64(b[8:]), b[26], b[29], b[30]
	lbaf := flbas & 0xf
	switch {
	case csi != csiNVM && csi != csiZoned:
		return 0, commandSetUnsupported
	case int(lbaf) >= len(shifts) || flbas>>5&3 != 0:
		return 0, formatInvalid
	case dps != 0 || nmic&^1 != 0 || le.Uint32(b[92:]) != 0:
		return 0, invalidField
	case size == 0 || capacity > size || csi == csiNVM && capacity != size:
		return 0, invalidField
	case size > 1<<62>>shifts[lbaf]:
		return 0, insufficientCapacity
	}
	e := poolEntry{Bytes: int64(size << shifts[lbaf]), LBAF: lbaf, CSI: csi, Shared: nmic&1 != 0}
	if csi == csiZoned {
		z := zoneLayout{Size: s.o.PoolZoneSize, Capacity: s.o.PoolZoneSize}
		if e.Bytes%z.Size != 0 {
			return 0, invalidField
		}
		e.Zones = &z
		e.Bytes += zoneTableSize(e.Bytes / z.Size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool == nil || s.pool.store.ReadOnly() {
		return 0, insufficientCapacity
	}
	var ok bool
	if e.Offset, ok = s.pool.find(e.Bytes); !ok {
		return 0, insufficientCapacity
	}
	if e.NSID = s.freeID(); e.NSID == 0 {
		return 0, nsidUnavailable
	}
	e.EUI64 = makeEUI(s.o.Serial, e.NSID)
	// A new namespace reads as zeroes, whatever was there before.
	if s.pool.store.WriteZeroes(poolTable+e.Offset, e.Bytes, true) != nil {
		return 0, internalError
	}
	ns, err := s.poolSpace(e)
	if err != nil {
		return 0, invalidField
	}
	if err := s.pool.add(e); err != nil {
		return 0, insufficientCapacity
	}
	ns.automatic = false
	s.spaces[e.NSID] = ns
	return e.NSID, success
}

// deleteSpaces deletes one namespace, or all that were created.
func (d *Device) deleteSpaces(id uint32) status {
	if id != allSpaces {
		ns := d.sub.space(id)
		if ns == nil {
			return invalidNamespace
		}
		return d.deleteSpace(ns)
	}
	st := success
	for _, ns := range d.sub.all() {
		if ns.entry != nil {
			if one := d.deleteSpace(ns); one != success {
				st = one
			}
		}
	}
	return st
}

// deleteSpace deletes a namespace. Static ones belong to the machine and stay.
func (d *Device) deleteSpace(ns *namespace) status {
	if ns.entry == nil {
		return operationDenied
	}
	s := d.sub
	ns.gone.Store(true)
	// Commands that are being executed end first.
	ns.guard.Lock()
	defer ns.guard.Unlock()
	s.mu.Lock()
	if s.spaces[ns.id] != ns {
		s.mu.Unlock()
		return invalidNamespace
	}
	if err := s.pool.remove(ns.id); err != nil {
		ns.gone.Store(false)
		s.mu.Unlock()
		return internalError
	}
	s.spaces[ns.id] = nil
	var told []*Device
	for i, c := range s.controllers {
		if c != nil {
			if ns.attachedIDs[uint16(i)] && c != d {
				told = append(told, c)
			}
			s.refresh(c)
		}
	}
	s.mu.Unlock()
	d.statef("namespace %d deleted", ns.id)
	for _, c := range told {
		c.spaceChanged(ns.id)
	}
	return success
}

// spaceChanged notes that a namespace appeared, vanished or changed, and tells the driver.
func (d *Device) spaceChanged(id uint32) {
	d.mu.Lock()
	d.changed.add(id)
	d.events.add(d, eventNotice, eventNamespaces, logChanged)
	d.mu.Unlock()
}

// attachSpaces is the command Namespace Attachment (section 5.22).
func (d *Device) attachSpaces(r *request) status {
	e := &r.e
	attach := false
	switch e.dw[10] & 0xf {
	case 0:
		attach = true
	case 1:
	default:
		return invalidField
	}
	s := d.sub
	ns := s.space(e.nsid)
	if ns == nil {
		return invalidNamespace
	}
	b := make([]byte, 4096)
	if st := d.fromHost(r, b); st != success {
		return st
	}
	n := int(le.Uint16(b))
	if n == 0 || n > 2047 {
		return controllerListInvalid
	}
	s.mu.Lock()
	var list []*Device
	st := success
	for i := range n {
		id := le.Uint16(b[2+2*i:])
		switch {
		case i > 0 && id <= le.Uint16(b[2*i:]) || int(id) >= len(s.controllers) || s.controllers[id] == nil:
			st = controllerListInvalid
		case attach && ns.attachedIDs[id]:
			st = alreadyAttached
		case !attach && !ns.attachedIDs[id]:
			st = notAttached
		case attach && !ns.shared && (n > 1 || len(ns.attachedIDs) > 0):
			st = namespacePrivate
		default:
			list = append(list, s.controllers[id])
		}
		if st != success {
			s.mu.Unlock()
			return st
		}
	}
	for _, c := range list {
		if attach {
			ns.attachedIDs[c.id] = true
		} else {
			delete(ns.attachedIDs, c.id)
		}
		s.refresh(c)
	}
	s.mu.Unlock()
	for _, c := range list {
		c.statef("namespace %d attached: %v", ns.id, attach)
		c.spaceChanged(ns.id)
	}
	return success
}

// format is the command Format NVM (section 5.14).
func (d *Device) format(e *entry) status {
	lbaf, erase := uint8(e.dw[10]&0xf), e.dw[10]>>9&7
	switch {
	case e.dw[10]>>12&3 != 0 || int(lbaf) >= len(shifts) || e.dw[10]>>5&7 != 0:
		return formatInvalid
	case erase > 1:
		return invalidField // cryptographic erase is not offered in FNA
	}
	l := d.targets(e.nsid)
	if l == nil {
		if ns := d.sub.space(e.nsid); ns != nil {
			l = []*namespace{ns}
		}
	}
	if l == nil {
		return invalidNamespace
	}
	for _, ns := range l {
		switch {
		case ns.readOnly():
			return writeProtected
		case ns.resv.conflictsWrite(d.hostID()):
			return reservationConflict
		case ns.zones != nil && !ns.zones.fits(shifts[lbaf]):
			return formatInvalid
		}
	}
	for _, ns := range l {
		if st := ns.format(lbaf, erase == 1); st != success {
			return st
		}
		d.statef("namespace %d formatted with blocks of %d bytes", ns.id, 1<<shifts[lbaf])
		d.sub.changed(ns.id, d)
	}
	return success
}

// format erases the namespace. Commands that come meanwhile fail.
func (ns *namespace) format(lbaf uint8, erase bool) status {
	if ns.formatting.Swap(true) {
		return formatInProgress
	}
	defer ns.formatting.Store(false)
	ns.guard.Lock()
	defer ns.guard.Unlock()
	if ns.gone.Load() {
		return invalidNamespace
	}
	// Also without a secure erase nothing of the old content may be read.
	if ns.store.WriteZeroes(ns.base, ns.bytes, !erase) != nil {
		return internalError
	}
	ns.setFormat(lbaf)
	ns.bad.clear(0, ^uint64(0))
	if ns.zones != nil {
		ns.zones.formatted()
	}
	if ns.entry != nil {
		ns.sub.mu.Lock()
		err := ns.sub.pool.setFormat(ns.id, lbaf)
		ns.sub.mu.Unlock()
		if err != nil {
			return internalError
		}
	}
	if ns.flush() != nil {
		return internalError
	}
	return success
}
