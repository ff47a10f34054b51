package nvme

import (
	"sync/atomic"
	"unsafe"
)

// Load64 loads the word of 8 bytes at off, a multiple of 8, of a slice that is
// aligned to 8 bytes: the half of a completion that the controller publishes at once.
func Load64(b []byte, off int) uint64 {
	w := b[off : off+8 : off+8]
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(unsafe.SliceData(w))))
}
