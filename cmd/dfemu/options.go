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

// parseDisk reads FILE[,opt[=value]…]. A comma in the name is written twice.
func parseDisk(s string) (machine.Disk, error) {
	var d machine.Disk
	parts := strings.Split(strings.ReplaceAll(s, ",,", "\x00"), ",")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "\x00", ",")
	}
	d.File = parts[0]
	if d.File == "" {
		return d, errors.New("names no file")
	}
	for _, opt := range parts[1:] {
		key, value, has := strings.Cut(opt, "=")
		flag := func() (bool, error) {
			switch {
			case !has, value == "on":
				return true, nil
			case value == "off":
				return false, nil
			}
			return false, fmt.Errorf("option %s is on or off, not %q", key, value)
		}
		var err error
		switch key {
		case "if":
			if value != "virtio" {
				err = fmt.Errorf("if=%s: must be virtio", value)
			}
			d.If = value
		case "serial":
			d.Serial = value
			if len(value) > 20 {
				err = fmt.Errorf("serial=%s: at most 20 characters", value)
			}
		case "ro":
			d.ReadOnly, err = flag()
		case "snapshot":
			d.Snapshot, err = flag()
		case "format":
			if value != "raw" {
				err = fmt.Errorf("format=%s: must be raw", value)
			}
		default:
			err = fmt.Errorf("unknown option %q (known: if, serial, ro, snapshot, format)", key)
		}
		if err != nil {
			return d, err
		}
	}
	return d, nil
}
