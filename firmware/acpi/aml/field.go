package aml

// Space is the address space of an operation region (section 5.5.2.4).
type Space uint8

// Address spaces.
const (
	SystemMemory Space = 0
	SystemIO     Space = 1
	PCIConfig    Space = 2
)

// OperationRegion declares a region of size bytes from offset in a space.
func OperationRegion(path string, s Space, offset, size Term) Term {
	return func(e *Encoder) {
		e.u8(0x5b, 0x80)
		e.name(path)
		e.u8(byte(s))
		offset(e)
		size(e)
	}
}

// FieldFlags says how a field is accessed: an access width, a lock rule and an
// update rule, joined with |.
type FieldFlags uint8

// Field flags (section 20.2.5.2).
const (
	AnyAcc        FieldFlags = 0
	ByteAcc       FieldFlags = 1
	WordAcc       FieldFlags = 2
	DWordAcc      FieldFlags = 3
	QWordAcc      FieldFlags = 4
	Lock          FieldFlags = 0x10
	Preserve      FieldFlags = 0
	WriteAsOnes   FieldFlags = 0x20
	WriteAsZeroes FieldFlags = 0x40
)

// FieldUnit is one element of a field list: named bits, or, with an empty
// name, bits to pass over.
type FieldUnit struct {
	// Name is a single segment, or empty.
	Name string
	// Bits is the width.
	Bits uint32
}

// Bits is a named unit of n bits.
func Bits(name string, n uint32) FieldUnit { return FieldUnit{name, n} }

// Skip passes over n bits.
func Skip(n uint32) FieldUnit { return FieldUnit{"", n} }

func (e *Encoder) units(units []FieldUnit) {
	for _, u := range units {
		switch {
		case u.Name == "" && u.Bits == 0:
		case u.Name == "":
			e.u8(0)
			e.fieldLength(u.Bits)
		default:
			e.buf = appendSeg(e, e.buf, u.Name, u.Name)
			e.fieldLength(u.Bits)
		}
	}
}

// Field declares units of an operation region, from its first bit on.
func Field(region string, flags FieldFlags, units ...FieldUnit) Term {
	return func(e *Encoder) {
		e.pkg([]byte{0x5b, 0x81}, func(in *Encoder) {
			in.name(region)
			in.u8(byte(flags))
			in.units(units)
		})
	}
}

// IndexField declares units reached through an index and a data unit.
func IndexField(index, data string, flags FieldFlags, units ...FieldUnit) Term {
	return func(e *Encoder) {
		e.pkg([]byte{0x5b, 0x86}, func(in *Encoder) {
			in.name(index)
			in.name(data)
			in.u8(byte(flags))
			in.units(units)
		})
	}
}

func createField(op byte, buf, index Term, name string) Term {
	return func(e *Encoder) {
		e.u8(op)
		buf(e)
		index(e)
		e.name(name)
	}
}

// CreateByteField names the byte at byte index of a buffer.
func CreateByteField(buf, index Term, name string) Term { return createField(0x8c, buf, index, name) }

// CreateWordField names the 16-bit word at byte index of a buffer.
func CreateWordField(buf, index Term, name string) Term { return createField(0x8b, buf, index, name) }

// CreateDWordField names the 32-bit word at byte index of a buffer.
func CreateDWordField(buf, index Term, name string) Term {
	return createField(0x8a, buf, index, name)
}

// CreateQWordField names the 64-bit word at byte index of a buffer.
func CreateQWordField(buf, index Term, name string) Term {
	return createField(0x8f, buf, index, name)
}

// CreateBitField names the bit at bit index of a buffer.
func CreateBitField(buf, index Term, name string) Term { return createField(0x8d, buf, index, name) }
