package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"dfemu/devices"
)

// Options says how a file is opened.
type Options struct {
	ReadOnly bool
	// Direct bypasses the host's page cache (O_DIRECT).
	Direct bool
	// Fixed keeps the file's length: with direct I/O, a write to its last,
	// partial block is made no longer than whole sectors need.
	Fixed bool
	// NoLock looks at a file that may be in use. It requires ReadOnly.
	NoLock bool
}

// File is a file or block device of the host, locked against use by a second
// disk or machine: exclusively if writable, against writers if read-only. Its
// methods may be called concurrently: many requests are in flight when many
// goroutines are in a call. For direct I/O, Descriptor lets devices have many reads
// in flight from one.
type File struct {
	f      *os.File
	name   string
	o      Options
	edge   sync.Mutex // held while a block is read, changed and written back
	failed atomic.Bool
}

// Open opens and locks a file. If it is locked by another the error wraps
// [ErrInUse].
func Open(name string, o Options) (*File, error) { return open(name, o, 0) }

// Create makes a new, empty file that only its owner and group may write, and
// locks it. If there is one of that name already the error wraps fs.ErrExist.
func Create(name string) (*File, error) { return open(name, Options{}, os.O_CREATE|os.O_EXCL) }

// Temporary makes a file without a name in the folder dir ("" for the usual
// one), which goes away with the process.
func Temporary(dir string) (*File, error) {
	f, err := os.CreateTemp(dir, "dfemu-overlay-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &File{f: f, name: f.Name()}, nil
}

func open(name string, o Options, flags int) (*File, error) {
	if o.ReadOnly {
		flags |= os.O_RDONLY
	} else {
		flags |= os.O_RDWR
	}
	if o.Direct {
		if directFlag == 0 {
			return nil, fmt.Errorf("open image %s: this host has no direct I/O; leave it off", name)
		}
		flags |= directFlag
	}
	f, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		if o.Direct {
			return nil, fmt.Errorf("open image with direct I/O (not all file systems have it): %w", err)
		}
		return nil, fmt.Errorf("open image: %w", err)
	}
	h := &File{f: f, name: name, o: o}
	if err := h.prepare(); err != nil {
		f.Close()
		return nil, err
	}
	return h, nil
}

func (h *File) prepare() error {
	st, err := h.f.Stat()
	if err != nil {
		return fmt.Errorf("open image: %w", err)
	}
	if !st.Mode().IsRegular() && st.Mode()&os.ModeDevice == 0 {
		return fmt.Errorf("open image %s: it is neither a file nor a block device", h.name)
	}
	if h.o.NoLock {
		return nil
	}
	if err := lock(h.f, h.o.ReadOnly); err != nil {
		if errors.Is(err, ErrInUse) {
			return fmt.Errorf("open image %s: %w; stop the other user, or use both read-only or through an overlay", h.name, err)
		}
		return fmt.Errorf("lock image %s: %w", h.name, err)
	}
	return nil
}

// Stat describes the file.
func (h *File) Stat() (os.FileInfo, error) { return h.f.Stat() }

// Size returns the file's present length in bytes.
func (h *File) Size() (int64, error) {
	// Transfers give their own positions, so the file's is free for this. A
	// block device's length is not in what Stat returns.
	n, err := h.f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("find the size of image %s: %w", h.name, err)
	}
	return n, nil
}

// ReadAt implements io.ReaderAt.
func (h *File) ReadAt(p []byte, off int64) (int, error) {
	if h.o.Direct && !aligned(p, off) {
		return h.readBuffered(p, off)
	}
	n, err := h.f.ReadAt(p, off)
	if n == len(p) {
		err = nil
	}
	return n, err
}

// WriteAt implements io.WriterAt.
func (h *File) WriteAt(p []byte, off int64) (int, error) {
	if h.o.ReadOnly {
		return 0, ErrReadOnly
	}
	if h.o.Direct && !aligned(p, off) {
		return h.writeBuffered(p, off)
	}
	return h.f.WriteAt(p, off)
}

