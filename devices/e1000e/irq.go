package e1000e

import (
	"dfemu/devices"
	"dfemu/devices/pci"
)

// interrupts is what stands between the causes and the messages (section 7.4).
// It is guarded by Device.mu.
type interrupts struct {
	d      *Device
	line   throttle          // INTx and MSI: ITR
	vector [vectors]throttle // MSI-X: EITR
	level  uint32            // causes of MSI-X that have been signalled and are still there
	delay  [2]delay          // of receive and transmit causes
	hushed bool              // by a fault: the next signal is lost

	// retry lets a back end that waits for descriptors go on with few of them.
	retry   devices.Timer
	waiting bool
}

// throttle keeps interrupts apart by an interval.
type throttle struct {
	timer devices.Timer
	last  int64
	used  bool
}

// delay puts causes off (RDTR, RADV, TIDV and TADV; sections 7.4.4 and 7.4.5).
type delay struct {
	timer  devices.Timer
	causes uint32
	since  int64 // when the first of them came
	due    int64
}

func (i *interrupts) init(d *Device) {
	i.d = d
	again := func() {
		d.mu.Lock()
		d.update()
		d.mu.Unlock()
	}
	i.line.timer = d.o.Clock.NewTimer(again)
	for v := range i.vector {
		i.vector[v].timer = d.o.Clock.NewTimer(again)
	}
	i.retry = d.o.Clock.NewTimer(func() {
		d.mu.Lock()
		due := i.waiting
		i.waiting = false
		d.mu.Unlock()
		if due {
			d.goOn()
		}
	})
	for n := range i.delay {
		x := &i.delay[n]
		x.timer = d.o.Clock.NewTimer(func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if x.causes != 0 && d.o.Clock.Now() >= x.due {
				c := x.causes
				x.causes = 0
				d.raise(c)
			}
		})
	}
}

func (i *interrupts) stop() {
	i.line.timer.Stop()
	i.retry.Stop()
	i.waiting = false
	for v := range i.vector {
		i.vector[v].timer.Stop()
	}
	for n := range i.delay {
		i.delay[n].timer.Stop()
		i.delay[n].causes = 0
	}
}

func (i *interrupts) reset() {
	i.stop()
	i.level, i.hushed = 0, false
	i.line.used = false
	for v := range i.vector {
		i.vector[v].used = false
	}
	i.d.fn.Lower()
}

// open tells whether an interrupt may be sent now; if not, the timer is set for
// when it may.
func (t *throttle) open(now int64, interval uint32) bool {
	next := t.last + int64(interval&0xffff)*256
	if t.used && now < next {
		t.timer.Set(next)
		return false
	}
	t.last, t.used = now, true
	return true
}

// raise adds causes and signals them. The caller holds mu.
func (d *Device) raise(causes uint32) {
	if causes&causeOthers != 0 {
		causes |= causeOther
	}
	// A cause that comes again while its message is out is signalled again.
	d.irq.level &^= causes
	d.s.ICR |= causes
	d.update()
}

// raiseLater adds causes after a delay in units of 1.024 µs from now, at most
// absolute units (if not 0) after the first of those waiting. The caller holds mu.
func (d *Device) raiseLater(x *delay, causes uint32, units, absolute uint32) {
	units &= 0xffff
	if units == 0 {
		d.raise(causes)
		return
	}
	now := d.o.Clock.Now()
	if x.causes == 0 {
		x.since = now
	}
	x.causes |= causes
	x.due = now + int64(units)*1024
	if absolute &= 0xffff; absolute != 0 {
		x.due = min(x.due, x.since+int64(absolute)*1024)
	}
	x.timer.Set(x.due)
}

// msixCauses are the causes that have a vector each, in the order of IVAR.
var msixCauses = [...]uint32{causeRxQ0, causeRxQ0 << 1, causeTxQ0, causeTxQ0 << 1, causeOther}

// update brings the interrupt into line with causes and mask. The caller holds
// mu.
func (d *Device) update() {
	active := d.s.ICR & d.s.IMS & causeDefined
	if d.fn.Mode() == pci.ModeMSIX {
		d.updateMSIX(active)
		return
	}
	active &^= causeQueues // they belong to MSI-X
	if active == 0 {
		if d.s.ICR&causeAssert != 0 {
			d.s.ICR &^= causeAssert
			d.fn.Lower()
		}
		return
	}
	if d.s.ICR&causeAssert != 0 || !d.irq.line.open(d.o.Clock.Now(), d.get(0xc4)) {
		return
	}
	d.s.ICR |= causeAssert
	d.s.Stats.add(statIAC, 1)
	if d.irq.hushed {
		d.irq.hushed = false
		return
	}
	d.fn.Raise(0)
}

func (d *Device) updateMSIX(active uint32) {
	d.irq.level &= active
	ivar := d.get(0xe4)
	for n, cause := range msixCauses {
		alloc := ivar >> (4 * n) & 15
		if active&cause == 0 || d.irq.level&cause != 0 || alloc&8 == 0 || alloc&7 >= vectors {
			continue
		}
		v := int(alloc & 7)
		if !d.irq.vector[v].open(d.o.Clock.Now(), d.get(0xe8+4*v)) {
			continue
		}
		d.irq.level |= cause
		d.s.Stats.add(statIAC, 1)
		if d.irq.hushed {
			d.irq.hushed = false
		} else {
			d.fn.Message(v)
		}
		// What goes with the message (sections 10.2.4.9 and 10.2.2.5).
		if d.get(0x18)&ctrlExtEIAME != 0 {
			d.s.IMS &^= d.get(0xe0) & cause
		}
		d.s.ICR &^= d.get(0xdc) & cause
		d.irq.level &= d.s.ICR & d.s.IMS
	}
}

// readICR is the side effect of reading ICR (section 10.2.4.1).
func (d *Device) readICR() uint32 {
	v := d.s.ICR
	if d.s.IMS != 0 && v&causeAssert == 0 && d.fn.Mode() != pci.ModeMSIX {
		return v
	}
	d.acknowledge(^uint32(0))
	return v
}

// acknowledge clears causes, and masks what IAM says.
func (d *Device) acknowledge(causes uint32) {
	if d.get(0x18)&ctrlExtIAME != 0 {
		d.s.IMS &^= d.get(0xe0)
	}
	d.s.ICR &^= causes &^ causeAssert
	d.update()
}
