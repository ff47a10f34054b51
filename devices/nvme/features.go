package nvme

import (
	"dfemu/devices"
)

// Feature identifiers (base specification, figure 317).
const (
	featArbitration      = 0x01
	featPower            = 0x02
	featTemperature      = 0x04
	featErrorRecovery    = 0x05
	featWriteCache       = 0x06
	featQueues           = 0x07
	featCoalescing       = 0x08
	featVector           = 0x09
	featAtomicity        = 0x0a
	featAsyncEvents      = 0x0b
	featHostMemory       = 0x0d
	featTimestamp        = 0x0e
	featNonOperational   = 0x11
	featHostBehavior     = 0x16
	featCommandSets      = 0x19
	featSoftwareProgress = 0x80
	featHostID           = 0x81
	featResvMask         = 0x82
	featResvPersist      = 0x83
	featWriteProtect     = 0x84
)

// A feature describes one feature.
type feature struct {
	name      string
	saveable  bool
	spaces    bool // namespace specific
	fixed     bool // cannot be changed
	valid     uint32
	data      int // bytes of data it comes with
	initial   uint32
	needSpace bool // all namespaces at once is not possible
}

var featureTable = map[uint8]feature{
	featArbitration:      {name: "Arbitration", saveable: true, valid: 0xffffff07, initial: 0x07},
	featPower:            {name: "Power Management", saveable: true, valid: 0xff},
	featTemperature:      {name: "Temperature Threshold", saveable: true, valid: 0x003fffff},
	featErrorRecovery:    {name: "Error Recovery", saveable: true, spaces: true, valid: 0x0001ffff},
	featWriteCache:       {name: "Volatile Write Cache", saveable: true, valid: 1, initial: 1},
	featQueues:           {name: "Number of Queues", valid: 0xffffffff},
	featCoalescing:       {name: "Interrupt Coalescing", saveable: true, valid: 0xffff},
	featVector:           {name: "Interrupt Vector Configuration", valid: 0x1ffff},
	featAtomicity:        {name: "Write Atomicity Normal", saveable: true, valid: 1},
	featAsyncEvents:      {name: "Asynchronous Event Configuration", saveable: true, valid: eventsConfigurable},
	featHostMemory:       {name: "Host Memory Buffer", valid: 3},
	featTimestamp:        {name: "Timestamp", data: 8},
	featNonOperational:   {name: "Non-Operational Power State Config", saveable: true, valid: 1, initial: 1},
	featHostBehavior:     {name: "Host Behavior Support", data: 512},
	featCommandSets:      {name: "I/O Command Set Profile", valid: 0x1ff},
	featSoftwareProgress: {name: "Software Progress Marker", saveable: true, valid: 0xff},
	featHostID:           {name: "Host Identifier", valid: 1, data: 16},
	featResvMask:         {name: "Reservation Notification Mask", spaces: true, valid: 0xe},
	featResvPersist:      {name: "Reservation Persistence", spaces: true, valid: 1, saveable: true, fixed: true},
	featWriteProtect:     {name: "Namespace Write Protection Config", spaces: true, valid: 7, needSpace: true},
}

// features is the state behind Set Features, guarded by Device.mu.
type features struct {
	Value     map[uint8]uint32
	Saved     map[uint8]uint32
	Direct    [maxQueues]bool // vectors without coalescing
	Hot, Cold [9]uint16       // temperature thresholds in kelvin
	HostID    [16]byte
	HostIDLen int // 8, 16, or 0 when not set
	Behavior  [512]byte
	Recovery  map[uint32]uint32 // of namespaces
	Time      uint64            // ms, as last set
	TimeAt    int64             // of the clock, when it was set
	TimeSet   bool
	Memory    hostMemory
}

