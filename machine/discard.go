package machine

import (
	"fmt"
	"math"

	"dfemu/devices"

	"golang.org/x/sys/unix"
)

// Discard implements [devices.Discarder]: the host takes the pages back, and gives empty ones when they are touched.
func (m *memory) Discard(addr, n uint64) error {
	if addr%4096 != 0 || n%4096 != 0 || n > math.MaxInt64 {
		return &devices.MemoryError{Addr: addr, Size: n, Why: "not whole pages"}
	}
	p, err := m.find(addr, n)
	if err != nil || n == 0 {
		return err
	}
	if err := unix.Madvise(p, unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("give %d bytes of guest memory at %#x back: %w", n, addr, err)
	}
	// Code in these pages is gone. The processors take lengths in pieces.
	for off := uint64(0); off < n; off += 1 << 30 {
		m.Written(addr+off, int(min(n-off, 1<<30)))
	}
	return nil
}
