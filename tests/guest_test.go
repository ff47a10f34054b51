// Package tests boots whole guests on the machine and looks at what they
// print. What needs Debian packages (tests/install-debian) or time says so
// when it is skipped.
package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dfemu/images"
)

// need returns the path of a file that a test needs, or skips the test.
func need(t *testing.T, path, remedy string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there: %s", path, remedy)
	}
	return path
}

const installRemedy = "run tests/install-debian as root"

// busybox is Debian's static busybox.
func busybox(t *testing.T) string { return need(t, "/bin/busybox", installRemedy) }

// initramfs writes a cpio archive with busybox, kernel modules and an /init
// script, and returns its name.
func initramfs(t *testing.T, script string, modules []string) string {
	t.Helper()
	files := []images.File{
		{Name: "init", Data: []byte("#!/bin/busybox sh\n" + script)},
		{Name: "bin/busybox", From: busybox(t)},
	}
	for _, applet := range []string{"sh", "mount", "cat", "dd", "md5sum", "grep", "poweroff", "insmod", "sleep", "echo", "wc", "cut", "head", "reboot", "dmesg", "ls", "mdev", "seq", "sha256sum", "gzip", "sort"} {
		files = append(files, images.File{Name: "bin/" + applet, Link: "busybox"})
	}
	for _, m := range modules {
		files = append(files, images.File{Name: "modules/" + filepath.Base(m), From: m})
	}
	name := filepath.Join(t.TempDir(), "initrd.cpio")
	if err := images.Archive(name, files, "proc", "sys", "tmp"); err != nil {
		t.Fatal(err)
	}
	return name
}

// timeLimit bounds a guest's run; it is there to end what hangs, not to
// measure.
const timeLimit = 8 * time.Minute

// output collects a console.
type output struct{ bytes.Buffer }

// expect reports which of the words a console lacks.
func (o *output) expect(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		if !bytes.Contains(o.Bytes(), []byte(w)) {
			t.Errorf("the console lacks %q", w)
		}
	}
	if t.Failed() {
		t.Logf("console:\n%s", o.Bytes())
	}
}
