//go:build linux && (amd64 || arm64)

package host

import (
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// Invariant: the vector and the buffers it points at are kept alive by bufs
// until the system call has returned; the kernel keeps neither.

// maxVectors is the most buffers that the host takes in one call (IOV_MAX).
const maxVectors = 1024

// transferVectors moves between the file at off and all of bufs.
func transferVectors(f *os.File, bufs [][]byte, off int64, write bool) error {
	trap := uintptr(syscall.SYS_PREADV)
	if write {
		trap = syscall.SYS_PWRITEV
	}
	iov := make([]syscall.Iovec, 0, min(len(bufs), maxVectors))
	skip := 0 // bytes of bufs[0] already moved
	for len(bufs) > 0 {
		iov = iov[:0]
		for _, b := range bufs[:min(len(bufs), maxVectors)] {
			if len(iov) == 0 {
				b = b[skip:]
			}
			v := syscall.Iovec{Base: unsafe.SliceData(b)}
			v.SetLen(len(b))
			iov = append(iov, v)
		}
		var n uintptr
		err := control(f, func(fd int) error {
			r, _, errno := syscall.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(iov))),
				uintptr(len(iov)), uintptr(off), 0, 0)
			if errno != 0 {
				return errno
			}
			n = r
			return nil
		})
		runtime.KeepAlive(bufs)
		if err != nil {
			return err
		}
		if n == 0 && len(bufs[0]) > skip {
			return io.ErrUnexpectedEOF
		}
		off += int64(n)
		left := int(n)
		for len(bufs) > 0 && left >= len(bufs[0])-skip {
			left -= len(bufs[0]) - skip
			skip = 0
			bufs = bufs[1:]
		}
		skip += left
	}
	return nil
}
