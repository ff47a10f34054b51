//go:build !amd64

package interp

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// unalignedAtomics: this host has none; see locked.
const unalignedAtomics = false

// hostCAS replaces old by v at p in one step. Narrow operands are replaced
// within the aligned word around them.
//
// Invariant: p has room for a T in guest memory and is aligned to its size.
func hostCAS[T word](p unsafe.Pointer, old, v T) bool {
	n := sizeOf[T]()
	switch n {
	case 4:
		return atomic.CompareAndSwapUint32((*uint32)(p), uint32(old), uint32(v))
	case 8:
		return atomic.CompareAndSwapUint64((*uint64)(p), uint64(old), uint64(v))
	}
	a := uint64(uintptr(p))
	w := (*uint32)(unsafe.Add(p, -int(a&3)))
	sh := 8 * (a & 3)
	mask := uint32(1<<(8*n)-1) << sh
	for {
		was := atomic.LoadUint32(w)
		if was&mask != uint32(old)<<sh {
			return false
		}
		if atomic.CompareAndSwapUint32(w, was, was&^mask|uint32(v)<<sh) {
			return true
		}
	}
}

// wide serializes 16-byte exchanges, for which portable Go has no primitive.
// They are atomic among each other and against readers of either half.
var wide sync.Mutex

// hostCAS128 compares the 16 bytes at p with old and replaces them by v if they
// are equal. It returns what was there.
func hostCAS128(p unsafe.Pointer, old, v [2]uint64) (was [2]uint64, ok bool) {
	wide.Lock()
	defer wide.Unlock()
	lo, hi := (*uint64)(p), (*uint64)(unsafe.Add(p, 8))
	was = [2]uint64{atomic.LoadUint64(lo), atomic.LoadUint64(hi)}
	if was == old {
		atomic.StoreUint64(lo, v[0])
		atomic.StoreUint64(hi, v[1])
		return was, true
	}
	return was, false
}
