package watch

import (
	"fmt"
	"sync"

	"dfemu/devices"
)

// Place is what a processor was doing when a device was accessed.
type Place struct {
	CPU    int    // -1: no processor, the device by itself
	RIP    uint64 // of the instruction
	Symbol string // name and offset, if symbols are known
}

// Options are the parts of a Watcher. Each may be left out.
type Options struct {
	Trace  *Trace
	Strict *Strict
	Faults *Faults
	// Now is the machine's time in ns.
	Now func() int64
	// Timer returns a stopped timer of that time. Without it faults that go by time alone do not happen.
	Timer func(f func()) devices.Timer
	// Freed tells whether any of n bytes of memory at addr is not the guest's at present: it gave that back. It may be nil.
	Freed func(addr, n uint64) bool
	// Place tells where the processor is that accesses a device at present.
	Place func() Place
}

// Watcher connects traces, strict checks and faults with devices. Its methods may be called from any goroutine.
type Watcher struct {
	o  Options
	mu sync.Mutex
	// attached holds the devices by name.
	attached map[string]*attachment
}

// attachment is one device's observer. It implements devices.Observer and devices.Faults.
type attachment struct {
	w     *Watcher
	name  string
	probe *devices.Probe

	mu   sync.Mutex
	rung map[int]Place // by queue: where its doorbell was written last
}

// New returns a watcher.
func New(o Options) *Watcher {
	if o.Now == nil {
		o.Now = func() int64 { return 0 }
	}
	if o.Place == nil {
		o.Place = func() Place { return Place{CPU: -1} }
	}
	w := &Watcher{o: o, attached: map[string]*attachment{}}
	w.schedule()
	return w
}

// Attach begins to watch a device. Names are unit names, as "nvme0".
func (w *Watcher) Attach(name string, p *devices.Probe) {
	if p == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &attachment{w: w, name: name, probe: p}
	w.attached[name] = a
	a.follow()
}

// Detach ends it.
func (w *Watcher) Detach(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.attached[name]; a != nil {
		a.probe.Watch(0, nil, nil)
		delete(w.attached, name)
	}
}

// Refresh attaches what has been added since, as faults while the machine runs.
func (w *Watcher) Refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.attached {
		a.follow()
	}
	w.schedule()
}

// schedule waits for the time of faults that go by it.
func (w *Watcher) schedule() {
	if w.o.Faults != nil && w.o.Timer != nil {
		w.o.Faults.schedule(w.o.Timer)
	}
}

// follow tells the probe what is wanted of it.
func (a *attachment) follow() {
	var classes devices.Class
	o := &a.w.o
	if o.Trace != nil {
		classes |= o.Trace.classes(a.name)
		if classes&devices.ClassCommand != 0 {
			classes |= devices.ClassRegister // for the doorbells, see ring
		}
	}
	if o.Strict != nil {
		classes |= devices.ClassStrict
		if o.Strict.Stop != nil {
			classes |= devices.ClassPrompt // the machine halts at the access that is to blame
		}
		if o.Freed != nil {
			classes |= devices.ClassDMA
		}
	}
	var f devices.Faults
	if o.Faults != nil && o.Faults.concerns(a.name) {
		f = a
	}
	a.probe.Watch(classes, a, f)
}

func (a *attachment) event(kind Kind) Event {
	return Event{Time: a.w.o.Now(), Device: a.name, Kind: kind, Place: Place{CPU: -1}}
}

// Access implements devices.Observer.
func (a *attachment) Access(x devices.RegisterAccess) {
	if s := a.w.o.Strict; s != nil {
		for _, v := range checkAccess(&x) {
			v.Origin = devices.ByAccess
			a.Violation(v)
		}
	}
	if x.Err != nil && x.Write {
		return // writes are reported before and, if they fail, after their effects
	}
	at := a.w.o.Place()
	a.ring(&x, at)
	if a.w.o.Trace == nil {
		return
	}
	e := a.event(KindRegister)
	e.Place = at
	e.describe(&x)
	a.w.o.Trace.emit(&e)
}

