// Package blk is the virtio block device (Virtual I/O Device 1.2, section 5.2).
package blk

import (
	"fmt"
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/internal/aio"
	"dfemu/devices/virtio"
)

// Options describes a block device.
type Options struct {
	Name      string // unit name, as "virtio-blk0"
	Serial    string // at most 20 bytes
	Queues    int    // request queues, usually one for each CPU; 0 means 1
	QueueSize int    // descriptors in each, a power of two; 0 means 256
	// Workers is the number of requests on the way to the store at a time, for
	// the whole device; 0 means 16. Each queue has at least one.
	Workers int
	// BlockSize is the logical block size in bytes, 512 or 4096; 0 means 512.
	// PhysicalSize is the physical one, at least as large; 0 means 4096.
	BlockSize, PhysicalSize int
	// Clock delays requests for faults; it may be nil if there are none.
	Clock devices.Clock
	// InSlot, Packed and Broken are those of virtio.Config.
	InSlot, Packed bool
	Broken         func(err error)
}

// Device is a virtio block device.
type Device struct {
	*virtio.Device
	o        Options
	store    devices.Block
	capacity atomic.Uint64 // sectors
	direct   atomic.Bool   // the driver wants each write durable when it completes
	buffers  sync.Pool     // of *[]byte, for transfers in several pieces
	flights  sync.Pool     // of *flight
	late     delays
	reads    *aio.Queue   // reads of a file that nobody waits for; nil if the store does not gain by them
	under    atomic.Int32 // requests under way
}

// New returns a device over a store, which it owns from then on.
func New(o Options, store devices.Block) (*Device, error) {
	o.Queues = defaultTo(o.Queues, 1)
	o.QueueSize = defaultTo(o.QueueSize, defaultQueue)
	o.Workers = defaultTo(o.Workers, 16)
	o.BlockSize = defaultTo(o.BlockSize, sectorSize)
	o.PhysicalSize = defaultTo(o.PhysicalSize, max(4096, o.BlockSize))
	switch {
	case len(o.Serial) > idSize:
		return nil, fmt.Errorf("%s: serial number %q: at most %d bytes are possible", o.Name, o.Serial, idSize)
	case o.Queues < 1 || o.Queues > 256:
		return nil, fmt.Errorf("%s: %d queues: must be 1 to 256", o.Name, o.Queues)
	case o.QueueSize < 4 || o.QueueSize > 1024 || o.QueueSize&(o.QueueSize-1) != 0:
		return nil, fmt.Errorf("%s: queues of %d: must be a power of two, 4 to 1024", o.Name, o.QueueSize)
	case o.BlockSize != 512 && o.BlockSize != 4096:
		return nil, fmt.Errorf("%s: blocks of %d bytes: must be 512 or 4096", o.Name, o.BlockSize)
	case exponent(o) < 0 || exponent(o) > 15:
		return nil, fmt.Errorf("%s: physical blocks of %d bytes: must be a power of two, at least the logical %d", o.Name, o.PhysicalSize, o.BlockSize)
	case o.Workers < 1:
		return nil, fmt.Errorf("%s: %d workers: must be at least 1", o.Name, o.Workers)
	}
	d := &Device{o: o, store: store}
	d.capacity.Store(uint64(store.Size()) / sectorSize)
	features := uint64(featureSegMax | featureBlkSize | featureFlush | featureTopology | featureConfigWCE)
	if o.Queues > 1 {
		features |= featureMQ
	}
	if store.ReadOnly() {
		features |= featureRO
	} else {
		features |= featureDiscard | featureWriteZeroes
	}
	queues := make([]int, o.Queues)
	for i := range queues {
		queues[i] = o.QueueSize
	}
	d.Device = virtio.New(virtio.Config{
		Name: o.Name, Type: 2, Class: 0x010000, Features: features, Queues: queues,
		Region: configRegion{configRegisters.Region(configuration{d}), d}, Registers: configRegisters, Size: cfgSize, FeatureNames: featureNames,
		InSlot: o.InSlot, Packed: o.Packed, Broken: o.Broken,
	})
	d.Init(d)
	d.late.init(d)
	if aio.Suits(store) {
		// Without the means, all is done with calls that wait.
		d.reads, _ = aio.New(d.land)
	}
	for i := range queues {
		q := d.Queue(i)
		d.Handle(i, max(1, o.Workers/o.Queues), func(c *virtio.Chain) { d.serve(q, c) })
	}
	return d, nil
}

func defaultTo(v, d int) int {
	if v == 0 {
		return d
	}
	return v
}

// exponent is the binary logarithm of physical blocks in logical ones, or -1.
func exponent(o Options) int {
	for e := range 16 {
		if o.BlockSize<<e == o.PhysicalSize {
			return e
		}
	}
	return -1
}

// Activate implements virtio.Model.
func (d *Device) Activate(features uint64) {
	// A driver without flush counts on writes being durable (section 5.2.6.2).
	if features&featureFlush == 0 && features&featureConfigWCE == 0 {
		d.direct.Store(true)
	}
}

// Deactivate implements virtio.Model.
func (d *Device) Deactivate() {
	d.direct.Store(false)
	d.late.forget()
}

// Kick implements virtio.Model. All queues are served.
func (d *Device) Kick(int) {}

// Resized tells the guest that the store has got another size.
func (d *Device) Resized() {
	d.capacity.Store(uint64(d.store.Size()) / sectorSize)
	d.ConfigChanged()
}

// Close waits for requests in flight and closes the store.
func (d *Device) Close() error {
	d.late.close()
	if err := d.Device.Close(); err != nil {
		return err
	}
	d.reads.Close()
	return d.store.Close()
}

// PowerLoss implements devices.PowerLoser: the power fails without notice. What
// the store had not made durable is its to lose.
func (d *Device) PowerLoss() error {
	d.Reset()
	if p, ok := d.store.(devices.PowerLoser); ok {
		return p.PowerLoss()
	}
	return nil
}
