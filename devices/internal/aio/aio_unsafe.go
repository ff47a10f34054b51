//go:build linux && (amd64 || arm64)

package aio

import (
	"fmt"
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Invariant: control blocks and events are read and written by the kernel only during the system call that is given their
// addresses. What a control block points at, a vector and its buffers, is kept alive by its transfer, which is in a slot of the
// queue until the kernel has answered; Go does not move what is in its heap.

// Of linux/aio_abi.h.
type (
	controlBlock struct {
		data   uint64
		_, _   uint32
		opcode uint16
		_      int16
		fd     uint32
		buf    uint64
		bytes  uint64
		offset int64
		_      uint64
		_, _   uint32
	}
	event struct {
		data, obj uint64
		res, res2 int64
	}
)

const (
	cmdPoll  = 5
	cmdReadV = 7
	pollIn   = 1
	stopData = 1<<64 - 1
)

// context is a context of the kernel's asynchronous I/O.
type context struct {
	id      uintptr
	blocks  []controlBlock // by slot
	list    []*controlBlock
	events  []event
	answers []answer
}

// answer is what the kernel says of a transfer: bytes moved, or an error below 0.
type answer struct{ slot, n int }

func (c *context) setup(n int) error {
	c.blocks, c.events = make([]controlBlock, n), make([]event, n)
	// One is for the end.
	if _, _, errno := syscall.Syscall(unix.SYS_IO_SETUP, uintptr(n+1), uintptr(unsafe.Pointer(&c.id)), 0); errno != 0 {
		return fmt.Errorf("io_setup: %w (%w)", errno, ErrUnsupported)
	}
	return nil
}

// submit gives transfers, which have slots, to the kernel and returns how many it took.
func (c *context) submit(l []*Op) (taken int) {
	c.list = c.list[:0]
	for _, o := range l {
		b := &c.blocks[o.slot]
		v := o.vec.left()
		*b = controlBlock{
			data: uint64(o.slot), opcode: cmdReadV, fd: uint32(o.FD), offset: o.Off,
			buf: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(v)))), bytes: uint64(len(v)),
		}
		c.list = append(c.list, b)
	}
	for taken < len(l) {
		n, _, errno := c.call(c.list[taken:])
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			break
		}
		taken += int(n)
	}
	return taken
}

func (c *context) call(l []*controlBlock) (n, _ uintptr, errno syscall.Errno) {
	return syscall.Syscall(unix.SYS_IO_SUBMIT, c.id, uintptr(len(l)), uintptr(unsafe.Pointer(unsafe.SliceData(l))))
}

// wait waits until transfers have ended. It reports false after stop.
func (c *context) wait() ([]answer, bool) {
	n, _, errno := syscall.Syscall6(unix.SYS_IO_GETEVENTS, c.id, 1, uintptr(len(c.events)), uintptr(unsafe.Pointer(unsafe.SliceData(c.events))), 0, 0)
	c.answers = c.answers[:0]
	if errno != 0 {
		return nil, errno == syscall.EINTR
	}
	for _, e := range c.events[:n] {
		if e.data == stopData {
			return nil, false
		}
		c.answers = append(c.answers, answer{int(e.data), int(e.res)})
	}
	return c.answers, true
}

// stop ends wait, when no transfers are under way: a poll of what is ready ends at once.
func (c *context) stop() {
	fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		defer unix.Close(fd)
		b := controlBlock{data: stopData, opcode: cmdPoll, fd: uint32(fd), buf: pollIn}
		for {
			n, _, errno := c.call([]*controlBlock{&b})
			if n == 1 {
				return
			}
			if errno != syscall.EINTR && errno != syscall.EAGAIN {
				break
			}
		}
	}
	c.destroy() // which ends waiting, too
}

func (c *context) destroy() { _, _, _ = syscall.Syscall(unix.SYS_IO_DESTROY, c.id, 0, 0) }

// interrupted tells whether a transfer was only interrupted.
func interrupted(n int) bool { return n == -int(syscall.EINTR) || n == -int(syscall.EAGAIN) }

func hostError(n int) error { return syscall.Errno(-n) }

// vector is the buffers of a transfer in the kernel's form.
type vector struct {
	iov  []syscall.Iovec
	done int // entries moved
}

func (v *vector) set(bufs [][]byte) {
	v.iov, v.done = v.iov[:0], 0
	for _, b := range bufs {
		e := syscall.Iovec{Base: unsafe.SliceData(b)}
		e.SetLen(len(b))
		v.iov = append(v.iov, e)
	}
}

func (v *vector) left() []syscall.Iovec { return v.iov[v.done:] }

// read fills what is left, with plain calls.
func (v *vector) read(fd int, off int64) error {
	for {
		l := v.left()
		n, _, errno := syscall.Syscall6(unix.SYS_PREADV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(l))), uintptr(len(l)), uintptr(off), 0, 0)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			return errno
		case v.advance(int(n)):
			return nil
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		off += int64(n)
	}
}

// advance takes n moved bytes off and reports whether that was all.
func (v *vector) advance(n int) bool {
	for v.done < len(v.iov) {
		e := &v.iov[v.done]
		if uint64(n) < e.Len {
			e.Base = (*byte)(unsafe.Add(unsafe.Pointer(e.Base), n))
			e.SetLen(int(e.Len) - n)
			return false
		}
		n -= int(e.Len)
		v.done++
	}
	return true
}
