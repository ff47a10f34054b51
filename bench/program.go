package bench

import (
	"context"
	"embed"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"dfemu/images"
)

// guestSource is the guest program.
//
//go:embed guest/*.go guest/*.s
var guestSource embed.FS

// Guest is the guest program and the initial RAM disk around it.
type Guest struct {
	Program string // its executable, for the host
	Initrd  string // with it as /init
	dir     string
}

// NewGuest builds the guest program, or takes it from the cache. The caller
// closes the guest.
func NewGuest(ctx context.Context, c images.Cache, progress io.Writer) (*Guest, error) {
	src, err := fs.Sub(guestSource, "guest")
	if err != nil {
		return nil, err
	}
	// purego makes the standard library hash in Go, so that all subjects
	// execute the same instructions.
	program, err := images.Program(ctx, c, progress, "bench-guest", src, "purego")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "dfemu-bench-*")
	if err != nil {
		return nil, err
	}
	g := &Guest{Program: program, Initrd: filepath.Join(dir, "initrd.cpio"), dir: dir}
	if err := images.Archive(g.Initrd, []images.File{{Name: "init", From: program}}, "tmp", "proc"); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Close removes the initial RAM disk.
func (g *Guest) Close() error { return os.RemoveAll(g.dir) }
