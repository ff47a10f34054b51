package scsi

import (
	"fmt"

	"dfemu/devices"
)

// Reservations: persistent ones (SPC-4, 5.13) and those of RESERVE and RELEASE (SPC-2, 5.5.1).
//
// A unit is reached over one I_T nexus, that between this host and its driver. So nobody else can have registered or can
// hold a reservation, and no command for the medium ever conflicts; what conflicts are wrong keys and types, and the two
// kinds of reservations with each other.

// Types of persistent reservations (SPC-4, 6.13.3.4).
const (
	typeWriteExclusive    = 0x1
	typeExclusive         = 0x3
	typeWriteExclusiveReg = 0x5 // registrants only
	typeExclusiveReg      = 0x6
	typeWriteExclusiveAll = 0x7 // all registrants hold it
	typeExclusiveAll      = 0x8
)

const (
	// The parameter data of PERSISTENT RESERVE OUT: its size in bytes, and bits of byte 20.
	persistentListSize = 24
	bitSpecIPT         = 1 << 3
	bitAllTG           = 1 << 2
	bitAPTPL           = 1 << 0

	// Bytes 2 to 5 of the data of REPORT CAPABILITIES.
	capableCRH, capablePTPL = 1 << 4, 1 << 0
	typesValid, ptplActive  = 1 << 7, 1 << 0
	capableTypes            = 0xea01 // all of them

	// Full status.
	fullStatusSize  = 24
	transportIDSize = 24
	transportSAS    = 6
	relativePort    = 1
)

// Service actions of PERSISTENT RESERVE IN and OUT.
const (
	prReadKeys        = 0x00
	prReadReservation = 0x01
	prCapabilities    = 0x02
	prReadFullStatus  = 0x03

	prRegister       = 0x00
	prReserve        = 0x01
	prRelease        = 0x02
	prClear          = 0x03
	prPreempt        = 0x04
	prPreemptAbort   = 0x05
	prRegisterIgnore = 0x06
)

// reservations are those of a unit.
type reservations struct {
	Generation uint32 // PRGENERATION
	Registered bool
	Key        uint64
	Type       uint8 // of the persistent reservation; 0: there is none
	Persist    bool  // APTPL: a loss of power changes nothing
	Reserved   bool  // by RESERVE
}

func validType(t uint8) bool {
	switch t {
	case typeWriteExclusive, typeExclusive, typeWriteExclusiveReg, typeExclusiveReg, typeWriteExclusiveAll, typeExclusiveAll:
		return true
	}
	return false
}

// all tells whether all registrants hold the reservation.
func (v *reservations) all() bool {
	return v.Type == typeWriteExclusiveAll || v.Type == typeExclusiveAll
}

// possible tells whether a saved state makes sense.
func (v *reservations) possible() bool {
	return v.Type == 0 || v.Registered && !v.Reserved && validType(v.Type)
}

// powerLoss is what happens to them when the power fails.
func (v *reservations) powerLoss() {
	v.Reserved = false
	if !v.Persist {
		*v = reservations{}
	}
	v.Generation = 0
}

// String describes them for watchers.
func (v *reservations) String() string {
	s := "no key"
	if v.Registered {
		s = fmt.Sprintf("key %#x", v.Key)
	}
	if v.Type != 0 {
		s += fmt.Sprintf(", reservation of type %d", v.Type)
	}
	if v.Reserved {
		s += ", reserved"
	}
	if v.Persist {
		s += ", kept when the power fails"
	}
	return s
}

func conflict() result { return result{code: statusConflict} }

// reserve is RESERVE(6) and RESERVE(10).
func reserve(t *task) result { return t.oldReserve(true) }

// release is RELEASE(6) and RELEASE(10).
func release(t *task) result { return t.oldReserve(false) }

// oldReserve makes or ends a reservation of the old kind. It makes no difference to a persistent one that the
// initiator holds or belongs to (SPC-4, 5.13.3), and conflicts with keys otherwise.
func (t *task) oldReserve(on bool) result {
	u := t.unit
	u.mu.Lock()
	defer u.mu.Unlock()
	v := &u.reservations
	switch {
	case v.Type != 0:
	case v.Registered:
		return conflict()
	default:
		if v.Reserved != on {
			v.Reserved = on
			t.reportReservations()
		}
	}
	return good(0)
}

// reportReservations tells watchers of a change. The caller holds the unit's mu.
func (t *task) reportReservations() {
	if p := t.d.Function().Probe(); p.Wants(devices.ClassState) {
		p.State(fmt.Sprintf("unit %v: %v", t.at, &t.unit.reservations))
	}
}

// persistentIn is PERSISTENT RESERVE IN.
func persistentIn(t *task) result {
	u := t.unit
	u.mu.Lock()
	v := u.reservations
	u.mu.Unlock()
	if v.Reserved {
		return conflict()
	}
	action := t.cmd.cdb[1] & 0x1f
	if action == prCapabilities {
		return t.give(v.capabilities(), t.cmd.length)
	}
	b := be.AppendUint32(nil, v.Generation)
	switch action {
	case prReadKeys:
		if v.Registered {
			b = be.AppendUint32(b, 8)
			b = be.AppendUint64(b, v.Key)
		}
	case prReadReservation:
		if v.Type != 0 {
			key := v.Key
			if v.all() {
				key = 0 // it is nobody's own
			}
			b = be.AppendUint32(b, 16)
			b = be.AppendUint64(b, key)
			b = append(b, 0, 0, 0, 0, 0, v.Type, 0, 0)
		}
	case prReadFullStatus:
		if v.Registered {
			b = be.AppendUint32(b, fullStatusSize+transportIDSize)
			b = append(b, t.fullStatus(&v)...)
		}
	}
	if len(b) == 4 {
		b = be.AppendUint32(b, 0)
	}
	return t.give(b, t.cmd.length)
}

