package kern

import (
	"sync/atomic"
)

// Interrupt is a way for a device to be heard: a message it writes to memory.
// The platform makes it and calls its hooks.
type Interrupt struct {
	// Addr and Data are the message.
	Addr uint64
	Data uint32
	// CPU is where it is taken.
	CPU int
	// Count is how often it came; Pending is changed to 1 as it comes.
	Count   atomic.Uint64
	Pending atomic.Uint32
	// Release gives the vector back to the platform.
	Release func()

	k       *Kernel
	stopped atomic.Bool
	thread  *Thread
}

// Handle starts an interrupt thread that calls f after each interrupt; several that come while f
// runs are one. The thread may preempt what runs on its CPU.
func (k *Kernel) Handle(i *Interrupt, name string, pri Priority, f func()) {
	i.k = k
	i.thread = k.Start(ThreadAttr{Name: name, Priority: pri, CPU: i.CPU + 1, Intr: true}, func() {
		for {
			for i.Pending.Load() == 0 {
				k.Wait(&i.Pending, 0, -1)
			}
			i.Pending.Store(0)
			if i.stopped.Load() {
				return
			}
			i.call(name, f)
		}
	})
}

// call runs the handler; one that fails is called again at the next interrupt.
func (i *Interrupt) call(name string, f func()) {
	defer i.k.Recover(name)
	f()
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
