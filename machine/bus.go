package machine

import (
	"dfemu/devices"
)

// bus is one processor's way to ports and memory-mapped I/O. It implements
// cpu.Bus.
type bus struct {
	ports *devices.Space
	mmio  *devices.Space
}

// In implements cpu.Bus. A wide access that no single device answers is split
// into bytes, as the ISA bus does.
func (b *bus) In(port uint16, size int) uint32 {
	if size > 1 && b.ports.Find(uint64(port), size) == nil {
		var v uint32
		for i := range size {
			v |= uint32(b.ports.Read(uint64(port+uint16(i)), 1)) << (8 * i)
		}
		return v
	}
	return uint32(b.ports.Read(uint64(port), size))
}

// Out implements cpu.Bus.
func (b *bus) Out(port uint16, size int, v uint32) {
	if size > 1 && b.ports.Find(uint64(port), size) == nil {
		for i := range size {
			b.ports.Write(uint64(port+uint16(i)), 1, uint64(v>>(8*i)))
		}
		return
	}
	b.ports.Write(uint64(port), size, uint64(v))
}

// Read implements cpu.Bus.
func (b *bus) Read(gpa uint64, size int) uint64 { return b.mmio.Read(gpa, size) }

// Write implements cpu.Bus.
func (b *bus) Write(gpa uint64, size int, v uint64) { b.mmio.Write(gpa, size, v) }
