package bench

import (
	"context"
	"embed"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	return newGuest(ctx, c, progress)
}

// NewDriverGuest is NewGuest for the rows of devices: the program loads drivers, which are kernel modules in a folder, in
// the order given.
func NewDriverGuest(ctx context.Context, c images.Cache, progress io.Writer, dir string, drivers []string) (*Guest, error) {
	files := []images.File{{Name: "drivers/order", Data: []byte(strings.Join(drivers, "\n") + "\n")}}
	for _, d := range drivers {
		files = append(files, images.File{Name: "drivers/" + d, From: filepath.Join(dir, d)})
	}
	return newGuest(ctx, c, progress, files...)
}

// newGuest builds the guest program and an initial RAM disk with files besides.
func newGuest(ctx context.Context, c images.Cache, progress io.Writer, files ...images.File) (*Guest, error) {
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
	if err := images.Archive(g.Initrd, append(files, images.File{Name: "init", From: program}), "tmp", "proc"); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Close removes the initial RAM disk.
func (g *Guest) Close() error { return os.RemoveAll(g.dir) }
