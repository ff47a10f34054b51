// Package ioapic is the I/O APIC: it turns interrupt pins into messages to the
// local APICs.
//
// Specifications: Intel 82093AA datasheet (290566); Intel ICH9 datasheet
// (316972), section 13.5, for the EOI register of version 0x20.
package ioapic

import (
	"fmt"
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
)

// Where PCs have the I/O APIC, in memory.
const (
	Base = 0xfec0_0000
	Size = 0x1000
)

// Version is the version register's low byte: an I/O APIC with an EOI register.
const Version = 0x20

// DefaultPins is the number of pins of a PC's I/O APIC; MaxPins is the most
// that the index register can reach.
const (
	DefaultPins = 24
	MaxPins     = (0x100 - indexTable) / 2
)

// Config says what the I/O APIC is connected to.
type Config struct {
	Name string      // unit name; "ioapic" if empty
	Pins int         // number of pins, DefaultPins if 0, at most MaxPins
	ID   uint8       // the APIC ID it has after reset, 4 bits
	MSI  devices.MSI // takes the interrupt messages
	// ExtendedDestID offers destination IDs of 15 bits: bits 14..8 come from
	// bits 55..49 of the entry and go to bits 11..5 of the address. The machine
	// sets it together with the CPUID bit that tells guests about it.
	ExtendedDestID bool
}

// A Device is an I/O APIC. Its methods may be called concurrently. Messages
// are sent with its lock held, so the receiver must not call EOI on the same
// goroutine.
type Device struct {
	name     string
	msi      devices.MSI
	resetID  uint8
	writable entry

	mu    sync.Mutex
	state state

	mmio regs.Block
}

var (
	_ devices.Device = (*Device)(nil)
	_ devices.Saver  = (*Device)(nil)
)

// state is what software can see or cause.
type state struct {
	Index   uint8
	ID      uint8
	Lines   []bool  // levels of the pins
	Entries []entry // redirection table
}

// Rows of the register table.
const (
	regSelect = iota
	regWindow
	regEOI
)

var bank = devices.NewBank("IOAPIC", []devices.Register{
	regSelect: {Offset: 0x00, Size: 4, Name: "IOREGSEL"},
	regWindow: {Offset: 0x10, Size: 4, Name: "IOWIN"},
	regEOI:    {Offset: 0x40, Size: 4, Name: "EOIR", Rights: devices.WO},
})

// Registers behind the index.
const (
	indexID    = 0x00
	indexVer   = 0x01
	indexArb   = 0x02
	indexTable = 0x10
)

// New returns an I/O APIC with all pins masked.
func New(c Config) *Device {
	d := &Device{name: c.Name, msi: c.MSI, resetID: c.ID & 0xf, writable: writable}
	if d.name == "" {
		d.name = "ioapic"
	}
	if c.ExtendedDestID {
		d.writable |= extDest
	}
	pins := c.Pins
	if pins <= 0 {
		pins = DefaultPins
	}
	pins = min(pins, MaxPins)
	d.state.Lines = make([]bool, pins)
	d.state.Entries = make([]entry, pins)
	d.mmio = regs.Block{Bank: bank, Dev: d, Name: d.registerName}
	d.Reset()
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device]. The pins keep their levels.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Index, d.state.ID = 0, d.resetID
	for i := range d.state.Entries {
		d.state.Entries[i] = masked
	}
}

// Registers is the register file, for [Base].
func (d *Device) Registers() devices.Region { return &d.mmio }

// Pins is the number of pins.
func (d *Device) Pins() int { return len(d.state.Entries) }

// Line returns pin n; numbers out of range are not connected.
func (d *Device) Line(n int) devices.Line {
	if n < 0 || n >= d.Pins() {
		return devices.NoLine
	}
	return devices.LineFunc(func(level bool) { d.set(n, level) })
}