// ring notes where a doorbell is written, for what it tells of: commands, and what is wrong with them.
func (a *attachment) ring(x *devices.RegisterAccess, at Place) {
	if !x.Write || x.Bank == nil {
		return
	}
	if r, _, ok := x.Bank.Find(x.Off); ok && r.Doorbell {
		a.note(r.Index, at)
	}
}

// Rang implements devices.Observer.
func (a *attachment) Rang(queue int) { a.note(queue, a.w.o.Place()) }

// note notes the place that told the device of what is in a queue.
func (a *attachment) note(queue int, at Place) {
	if at.CPU < 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rung == nil {
		a.rung = map[int]Place{}
	}
	a.rung[queue] = at
}

// rang is where the doorbell of a queue was written last.
func (a *attachment) rang(queue int) Place {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p, ok := a.rung[queue]; ok {
		return p
	}
	return Place{CPU: -1}
}

// Command implements devices.Observer.
func (a *attachment) Command(c *devices.Command) {
	if a.w.o.Trace == nil {
		return
	}
	e := a.event(KindCommand)
	if !c.Unasked {
		e.Place = a.rang(c.Queue)
	}
	e.command(c)
	a.w.o.Trace.emit(&e)
}

// Completion implements devices.Observer.
func (a *attachment) Completion(c *devices.Command, s devices.Status) {
	if a.w.o.Trace == nil {
		return
	}
	e := a.event(KindCompletion)
	e.command(c)
	e.Status, e.StatusCode = s.Name, s.Code
	a.w.o.Trace.emit(&e)
}

// Interrupt implements devices.Observer.
func (a *attachment) Interrupt(i devices.Interrupt) {
	if a.w.o.Trace == nil {
		return
	}
	e := a.event(KindInterrupt)
	e.Vector, e.Level = i.Vector, i.Level
	a.w.o.Trace.emit(&e)
}

// DMA implements devices.Observer.
func (a *attachment) DMA(t devices.Transfer) {
	if o := &a.w.o; o.Strict != nil && o.Freed != nil && t.Bytes > 0 && !t.Discard && o.Freed(t.Addr, uint64(t.Bytes)) {
		what := "read"
		if t.Write {
			what = "written"
		}
		a.Violation(devices.Violation{
			Clause: "virtio 1.2, 5.5.6.1", Queue: -1, Origin: devices.ByDevice,
			Text: fmt.Sprintf("%d bytes of memory at %#x are %s (%s), which the guest has given to the balloon", t.Bytes, t.Addr, what, t.What),
		})
	}
	if a.w.o.Trace == nil {
		return
	}
	e := a.event(KindDMA)
	e.Name, e.Addr, e.Bytes, e.Write = t.What, t.Addr, uint64(t.Bytes), t.Write
	a.w.o.Trace.emit(&e)
}

// State implements devices.Observer.
func (a *attachment) State(what string) {
	if a.w.o.Trace == nil {
		return
	}
	e := a.event(KindState)
	e.Name = what
	a.w.o.Trace.emit(&e)
}

// Violation implements devices.Observer. The place where a processor accesses a device at present counts only for what is found in that
// access: any goroutine may report the rest, while some processor or other is at some device.
func (a *attachment) Violation(v devices.Violation) {
	e := a.event(KindViolation)
	switch v.Origin {
	case devices.ByAccess:
		e.Place = a.w.o.Place()
	case devices.ByQueue:
		e.Place = a.rang(v.Queue)
		e.Late = e.Place.CPU >= 0 && e.Place != a.w.o.Place()
	}
	e.Name, e.Clause, e.Queue = v.Text, v.Clause, v.Queue
	if a.w.o.Trace != nil {
		a.w.o.Trace.emit(&e)
	}
	if a.w.o.Strict != nil {
		a.w.o.Strict.report(&e)
	}
}

// Decide implements devices.Faults.
func (a *attachment) Decide(c *devices.Command) devices.Effect {
	e, rule := a.w.o.Faults.decide(a.name, c, a.w.o.Now())
	if rule != "" && a.w.o.Trace != nil {
		ev := a.event(KindFault)
		ev.command(c)
		ev.Status = rule
		a.w.o.Trace.emit(&ev)
	}
	return e
}