// reset puts features into the state after a controller level reset: what was
// saved, or the default.
func (f *features) reset(d *Device) {
	saved, host, n := f.Saved, f.HostID, f.HostIDLen
	*f = features{Value: map[uint8]uint32{}, Saved: saved, Recovery: map[uint32]uint32{}}
	if f.Saved == nil {
		f.Saved = map[uint8]uint32{}
	}
	f.HostID, f.HostIDLen = host, n
	if d.sub != nil && !d.sub.reserved(d) {
		f.HostID, f.HostIDLen = [16]byte{}, 0
	}
	for id, t := range featureTable {
		f.Value[id] = t.initial
		if v, ok := f.Saved[id]; ok {
			f.Value[id] = v
		}
	}
	n16 := uint32(d.o.Queues - 1)
	f.Value[featQueues] = n16 | n16<<16
	for i := range f.Hot {
		f.Hot[i], f.Cold[i] = 0xffff, 0
	}
	f.Hot[0] = warningTemperature
	f.apply(d)
}

// apply makes the values effective that are needed away from the lock.
func (f *features) apply(d *Device) {
	d.writeCache.Store(f.Value[featWriteCache]&1 != 0)
	d.aggregation.Store(f.Value[featCoalescing])
	for i := range f.Direct {
		d.direct[i].Store(f.Direct[i])
	}
}

// coalescing returns how many completions share an interrupt and how long in ns
// the first may wait; 0 for no waiting.
func (d *Device) coalescing(q *compQueue) (threshold int, wait int64) {
	v := d.aggregation.Load()
	if v&0xff == 0 || v>>8&0xff == 0 || q.id == admin {
		return 0, 0
	}
	if int(q.vector) < maxQueues && d.direct[q.vector].Load() {
		return 0, 0
	}
	return int(v&0xff) + 1, int64(v>>8&0xff) * 100_000
}

// selectors of Get Features.
const (
	selCurrent = iota
	selDefault
	selSaved
	selCapabilities
)

