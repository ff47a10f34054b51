// Package net is the virtio network device (Virtual I/O Device 1.2, section 5.1).
//
// Each pair of queues works by itself. A transmit queue has a goroutine that the
// driver's notification wakes; it takes what there is, many frames at a time, and gives them
// to the back end where they are, in guest memory. Received frames are
// stored by the back end's goroutine. When the driver has no buffers the back end is held
// up, not the frames dropped.
//
// A header the driver got wrong costs it the frame; a chain that cannot be a
// frame at all stops the device.
package net

import (
	"fmt"
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/internal/nic"
	"dfemu/devices/virtio"
)

// Options describes a network device.
type Options struct {
	Name  string // unit name, as "virtio-net0"
	MAC   [6]byte
	Pairs int // queue pairs offered to the driver, usually one for each CPU; 0 means 1
	// QueueSize is the number of descriptors in each queue, a power of two; 0 means 1024.
	QueueSize int
	// MTU in bytes is offered to the driver; 0 means the back end's, if it has one.
	MTU int
	// Clock delays frames for faults; it may be nil if there are none.
	Clock devices.Clock
	// InSlot, Packed and Broken are those of virtio.Config.
	InSlot, Packed bool
	Broken         func(err error)
}

// Device is a virtio network device. It implements [devices.FrameReceiver] for
// its back end, devices.Linked, Pauser, Saver and Closer.
type Device struct {
	*virtio.Device
	o       Options
	net     devices.Network
	props   devices.NetworkProperties
	offered uint64
	pairs   []*pair
	control nic.Worker
	flows   flows

	active  atomic.Pointer[agreed] // nil until DRIVER_OK
	delayed nic.DelayLine

	mu    sync.Mutex // guards what follows
	state state
	// filter is what Receive looks at: a snapshot of state.
	filter atomic.Pointer[filter]
}

// agreed is what follows from the features negotiated and the commands since.
// It is immutable.
type agreed struct {
	features uint64
	accept   devices.Offloads // of frames for the driver
	send     devices.Offloads // of frames from the driver
	merge    bool
	pairs    int // in use
}

// New returns a device on a back end, which it owns from then on.
func New(o Options, back devices.Network) (*Device, error) {
	props := back.Properties()
	if o.Pairs == 0 {
		o.Pairs = 1
	}
	if o.QueueSize == 0 {
		o.QueueSize = defaultQueue
	}
	if o.MTU == 0 {
		o.MTU = props.MTU
	}
	switch {
	case o.Pairs < 1 || o.Pairs > maxPairs:
		return nil, fmt.Errorf("%s: %d queue pairs: must be 1 to %d", o.Name, o.Pairs, maxPairs)
	case o.QueueSize < 64 || o.QueueSize > 4096 || o.QueueSize&(o.QueueSize-1) != 0:
		return nil, fmt.Errorf("%s: queues of %d: must be a power of two, 64 to 4096", o.Name, o.QueueSize)
	case o.MTU != 0 && (o.MTU < 68 || o.MTU > 65535):
		return nil, fmt.Errorf("%s: MTU of %d: must be 68 to 65535", o.Name, o.MTU)
	case o.MAC[0]&1 != 0 || o.MAC == [6]byte{}:
		return nil, fmt.Errorf("%s: MAC address % x: must be that of a single station", o.Name, o.MAC)
	}
	d := &Device{o: o, net: back, props: props}
	d.offered = features(o, props)
	var queues []int
	for range o.Pairs {
		queues = append(queues, o.QueueSize, o.QueueSize)
	}
	queues = append(queues, 64)
	d.Device = virtio.New(virtio.Config{
		Name: o.Name, Type: 1, Class: 0x020000, Features: d.offered, Queues: queues,
		Region: configRegisters.Region(configuration{d}), Registers: configRegisters, Size: configSize, FeatureNames: featureNames, Requires: requires, RequiresSection: "5.1.3.1",
		InSlot: o.InSlot, Packed: o.Packed, Broken: o.Broken,
	})
	d.Init(d)
	for i := range o.Pairs {
		d.pairs = append(d.pairs, newPair(d, i))
	}
	d.control.Run = d.serveControl
	d.delayed.Init(o.Clock)
	d.state.Link = true
	d.state.reset(o.MAC)
	d.publish()
	back.Connect(d)
	return d, nil
}

func features(o Options, p devices.NetworkProperties) uint64 {
	f := uint64(featureMAC | featureMrgRxbuf | featureStatus | featureCtrlVQ | featureCtrlRx | featureCtrlVLAN |
		featureCtrlRxExtra | featureGuestAnnounce | featureCtrlMACAddr | featureSpeedDuplex | featureCtrlGuestOffload |
		featureGuestCsum | featureGuestTSO4 | featureGuestTSO6 | featureGuestECN | featureGuestUSO4 | featureGuestUSO6)
	for _, x := range []struct {
		o devices.Offloads
		f uint64
	}{
		{devices.OffloadChecksum, featureCsum}, {devices.OffloadTSO4, featureHostTSO4}, {devices.OffloadTSO6, featureHostTSO6},
		{devices.OffloadECN, featureHostECN}, {devices.OffloadUSO, featureHostUSO},
	} {
		if p.Takes&x.o == x.o {
			f |= x.f
		}
	}
	if o.MTU != 0 {
		f |= featureMTU
	}
	if o.Pairs > 1 {
		f |= featureMQ
	}
	return f
}

// controlQueue is the index of the control queue (section 5.1.2).
func (d *Device) controlQueue(features uint64) int {
	if features&featureMQ != 0 {
		return 2 * d.o.Pairs
	}
	return 2
}

