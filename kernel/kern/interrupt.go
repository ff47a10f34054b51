package kern

import (
	"sync/atomic"
)

// Interrupt is a way for a device to be heard: a message it writes to memory, or a pin.
// The platform makes it and calls its hooks.
type Interrupt struct {
	// Addr and Data are the message; both are 0 of a pin's.
	Addr uint64
	Data uint32
	// CPU is where it is taken.
	CPU int
	// Count is how often it came; Pending is changed to 1 as it comes.
	Count   atomic.Uint64
	Pending atomic.Uint32
	// Release gives the vector back to the platform.
	Release func()
	// Rearm, if not nil, lets the interrupt of a pin come again, which does not since it came last.
	Rearm func()
	// Mask, if not nil, keeps the device from sending the interrupt; it is told to when that comes too often.
	Mask func(on bool)
	// Failed, if not nil, is called when the handler has had a panic. The handler is not called any more then; without Failed it is.
	Failed func()

	k       *Kernel
	stopped atomic.Bool
	thread  *Thread
	line    *Line // it is one of several on a line
	storm   storm
	never   atomic.Uint32
	crash   atomic.Bool
	failed  bool // of the thread that calls the handler
}

// Shared tells whether the interrupt is a pin's, which other devices may share: it comes until the device is told to be silent, and also if
// the device has nothing to say.
func (i *Interrupt) Shared() bool { return i.line != nil }

// Handle starts an interrupt thread that calls f after each interrupt; several that come while f
// runs are one. The thread may preempt what runs on its CPU.
func (k *Kernel) Handle(i *Interrupt, name string, pri Priority, f func()) {
	i.k = k
	if i.line != nil {
		i.line.add(i, name, f)
		return
	}
	if i.Rearm != nil {
		i.Rearm()
	}
	i.thread = k.Start(ThreadAttr{Name: name, Priority: pri, CPU: i.CPU + 1, Intr: true}, func() {
		for {
			for i.Pending.Load() == 0 {
				k.Wait(&i.Pending, 0, -1)
			}
			i.holdBack()
			i.Pending.Store(0)
			if i.stopped.Load() {
				return
			}
			i.call(name, f)
			i.watch(name)
			if i.Rearm != nil {
				i.Rearm()
			}
		}
	})
}

// call runs the handler.
func (i *Interrupt) call(name string, f func()) {
	if i.failed {
		i.Idle() // it may be one that comes until the device is told to be silent, by who takes the device over
		return
	}
	defer func() {
		if r := recover(); r != nil {
			i.k.panicked(name, r)
			if i.Failed != nil {
				i.failed = true
				i.Failed()
			}
		}
	}()
	if i.crash.Load() && i.crash.Swap(false) {
		var p *int
		*p = 1
	}
	f()
}

// Crash has the handler use a nil pointer at the next interrupt, which comes now, as one with a mistake would.
func (i *Interrupt) Crash(k *Kernel) {
	i.crash.Store(true)
	if i.line != nil {
		i = i.line.in
	}
	i.Raise(k)
}

// Raise makes the interrupt come as if the device had sent it.
func (i *Interrupt) Raise(k *Kernel) {
	i.Count.Add(1)
	i.Pending.Store(1)
	k.Wake(&i.Pending, 1)
}

// Close stops the handler, waits until it has returned, and gives the interrupt back. The device must
// not send it any more.
func (i *Interrupt) Close() {
	if i.line != nil {
		i.line.remove(i)
		return
	}
	if i.thread != nil {
		i.stopped.Store(true)
		i.Pending.Store(1)
		i.k.Wake(&i.Pending, 1)
		i.thread.Join()
	}
	if i.Release != nil {
		i.Release()
	}
}
