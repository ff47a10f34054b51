// Package hpet is the high precision event timer: a 64-bit counter of 100 MHz
// and comparators that interrupt through the I/O APIC, by message, or in place
// of the PIT and the RTC ("legacy replacement").
//
// Specifications: IA-PC HPET 1.0a; Intel ICH9 datasheet (316972), section 20.
package hpet

import (
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
)

// Where PCs have the HPET, in memory.
const (
	Base = 0xfed0_0000
	Size = 0x400
)

// Period is the main counter's period in nanoseconds.
const Period = 10

// Numbers of timers.
const (
	DefaultTimers = 3
	MaxTimers     = 24 // that fit in Size
)

// minGap is the least time in nanoseconds between two wake-ups of a timer, so
// that a guest with a tiny period does not keep the host from anything else.
const minGap = 20_000

const femto = 1_000_000 // femtoseconds in a nanosecond

// routes are the I/O APIC inputs that a timer may interrupt through: 20 to 23,
// and 11 for timer 2.
const (
	routesAll = 0xf << 20
	routes2   = 1 << 11
	numRoutes = 24
)

// Config says what the HPET is connected to.
type Config struct {
	Name   string        // unit name; "hpet" if empty
	Timers int           // DefaultTimers if 0; 3 to MaxTimers
	Clock  devices.Clock // required
	// Lines are the I/O APIC's inputs by number. Missing and nil lines are not
	// connected. Inputs 20 to 23 are level-triggered and shared with other
	// devices where guests set them up so.
	Lines []devices.Line
	// IRQ0 and IRQ8 are the inputs that legacy replacement takes away from PIT
	// and RTC, which are connected to [Device.PITLine] and [Device.RTCLine].
	IRQ0, IRQ8 devices.Line
	MSI        devices.MSI // nil: timers do not offer interrupts by message
}

// A Device is an HPET. Its methods may be called concurrently.
type Device struct {
	name    string
	clock   devices.Clock
	msi     devices.MSI
	lines   [numRoutes]devices.Line
	legacy  [2]devices.Line // IRQ0, IRQ8
	wakeups []devices.Timer

	mu    sync.Mutex
	state state

	mmio regs.Block
}

var (
	_ devices.Device = (*Device)(nil)
	_ devices.Saver  = (*Device)(nil)
)

type state struct {
	Conf   uint64
	Status uint64 // level-triggered interrupts that are asserted
	Count  uint64 // main counter at Since; the main counter while halted
	Since  int64  // clock's time, in nanoseconds
	Timers []timer
	Inputs [2]bool // levels of PITLine and RTCLine
}

// New returns a halted HPET.
func New(c Config) *Device {
	d := &Device{name: c.Name, clock: c.Clock, msi: c.MSI, legacy: [2]devices.Line{c.IRQ0, c.IRQ8}}
	if d.name == "" {
		d.name = "hpet"
	}
	for i := range d.lines {
		d.lines[i] = devices.NoLine
		if i < len(c.Lines) && c.Lines[i] != nil {
			d.lines[i] = c.Lines[i]
		}
	}
	for i, l := range d.legacy {
		if l == nil {
			d.legacy[i] = devices.NoLine
		}
	}
	n := c.Timers
	if n == 0 {
		n = DefaultTimers
	}
	n = min(max(n, 3), MaxTimers)
	d.state.Timers = make([]timer, n)
	for i := range n {
		d.wakeups = append(d.wakeups, d.clock.NewTimer(func() { d.expire(i) }))
	}
	d.mmio = regs.Block{Bank: newBank(n), Dev: d}
	d.Reset()
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device].
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	timers := d.state.Timers
	for i := range timers {
		timers[i] = timer{Comp: ^uint64(0), Due: never}
		d.wakeups[i].Stop()
	}
	d.state = state{Timers: timers, Inputs: d.state.Inputs}
	d.drive()
}

// Registers is the register file, for [Base].
func (d *Device) Registers() devices.Region { return &d.mmio }

