package nvme

import (
	"sync/atomic"

	"dfemu/devices"
)

// memory is what the controller reaches: guest memory, and its own controller
// memory buffer where the host has placed it (base specification, section 8.5).
// It implements devices.Memory.
type memory struct {
	dma    devices.Memory
	cmb    []byte
	window atomic.Pointer[uint64] // the buffer's controller address, or nil
}

// local returns the n bytes at addr of the controller memory buffer. ok is false
// for addresses outside of it; err reports a range that leaves it.
func (m *memory) local(addr uint64, n int) (b []byte, ok bool, err error) {
	w := m.window.Load()
	if w == nil || addr < *w || addr-*w >= uint64(len(m.cmb)) {
		return nil, false, nil
	}
	off := addr - *w
	if n < 0 || uint64(n) > uint64(len(m.cmb))-off {
		return nil, true, &devices.MemoryError{Addr: addr, Size: uint64(n), Why: "it leaves the controller memory buffer"}
	}
	return m.cmb[off : off+uint64(n) : off+uint64(n)], true, nil
}

// inBuffer tells whether addr is in the controller memory buffer.
func (m *memory) inBuffer(addr uint64) bool {
	_, ok, _ := m.local(addr, 0)
	return ok
}

// Read implements devices.Memory.
func (m *memory) Read(addr uint64, p []byte) error {
	if b, ok, err := m.local(addr, len(p)); ok {
		copy(p, b)
		return err
	}
	return m.dma.Read(addr, p)
}

// Write implements devices.Memory.
func (m *memory) Write(addr uint64, p []byte) error {
	if b, ok, err := m.local(addr, len(p)); ok {
		copy(b, p)
		return err
	}
	return m.dma.Write(addr, p)
}

// View implements devices.Memory.
func (m *memory) View(addr uint64, n int) ([]byte, error) {
	if b, ok, err := m.local(addr, n); ok {
		return b, err
	}
	return m.dma.View(addr, n)
}

// Written implements devices.Memory.
func (m *memory) Written(addr uint64, n int) {
	if !m.inBuffer(addr) {
		m.dma.Written(addr, n)
	}
}
