//go:build amd64

package interp

import (
	"sync/atomic"
	"unsafe"
)

//go:noescape
func cas8(p unsafe.Pointer, old, new uint8) bool

//go:noescape
func cas16(p unsafe.Pointer, old, new uint16) bool

//go:noescape
func cas128(p unsafe.Pointer, old0, old1, new0, new1 uint64) (r0, r1 uint64, ok bool)

// unalignedAtomics: LOCK holds for operands at any address.
const unalignedAtomics = true

// hostCAS replaces old by v at p in one step.
//
// Invariant: p has room for a T in guest memory. The host allows any alignment.
func hostCAS[T word](p unsafe.Pointer, old, v T) bool {
	switch sizeOf[T]() {
	case 1:
		return cas8(p, uint8(old), uint8(v))
	case 2:
		return cas16(p, uint16(old), uint16(v))
	case 4:
		return atomic.CompareAndSwapUint32((*uint32)(p), uint32(old), uint32(v))
	}
	return atomic.CompareAndSwapUint64((*uint64)(p), uint64(old), uint64(v))
}

// hostCAS128 compares the 16 bytes at p, aligned to 16, with old and replaces
// them by v if they are equal. It returns what was there.
func hostCAS128(p unsafe.Pointer, old, v [2]uint64) (was [2]uint64, ok bool) {
	was[0], was[1], ok = cas128(p, old[0], old[1], v[0], v[1])
	return was, ok
}
