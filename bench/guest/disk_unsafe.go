//go:build linux

package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unsafe"
)

// The kernel keeps the addresses of control blocks and buffers while requests
// are under way. Both are in mappings outside Go's heap, which nothing moves,
// and which stay until all requests have come back.

// Asynchronous I/O of Linux, io_submit(2) and io_getevents(2).
type (
	// controlBlock is a struct iocb.
	controlBlock struct {
		data     uint64
		key      uint32
		flags    uint32
		opcode   uint16
		priority int16
		fd       uint32
		buf      uint64
		bytes    uint64
		offset   int64
		_        uint64
		_, _     uint32
	}
	// ioEvent is a struct io_event.
	ioEvent struct {
		data, obj uint64
		res, res2 int64
	}
)

const (
	aioRead  = 0 // IOCB_CMD_PREAD
	aioWrite = 1 // IOCB_CMD_PWRITE

	maxDepth  = 32
	blockSize = 4 << 10
	largeSize = 1 << 20

	blkGetSize64 = 0x80081272
)

// diskNodes are the device nodes of the drives that the benchmark attaches.
var diskNodes = map[string]string{"virtio": "/dev/vda", "ahci": "/dev/sda", "nvme": "/dev/nvme0n1"}

// diskLoads are what each drive is measured with.
var diskLoads = []struct {
	name        string
	write       bool
	random      bool
	size, depth int
}{
	{"randread-1", false, true, blockSize, 1},
	{"randread-32", false, true, blockSize, maxDepth},
	{"randwrite-1", true, true, blockSize, 1},
	{"randwrite-32", true, true, blockSize, maxDepth},
	{"read", false, false, largeSize, 4},
	{"write", true, false, largeSize, 4},
}

// disk is a drive under measurement.
type disk struct {
	fd    int
	size  int64
	aio   uintptr
	slots []byte // maxDepth buffers of largeSize
	block []controlBlock
	ptrs  []uintptr // of what is submitted
	event []ioEvent
	next  int64 // of a sequential load
	rnd   random
}

// openDisk opens a drive past the page cache.
func openDisk(node string) (*disk, error) {
	fd, err := syscall.Open(node, syscall.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", node, err)
	}
	d := &disk{fd: fd, rnd: 88172645463325252}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), blkGetSize64, uintptr(unsafe.Pointer(&d.size))); errno != 0 {
		return nil, fmt.Errorf("size of %s: %w", node, errno)
	}
	if d.size < largeSize {
		return nil, fmt.Errorf("%s has only %d bytes", node, d.size)
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_IO_SETUP, maxDepth, uintptr(unsafe.Pointer(&d.aio)), 0); errno != 0 {
		return nil, fmt.Errorf("io_setup: %w", errno)
	}
	const control = 1 << 16
	m, err := syscall.Mmap(-1, 0, maxDepth*largeSize+control, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("memory for requests: %w", err)
	}
	d.slots = m[:maxDepth*largeSize]
	d.block = unsafe.Slice((*controlBlock)(unsafe.Pointer(&m[len(d.slots)])), maxDepth)
	d.event = unsafe.Slice((*ioEvent)(unsafe.Pointer(&m[len(d.slots)+control/4])), maxDepth)
	d.ptrs = unsafe.Slice((*uintptr)(unsafe.Pointer(&m[len(d.slots)+control/2])), maxDepth)
	return d, nil
}

// offset chooses where the next request goes.
func (d *disk) offset(random bool, size int) int64 {
	if random {
		return int64(d.rnd.next()%uint64(d.size/int64(size))) * int64(size)
	}
	off := d.next
	if off+int64(size) > d.size {
		off = 0
	}
	d.next = off + int64(size)
	return off
}

// one does n requests, each after the one before it.
func (d *disk) one(n int, write, random bool, size int) error {
	trap := uintptr(syscall.SYS_PREAD64)
	if write {
		trap = syscall.SYS_PWRITE64
	}
	for range n {
		// Raw, as the scheduler of goroutines is not what is measured.
		got, _, errno := syscall.RawSyscall6(trap, uintptr(d.fd), uintptr(unsafe.Pointer(&d.slots[0])), uintptr(size),
			uintptr(d.offset(random, size)), 0, 0)
		if errno != 0 {
			return errno
		}
		if int(got) != size {
			return fmt.Errorf("%d bytes instead of %d", got, size)
		}
	}
	return nil
}

// many does n requests with up to depth of them under way.
func (d *disk) many(n int, write, random bool, size, depth int) error {
	opcode := uint16(aioRead)
	if write {
		opcode = aioWrite
	}
	free := make([]int, 0, maxDepth)
	for i := range depth {
		free = append(free, i)
	}
	for sent, back := 0, 0; back < n; {
		fill := 0
		for ; len(free) > 0 && sent+fill < n; fill++ {
			i := free[len(free)-1]
			free = free[:len(free)-1]
			d.block[i] = controlBlock{
				data: uint64(i), opcode: opcode, fd: uint32(d.fd), buf: uint64(uintptr(unsafe.Pointer(&d.slots[i*largeSize]))),
				bytes: uint64(size), offset: d.offset(random, size),
			}
			d.ptrs[fill] = uintptr(unsafe.Pointer(&d.block[i]))
		}
		for done := 0; done < fill; {
			k, _, errno := syscall.RawSyscall(syscall.SYS_IO_SUBMIT, d.aio, uintptr(fill-done), uintptr(unsafe.Pointer(&d.ptrs[done])))
			if errno != 0 && errno != syscall.EINTR && errno != syscall.EAGAIN {
				return fmt.Errorf("io_submit: %w", errno)
			}
			if errno == 0 {
				done += int(k)
			}
		}
		sent += fill
		k, _, errno := syscall.RawSyscall6(syscall.SYS_IO_GETEVENTS, d.aio, 1, maxDepth, uintptr(unsafe.Pointer(&d.event[0])), 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return fmt.Errorf("io_getevents: %w", errno)
		}
		for _, e := range d.event[:k] {
			if e.res < 0 {
				return syscall.Errno(-e.res)
			}
			if e.res != int64(size) {
				return fmt.Errorf("%d bytes instead of %d", e.res, size)
			}
			free = append(free, int(e.data))
		}
		back += int(k)
	}
	return nil
}

// disks measures the drives that are named: each result is of one request.
func disks(names []string, report reporter) {
	for _, name := range names {
		node, ok := diskNodes[name]
		if !ok {
			report.fail(name, errors.New("no such drive"))
			continue
		}
		if err := appears(node); err != nil {
			report.fail(name, err)
			continue
		}
		d, err := openDisk(node)
		if err != nil {
			report.fail(name, err)
			continue
		}
		for _, l := range diskLoads {
			report.measure(strings.Join([]string{name, l.name}, "/"), func(n int) error {
				if l.depth == 1 {
					return d.one(n, l.write, l.random, l.size)
				}
				return d.many(n, l.write, l.random, l.size, l.depth)
			})
		}
		_ = syscall.Close(d.fd)
	}
}
