package host

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const directFlag = syscall.O_DIRECT

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

// unlock gives up what lock took.
func unlock(f *os.File) {
	_ = control(f, func(fd int) error { return syscall.Flock(fd, syscall.LOCK_UN) })
}

func datasync(f *os.File) error { return control(f, syscall.Fdatasync) }

// punch makes the range a hole, which reads as zeroes.
func punch(f *os.File, off, n int64) error {
	return control(f, func(fd int) error {
		return syscall.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// zeroRange makes the range read as zeroes and keeps it allocated.
func zeroRange(f *os.File, off, n int64) error {
	return control(f, func(fd int) error {
		return syscall.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// allocate reserves room for the range.
func allocate(f *os.File, off, n int64) error {
	return control(f, func(fd int) error { return syscall.Fallocate(fd, 0, off, n) })
}

// writeSync writes all of p durably.
func writeSync(f *os.File, p []byte, off int64) error {
	for len(p) > 0 {
		var n int
		err := control(f, func(fd int) (err error) {
			n, err = unix.Pwritev2(fd, [][]byte{p}, off, unix.RWF_DSYNC)
			return err
		})
		switch {
		case err != nil:
			return err
		case n == 0:
			return io.ErrShortWrite
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// seekData finds the first range of [off, end) that is no hole.
func seekData(f *os.File, off, end int64) (from, to int64, err error) {
	err = control(f, func(fd int) (err error) {
		from, err = unix.Seek(fd, off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			from = end
			return nil
		}
		if err != nil || from >= end {
			return err
		}
		to, err = unix.Seek(fd, from, unix.SEEK_HOLE)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if from >= end {
		return end, end, nil
	}
	return from, min(to, end), nil
}

// Usage is how many bytes of the host's disk a file takes.
func Usage(st os.FileInfo) int64 {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return st.Size()
}