// CapID is the value of the capabilities register; its low half is the event
// timer block ID that the ACPI table wants.
func (d *Device) CapID() uint64 {
	return uint64(Period*femto)<<32 | capVendor | capLegacy | capCounter64 |
		uint64(len(d.wakeups)-1)<<8 | capRevision
}

// PITLine is what the PIT drives in place of IRQ 0.
func (d *Device) PITLine() devices.Line { return d.input(0) }

// RTCLine is what the RTC drives in place of IRQ 8.
func (d *Device) RTCLine() devices.Line { return d.input(1) }

func (d *Device) input(i int) devices.Line {
	return devices.LineFunc(func(level bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.state.Inputs[i] = level
		if d.state.Conf&confLegacy == 0 {
			d.legacy[i].Set(level)
		}
	})
}

func (d *Device) running() bool { return d.state.Conf&confEnable != 0 }

// count is the main counter at the clock's time now.
func (d *Device) count(now int64) uint64 {
	s := &d.state
	if !d.running() {
		return s.Count
	}
	return s.Count + uint64(now-s.Since)/Period
}

// schedule sets timer i for its next match from now on.
func (d *Device) schedule(i int, now int64) {
	t := &d.state.Timers[i]
	if !d.running() {
		t.Due = never
		d.wakeups[i].Stop()
		return
	}
	// Matches fall on the counter's ticks, whatever moment the guest writes at.
	t.schedule(d.count(now), now-(now-d.state.Since)%Period)
	d.arm(i, now)
}

// arm wakes the host for timer i's next match. The matches of a timer that may
// not interrupt are worked out when the guest looks.
func (d *Device) arm(i int, now int64) {
	t := &d.state.Timers[i]
	if at := t.wake(now); at != never && t.Conf&timEnable != 0 {
		d.wakeups[i].Set(at)
	} else {
		d.wakeups[i].Stop()
	}
}

// expire runs when timer i may be due.
func (d *Device) expire(i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	d.catchUp(i, now)
	if d.running() {
		d.arm(i, now)
	}
}

// catchUp delivers the matches of timer i up to now as one interrupt.
func (d *Device) catchUp(i int, now int64) {
	t := &d.state.Timers[i]
	if !d.running() || now < t.Due {
		return
	}
	t.advance(now)
	if t.Conf&timLevel != 0 {
		d.state.Status |= 1 << i
		if t.Conf&(timEnable|timFSB) == timEnable {
			d.drive()
		}
	}
	if t.Conf&timEnable == 0 {
		return
	}
	switch {
	case t.Conf&timFSB != 0:
		if d.msi != nil {
			d.msi.SendMSI(t.FSB>>32, uint32(t.FSB))
		}
	case t.Conf&timLevel == 0:
		l := d.line(i)
		l.Set(true)
		l.Set(false)
	}
}

// line is where timer i interrupts.
func (d *Device) line(i int) devices.Line {
	if d.state.Conf&confLegacy != 0 && i < len(d.legacy) {
		return d.legacy[i]
	}
	route := d.state.Timers[i].Conf & timRouteMask >> timRouteShift
	if d.routes(i)>>route&1 == 0 {
		return devices.NoLine
	}
	return d.lines[route]
}

func (d *Device) routes(i int) uint64 {
	if i == 2 {
		return routesAll | routes2
	}
	return routesAll
}

// drive sets all lines to what the level-triggered timers ask for.
func (d *Device) drive() {
	var levels uint64
	var legacy [2]bool
	replaced := d.state.Conf&confLegacy != 0
	for i := range d.state.Timers {
		t := &d.state.Timers[i]
		if d.state.Status>>i&1 == 0 || t.Conf&(timEnable|timLevel|timFSB) != timEnable|timLevel || !d.running() {
			continue
		}
		if replaced && i < len(legacy) {
			legacy[i] = true
		} else {
			levels |= 1 << (t.Conf & timRouteMask >> timRouteShift) & d.routes(i)
		}
	}
	for n, l := range d.lines {
		if (routesAll|routes2)>>n&1 != 0 {
			l.Set(levels>>n&1 != 0)
		}
	}
	if !replaced {
		legacy = d.state.Inputs
	}
	for i, l := range d.legacy {
		l.Set(legacy[i])
	}
}

