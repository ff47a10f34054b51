package virtio

import "dfemu/devices"

// Inspect implements devices.Inspector: the common configuration, of the queue's part what belongs to
// the queue, and the rings.
func (d *Device) Inspect(queue int) (registers, state []devices.Inspected) {
	d.mu.Lock()
	add := func(name string, v uint64, fields []devices.Field) {
		g := devices.Register{Fields: fields}
		registers = append(registers, devices.Inspected{Name: name, Value: v, Fields: g.Decode(v)})
	}
	add("device_status", uint64(d.status.Load()), statusBits)
	add("device_feature", d.features, nil)
	add("driver_feature", d.accepted, nil)
	add("config_msix_vector", uint64(d.vector.Load()), nil)
	add("num_queues", uint64(len(d.queues)), nil)
	add("config_generation", uint64(d.generation.Load()&0xff), nil)
	add("queue_select", uint64(d.queueSelect), nil)
	d.isrMu.Lock()
	add("ISR_status", uint64(d.isr), nil)
	d.isrMu.Unlock()
	var q *Queue
	var c queueConfig
	if queue >= 0 && queue < len(d.queues) {
		q = d.queues[queue]
		c = q.cfg
	}
	d.mu.Unlock()
	d.inspecting.Store(true)
	defer d.inspecting.Store(false)
	if d.c.Registers != nil && d.c.Region != nil {
		registers = append(registers, d.c.Registers.Inspect(configReader{d.c.Region}, nil)...)
	}
	if q != nil {
		state = q.inspect(c)
	}
	return registers, state
}

// configReader reads the device-specific configuration register by register.
type configReader struct{ r devices.Region }

// ReadRegister implements devices.Registers.
func (c configReader) ReadRegister(r devices.Reg, _ uint64) uint64 {
	v, err := c.r.Read(r.Offset+uint64(r.Index)*r.Stride, r.Size)
	if err != nil {
		return 0
	}
	return v
}

// WriteRegister implements devices.Registers.
func (configReader) WriteRegister(devices.Reg, uint64, uint64) {}

func (q *Queue) inspect(c queueConfig) (l []devices.Inspected) {
	add := func(name string, v uint64) { l = append(l, devices.Inspected{Name: name, Value: v}) }
	flag := func(name string, on bool) {
		if on {
			add(name, 1)
		}
	}
	add("queue_size", uint64(c.size))
	add("queue_msix_vector", uint64(c.vector))
	flag("queue_enable", c.enabled)
	add("queue_desc", c.desc)
	add("queue_driver", c.driver)
	add("queue_device", c.device)
	q.mu.Lock()
	defer q.mu.Unlock()
	flag("live", q.live)
	add("chains in flight", uint64(q.inflight))
	add("completions held back", uint64(len(q.held)))
	switch r := q.ring.(type) {
	case *splitRing:
		add("available flags", uint64(r.avail.load16(r.skip)))
		add("available index", uint64(r.availIdx()))
		add("next to take", uint64(r.next))
		add("used index", uint64(r.done))
		// The chain at which the device is.
		head := r.avail.load16(r.skip + 4 + 2*int(r.next&(r.num-1)))
		add("next head", uint64(head))
		if head < r.num {
			d := splitDescriptor(r.desc[int(head)*descSize:])
			add("descriptor address", d.addr)
			add("descriptor length", uint64(d.len))
			add("descriptor flags", uint64(d.flags))
			add("descriptor next", uint64(d.other))
		}
	case *packedRing:
		add("next to take", uint64(r.next.word()))
		add("next to give back", uint64(r.done.word()))
		add("driver event suppression", uint64(r.driver.load32(0)))
		d := packedDescriptor(r.desc.b[int(r.next.i)*descSize:])
		add("descriptor address", d.addr)
		add("descriptor length", uint64(d.len))
		add("descriptor flags", uint64(d.flags))
		add("buffer id", uint64(d.other))
	}
	return l
}
