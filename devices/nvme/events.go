package nvme

// Asynchronous event types (base specification, figure 145).
const (
	eventError    = 0
	eventSMART    = 1
	eventNotice   = 2
	eventSpecific = 6 // I/O command specific
)

// Event information.
const (
	eventDoorbellRegister = 0 // of eventError
	eventDoorbellValue    = 1
	eventPersistentError  = 3

	eventNamespaces = 0 // of eventNotice
	eventFirmware   = 1
	eventTelemetry  = 2
	eventZones      = 0xef

	eventReservation = 0 // of eventSpecific
	eventSanitized   = 1
)

// Bits of the Asynchronous Event Configuration feature (figure 325).
const (
	configSMART     = 0x1f
	configNamespace = 1 << 8
	configFirmware  = 1 << 9
	configTelemetry = 1 << 10
	configZones     = 1 << 27

	eventsConfigurable = configSMART | configNamespace | configFirmware | configTelemetry | configZones
	maxEventRequests   = 4
	maxPendingEvents   = 64
)

// An event is something the controller has to tell.
type event struct {
	Type, Info, Page uint8
}

// events are Asynchronous Event Requests and what they are for (base
// specification, section 5.2). Guarded by Device.mu.
type events struct {
	waiting []*request
	Masked  [8]bool // types reported and not cleared by the driver yet
	Pending []event
}

// wanted tells whether the driver has enabled an event.
func (ev event) wanted(config uint32) bool {
	switch ev.Type {
	case eventSMART:
		return config&configSMART != 0
	case eventNotice:
		switch ev.Info {
		case eventNamespaces:
			return config&configNamespace != 0
		case eventFirmware:
			return config&configFirmware != 0
		case eventTelemetry:
			return config&configTelemetry != 0
		case eventZones:
			return config&configZones != 0
		}
		return false
	}
	return true
}

// add reports an event with the log page that tells more. The caller holds
// Device.mu.
func (v *events) add(d *Device, typ, info, page uint8) {
	ev := event{typ, info, page}
	if !ev.wanted(d.feat.Value[featAsyncEvents]) || len(v.Pending) >= maxPendingEvents {
		return
	}
	for _, p := range v.Pending {
		if p == ev {
			return
		}
	}
	v.Pending = append(v.Pending, ev)
	v.deliver(d)
}

// deliver completes requests with the events there are. The caller holds
// Device.mu.
func (v *events) deliver(d *Device) {
	for i := 0; i < len(v.Pending) && len(v.waiting) > 0; {
		ev := v.Pending[i]
		if v.Masked[ev.Type&7] {
			i++
			continue
		}
		r := v.waiting[0]
		if !r.q.unpark(r, parkedEvent) {
			return // paused, or the queue is ending
		}
		v.waiting = v.waiting[1:]
		v.Pending = append(v.Pending[:i], v.Pending[i+1:]...)
		v.Masked[ev.Type&7] = true
		r.result = uint64(ev.Type) | uint64(ev.Info)<<8 | uint64(ev.Page)<<16
		q := r.q
		q.complete(r, success, true)
		q.cq.notify()
	}
}

// clear unmasks the events that belong to a log page that was read. The caller
// holds Device.mu.
func (v *events) clear(d *Device, page uint8) {
	switch page {
	case logErrors:
		v.Masked[eventError] = false
	case logSMART:
		v.Masked[eventSMART] = false
	case logFirmware, logChanged, logTelemetryHost, logTelemetryController, logZones:
		v.Masked[eventNotice] = false
	case logReservation, logSanitize:
		v.Masked[eventSpecific] = false
	default:
		return
	}
	v.deliver(d)
}

// asyncEvent is the command Asynchronous Event Request.
func (d *Device) asyncEvent(r *request) (st status, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.events.waiting) >= maxEventRequests {
		return aerLimit, true
	}
	r.q.park(r, parkedEvent)
	d.events.waiting = append(d.events.waiting, r)
	d.events.deliver(d)
	return success, false
}

// badDoorbell reports a doorbell write that makes no sense.
func (d *Device) badDoorbell(info uint8, queue int) {
	d.logDoorbell(queue)
	d.mu.Lock()
	d.events.add(d, eventError, info, logErrors)
	d.mu.Unlock()
}

// abort is the command Abort (base specification, section 5.1). Commands that wait
// (for an event, or delayed by a fault) and those not begun are aborted.
func (d *Device) abort(r *request) status {
	r.result = 1
	sqid, cid := r.e.dw[10]&0xffff, uint16(r.e.dw[10]>>16)
	if sqid >= maxQueues {
		return invalidField
	}
	q := d.sqs[sqid].Load()
	if q == nil {
		return invalidField
	}
	d.mu.Lock()
	if v := q.find(cid); v != nil && v.q.id == admin {
		for i, w := range d.events.waiting {
			if w == v {
				d.events.waiting = append(d.events.waiting[:i:i], d.events.waiting[i+1:]...)
				break
			}
		}
	}
	d.mu.Unlock()
	if q.abort(cid) {
		r.result = 0
		q.cq.notify()
	}
	return success
}

// find returns the command that waits for an event and has an identifier, or nil.
func (q *subQueue) find(cid uint16) *request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.active {
		if r.e.cid == cid && r.parked == parkedEvent {
			return r
		}
	}
	return nil
}

// abort ends a command that has not had any effect yet. It reports false if there
// is none with the identifier.
func (q *subQueue) abort(cid uint16) bool {
	q.mu.Lock()
	var v *request
	owned := true
	for _, r := range q.active {
		if r.e.cid == cid && (r.parked == parkedEvent || r.parked == parkedDelay) {
			v = r
		}
	}
	if v == nil {
		for p := &q.pending; *p != nil; p = &(*p).next {
			if r := *p; r.e.cid == cid && r.first == nil {
				*p = r.next
				if q.last == r {
					q.last = nil
					for l := q.pending; l != nil; l = l.next {
						q.last = l
					}
				}
				r.next = nil
				q.waiting--
				v, owned = r, false
				break
			}
		}
	}
	if v == nil {
		q.mu.Unlock()
		return false
	}
	if v.timer != nil {
		v.timer.Stop()
	}
	v.parked = running
	q.executing++
	q.mu.Unlock()
	q.complete(v, abortRequested, owned)
	return true
}