// WriteSync is WriteAt whose data is durable when it returns.
func (h *File) WriteSync(p []byte, off int64) (int, error) {
	if h.o.ReadOnly {
		return 0, ErrReadOnly
	}
	if h.failed.Load() {
		return 0, ErrFlushFailed
	}
	if !h.o.Direct || aligned(p, off) {
		err := writeSync(h.f, p, off)
		if err == nil {
			return len(p), nil
		}
		if errors.Is(err, syscall.EIO) {
			// The host reports what it could not write once, and this may have
			// been about other writes, too.
			h.failed.Store(true)
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return 0, err
		}
	}
	n, err := h.WriteAt(p, off)
	if err == nil {
		err = h.Sync()
	}
	return n, err
}

// ReadV fills all of bufs from off on, in as few system calls as possible.
func (h *File) ReadV(bufs [][]byte, off int64) error { return h.vectors(bufs, off, false) }

// WriteV stores all of bufs from off on, in as few system calls as possible.
func (h *File) WriteV(bufs [][]byte, off int64) error {
	if h.o.ReadOnly {
		return ErrReadOnly
	}
	return h.vectors(bufs, off, true)
}

func (h *File) vectors(bufs [][]byte, off int64, write bool) error {
	if !h.o.Direct || alignedAll(bufs, off) {
		return transferVectors(h.f, bufs, off, write)
	}
	for _, p := range bufs {
		var err error
		if write {
			_, err = h.WriteAt(p, off)
		} else {
			_, err = h.ReadAt(p, off)
		}
		if err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// Descriptor returns the file's descriptor for direct reads that are aligned as they are.
func (h *File) Descriptor(bufs [][]byte, off int64) (fd int, ok bool) {
	if !h.o.Direct || !alignedAll(bufs, off) {
		return 0, false
	}
	return int(h.f.Fd()), true
}

// Sync makes what was written durable. Once it has failed it goes on failing:
// the host may have dropped what it could not write, and would report that only
// once.
func (h *File) Sync() error {
	if h.o.ReadOnly {
		return nil
	}
	if h.failed.Load() {
		return fmt.Errorf("flush image %s: %w", h.name, ErrFlushFailed)
	}
	if err := datasync(h.f); err != nil {
		h.failed.Store(true)
		return fmt.Errorf("flush image %s: %w", h.name, err)
	}
	return nil
}

// Punch makes the range a hole, which reads as zeroes. It fails where the
// host's file system has no holes.
func (h *File) Punch(off, n int64) error { return punch(h.f, off, n) }

// Zero makes the range read as zeroes and keeps it allocated. It fails where
// the host's file system cannot do that without writing.
func (h *File) Zero(off, n int64) error { return zeroRange(h.f, off, n) }

// Allocate reserves room for the range, so that writing it does not fail for
// want of space. The file grows if needed; what it gains reads as zeroes.
func (h *File) Allocate(off, n int64) error {
	err := allocate(h.f, off, n)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// Truncate changes the length; what a longer file gains reads as zeroes.
func (h *File) Truncate(n int64) error { return h.f.Truncate(n) }

// Data returns the first range of [off, end) that may have content other than
// zeroes; with none it returns end, end.
func (h *File) Data(off, end int64) (from, to int64) {
	from, to, err := seekData(h.f, off, end)
	if err != nil {
		return off, end
	}
	return from, to
}

// Extents calls f for the holes and the data of [off, off+n) until it returns false; see
// [devices.ExtentBlock].
func (h *File) Extents(off, n int64, f func(devices.Extent) bool) error {
	for end := off + n; off < end; {
		from, to := h.Data(off, end)
		if from > off && !f(devices.Extent{Off: off, Len: from - off, Zero: true}) {
			return nil
		}
		if to > from && !f(devices.Extent{Off: from, Len: to - from, Allocated: true}) {
			return nil
		}
		off = to
	}
	return nil
}

// Close unlocks and closes the file.
func (h *File) Close() error {
	if !h.o.NoLock {
		// Closing alone leaves the lock to a process that is just being
		// started and has not closed what it inherited.
		unlock(h.f)
	}
	return h.f.Close()
}

func alignedAll(bufs [][]byte, off int64) bool {
	for _, p := range bufs {
		if !aligned(p, off) {
			return false
		}
		off += int64(len(p))
	}
	return true
}
