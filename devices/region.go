package devices

import "errors"

// Errors a [Region] returns for an access it cannot serve. The bus, not the
// device, turns them into the hardware's answer: a read floats to all ones, a
// write is dropped.
var (
	// ErrNoRegister reports an offset at which the device has no register.
	ErrNoRegister = errors.New("no such register")
	// ErrSize reports a register accessed with a width it does not support.
	ErrSize = errors.New("unsupported access size")
	// ErrAlign reports an access that straddles registers or is not aligned
	// as the register requires.
	ErrAlign = errors.New("unaligned access")
	// ErrReadOnly reports a write to a register or region that ignores writes.
	ErrReadOnly = errors.New("write to a read-only register")
	// ErrWriteOnly reports a read from a register that cannot be read.
	ErrWriteOnly = errors.New("read of a write-only register")
)

// A Region is a range of ports or of memory-mapped I/O that a device answers.
// Offsets are in bytes from the region's start; size is 1, 2, 4 or 8 bytes
// (ports: at most 4) and off+size never passes the region's end. Values are
// little-endian, in the low size bytes. Handlers may be called concurrently.
type Region interface {
	Read(off uint64, size int) (uint64, error)
	Write(off uint64, size int, v uint64) error
}

// RegionFuncs makes a [Region] of two functions. A nil function means that
// the direction is not supported.
type RegionFuncs struct {
	ReadFunc  func(off uint64, size int) (uint64, error)
	WriteFunc func(off uint64, size int, v uint64) error
}

// Read implements [Region].
func (r RegionFuncs) Read(off uint64, size int) (uint64, error) {
	if r.ReadFunc == nil {
		return 0, ErrWriteOnly
	}
	return r.ReadFunc(off, size)
}

// Write implements [Region].
func (r RegionFuncs) Write(off uint64, size int, v uint64) error {
	if r.WriteFunc == nil {
		return ErrReadOnly
	}
	return r.WriteFunc(off, size, v)
}

// Ones is the value of size bytes that a bus reads where nothing answers.
func Ones(size int) uint64 {
	if size >= 8 {
		return ^uint64(0)
	}
	return 1<<(8*uint(size)) - 1
}
