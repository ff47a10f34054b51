// Package scsi is the virtio SCSI host (Virtual I/O Device 1.2, section 5.6)
// with disks as its targets' logical units (SPC-4, SBC-3).
package scsi

import (
	"errors"
	"fmt"
	"sync"

	"dfemu/devices"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/requests"
)

// Options describes a SCSI host.
type Options struct {
	Name      string // unit name, as "virtio-scsi0"
	Queues    int    // request queues, usually one for each CPU; 0 means 1
	QueueSize int    // descriptors in each, a power of two; 0 means 256
	// Workers is the number of requests on the way to the stores at a time; 0 means 16. Each queue has at least one.
	Workers int
	// Clock is for delays that faults make. It may be nil.
	Clock devices.Clock
	// InSlot, Packed and Broken are those of virtio.Config.
	InSlot, Packed bool
	Broken         func(err error)
}

// Device is a SCSI host.
type Device struct {
	*virtio.Device
	o      Options
	server *requests.Server
	table  []op

	buffers sync.Pool // of *[]byte, for transfers in several pieces

	mu       sync.Mutex
	units    map[address]*unit
	tasks    map[*task]struct{}
	told     map[uint64]int // identifiers of requests that have been foreseen and not taken
	changed  sync.Cond      // on mu: a task has ended
	cdbSize  uint32
	sense    uint32 // sense_size
	events   []event
	missed   bool // events were lost
	sending  bool
	closed   bool
	wg       sync.WaitGroup
	features uint64
}

// address is where a logical unit is.
type address struct{ target, lun uint8 }

func (a address) String() string { return fmt.Sprintf("%d:%d", a.target, a.lun) }

// New returns a host without units.
func New(o Options) (*Device, error) {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&o.Queues, 1)
	def(&o.QueueSize, 256)
	def(&o.Workers, 16)
	switch {
	case o.Queues < 1 || o.Queues > 64:
		return nil, fmt.Errorf("%s: %d queues: must be 1 to 64", o.Name, o.Queues)
	case o.QueueSize < 8 || o.QueueSize > 1024 || o.QueueSize&(o.QueueSize-1) != 0:
		return nil, fmt.Errorf("%s: queues of %d: must be a power of two, 8 to 1024", o.Name, o.QueueSize)
	case o.Workers < 1:
		return nil, fmt.Errorf("%s: %d workers: must be at least 1", o.Name, o.Workers)
	}
	d := &Device{o: o, table: ops(), units: map[address]*unit{}, tasks: map[*task]struct{}{}, told: map[uint64]int{}, cdbSize: defaultCDB, sense: defaultSense}
	d.changed.L = &d.mu
	sizes := []int{64, 16}
	for range o.Queues {
		sizes = append(sizes, o.QueueSize)
	}
	d.Device = virtio.New(virtio.Config{
		Name: o.Name, Type: 8, Class: 0x010000, Features: featureHotplug | featureChange, FeatureNames: featureNames, Queues: sizes,
		Region: configRegisters.Region(configuration{d}), Registers: configRegisters, Size: configSize, InSlot: o.InSlot, Packed: o.Packed, Broken: o.Broken,
	})
	d.server = requests.New(d.Device, o.Clock)
	d.server.Handle(queueControl, 1, d.control)
	for i := range o.Queues {
		d.server.Handle(queueRequest+i, max(1, o.Workers/o.Queues), d.serve)
	}
	d.Init(d)
	return d, nil
}

// configuration serves the registers of the device configuration.
type configuration struct{ d *Device }

// ReadRegister implements devices.Registers.
func (c configuration) ReadRegister(r devices.Reg, _ uint64) uint64 {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.ID {
	case regNumQueues:
		return uint64(d.o.Queues)
	case regSegMax:
		return uint64(d.o.QueueSize - 2)
	case regMaxSectors:
		return 0xffff
	case regCmdPerLUN:
		return uint64(min(d.o.QueueSize/2, 128))
	case regEventSize:
		return eventSize
	case regSenseSize:
		return uint64(d.sense)
	case regCDBSize:
		return uint64(d.cdbSize)
	case regMaxTarget:
		return maxTarget
	case regMaxLUN:
		return maxLUN
	}
	return 0 // max_channel
}

// WriteRegister implements devices.Registers.
func (c configuration) WriteRegister(r devices.Reg, v, mask uint64) {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	set := func(p *uint32, low, high uint32) {
		n := uint32(uint64(*p)&^mask | v&mask)
		if n < low || n > high {
			d.Misuse(-1, "5.6.4", "%v is set to %d: only %d to %d are possible", r, n, low, high)
			return
		}
		*p = n
	}
	switch r.ID {
	case regSenseSize:
		set(&d.sense, 0, maxSense)
	case regCDBSize:
		set(&d.cdbSize, 16, maxCDB)
	}
}

// Attach adds a logical unit with a store, which is the device's then, and tells the guest. On an error the store is the
// caller's still.
func (d *Device) Attach(target, lun int, o UnitOptions, store devices.Block) error {
	if target < 0 || target > maxTarget || lun < 0 || lun > maxLUN {
		return fmt.Errorf("%s: target %d, unit %d: must be 0 to %d and 0 to %d", d.o.Name, target, lun, maxTarget, maxLUN)
	}
	u, err := newUnit(address{uint8(target), uint8(lun)}, o, store)
	if err != nil {
		return fmt.Errorf("%s: %w", d.o.Name, err)
	}
	d.mu.Lock()
	if d.units[u.at] != nil || d.closed {
		d.mu.Unlock()
		return fmt.Errorf("%s: unit %v is there already", d.o.Name, u.at)
	}
	d.units[u.at] = u
	d.mu.Unlock()
	d.tell(event{Kind: eventTransportReset, At: u.at, Reason: reasonRescan})
	return nil
}