// ReadRegister implements [devices.Registers].
func (d *Device) ReadRegister(r devices.Reg, _ uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	switch r.ID {
	case regCapID:
		return d.CapID()
	case regConfig:
		return s.Conf
	case regStatus:
		for i := range s.Timers {
			d.catchUp(i, d.clock.Now())
		}
		return s.Status
	case regCounter:
		return d.count(d.clock.Now())
	}
	t := &s.Timers[r.Index]
	switch r.ID {
	case regTimerConfig:
		v := t.Conf | timPerCap | timSize64 | d.routes(r.Index)<<32
		if d.msi != nil {
			v |= timFSBCap
		}
		return v
	case regTimerComparator:
		d.catchUp(r.Index, d.clock.Now())
		return t.Comp
	}
	return t.FSB
}

// WriteRegister implements [devices.Registers].
func (d *Device) WriteRegister(r devices.Reg, v, mask uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, now := &d.state, d.clock.Now()
	for i := range s.Timers {
		d.catchUp(i, now)
	}
	switch r.ID {
	case regConfig:
		d.configure(s.Conf&^mask|v, now)
	case regStatus:
		s.Status &^= v
		d.drive()
	case regCounter:
		s.Count, s.Since = d.count(now)&^mask|v, now
		for i := range s.Timers {
			d.schedule(i, now)
		}
	case regTimerConfig:
		d.configureTimer(r.Index, v, mask, now)
	case regTimerComparator:
		s.Timers[r.Index].writeComp(v, mask)
		d.schedule(r.Index, now)
	case regTimerFSB:
		s.Timers[r.Index].FSB = s.Timers[r.Index].FSB&^mask | v
	}
}

// configure starts and halts the main counter and routes IRQ 0 and 8.
func (d *Device) configure(v uint64, now int64) {
	s := &d.state
	s.Count, s.Since = d.count(now), now
	s.Conf = v & (confEnable | confLegacy)
	for i := range s.Timers {
		d.schedule(i, now)
	}
	d.drive()
}

func (d *Device) configureTimer(i int, v, mask uint64, now int64) {
	t := &d.state.Timers[i]
	may := uint64(timWritable)
	if d.msi != nil {
		may |= timFSB
	}
	may &= mask
	old := t.Conf
	t.Conf = t.Conf&^may | v&may
	t.Comp &= t.mask()
	t.Period &= t.mask()
	if t.Conf&timLevel == 0 {
		d.state.Status &^= 1 << i
	}
	switch changed := old ^ t.Conf; {
	case changed&(timPeriodic|tim32) != 0:
		d.schedule(i, now)
	case changed&timEnable != 0 && d.running():
		d.arm(i, now)
	}
	d.drive()
}

const stateVersion = 1

// SaveState implements [devices.Saver].
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return regs.Save(stateVersion, d.state)
}

// RestoreState implements [devices.Saver]. The clock must have been restored.
func (d *Device) RestoreState(p []byte) error {
	var s state
	if err := regs.Restore(d.name, p, stateVersion, &s); err != nil {
		return err
	}
	now := d.clock.Now()
	if len(s.Timers) != len(d.wakeups) {
		return regs.Invalid(d.name, "number of timers", len(s.Timers))
	}
	if s.Since < 0 || s.Since > now {
		return regs.Invalid(d.name, "Since", s.Since)
	}
	for i := range s.Timers {
		if t := &s.Timers[i]; t.Due < 0 {
			return regs.Invalid(d.name, "Due", t.Due)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = s
	for i := range s.Timers {
		if d.running() {
			d.arm(i, now)
		}
	}
	d.drive()
	return nil
}
