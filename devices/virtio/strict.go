package virtio

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"dfemu/devices"
)

// What drivers must and must not do, as far as all kinds of devices are concerned.

// A RuleError is a breach of the specification that the device cannot go on
// after. Rule makes one.
type RuleError struct {
	Section string // of Virtual I/O Device 1.2
	Text    string
}

// Error implements error.
func (e *RuleError) Error() string { return e.Text + " (virtio 1.2, " + e.Section + ")" }

// Rule returns a RuleError.
func Rule(section, format string, a ...any) error {
	return &RuleError{section, fmt.Sprintf(format, a...)}
}

// Violation reports a breach of the specification, Virtual I/O Device 1.2, in
// what the driver has put into a queue.
func (d *Device) Violation(queue int, section, format string, a ...any) {
	d.violation(devices.ByQueue, queue, section, format, a...)
}

// Misuse reports that the access to a register that is being served breaks the specification. The
// queue is -1 if none is concerned. It is called on the goroutine of the access.
func (d *Device) Misuse(queue int, section, format string, a ...any) {
	d.violation(devices.ByAccess, queue, section, format, a...)
}

func (d *Device) violation(by devices.Origin, queue int, section, format string, a ...any) {
	if p := d.fn.Probe(); p.Wants(devices.ClassStrict) && !d.inspecting.Load() {
		p.Violation(devices.Violation{Clause: "virtio 1.2, " + section, Text: fmt.Sprintf(format, a...), Queue: queue, Origin: by})
	}
}

// rule returns a RuleError with the section for the format that the queue has.
func (q *Queue) rule(split, packed, format string, a ...any) error {
	if q.features&FeatureRingPacked != 0 {
		return Rule(packed, format, a...)
	}
	return Rule(split, format, a...)
}

// Breach reports the reason for which a queue breaks, or will when the chain is taken.
func (d *Device) Breach(queue int, err error) { d.breach(devices.ByQueue, queue, err) }

func (d *Device) breach(by devices.Origin, queue int, err error) {
	var r *RuleError
	if errors.As(err, &r) {
		d.violation(by, queue, r.Section, "%s", r.Text)
		return
	}
	d.violation(by, queue, "2.1.2", "%v", err)
}

// state reports a change of the device's state.
func (d *Device) state(format string, a ...any) {
	if p := d.fn.Probe(); p.Wants(devices.ClassState) {
		p.State(fmt.Sprintf(format, a...))
	}
}

// initialization follows what a driver must look at while it initializes the
// device.
type initialization struct {
	// statusRead: the status was read since it last changed in a way that the
	// driver must look at: by a reset, or by FEATURES_OK.
	statusRead atomic.Bool
	// unread: the vector for configuration changes was written and not yet read. It is
	// guarded by Device.mu.
	unread bool
}

// reset begins anew. The status is to be read now.
func (c *initialization) reset() {
	c.statusRead.Store(false)
	c.unread = false
}

// statusBits names the bits of the status.
var statusBits = []devices.Field{
	{Name: "ACKNOWLEDGE", Lo: 0, Hi: 0}, {Name: "DRIVER", Lo: 1, Hi: 1}, {Name: "DRIVER_OK", Lo: 2, Hi: 2}, {Name: "FEATURES_OK", Lo: 3, Hi: 3},
	{Name: "DEVICE_NEEDS_RESET", Lo: 6, Hi: 6}, {Name: "FAILED", Lo: 7, Hi: 7},
}

func statusNames(v uint32) string {
	var l []string
	for _, f := range statusBits {
		if v>>f.Lo&1 != 0 {
			l = append(l, f.Name)
			v &^= 1 << f.Lo
		}
	}
	if v != 0 {
		l = append(l, fmt.Sprintf("%#x", v))
	}
	return strings.Join(l, " ")
}

