package machine

import (
	"sync"
	"sync/atomic"

	"dfemu/cpu"
	"dfemu/devices/watch"
)

// Watch says what of the devices is traced, checked and disturbed.
type Watch struct {
	Trace  *watch.Trace
	Strict *watch.Strict
	Faults *watch.Faults
	// Stopped, if not nil, has the first breach that Strict sees halt the machine, behind the instruction that
	// accessed the device if it was an access, and is given a report of where that was: processors, the
	// device's registers, the queue concerned. Then the run ends.
	Stopped func(report string)
	// Told is given a line when a fault does something to a device or to the machine, or cannot. It may be nil.
	Told func(line string)
	// Symbol names an address of the guest, if symbols are known. It may be nil.
	Symbol func(rip uint64) string
}

// watching is what a machine needs for it while it runs.
type watching struct {
	w *watch.Watcher
	// mu serializes accesses to devices, so that it is known which processor the present one is of.
	mu sync.Mutex
	// at is where the present access is made from; nil between accesses. It means something only on the goroutine of that access:
	// what a device reports on another one has nothing to do with it (see devices.Origin).
	at atomic.Pointer[watch.Place]
}

// startWatching attaches a watcher to the devices.
func (p *pc) startWatching() {
	o := p.m.cfg.Watch
	if o == nil {
		return
	}
	t := &p.watching
	if o.Faults != nil {
		o.Faults.Do = p.m.Control().act
	}
	var freed func(addr, n uint64) bool
	if b, err := p.m.Control().balloon(); err == nil {
		freed = b.Holds
	}
	if o.Strict != nil && o.Stopped != nil {
		o.Strict.Stop = p.halt
	}
	t.w = watch.New(watch.Options{
		Trace: o.Trace, Strict: o.Strict, Faults: o.Faults, Now: p.m.clock.Now, Timer: p.m.clock.NewTimer, Freed: freed,
		Place: func() watch.Place {
			if at := t.at.Load(); at != nil {
				return *at
			}
			return watch.Place{CPU: -1}
		},
	})
	for _, d := range p.all {
		if f, ok := d.(function); ok {
			t.w.Attach(d.Name(), f.Function().Probe())
		}
	}
}

// placedBus is a bus whose accesses are made one at a time and are known to be those of a processor.
type placedBus struct {
	bus cpu.Bus
	p   *pc
	id  int
}

func (b *placedBus) enter() func() {
	t := &b.p.watching
	t.mu.Lock()
	rip := b.p.m.acc.VCPU(b.id).RIP()
	at := &watch.Place{CPU: b.id, RIP: rip}
	if f := b.p.m.cfg.Watch.Symbol; f != nil {
		at.Symbol = f(rip)
	}
	t.at.Store(at)
	return func() {
		t.at.Store(nil)
		t.mu.Unlock()
	}
}

// In implements cpu.Bus.
func (b *placedBus) In(port uint16, size int) uint32 {
	defer b.enter()()
	return b.bus.In(port, size)
}

// Out implements cpu.Bus.
func (b *placedBus) Out(port uint16, size int, v uint32) {
	defer b.enter()()
	b.bus.Out(port, size, v)
}

// Read implements cpu.Bus.
func (b *placedBus) Read(gpa uint64, size int) uint64 {
	defer b.enter()()
	return b.bus.Read(gpa, size)
}

// Write implements cpu.Bus.
func (b *placedBus) Write(gpa uint64, size int, v uint64) {
	defer b.enter()()
	b.bus.Write(gpa, size, v)
}
