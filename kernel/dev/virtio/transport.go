package virtio

import (
	"errors"
	"fmt"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/kern"
)

// Vendor is virtio's on PCI. Device identifiers are 0x1040 plus the type.
const (
	vendor     = 0x1af4
	modernBase = 0x1040
)

// Types of devices.
const (
	typeNet   = 1
	typeBlock = 2
	typeRNG   = 4
)

// transitional are the identifiers of devices that also have the legacy interface.
var transitional = map[int]uint16{typeNet: 0x1000, typeBlock: 0x1001, typeRNG: 0x1005}

func match(d *pci.Device, typ int) bool {
	return d.Vendor == vendor && (d.ID == modernBase+uint16(typ) || d.ID == transitional[typ])
}

// Structures in BARs (4.1.4).
const (
	capCommon = 1 + iota
	capNotify
	capISR
	capDevice
)

// The common configuration (4.1.4.3).
const (
	cfgFeatureSel   = 0x00
	cfgFeature      = 0x04
	cfgGuestSel     = 0x08
	cfgGuest        = 0x0c
	cfgConfigVector = 0x10
	cfgNumQueues    = 0x12
	cfgStatus       = 0x14
	cfgGeneration   = 0x15
	cfgQueueSelect  = 0x16
	cfgQueueSize    = 0x18
	cfgQueueVector  = 0x1a
	cfgQueueEnable  = 0x1c
	cfgQueueNotify  = 0x1e
	cfgQueueDesc    = 0x20
	cfgQueueAvail   = 0x28
	cfgQueueUsed    = 0x30
	cfgSize         = 0x38
)

// Device status.
const (
	statusAcknowledge = 1
	statusDriver      = 2
	statusDriverOK    = 4
	statusFeaturesOK  = 8
	statusNeedsReset  = 0x40
	statusFailed      = 0x80
)

const featVersion1 = 1 << 32

const noVector = 0xffff

// Interrupt status (4.1.4.5).
const (
	isrQueue  = 1 << 0
	isrConfig = 1 << 1
)

// window is a structure in a BAR.
type window struct {
	regs      kern.Registers
	off, size uint64
}

func (w window) r8(o uint64) uint8      { return w.regs.Read8(w.off + o) }
func (w window) r16(o uint64) uint16    { return w.regs.Read16(w.off + o) }
func (w window) r32(o uint64) uint32    { return w.regs.Read32(w.off + o) }
func (w window) w8(o uint64, v uint8)   { w.regs.Write8(w.off+o, v) }
func (w window) w16(o uint64, v uint16) { w.regs.Write16(w.off+o, v) }
func (w window) w32(o uint64, v uint32) { w.regs.Write32(w.off+o, v) }
func (w window) w64(o uint64, v uint64) { w.w32(o, uint32(v)); w.w32(o+4, uint32(v>>32)) }
func (w window) has(o, n uint64) bool   { return o <= w.size && n <= w.size-o }

// device is a virtio device.
type device struct {
	pci      *pci.Device
	k        *kern.Kernel
	name     string
	common   window
	notify   window
	config   window
	isr      window
	multi    uint32 // notify offset multiplier
	features uint64
	ints     []*kern.Interrupt
	line     bool // the interrupt is a pin, not messages
	// configIntr is the interrupt of changes of the configuration, -1 for none.
	configIntr int
	queues     []*queue
}

