package block

import (
	"errors"
	"os"
	"syscall"
)

const directFlag = syscall.O_DIRECT

// Modes of fallocate(2).
const (
	fallocKeepSize  = 1
	fallocPunchHole = 2
	fallocZeroRange = 16
)

// control runs a system call on the file's descriptor, again if interrupted.
func control(f *os.File, call func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = c.Control(func(fd uintptr) {
		for {
			if result = call(int(fd)); result != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return result
}

// lock takes an advisory lock that lasts until the file is closed. It belongs
// to this opening of the file, so it excludes a second one by the same process.
func lock(f *os.File, shared bool) error {
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	err := control(f, func(fd int) error { return syscall.Flock(fd, how|syscall.LOCK_NB) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

func datasync(f *os.File) error { return control(f, syscall.Fdatasync) }

// punch makes the range a hole, which reads as zeroes.
func punch(f *os.File, off, n int64) error {
	return control(f, func(fd int) error {
		return syscall.Fallocate(fd, fallocPunchHole|fallocKeepSize, off, n)
	})
}

// zeroRange makes the range read as zeroes and keeps it allocated.
func zeroRange(f *os.File, off, n int64) error {
	return control(f, func(fd int) error {
		return syscall.Fallocate(fd, fallocZeroRange|fallocKeepSize, off, n)
	})
}