// capabilities is the data of REPORT CAPABILITIES.
func (v *reservations) capabilities() []byte {
	b := []byte{0, 8, capableCRH | capablePTPL, typesValid, 0, 0, 0, 0}
	if v.Persist {
		b[3] |= ptplActive
	}
	be.PutUint16(b[4:], capableTypes)
	return b
}

// fullStatus is the descriptor of the registration. There is no form of TransportID for virtio: the initiator's is one of
// SAS, with an address made of the host's name.
func (t *task) fullStatus(v *reservations) []byte {
	b := make([]byte, fullStatusSize+transportIDSize)
	be.PutUint64(b, v.Key)
	if v.Type != 0 {
		b[12], b[13] = 1, v.Type
	}
	be.PutUint16(b[18:], relativePort)
	be.PutUint32(b[20:], transportIDSize)
	b[24] = transportSAS
	be.PutUint64(b[28:], localName(t.d.o.Name))
	return b
}

// persistentOut is PERSISTENT RESERVE OUT.
func persistentOut(t *task) result {
	c := &t.cmd
	if c.length != persistentListSize {
		return check(senseListLength)
	}
	p, r := t.list(persistentListSize)
	if r != nil {
		return *r
	}
	action := c.cdb[1] & 0x1f
	res, abort := t.changeReservations(action, c.cdb[2]>>4, c.cdb[2]&0xf, p)
	if abort && action == prPreemptAbort {
		t.d.mu.Lock()
		// Others of these commands may wait for this one in the same way.
		t.d.abort(func(o *task) bool { return o.unit == t.unit && (o.cmd.op == nil || o.cmd.code != opPersistentOut) }, respAborted)
		t.d.mu.Unlock()
	}
	return res
}

// changeReservations carries a service action of PERSISTENT RESERVE OUT out. It reports whether a nexus was preempted.
func (t *task) changeReservations(action, scope, kind uint8, p []byte) (res result, preempted bool) {
	u := t.unit
	u.mu.Lock()
	defer u.mu.Unlock()
	v := &u.reservations
	key, other, flags := be.Uint64(p), be.Uint64(p[8:]), p[20]
	before := *v
	switch {
	case v.Reserved:
		return conflict(), false
	case action == prRegister, action == prRegisterIgnore:
		res = v.register(key, other, flags, action == prRegisterIgnore)
	case !v.Registered || v.Key != key:
		return conflict(), false
	case action == prReserve:
		res = v.reserve(scope, kind)
	case action == prRelease:
		res = v.release(scope, kind)
	case action == prClear:
		v.Registered, v.Key, v.Type = false, 0, 0
		v.Generation++
		res = good(0)
	default:
		res = v.preempt(scope, kind, other)
		preempted = res == good(0)
	}
	if res == good(0) {
		res = good(persistentListSize)
	}
	if *v != before {
		t.reportReservations()
	}
	return res, preempted
}

// register is REGISTER and REGISTER AND IGNORE EXISTING KEY.
func (v *reservations) register(key, own uint64, flags byte, ignore bool) result {
	switch {
	case flags&(bitSpecIPT|bitAllTG) != 0:
		return check(senseParameter) // as REPORT CAPABILITIES says
	case !ignore && !v.Registered && key != 0, !ignore && v.Registered && key != v.Key:
		return conflict()
	case !v.Registered && own == 0:
		return good(0) // nothing to be taken back
	}
	v.Registered, v.Key = own != 0, own
	v.Persist = flags&bitAPTPL != 0
	if !v.Registered {
		v.Type = 0 // nobody is left to hold it
	}
	v.Generation++
	return good(0)
}

func (v *reservations) reserve(scope, kind uint8) result {
	switch {
	case scope != 0 || !validType(kind):
		return check(senseField)
	case v.Type != 0 && v.Type != kind:
		return conflict()
	}
	v.Type = kind
	return good(0)
}

func (v *reservations) release(scope, kind uint8) result {
	switch {
	case v.Type == 0:
		return good(0)
	case scope != 0 || v.Type != kind:
		return check(senseRelease)
	}
	v.Type = 0
	return good(0)
}

// preempt is PREEMPT, and PREEMPT AND ABORT but for the abort. The nexus can only preempt itself.
func (v *reservations) preempt(scope, kind uint8, key uint64) result {
	switch {
	case key == 0 && !v.all():
		return check(senseParameter)
	case v.Type != 0 && (v.all() && key == 0 || !v.all() && key == v.Key):
		// The reservation passes from its holder to this nexus, which is the same.
		if scope != 0 || !validType(kind) {
			return check(senseField)
		}
		v.Type = kind
	case key == v.Key:
		// Only the registrations with this key go.
		v.Registered, v.Key, v.Type = false, 0, 0
	default:
		return conflict()
	}
	v.Generation++
	return good(0)
}
