package interp

import (
	"sync/atomic"
	"unsafe"
)

// hostAt returns the host address of the byte at the offset that addr has in
// its page.
//
// Invariant: page is the start of a whole page of a memory slot.
func hostAt(page hostPage, addr uint64) unsafe.Pointer {
	return unsafe.Add(page, addr&pageOffset)
}

// hostDelta returns what takes linear addresses of the page of va to the page in the host.
func hostDelta(page hostPage, va uint64) uint64 { return uint64(uintptr(page)) - va&pageMask }

// readEntry reads a paging-structure entry; not ok outside RAM.
func (c *CPU) readEntry(at uint64, size int) (uint64, bool) {
	page, _ := c.acc.mem.page(at)
	if page == nil {
		return 0, false
	}
	p := hostAt(page, at)
	if size == 4 {
		return uint64(atomic.LoadUint32((*uint32)(p))), true
	}
	return atomic.LoadUint64((*uint64)(p)), true
}

// setEntry replaces a paging-structure entry that still has the value old. When
// it has another one meanwhile it returns that.
func (c *CPU) setEntry(at uint64, size int, old, v uint64) (uint64, bool) {
	page, readOnly := c.acc.mem.page(at)
	if page == nil || readOnly {
		return old, true
	}
	p := hostAt(page, at)
	if size == 4 {
		if atomic.CompareAndSwapUint32((*uint32)(p), uint32(old), uint32(v)) {
			return v, true
		}
		return uint64(atomic.LoadUint32((*uint32)(p))), false
	}
	if atomic.CompareAndSwapUint64((*uint64)(p), old, v) {
		return v, true
	}
	return atomic.LoadUint64((*uint64)(p)), false
}

// hostAdd returns the address n bytes after p.
//
// Invariant: the result is in the same page as p.
func hostAdd(p unsafe.Pointer, n int) unsafe.Pointer { return unsafe.Add(p, n) }

// slicePage returns the host page at offset off of a slot.
//
// Invariant: off is a multiple of the page size and less than len(data), whose length is
// too; slots lie outside the Go heap, so that the pointer may be kept.
func slicePage(data []byte, off uint64) hostPage {
	return unsafe.Pointer(&data[off])
}

// hostBytes returns the n bytes at p. Processors change them meanwhile; the
// caller compares again after it has marked them as code.
//
// Invariant: the bytes are in one page of a memory slot.
func hostBytes(p unsafe.Pointer, n int) []byte {
	return unsafe.Slice((*byte)(p), n)
}