// publish makes a snapshot of the state for Receive. The caller holds mu, or is
// alone.
func (d *Device) publish() { d.filter.Store(d.state.snapshot()) }

// agree works out what is agreed and tells the back end. The caller holds mu.
func (d *Device) agree(features uint64) {
	a := &agreed{features: features, merge: features&featureMrgRxbuf != 0, pairs: d.state.Pairs}
	a.accept = receiveOffloads(d.state.Offloads)
	a.send = sendOffloads(features)
	d.active.Store(a)
	d.net.Configure(a.accept, a.pairs)
}

// receiveOffloads translates the features for received frames.
func receiveOffloads(f uint64) devices.Offloads {
	if f&featureGuestCsum == 0 {
		return 0 // the others depend on it (section 5.1.3.1)
	}
	o := devices.OffloadChecksum
	if f&featureGuestTSO4 != 0 {
		o |= devices.OffloadTSO4
	}
	if f&featureGuestTSO6 != 0 {
		o |= devices.OffloadTSO6
	}
	if f&featureGuestECN != 0 && f&(featureGuestTSO4|featureGuestTSO6) != 0 {
		o |= devices.OffloadECN
	}
	if f&featureGuestUSO4 != 0 && f&featureGuestUSO6 != 0 {
		o |= devices.OffloadUSO
	}
	return o
}

// sendOffloads translates the features for frames from the driver.
func sendOffloads(f uint64) devices.Offloads {
	if f&featureCsum == 0 {
		return 0
	}
	o := devices.OffloadChecksum
	if f&featureHostTSO4 != 0 {
		o |= devices.OffloadTSO4
	}
	if f&featureHostTSO6 != 0 {
		o |= devices.OffloadTSO6
	}
	if f&featureHostECN != 0 {
		o |= devices.OffloadECN
	}
	if f&featureHostUSO != 0 {
		o |= devices.OffloadUSO
	}
	return o
}

// Activate implements virtio.Model.
func (d *Device) Activate(features uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Offloads = features & guestOffloads
	d.state.Promisc = features&featureCtrlRx == 0
	d.state.Tagged = features&featureCtrlVLAN == 0
	d.state.Pairs = 1
	d.publish()
	d.agree(features)
}

// Deactivate implements virtio.Model.
func (d *Device) Deactivate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active.Store(nil)
	d.state.reset(d.o.MAC)
	d.publish()
	for _, p := range d.pairs {
		p.forget()
	}
	d.net.Configure(0, 1)
	// The back end may be waiting for room that now never comes.
	d.ready()
}

// Kick implements virtio.Model.
func (d *Device) Kick(queue int) {
	a := d.active.Load()
	switch {
	case a == nil:
	case a.features&featureCtrlVQ != 0 && queue == d.controlQueue(a.features):
		d.control.Kick()
	case queue >= 2*d.o.Pairs:
	case queue&1 != 0:
		d.pairs[queue/2].tx.Kick()
	default:
		if d.pairs[queue/2].starved.Swap(false) {
			d.ready()
		}
	}
}

// ready has the back end go on.
func (d *Device) ready() {
	for i := range d.props.Queues {
		d.net.Ready(i)
	}
}

// Resume implements devices.Pauser.
func (d *Device) Resume() {
	d.Device.Resume()
	for _, p := range d.pairs {
		p.starved.Store(false)
	}
	d.ready()
}

// Close implements devices.Closer.
func (d *Device) Close() error {
	// Nothing is taken from a queue after this, so the workers come to rest.
	err := d.Device.Close()
	d.active.Store(nil)
	d.delayed.Close()
	for _, p := range d.pairs {
		p.tx.Close()
	}
	d.control.Close()
	d.ready()
	if e := d.net.Close(); err == nil {
		err = e
	}
	return err
}

// SetLink implements devices.Linked: the cable of the only port, 0.
func (d *Device) SetLink(n int, up bool) error {
	if err := nic.OnlyPort(d.o.Name, n); err != nil {
		return err
	}
	d.setLink(func(s *state) { s.Link = up })
	return nil
}

// LinkChanged implements devices.FrameReceiver.
func (d *Device) LinkChanged(up bool) { d.setLink(func(s *state) { s.Down = !up }) }

func (d *Device) setLink(change func(*state)) {
	d.mu.Lock()
	before := d.state.status()
	change(&d.state)
	changed := d.state.status() != before
	up := d.state.up()
	d.publish()
	d.mu.Unlock()
	if !changed {
		return
	}
	nic.ReportLink(d.Function().Probe(), up)
	d.ConfigChanged()
}

// Announce asks the driver to make its addresses known to the network, as after
// the machine has moved to another host.
func (d *Device) Announce() {
	a := d.active.Load()
	if a == nil || a.features&featureGuestAnnounce == 0 || a.features&featureStatus == 0 {
		return
	}
	d.mu.Lock()
	d.state.Announce = true
	d.mu.Unlock()
	d.ConfigChanged()
}

// Link tells whether the device has a link.
func (d *Device) Link() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.up()
}

// MAC is the address that the driver uses now.
func (d *Device) MAC() [6]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.MAC
}

// violation reports a breach of section 5.1.
func (d *Device) violation(queue int, section, format string, a ...any) {
	if p := d.Function().Probe(); p.Wants(devices.ClassStrict) {
		p.Violation(devices.Violation{Clause: "virtio 1.2, " + section, Text: fmt.Sprintf(format, a...), Queue: queue})
	}
}
