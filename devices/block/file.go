package block

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"dfemu/devices"
)

// File is a raw image: a file, or a block device of the host. It is locked
// against use by a second disk or machine: exclusively if writable, against
// writers if read-only.
type File struct {
	f      *os.File
	name   string
	size   atomic.Int64 // bytes, whole sectors
	ro     bool
	direct bool
	edge   sync.Mutex // held while a block is read, changed and written back
}

var _ devices.Block = (*File)(nil)

// FileOptions says how an image is opened.
type FileOptions struct {
	ReadOnly bool
	// Direct bypasses the host's page cache (O_DIRECT). Transfers that are not
	// aligned to 4096 bytes then go through a buffer; unaligned writes are
	// slow.
	Direct bool
}

// OpenFile opens and locks an image. If it is locked by another the error wraps
// [ErrInUse].
func OpenFile(name string, o FileOptions) (*File, error) {
	flags := os.O_RDWR
	if o.ReadOnly {
		flags = os.O_RDONLY
	}
	if o.Direct {
		if directFlag == 0 {
			return nil, fmt.Errorf("open image %s: this host has no direct I/O; leave it off", name)
		}
		flags |= directFlag
	}
	f, err := os.OpenFile(name, flags, 0)
	if err != nil {
		if o.Direct {
			return nil, fmt.Errorf("open image with direct I/O (not all file systems have it): %w", err)
		}
		return nil, fmt.Errorf("open image: %w", err)
	}
	b := &File{f: f, name: name, ro: o.ReadOnly, direct: o.Direct}
	if err := b.prepare(); err != nil {
		f.Close()
		return nil, err
	}
	return b, nil
}

func (b *File) prepare() error {
	st, err := b.f.Stat()
	if err != nil {
		return fmt.Errorf("open image: %w", err)
	}
	if !st.Mode().IsRegular() && st.Mode()&os.ModeDevice == 0 {
		return fmt.Errorf("open image %s: it is neither a file nor a block device", b.name)
	}
	if err := lock(b.f, b.ro); err != nil {
		if errors.Is(err, ErrInUse) {
			return fmt.Errorf("open image %s: %w; stop the other user, or use both read-only or through an overlay", b.name, err)
		}
		return fmt.Errorf("lock image %s: %w", b.name, err)
	}
	return b.Refresh()
}

// Refresh finds out the image's size again, after it was changed from outside.
func (b *File) Refresh() error {
	// Transfers give their own positions, so the file's is free for this.
	size, err := b.f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("find the size of image %s: %w", b.name, err)
	}
	if size < SectorSize {
		return fmt.Errorf("image %s: it has %d bytes, less than one sector of %d", b.name, size, SectorSize)
	}
	b.size.Store(size &^ (SectorSize - 1))
	return nil
}

// ReadAt implements io.ReaderAt.
func (b *File) ReadAt(p []byte, off int64) (int, error) {
	if err := check("read", b.name, off, int64(len(p)), b.Size()); err != nil {
		return 0, err
	}
	if b.direct && !aligned(p, off) {
		return b.readBuffered(p, off)
	}
	n, err := b.f.ReadAt(p, off)
	if n == len(p) {
		err = nil
	}
	return n, err
}

// WriteAt implements io.WriterAt.
func (b *File) WriteAt(p []byte, off int64) (int, error) {
	if b.ro {
		return 0, ErrReadOnly
	}
	if err := check("write", b.name, off, int64(len(p)), b.Size()); err != nil {
		return 0, err
	}
	if b.direct && !aligned(p, off) {
		return b.writeBuffered(p, off)
	}
	return b.f.WriteAt(p, off)
}

// Close unlocks and closes the image.
func (b *File) Close() error { return b.f.Close() }

// Size implements devices.Block.
func (b *File) Size() int64 { return b.size.Load() }

// ReadOnly implements devices.Block.
func (b *File) ReadOnly() bool { return b.ro }

// Flush implements devices.Block.
func (b *File) Flush() error {
	if b.ro {
		return nil
	}
	if err := datasync(b.f); err != nil {
		return fmt.Errorf("flush image %s: %w", b.name, err)
	}
	return nil
}

// Discard implements devices.Block: the range becomes a hole, which reads as
// zeroes, where the host's file system has holes; elsewhere nothing happens.
func (b *File) Discard(off, n int64) error {
	if b.ro {
		return ErrReadOnly
	}
	if err := check("discard", b.name, off, n, b.Size()); err != nil || n == 0 {
		return err
	}
	if err := punch(b.f, off, n); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("discard in image %s: %w", b.name, err)
	}
	return nil
}

// WriteZeroes implements devices.Block.
func (b *File) WriteZeroes(off, n int64, unmap bool) error {
	if b.ro {
		return ErrReadOnly
	}
	if err := check("write zeroes", b.name, off, n, b.Size()); err != nil || n == 0 {
		return err
	}
	try := zeroRange
	if unmap {
		try = punch
	}
	// Whatever the fast way's objection is, writing decides.
	if try(b.f, off, n) == nil {
		return nil
	}
	zero := alignedBuffer(int(min(n, 1<<20)))
	for n > 0 {
		k := min(n, int64(len(zero)))
		if _, err := b.WriteAt(zero[:k], off); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}
