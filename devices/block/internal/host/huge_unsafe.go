//go:build linux

package host

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Invariant: the address of a mapping's first byte is only used to find where in the mapping a huge page begins, and never
// turned back into a pointer. Nobody has a part of a mapping that is given back.

// newHuge maps a buffer of hugeSize bytes, which is one huge page if the host has one to spare.
func newHuge() (hugeBuffer, error) {
	m, err := unix.Mmap(-1, 0, 2*hugeSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return hugeBuffer{}, err
	}
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(m))) % hugeSize
	h := hugeBuffer{m, m[skip : skip+hugeSize]}
	// Where there are none it is a buffer like others.
	_ = unix.Madvise(h.data, unix.MADV_HUGEPAGE)
	return h, nil
}

// unmap gives the buffer back.
func (h hugeBuffer) unmap() { _ = unix.Munmap(h.mapping) }
