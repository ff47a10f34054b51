package watch

import (
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
			a.Violation(v)
		}
	}
	if a.w.o.Trace == nil || x.Err != nil && x.Write {
		return // writes are reported before and, if they fail, after their effects
	}
	e := a.event(KindRegister)
	e.Place = a.w.o.Place()
	e.describe(&x)
	a.ring(&x, e.Place)
	a.w.o.Trace.emit(&e)
}

// ring notes where a doorbell is written, for the commands that it tells of.
func (a *attachment) ring(x *devices.RegisterAccess, at Place) {
	if !x.Write || x.Bank == nil || at.CPU < 0 {
		return
	}
	if r, _, ok := x.Bank.Find(x.Off); ok && r.Doorbell {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.rung == nil {
			a.rung = map[int]Place{}
		}
		a.rung[r.Index] = at
	}
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

// Violation implements devices.Observer.
func (a *attachment) Violation(v devices.Violation) {
	e := a.event(KindViolation)
	e.Place = a.w.o.Place()
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
