// Package rng is the virtio entropy device (Virtual I/O Device 1.2, section
// 5.4).
package rng

import (
	"crypto/rand"
	"errors"
	"io"

	"dfemu/devices"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/requests"
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
	// Clock is for delays that faults make. It may be nil.
	Clock devices.Clock
	// InSlot, Packed and Broken are those of virtio.Config.
	InSlot, Packed bool
	Broken         func(err error)
}

// Device is a virtio entropy device.
type Device struct {
	*virtio.Device
	server *requests.Server
	source io.Reader
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
	d.server = requests.New(d.Device, o.Clock)
	d.server.Handle(0, 1, d.serve)
	d.Init(d)
	return d
}

var errNoRoom = errors.New("entropy request without room for a byte")

// How requests end, for watchers.
var (
	statusDone   = devices.Status{Name: "OK"}
	statusFailed = devices.Status{Code: 1, Name: "nothing"}
)

func (d *Device) serve(r *requests.Request) {
	room := virtio.Total(r.Chain.In)
	d.judge(0, r.Chain)
	r.Run(func() *devices.Command {
		return &devices.Command{Tag: int(r.Chain.ID()), Name: "ENTROPY", Bytes: room}
	}, func() {
		if r.Effect.Fail {
			r.Complete(0, statusFailed)
			return
		}
		got, err := d.give(r, int(min(room, most)))
		if err != nil {
			r.Queue.Broken(err)
			r.Complete(0, statusFailed)
			return
		}
		r.Complete(uint32(got), statusDone)
	})
}

// give stores up to n bytes and returns how many.
func (d *Device) give(r *requests.Request, n int) (int, error) {
	if n == 0 {
		return 0, errNoRoom
	}
	// At least one byte must be given (section 5.4.6.2).
	b := make([]byte, n)
	got, err := io.ReadAtLeast(d.source, b, 1)
	if got == 0 {
		return 0, err
	}
	b = b[:r.Limit(got)]
	r.Flip(b)
	return len(b), r.Chain.Write(0, b)
}

// Foresee implements virtio.Foreseer.
func (d *Device) Foresee(queue int, c *virtio.Chain) {
	d.judge(queue, c)
	if virtio.Total(c.In) == 0 {
		d.Breach(queue, errNoRoom)
	}
}

// judge reports what is wrong with a request, short of what breaks the queue.
func (d *Device) judge(queue int, c *virtio.Chain) {
	if len(c.Out) != 0 {
		d.Violation(queue, "5.4.6.1", "a request has %d bytes in device-readable buffers", virtio.Total(c.Out))
	}
}

// Activate implements virtio.Model.
func (d *Device) Activate(uint64) {}

// Deactivate implements virtio.Model.
func (d *Device) Deactivate() { d.server.Reset() }

// Kick implements virtio.Model. The queue is served.
func (d *Device) Kick(int) {}

// Pause implements devices.Pauser.
func (d *Device) Pause() { d.server.Pause() }

// Close implements devices.Closer.
func (d *Device) Close() error { return d.server.Close() }
