package virtio

import (
	"fmt"

	"dfemu/devices"
)

// Rows of the common configuration structure (section 4.1.4.3).
const (
	regDeviceFeatureSelect = iota
	regDeviceFeature
	regDriverFeatureSelect
	regDriverFeature
	regConfigVector
	regNumQueues
	regStatus
	regGeneration
	regQueueSelect
	regQueueSize
	regQueueVector
	regQueueEnable
	regQueueNotifyOff
	regQueueDesc
	regQueueDriver
	regQueueDevice
	regQueueNotifyData
	regQueueReset
)

var commonRegisters = devices.NewBank("virtio common", []devices.Register{
	regDeviceFeatureSelect: {Offset: 0x00, Size: 4, Name: "device_feature_select"},
	regDeviceFeature:       {Offset: 0x04, Size: 4, Name: "device_feature", Rights: devices.RO},
	regDriverFeatureSelect: {Offset: 0x08, Size: 4, Name: "driver_feature_select"},
	regDriverFeature:       {Offset: 0x0c, Size: 4, Name: "driver_feature"},
	regConfigVector:        {Offset: 0x10, Size: 2, Name: "config_msix_vector"},
	regNumQueues:           {Offset: 0x12, Size: 2, Name: "num_queues", Rights: devices.RO},
	regStatus:              {Offset: 0x14, Size: 1, Name: "device_status", Fields: statusBits},
	regGeneration:          {Offset: 0x15, Size: 1, Name: "config_generation", Rights: devices.RO},
	regQueueSelect:         {Offset: 0x16, Size: 2, Name: "queue_select"},
	regQueueSize:           {Offset: 0x18, Size: 2, Name: "queue_size"},
	regQueueVector:         {Offset: 0x1a, Size: 2, Name: "queue_msix_vector"},
	regQueueEnable:         {Offset: 0x1c, Size: 2, Name: "queue_enable", Fields: []devices.Field{{Name: "enabled", Lo: 0, Hi: 0}}},
	regQueueNotifyOff:      {Offset: 0x1e, Size: 2, Name: "queue_notify_off", Rights: devices.RO},
	regQueueDesc:           {Offset: 0x20, Size: 8, Name: "queue_desc"},
	regQueueDriver:         {Offset: 0x28, Size: 8, Name: "queue_driver"},
	regQueueDevice:         {Offset: 0x30, Size: 8, Name: "queue_device"},
	regQueueNotifyData:     {Offset: 0x38, Size: 2, Name: "queue_notify_data", Rights: devices.RO},
	regQueueReset:          {Offset: 0x3a, Size: 2, Name: "queue_reset", Fields: []devices.Field{{Name: "reset", Lo: 0, Hi: 0}}},
}).With(devices.Rules{Clause: "virtio 1.2, 4.1.4.3", Natural: naturalWidth})

// selected is the queue that queue_select names, or nil.
func (d *Device) selected() *Queue {
	if int(d.queueSelect) < len(d.queues) {
		return d.queues[d.queueSelect]
	}
	return nil
}

