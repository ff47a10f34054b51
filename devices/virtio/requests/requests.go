// Package requests serves virtqueues whose chains are requests with an answer:
// it reports them to whoever watches the device, and does to them what a fault
// says. Devices in the folders next to it use it in place of
// [virtio.Device.Serve].
//
// A device makes a [Server] after its [virtio.Device], calls Handle for each
// queue, passes Model.Deactivate on to Reset, and calls Pause and Close of the
// Server instead of those of its Device.
package requests

import (
	"sync"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

// Server serves some of a device's queues. Its methods may be called from any
// goroutine.
type Server struct {
	dev   *virtio.Device
	clock devices.Clock
	probe *devices.Probe

	mu      sync.Mutex
	delayed map[*Request]devices.Timer
	hurry   bool // nothing is delayed any more: the device is being paused
	closed  bool
	wg      sync.WaitGroup
}

// New returns a server for a device. The clock is for delays that faults make; without one there
// are none.
func New(d *virtio.Device, clock devices.Clock) *Server {
	return &Server{dev: d, clock: clock, probe: d.Function().Probe(), delayed: map[*Request]devices.Timer{}}
}

// Handle has the chains of a queue handled by up to workers goroutines, in order if there is one.
// handle ends each request with [Request.Complete], sooner or later and without waiting for the
// guest. It is called before the device is on a bus.
func (s *Server) Handle(queue, workers int, handle func(r *Request)) {
	q := s.dev.Queue(queue)
	s.dev.Handle(queue, workers, func(c *virtio.Chain) { handle(&Request{Chain: c, Queue: q, s: s}) })
}

// take empties the list of delayed requests.
func (s *Server) take() (l []*Request) {
	for r, t := range s.delayed {
		t.Stop()
		l = append(l, r)
	}
	clear(s.delayed)
	return l
}

// Reset forgets requests that faults keep. All others have been completed.
func (s *Server) Reset() {
	s.mu.Lock()
	l := s.take()
	s.mu.Unlock()
	for _, r := range l {
		r.abort()
	}
}

// Pause ends delays, then pauses the device.
func (s *Server) Pause() {
	s.mu.Lock()
	s.hurry = true
	l := s.take()
	s.mu.Unlock()
	for _, r := range l {
		r.resume()
	}
	s.dev.Pause()
	s.mu.Lock()
	s.hurry = false
	s.mu.Unlock()
}

// Close closes the device, and waits until no goroutine of the server is left.
func (s *Server) Close() error {
	err := s.dev.Close()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.Reset()
	s.wg.Wait()
	return err
}