// checkStatus looks at a write of v, which is not 0, to the status. The caller
// holds mu.
func (d *Device) checkStatus(old, v uint32) {
	const inits = StatusAcknowledge | StatusDriver | StatusDriverOK | StatusFeaturesOK | StatusFailed
	set := v &^ old
	if old == 0 && !d.checks.statusRead.Load() {
		d.Misuse(-1, "4.1.4.3.2", "device_status is written before a read of it has returned 0 after the reset")
	}
	if gone := old & inits &^ v; gone != 0 {
		d.Misuse(-1, "2.1.1", "device_status is written without %s: only a reset clears bits", statusNames(gone))
	}
	if bad := set &^ inits; bad != 0 {
		d.Misuse(-1, "2.1", "device_status is written with %s, which is not the driver's to set", statusNames(bad))
	}
	for _, x := range []struct{ bit, needs uint32 }{
		{StatusDriver, StatusAcknowledge}, {StatusFeaturesOK, StatusDriver}, {StatusDriverOK, StatusFeaturesOK},
	} {
		if set&x.bit != 0 && (old|v)&x.needs == 0 {
			d.Misuse(-1, "3.1.1", "%s is set without %s", statusNames(x.bit), statusNames(x.needs))
		}
	}
	switch {
	case old&StatusFailed != 0 && set&inits != 0:
		d.Misuse(-1, "3.1.1", "%s is set after FAILED", statusNames(set&inits))
	case old&StatusNeedsReset != 0 && set&inits&^StatusFailed != 0:
		d.Misuse(-1, "2.1.1", "%s is set while the device needs a reset", statusNames(set&inits))
	}
	if set&StatusFeaturesOK != 0 {
		d.checkFeatures()
	}
	if set&StatusDriverOK == 0 || old&StatusFeaturesOK == 0 {
		return
	}
	if !d.checks.statusRead.Load() {
		d.Misuse(-1, "3.1.1", "DRIVER_OK is set before device_status was read again to see whether FEATURES_OK is still set")
	}
	unread := d.checks.unread
	for _, q := range d.queues {
		unread = unread || q.cfg.enabled && q.cfg.unread
	}
	if unread {
		d.Misuse(-1, "4.1.5.1.2.2", "an MSI-X vector was set and not read again to see whether the device took it")
	}
}

// checkFeatures looks at the features that the driver is about to settle on.
// The caller holds mu.
func (d *Device) checkFeatures() {
	if bad := d.accepted &^ d.features; bad != 0 {
		d.Misuse(-1, "2.2.1", "features %s are accepted and were not offered", d.featureNames(bad))
	}
	if d.accepted&FeatureVersion1 == 0 {
		d.Misuse(-1, "6.1", "VIRTIO_F_VERSION_1 is not accepted")
	}
	for bit, needs := range d.c.Requires {
		if d.accepted&bit != 0 && d.accepted&needs == 0 {
			d.Misuse(-1, d.c.RequiresSection, "%s is accepted without %s", d.featureNames(bit), d.featureNames(needs))
		}
	}
}

// commonFeatures names the feature bits of section 6.
var commonFeatures = map[uint64]string{
	FeatureIndirectDesc: "INDIRECT_DESC", FeatureEventIdx: "EVENT_IDX", FeatureVersion1: "VERSION_1", FeatureRingPacked: "RING_PACKED",
	FeatureRingReset: "RING_RESET", 1 << 33: "ACCESS_PLATFORM", 1 << 35: "IN_ORDER", 1 << 36: "ORDER_PLATFORM", 1 << 37: "SR_IOV", 1 << 38: "NOTIFICATION_DATA",
	1 << 39: "NOTIF_CONFIG_DATA",
}

// featureNames are the names of features, from the lowest bit on.
func (d *Device) featureNames(f uint64) string {
	var l []string
	for n := range 64 {
		bit := uint64(1) << n
		switch {
		case f&bit == 0:
		case d.c.FeatureNames[bit] != "":
			l = append(l, d.c.FeatureNames[bit])
		case commonFeatures[bit] != "":
			l = append(l, commonFeatures[bit])
		default:
			l = append(l, fmt.Sprintf("bit %d", n))
		}
	}
	if len(l) == 0 {
		return "none"
	}
	return strings.Join(l, " ")
}

