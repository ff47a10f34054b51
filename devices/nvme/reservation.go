package nvme

import (
	"sort"
	"sync"
	"sync/atomic"
)

// Types of reservations (base specification, figure 391).
const (
	resvNone            = 0
	resvWriteExclusive  = 1
	resvExclusive       = 2
	resvWriteRegistrant = 3
	resvRegistrants     = 4
	resvWriteAll        = 5
	resvAll             = 6
)

// A hostIdentity tells hosts apart: the Host Identifier feature.
type hostIdentity struct {
	ID  [16]byte
	Len int // 8 or 16; 0 while not set
	CID uint16
}

// A registrant is a host that has registered a key.
type registrant struct {
	Host       [16]byte
	Len        int
	Controller uint16
	Key        uint64
}

// reservations are those of one namespace (base specification, section 8.19).
type reservations struct {
	active atomic.Bool // there is a reservation

	mu          sync.Mutex
	Type        uint8
	Holder      [16]byte // unless all registrants hold it
	Registrants []registrant
	Generation  uint32
	masks       map[uint16]uint32 // notifications not wanted, by controller
}

// hostID is who uses this controller.
func (d *Device) hostID() hostIdentity {
	d.mu.Lock()
	defer d.mu.Unlock()
	return hostIdentity{d.feat.HostID, d.feat.HostIDLen, d.id}
}

func (v *reservations) find(host [16]byte) int {
	for i := range v.Registrants {
		if v.Registrants[i].Host == host {
			return i
		}
	}
	return -1
}

// holds tells whether a host holds the reservation. The caller holds mu.
func (v *reservations) holds(host [16]byte) bool {
	switch v.Type {
	case resvNone:
		return false
	case resvWriteAll, resvAll:
		return v.find(host) >= 0
	}
	return v.Holder == host
}

// conflict tells whether a command of a host is not allowed now (figure 392).
func (v *reservations) conflict(h hostIdentity, op uint8) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.Type == resvNone || v.holds(h.ID) && h.Len != 0 {
		return false
	}
	registered := h.Len != 0 && v.find(h.ID) >= 0
	switch op {
	case opResvRegister, opResvAcquire, opResvRelease, opResvReport:
		return false // they have their own rules
	case opRead, opCompare, opVerify, opZoneReceive:
		switch v.Type {
		case resvExclusive:
			return true
		case resvRegistrants, resvAll:
			return !registered
		}
		return false
	}
	switch v.Type {
	case resvWriteExclusive, resvExclusive:
		return true
	}
	return !registered
}

// conflictsWrite is conflict for something that changes the namespace.
func (v *reservations) conflictsWrite(h hostIdentity) bool { return v.conflict(h, opWrite) }

func resvDataSize(op uint8) uint64 {
	if op == opResvRelease {
		return 8
	}
	return 16
}

// checkHost tells whether the host has said who it is, before it reserves something.
func (d *Device) checkHost(r *request, h hostIdentity) status {
	if h.Len == 0 {
		d.strictf(int(r.q.id), "NVMe base 2.0, 8.19", "%s without a host identifier", opcodeName(false, r.e.op))
		return sequenceError
	}
	return success
}

// reservation serves the reservation commands.
func (d *Device) reservation(r *request, ns *namespace) status {
	h := d.hostID()
	if r.e.op == opResvReport {
		return d.reservationReport(r, ns, h)
	}
	if st := d.checkHost(r, h); st != success {
		return st
	}
	b := make([]byte, resvDataSize(r.e.op))
	if st := d.fromHost(r, b); st != success {
		return st
	}
	v := &ns.resv
	v.mu.Lock()
	var notes []note
	var st status
	switch r.e.op {
	case opResvRegister:
		st, notes = v.register(h, r.e.dw[10], le.Uint64(b), le.Uint64(b[8:]))
	case opResvAcquire:
		st, notes = v.acquire(h, r.e.dw[10], le.Uint64(b), le.Uint64(b[8:]))
	default:
		st, notes = v.release(h, r.e.dw[10], le.Uint64(b))
	}
	v.active.Store(v.Type != resvNone)
	v.mu.Unlock()
	for _, n := range notes {
		d.sub.notify(n, ns)
	}
	return st
}

// Kinds of reservation notifications (figure 226).
const (
	noteRegistrationPreempted = 1
	noteReservationReleased   = 2
	noteReservationPreempted  = 3
)

// A note is a notification for the controller of another host.
type note struct {
	kind       uint8
	controller uint16
}

// others returns notes of a kind for all registrants but one.
func (v *reservations) others(kind uint8, host [16]byte) []note {
	var l []note
	for _, g := range v.Registrants {
		if g.Host != host {
			l = append(l, note{kind, g.Controller})
		}
	}
	return l
}

