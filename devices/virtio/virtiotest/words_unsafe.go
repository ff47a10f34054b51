package virtiotest

import (
	"sync/atomic"
	"unsafe"
)

// word returns the aligned word of guest memory that holds the byte at off. The
// test machine's memory is one allocation of many pages, which the allocator
// aligns to more than 4 bytes and which does not move.
func word(b []byte, off uint64) *uint32 {
	return (*uint32)(unsafe.Pointer(&b[off&^3 : off&^3+4][0]))
}

func load16(b []byte, off uint64) uint16 {
	return uint16(atomic.LoadUint32(word(b, off)) >> (8 * (off & 2)))
}

func store16(b []byte, off uint64, v uint16) {
	p, shift := word(b, off), 8*(off&2)
	for {
		old := atomic.LoadUint32(p)
		if atomic.CompareAndSwapUint32(p, old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return
		}
	}
}

func load32(b []byte, off uint64) uint32     { return atomic.LoadUint32(word(b, off)) }
func store32(b []byte, off uint64, v uint32) { atomic.StoreUint32(word(b, off), v) }
