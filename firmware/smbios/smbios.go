// Package smbios builds the System Management BIOS tables: what a machine says
// of itself to the people who administer it (DMTF DSP0134, version 3.6).
//
// [Build] turns a [Config] into structures. They are then placed in guest
// memory by [Tables.Place], or handed to firmware as the two fw_cfg files of
// [Tables.FwCfg]. Nothing keeps state.
package smbios

import (
	"encoding/binary"
	"fmt"
)

// Config is the machine as the tables are to describe it. Strings that are
// empty are left out of the tables.
type Config struct {
	// Firmware is type 0.
	FirmwareVendor, FirmwareVersion string
	// FirmwareDate is in the form mm/dd/yyyy.
	FirmwareDate string
	// UEFI says that the firmware supports the UEFI specification.
	UEFI bool

	// Manufacturer, Product, Version, Serial, SKU and Family are types 1 and,
	// in part, 3.
	Manufacturer, Product, Version, Serial, SKU, Family string
	// UUID is the system's, in the order in which it is written as text.
	UUID [16]byte

	// CPU is type 4, once for each socket.
	CPU CPU

	// RAM are the ranges of memory, types 17 and 19; at most 256 ranges, each
	// a multiple of 1 MiB but for what type 19 can say in KiB.
	RAM []Range
}

// CPU describes the processors.
type CPU struct {
	// Sockets, and Cores and Threads (not per core, but all) of each.
	Sockets, Cores, Threads int
	// Manufacturer and Version are strings.
	Manufacturer, Version string
	// Signature is CPUID leaf 1, EAX, and Features its EDX.
	Signature, Features uint32
	// MHz is the clock.
	MHz uint16
}

// Range is a range of physical memory in bytes.
type Range struct{ Addr, Size uint64 }

// Tables are the structures without an entry point.
type Tables struct {
	data    []byte
	count   int
	largest int
}

// Handles of the structures, by type, as other monitors number them.
const (
	handleFirmware  = 0x0000
	handleSystem    = 0x0100
	handleChassis   = 0x0300
	handleCPU       = 0x0400
	handleArray     = 0x1000
	handleDevice    = 0x1100
	handleMapped    = 0x1300
	handleBoot      = 0x2000
	handleEnd       = 0x7f00
	unknownHandle   = 0xfffe // no error information is provided
	noHandle        = 0xffff
	maxRanges       = 256
	maxSockets      = 256
	maxStringLength = 255
)

// structure collects one structure: its formatted part and its strings.
type structure struct {
	b       []byte
	strings []string
}

func newStructure(typ uint8, handle uint16) *structure {
	s := &structure{}
	s.u8(typ, 0)
	s.u16(handle)
	return s
}

func (s *structure) u8(v ...byte) { s.b = append(s.b, v...) }
func (s *structure) u16(v uint16) { s.b = binary.LittleEndian.AppendUint16(s.b, v) }
func (s *structure) u32(v uint32) { s.b = binary.LittleEndian.AppendUint32(s.b, v) }
func (s *structure) u64(v uint64) { s.b = binary.LittleEndian.AppendUint64(s.b, v) }

// str appends the number of a string; zero stands for none.
func (s *structure) str(v string) {
	if v == "" {
		s.u8(0)
		return
	}
	s.strings = append(s.strings, v)
	s.u8(byte(len(s.strings)))
}

func (t *Tables) add(s *structure) {
	s.b[1] = byte(len(s.b))
	start := len(t.data)
	t.data = append(t.data, s.b...)
	for _, v := range s.strings {
		t.data = append(append(t.data, v...), 0)
	}
	if len(s.strings) == 0 {
		t.data = append(t.data, 0)
	}
	t.data = append(t.data, 0)
	t.largest = max(t.largest, len(t.data)-start)
	t.count++
}

func (c *Config) check() error {
	for _, f := range []struct{ name, v string }{
		{"FirmwareVendor", c.FirmwareVendor}, {"FirmwareVersion", c.FirmwareVersion}, {"FirmwareDate", c.FirmwareDate},
		{"Manufacturer", c.Manufacturer}, {"Product", c.Product}, {"Version", c.Version}, {"Serial", c.Serial},
		{"SKU", c.SKU}, {"Family", c.Family},
		{"CPU.Manufacturer", c.CPU.Manufacturer}, {"CPU.Version", c.CPU.Version},
	} {
		if len(f.v) > maxStringLength {
			return fmt.Errorf("smbios: %s has %d bytes, at most %d", f.name, len(f.v), maxStringLength)
		}
		for i := 0; i < len(f.v); i++ {
			if f.v[i] == 0 {
				return fmt.Errorf("smbios: %s holds a zero byte, which ends a string", f.name)
			}
		}
	}
	p := &c.CPU
	if p.Sockets < 1 || p.Sockets > maxSockets {
		return fmt.Errorf("smbios: %d sockets, must be 1 to %d", p.Sockets, maxSockets)
	}
	if p.Cores < 1 || p.Cores > 0xfffe || p.Threads < p.Cores || p.Threads > 0xfffe {
		return fmt.Errorf("smbios: %d cores with %d threads: must be 1 to 65534 and no fewer threads than cores", p.Cores, p.Threads)
	}
	if len(c.RAM) < 1 || len(c.RAM) > maxRanges {
		return fmt.Errorf("smbios: %d ranges of RAM, must be 1 to %d", len(c.RAM), maxRanges)
	}
	for _, r := range c.RAM {
		if r.Size == 0 || r.Addr&1023 != 0 || r.Size&1023 != 0 || r.Addr+r.Size < r.Addr {
			return fmt.Errorf("smbios: RAM of %#x bytes at %#x: must be a multiple of 1 KiB", r.Size, r.Addr)
		}
	}
	if c.total()>>20 > 0x7fffffff {
		return fmt.Errorf("smbios: %#x bytes of RAM are over what a memory device can say", c.total())
	}
	return nil
}

func (c *Config) total() uint64 {
	var n uint64
	for _, r := range c.RAM {
		n += r.Size
	}
	return n
}

// Build makes the structures of a machine.
func Build(c Config) (*Tables, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	t := &Tables{}
	t.add(c.firmware())
	t.add(c.system())
	t.add(c.chassis())
	for i := 0; i < c.CPU.Sockets; i++ {
		t.add(c.processor(i))
	}
	devices := c.deviceSizes()
	t.add(c.array(len(devices)))
	for i, size := range devices {
		t.add(c.device(i, size))
	}
	for i, r := range c.RAM {
		t.add(c.mapped(i, r, len(devices)))
	}
	boot := newStructure(32, handleBoot)
	boot.u8(make([]byte, 7)...) // reserved, and status 0: no errors
	t.add(boot)
	t.add(newStructure(127, handleEnd))
	return t, nil
}
