package qcow2

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// maxDepth is how many images a chain may have.
const maxDepth = 64

// openBacking opens the image below the image called name, read-only. above are
// the files of the chain so far, to find one that comes again.
func openBacking(name string, h *Header, o Options, above []os.FileInfo) (devices.Block, error) {
	wrap := func(err error) error {
		return fmt.Errorf("backing file %q of image %s: %w", h.BackingFile, name, err)
	}
	below := o
	below.ReadOnly, below.Snapshot = true, ""
	file, remote := backingName(name, h.BackingFile)
	if remote {
		if o.Remote == nil {
			return nil, wrap(errors.New("it is not a file, and nothing else can be opened here; copy it to a file"))
		}
		if h.BackingFormat != "" && h.BackingFormat != "raw" {
			return nil, wrap(fmt.Errorf("format %q behind a network connection is not supported; export it as raw", h.BackingFormat))
		}
		b, err := o.Remote(file)
		if err != nil {
			return nil, wrap(err)
		}
		return b, nil
	}
	if len(above) >= maxDepth {
		return nil, wrap(fmt.Errorf("the chain has more than %d images; merge some with \"qemu-img commit\" or \"dfemu image convert\"", maxDepth))
	}
	// Before it is opened: what is open for writing further up is locked.
	st, err := os.Stat(file)
	if err != nil {
		return nil, wrap(err)
	}
	for _, a := range above {
		if os.SameFile(a, st) {
			return nil, wrap(&DamageError{name, "header, backing file name", 8, "the chain of backing files leads back to a file that is already part of it"})
		}
	}
	format := h.BackingFormat
	switch format {
	case "raw", "qcow2":
	case "":
		like, err := beginsLikeImage(file)
		switch {
		case err != nil:
			return nil, wrap(err)
		case !like:
			format = "raw"
		case o.ProbeBacking:
			format = "qcow2"
		default:
			return nil, wrap(fmt.Errorf("it begins like a qcow2 image, but image %s does not record its format, and a guest may have written it; record the format with \"qemu-img rebase -u -b %s -F qcow2 %s\", or -F raw", name, h.BackingFile, name))
		}
	default:
		return nil, wrap(&UnsupportedError{file, fmt.Sprintf("the format %q", format)})
	}
	if format == "raw" {
		r, err := openRaw(file, o.Direct)
		if err != nil {
			return nil, wrap(err)
		}
		return r, nil
	}
	im, err := openChain(file, below, above)
	if err != nil {
		return nil, wrap(err)
	}
	return im, nil
}

// backingName finds what the name of a backing file means: an address of a
// server, or a file, relative to the folder of the image.
func backingName(image, name string) (file string, remote bool) {
	if rest, ok := strings.CutPrefix(name, "file:"); ok {
		name = strings.TrimPrefix(rest, "//")
	} else if scheme, _, ok := strings.Cut(name, ":"); ok && isScheme(scheme) {
		return name, true
	}
	if filepath.IsAbs(name) {
		return name, false
	}
	return filepath.Join(filepath.Dir(image), name), false
}

// isScheme tells whether what is before a colon can be a protocol.
func isScheme(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' {
			return false
		}
	}
	return s != ""
}

// beginsLikeImage tells whether a file begins like a qcow2 image.
func beginsLikeImage(name string) (bool, error) {
	f, err := host.Open(name, host.Options{ReadOnly: true})
	if err != nil {
		return false, err
	}
	defer f.Close()
	p := make([]byte, len(Magic))
	n, _ := f.ReadAt(p, 0)
	return string(p[:n]) == Magic, nil
}

// raw is a raw image that is only read.
type raw struct {
	f    *host.File
	size int64
}

func openRaw(name string, direct bool) (*raw, error) {
	f, err := host.Open(name, host.Options{ReadOnly: true, Direct: direct})
	if err != nil {
		return nil, err
	}
	n, err := f.Size()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &raw{f, n}, nil
}

var (
	_ devices.Block       = (*raw)(nil)
	_ devices.ExtentBlock = (*raw)(nil)
)

func (r *raw) ReadAt(p []byte, off int64) (int, error)  { return r.f.ReadAt(p, off) }
func (r *raw) WriteAt(p []byte, off int64) (int, error) { return 0, host.ErrReadOnly }
func (r *raw) Close() error                             { return r.f.Close() }
func (r *raw) Size() int64                              { return r.size }
func (r *raw) ReadOnly() bool                           { return true }
func (r *raw) Flush() error                             { return nil }
func (r *raw) Discard(off, n int64) error               { return host.ErrReadOnly }
func (r *raw) WriteZeroes(off, n int64, _ bool) error   { return host.ErrReadOnly }

func (r *raw) Extents(off, n int64, f func(devices.Extent) bool) error {
	return r.f.Extents(off, n, f)
}
