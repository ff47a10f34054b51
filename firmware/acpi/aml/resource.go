package aml

// Resource is one descriptor of a resource template (section 6.4).
type Resource func(e *Encoder)

// ResourceTemplate is the buffer of the descriptors and an end tag.
func ResourceTemplate(rs ...Resource) Term {
	return func(e *Encoder) {
		var in Encoder
		for _, r := range rs {
			if r != nil {
				r(&in)
			}
		}
		// A zero checksum in the end tag says that the template is to be
		// taken as if its checksum were right (section 6.4.2.9).
		in.u8(0x79, 0)
		if in.err != nil {
			if e.err == nil {
				e.err = in.err
			}
			return
		}
		Buffer(in.buf)(e)
	}
}

// IO is a range of I/O ports decoded in 16 bits, with a base from min to max in
// steps of align.
func IO(min, max uint16, align, length uint8) Resource {
	return func(e *Encoder) {
		e.u8(0x47, 0x01)
		e.u16(min)
		e.u16(max)
		e.u8(align, length)
	}
}

// FixedIO is the I/O ports from base, length of them.
func FixedIO(base uint16, length uint8) Resource { return IO(base, base, 1, length) }

// IRQNoFlags is a set of ISA interrupts, edge-triggered and active high.
func IRQNoFlags(irqs ...uint8) Resource {
	return func(e *Encoder) {
		var mask uint16
		for _, n := range irqs {
			if n > 15 {
				e.fail("IRQ %d: ISA interrupts are 0 to 15", n)
				return
			}
			mask |= 1 << n
		}
		e.u8(0x22)
		e.u16(mask)
	}
}

// DMA is a set of ISA DMA channels, 8 bits wide, not a bus master, at
// compatibility speed.
func DMA(channels ...uint8) Resource {
	return func(e *Encoder) {
		var mask uint8
		for _, n := range channels {
			if n > 7 {
				e.fail("DMA channel %d: channels are 0 to 7", n)
				return
			}
			mask |= 1 << n
		}
		e.u8(0x2a, mask, 0)
	}
}

// Memory32Fixed is a fixed range of memory below 4 GiB.
func Memory32Fixed(base, length uint32, writable bool) Resource {
	return func(e *Encoder) {
		e.u8(0x86, 9, 0, flag(writable, 0x01))
		e.u32(base)
		e.u32(length)
	}
}

// IRQFlags describes an Interrupt descriptor's lines.
type IRQFlags uint8

// Interrupt flags (section 6.4.3.6): the zero value is a producer, level
// triggered, active high and exclusive.
const (
	IRQConsumer  IRQFlags = 0x01
	IRQEdge      IRQFlags = 0x02
	IRQActiveLow IRQFlags = 0x04
	IRQShared    IRQFlags = 0x08
	IRQWake      IRQFlags = 0x10
)

// Interrupt is a list of global system interrupts, at most 255.
func Interrupt(flags IRQFlags, gsis ...uint32) Resource {
	return func(e *Encoder) {
		if len(gsis) < 1 || len(gsis) > 255 {
			e.fail("interrupt descriptor with %d interrupts, must be 1 to 255", len(gsis))
			return
		}
		e.u8(0x89)
		e.u16(uint16(2 + 4*len(gsis)))
		e.u8(byte(flags), byte(len(gsis)))
		for _, g := range gsis {
			e.u32(g)
		}
	}
}

// An address-space descriptor says in one byte what kind of address it holds,
// in one its general flags and in one those of the kind (section 6.4.3.5).
const (
	spaceMemory = 0
	spaceIO     = 1
	spaceBus    = 2

	// A producer with a fixed minimum and maximum, decoded positively.
	spaceFixedProducer = 0x0c
	spaceConsumer      = 0x01

	ioEntireRange = 0x03

	memoryReadWrite = 0x01
	memoryCacheable = 0x02
	memoryPrefetch  = 0x06
)

// MemoryKind is how a window of memory may be accessed.
type MemoryKind uint8

// Memory kinds.
const (
	NonCacheable MemoryKind = memoryReadWrite
	Cacheable    MemoryKind = memoryReadWrite | memoryCacheable
	Prefetchable MemoryKind = memoryReadWrite | memoryPrefetch
)

func spaceRange(e *Encoder, min, max, limit uint64) bool {
	if max < min || max > limit {
		e.fail("address range %#x to %#x is empty or over %#x", min, max, limit)
		return false
	}
	return true
}

func wordSpace(kind, specific byte, min, max uint16) Resource {
	return func(e *Encoder) {
		if !spaceRange(e, uint64(min), uint64(max), 0xffff) {
			return
		}
		if min == 0 && max == 0xffff {
			e.fail("address range 0 to 0xffff has a length that 16 bits do not hold: split it")
			return
		}
		e.u8(0x88)
		e.u16(13)
		e.u8(kind, spaceFixedProducer, specific)
		e.u16(0)
		e.u16(min)
		e.u16(max)
		e.u16(0)
		e.u16(max - min + 1)
	}
}

// WordBusNumber is a window of bus numbers, from min to max inclusive.
func WordBusNumber(min, max uint16) Resource { return wordSpace(spaceBus, 0, min, max) }

// WordIO is a window of I/O ports, from min to max inclusive.
func WordIO(min, max uint16) Resource { return wordSpace(spaceIO, ioEntireRange, min, max) }

// DWordMemory is a window of memory below 4 GiB, from min to max inclusive.
func DWordMemory(kind MemoryKind, min, max uint32) Resource {
	return func(e *Encoder) {
		if !spaceRange(e, uint64(min), uint64(max), 0xffffffff) {
			return
		}
		if min == 0 && max == 0xffffffff {
			e.fail("address range 0 to 0xffffffff has a length that 32 bits do not hold: split it")
			return
		}
		e.u8(0x87)
		e.u16(23)
		e.u8(spaceMemory, spaceFixedProducer, byte(kind))
		e.u32(0)
		e.u32(min)
		e.u32(max)
		e.u32(0)
		e.u32(max - min + 1)
	}
}

// QWordMemory is a window of memory anywhere, from min to max inclusive.
func QWordMemory(kind MemoryKind, min, max uint64) Resource {
	return qwordMemory(spaceFixedProducer, kind, min, max)
}

// QWordMemoryConsumer is memory anywhere which the device itself decodes, from
// min to max inclusive.
func QWordMemoryConsumer(kind MemoryKind, min, max uint64) Resource {
	return qwordMemory(spaceFixedProducer|spaceConsumer, kind, min, max)
}

func qwordMemory(general byte, kind MemoryKind, min, max uint64) Resource {
	return func(e *Encoder) {
		if !spaceRange(e, min, max, ^uint64(0)-1) {
			return
		}
		e.u8(0x8a)
		e.u16(43)
		e.u8(spaceMemory, general, byte(kind))
		e.u64(0)
		e.u64(min)
		e.u64(max)
		e.u64(0)
		e.u64(max - min + 1)
	}
}

// Register is a generic register descriptor (section 6.4.3.7).
func Register(s Space, bits, offset, access uint8, addr uint64) Resource {
	return func(e *Encoder) {
		e.u8(0x82, 12, 0, byte(s), bits, offset, access)
		e.u64(addr)
	}
}

func flag(on bool, v byte) byte {
	if on {
		return v
	}
	return 0
}
