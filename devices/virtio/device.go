package virtio

import (
	"fmt"
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/pci"
)

// Config describes a virtio device to [New].
type Config struct {
	Name     string
	Type     uint16 // device ID of section 5
	Class    uint32 // PCI class, 24 bits
	Features uint64 // offered, without those of the transport and the rings
	Queues   []int  // largest sizes, powers of two
	// Region is the device-specific configuration of Size bytes. It may be nil.
	Region devices.Region
	Size   uint64
	// Registers names the fields of the device-specific configuration in traces; it
	// may be nil.
	Registers *devices.Bank
	// FeatureNames names the kind's own feature bits in traces; it may be nil.
	FeatureNames map[uint64]string
	// Requires are features that a driver may only accept with another one, or
	// one of several others. RequiresSection is where the specification says so.
	Requires        map[uint64]uint64
	RequiresSection string
	// InSlot means that the device goes behind a root port instead of on bus 0.
	InSlot bool
	// Packed offers packed virtqueues.
	Packed bool
	// Broken, if not nil, is told why the device stopped working until it is
	// reset. It is called with locks held and must not call into the device.
	Broken func(err error)
}

// A Model is the behaviour of one kind of device. Its methods are called with
// the transport's lock held: they do not wait, and of Device's methods they do
// not call Reset, Pause, Resume and Close.
type Model interface {
	// Activate is called when the driver has set DRIVER_OK: queues work.
	Activate(features uint64)
	// Deactivate is called on reset, when all chains have been given back.
	Deactivate()
	// Kick is called when the driver notifies of chains in a queue for which
	// there is no [Device.Serve], and when such chains may have been missed.
	Kick(queue int)
}

// Device is a virtio device on PCI (section 4.1). Kinds of devices embed it.
type Device struct {
	c        Config
	fn       *pci.Function
	msix     *pci.MSIX
	model    Model
	features uint64 // offered
	queues   []*Queue
	pumps    []*pump // by queue; nil where Model.Kick serves
	layout   pci.Layout
	pciCfg   int // offset of the configuration access capability

	status     atomic.Uint32
	negotiated atomic.Uint64 // accepted, once final
	generation atomic.Uint32
	vector     atomic.Uint32 // of configuration changes

	isrMu sync.Mutex
	isr   uint32

	mu            sync.Mutex // guards what follows; held while the device is reset
	accepted      uint64     // feature bits of the driver
	featureSelect uint32
	driverSelect  uint32
	queueSelect   uint16

	checks     initialization
	inspecting atomic.Bool // registers are read by nobody of the guest
}

// New returns a device without a model: Init gives it one.
func New(c Config) *Device {
	d := &Device{c: c}
	d.features = c.Features | FeatureVersion1 | FeatureIndirectDesc | FeatureEventIdx | FeatureRingReset
	if c.Packed {
		d.features |= FeatureRingPacked
	}
	d.fn = pci.NewFunction(c.Name, pci.Identity{
		Vendor: 0x1af4, Device: 0x1040 + c.Type, Revision: 1, Class: c.Class,
		SubsystemVendor: 0x1af4, Subsystem: 0x1100, Pin: 1,
	})
	d.vector.Store(noVector)
	d.checks.statusRead.Store(true)
	for i, n := range c.Queues {
		d.queues = append(d.queues, newQueue(d, i, n))
	}
	d.pumps = make([]*pump, len(d.queues))
	d.describe()
	return d
}

// Init sets the model. It is called once, before the device is put on a bus.
func (d *Device) Init(m Model) { d.model = m }

// Handle has a queue's chains handled by up to workers goroutines; handle gives
// them back with [Queue.Push], [Queue.Finish] or [Queue.Detach]. With one worker
// chains are handled in order. It is called before the device is put on a bus.
func (d *Device) Handle(queue, workers int, handle func(c *Chain)) {
	d.pumps[queue] = newPump(d.queues[queue], workers, handle)
}

// Name implements devices.Device.
func (d *Device) Name() string { return d.c.Name }

// Function is the device's PCI function.
func (d *Device) Function() *pci.Function { return d.fn }