func (d *Device) getFeatures(r *request) status {
	e := &r.e
	id, sel := uint8(e.dw[10]), e.dw[10]>>8&7
	t, ok := featureTable[id]
	if !ok || sel > selCapabilities {
		return invalidField
	}
	if sel == selCapabilities {
		if t.saveable && !t.fixed {
			r.result |= 1
		}
		if t.spaces {
			r.result |= 2
		}
		if !t.fixed {
			r.result |= 4
		}
		return success
	}
	var ns *namespace
	if t.spaces {
		if ns = d.space(e.nsid); ns == nil {
			return invalidNamespace
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &d.feat
	switch sel {
	case selDefault:
		r.result = uint64(t.initial)
		if id == featQueues {
			r.result = uint64(d.o.Queues-1) * 0x10001
		}
		if id == featTemperature {
			r.result = uint64(f.defaultTemperature(e.dw[11]))
		}
		if t.data > 0 {
			return d.toHost(r, make([]byte, featureBytes(id, e)))
		}
		return success
	case selSaved:
		if !t.saveable && t.data == 0 {
			break // there is no saved value: the current one
		}
		if v, ok := f.Saved[id]; ok {
			r.result = uint64(v)
			return success
		}
		if t.saveable {
			r.result = uint64(t.initial)
			if id != featTemperature {
				return success
			}
		}
	}
	return d.currentFeature(r, id, ns)
}

func (f *features) defaultTemperature(dw11 uint32) uint32 {
	if dw11>>20&3 == 1 {
		return 0
	}
	if dw11>>16&0xf == 0 {
		return warningTemperature
	}
	return 0xffff
}

// currentFeature answers with the current value. The caller holds mu.
func (d *Device) currentFeature(r *request, id uint8, ns *namespace) status {
	f, e := &d.feat, &r.e
	switch id {
	case featTemperature:
		sensor := e.dw[11] >> 16 & 0xf
		if sensor > 8 || e.dw[11]>>20&3 > 1 {
			return invalidField
		}
		if e.dw[11]>>20&3 == 1 {
			r.result = uint64(f.Cold[sensor])
		} else {
			r.result = uint64(f.Hot[sensor])
		}
	case featErrorRecovery:
		r.result = uint64(f.Recovery[e.nsid])
	case featVector:
		v := e.dw[11] & 0xffff
		if int(v) >= d.vectors {
			return invalidField
		}
		r.result = uint64(v)
		if f.Direct[v] || v == 0 {
			r.result |= 1 << 16
		}
	case featTimestamp:
		return d.toHost(r, d.timestamp())
	case featHostBehavior:
		return d.toHost(r, f.Behavior[:])
	case featHostID:
		if f.HostIDLen == 16 {
			r.result = 1
		}
		return d.toHost(r, f.HostID[:featureBytes(id, e)])
	case featHostMemory:
		r.result = uint64(f.Value[id])
		return d.toHost(r, f.Memory.attributes())
	case featResvMask:
		r.result = uint64(ns.resv.notifyMask(d.id))
	case featWriteProtect:
		r.result = uint64(ns.protect.Load())
	default:
		r.result = uint64(f.Value[id])
	}
	return success
}

func featureBytes(id uint8, e *entry) int {
	if id == featHostID && e.dw[11]&1 == 0 {
		return 8
	}
	return featureTable[id].data
}

// checkFeature tells whether a feature can be set as a command says, as far as its fields go.
func (d *Device) checkFeature(e *entry) status {
	id, save := uint8(e.dw[10]), e.dw[10]>>31 != 0
	t, ok := featureTable[id]
	switch {
	case !ok:
		return invalidField
	case save && !t.saveable:
		return notSaveable
	case t.fixed:
		return notChangeable
	case !t.spaces && e.nsid != 0 && e.nsid != allSpaces:
		return notNamespaceSpecific
	}
	if e.dw[11]&^t.valid != 0 && id != featTimestamp && id != featHostBehavior {
		d.strictf(admin, "NVMe base 2.0, 5.27.1", "Set Features %s: reserved bits of double word 11 are set: %#x", t.name, e.dw[11])
		if id == featAsyncEvents || id == featTemperature {
			return invalidField
		}
	}
	return success
}

// checkQueues tells whether the number of queues can be set as a command says.
func (d *Device) checkQueues(v uint32) status {
	if v&0xffff == 0xffff || v>>16 == 0xffff {
		return invalidField
	}
	for i := 1; i < maxQueues; i++ {
		if d.sqs[i].Load() != nil || d.cqs[i].Load() != nil {
			d.strictf(admin, "NVMe base 2.0, 5.27.1.5", "Number of Queues is set after I/O queues have been created")
			return sequenceError
		}
	}
	return success
}

func (d *Device) setFeatures(r *request) status {
	e := &r.e
	if st := d.checkFeature(e); st != success {
		return st
	}
	id, save := uint8(e.dw[10]), e.dw[10]>>31 != 0
	t := featureTable[id]
	var targets []*namespace
	if t.spaces {
		if targets = d.targets(e.nsid); targets == nil {
			return invalidNamespace
		}
		if t.needSpace && e.nsid == allSpaces {
			return invalidField
		}
	}
	var data []byte
	if t.data > 0 {
		data = make([]byte, featureBytes(id, e))
		if st := d.fromHost(r, data); st != success {
			return st
		}
	}
	if d.probe.Wants(devices.ClassState) {
		d.statef("feature %s set to %#x", t.name, e.dw[11])
	}
	if id == featWriteProtect {
		return targets[0].setProtection(e.dw[11] & t.valid)
	}
	if id == featResvMask {
		for _, ns := range targets {
			ns.resv.setNotifyMask(d.id, e.dw[11]&t.valid)
		}
		return success
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	v := e.dw[11] & t.valid
	if st := d.changeFeature(r, id, v, data, targets); st != success {
		return st
	}
	if save {
		d.feat.Saved[id] = v
	}
	return success
}

// changeFeature stores a new value. The caller holds mu.
func (d *Device) changeFeature(r *request, id uint8, v uint32, data []byte, targets []*namespace) status {
	f, e := &d.feat, &r.e
	switch id {
	case featPower:
		if v&0x1f > powerStates-1 {
			return invalidField
		}
	case featTemperature:
		return d.setTemperature(v)
	case featErrorRecovery:
		for _, ns := range targets {
			f.Recovery[ns.id] = v
		}
		return success
	case featQueues:
		if st := d.checkQueues(v); st != success {
			return st
		}
		// All that exist are allocated whatever is asked for, except that more are never reported.
		r.result = uint64(d.o.Queues-1) * 0x10001
		f.Value[id] = uint32(r.result)
		return success
	case featVector:
		vector := v & 0xffff
		if int(vector) >= d.vectors || vector == 0 && v>>16 == 0 {
			return invalidField
		}
		f.Direct[vector] = v>>16&1 != 0
		f.apply(d)
		return success
	case featHostMemory:
		return d.setHostMemory(r, v)
	case featTimestamp:
		f.Time, f.TimeAt, f.TimeSet = le.Uint64(data)&(1<<48-1), d.o.Clock.Now(), true
		return success
	case featHostBehavior:
		if data[0] > 1 {
			return invalidField
		}
		copy(f.Behavior[:], data)
		return success
	case featCommandSets:
		if v&0xff >= uint32(len(commandSetCombinations)) {
			return commandSetRejected
		}
		if d.usesSets(commandSetCombinations[v&0xff]) {
			r.result = uint64(v & 0xff)
			break
		}
		return commandSetRejected
	case featHostID:
		return d.setHostID(e.dw[11]&1 != 0, data)
	}
	f.Value[id] = v
	f.apply(d)
	if id == featAsyncEvents {
		d.events.deliver(d)
	}
	return success
}

func (d *Device) setTemperature(v uint32) status {
	f := &d.feat
	sensor, kind := v>>16&0xf, v>>20&3
	if sensor > 8 && sensor != 0xf || kind > 1 {
		return invalidField
	}
	l := &f.Hot
	if kind == 1 {
		l = &f.Cold
	}
	for i := range l {
		if sensor == 0xf || int(sensor) == i {
			l[i] = uint16(v)
		}
	}
	// An event follows at once if the temperature is beyond the threshold.
	if f.tooHot() {
		d.events.add(d, eventSMART, 1, logSMART)
	}
	return success
}

// tooHot tells whether the composite temperature is outside its thresholds.
func (f *features) tooHot() bool {
	return temperature >= int(f.Hot[0]) || temperature <= int(f.Cold[0])
}

// setHostID sets the host identifier, which cannot change once it is set
// (base specification, section 5.27.1.25).
func (d *Device) setHostID(extended bool, data []byte) status {
	f := &d.feat
	n := 8
	if extended {
		n = 16
	}
	var id [16]byte
	copy(id[:n], data)
	if id == ([16]byte{}) {
		return invalidField
	}
	if f.HostIDLen != 0 && (f.HostIDLen != n || f.HostID != id) {
		return sequenceError
	}
	if other := d.sub.hostIDLen(d); other != 0 && other != n {
		return hostIDInconsistent
	}
	f.HostID, f.HostIDLen = id, n
	return success
}

// timestamp is the data of the Timestamp feature. The caller holds mu.
func (d *Device) timestamp() []byte {
	f := &d.feat
	b := make([]byte, 8)
	now := d.o.Clock.Now()
	le.PutUint64(b, (f.Time+uint64(max(0, now-f.TimeAt))/1e6)&(1<<48-1))
	if f.TimeSet {
		b[6] = 1 << 1
	}
	b[7] = 0
	return b
}

// targets returns the attached namespaces that an identifier means: one, or all
// of them. It returns nil for an identifier that is not valid here.
func (d *Device) targets(id uint32) []*namespace {
	if id == allSpaces {
		return append([]*namespace{}, d.attached()...)
	}
	if ns := d.space(id); ns != nil {
		return []*namespace{ns}
	}
	return nil
}