// open finds the device's structures and resets it.
func open(d *pci.Device, name string) (*device, error) {
	v := &device{pci: d, k: d.Kernel(), name: name}
	bars := map[int]kern.Registers{}
	for at := d.Capability(pci.CapVendor, 0); at != 0; at = d.Capability(pci.CapVendor, at) {
		typ, bar := d.Read(at+3, 1), int(d.Read(at+4, 1))
		if typ < capCommon || typ > capDevice || bar > 5 {
			continue
		}
		off, size := uint64(d.Read(at+8, 4)), uint64(d.Read(at+12, 4))
		if d.BARs[bar].IO || d.BARs[bar].Size == 0 || off > d.BARs[bar].Size || size > d.BARs[bar].Size-off {
			continue
		}
		if bars[bar] == nil {
			r, err := d.Map(bar)
			if err != nil {
				return nil, err
			}
			bars[bar] = r
		}
		w := window{bars[bar], off, size}
		switch {
		case typ == capCommon && v.common.regs == nil && size >= cfgSize:
			v.common = w
		case typ == capNotify && v.notify.regs == nil:
			v.notify = w
			v.multi = d.Read(at+16, 4)
		case typ == capISR && v.isr.regs == nil && size >= 1:
			v.isr = w
		case typ == capDevice && v.config.regs == nil:
			v.config = w
		}
	}
	if v.common.regs == nil || v.notify.regs == nil {
		return nil, errors.New("it has no modern virtio interface")
	}
	if err := v.reset(); err != nil {
		return nil, err
	}
	v.common.w8(cfgStatus, statusAcknowledge)
	v.common.w8(cfgStatus, statusAcknowledge|statusDriver)
	return v, nil
}

