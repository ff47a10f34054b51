package pc64

import "dfemu/kernel/kern"

// PCI configuration mechanism 1 (PCI Local Bus 3.0, section 3.2.2.3.2): an address, then data, which is how the first 256 bytes are reached where they are
// not in memory.
const (
	pciAddress = 0xcf8
	pciData    = 0xcfc
	pciEnable  = 1 << 31
	pciSize    = 256
	pciWrite   = 1 << 40 // of the argument of kernelConfig
	pciBytes   = 32      // where the size is in it
)

// configAccess is an access to configuration space, with interrupts off; arg is the address, with the size and whether it is a write. The lock is that of
// memory, which is never held for long.
func configAccess(arg, v uint64) uint64 {
	a := uint32(arg)
	lockVM()
	defer unlockVM()
	out32(pciAddress, a&^3)
	port := uint16(pciData + a&3)
	switch size := arg >> pciBytes & 7; {
	case arg&pciWrite == 0 && size == 1:
		return uint64(in8(port))
	case arg&pciWrite == 0 && size == 2:
		return uint64(in16(port))
	case arg&pciWrite == 0:
		return uint64(in32(port))
	case size == 1:
		out8(port, uint8(v))
	case size == 2:
		out16(port, uint16(v))
	default:
		out32(port, uint32(v))
	}
	return 0
}

// ConfigPorts returns what reaches the configuration space of a function, or nil where the machine has no such ports.
func (*Platform) ConfigPorts() func(bus, slot, fn uint8) kern.Registers {
	if r, _ := kcall(kernelConfig, pciEnable|4<<pciBytes, 0, 0); uint32(r) == 0xffffffff || uint32(r) == 0 {
		return nil // no host bridge answers
	}
	return func(bus, slot, fn uint8) kern.Registers {
		return portConfig(pciEnable | uint32(bus)<<16 | uint32(slot&31)<<11 | uint32(fn&7)<<8)
	}
}

// portConfig is the configuration space of a function.
type portConfig uint32

func (p portConfig) access(off, size, v, write uint64) uint64 {
	if off >= pciSize || off&(size-1) != 0 {
		return 1<<64 - 1 // nothing is there
	}
	r, _ := kcall(kernelConfig, uint64(p)|off|size<<pciBytes|write, v, 0)
	return r
}

// Size implements kern.Registers, as do the others.
func (portConfig) Size() uint64 { return pciSize }

// Read8 reads a byte.
func (p portConfig) Read8(off uint64) uint8 { return uint8(p.access(off, 1, 0, 0)) }

// Read16 reads two bytes.
func (p portConfig) Read16(off uint64) uint16 { return uint16(p.access(off, 2, 0, 0)) }

// Read32 reads four bytes.
func (p portConfig) Read32(off uint64) uint32 { return uint32(p.access(off, 4, 0, 0)) }

// Read64 reads eight bytes, in two accesses.
func (p portConfig) Read64(off uint64) uint64 {
	return p.access(off, 4, 0, 0) | p.access(off+4, 4, 0, 0)<<32
}

// Write8 writes a byte.
func (p portConfig) Write8(off uint64, v uint8) { p.access(off, 1, uint64(v), pciWrite) }

// Write16 writes two bytes.
func (p portConfig) Write16(off uint64, v uint16) { p.access(off, 2, uint64(v), pciWrite) }

// Write32 writes four bytes.
func (p portConfig) Write32(off uint64, v uint32) { p.access(off, 4, uint64(v), pciWrite) }

// Write64 writes eight bytes, in two accesses.
func (p portConfig) Write64(off uint64, v uint64) {
	p.access(off, 4, v, pciWrite)
	p.access(off+4, 4, v>>32, pciWrite)
}

// Registers of the old controllers that say which interrupts are level-triggered: 0 to 7, and 8 to 15.
const elcr = 0x4d0

// LineGSI is the global system interrupt of an ISA interrupt that is level-triggered, as those of PCI's pins are. It is false for others.
func (*Platform) LineGSI(irq uint8) (gsi uint32, ok bool) {
	if irq == 0 || int(irq) >= len(tables.ISA) {
		return 0, false
	}
	level := in8(elcr+uint16(irq/8))>>(irq%8)&1 != 0
	return tables.ISA[irq].GSI, level || tables.ISA[irq].Level
}

// pinLow tells whether a level-triggered global system interrupt is active low: as firmware says of the ISA interrupt that it is, active high if that is as it
// was of old, and low as all others.
func pinLow(gsi uint32) bool {
	for n := range tables.ISA {
		if i := &tables.ISA[n]; i.GSI == gsi {
			return i.ActiveLow
		}
	}
	return true
}