// Detach takes a logical unit away, tells the guest, and closes its store when requests under way have ended.
func (d *Device) Detach(target, lun int) error {
	at := address{uint8(target), uint8(lun)}
	d.mu.Lock()
	u := d.units[at]
	if u == nil || target != int(at.target) || lun != int(at.lun) {
		d.mu.Unlock()
		return fmt.Errorf("%s: no unit at target %d, unit %d", d.o.Name, target, lun)
	}
	delete(d.units, at)
	d.abort(func(t *task) bool { return t.unit == u }, respBadTarget)
	d.mu.Unlock()
	d.tell(event{Kind: eventTransportReset, At: at, Reason: reasonRemoved})
	return u.store.Close()
}

// Resized tells the guest that a unit's store has another size.
func (d *Device) Resized(target, lun int) {
	at := address{uint8(target), uint8(lun)}
	d.mu.Lock()
	u := d.units[at]
	d.mu.Unlock()
	if u == nil {
		return
	}
	u.resize()
	u.attention(senseCapacity)
	d.tell(event{Kind: eventParamChange, At: at, Reason: uint32(senseCapacity.ASC) | uint32(senseCapacity.ASCQ)<<8})
}

// Free returns the lowest target without units, or -1.
func (d *Device) Free() int {
	d.mu.Lock()
	defer d.mu.Unlock()
next:
	for t := range maxTarget + 1 {
		for a := range d.units {
			if int(a.target) == t {
				continue next
			}
		}
		return t
	}
	return -1
}

// Activate implements virtio.Model.
func (d *Device) Activate(features uint64) {
	d.mu.Lock()
	d.features = features
	d.mu.Unlock()
}

// Deactivate implements virtio.Model.
func (d *Device) Deactivate() {
	d.server.Reset()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cdbSize, d.sense, d.features = defaultCDB, defaultSense, 0
	d.events, d.missed = nil, false
	clear(d.tasks)
	clear(d.told)
	for _, u := range d.units {
		u.reset(sensePowerOn)
	}
}

// Kick implements virtio.Model.
func (d *Device) Kick(queue int) {
	if queue == queueEvent {
		d.sendEvents()
	}
}

// Pause implements devices.Pauser.
func (d *Device) Pause() { d.server.Pause() }

// PowerLoss implements devices.PowerLoser: the power fails without notice, and the stores lose what they had not made
// durable. Of reservations those stay for which the driver asked that (APTPL); they are the device's and in its saved state,
// not in the stores.
func (d *Device) PowerLoss() (err error) {
	d.Reset()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range d.units {
		u.mu.Lock()
		u.reservations.powerLoss()
		u.mu.Unlock()
		if p, ok := u.store.(devices.PowerLoser); ok {
			err = errors.Join(err, p.PowerLoss())
		}
	}
	return err
}

// Close waits for requests under way and closes the stores.
func (d *Device) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	err := d.server.Close()
	d.wg.Wait()
	for _, u := range d.units {
		err = errors.Join(err, u.store.Close())
	}
	return err
}

// An event is something that the driver is told of (section 5.6.6.3).
type event struct {
	Kind   uint32
	At     address
	Reason uint32
}

// tell has the driver told of an event, if it wants to know.
func (d *Device) tell(e event) {
	need := uint64(featureHotplug)
	if e.Kind == eventParamChange {
		need = featureChange
	}
	d.mu.Lock()
	if d.features&need == 0 {
		d.mu.Unlock()
		return
	}
	if len(d.events) < maxEvents {
		d.events = append(d.events, e)
	} else {
		d.missed = true
	}
	d.mu.Unlock()
	d.sendEvents()
}

// sendEvents gives the driver the events that there are buffers for, on a goroutine of its own.
func (d *Device) sendEvents() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sending || d.closed || len(d.events) == 0 {
		return
	}
	d.sending = true
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		q := d.Queue(queueEvent)
		for {
			d.mu.Lock()
			if len(d.events) == 0 || d.closed {
				d.sending = false
				d.mu.Unlock()
				return
			}
			c := q.Pop()
			if c == nil && !q.SetNotify(true) {
				d.sending = false
				d.mu.Unlock()
				return // a kick brings us back
			}
			if c == nil {
				d.mu.Unlock()
				continue
			}
			e, missed := d.events[0], d.missed
			d.events, d.missed = d.events[1:], false
			d.mu.Unlock()
			d.sendEvent(q, c, e, missed)
		}
	}()
}

func (d *Device) sendEvent(q *virtio.Queue, c *virtio.Chain, e event, missed bool) {
	var b [eventSize]byte
	le.PutUint32(b[0:], e.Kind)
	if missed {
		le.PutUint32(b[0:], e.Kind|eventsMissed)
	}
	b[4], b[5], b[6], b[7] = 1, e.At.target, 0x40, e.At.lun
	le.PutUint32(b[12:], e.Reason)
	if virtio.Total(c.In) < eventSize {
		d.Violation(queueEvent, "5.6.6.3.1", "a buffer of %d bytes for an event of %d", virtio.Total(c.In), eventSize)
		q.Push(c, 0)
		return
	}
	if err := c.Write(0, b[:]); err != nil {
		q.Push(c, 0)
		q.Broken(err)
		return
	}
	q.Push(c, eventSize)
	if p := d.Function().Probe(); p.Wants(devices.ClassState) {
		p.State(fmt.Sprintf("event %d for unit %v, reason %#x", e.Kind, e.At, e.Reason))
	}
}