// checkQueue looks at a write to the selected queue's part of the common
// configuration. q is nil if there is no such queue. The caller holds mu.
func (d *Device) checkQueue(q *Queue, r devices.Reg, merge func(uint64) uint64) {
	if q == nil {
		d.Misuse(-1, "4.1.4.3", "%v is written with queue_select %d: there are %d queues", r, d.queueSelect, len(d.queues))
		return
	}
	n, c := q.index, &q.cfg
	packed := d.accepted&FeatureRingPacked != 0
	switch {
	case r.ID == regQueueReset:
		if merge(0) != 1 {
			d.Misuse(n, "4.1.4.3", "%d is written to queue_reset: only 1 has a meaning", merge(0))
		}
		if d.accepted&FeatureRingReset == 0 {
			d.Misuse(n, "2.6.1", "queue_reset is written without VIRTIO_F_RING_RESET")
		}
	case r.ID == regQueueVector:
	case r.ID == regQueueEnable && merge(0) == 0:
		d.Misuse(n, "4.1.4.3.2", "0 is written to queue_enable")
	case c.enabled:
		d.Misuse(n, "4.1.4.3.2", "%v is written while the queue is enabled", r)
	case r.ID == regQueueEnable && d.status.Load()&StatusFeaturesOK == 0:
		d.Misuse(n, "3.1.1", "the queue is enabled before FEATURES_OK")
	case r.ID == regQueueEnable && d.status.Load()&StatusDriverOK != 0 && d.accepted&FeatureRingReset == 0:
		d.Misuse(n, "3.1.1", "the queue is enabled after DRIVER_OK, without VIRTIO_F_RING_RESET")
	case r.ID == regQueueSize:
		switch size := merge(uint64(c.size)); {
		case size > uint64(q.max):
			d.Misuse(n, "4.1.4.3", "queue_size %d: the device's limit is %d", size, q.max)
		case size == 0, !packed && size&(size-1) != 0:
			d.Misuse(n, "4.1.4.3.2", "queue_size %d: must not be 0, and a power of two unless the ring is packed", size)
		}
	}
}

// checkNotify looks at a notification of queue n with a value.
func (d *Device) checkNotify(n, size int, v uint64) {
	if !d.fn.Probe().Wants(devices.ClassStrict) {
		return
	}
	st := d.status.Load()
	if st&StatusDriverOK == 0 {
		d.Misuse(n, "3.1.1", "the queue is notified before DRIVER_OK")
	}
	if size != 2 {
		d.Misuse(n, "4.1.5.2", "a notification of %d bytes: without VIRTIO_F_NOTIFICATION_DATA it has 2", size)
	}
	if v != uint64(n) {
		d.Misuse(n, "4.1.5.2", "the value %#x is written where queue %d is notified", v, n)
	}
	if n >= len(d.queues) {
		return
	}
	q := d.queues[n]
	q.mu.Lock()
	enabled := q.ring != nil
	q.mu.Unlock()
	if !enabled && st&(StatusDriverOK|StatusNeedsReset) == StatusDriverOK {
		d.Misuse(n, "4.1.4.3", "the queue is notified and is not enabled")
	}
	if !d.fn.BusMaster() {
		d.Misuse(n, "3.1.1", "the queue is notified while Bus Master Enable is 0: the device cannot reach it")
	}
}

// inFlight knows the heads or identifiers of chains that the device has, while
// somebody wants to know of breaches.
type inFlight struct{ ids []uint64 }

// set enters one, and reports whether it was there already.
func (f *inFlight) set(id uint16) bool {
	if f.ids == nil {
		f.ids = make([]uint64, 1024)
	}
	w, bit := &f.ids[id/64], uint64(1)<<(id%64)
	was := *w&bit != 0
	*w |= bit
	return was
}

func (f *inFlight) clear(id uint16) {
	if f.ids != nil {
		f.ids[id/64] &^= 1 << (id % 64)
	}
}

