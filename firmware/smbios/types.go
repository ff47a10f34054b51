package smbios

import "fmt"

// firmware is type 0, BIOS information (section 7.1).
func (c *Config) firmware() *structure {
	s := newStructure(0, handleFirmware)
	s.str(c.FirmwareVendor)
	s.str(c.FirmwareVersion)
	s.u16(0xe800) // segment
	s.str(c.FirmwareDate)
	s.u8(0)       // ROM size: 64 KiB
	s.u64(1 << 3) // characteristics are not supported
	virtual := byte(1 << 4)
	if c.UEFI {
		virtual |= 1 << 3
	}
	s.u8(0, virtual)
	s.u8(0, 0)       // release
	s.u8(0xff, 0xff) // there is no embedded controller
	s.u16(0)         // extended ROM size
	return s
}

// system is type 1, system information (section 7.2).
func (c *Config) system() *structure {
	s := newStructure(1, handleSystem)
	s.str(c.Manufacturer)
	s.str(c.Product)
	s.str(c.Version)
	s.str(c.Serial)
	// The first three fields of the UUID are little-endian (section 7.2.1).
	u := c.UUID
	s.u8(u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6])
	s.u8(u[8:]...)
	s.u8(6) // woken by the power switch
	s.str(c.SKU)
	s.str(c.Family)
	return s
}

// chassis is type 3 (section 7.4).
func (c *Config) chassis() *structure {
	s := newStructure(3, handleChassis)
	s.str(c.Manufacturer)
	s.u8(1) // other
	s.str(c.Version)
	s.str(c.Serial)
	s.str("")
	s.u8(3, 3, 3) // boot-up, power supply and thermal state: safe
	s.u8(2)       // security: unknown
	s.u32(0)
	s.u8(0, 0) // height and power cords are not said
	s.u8(0, 0) // no contained elements
	s.str(c.SKU)
	return s
}

// processor is type 4 (section 7.5).
func (c *Config) processor(i int) *structure {
	p := &c.CPU
	s := newStructure(4, handleCPU+uint16(i))
	s.str(fmt.Sprintf("CPU %d", i))
	s.u8(3) // central processor
	s.u8(1) // family: other
	s.str(p.Manufacturer)
	s.u32(p.Signature)
	s.u32(p.Features)
	s.str(p.Version)
	s.u8(0)      // voltage
	s.u16(0)     // external clock: unknown
	s.u16(p.MHz) // max
	s.u16(p.MHz) // current
	s.u8(0x41)   // populated, enabled
	s.u8(1)      // upgrade: other
	s.u16(noHandle)
	s.u16(noHandle)
	s.u16(noHandle)
	s.str("")
	s.str("")
	s.str("")
	s.u8(count8(p.Cores), count8(p.Cores), count8(p.Threads))
	ability := uint16(1 << 2) // 64 bits
	if p.Cores > 1 {
		ability |= 1 << 3
	}
	if p.Threads > p.Cores {
		ability |= 1 << 4
	}
	s.u16(ability)
	s.u16(1) // family 2: other
	s.u16(uint16(p.Cores))
	s.u16(uint16(p.Cores))
	s.u16(uint16(p.Threads))
	return s
}

// count8 is n in a byte, where 255 says to look at the 16-bit field.
func count8(n int) byte { return byte(min(n, 255)) }

// array is type 16, physical memory array (section 7.17).
func (c *Config) array(devices int) *structure {
	s := newStructure(16, handleArray)
	s.u8(1) // location: other
	s.u8(3) // system memory
	s.u8(6) // error correction: multi-bit, as hosts have
	const extended = 0x80000000
	if kib := c.total() >> 10; kib < extended {
		s.u32(uint32(kib))
		s.u16(unknownHandle)
		s.u16(uint16(devices))
		s.u64(0)
		return s
	}
	s.u32(extended)
	s.u16(unknownHandle)
	s.u16(uint16(devices))
	s.u64(c.total())
	return s
}

// deviceSizes splits the memory into modules of at most 16 GiB.
func (c *Config) deviceSizes() []uint64 {
	const module = 16 << 30
	rest, size := c.total(), uint64(module)
	for rest/size >= 256 {
		size *= 2
	}
	var out []uint64
	for rest > 0 {
		n := min(rest, size)
		out = append(out, n)
		rest -= n
	}
	return out
}

// device is type 17, memory device (section 7.18).
func (c *Config) device(i int, size uint64) *structure {
	s := newStructure(17, handleDevice+uint16(i))
	s.u16(handleArray)
	s.u16(unknownHandle)
	s.u16(noWidth) // total
	s.u16(noWidth) // data
	const extended = 0x7fff
	mib := size >> 20
	switch {
	case size&(1<<20-1) != 0 && size>>10 < 0x8000:
		s.u16(0x8000 | uint16(size>>10)) // in KiB
	case mib < extended:
		s.u16(uint16(mib))
	default:
		s.u16(extended)
	}
	s.u8(9) // DIMM
	s.u8(0) // not of a set
	s.str(fmt.Sprintf("DIMM %d", i))
	s.str("")
	s.u8(7)       // RAM
	s.u16(1 << 1) // detail: other
	s.u16(0)      // speed: unknown
	s.str(c.Manufacturer)
	s.str("")
	s.str("")
	s.str("")
	s.u8(0) // attributes
	if mib < extended {
		s.u32(0)
	} else {
		s.u32(uint32(mib))
	}
	s.u16(0) // configured speed
	s.u16(0) // voltages: unknown
	s.u16(0)
	s.u16(0)
	return s
}

const noWidth = 0xffff

// mapped is type 19, memory array mapped address (section 7.20).
func (c *Config) mapped(i int, r Range, devices int) *structure {
	s := newStructure(19, handleMapped+uint16(i))
	const extended = 0xffffffff
	first, last := r.Addr>>10, (r.Addr+r.Size)>>10-1
	fits := last < extended
	if fits {
		s.u32(uint32(first))
		s.u32(uint32(last))
	} else {
		s.u32(extended)
		s.u32(extended)
	}
	s.u16(handleArray)
	s.u8(byte(min(devices, 255))) // partition width
	if fits {
		s.u64(0)
		s.u64(0)
	} else {
		s.u64(r.Addr)
		s.u64(r.Addr + r.Size - 1)
	}
	return s
}
