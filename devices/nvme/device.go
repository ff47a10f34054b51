package nvme

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/pci"
)

// Device is an NVMe controller, a PCI function.
type Device struct {
	o       Options
	sub     *Subsystem
	owned   bool // the subsystem was made for this controller
	id      uint16
	fn      *pci.Function
	probe   *devices.Probe
	msix    *pci.MSIX
	mem     *memory
	vectors int

	cc     atomic.Uint32
	csts   atomic.Uint32
	mask   atomic.Uint32 // INTMS
	paused atomic.Bool
	// Set when the controller is enabled, constant until it is disabled.
	pageSize uint64

	sqs    [maxQueues]atomic.Pointer[subQueue]
	cqs    [maxQueues]atomic.Pointer[compQueue]
	shadow atomic.Pointer[shadowPages]
	spaces atomic.Pointer[[]*namespace] // attached ones by identifier

	irqMu sync.Mutex // guards the pin

	aggregation atomic.Uint32          // feature 08h
	direct      [maxQueues]atomic.Bool // feature 09h: vectors without coalescing
	writeCache  atomic.Bool            // feature 06h
	buffers     sync.Pool              // of *[]byte, for data that does not go straight to memory

	errorCount atomic.Uint64
	counters   counters

	mu        sync.Mutex
	idle      sync.Cond // changing fell to 0
	changing  int       // goroutines that reset or shut down
	resetting int       // of them resets: meanwhile nothing is enabled
	closed    bool
	aqa       uint32
	asq, acq  uint64
	cmbmsc    uint64
	cmbErr    bool
	feat      features
	events    events
	errors    errorLog
	test      selfTest
	telem     telemetry
	changed   changedSpaces
	notices   notices
	staged    []byte // firmware image being downloaded
}

var _ interface {
	devices.Device
	devices.Pauser
	devices.Closer
	devices.Saver
	devices.PowerLoser
} = (*Device)(nil)

