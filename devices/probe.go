package devices

import "sync/atomic"

// Class is a set of kinds of events that a device can report.
type Class uint32

// The classes of events.
const (
	ClassRegister  Class = 1 << iota // a register is read or written
	ClassCommand                     // a command is taken, and completed
	ClassInterrupt                   // an interrupt is raised or lowered
	ClassDMA                         // guest memory is read or written
	ClassStrict                      // the driver breaks the specification
	ClassState                       // the device changes state: link, reset, power
	ClassPrompt                      // with ClassStrict: what a doorbell tells of is checked before its access ends
)

// A Probe connects a device to those who watch and disturb it: traces, strict
// checks, fault injection. Each device has one, made by the machine; a nil
// Probe and one without a watcher cost a device one comparison for each event.
//
// All methods may be called from any goroutine and with a device's lock held.
type Probe struct {
	watch atomic.Pointer[watch]
}

type watch struct {
	classes  Class
	observer Observer
	faults   Faults
}

// Observer receives a device's events. Its methods may be called concurrently,
// with the device's lock held, and must not call back into the device.
type Observer interface {
	Access(RegisterAccess)
	Command(*Command)
	Completion(c *Command, status Status)
	Interrupt(Interrupt)
	DMA(Transfer)
	Violation(Violation)
	Rang(queue int)
	State(what string)
}

// Faults decides what goes wrong. Decide is called once for each command, after
// it was parsed and checked and before it has any effect.
type Faults interface {
	Decide(c *Command) Effect
}

// Watch attaches observers: o receives events of the given classes, f (which may be nil) is
// asked about each command. It replaces what was attached before.
func (p *Probe) Watch(classes Class, o Observer, f Faults) {
	if o == nil {
		classes = 0
	}
	if classes == 0 && f == nil {
		p.watch.Store(nil)
		return
	}
	p.watch.Store(&watch{classes, o, f})
}

// Wants reports whether somebody watches one of the classes. Devices ask before they build an event.
func (p *Probe) Wants(c Class) bool {
	if p == nil {
		return false
	}
	w := p.watch.Load()
	return w != nil && w.classes&c != 0
}

// observer returns who watches class c, or nil.
func (p *Probe) observer(c Class) Observer {
	if p == nil {
		return nil
	}
	if w := p.watch.Load(); w != nil && w.classes&c != 0 {
		return w.observer
	}
	return nil
}

// A RegisterAccess is one access of a guest to a register region.
type RegisterAccess struct {
	Bank  *Bank  // nil where the region has no table
	Off   uint64 // bytes from the start of the region
	Size  int    // bytes
	Write bool
	Value uint64
	Err   error // what the device answered, as ErrReadOnly
}

// A Command is one parsed command on its way through a device.
type Command struct {
	Queue  int    // submission queue, AHCI port, virtqueue
	Tag    int    // command identifier, slot, head descriptor
	NSID   uint32 // namespace or unit, where there are several
	Opcode uint32
	Admin  bool   // an NVMe admin command, a virtio control command
	Name   string // the specification's name, as "READ FPDMA QUEUED"
	LBA    uint64 // in logical blocks, when Blocks is not 0
	Blocks uint64
	Bytes  uint64 // the length of the data
	Write  bool   // data goes from the guest to the device
	// Unasked: no doorbell has told of it, as of a frame that arrives.
	Unasked bool
	// Fields returns the decoded fields for traces; it may be nil.
	Fields func() []FieldValue
}

// A FieldValue is one decoded field of a command.
type FieldValue struct {
	Name  string
	Value uint64
}

// A Status is how a command ended: the device's own code and its name.
type Status struct {
	Code uint32
	Name string // as "Successful Completion", "ABRT"
}

// An Interrupt is a change of a device's interrupt.
type Interrupt struct {
	Vector int  // MSI or MSI-X vector, -1 for a pin
	Level  bool // for a pin
}

// A Transfer is one access of a device to guest memory.
type Transfer struct {
	Addr  uint64
	Bytes int
	Write bool // into guest memory
	// Discard: the memory goes back to the host.
	Discard bool
	What    string // as "PRP list", "data", "D2H FIS"
}

// A Violation is a breach of the specification by the driver.
type Violation struct {
	Clause string // as "AHCI 1.3.1, 10.3.1"
	Text   string // what the driver did, and what it should have done
	Queue  int    // the queue or port concerned, -1 if none
	Origin Origin
}

// Origin tells where a breach was found, and by that which instruction is to blame.
type Origin uint8

const (
	// ByQueue is in what a queue holds. Whoever looks at it finds that, at once or later and on any goroutine; to blame is
	// the instruction that told the device of it: the last write of the queue's doorbell, or what [Probe.Rang] was called in.
	ByQueue Origin = iota
	// ByAccess is in the access to a register that is being served. It is reported on the goroutine of the access, before that ends.
	ByAccess
	// ByDevice is found by the device by itself, as a packet arrives or time goes by: no instruction is known to be to blame.
	ByDevice
)

