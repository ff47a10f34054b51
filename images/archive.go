package images

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/u-root/mkuimage/cpio"
)

// File is a file of an initial RAM disk.
type File struct {
	Name string // its path, without a leading slash
	From string // the file of the host with its contents; "" for Data
	Data []byte
	Link string // what a symbolic link points to; then there are no contents
}

// Archive writes a cpio archive with the files, all of them executable, the
// directories that they are in, dirs besides, and /dev/console to the file
// called to.
func Archive(to string, files []File, dirs ...string) error {
	records := []cpio.Record{}
	seen := map[string]bool{}
	addDir := func(dir string) {
		var up []string
		for ; dir != "." && dir != "/" && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			up = append(up, dir)
		}
		for _, d := range slices.Backward(up) {
			records = append(records, cpio.Directory(d, 0o755))
		}
	}
	addDir("dev")
	for _, d := range dirs {
		addDir(d)
	}
	records = append(records, cpio.CharDev("dev/console", 0o600, 5, 1))
	for _, f := range files {
		if f.Name == "" || strings.HasPrefix(f.Name, "/") {
			return fmt.Errorf("initial RAM disk: file name %q: must be a relative path", f.Name)
		}
		addDir(path.Dir(f.Name))
		data := f.Data
		if f.From != "" {
			var err error
			if data, err = os.ReadFile(f.From); err != nil {
				return fmt.Errorf("initial RAM disk: %w", err)
			}
		}
		if f.Link != "" {
			records = append(records, cpio.Symlink(f.Name, f.Link))
			continue
		}
		records = append(records, cpio.StaticFile(f.Name, string(data), 0o755))
	}
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("initial RAM disk: %w", err)
	}
	w := cpio.Newc.Writer(out)
	err = cpio.WriteRecords(w, records)
	if err == nil {
		err = cpio.WriteTrailer(w)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("initial RAM disk: %w", err)
	}
	return nil
}