// reset resets the device and waits until it says it has.
func (v *device) reset() error {
	v.common.w8(cfgStatus, 0)
	end := v.k.Now() + time.Second
	for v.common.r8(cfgStatus) != 0 {
		if !v.pci.Present() || v.k.Now() > end {
			return errors.New("it does not finish its reset")
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// negotiate agrees on features: those wanted that the device offers.
func (v *device) negotiate(want uint64) error {
	v.common.w32(cfgFeatureSel, 0)
	offer := uint64(v.common.r32(cfgFeature))
	v.common.w32(cfgFeatureSel, 1)
	offer |= uint64(v.common.r32(cfgFeature)) << 32
	if offer&featVersion1 == 0 {
		return errors.New("it is no device of version 1")
	}
	v.features = offer & (want | featVersion1)
	v.common.w32(cfgGuestSel, 0)
	v.common.w32(cfgGuest, uint32(v.features))
	v.common.w32(cfgGuestSel, 1)
	v.common.w32(cfgGuest, uint32(v.features>>32))
	v.common.w8(cfgStatus, statusAcknowledge|statusDriver|statusFeaturesOK)
	if v.common.r8(cfgStatus)&statusFeaturesOK == 0 {
		return fmt.Errorf("it does not accept the features %#x", v.features)
	}
	return nil
}

// use is a queue that a driver uses.
type use struct {
	index int // the device's number of the queue
	size  int // at most so many entries
	intr  int // which of the interrupts is the queue's
	// handle is called on an interrupt of the queue.
	handle func()
}

// start allocates n interrupts, each on a CPU of its own as far as there are, and queues. Where the device has fewer interrupts several
// share one. The last is also that of changes of the configuration, if config is not nil.
func (v *device) start(n int, uses []use, config func()) error {
	last := 0
	for _, u := range uses {
		last = max(last, u.index)
	}
	if n := int(v.common.r16(cfgNumQueues)); n <= last {
		return fmt.Errorf("it has %d queues, %d are needed", n, last+1)
	}
	v.pci.SetMaster(true)
	cpus := make([]int, n)
	for i := range cpus {
		cpus[i] = i % v.k.CPUs()
	}
	ints, err := v.pci.Interrupts(n, cpus...)
	if err != nil {
		return err
	}
	v.ints, v.line = ints, ints[0].Shared()
	if v.line && v.isr.regs == nil {
		return errors.New("it has no interrupt status for its interrupt pin")
	}
	v.configIntr = -1
	if config != nil {
		v.configIntr = (n - 1) % len(ints)
	}
	for _, u := range uses {
		v.common.w16(cfgQueueSelect, uint16(u.index))
		most := int(v.common.r16(cfgQueueSize))
		if most == 0 || most&(most-1) != 0 {
			return fmt.Errorf("queue %d has %d entries", u.index, most)
		}
		q, err := newQueue(v, u.index, min(most, u.size))
		if err != nil {
			return err
		}
		q.intr = u.intr % len(ints)
		v.queues = append(v.queues, q)
	}
	if err := v.enableAll(); err != nil {
		return err
	}
	for i, in := range ints {
		v.k.Handle(in, fmt.Sprintf("%s irq%d", v.name, i), kern.IntrMed, func() {
			isr := uint8(isrQueue | isrConfig)
			if v.line {
				isr = v.isr.r8(0) // which takes the request back
			}
			if isr == 0xff && !v.pci.Present() {
				return
			}
			if v.line && isr == 0 {
				in.Idle()
				return
			} else if v.line {
				in.Busy()
			}
			if isr&isrQueue != 0 {
				for j, q := range v.queues {
					if q.intr == i {
						uses[j].handle()
					}
				}
			}
			if isr&isrConfig != 0 && v.configIntr == i {
				config()
			}
		})
	}
	v.ready()
	return nil
}

// ready lets the device work.
func (v *device) ready() {
	v.common.w8(cfgStatus, statusAcknowledge|statusDriver|statusFeaturesOK|statusDriverOK)
}

// enableAll tells the device all queues and interrupts.
func (v *device) enableAll() error {
	vec := uint16(noVector)
	if v.configIntr >= 0 && !v.line {
		vec = uint16(v.configIntr)
	}
	if v.common.w16(cfgConfigVector, vec); !v.line && v.common.r16(cfgConfigVector) != vec {
		return fmt.Errorf("it does not take interrupt %d for changes of its configuration", vec)
	}
	for _, q := range v.queues {
		if err := v.enable(q); err != nil {
			return err
		}
	}
	return nil
}

// enable tells the device where a queue is.
func (v *device) enable(q *queue) error {
	v.common.w16(cfgQueueSelect, uint16(q.index))
	v.common.w16(cfgQueueSize, uint16(q.size))
	vec := uint16(q.intr)
	if v.line {
		vec = noVector
	}
	if v.common.w16(cfgQueueVector, vec); !v.line && v.common.r16(cfgQueueVector) != vec {
		return fmt.Errorf("queue %d: it does not take interrupt %d", q.index, vec)
	}
	v.common.w64(cfgQueueDesc, q.mem.Phys)
	v.common.w64(cfgQueueAvail, q.mem.Phys+uint64(q.availOff))
	v.common.w64(cfgQueueUsed, q.mem.Phys+uint64(q.usedOff))
	q.doorbell = uint64(v.common.r16(cfgQueueNotify)) * uint64(v.multi)
	if !v.notify.has(q.doorbell, 2) {
		return fmt.Errorf("queue %d: its notification address is outside", q.index)
	}
	v.common.w16(cfgQueueEnable, 1)
	return nil
}

// restart resets a device that went wrong and sets it up as it was, with empty queues, all but [device.ready]. It returns the tokens of
// what it had.
func (v *device) restart() (lost []any, err error) {
	err = v.reset()
	for _, q := range v.queues {
		lost = append(lost, q.drain()...)
		q.clear()
	}
	if err != nil {
		return lost, err
	}
	v.common.w8(cfgStatus, statusAcknowledge|statusDriver)
	if err := v.negotiate(v.features); err != nil {
		return lost, err
	}
	return lost, v.enableAll()
}

// stop resets the device and gives back what it used.
func (v *device) stop() {
	if v.pci.Present() {
		_ = v.reset() // it is not used any more, whatever it says
		v.pci.SetMaster(false)
	}
	v.pci.StopInterrupts()
	for _, q := range v.queues {
		v.k.FreeDMA(q.mem)
	}
	v.queues = nil
}

// failed tells whether the device is broken or gone.
func (v *device) failed() bool {
	s := v.common.r8(cfgStatus)
	return s == 0xff || s&(statusNeedsReset|statusFailed) != 0
}