// Entry returns redirection table entry n as software reads it, or a masked
// entry for a pin that does not exist.
func (d *Device) Entry(n int) uint64 {
	if n < 0 || n >= d.Pins() {
		return uint64(masked)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(d.state.Entries[n])
}

// EOI tells that a local APIC has ended the level-triggered interrupt vector.
// Pins that still ask for service send their message again.
func (d *Device) EOI(vector uint8) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := range d.state.Entries {
		e := &d.state.Entries[n]
		if *e&remoteIRR != 0 && *e&vectorMask == entry(vector) {
			*e &^= remoteIRR
			d.serviceLevel(n)
		}
	}
}

// set drives a pin. Edges on a masked pin are lost (82093AA, interrupt mask).
func (d *Device) set(n int, level bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rise := level && !d.state.Lines[n]
	d.state.Lines[n] = level
	e := d.state.Entries[n]
	if e.level() {
		d.serviceLevel(n)
	} else if rise && e&masked == 0 {
		d.send(e)
	}
}

// serviceLevel sends the message of a level-triggered pin that is asserted and
// whose last message has been answered.
func (d *Device) serviceLevel(n int) {
	e := &d.state.Entries[n]
	if e.level() && d.state.Lines[n] && *e&(masked|remoteIRR) == 0 {
		*e |= remoteIRR
		d.send(*e)
	}
}

func (d *Device) send(e entry) {
	if d.msi != nil {
		d.msi.SendMSI(e.message())
	}
}

// ReadRegister implements [devices.Registers].
func (d *Device) ReadRegister(r devices.Reg, _ uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	if r.ID == regSelect {
		return uint64(s.Index)
	}
	switch s.Index {
	case indexID, indexArb:
		return uint64(s.ID) << 24
	case indexVer:
		return Version | uint64(len(s.Entries)-1)<<16
	}
	n, shift, ok := d.selected()
	if !ok {
		return 0
	}
	return uint64(s.Entries[n]) >> shift & 0xffff_ffff
}

// WriteRegister implements [devices.Registers].
func (d *Device) WriteRegister(r devices.Reg, v, mask uint64) {
	if r.ID == regEOI {
		d.EOI(uint8(v))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	if r.ID == regSelect {
		if mask&0xff != 0 {
			s.Index = uint8(v)
		}
		return
	}
	if s.Index == indexID {
		old := uint64(s.ID) << 24
		s.ID = uint8((old&^mask|v)>>24) & 0xf
		return
	}
	n, shift, ok := d.selected()
	if !ok {
		return
	}
	e := &s.Entries[n]
	may := entry(mask<<shift) & d.writable
	*e = *e&^may | entry(v<<shift)&may
	if !e.level() {
		// An edge has no acknowledgement to wait for. Software without an EOI
		// register uses this to clear a stuck Remote IRR.
		*e &^= remoteIRR
	}
	d.serviceLevel(n)
}

// selected returns the entry that the index register points at and which half.
func (d *Device) selected() (n int, shift uint, ok bool) {
	i := int(d.state.Index) - indexTable
	if i < 0 || i/2 >= len(d.state.Entries) {
		return 0, 0, false
	}
	return i / 2, uint(i&1) * 32, true
}

// registerName names what the window shows.
func (d *Device) registerName(r devices.Reg, _ bool) string {
	if r.ID != regWindow {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.state.Index {
	case indexID:
		return "IOAPICID"
	case indexVer:
		return "IOAPICVER"
	case indexArb:
		return "IOAPICARB"
	}
	if n, shift, ok := d.selected(); ok {
		return fmt.Sprintf("IOREDTBL%d[%d:%d]", n, shift+31, shift)
	}
	return ""
}

const stateVersion = 1

// SaveState implements [devices.Saver].
func (d *Device) SaveState() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return regs.Save(stateVersion, d.state)
}

// RestoreState implements [devices.Saver]. It sends no messages: what was sent
// before is part of the local APICs' state.
func (d *Device) RestoreState(p []byte) error {
	var s state
	if err := regs.Restore(d.name, p, stateVersion, &s); err != nil {
		return err
	}
	if len(s.Entries) != d.Pins() || len(s.Lines) != d.Pins() {
		return regs.Invalid(d.name, "number of pins", len(s.Entries))
	}
	s.ID &= 0xf
	for i := range s.Entries {
		s.Entries[i] &= d.writable | remoteIRR
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = s
	return nil
}
