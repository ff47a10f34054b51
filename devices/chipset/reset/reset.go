// Package reset holds the ports by which software restarts the machine or its
// CPUs, and the A20 gate: the reset control register (0xCF9) and system
// control port A (0x92).
//
// Specification: Intel ICH9 datasheet (316972), sections 13.7.5 (RST_CNT),
// 13.7.3 (PORT92) and 5.12 (A20M#, INIT#).
package reset

import (
	"sync"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
)

// Where PCs have the registers, in the port space. ControlPort lies inside the
// PCI configuration address register (0xCF8, four bytes), so its mapping needs
// the higher priority; an access of four bytes does not fit it and goes to PCI.
// The ACPI FADT names it as the reset register, with ControlHard as the value.
const (
	ControlPort = 0xcf9
	ControlSize = 1
	PortA       = 0x92
	PortASize   = 1
)

// Bits of the reset control register.
const (
	controlSystem = 1 << 1 // hard rather than CPU reset
	controlReset  = 1 << 2 // a rising bit resets
	controlFull   = 1 << 3 // power-cycle as well

	// ControlHard is what to write for a hard reset.
	ControlHard = controlReset | controlSystem
)

// Bits of system control port A.
const (
	portAInit = 1 << 0 // a rising bit initializes the CPU
	portAA20  = 1 << 1
)

// Kind is how much is reset.
type Kind uint8

// Kinds of reset.
const (
	Init Kind = iota // INIT# to all CPUs: memory and devices stay
	Hard             // the whole machine
)

// String names the kind.
func (k Kind) String() string {
	if k == Init {
		return "INIT"
	}
	return "hard reset"
}

// Config says what the registers do. The functions are called without locks,
// on the goroutine of the CPU that wrote; nil ones are left out.
type Config struct {
	Name  string // unit name; "reset" if empty
	Reset func(k Kind)
	// A20 tells the state of the address gate: true lets address bit 20
	// through. It is called on changes.
	A20 func(open bool)
}

// A Device is the pair of registers. Its methods may be called concurrently.
type Device struct {
	name  string
	reset func(Kind)
	a20   func(bool)

	mu    sync.Mutex
	state state

	control, portA regs.Block
}

var (
	_ devices.Device = (*Device)(nil)
	_ devices.Saver  = (*Device)(nil)
)

type state struct {
	Control, PortA uint8
	Keyboard       bool // the keyboard controller's A20 output
}

var (
	controlBank = devices.NewBank("RST_CNT", []devices.Register{{Offset: 0, Size: 1, Name: "RST_CNT", Fields: []devices.Field{
		{Name: "SYS_RST", Lo: 1, Hi: 1}, {Name: "RST_CPU", Lo: 2, Hi: 2}, {Name: "FULL_RST", Lo: 3, Hi: 3}}}})
	portABank = devices.NewBank("PORT92", []devices.Register{{Offset: 0, Size: 1, Name: "PORT92", Fields: []devices.Field{
		{Name: "INIT_NOW", Lo: 0, Hi: 0}, {Name: "ALT_A20_GATE", Lo: 1, Hi: 1}}}})
)

// New returns the registers in their power-on state, with the gate open: the
// keyboard controller comes up with its A20 output high.
func New(c Config) *Device {
	d := &Device{name: c.Name, reset: c.Reset, a20: c.A20}
	if d.name == "" {
		d.name = "reset"
	}
	if d.reset == nil {
		d.reset = func(Kind) {}
	}
	if d.a20 == nil {
		d.a20 = func(bool) {}
	}
	d.control = regs.Block{Bank: controlBank, Dev: regs.Funcs{
		ReadFunc:  func(devices.Reg, uint64) uint64 { return uint64(d.load().Control) },
		WriteFunc: func(_ devices.Reg, v, _ uint64) { d.writeControl(uint8(v)) },
	}}
	d.portA = regs.Block{Bank: portABank, Dev: regs.Funcs{
		ReadFunc:  func(devices.Reg, uint64) uint64 { return uint64(d.load().PortA) },
		WriteFunc: func(_ devices.Reg, v, _ uint64) { d.writePortA(uint8(v)) },
	}}
	d.state.Keyboard = true
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device]. It tells the gate's state again.
func (d *Device) Reset() {
	d.store(func(s *state) { *s = state{Keyboard: true} })
	d.a20(true)
}

// Control is the reset control register, for [ControlPort].
func (d *Device) Control() devices.Region { return &d.control }

// SystemControlA is system control port A, for [PortA].
func (d *Device) SystemControlA() devices.Region { return &d.portA }

// KeyboardA20 is the keyboard controller's A20 output. The gate is open while
// either it or port A's bit is set.
func (d *Device) KeyboardA20(open bool) { d.change(func(s *state) { s.Keyboard = open }) }

func (s state) open() bool { return s.Keyboard || s.PortA&portAA20 != 0 }

func (d *Device) load() state {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

// store changes the state and returns what it was before.
func (d *Device) store(f func(s *state)) (before, after state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before = d.state
	f(&d.state)
	return before, d.state
}

// change changes the state and tells if the gate moved.
func (d *Device) change(f func(s *state)) {
	before, after := d.store(f)
	if before.open() != after.open() {
		d.a20(after.open())
	}
}

func (d *Device) writeControl(v uint8) {
	v &= controlSystem | controlReset | controlFull
	// RST_CPU is not kept, so that every write that sets it is a rising edge.
	d.store(func(s *state) { s.Control = v &^ controlReset })
	if v&controlReset == 0 {
		return
	}
	if v&controlSystem != 0 {
		d.reset(Hard)
	} else {
		d.reset(Init)
	}
}

func (d *Device) writePortA(v uint8) {
	before := d.load().PortA
	d.change(func(s *state) { s.PortA = v & (portAInit | portAA20) })
	if v&^before&portAInit != 0 {
		d.reset(Init)
	}
}

const stateVersion = 1

// SaveState implements [devices.Saver].
func (d *Device) SaveState() ([]byte, error) { return regs.Save(stateVersion, d.load()) }

// RestoreState implements [devices.Saver]. It tells the gate's state.
func (d *Device) RestoreState(p []byte) error {
	var s state
	if err := regs.Restore(d.name, p, stateVersion, &s); err != nil {
		return err
	}
	d.store(func(old *state) { *old = s })
	d.a20(s.open())
	return nil
}
