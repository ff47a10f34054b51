// Package kerntest is what tests of drivers and buses share that need no hardware.
package kerntest

import (
	"encoding/binary"
	"sync"
)

// Space is registers in memory, as configuration space is: what is written is read. It implements kern.Registers.
type Space struct {
	mu sync.Mutex
	// Data is what is there, Mask are the bits that can be written; nil lets all be. A test may use both while nobody else does.
	Data, Mask []byte
}

// NewSpace returns n bytes, all zero, all of which can be written.
func NewSpace(n int) *Space { return &Space{Data: make([]byte, n)} }

// Fixed returns n bytes, all zero, none of which can be written.
func Fixed(n int) *Space { return &Space{Data: make([]byte, n), Mask: make([]byte, n)} }

// Put changes four bytes whatever Mask is.
func (s *Space) Put(off int, v uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	binary.LittleEndian.PutUint32(s.Data[off:], v)
}

// Allow makes the bits of four bytes such that can be written, and no others of them.
func (s *Space) Allow(off int, bits uint32) { binary.LittleEndian.PutUint32(s.Mask[off:], bits) }

// Size is the number of bytes.
func (s *Space) Size() uint64 { return uint64(len(s.Data)) }

func (s *Space) read(off uint64, n int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b [8]byte
	copy(b[:n], s.Data[off:])
	return binary.LittleEndian.Uint64(b[:])
}

func (s *Space) write(off uint64, n int, v uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	for i := range n {
		m := byte(0xff)
		if s.Mask != nil {
			m = s.Mask[int(off)+i]
		}
		s.Data[int(off)+i] = s.Data[int(off)+i]&^m | b[i]&m
	}
}

// Read8 and the others implement kern.Registers.
func (s *Space) Read8(off uint64) uint8 { return uint8(s.read(off, 1)) }

// Read16 implements kern.Registers.
func (s *Space) Read16(off uint64) uint16 { return uint16(s.read(off, 2)) }

// Read32 implements kern.Registers.
func (s *Space) Read32(off uint64) uint32 { return uint32(s.read(off, 4)) }

// Read64 implements kern.Registers.
func (s *Space) Read64(off uint64) uint64 { return s.read(off, 8) }

// Write8 implements kern.Registers.
func (s *Space) Write8(off uint64, v uint8) { s.write(off, 1, uint64(v)) }

// Write16 implements kern.Registers.
func (s *Space) Write16(off uint64, v uint16) { s.write(off, 2, uint64(v)) }

// Write32 implements kern.Registers.
func (s *Space) Write32(off uint64, v uint32) { s.write(off, 4, uint64(v)) }

// Write64 implements kern.Registers.
func (s *Space) Write64(off uint64, v uint64) { s.write(off, 8, v) }