// An Effect is what a fault does to a command. The zero Effect does nothing.
type Effect struct {
	Fail   bool
	Status uint32 // with Fail: the device's status code, 0 for the device's general error
	Delay  int64  // ns until the command is executed
	Hang   bool   // neither executed nor completed until a reset

	Drop      bool // executed but the completion is never posted
	Duplicate bool // the completion is posted twice
	Hold      int  // posted only after this many later completions of the same queue
	// LoseInterrupt posts the completion without its interrupt; ExtraInterrupt raises one more.
	LoseInterrupt, ExtraInterrupt bool

	Short    int64  // with ShortOn: at most this many bytes are transferred
	ShortOn  bool   //
	FlipData uint64 // this many bits of the data are inverted, at places chosen by Seed
	// FlipTable are the bits to invert in an address that the device reads from the PRD, PRP, SGL or
	// descriptor table (its copy; the guest's memory stays): in that of an entry chosen by Seed.
	FlipTable uint64
	Seed      uint64
}

// Decide asks the fault injector about a command.
func (p *Probe) Decide(c *Command) Effect {
	if p == nil {
		return Effect{}
	}
	if w := p.watch.Load(); w != nil && w.faults != nil {
		return w.faults.Decide(c)
	}
	return Effect{}
}

// Faulty reports whether a fault injector is attached, so that Decide needs a Command.
func (p *Probe) Faulty() bool {
	if p == nil {
		return false
	}
	w := p.watch.Load()
	return w != nil && w.faults != nil
}

// Access reports an access to a register that is not in a region of [WatchRegion].
func (p *Probe) Access(a RegisterAccess) {
	if o := p.observer(ClassRegister | ClassStrict); o != nil {
		o.Access(a)
	}
}

// Command reports that a command was taken from its queue.
func (p *Probe) Command(c *Command) {
	if o := p.observer(ClassCommand); o != nil {
		o.Command(c)
	}
}

// Completion reports how a command ended.
func (p *Probe) Completion(c *Command, s Status) {
	if o := p.observer(ClassCommand); o != nil {
		o.Completion(c, s)
	}
}

// Interrupt reports an interrupt message or a change of the pin.
func (p *Probe) Interrupt(i Interrupt) {
	if o := p.observer(ClassInterrupt); o != nil {
		o.Interrupt(i)
	}
}

// DMA reports an access to guest memory.
func (p *Probe) DMA(t Transfer) {
	if o := p.observer(ClassDMA); o != nil {
		o.DMA(t)
	}
}

// Violation reports that the driver broke the specification.
func (p *Probe) Violation(v Violation) {
	if o := p.observer(ClassStrict); o != nil {
		o.Violation(v)
	}
}

// Rang reports that the access which is being served tells the device of what is in a queue, though it is not to the queue's doorbell:
// it has the device begin. It is called on the goroutine of the access.
func (p *Probe) Rang(queue int) {
	if o := p.observer(ClassRegister | ClassStrict); o != nil {
		o.Rang(queue)
	}
}

// State reports a change of the device's state, as "port 2: link down".
func (p *Probe) State(what string) {
	if o := p.observer(ClassState); o != nil {
		o.State(what)
	}
}

// WatchRegion returns r with its accesses reported to p, which names them from the bank b (it may be nil).
func WatchRegion(p *Probe, b *Bank, r Region) Region {
	if p == nil {
		return r
	}
	return &watchedRegion{p, b, r}
}

type watchedRegion struct {
	p *Probe
	b *Bank
	r Region
}

// Read implements Region.
func (w *watchedRegion) Read(off uint64, size int) (uint64, error) {
	v, err := w.r.Read(off, size)
	if o := w.p.observer(ClassRegister | ClassStrict); o != nil {
		o.Access(RegisterAccess{w.b, off, size, false, v, err})
	}
	return v, err
}

// Write implements Region. The access is reported before its effects.
func (w *watchedRegion) Write(off uint64, size int, v uint64) error {
	o := w.p.observer(ClassRegister | ClassStrict)
	if o != nil {
		o.Access(RegisterAccess{w.b, off, size, true, v, nil})
	}
	err := w.r.Write(off, size, v)
	if o != nil && err != nil {
		o.Access(RegisterAccess{w.b, off, size, true, v, err})
	}
	return err
}

// Linked is a device that can be told about events outside the guest.
type Linked interface {
	// SetLink connects or cuts the cable: of port n, where the device has several.
	SetLink(n int, up bool) error
}

// PowerLoser is a device or store that loses what was not made durable when its power fails.
type PowerLoser interface {
	PowerLoss() error
}