// ReadRegister implements devices.Registers.
func (d *Device) ReadRegister(r devices.Reg, _ uint64) uint64 {
	switch r.ID {
	case regStatus:
		if !d.checks.statusRead.Load() {
			d.checks.statusRead.Store(true)
		}
		return uint64(d.status.Load())
	case regGeneration:
		return uint64(d.generation.Load() & 0xff)
	case regNumQueues:
		return uint64(len(d.queues))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.ID {
	case regConfigVector:
		d.checks.unread = false
		return uint64(d.vector.Load())
	case regDeviceFeatureSelect:
		return uint64(d.featureSelect)
	case regDeviceFeature:
		return half(d.features, d.featureSelect)
	case regDriverFeatureSelect:
		return uint64(d.driverSelect)
	case regDriverFeature:
		return half(d.accepted, d.driverSelect)
	case regQueueSelect:
		return uint64(d.queueSelect)
	}
	q := d.selected()
	if q == nil {
		return 0 // size 0: there is no such queue
	}
	switch r.ID {
	case regQueueSize:
		return uint64(q.cfg.size)
	case regQueueVector:
		q.cfg.unread = false
		return uint64(q.cfg.vector)
	case regQueueEnable:
		if q.cfg.enabled {
			return 1
		}
	case regQueueNotifyOff:
		return uint64(q.index)
	case regQueueDesc:
		return q.cfg.desc
	case regQueueDriver:
		return q.cfg.driver
	case regQueueDevice:
		return q.cfg.device
	case regQueueNotifyData:
		return uint64(q.index)
	}
	return 0
}

// half is the 32-bit word number n of v; there are two.
func half(v uint64, n uint32) uint64 {
	if n > 1 {
		return 0
	}
	return v >> (32 * n) & 0xffffffff
}

// WriteRegister implements devices.Registers.
func (d *Device) WriteRegister(r devices.Reg, v, mask uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	merge := func(old uint64) uint64 { return old&^mask | v&mask }
	switch r.ID {
	case regDeviceFeatureSelect:
		d.featureSelect = uint32(merge(uint64(d.featureSelect)))
		return
	case regDriverFeatureSelect:
		d.driverSelect = uint32(merge(uint64(d.driverSelect)))
		return
	case regDriverFeature:
		// The choice is final once FEATURES_OK is set.
		if d.status.Load()&StatusFeaturesOK != 0 {
			d.Misuse(-1, "3.1.1", "driver_feature is written after FEATURES_OK")
		} else if d.driverSelect < 2 {
			shift := 32 * d.driverSelect
			d.accepted = d.accepted&^(mask<<shift) | v&mask<<shift
		}
		return
	case regConfigVector:
		v := uint16(merge(uint64(d.vector.Load())))
		d.vector.Store(uint32(d.checkVector(v)))
		d.checks.unread = v != noVector
		return
	case regStatus:
		d.writeStatus(uint32(v))
		return
	case regQueueSelect:
		d.queueSelect = uint16(merge(uint64(d.queueSelect)))
		return
	}
	q := d.selected()
	if d.fn.Probe().Wants(devices.ClassStrict) {
		d.checkQueue(q, r, merge)
	}
	if q != nil {
		d.writeQueue(q, r.ID, merge)
	}
}

// checkVector returns the vector if there is one with its number, or none.
func (d *Device) checkVector(v uint16) uint16 {
	if int(v) < d.msix.Vectors() {
		return v
	}
	return noVector
}

// writeQueue changes the selected queue's configuration. The caller holds mu.
func (d *Device) writeQueue(q *Queue, reg int, merge func(uint64) uint64) {
	c := &q.cfg
	switch reg {
	case regQueueVector:
		v := uint16(merge(uint64(c.vector)))
		c.vector, c.unread = d.checkVector(v), v != noVector
		q.vector.Store(uint32(c.vector))
		return
	case regQueueReset:
		if merge(0)&1 != 0 && d.accepted&FeatureRingReset != 0 {
			q.stop()
			q.reset()
			d.state("queue %d: reset", q.index)
		}
		return
	}
	if c.enabled {
		return // must not be changed any more
	}
	switch reg {
	case regQueueSize:
		c.size = uint16(merge(uint64(c.size)))
	case regQueueDesc:
		c.desc = merge(c.desc)
	case regQueueDriver:
		c.driver = merge(c.driver)
	case regQueueDevice:
		c.device = merge(c.device)
	case regQueueEnable:
		if merge(0)&1 != 0 {
			d.enableQueue(q)
		}
	}
}

func (d *Device) enableQueue(q *Queue) {
	q.cfg.enabled = true
	if err := q.enable(q.cfg, d.accepted); err != nil {
		d.breach(devices.ByAccess, q.index, err)
		d.needsReset(fmt.Errorf("enable queue %d: %w", q.index, err))
		return
	}
	d.state("queue %d: enabled with %d descriptors", q.index, q.cfg.size)
	if d.Active() {
		q.setLive()
		d.fn.Probe().Rang(q.index)
		d.kick(q.index)
	}
}

// writeStatus follows the driver through initialization (section 3.1.1). The
// caller holds mu.
func (d *Device) writeStatus(v uint32) {
	if v == 0 {
		d.reset()
		return
	}
	if d.fn.Probe().Wants(devices.ClassStrict) {
		d.checkStatus(d.status.Load(), v)
	}
	v &= StatusAcknowledge | StatusDriver | StatusDriverOK | StatusFeaturesOK | StatusFailed
	old := d.status.Load()
	if v&^old&StatusFeaturesOK != 0 && (d.accepted&^d.features != 0 || d.accepted&FeatureVersion1 == 0) {
		v &^= StatusFeaturesOK // the driver sees that by reading
	}
	if (v|old)&StatusFeaturesOK == 0 {
		v &^= StatusDriverOK
	}
	if v&^old&StatusFeaturesOK != 0 {
		d.negotiated.Store(d.accepted)
		d.state("features %#x: %s", d.accepted, d.featureNames(d.accepted))
		d.checks.statusRead.Store(false)
	}
	// Bits are never cleared but by reset.
	d.status.Or(v)
	if v&^old&StatusDriverOK == 0 {
		return
	}
	if d.model != nil {
		d.model.Activate(d.accepted)
	}
	if !d.Active() {
		return
	}
	d.state("driver is ready")
	for _, q := range d.queues {
		q.setLive()
		d.fn.Probe().Rang(q.index)
	}
	d.kickAll()
}
