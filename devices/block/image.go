package block

import (
	"errors"
	"fmt"
	"os"

	"dfemu/devices/block/internal/host"
	"dfemu/devices/block/qcow2"
)

// ReadInfo describes the image in the file called name, which may be in use.
// Format is what to take it for; FormatDefault and FormatAuto look at its
// beginning, which is safe here because nothing is opened that it names.
func ReadInfo(name string, format Format) (*qcow2.Info, error) {
	if format == FormatDefault || format == FormatAuto {
		p, err := firstBytes(name)
		if err != nil {
			return nil, err
		}
		format = Format(ProbeFormat(p))
	}
	if format == FormatQcow2 {
		return qcow2.ReadInfo(name)
	}
	f, err := host.Open(name, host.Options{ReadOnly: true, NoLock: true})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("describe image: %w", err)
	}
	return &qcow2.Info{File: name, Format: string(format), VirtualSize: size, ActualSize: host.Usage(st)}, nil
}

// CreateRaw makes a raw image of zeroes in the file called name, which takes no
// room yet. The size in bytes is a multiple of 512. If the file is there
// already the error wraps fs.ErrExist.
func CreateRaw(name string, size int64) error {
	if size < SectorSize || size%SectorSize != 0 {
		return fmt.Errorf("create image %s: a disk of %d bytes: must be a multiple of %d, and not 0", name, size, SectorSize)
	}
	f, err := host.Create(name)
	if err != nil {
		return fmt.Errorf("create image: %w", err)
	}
	err = f.Truncate(size)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("create image %s: %w", name, errors.Join(err, os.Remove(name)))
	}
	return nil
}
