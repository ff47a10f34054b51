package selftest

import (
	"fmt"
	"syscall"
	"unsafe"

	"dfemu/kernel/platform/pc64"
)

// testMemory takes memory and gives it back to the kernel: the pages alone, then the addresses too. It does so below Go's heap, whose
// scavenger does not promise to find all that is free.
func testMemory(env) error {
	free, total := pc64.Memory()
	pages := min(free/4, 8192)
	b, err := syscall.Mmap(-1, 0, pages*4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("mmap of %d pages: %w", pages, err)
	}
	touch := func() (during int, err error) {
		before, _ := pc64.Memory()
		for i := 0; i < len(b); i += 4096 {
			if b[i] != 0 {
				return 0, fmt.Errorf("byte %#x of a new page is %#x", i, b[i])
			}
			b[i] = byte(i>>12) | 1
		}
		for i := 0; i < len(b); i += 4096 {
			if b[i] != byte(i>>12)|1 {
				return 0, fmt.Errorf("byte %#x is %#x", i, b[i])
			}
		}
		during, _ = pc64.Memory()
		if during > before-pages/2 {
			return 0, fmt.Errorf("%d pages free before and %d after %d were touched", before, during, pages)
		}
		return during, nil
	}
	given := func(how string, during int) error {
		if after, _ := pc64.Memory(); after < during+pages/2 {
			return fmt.Errorf("%d pages free of %d with %d in use, %d after %s", during, total, pages, after, how)
		}
		return nil
	}
	during, err := touch()
	if err != nil {
		return err
	}
	// The slice is mapped until Munmap below, outside Go's heap.
	if _, _, e := syscall.Syscall(syscall.SYS_MADVISE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), syscall.MADV_FREE); e != 0 {
		return fmt.Errorf("madvise: %w", e)
	}
	if err := given("madvise", during); err != nil {
		return err
	}
	if during, err = touch(); err != nil {
		return err
	}
	if err := syscall.Munmap(b); err != nil {
		return fmt.Errorf("munmap: %w", err)
	}
	return given("munmap", during)
}
