package bench

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// uncache takes a file, which is on the disk, out of the page cache.
func uncache(f *os.File) error {
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("take %s out of the page cache: %w", f.Name(), err)
	}
	return nil
}