// register is the command Reservation Register. The caller holds mu.
func (v *reservations) register(h hostIdentity, dw uint32, current, key uint64) (status, []note) {
	ignore := dw>>3&1 != 0
	i := v.find(h.ID)
	if cptpl := dw >> 30; cptpl == 1 || cptpl == 3 {
		// Reservations do not outlive a loss of power, as RESCAP says.
		return invalidField, nil
	}
	switch dw & 7 {
	case 0:
		if i >= 0 {
			if v.Registrants[i].Key != key {
				return reservationConflict, nil
			}
			return success, nil
		}
		if len(v.Registrants) >= maxRegistrants {
			return insufficientCapacity, nil
		}
		v.Registrants = append(v.Registrants, registrant{h.ID, h.Len, h.CID, key})
		sort.Slice(v.Registrants, func(a, b int) bool { return v.Registrants[a].Controller < v.Registrants[b].Controller })
		v.Generation++
		return success, nil
	case 1:
		if i < 0 || !ignore && v.Registrants[i].Key != current {
			return reservationConflict, nil
		}
		v.Generation++
		return success, v.unregister(i)
	case 2:
		if i < 0 {
			if !ignore {
				return reservationConflict, nil
			}
			v.Registrants = append(v.Registrants, registrant{h.ID, h.Len, h.CID, key})
		} else {
			if !ignore && v.Registrants[i].Key != current {
				return reservationConflict, nil
			}
			v.Registrants[i].Key = key
		}
		v.Generation++
		return success, nil
	}
	return invalidField, nil
}

const maxRegistrants = 128

// unregister takes a registrant out and releases what it held.
func (v *reservations) unregister(i int) []note {
	host := v.Registrants[i].Host
	held := v.holds(host)
	v.Registrants = append(v.Registrants[:i:i], v.Registrants[i+1:]...)
	if !held {
		return nil
	}
	switch v.Type {
	case resvWriteAll, resvAll:
		if len(v.Registrants) > 0 {
			return nil
		}
	}
	was := v.Type
	v.Type, v.Holder = resvNone, [16]byte{}
	if was == resvWriteRegistrant || was == resvRegistrants {
		return v.others(noteReservationReleased, host)
	}
	return nil
}

// acquire is the command Reservation Acquire. The caller holds mu.
func (v *reservations) acquire(h hostIdentity, dw uint32, current, preempted uint64) (status, []note) {
	i := v.find(h.ID)
	kind := uint8(dw >> 8)
	switch {
	case dw>>3&1 != 0:
		return invalidField, nil // Ignore Existing Key is not for this command
	case i < 0 || v.Registrants[i].Key != current:
		return reservationConflict, nil
	case kind < resvWriteExclusive || kind > resvAll:
		return invalidField, nil
	}
	switch dw & 7 {
	case 0:
		if v.Type != resvNone {
			if v.holds(h.ID) && v.Type == kind {
				return success, nil
			}
			return reservationConflict, nil
		}
		v.Type, v.Holder = kind, h.ID
		return success, nil
	case 1, 2:
		return v.preempt(h, kind, preempted)
	}
	return invalidField, nil
}

// preempt takes reservation and registrations away from the hosts with a key.
func (v *reservations) preempt(h hostIdentity, kind uint8, key uint64) (status, []note) {
	all := v.Type == resvWriteAll || v.Type == resvAll
	holder := v.Type != resvNone && !all && v.keyOf(v.Holder) == key
	if key == 0 && !all {
		return invalidField, nil
	}
	takes := holder || all && key == 0
	var notes []note
	var keep []registrant
	removed := false
	for _, g := range v.Registrants {
		if g.Host != h.ID && (g.Key == key || all && key == 0) {
			removed = true
			notes = append(notes, note{noteRegistrationPreempted, g.Controller})
			continue
		}
		keep = append(keep, g)
	}
	if !removed && !takes {
		return reservationConflict, nil
	}
	old := v.Type
	v.Registrants = keep
	if takes {
		v.Type, v.Holder = kind, h.ID
		if old != kind {
			notes = append(notes, v.others(noteReservationReleased, h.ID)...)
		}
	}
	v.Generation++
	return success, notes
}

func (v *reservations) keyOf(host [16]byte) uint64 {
	if i := v.find(host); i >= 0 {
		return v.Registrants[i].Key
	}
	return 0
}

