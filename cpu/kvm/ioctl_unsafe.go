//go:build linux && amd64

package kvm

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl calls the kernel with the address of arg, whose type has the layout
// that req stands for. The conversion is in the argument list of the system
// call, where the compiler keeps arg alive and in place.
func ioctl[T any](fd int, req uintptr, arg *T) (int, error) {
	for {
		r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(arg)))
		switch e {
		case 0:
			return int(r), nil
		case unix.EINTR: // the Go runtime's own signals
			continue
		}
		return int(r), e
	}
}

// ioctlRaw is an ioctl whose argument is a number or missing. It is not
// repeated after EINTR.
func ioctlRaw(fd int, req, arg uintptr) (int, error) {
	r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, arg)
	if e != 0 {
		return int(r), e
	}
	return int(r), nil
}

// again calls f until it is not interrupted by a signal: the Go runtime
// signals threads at any time, and some of KVM's calls return early for it.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// hostAddress returns where p begins. p is memory outside the Go heap.
func hostAddress(p []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) }

// tscOffsetAttr returns the attribute that reads or writes v. v is in a heap
// object that the caller holds on to, so that its address stays what it is.
func tscOffsetAttr(v *uint64) deviceAttr {
	return deviceAttr{Group: attrTSCGroup, Attr: attrTSCOffset, Addr: uint64(uintptr(unsafe.Pointer(v)))}
}