// New returns a controller. It takes the stores over, also when it fails.
func New(o Options) (*Device, error) {
	if err := o.check(); err != nil {
		return nil, errors.Join(err, o.Sub.closeStores())
	}
	d := &Device{o: o, sub: o.Subsystem, vectors: o.Queues + 1}
	d.idle.L = &d.mu
	if d.sub == nil {
		s, err := NewSubsystem(o.Sub)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
		d.sub, d.owned = s, true
	}
	d.fn = pci.NewFunction(o.Name, pci.Identity{
		Vendor: o.VendorID, Device: o.DeviceID, Revision: 1, Class: 0x010802, SubsystemVendor: o.VendorID, Subsystem: o.DeviceID, Pin: 1,
	})
	d.probe = d.fn.Probe()
	d.mem = &memory{dma: d.fn.DMA(), cmb: make([]byte, o.Buffer)}
	layout := pci.Layout{{Off: 0, Size: msixTable, Region: devices.WatchRegion(d.probe, bank, registerRegion{d})}}
	if !o.NoMSIX {
		d.msix = d.fn.AddMSIX(d.vectors, 0, msixTable, msixPBA)
		table, pba := pci.MSIXSize(d.vectors)
		layout = append(layout, pci.Part{Off: msixTable, Size: table, Region: d.msix.Table()},
			pci.Part{Off: msixPBA, Size: pba, Region: d.msix.PBA()})
	}
	d.fn.AddBAR(0, pci.BAR{Kind: pci.BARMem64, Size: bar0Size, Region: layout})
	if o.Buffer > 0 {
		d.fn.AddBAR(cmbBAR, pci.BAR{Kind: pci.BARMem64, Prefetchable: true, Size: uint64(o.Buffer), Region: bufferRegion(d.mem.cmb)})
	}
	if !o.NoMSI {
		d.fn.AddMSI(min(o.MSIVectors, 1<<bits.Len(uint(d.vectors-1))), true, false)
	}
	d.fn.AddPM()
	d.fn.OnReset(d.Reset)
	d.fn.OnBusMaster(func(on bool) {
		if on {
			d.kickAll()
		}
	})
	kind := pci.IntegratedEndpoint
	if o.InSlot {
		kind = pci.Endpoint
	}
	d.fn.AddExpress(kind)
	d.test.timer = o.Clock.NewTimer(d.testStep)
	d.feat.reset(d)
	d.counters.powerCycles.Store(1)
	if err := d.sub.join(d); err != nil {
		if d.owned {
			_ = d.sub.Close() // the first error is the one to tell
		}
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	return d, nil
}

// Name implements devices.Device.
func (d *Device) Name() string { return d.o.Name }

// Function is the controller's PCI function.
func (d *Device) Function() *pci.Function { return d.fn }

// Subsystem is the NVM subsystem that the controller belongs to.
func (d *Device) Subsystem() *Subsystem { return d.sub }

// space returns the namespace with an identifier if it is attached, or nil.
func (d *Device) space(id uint32) *namespace {
	if l := d.spaces.Load(); l != nil && id < uint32(len(*l)) {
		return (*l)[id]
	}
	return nil
}

// attached returns the attached namespaces in the order of their identifiers.
func (d *Device) attached() []*namespace {
	var r []*namespace
	if l := d.spaces.Load(); l != nil {
		for _, ns := range *l {
			if ns != nil {
				r = append(r, ns)
			}
		}
	}
	return r
}

// strictf reports that the driver breaks the specification, by what it has put into a queue.
func (d *Device) strictf(queue int, clause, format string, a ...any) {
	d.violation(devices.ByQueue, queue, clause, format, a...)
}

// misuse reports that the access to a register that is being served breaks the specification. It is called on the goroutine of the access.
func (d *Device) misuse(queue int, clause, format string, a ...any) {
	d.violation(devices.ByAccess, queue, clause, format, a...)
}

func (d *Device) violation(by devices.Origin, queue int, clause, format string, a ...any) {
	if d.probe.Wants(devices.ClassStrict) {
		d.probe.Violation(devices.Violation{Clause: clause, Text: fmt.Sprintf(format, a...), Queue: queue, Origin: by})
	}
}

// statef reports a change of state.
func (d *Device) statef(format string, a ...any) {
	if d.probe.Wants(devices.ClassState) {
		d.probe.State(fmt.Sprintf(format, a...))
	}
}

// fatal puts the controller into the state from which only a reset leads out
// (CSTS.CFS).
func (d *Device) fatal(format string, a ...any) {
	d.csts.Or(cstsCFS)
	d.statef("controller fatal status: "+format, a...)
}

// kickAll has all queues looked at.
func (d *Device) kickAll() {
	for i := range d.sqs {
		if q := d.sqs[i].Load(); q != nil {
			q.kick()
		}
	}
}

// kickFor has the submission queues of a completion queue looked at.
func (d *Device) kickFor(c *compQueue) {
	for i := range d.sqs {
		if q := d.sqs[i].Load(); q != nil && q.cq == c {
			q.kick()
		}
	}
}

// Pause implements devices.Pauser: commands that are being executed end, others
// stay where they are.
func (d *Device) Pause() {
	d.paused.Store(true)
	for i := range d.sqs {
		if q := d.sqs[i].Load(); q != nil {
			q.rest()
		}
	}
	d.mu.Lock()
	for d.changing > 0 {
		d.idle.Wait()
	}
	d.mu.Unlock()
}

// Resume implements devices.Pauser.
func (d *Device) Resume() {
	d.paused.Store(false)
	d.mu.Lock()
	d.events.deliver(d)
	d.mu.Unlock()
	for i := range d.sqs {
		if q := d.sqs[i].Load(); q != nil {
			q.rearm()
			q.kick()
		}
	}
}

// rearm sets the timers of delayed commands again, one of which may have expired
// while the queue stood still.
func (q *subQueue) rearm() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.active {
		if r.parked == parkedDelay {
			if r.timer == nil {
				r.timer = q.d.o.Clock.NewTimer(func() { q.delayed(r) })
			}
			r.timer.Set(r.due)
		}
	}
}

// Close implements devices.Closer. With the last controller of a subsystem that
// New made, the stores are closed as well.
func (d *Device) Close() error {
	d.mu.Lock()
	d.closed = true
	for d.changing > 0 {
		d.idle.Wait()
	}
	d.mu.Unlock()
	d.halt()
	d.test.timer.Stop()
	d.sub.leave(d)
	if d.owned {
		return d.sub.Close()
	}
	return nil
}

// PowerLoss implements devices.PowerLoser: the power fails without notice. What
// the stores had not made durable is theirs to lose.
func (d *Device) PowerLoss() error {
	d.Reset()
	return d.sub.powerLoss()
}
