package aml

// Name declares a named object (section 20.2.5.1).
func Name(path string, value Term) Term {
	return func(e *Encoder) {
		e.u8(0x08)
		e.name(path)
		value(e)
	}
}

// Scope opens an existing scope.
func Scope(path string, body ...Term) Term { return block([]byte{0x10}, path, body) }

// Device declares a device.
func Device(path string, body ...Term) Term { return block([]byte{0x5b, 0x82}, path, body) }

// ThermalZone declares a thermal zone.
func ThermalZone(path string, body ...Term) Term { return block([]byte{0x5b, 0x85}, path, body) }

func block(op []byte, path string, body []Term) Term {
	return func(e *Encoder) {
		e.pkg(op, func(in *Encoder) {
			in.name(path)
			in.terms(body)
		})
	}
}

// PowerResource declares a power resource with the deepest sleep state it must
// stay on in, and its order.
func PowerResource(path string, level uint8, order uint16, body ...Term) Term {
	return func(e *Encoder) {
		e.pkg([]byte{0x5b, 0x84}, func(in *Encoder) {
			in.name(path)
			in.u8(level)
			in.u16(order)
			in.terms(body)
		})
	}
}

// Method declares a control method of args arguments, 0 to 7.
func Method(path string, args int, body ...Term) Term { return method(path, args, 0, body) }

// MethodSerialized declares a control method that one thread at a time runs,
// as any that creates named objects must be.
func MethodSerialized(path string, args int, body ...Term) Term {
	return method(path, args, 0x08, body)
}

func method(path string, args int, flags byte, body []Term) Term {
	return func(e *Encoder) {
		if args < 0 || args > 7 {
			e.fail("method %s: %d arguments, must be 0 to 7", path, args)
			return
		}
		e.pkg([]byte{0x14}, func(in *Encoder) {
			in.name(path)
			in.u8(byte(args) | flags)
			in.terms(body)
		})
	}
}

// Mutex declares a mutex of the given sync level, 0 to 15.
func Mutex(path string, level int) Term {
	return func(e *Encoder) {
		if level < 0 || level > 15 {
			e.fail("mutex %s: sync level %d, must be 0 to 15", path, level)
			return
		}
		e.u8(0x5b, 0x01)
		e.name(path)
		e.u8(byte(level))
	}
}

// Event declares an event.
func Event(path string) Term {
	return func(e *Encoder) {
		e.u8(0x5b, 0x02)
		e.name(path)
	}
}

// Alias gives the object at from a second name.
func Alias(from, to string) Term {
	return func(e *Encoder) {
		e.u8(0x06)
		e.name(from)
		e.name(to)
	}
}

// ObjectType is the type argument of [External] (table 19.39).
type ObjectType uint8

// Object types of External.
const (
	UnknownObj ObjectType = 0
	IntObj     ObjectType = 1
	PkgObj     ObjectType = 4
	DeviceObj  ObjectType = 6
	MethodObj  ObjectType = 8
)

// External declares an object of another table: its type and, for a method,
// how many arguments it takes.
func External(path string, t ObjectType, args int) Term {
	return func(e *Encoder) {
		if args < 0 || args > 7 {
			e.fail("external %s: %d arguments, must be 0 to 7", path, args)
			return
		}
		e.u8(0x15)
		e.name(path)
		e.u8(byte(t), byte(args))
	}
}
