package virtio

import (
	"cmp"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/kern"
)

// Entropy devices (5.4) have one queue, of buffers that the device fills.
const (
	rngBuffer  = 64 // bytes at a time
	rngTimeout = 5 * time.Second
	rngEvery   = time.Minute
)

// RNG is the driver of entropy devices.
type RNG struct {
	// Feed takes what a device has given. It may be called from several threads.
	Feed func(name string, b []byte)
	// Timeout is how long the device may take; 0 means 5 seconds.
	Timeout time.Duration
}

// Name implements pci.Driver.
func (RNG) Name() string { return "viornd" }

// Match implements pci.Driver.
func (RNG) Match(d *pci.Device) bool { return match(d, typeRNG) }

// rng is a unit.
type rng struct {
	v       *device
	feed    func(string, []byte)
	mem     kern.DMA
	got     atomic.Pointer[kern.Event] // of the buffer that the device has
	size    atomic.Uint32              // bytes in it
	timeout time.Duration
	gone    atomic.Bool
	signals *kern.Signals
	ended   *kern.Thread
}

const rngStop = 1

// Attach implements pci.Driver. It returns when the device has given its first bytes, or has not in time.
func (drv RNG) Attach(d *pci.Device, unit int) (pci.Attached, error) {
	v, err := open(d, fmt.Sprintf("viornd%d", unit))
	if err != nil {
		return nil, err
	}
	r := &rng{v: v, feed: drv.Feed, signals: v.k.NewSignals(), timeout: cmp.Or(drv.Timeout, rngTimeout)}
	if err := r.start(); err != nil {
		v.stop()
		v.k.FreeDMA(r.mem)
		return nil, err
	}
	return r, nil
}

func (r *rng) start() error {
	if err := r.v.negotiate(0); err != nil {
		return err
	}
	var err error
	if r.mem, err = r.v.k.AllocDMA(rngBuffer, 4096, 0); err != nil {
		return err
	}
	if err := r.v.start(1, []use{{0, 8, 0, r.interrupt}}, nil); err != nil {
		return err
	}
	n, err := r.harvest()
	if err != nil {
		return err
	}
	r.v.k.Printf("%s: VirtIO entropy source, %d bytes, %s", r.v.name, n, r.v.pci.InterruptInfo())
	r.ended = r.v.k.Start(kern.ThreadAttr{Name: r.v.name, Priority: kern.Daemon, Failed: r.v.pci.Failed}, r.run)
	return nil
}

// interrupt takes the buffer back.
func (r *rng) interrupt() {
	if e := r.got.Load(); e != nil {
		if _, n, ok := r.v.queues[0].take(); ok {
			r.size.Store(n)
			e.Set()
		}
	}
}

// harvest has the device fill the buffer, and feeds it.
func (r *rng) harvest() (int, error) {
	e := r.v.k.NewEvent()
	r.got.Store(e)
	q := r.v.queues[0]
	if !q.put(r, buffer{r.mem.Phys, rngBuffer, true}) {
		return 0, errors.New("its queue is full")
	}
	q.kick()
	if !e.Wait(r.timeout) {
		return 0, errors.New("it does not answer")
	}
	n := int(r.size.Load())
	if n == 0 || n > rngBuffer {
		return 0, fmt.Errorf("it returned %d of %d bytes", n, rngBuffer)
	}
	var b [rngBuffer]byte // the device may change its buffer
	copy(b[:], r.mem.Bytes[:n])
	clear(r.mem.Bytes)
	r.feed(r.v.name, b[:n])
	return n, nil
}

// run harvests from time to time. A device that fails is reset once; one that fails again is left alone.
func (r *rng) run() {
	failures := 0
	for r.signals.Take(rngEvery)&rngStop == 0 {
		_, err := r.harvest()
		if r.gone.Load() {
			return
		}
		if err == nil {
			failures = 0
			continue
		}
		r.v.k.Printf("%s: %v: reset", r.v.name, err)
		if failures++; failures == 1 {
			if _, err = r.v.restart(); err == nil {
				r.v.ready()
				continue
			}
		}
		r.v.k.Printf("%s: it stays out of use: %v", r.v.name, err)
		r.signals.Take(-1) // until it is stopped
		return
	}
}

// Detach implements pci.Attached.
func (r *rng) Detach() {
	r.gone.Store(true)
	r.signals.Raise(rngStop)
	r.size.Store(0)
	r.got.Load().Set() // who waits for a device that is gone
	r.ended.Join()
	r.v.stop()
	r.v.k.FreeDMA(r.mem)
}
