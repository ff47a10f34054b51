package pci

import "fmt"

// Bits of the slot registers (PCI Express, sections 7.5.3.9 to 7.5.3.11).
const (
	slotCapButton    = 1 << 0
	slotCapPower     = 1 << 1
	slotCapAttention = 1 << 3
	slotCapPowerLED  = 1 << 4
	slotCapHotPlug   = 1 << 6

	slotButton    = 1 << 0 // enable and status
	slotPresence  = 1 << 3 // enable and status (changed)
	slotCommand   = 1 << 4 // enable and status
	slotCtlHPIE   = 1 << 5
	slotCtlLEDs   = 0x3c0
	slotCtlLEDOff = 0x3c0
	slotCtlLEDOn  = 0x1c0   // power on, attention off
	slotCtlPower  = 1 << 10 // set: power off
	slotCtlLink   = 1 << 12
	slotStaPDS    = 1 << 6
	slotStaLink   = 1 << 8
	slotStaEvents = slotButton | slotPresence | slotCommand | slotStaLink

	linkStaActive = 1 << 13
	linkCapActive = 1 << 20
	expFlagsSlot  = 1 << 8
)

// A RootPort is a PCI Express root port: a bridge from bus 0 to a slot for one
// device (PCI Express, section 1.3.1). It is put on bus 0 like any function.
type RootPort struct {
	*Function
	secondary Bus
	hotPlug   bool

	// Guarded by Function.mu; presence and power are in its slot registers.
	removal  func() // set while the guest is asked to let the device go
	signaled bool   // a hot-plug event is being signalled
	control  uint32 // the slot control register as last acted on
	inReset  bool   // the secondary bus is held in reset
}

// PortConfig describes a root port.
type PortConfig struct {
	Name    string
	Slot    int  // physical slot number, unique in the machine, 1 to 8191
	HotPlug bool // devices can come and go while the guest runs
	// Pin is the INTx pin used without MSI, 1 to 4. Port n of a machine usually
	// takes the pin of its function number plus one.
	Pin uint8
}

// NewRootPort returns a root port with an empty slot. It is the generic root
// port (1b36:000c) that guests know from other machines.
func NewRootPort(c PortConfig) *RootPort {
	f := newFunction(c.Name, Identity{Vendor: 0x1b36, Device: 0x000c, Class: 0x060400, Pin: c.Pin}, 2)
	p := &RootPort{Function: f, hotPlug: c.HotPlug}
	f.bridge = p
	p.secondary.port = p
	f.OnReset(p.Reset)
	p.initBridge()
	f.AddPM()
	f.AddMSI(1, true, false)
	f.addExpress(RootPortType, expFlagsSlot)
	f.AddCapability(CapSSVID, []byte{0, 0, 0x36, 0x1b, 0, 0}, nil)
	if c.Slot < 0 || c.Slot > 8191 {
		f.fail("slot number %d: must be 0 to 8191", c.Slot)
	}
	if f.err != nil {
		return p
	}
	x := f.express
	slot := uint32(c.Slot) << 19
	writable := uint32(0)
	if c.HotPlug {
		slot |= slotCapButton | slotCapPower | slotCapAttention | slotCapPowerLED | slotCapHotPlug
		writable = slotButton | slotPresence | slotCommand | slotCtlHPIE | slotCtlLEDs | slotCtlPower | slotCtlLink
	}
	f.preset32(x+expSlotCap, slot)
	f.preset32(x+expLinkCap, f.get(x+expLinkCap, 4)|linkCapActive)
	f.Preset(x+expSlotCtl, 2, 0, writable)
	f.w1c[x+expSlotSta], f.w1c[x+expSlotSta+1] = 0x1f, slotStaLink>>8
	f.wmask[x+expRootCtl] = 0x0f
	f.w1c[x+expRootSta+2] = 1 // PME status
	f.HookConfig(x+expSlotCtl, 4, ConfigHook{Written: func(off, size int) {
		f.mu.Lock()
		control := f.get(x+expSlotCtl, 2)
		turned := p.control ^ control
		p.control = control
		f.mu.Unlock()
		p.slotWritten(off < x+expSlotCtl+2, control, turned)
	}})
	p.settle()
	return p
}

