package nvme

// Actions of Zone Management Send (zoned namespaces, figure 31).
const (
	zoneClose   = 0x1
	zoneFinish  = 0x2
	zoneOpen    = 0x3
	zoneReset   = 0x4
	zoneOffl    = 0x5
	zoneSetDesc = 0x10
)

// zoneAll tells whether Zone Management Send is for all zones.
func zoneAll(e *entry) bool { return e.dw[13]>>8&1 != 0 }

// checkZone tells whether Zone Management Send is for a zone, or all.
func (d *Device) checkZone(r *request, ns *namespace) status {
	g, slba := ns.geometry(), r.e.slba()
	switch {
	case zoneAll(&r.e):
	case slba >= g.blocks:
		return lbaOutOfRange
	case slba%ns.zones.size(g) != 0:
		d.strictf(int(r.q.id), "ZNS 1.1, 3.4.3", "Zone Management Send for block %d, which does not start a zone", slba)
		return invalidField
	}
	return success
}

// zoneSend is the command Zone Management Send.
func (d *Device) zoneSend(r *request, ns *namespace) status {
	e, z, g := &r.e, ns.zones, ns.geometry()
	if ns.readOnly() {
		return writeProtected
	}
	action, all := e.dw[13]&0xff, zoneAll(e)
	if st := d.checkZone(r, ns); st != success {
		return st
	}
	i := int(e.slba() / z.size(g))
	if action == zoneSetDesc {
		if all {
			return invalidField
		}
		var b [zoneExtension]byte
		if st := d.fromHost(r, b[:]); st != success {
			return st
		}
		return z.describe(i, b)
	}
	if action < zoneClose || action > zoneOffl {
		return invalidField
	}
	if !all {
		return z.act(ns, i, action, false)
	}
	for i := range z.zones {
		if st := z.act(ns, i, action, true); st != success {
			return st
		}
	}
	return success
}

// describe sets a zone's descriptor extension, which makes it active.
func (z *zoneSet) describe(i int, b [zoneExtension]byte) status {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.zones[i].State != zoneEmpty {
		return zoneTransition
	}
	if st := z.admit(i, false); st != success {
		return st
	}
	z.ext[i] = b
	z.zones[i].Ext = true
	z.set(i, zoneClosed)
	return success
}

// act carries an action out for one zone; for all of them, zones in states that
// the action does not concern are passed over (figure 32).
func (z *zoneSet) act(ns *namespace, i int, action uint32, all bool) status {
	z.mu.Lock()
	defer z.mu.Unlock()
	v := &z.zones[i]
	s := v.State
	switch action {
	case zoneClose:
		switch {
		case isOpen(s):
			z.set(i, zoneClosed)
		case s != zoneClosed && !all:
			return zoneTransition
		}
	case zoneOpen:
		switch {
		case s == zoneExplicit:
		case s == zoneImplicit && !all:
			z.set(i, zoneExplicit)
		case s == zoneClosed, s == zoneEmpty && !all:
			if st := z.admit(i, true); st != success {
				return st
			}
			z.set(i, zoneExplicit)
		case !all:
			return zoneTransition
		}
	case zoneFinish:
		switch {
		case isActive(s) || s == zoneEmpty && !all:
			if st := z.admit(i, false); st != success {
				return st
			}
			v.WP = z.capacity(ns.geometry())
			z.set(i, zoneFullState)
		case s != zoneFullState && !all:
			return zoneTransition
		}
	case zoneReset:
		switch {
		case isActive(s) || s == zoneFullState:
			return z.empty(ns, i)
		case s != zoneEmpty && !all:
			return zoneTransition
		}
	case zoneOffl:
		switch {
		case s == zoneReadOnlyState:
			z.set(i, zoneOfflineState)
		case s != zoneOfflineState && !all:
			return zoneTransition
		}
	}
	return success
}

// empty resets a zone: what was in it is gone. The caller holds mu.
func (z *zoneSet) empty(ns *namespace, i int) status {
	g := ns.geometry()
	first := uint64(i) * z.size(g)
	if ns.store.WriteZeroes(ns.base+int64(first<<g.shift), z.layout.Capacity, true) != nil {
		return writeFault
	}
	ns.bad.clear(first, z.size(g))
	z.zones[i].WP, z.zones[i].Ext = 0, false
	delete(z.ext, i)
	z.set(i, zoneEmpty)
	return success
}

const zoneDescriptor = 64

// zoneReceive is the command Zone Management Receive: reports of zones.
func (d *Device) zoneReceive(r *request, ns *namespace) status {
	e, z, g := &r.e, ns.zones, ns.geometry()
	n := dwords(e)
	action, option, partial := e.dw[13]&0xff, uint8(e.dw[13]>>8), e.dw[13]>>16&1 != 0
	slba := e.slba()
	switch {
	case n > uint64(d.o.MaxTransfer):
		return invalidField
	case action > 1 || option > 7:
		return invalidField
	case slba >= g.blocks:
		return lbaOutOfRange
	}
	each := uint64(zoneDescriptor)
	if action == 1 {
		each += zoneExtension
	}
	b := make([]byte, n)
	size, capacity := z.size(g), z.capacity(g)
	matching, at := uint64(0), uint64(zoneDescriptor)
	z.mu.Lock()
	for i := int(slba / size); i < len(z.zones); i++ {
		v := &z.zones[i]
		if option != 0 && v.State != reportState(option) {
			continue
		}
		if at+each > n {
			if partial {
				break
			}
			matching++
			continue
		}
		matching++
		p := b[at : at+each]
		at += each
		p[0] = 2 // sequential write required
		p[1] = v.State << 4
		if v.Ext {
			p[2] = 1 << 7
		}
		start := uint64(i) * size
		le.PutUint64(p[8:], capacity)
		le.PutUint64(p[16:], start)
		wp := start + v.WP
		if v.State == zoneFullState || v.State == zoneReadOnlyState || v.State == zoneOfflineState {
			wp = ^uint64(0) // not valid in these states
		}
		le.PutUint64(p[24:], wp)
		if action == 1 {
			x := z.ext[i]
			copy(p[zoneDescriptor:], x[:])
		}
	}
	z.mu.Unlock()
	if n >= 8 {
		le.PutUint64(b, matching)
	} else {
		le.PutUint32(b, uint32(matching))
	}
	return d.toHost(r, b)
}

// reportState is the state that a reporting option selects (figure 37).
func reportState(option uint8) uint8 {
	return [8]uint8{0, zoneEmpty, zoneImplicit, zoneExplicit, zoneClosed, zoneFullState, zoneReadOnlyState, zoneOfflineState}[option]
}

// SetZoneState puts a zone of a zoned namespace into the read-only (0xd) or
// offline (0xf) state, as a drive does whose media wears out, and tells the
// guest. It reports false if there is no such zone or state.
func (s *Subsystem) SetZoneState(nsid uint32, index int, state uint8) bool {
	ns := s.space(nsid)
	if ns == nil || ns.zones == nil || index < 0 || index >= len(ns.zones.zones) ||
		state != zoneReadOnlyState && state != zoneOfflineState {
		return false
	}
	z := ns.zones
	z.mu.Lock()
	z.set(index, state)
	if len(z.changed) < 511 {
		z.changed = append(z.changed, uint64(index)*z.size(ns.geometry()))
	}
	z.mu.Unlock()
	s.each(func(d *Device) {
		if d.space(nsid) != ns {
			return
		}
		d.mu.Lock()
		d.events.add(d, eventNotice, eventZones, logZones)
		d.mu.Unlock()
	})
	return true
}
