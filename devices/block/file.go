package block

import (
	"errors"
	"fmt"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// File is a raw image: a file, or a block device of the host. It is locked
// against use by a second disk or machine: exclusively if writable, against
// writers if read-only.
type File struct {
	f    *host.File
	name string
	size atomic.Int64 // bytes, whole sectors
	ro   bool
}

var (
	_ devices.Block           = (*File)(nil)
	_ devices.VectorBlock     = (*File)(nil)
	_ devices.FUABlock        = (*File)(nil)
	_ devices.ExtentBlock     = (*File)(nil)
	_ devices.DescriptorBlock = (*File)(nil)
)

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
	f, err := host.Open(name, host.Options{ReadOnly: o.ReadOnly, Direct: o.Direct, Fixed: true})
	if err != nil {
		return nil, err
	}
	b := &File{f: f, name: name, ro: o.ReadOnly}
	if err := b.Refresh(); err != nil {
		f.Close()
		return nil, err
	}
	return b, nil
}

// Refresh finds out the image's size again, after it was changed from outside.
func (b *File) Refresh() error {
	size, err := b.f.Size()
	if err != nil {
		return err
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
	return b.f.ReadAt(p, off)
}

// WriteAt implements io.WriterAt.
func (b *File) WriteAt(p []byte, off int64) (int, error) {
	if err := b.checkWrite("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	return b.f.WriteAt(p, off)
}

// WriteFUA implements devices.FUABlock.
func (b *File) WriteFUA(p []byte, off int64) (int, error) {
	if err := b.checkWrite("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	return b.f.WriteSync(p, off)
}

func (b *File) checkWrite(what string, off, n int64) error {
	if b.ro {
		return ErrReadOnly
	}
	return check(what, b.name, off, n, b.Size())
}

// ReadVAt implements devices.VectorBlock, in as few system calls as possible.
func (b *File) ReadVAt(bufs [][]byte, off int64) error {
	if err := check("read", b.name, off, length(bufs), b.Size()); err != nil {
		return err
	}
	return b.f.ReadV(bufs, off)
}

// WriteVAt implements devices.VectorBlock, in as few system calls as possible.
func (b *File) WriteVAt(bufs [][]byte, off int64) error {
	if err := b.checkWrite("write", off, length(bufs)); err != nil {
		return err
	}
	return b.f.WriteV(bufs, off)
}

// Descriptor implements devices.DescriptorBlock for direct I/O that is aligned: the disk is waited for. What the page
// cache holds comes sooner from a plain call.
func (b *File) Descriptor(bufs [][]byte, off int64) (fd int, ok bool) {
	if check("read", b.name, off, length(bufs), b.Size()) != nil {
		return 0, false
	}
	return b.f.Descriptor(bufs, off)
}

// Close unlocks and closes the image.
func (b *File) Close() error { return b.f.Close() }

// Size implements devices.Block.
func (b *File) Size() int64 { return b.size.Load() }

// ReadOnly implements devices.Block.
func (b *File) ReadOnly() bool { return b.ro }

// Flush implements devices.Block. After a failure it goes on failing with
// [ErrFlushFailed].
func (b *File) Flush() error { return b.f.Sync() }

// Discard implements devices.Block: the range becomes a hole, which reads as
// zeroes, where the host's file system has holes; elsewhere nothing happens.
func (b *File) Discard(off, n int64) error {
	if err := b.checkWrite("discard", off, n); err != nil || n == 0 {
		return err
	}
	if err := b.f.Punch(off, n); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("discard in image %s: %w", b.name, err)
	}
	return nil
}

// WriteZeroes implements devices.Block.
func (b *File) WriteZeroes(off, n int64, unmap bool) error {
	if err := b.checkWrite("write zeroes", off, n); err != nil || n == 0 {
		return err
	}
	try := b.f.Zero
	if unmap {
		try = b.f.Punch
	}
	// Whatever the fast way's objection is, writing decides.
	if try(off, n) == nil {
		return nil
	}
	return writeZeroes(b, off, n)
}

// Extents implements devices.ExtentBlock by the holes of the file.
func (b *File) Extents(off, n int64, f func(devices.Extent) bool) error {
	if err := check("list extents of", b.name, off, n, b.Size()); err != nil {
		return err
	}
	return b.f.Extents(off, n, f)
}