// Secondary is the bus behind the port. Devices get there by
// [RootPort.Populate] and [RootPort.Plug], which also keep the slot's
// registers.
func (p *RootPort) Secondary() *Bus { return &p.secondary }

// up tells whether the link to the slot works. The caller holds Function.mu.
func (p *RootPort) up() bool {
	return p.get(p.express+expSlotSta, 2)&slotStaPDS != 0 &&
		p.get(p.express+expSlotCtl, 2)&slotCtlPower == 0
}

func (p *RootPort) linkUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up()
}

// settle puts the slot into the state after reset: power follows presence, and
// nothing has happened. The caller holds Function.mu or owns p.
func (p *RootPort) settle() {
	x := p.express
	present := p.get(x+expSlotSta, 2) & slotStaPDS
	p.put(x+expSlotSta, 2, present)
	if p.hotPlug {
		control := uint32(slotCtlLEDOff | slotCtlPower)
		if present != 0 {
			control = slotCtlLEDOn
		}
		p.put(x+expSlotCtl, 2, control)
		p.control = control
	}
	p.inReset = false
	p.trainLink()
	p.event(0)
}

// trainLink shows the link's state. The caller holds Function.mu.
func (p *RootPort) trainLink() (changed bool) {
	x := p.express
	old := p.get(x+expLinkSta, 2)
	v := old &^ linkStaActive
	if p.up() {
		v |= linkStaActive
	}
	p.put(x+expLinkSta, 2, v)
	return v != old
}

// event records slot events and brings the interrupt up to date: a message when
// the first enabled event occurs, or the pin while there is one (PCI Express,
// section 6.7.3.4). The caller holds Function.mu.
func (p *RootPort) event(events uint32) {
	x := p.express
	status := p.get(x+expSlotSta, 2) | events
	p.put(x+expSlotSta, 2, status)
	control := p.get(x+expSlotCtl, 2)
	on := control&slotCtlHPIE != 0 &&
		(status&control&(slotButton|slotPresence|slotCommand) != 0 || status&slotStaLink != 0 && control&slotCtlLink != 0)
	rise := on && !p.signaled
	p.signaled = on
	p.level = on
	p.setStatusInterrupt()
	p.driveINTx()
	if rise && p.msi.enabled() {
		p.msi.send(0)
	}
}

// slotWritten follows a guest's write to the slot registers.
func (p *RootPort) slotWritten(command bool, control, turned uint32) {
	if !p.hotPlug {
		return
	}
	p.mu.Lock()
	var done func()
	powered := turned&slotCtlPower != 0
	off := control&slotCtlPower != 0
	if powered && off && p.removal != nil {
		done, p.removal = p.removal, nil
	}
	p.mu.Unlock()

	if done != nil {
		p.empty()
	} else if powered && !off {
		p.secondary.reset((*Function).busReset)
	}
	p.mu.Lock()
	events := uint32(0)
	if command {
		events |= slotCommand
	}
	if p.trainLink() {
		events |= slotStaLink
	}
	if done != nil {
		events |= slotPresence
	}
	p.event(events)
	p.mu.Unlock()
	if powered {
		p.remap()
	}
	if done != nil {
		done()
	}
}

// fill puts a device's functions on the secondary bus.
func (p *RootPort) fill(fns []*Function) error {
	at := p.at.Load()
	if at == nil {
		return fmt.Errorf("pci: %s is not on a bus; add the port before its device", p.name)
	}
	if len(fns) == 0 || len(fns) > 8 {
		return fmt.Errorf("pci: %s: a device has 1 to 8 functions, not %d", p.name, len(fns))
	}
	h := at.bus.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range p.secondary.fns {
		if f != nil {
			return fmt.Errorf("pci: slot of %s is taken by %s; unplug that first", p.name, f.name)
		}
	}
	for i, f := range fns {
		if err := p.secondary.add(0, i, f); err != nil {
			for _, g := range fns[:i] {
				p.secondary.remove(g)
			}
			return err
		}
	}
	return nil
}

