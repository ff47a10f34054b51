//go:build !amd64

package interp

import (
	"sync/atomic"
	"unsafe"
)

// hostLoad and hostStore access guest memory with the order x86 promises on a
// host whose own order is weaker: aligned words through sequentially
// consistent atomics, the rest byte for byte (x86 promises no atomicity there).
//
// Invariant: p points into a memory slot with at least the T's size left in
// its page; pages are aligned, so that the word around an aligned part is
// inside the page too.
func hostLoad[T word](p unsafe.Pointer) T {
	n := sizeOf[T]()
	a := uint64(uintptr(p))
	switch {
	case n == 8 && a&7 == 0:
		return T(atomic.LoadUint64((*uint64)(p)))
	case n == 4 && a&3 == 0:
		return T(atomic.LoadUint32((*uint32)(p)))
	case a&3+n <= 4:
		w := atomic.LoadUint32((*uint32)(unsafe.Add(p, -int(a&3))))
		return T(w >> (8 * (a & 3)))
	}
	var v uint64
	for i := range n {
		v |= uint64(hostLoad[uint8](unsafe.Add(p, i))) << (8 * i)
	}
	return T(v)
}

func hostStore[T word](p unsafe.Pointer, v T) {
	n := sizeOf[T]()
	a := uint64(uintptr(p))
	switch {
	case n == 8 && a&7 == 0:
		atomic.StoreUint64((*uint64)(p), uint64(v))
	case n == 4 && a&3 == 0:
		atomic.StoreUint32((*uint32)(p), uint32(v))
	case a&3+n <= 4:
		w := (*uint32)(unsafe.Add(p, -int(a&3)))
		sh := 8 * (a & 3)
		mask := uint32(1<<(8*n)-1) << sh
		for {
			old := atomic.LoadUint32(w)
			if atomic.CompareAndSwapUint32(w, old, old&^mask|uint32(v)<<sh) {
				return
			}
		}
	default:
		for i := range n {
			hostStore(unsafe.Add(p, i), uint8(uint64(v)>>(8*i)))
		}
	}
}