// Queue returns queue number i.
func (d *Device) Queue(i int) *Queue { return d.queues[i] }

// Features returns the feature bits negotiated; 0 before that.
func (d *Device) Features() uint64 { return d.negotiated.Load() }

// Active tells whether the driver has set DRIVER_OK and the device works.
func (d *Device) Active() bool {
	return d.status.Load()&(StatusDriverOK|StatusNeedsReset) == StatusDriverOK
}

// Reset implements devices.Device. It waits for requests in flight.
func (d *Device) Reset() {
	d.mu.Lock()
	d.reset()
	d.checks.statusRead.Store(true) // it was no driver's reset, that a driver would wait for
	d.mu.Unlock()
	d.fn.Reset()
}

// reset is the driver's reset (section 2.4). The caller holds mu.
func (d *Device) reset() {
	for _, q := range d.queues {
		q.stop()
		q.reset()
	}
	d.status.Store(0)
	d.checks.reset()
	if d.model != nil {
		d.model.Deactivate()
	}
	d.negotiated.Store(0)
	d.accepted, d.featureSelect, d.driverSelect, d.queueSelect = 0, 0, 0, 0
	d.vector.Store(noVector)
	d.clearISR()
}

// Pause implements devices.Pauser.
func (d *Device) Pause() {
	for _, q := range d.queues {
		q.pause()
	}
}

// Resume implements devices.Pauser.
func (d *Device) Resume() {
	for _, q := range d.queues {
		q.resume()
	}
	d.kickAll()
}

// Close implements devices.Closer for the device's goroutines. A kind of device
// with a back end closes that afterwards.
func (d *Device) Close() error {
	for _, q := range d.queues {
		q.stop()
	}
	for _, p := range d.pumps {
		if p != nil {
			p.close()
		}
	}
	return nil
}

// kick looks at a queue, off the caller's goroutine: only for breaches of the specification at once, if somebody wants that.
func (d *Device) kick(i int) {
	if i < len(d.queues) && d.queues[i].prompt() {
		d.queues[i].foresee()
	}
	if p := d.pumps[i]; p != nil {
		p.kick()
	} else if d.model != nil {
		d.model.Kick(i)
	}
}

func (d *Device) kickAll() {
	if !d.Active() {
		return
	}
	for i := range d.queues {
		d.kick(i)
	}
}

// ConfigChanged tells the driver that the device-specific configuration has
// changed.
func (d *Device) ConfigChanged() {
	d.generation.Add(1)
	if d.status.Load()&StatusDriverOK != 0 {
		d.interruptConfig()
	}
}

// needsReset stops the device until the driver resets it. Queue locks may be
// held.
func (d *Device) needsReset(err error) {
	old := d.status.Or(StatusNeedsReset)
	if old&StatusNeedsReset != 0 {
		return
	}
	d.state("needs a reset: %v", err)
	if d.c.Broken != nil {
		d.c.Broken(fmt.Errorf("%s: %w", d.c.Name, err))
	}
	if old&StatusDriverOK != 0 {
		d.generation.Add(1)
		d.interruptConfig()
	}
}

// Bits of the ISR status (section 4.1.4.5).
const (
	isrQueue  = 1
	isrConfig = 2
)

func (d *Device) interruptQueue(q *Queue) { d.interrupt(isrQueue, q.vector.Load()) }

func (d *Device) interruptConfig() { d.interrupt(isrConfig, d.vector.Load()) }

// interrupt sends a message, or raises the pin until the driver reads the ISR
// status.
func (d *Device) interrupt(cause, vector uint32) {
	if d.fn.Mode() == pci.ModeMSIX {
		if vector != noVector {
			d.msix.Notify(int(vector))
		}
		return
	}
	d.isrMu.Lock()
	defer d.isrMu.Unlock()
	d.isr |= cause
	d.fn.INTx().Set(true)
}

// clearISR returns the ISR status, clears it and releases the pin.
func (d *Device) clearISR() uint32 {
	d.isrMu.Lock()
	defer d.isrMu.Unlock()
	v := d.isr
	d.isr = 0
	d.fn.INTx().Set(false)
	return v
}
