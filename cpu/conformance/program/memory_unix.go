//go:build unix

package program

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// guestMemory returns zeroed memory outside the Go heap, and what gives it back.
func guestMemory(n int) ([]byte, func() error, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, fmt.Errorf("guest memory: mmap: %w", err)
	}
	return b, func() error { return unix.Munmap(b) }, nil
}
