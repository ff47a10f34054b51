package devtest

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"dfemu/devices"
	"dfemu/devices/internal/aio"
)

// File is a store in a file of the host that its user can read itself, as if it was opened for direct I/O.
type File struct {
	f    *os.File
	size int64
	// Offered counts the reads that the user was given the descriptor for, Flushes the calls of Flush.
	Offered, Flushes atomic.Int64
	// Gate, if not nil, holds ReadAt up until it is closed. It is set before the store is used.
	Gate chan struct{}
}

var (
	_ devices.VectorBlock     = (*File)(nil)
	_ devices.DescriptorBlock = (*File)(nil)
)

// NewFile returns a store with the given content, which goes away with the test. Where the host has no means for such
// reads, it skips the test.
func NewFile(t testing.TB, content []byte) *File {
	t.Helper()
	l, err := aio.New(func([]*aio.Op) {})
	if err != nil {
		t.Skip(err)
	}
	l.Close()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "disk"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return &File{f: f, size: int64(len(content))}
}

// ReadAt implements io.ReaderAt.
func (s *File) ReadAt(p []byte, off int64) (int, error) {
	if s.Gate != nil {
		<-s.Gate
	}
	return s.f.ReadAt(p, off)
}

// WriteAt implements io.WriterAt.
func (s *File) WriteAt(p []byte, off int64) (int, error) { return s.f.WriteAt(p, off) }

// ReadVAt implements devices.VectorBlock.
func (s *File) ReadVAt(bufs [][]byte, off int64) error {
	for _, b := range bufs {
		if _, err := s.f.ReadAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// WriteVAt implements devices.VectorBlock.
func (s *File) WriteVAt(bufs [][]byte, off int64) error {
	for _, b := range bufs {
		if _, err := s.f.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// Descriptor implements devices.DescriptorBlock.
func (s *File) Descriptor(bufs [][]byte, _ int64) (fd int, ok bool) {
	if len(bufs) > 0 {
		s.Offered.Add(1)
	}
	return int(s.f.Fd()), true
}

// Truncate makes the file shorter than the store, so that what lies behind cannot be read.
func (s *File) Truncate(n int64) error { return s.f.Truncate(n) }

// Size implements devices.Block.
func (s *File) Size() int64 { return s.size }

// ReadOnly implements devices.Block.
func (s *File) ReadOnly() bool { return false }

// Flush implements devices.Block.
func (s *File) Flush() error {
	s.Flushes.Add(1)
	return nil
}

// Discard implements devices.Block: what is discarded reads as zeroes.
func (s *File) Discard(off, n int64) error { return s.WriteZeroes(off, n, true) }

// WriteZeroes implements devices.Block.
func (s *File) WriteZeroes(off, n int64, _ bool) error {
	_, err := s.f.WriteAt(make([]byte, n), off)
	return err
}

// Close implements devices.Block. The file is closed with the test.
func (s *File) Close() error { return nil }
