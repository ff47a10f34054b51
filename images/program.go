package images

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program builds the Go program in the top directory of src, which imports
// nothing but the standard library, for Linux on amd64 without cgo, with the
// build tags given, and returns the path of the executable. The name is for
// people. It needs the go command when it is not cached; progress is told to w.
func Program(ctx context.Context, c Cache, w io.Writer, name string, src fs.FS, tags ...string) (string, error) {
	parts := []string{goVersion(ctx), strings.Join(tags, ",")}
	err := eachFile(src, func(file string, data []byte) error {
		parts = append(parts, file, string(data))
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	path, err := c.file(name+"-"+key(parts...), func(path string) error {
		fmt.Fprintf(w, "building %s (once)\n", name)
		return buildProgram(ctx, src, tags, path)
	})
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	return path, nil
}

// buildProgram compiles src into the executable at path.
func buildProgram(ctx context.Context, src fs.FS, tags []string, path string) error {
	dir, err := os.MkdirTemp("", "dfemu-program-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	err = eachFile(src, func(file string, data []byte) error {
		return os.WriteFile(filepath.Join(dir, file), data, 0o600)
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module program\n\ngo 1.26\n"), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-tags="+strings.Join(tags, ","), "-o", path, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// eachFile calls f for the files in the top directory of src, in order of
// their names.
func eachFile(src fs.FS, f func(name string, data []byte) error) error {
	entries, err := fs.ReadDir(src, ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		data, err := fs.ReadFile(src, e.Name())
		if err != nil {
			return err
		}
		if err := f(e.Name(), data); err != nil {
			return err
		}
	}
	return nil
}
