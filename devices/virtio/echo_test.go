package virtio_test

import (
	"sync/atomic"
	"testing"

	"dfemu/devices"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/virtiotest"
)

// echo is a model that copies what it reads into what it writes.
type echo struct {
	*virtio.Device
	kicks, starts, stops atomic.Int32
	broken               atomic.Pointer[error]
	handled              atomic.Int32
	gate                 chan struct{} // if not nil, each chain waits for a token
	config               [8]byte
}

func newEcho(workers int, packed bool) *echo {
	e := &echo{}
	e.Device = virtio.New(virtio.Config{
		Name: "echo", Type: 42, Class: 0xff0000, Features: 1 << 3, Queues: []int{64, 16}, Packed: packed,
		Region: devices.RegionFuncs{ReadFunc: func(off uint64, size int) (uint64, error) {
			return uint64(e.config[off]), nil
		}}, Size: 8,
		Broken: func(err error) { e.broken.Store(&err) },
	})
	e.Init(e)
	e.Handle(0, workers, func(c *virtio.Chain) { e.Queue(0).Push(c, e.handle(c)) })
	return e
}

func (e *echo) Activate(uint64) { e.starts.Add(1) }
func (e *echo) Deactivate()     { e.stops.Add(1) }
func (e *echo) Kick(q int)      { e.kicks.Add(1) }

func (e *echo) handle(c *virtio.Chain) uint32 {
	if e.gate != nil {
		<-e.gate
	}
	e.handled.Add(1)
	n := min(virtio.Total(c.Out), virtio.Total(c.In))
	b := make([]byte, n)
	if err := c.Read(0, b); err != nil {
		e.Queue(0).Broken(err)
		return 0
	}
	if err := c.Write(0, b); err != nil {
		e.Queue(0).Broken(err)
		return 0
	}
	return uint32(n)
}

// start brings an echo device up with its first queue.
func start(t testing.TB, e *echo, features uint64, size int) (*virtiotest.Driver, *virtiotest.Queue) {
	t.Helper()
	d := virtiotest.New(t, e.Function(), true)
	d.Start(features)
	q := d.Queue(0, size)
	d.Go()
	return d, q
}
