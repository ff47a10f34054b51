package devices

import (
	"encoding/binary"
	"fmt"
)

// Memory is guest-physical memory as a bus master sees it. It covers RAM
// only: an access to a range that is not wholly RAM fails without effect.
// All methods may be called from any goroutine; guest CPUs run meanwhile.
type Memory interface {
	// Read fills p with the bytes at addr.
	Read(addr uint64, p []byte) error
	// Write stores p at addr.
	Write(addr uint64, p []byte) error
	// View returns the n bytes at addr as a slice of guest RAM itself, for
	// transfers without a copy. It fails where the range is not one piece of
	// RAM. The slice stays valid until the machine is closed. The guest
	// changes the bytes at any moment: read a value once, then check it.
	View(addr uint64, n int) ([]byte, error)
	// Written tells the CPUs that the n bytes at addr were changed through a
	// View, so that stale decoded code is dropped.
	Written(addr uint64, n int)
}

// A MemoryError reports a range that is not guest RAM.
type MemoryError struct {
	Addr, Size uint64
	Why        string // "not RAM", "bus mastering is off" …
}

// Error implements error.
func (e *MemoryError) Error() string {
	return fmt.Sprintf("DMA of %d bytes at %#x: %s", e.Size, e.Addr, e.Why)
}

// Reaches reports whether the first and the last of n bytes at addr, at least one, are memory.
func Reaches(m Memory, addr, n uint64) bool {
	for _, at := range [...]uint64{addr, addr + n - 1} {
		if _, err := m.View(at, 1); err != nil {
			return false
		}
	}
	return true
}

// ReadU16 reads a little-endian 16-bit value.
func ReadU16(m Memory, addr uint64) (uint16, error) {
	var b [2]byte
	err := m.Read(addr, b[:])
	return binary.LittleEndian.Uint16(b[:]), err
}

// ReadU32 reads a little-endian 32-bit value.
func ReadU32(m Memory, addr uint64) (uint32, error) {
	var b [4]byte
	err := m.Read(addr, b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

// ReadU64 reads a little-endian 64-bit value.
func ReadU64(m Memory, addr uint64) (uint64, error) {
	var b [8]byte
	err := m.Read(addr, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// WriteU16 writes a little-endian 16-bit value.
func WriteU16(m Memory, addr uint64, v uint16) error {
	return m.Write(addr, binary.LittleEndian.AppendUint16(nil, v))
}

// WriteU32 writes a little-endian 32-bit value.
func WriteU32(m Memory, addr uint64, v uint32) error {
	return m.Write(addr, binary.LittleEndian.AppendUint32(nil, v))
}

// WriteU64 writes a little-endian 64-bit value.
func WriteU64(m Memory, addr uint64, v uint64) error {
	return m.Write(addr, binary.LittleEndian.AppendUint64(nil, v))
}
