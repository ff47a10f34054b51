package dma

import (
	"sync/atomic"
	"unsafe"
)

// Invariant of the unsafe code: an access lies within the slice, which is checked, and is
// aligned, which is checked too.

func at(b []byte, off, n int) unsafe.Pointer {
	p := unsafe.Pointer(&b[off : off+n : off+n][0])
	if uintptr(p)&uintptr(n-1) != 0 {
		panic("dma: access that is not aligned")
	}
	return p
}

// Load32 reads the 32-bit word at an offset.
func Load32(b []byte, off int) uint32 { return atomic.LoadUint32((*uint32)(at(b, off, 4))) }

// Store32 writes the 32-bit word at an offset, and returns when all can see it.
func Store32(b []byte, off int, v uint32) { atomic.StoreUint32((*uint32)(at(b, off, 4)), v) }

// Load64 reads the 64-bit word at an offset.
func Load64(b []byte, off int) uint64 { return atomic.LoadUint64((*uint64)(at(b, off, 8))) }

// Store64 writes the 64-bit word at an offset, and returns when all can see it.
func Store64(b []byte, off int, v uint64) { atomic.StoreUint64((*uint64)(at(b, off, 8)), v) }
