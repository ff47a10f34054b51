package interp

import "unsafe"

// hostCopy copies n bytes; where they overlap, the result is as if all had been read first.
// Processors may observe its stores in any order, as they may those of fast strings
// (Intel SDM vol. 3, 8.2.4).
//
// Invariant: both ranges lie within one page of a memory slot each.
func hostCopy(dst, src hostPage, n int) {
	copy(unsafe.Slice((*byte)(dst), n), unsafe.Slice((*byte)(src), n))
}

// hostFill fills n bytes, whole elements, with v.
//
// Invariant: the range lies within one page of a memory slot.
func hostFill[T word](p hostPage, v T, n int) {
	b := unsafe.Slice((*byte)(p), n)
	if v == 0 {
		clear(b)
		return
	}
	done := int(sizeOf[T]())
	hostStore(p, v)
	for done < n {
		done += copy(b[done:], b[:done])
	}
}

// hostDistance is how many bytes p lies above q; huge if it lies below.
func hostDistance(p, q hostPage) uint64 {
	return uint64(uintptr(p) - uintptr(q))
}
