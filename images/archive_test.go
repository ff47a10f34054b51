package images

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/u-root/mkuimage/cpio"
)

func TestArchive(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to.cpio")
	if err := os.WriteFile(from, []byte("contents"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Archive(to, []File{
		{Name: "init", Data: []byte("#!/bin/sh\n")},
		{Name: "usr/lib/a", From: from},
		{Name: "usr/lib/b", Link: "a"},
	}, "proc", "usr/share")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(f))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range records {
		names = append(names, r.Name)
		if r.Name == "usr/lib/a" {
			if p, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize))); err != nil || string(p) != "contents" {
				t.Errorf("%s holds %q, %v", r.Name, p, err)
			}
		}
	}
	const want = "dev proc usr usr/share dev/console init usr/lib usr/lib/a usr/lib/b"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("archive of %s, want %s", got, want)
	}

	for _, f := range []File{{Name: ""}, {Name: "/init"}, {Name: "x", From: filepath.Join(dir, "missing")}} {
		if err := Archive(to, []File{f}); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
}

// TestProgram builds a program once, and tells what is wrong with one that
// cannot be built.
func TestProgram(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("builds a program, for Linux on amd64")
	}
	c := Cache{t.TempDir()}
	ctx := context.Background()
	src := fstest.MapFS{
		"main.go":  {Data: []byte("package main\n\nfunc main() { println(word) }\n")},
		"one.go":   {Data: []byte("//go:build one\n\npackage main\n\nconst word = \"one\"\n")},
		"other.go": {Data: []byte("//go:build !one\n\npackage main\n\nconst word = \"other\"\n")},
	}
	for _, tt := range []struct {
		tags []string
		want string
	}{{nil, "other\n"}, {[]string{"one"}, "one\n"}} {
		var said bytes.Buffer
		first, err := Program(ctx, c, &said, "words", src, tt.tags...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Program(ctx, c, &said, "words", src, tt.tags...)
		if err != nil || again != first || strings.Count(said.String(), "\n") != 1 {
			t.Errorf("built %s, then %s, %v; it said %q", first, again, err, said.String())
		}
		if out, err := exec.Command(first).CombinedOutput(); err != nil || string(out) != tt.want {
			t.Errorf("%v prints %q, %v, want %q", tt.tags, out, err, tt.want)
		}
	}
	_, err := Program(ctx, c, io.Discard, "broken", fstest.MapFS{"main.go": {Data: []byte("package main\n\nfunc main() { nothing() }\n")}})
	if err == nil || !strings.Contains(err.Error(), "undefined: nothing") {
		t.Errorf("a program that cannot be built: %v", err)
	}
}
