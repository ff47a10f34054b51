package host

import "unsafe"

// Invariant: the address of a slice's first byte is only compared with an alignment, and
// never turned back into a pointer. Allocations of this size are not on the
// stack and do not move.

// aligned tells whether a transfer can go to the disk directly.
func aligned(p []byte, off int64) bool {
	return off%directAlign == 0 && len(p)%directAlign == 0 &&
		uintptr(unsafe.Pointer(unsafe.SliceData(p)))%directAlign == 0
}

// alignedBuffer returns at least n bytes, rounded up to whole blocks, at an
// aligned address.
func alignedBuffer(n int) []byte {
	n = (n + directAlign - 1) &^ (directAlign - 1)
	b := make([]byte, n+directAlign)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % directAlign
	return b[skip : skip+uintptr(n) : skip+uintptr(n)]
}

// AlignedBuffer returns n bytes at an address that suits direct I/O.
func AlignedBuffer(n int) []byte { return alignedBuffer(n)[:n] }
