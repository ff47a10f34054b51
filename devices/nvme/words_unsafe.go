package nvme

import (
	"sync/atomic"
	"unsafe"
)

// The words that driver and controller exchange in memory (the phase tag of a
// completion, shadow doorbells and event indexes) are accessed with sync/atomic,
// which orders them against the plain accesses around them.
//
// Invariants: the slices are pieces of guest RAM, or of the controller memory
// buffer, that stay valid until the machine is closed. The callers pass offsets
// inside them (the slice expression checks that) and alignedTo has been asked
// before a slice is kept. The host is little-endian, like the guest.

// alignedTo tells whether b starts at a multiple of n in the host's address space.
func alignedTo(b []byte, n uintptr) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%n == 0
}

// store64 stores the word of 8 bytes at off, a multiple of 8.
func store64(b []byte, off int, v uint64) {
	w := b[off : off+8 : off+8]
	atomic.StoreUint64((*uint64)(unsafe.Pointer(unsafe.SliceData(w))), v)
}

// store32 stores the word of 4 bytes at off, a multiple of 4.
func store32(b []byte, off int, v uint32) {
	w := b[off : off+4 : off+4]
	atomic.StoreUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(w))), v)
}

// load32 loads the word of 4 bytes at off, a multiple of 4.
func load32(b []byte, off int) uint32 {
	w := b[off : off+4 : off+4]
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(w))))
}
