package pci

import (
	"fmt"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
)

// The PCI Express capability of a port with a slot (PCI Express Base Specification, 7.5.3).
const (
	expFlags      = 0x02
	expLinkCap    = 0x0c
	expLinkStatus = 0x12
	expSlotCap    = 0x14
	expSlotCtl    = 0x18
	expSlotStatus = 0x1a

	expSlot        = 1 << 8 // flags: a slot is there
	linkActive     = 1 << 13
	linkReports    = 1 << 20
	slotButton     = 1 << 0
	slotPower      = 1 << 1
	slotHotPlug    = 1 << 6
	slotPresent    = 1 << 6 // status
	slotChanges    = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<8
	slotPresence   = 1 << 3
	slotLinkChange = 1 << 8
	slotIntr       = 1 << 5
	slotLink       = 1 << 12
	powerIndOn     = 1 << 8
	powerIndOff    = 3 << 8
	powerIndMask   = 3 << 8
	powerOff       = 1 << 10

	linkTime = time.Second
	settle   = 100 * time.Millisecond
	// ackTries bounds how often the handler reads the status anew: a device may be broken.
	ackTries = 8
)

// Slots is the driver of ports with hot-plug slots: what is plugged in is attached, what is pulled or is to be pulled is
// detached.
type Slots struct {
	Bus *Bus
	// Changed, if not nil, is called when functions have come or gone.
	Changed func()
}

// Name implements Driver.
func (*Slots) Name() string { return "pcib" }

// Match implements Driver.
func (*Slots) Match(d *Device) bool {
	at := d.Capability(CapPCIe, 0)
	return d.Class == 0x060400 && at != 0 && d.conf.Read16(at+expFlags)&expSlot != 0 && d.conf.Read32(at+expSlotCap)&slotHotPlug != 0
}

// slot is a unit.
type slot struct {
	s       *Slots
	d       *Device
	name    string
	at      uint64
	cap     uint32
	signals *kern.Signals
	thread  *kern.Thread
	changes atomic.Uint32 // slotChanges which the handler has taken and the thread has not seen
}

const (
	slotStop = 1 << iota
	slotEvent
)

// Attach implements Driver.
func (s *Slots) Attach(d *Device, unit int) (Attached, error) {
	v := &slot{s: s, d: d, name: fmt.Sprintf("pcib%d", unit), at: d.Capability(CapPCIe, 0), signals: d.k.NewSignals()}
	v.cap = d.conf.Read32(v.at + expSlotCap)
	ints, err := d.Interrupts(1, 0)
	if err != nil {
		return nil, err
	}
	v.thread = d.k.Start(kern.ThreadAttr{Name: v.name, Priority: kern.IntrSupport, Failed: d.Failed}, v.run)
	d.k.Handle(ints[0], v.name+" irq", kern.IntrLow, func() { v.interrupt(ints[0]) })
	d.conf.Write16(v.at+expSlotStatus, slotChanges)
	ctl := d.conf.Read16(v.at+expSlotCtl)&^powerIndMask | slotPresence | slotIntr
	if v.cap&slotButton != 0 {
		ctl |= slotButton
	}
	if d.conf.Read32(v.at+expLinkCap)&linkReports != 0 {
		ctl |= slotLink
	}
	if v.present() {
		ctl = ctl&^powerOff | powerIndOn
	} else {
		ctl |= powerIndOff
	}
	d.conf.Write16(v.at+expSlotCtl, ctl)
	return v, nil
}

func (v *slot) present() bool { return v.d.conf.Read16(v.at+expSlotStatus)&slotPresent != 0 }

// interrupt takes the changes out of the status. That is done here and not in the thread: a pin stays asserted until then, and would have its
// own thread run before the slot's for ever. A message comes only when the first change is noted, so none may be left behind.
func (v *slot) interrupt(i *kern.Interrupt) {
	var all uint16
	for range ackTries {
		status := v.d.conf.Read16(v.at + expSlotStatus)
		if status == 0xffff { // the bridge itself has gone
			break
		}
		status &= slotChanges
		if status == 0 {
			break
		}
		v.d.conf.Write16(v.at+expSlotStatus, status)
		all |= status
	}
	if all == 0 {
		i.Idle()
		return
	}
	i.Busy()
	v.changes.Or(uint32(all))
	v.signals.Raise(slotEvent)
}

// run is the slot's thread.
func (v *slot) run() {
	for {
		if v.signals.Take(-1)&slotStop != 0 {
			return
		}
		status := uint16(v.changes.Swap(0))
		button := status&slotButton != 0 && v.cap&slotButton != 0
		switch here := v.s.Bus.behind(v.d.Bridge); {
		case !v.present():
			if here {
				v.d.k.Printf("%s: the card was removed", v.name)
			}
			v.s.Bus.eject(v.d.Bridge)
			v.power(false)
		case button && here:
			v.d.k.Printf("%s: the card is to be removed", v.name)
			v.s.Bus.eject(v.d.Bridge)
			v.power(false)
		case !here && (button || status&(slotPresence|slotLinkChange) != 0):
			v.power(true)
			if !v.link() {
				break // another event comes when the link is up
			}
			v.d.k.Printf("%s: a card was inserted", v.name)
			if err := v.s.Bus.Scan(); err != nil {
				v.d.k.Printf("%s: %v", v.name, err)
			}
		default:
			continue
		}
		if v.s.Changed != nil {
			v.s.Changed()
		}
	}
}

// power switches the slot, and its indicator.
func (v *slot) power(on bool) {
	ctl := v.d.conf.Read16(v.at+expSlotCtl) &^ powerIndMask
	if on {
		ctl = ctl&^powerOff | powerIndOn
	} else {
		ctl |= powerIndOff
		if v.cap&slotPower != 0 {
			ctl |= powerOff
		}
	}
	v.d.conf.Write16(v.at+expSlotCtl, ctl)
}

// link waits for the link to come up.
func (v *slot) link() bool {
	if v.d.conf.Read32(v.at+expLinkCap)&linkReports != 0 {
		for end := v.d.k.Now() + linkTime; v.d.conf.Read16(v.at+expLinkStatus)&linkActive == 0; {
			if v.d.k.Now() > end {
				return false
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	time.Sleep(settle) // before configuration is read
	return true
}

// Detach implements Attached.
func (v *slot) Detach() {
	v.d.StopInterrupts()
	v.signals.Raise(slotStop)
	v.thread.Join()
}

// behind tells whether functions of a bus are known.
func (b *Bus) behind(bus uint8) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for a := range b.found {
		if a.Bus == bus {
			return true
		}
	}
	return false
}

// eject detaches the functions of a bus.
func (b *Bus) eject(bus uint8) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range append([]Address(nil), b.order...) {
		if a.Bus == bus {
			b.remove(a)
		}
	}
}