// release is the command Reservation Release. The caller holds mu.
func (v *reservations) release(h hostIdentity, dw uint32, current uint64) (status, []note) {
	i := v.find(h.ID)
	if dw>>3&1 != 0 {
		return invalidField, nil
	}
	if i < 0 || v.Registrants[i].Key != current {
		return reservationConflict, nil
	}
	switch dw & 7 {
	case 0:
		if v.Type == resvNone || !v.holds(h.ID) {
			return success, nil
		}
		if uint8(dw>>8) != v.Type {
			return invalidField, nil
		}
		was := v.Type
		v.Type, v.Holder = resvNone, [16]byte{}
		if was != resvWriteExclusive && was != resvExclusive {
			return success, v.others(noteReservationReleased, h.ID)
		}
		return success, nil
	case 1:
		notes := v.others(noteReservationPreempted, h.ID)
		v.Type, v.Holder, v.Registrants = resvNone, [16]byte{}, nil
		v.Generation++
		return success, notes
	}
	return invalidField, nil
}

// reservationReport is the command Reservation Report.
func (d *Device) reservationReport(r *request, ns *namespace, h hostIdentity) status {
	n := dwords(&r.e)
	if n > uint64(d.o.MaxTransfer) {
		return invalidField
	}
	extended := r.e.dw[11]&1 != 0
	v := &ns.resv
	v.mu.Lock()
	for _, g := range v.Registrants {
		if g.Len == 16 && !extended {
			v.mu.Unlock()
			return hostIDInconsistent
		}
	}
	head, size := 24, 24
	if extended {
		head, size = 64, 64
	}
	b := make([]byte, max(int(n), head+size*len(v.Registrants)))
	le.PutUint32(b[0:], v.Generation)
	b[4] = v.Type
	le.PutUint16(b[5:], uint16(len(v.Registrants)))
	for i, g := range v.Registrants {
		p := b[head+size*i:]
		le.PutUint16(p, g.Controller)
		if v.holds(g.Host) {
			p[2] = 1
		}
		if extended {
			le.PutUint64(p[8:], g.Key)
			copy(p[16:32], g.Host[:])
		} else {
			copy(p[8:16], g.Host[:8])
			le.PutUint64(p[16:], g.Key)
		}
	}
	v.mu.Unlock()
	return d.toHost(r, b[:n])
}

func (v *reservations) notifyMask(controller uint16) uint32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.masks[controller]
}

func (v *reservations) setNotifyMask(controller uint16, m uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.masks == nil {
		v.masks = map[uint16]uint32{}
	}
	v.masks[controller] = m
}

// A resvNotice is one entry of the reservation notification log.
type resvNotice struct {
	Count uint64
	Kind  uint8
	NSID  uint32
}

// notices is the queue behind the reservation notification log of a controller,
// guarded by Device.mu.
type notices struct {
	Count uint64
	Queue []resvNotice
}

const maxNotices = 255

// notify tells a controller of what another host did to a reservation.
func (s *Subsystem) notify(n note, ns *namespace) {
	if ns.resv.notifyMask(n.controller)>>n.kind&1 != 0 {
		return
	}
	s.each(func(d *Device) {
		if d.id != n.controller {
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		q := &d.notices
		q.Count++
		if len(q.Queue) < maxNotices {
			q.Queue = append(q.Queue, resvNotice{q.Count, n.kind, ns.id})
		}
		d.events.add(d, eventSpecific, eventReservation, logReservation)
	})
}

// reservationLog returns the oldest notification and takes it off.
func (s *Subsystem) reservationLog(d *Device) []byte {
	b := make([]byte, 64)
	d.mu.Lock()
	defer d.mu.Unlock()
	q := &d.notices
	if len(q.Queue) == 0 {
		return b
	}
	n := q.Queue[0]
	q.Queue = q.Queue[1:]
	le.PutUint64(b, n.Count)
	b[8] = n.Kind
	b[9] = uint8(len(q.Queue))
	le.PutUint32(b[12:], n.NSID)
	return b
}

// reserved tells whether d's host has registered anywhere: then its identifier
// outlives a controller reset.
func (s *Subsystem) reserved(d *Device) bool {
	for _, ns := range s.all() {
		ns.resv.mu.Lock()
		i := ns.resv.find(d.feat.HostID)
		ns.resv.mu.Unlock()
		if i >= 0 && d.feat.HostIDLen != 0 {
			return true
		}
	}
	return false
}

// hostIDLen returns the length of the host identifiers that other controllers use, or 0.
func (s *Subsystem) hostIDLen(except *Device) int {
	n := 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ns := range s.spaces {
		if ns == nil {
			continue
		}
		ns.resv.mu.Lock()
		for _, g := range ns.resv.Registrants {
			if g.Controller != except.id {
				n = g.Len
			}
		}
		ns.resv.mu.Unlock()
	}
	return n
}
