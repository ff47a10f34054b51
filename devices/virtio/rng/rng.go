// Package rng is the virtio entropy device (Virtual I/O Device 1.2, section
// 5.4).
package rng

import (
	"crypto/rand"
	"errors"
	"io"

	"dfemu/devices/virtio"
)

// most is the largest number of bytes given for one request; drivers take less
// than they asked for.
const most = 64 << 10

// Options describes an entropy device.
type Options struct {
	Name string // unit name, as "virtio-rng0"
	// Source gives the entropy; nil means crypto/rand. A read of it that waits
	// delays pausing and resetting the machine.
	Source io.Reader
	// InSlot, Packed and Broken are those of virtio.Config.
	InSlot, Packed bool
	Broken         func(err error)
}

// Device is a virtio entropy device.
type Device struct {
	*virtio.Device
	source io.Reader
	buf    [most]byte // used by the queue's only worker
}

// New returns a device.
func New(o Options) *Device {
	d := &Device{source: o.Source}
	if d.source == nil {
		d.source = rand.Reader
	}
	d.Device = virtio.New(virtio.Config{
		Name: o.Name, Type: 4, Class: 0x00ff00, Queues: []int{8},
		InSlot: o.InSlot, Packed: o.Packed, Broken: o.Broken,
	})
	d.Init(d)
	d.Serve(0, 1, d.serve)
	return d
}

var errNoRoom = errors.New("entropy request without room for a byte")

func (d *Device) serve(c *virtio.Chain) uint32 {
	n := min(virtio.Total(c.In), most)
	if n == 0 {
		d.Queue(0).Broken(errNoRoom)
		return 0
	}
	// At least one byte must be given (section 5.4.6.2).
	got, err := io.ReadAtLeast(d.source, d.buf[:n], 1)
	if got > 0 {
		err = c.Write(0, d.buf[:got])
	}
	if err != nil {
		d.Queue(0).Broken(err)
		return 0
	}
	return uint32(got)
}

// Activate implements virtio.Model.
func (d *Device) Activate(uint64) {}

// Deactivate implements virtio.Model.
func (d *Device) Deactivate() {}

// Kick implements virtio.Model. The queue is served.
func (d *Device) Kick(int) {}