// empty takes the device off the secondary bus.
func (p *RootPort) empty() {
	for _, f := range p.secondary.Functions() {
		p.secondary.Remove(f)
	}
	p.mu.Lock()
	x := p.express + expSlotSta
	p.put(x, 2, p.get(x, 2)&^slotStaPDS)
	p.mu.Unlock()
}

// Populate puts a device's functions, numbered from 0, into the slot of a
// machine that is not running: the slot has power and no event is signalled.
func (p *RootPort) Populate(fns ...*Function) error {
	if err := p.fill(fns); err != nil {
		return err
	}
	p.mu.Lock()
	p.put(p.express+expSlotSta, 2, slotStaPDS)
	p.settle()
	p.mu.Unlock()
	p.remap()
	return nil
}

// Plug puts a device's functions, numbered from 0, into the slot of a running
// machine and tells the guest, also by the slot's attention button: guests
// with a button to wait for look at nothing else. The functions are reachable
// when the guest has turned the slot's power on.
func (p *RootPort) Plug(fns ...*Function) error {
	if !p.hotPlug {
		return fmt.Errorf("pci: %s cannot be plugged into while the guest runs: its slot has no hot-plug", p.name)
	}
	if err := p.fill(fns); err != nil {
		return err
	}
	p.mu.Lock()
	x := p.express + expSlotSta
	p.put(x, 2, p.get(x, 2)|slotStaPDS)
	events := uint32(slotPresence | slotButton)
	if p.trainLink() {
		events |= slotStaLink
	}
	p.event(events)
	p.mu.Unlock()
	p.remap()
	return nil
}

// Unplug asks the guest to let the device go, as by pressing the slot's
// attention button. Once the guest has turned the power off, the device is
// taken off the bus and done is called, with no lock held. A reset of the
// machine has the same effect. A guest may take seconds, or never answer: see
// [RootPort.Eject].
func (p *RootPort) Unplug(done func()) error {
	if done == nil {
		done = func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.hotPlug:
		return fmt.Errorf("pci: the device in %s cannot be unplugged: its slot has no hot-plug", p.name)
	case p.get(p.express+expSlotSta, 2)&slotStaPDS == 0:
		return fmt.Errorf("pci: the slot of %s is empty", p.name)
	case p.removal != nil:
		return fmt.Errorf("pci: the guest has been asked to let the device in %s go already", p.name)
	}
	p.removal = done
	p.event(slotButton)
	return nil
}

// Eject takes the device out of the slot at once and tells the guest
// afterwards. The done function of an Unplug under way is called.
func (p *RootPort) Eject() {
	p.mu.Lock()
	done := p.removal
	p.removal = nil
	present := p.get(p.express+expSlotSta, 2)&slotStaPDS != 0
	p.mu.Unlock()
	if !present {
		return
	}
	p.empty()
	p.mu.Lock()
	events := uint32(slotPresence)
	if p.trainLink() {
		events |= slotStaLink
	}
	p.event(events)
	p.mu.Unlock()
	if done != nil {
		done()
	}
}

// Reset puts the port into its state after power-on. A device that the guest
// was asked to let go is taken out.
func (p *RootPort) Reset() {
	p.mu.Lock()
	done := p.removal
	p.removal = nil
	p.mu.Unlock()
	if done != nil {
		p.empty()
	}
	p.mu.Lock()
	present := p.get(p.express+expSlotSta, 2) & slotStaPDS
	p.mu.Unlock()
	p.Function.Reset()
	p.mu.Lock()
	p.put(p.express+expSlotSta, 2, present)
	p.settle()
	p.mu.Unlock()
	p.remap()
	if done != nil {
		done()
	}
}
