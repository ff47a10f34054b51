// Package pvpanic is the port by which a guest kernel tells that it crashed.
//
// Specification: QEMU's docs/specs/pvpanic.
package pvpanic

import (
	"dfemu/devices"
	"dfemu/devices/chipset/internal/regs"
)

// Where the port is by convention, in the port space.
const (
	Port = 0x505
	Size = 1
)

// Event is a set of things that happened to the guest.
type Event uint8

// Events.
const (
	Panicked    Event = 1 << 0
	CrashLoaded Event = 1 << 1 // it panicked, and its crash kernel takes over

	supported = Panicked | CrashLoaded
)

// String names the events.
func (e Event) String() string {
	switch e & supported {
	case Panicked:
		return "panicked"
	case CrashLoaded:
		return "crash kernel loaded"
	case supported:
		return "panicked, crash kernel loaded"
	}
	return "nothing"
}

// Config says who is told.
type Config struct {
	Name string // unit name; "pvpanic" if empty
	// Event is called without locks on the goroutine of the CPU that wrote,
	// with at least one event.
	Event func(e Event)
}

// A Device is the port. It has no state.
type Device struct {
	name  string
	event func(Event)
	port  regs.Block
}

var _ devices.Device = (*Device)(nil)

var bank = devices.NewBank("PVPANIC", []devices.Register{{Offset: 0, Size: 1, Name: "EVENT", Fields: []devices.Field{
	{Name: "PANICKED", Lo: 0, Hi: 0}, {Name: "CRASH_LOADED", Lo: 1, Hi: 1}}}})

// New returns the port.
func New(c Config) *Device {
	d := &Device{name: c.Name, event: c.Event}
	if d.name == "" {
		d.name = "pvpanic"
	}
	d.port = regs.Block{Bank: bank, Dev: regs.Funcs{
		ReadFunc: func(devices.Reg, uint64) uint64 { return uint64(supported) },
		WriteFunc: func(_ devices.Reg, v, _ uint64) {
			if e := Event(v) & supported; e != 0 && d.event != nil {
				d.event(e)
			}
		},
	}}
	return d
}

// Name implements [devices.Device].
func (d *Device) Name() string { return d.name }

// Reset implements [devices.Device]; there is nothing to reset.
func (d *Device) Reset() {}

// Ports is the register, for [Port]. It reads as the supported events.
func (d *Device) Ports() devices.Region { return &d.port }
