// Package blk is the virtio block device (Virtual I/O Device 1.2, section 5.2).
package blk

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"dfemu/devices"
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
		Region: devices.RegionFuncs{ReadFunc: d.readConfig, WriteFunc: d.writeConfig}, Size: cfgSize,
		InSlot: o.InSlot, Packed: o.Packed, Broken: o.Broken,
	})
	d.Init(d)
	for i := range queues {
		q := d.Queue(i)
		d.Serve(i, max(1, o.Workers/o.Queues), func(c *virtio.Chain) uint32 { return d.serve(q, c) })
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
func (d *Device) Deactivate() { d.direct.Store(false) }

// Kick implements virtio.Model. All queues are served.
func (d *Device) Kick(int) {}

// Resized tells the guest that the store has got another size.
func (d *Device) Resized() {
	d.capacity.Store(uint64(d.store.Size()) / sectorSize)
	d.ConfigChanged()
}

// Close waits for requests in flight and closes the store.
func (d *Device) Close() error {
	if err := d.Device.Close(); err != nil {
		return err
	}
	return d.store.Close()
}

// SaveState implements devices.Saver: that of the transport, then one byte for
// the write cache. What is on the disk is the store's matter.
func (d *Device) SaveState() ([]byte, error) {
	p, err := d.Device.SaveState()
	cache := byte(1)
	if d.direct.Load() {
		cache = 0
	}
	return append(p, cache), err
}

// RestoreState implements devices.Saver.
func (d *Device) RestoreState(p []byte) error {
	if len(p) == 0 {
		return fmt.Errorf("restore %s: no state", d.o.Name)
	}
	if err := d.Device.RestoreState(p[:len(p)-1]); err != nil {
		return err
	}
	d.direct.Store(p[len(p)-1] == 0)
	return nil
}

func (d *Device) config() [cfgSize]byte {
	var b [cfgSize]byte
	le := binary.LittleEndian
	le.PutUint64(b[cfgCapacity:], d.capacity.Load())
	// One descriptor each is for the header and the status.
	le.PutUint32(b[cfgSegMax:], uint32(d.o.QueueSize-2))
	le.PutUint32(b[cfgBlkSize:], uint32(d.o.BlockSize))
	b[cfgPhysicalExp] = uint8(exponent(d.o))
	le.PutUint16(b[cfgMinIO:], uint16(min(d.o.PhysicalSize/d.o.BlockSize, 0xffff)))
	if !d.direct.Load() {
		b[cfgWriteback] = 1
	}
	le.PutUint16(b[cfgNumQueues:], uint16(d.o.Queues))
	le.PutUint32(b[cfgMaxDiscardSectors:], maxSectors)
	le.PutUint32(b[cfgMaxDiscardSeg:], maxRanges)
	le.PutUint32(b[cfgDiscardAlignment:], uint32(d.o.BlockSize/sectorSize))
	le.PutUint32(b[cfgMaxZeroesSectors:], maxSectors)
	le.PutUint32(b[cfgMaxZeroesSeg:], maxRanges)
	b[cfgWriteZeroesMayUnmap] = 1
	return b
}

func (d *Device) readConfig(off uint64, size int) (uint64, error) {
	b := d.config()
	if off+uint64(size) > cfgSize {
		return 0, devices.ErrNoRegister
	}
	var v uint64
	for i := range size {
		v |= uint64(b[off+uint64(i)]) << (8 * i)
	}
	return v, nil
}

func (d *Device) writeConfig(off uint64, size int, v uint64) error {
	if off != cfgWriteback || size != 1 || d.Features()&featureConfigWCE == 0 {
		return devices.ErrReadOnly
	}
	d.direct.Store(v&1 == 0)
	return nil
}
