package block

import (
	"fmt"
	"sync"

	"dfemu/devices"
)

// Memory is a store in the monitor's own memory, lost when closed. Reading what
// was never written, or was discarded, gives zeroes.
type Memory struct {
	size int64
	mu   sync.RWMutex
	data []byte
	ro   bool
}

var _ devices.Block = (*Memory)(nil)

// NewMemory returns a store whose content is data, which it then owns; a
// partial last sector is not shown. With readOnly it cannot be changed.
func NewMemory(data []byte, readOnly bool) (*Memory, error) {
	size := int64(len(data)) &^ (SectorSize - 1)
	if size == 0 {
		return nil, fmt.Errorf("memory disk of %d bytes: must be at least %d", len(data), SectorSize)
	}
	return &Memory{size: size, data: data, ro: readOnly}, nil
}

// ReadAt implements io.ReaderAt.
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	if err := check("read", "memory disk", off, int64(len(p)), m.size); err != nil {
		return 0, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return copy(p, m.data[off:]), nil
}

// WriteAt implements io.WriterAt.
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	if m.ro {
		return 0, ErrReadOnly
	}
	if err := check("write", "memory disk", off, int64(len(p)), m.size); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return copy(m.data[off:], p), nil
}

// Close implements io.Closer.
func (m *Memory) Close() error { return nil }

// Size implements devices.Block.
func (m *Memory) Size() int64 { return m.size }

// ReadOnly implements devices.Block.
func (m *Memory) ReadOnly() bool { return m.ro }

// Flush implements devices.Block.
func (m *Memory) Flush() error { return nil }

// Discard implements devices.Block; the range reads as zeroes afterwards.
func (m *Memory) Discard(off, n int64) error { return m.WriteZeroes(off, n, true) }

// WriteZeroes implements devices.Block.
func (m *Memory) WriteZeroes(off, n int64, _ bool) error {
	if m.ro {
		return ErrReadOnly
	}
	if err := check("write zeroes", "memory disk", off, n, m.size); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.data[off : off+n])
	return nil
}
