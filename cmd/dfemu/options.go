package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"dfemu/machine"
)

// parseSize reads a number of bytes: a number alone is MiB, suffixes are K, M,
// G and T.
func parseSize(s string) (uint64, error) {
	shift := uint(20)
	digits := s
	if s != "" {
		if i := strings.IndexByte("KMGT", s[len(s)-1]&^0x20); i >= 0 {
			shift = uint(10 * (i + 1))
			digits = s[:len(s)-1]
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n == 0 {
		return 0, errors.New("must be a size, as 512M or 4G")
	}
	if n > math.MaxInt64>>shift {
		return 0, errors.New("too large")
	}
	if shift < 20 && n<<shift%(1<<20) != 0 {
		return 0, errors.New("must be whole MiB")
	}
	return n << shift, nil
}

// checkMemory refuses sizes of memory that no machine has.
func checkMemory(n uint64) error {
	if n < machine.MinMemory || n > machine.MaxMemory {
		return fmt.Errorf("must be %dM to %dG", machine.MinMemory>>20, uint64(machine.MaxMemory)>>30)
	}
	return nil
}

// checkCPUs refuses numbers of processors that no machine has.
func checkCPUs(n int) error {
	if n < 1 || n > machine.MaxCPUs {
		return fmt.Errorf("must be 1 to %d", machine.MaxCPUs)
	}
	return nil
}
