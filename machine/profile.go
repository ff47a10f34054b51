package machine

import (
	"dfemu/cpu"
	"dfemu/devices"
)

// Exit is an access of a processor to a port, or to memory that is a device's.
type Exit struct {
	CPU   int    // the processor
	RIP   uint64 // the instruction
	Port  bool   // Addr is a port, not guest-physical memory
	Write bool
	Addr  uint64
	Size  int    // bytes
	Name  string // what answers, as "uart0"; "" if nothing does
}

// watchedBus is a bus that tells of each access before it is served.
type watchedBus struct {
	bus  cpu.Bus
	m    *Machine
	id   int
	tell func(Exit)
}

func (b *watchedBus) exit(space *devices.Space, addr uint64, size int, write bool) {
	e := Exit{CPU: b.id, RIP: b.m.acc.VCPU(b.id).RIP(), Port: space == &b.m.pc.ports, Write: write, Addr: addr, Size: size}
	if to := space.Find(addr, size); to != nil {
		e.Name = to.Name
	} else if to := space.Find(addr, 1); to != nil {
		e.Name = to.Name // a wide access to several registers
	}
	b.tell(e)
}

// In implements cpu.Bus.
func (b *watchedBus) In(port uint16, size int) uint32 {
	b.exit(&b.m.pc.ports, uint64(port), size, false)
	return b.bus.In(port, size)
}

// Out implements cpu.Bus.
func (b *watchedBus) Out(port uint16, size int, v uint32) {
	b.exit(&b.m.pc.ports, uint64(port), size, true)
	b.bus.Out(port, size, v)
}

// Read implements cpu.Bus.
func (b *watchedBus) Read(gpa uint64, size int) uint64 {
	b.exit(&b.m.pc.mmio, gpa, size, false)
	return b.bus.Read(gpa, size)
}

// Write implements cpu.Bus.
func (b *watchedBus) Write(gpa uint64, size int, v uint64) {
	b.exit(&b.m.pc.mmio, gpa, size, true)
	b.bus.Write(gpa, size, v)
}

// newBus makes the bus of processor id.
func (m *Machine) newBus(id int) cpu.Bus {
	var to cpu.Bus = &bus{&m.pc.ports, &m.pc.mmio}
	if m.cfg.Watch != nil {
		to = &placedBus{to, m.pc, id}
	}
	if m.cfg.Exit != nil {
		to = &watchedBus{bus: to, m: m, id: id, tell: m.cfg.Exit}
	}
	return to
}

// CPUStats returns the counters of each processor. They are exact when the machine is not running.
func (m *Machine) CPUStats() []cpu.Stats {
	out := make([]cpu.Stats, m.cfg.CPUs)
	for i := range out {
		out[i] = m.acc.VCPU(i).Stats()
	}
	return out
}

// Accel returns the name of what executes the guest.
func (m *Machine) Accel() string { return m.acc.Name() }
