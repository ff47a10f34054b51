package machine

import (
	"fmt"

	"dfemu/cpu"
	"dfemu/devices"

	"golang.org/x/sys/unix"
)

// memory is the guest's RAM and ROM. It implements [devices.Memory] for all of
// RAM, and hands the same bytes to the processors as slots.
type memory struct {
	slots []cpu.Slot
	// invalidate tells the processors that memory was changed under them.
	invalidate func(gpa, n uint64)
}

// add allocates size bytes of zeroed memory at gpa. The host gives pages as
// they are touched, large ones where it can.
func (m *memory) add(gpa, size uint64, readOnly bool) ([]byte, error) {
	p, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("allocate %d MiB of guest memory: %w", size>>20, err)
	}
	// A host may lack large pages; nothing but speed depends on them.
	_ = unix.Madvise(p, unix.MADV_HUGEPAGE)
	m.slots = append(m.slots, cpu.Slot{GPA: gpa, Data: p, ReadOnly: readOnly})
	return p, nil
}

// zero makes all RAM read as zero again, and gives its pages back to the host.
func (m *memory) zero() error {
	for _, s := range m.slots {
		if s.ReadOnly {
			continue
		}
		if err := unix.Madvise(s.Data, unix.MADV_DONTNEED); err != nil {
			return fmt.Errorf("clear guest memory: %w", err)
		}
	}
	return nil
}

// close gives the memory back; nothing may use it any more.
func (m *memory) close() {
	for _, s := range m.slots {
		// The mapping is ours and whole: munmap cannot fail.
		_ = unix.Munmap(s.Data)
	}
	m.slots = nil
}

// find returns the slot that holds [addr, addr+n), which must be RAM, in one piece.
func (m *memory) find(addr, n uint64) ([]byte, error) {
	for i := range m.slots {
		s := &m.slots[i]
		off := addr - s.GPA
		if addr >= s.GPA && off <= uint64(len(s.Data)) && n <= uint64(len(s.Data))-off && !s.ReadOnly {
			return s.Data[off : off+n : off+n], nil
		}
	}
	return nil, &devices.MemoryError{Addr: addr, Size: n, Why: "not RAM"}
}

// View implements [devices.Memory].
func (m *memory) View(addr uint64, n int) ([]byte, error) {
	if n < 0 {
		return nil, &devices.MemoryError{Addr: addr, Why: "negative size"}
	}
	return m.find(addr, uint64(n))
}

// Read implements [devices.Memory].
func (m *memory) Read(addr uint64, p []byte) error {
	v, err := m.find(addr, uint64(len(p)))
	copy(p, v)
	return err
}

// Write implements [devices.Memory].
func (m *memory) Write(addr uint64, p []byte) error {
	v, err := m.find(addr, uint64(len(p)))
	if err != nil {
		return err
	}
	copy(v, p)
	m.Written(addr, len(p))
	return nil
}

// Written implements [devices.Memory].
func (m *memory) Written(addr uint64, n int) {
	if m.invalidate != nil && n > 0 {
		m.invalidate(addr, uint64(n))
	}
}