func (f *inFlight) clone() inFlight { return inFlight{slices.Clone(f.ids)} }

// checkChain looks at a chain that was taken. The sections are those that say that a chain must not
// be in use already and how many descriptors it may have.
func (q *Queue) checkChain(c *Chain, num uint16, busy *inFlight, section, length string) {
	if c.descs > int(num) {
		q.dev.Violation(q.index, length, "chain %d of %d descriptors in a queue of %d", c.id, c.descs, num)
	}
	if busy.set(c.id) {
		q.dev.Violation(q.index, section, "chain %d is made available while the device has it", c.id)
	}
	for _, l := range [][]Segment{c.Out, c.In} {
		for _, s := range l {
			q.checkMemory(c, s)
		}
	}
}

// checkMemory looks at whether a buffer is memory.
func (q *Queue) checkMemory(c *Chain, s Segment) {
	if s.Len == 0 || devices.Reaches(q.mem, s.Addr, uint64(s.Len)) {
		return
	}
	section := "2.7.5"
	if q.features&FeatureRingPacked != 0 {
		section = "2.8.13"
	}
	q.dev.Violation(q.index, section, "chain %d has a buffer of %d bytes at %#x, which are not memory", c.id, s.Len, s.Addr)
}

// check looks at the ring and a chain of it. busy are the chains that the device has.
func (r *splitRing) check(c *Chain, busy *inFlight) {
	if !r.q.strict() {
		return
	}
	flags := r.avail.load16(r.skip)
	switch {
	case r.eventIdx && flags != 0:
		r.q.dev.Violation(r.q.index, "2.7.7.1", "flags of the available ring are %#x: must be 0 with VIRTIO_F_EVENT_IDX", flags)
	case flags&^availNoInterrupt != 0:
		r.q.dev.Violation(r.q.index, "2.7.7.1", "flags of the available ring are %#x: must be 0 or 1", flags)
	}
	if total := Total(c.Out) + Total(c.In); total > 1<<32 {
		r.q.dev.Violation(r.q.index, "2.7.5.2", "chain %d of %d bytes: more than 2^32", c.id, total)
	}
	r.q.checkChain(c, r.num, busy, "2.7.13", "2.7.5.3.1")
}

func (r *packedRing) check(c *Chain, busy *inFlight) {
	if r.q.strict() {
		r.q.checkChain(c, r.num, busy, "2.8.21.1", "2.8.17")
	}
}

// checkEvent looks at the event suppression structure of the driver.
func (r *packedRing) checkEvent(w uint32) {
	if !r.q.strict() {
		return
	}
	switch flags := w >> 16; {
	case flags > eventDesc:
		r.q.dev.Violation(r.q.index, "2.8.10", "event suppression flags are %#x: must be 0 to 2", flags)
	case flags == eventDesc && !r.eventIdx:
		r.q.dev.Violation(r.q.index, "2.8.10", "event suppression flags are 2, which needs VIRTIO_F_EVENT_IDX")
	case flags == eventDesc && w&0x7fff >= uint32(r.num):
		r.q.dev.Violation(r.q.index, "2.8.10", "the event is at descriptor %d of %d", w&0x7fff, r.num)
	}
}

// strict tells whether somebody wants to know of breaches.
func (q *Queue) strict() bool { return q.dev.fn.Probe().Wants(devices.ClassStrict) }

// checkWindow looks at what the configuration access capability points at.
func (d *Device) checkWindow(off uint64, size int, bar uint32) {
	switch {
	case bar != barMemory:
		d.Misuse(-1, "4.1.4.9.2", "cap.bar %d: the structures are in BAR %d", bar, barMemory)
	case !slices.Contains([]int{1, 2, 4}, size):
		d.Misuse(-1, "4.1.4.9", "cap.length %d: must be 1, 2 or 4", size)
	case off%uint64(size) != 0:
		d.Misuse(-1, "4.1.4.9.2", "cap.offset %#x is not a multiple of cap.length %d", off, size)
	}
}
