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

	"github.com/u-root/mkuimage/cpio"
)

// guestsDir is where tests/install-debian puts kernels.
func guestsDir() string {
	if d := os.Getenv("DFEMU_GUESTS"); d != "" {
		return d
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "dfemu", "guests")
}

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
	var records []cpio.Record
	for _, d := range []string{"bin", "dev", "proc", "sys", "tmp", "modules"} {
		records = append(records, cpio.Directory(d, 0o755))
	}
	records = append(records,
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.StaticFile("init", "#!/bin/busybox sh\n"+script, 0o755),
		file(t, "bin/busybox", busybox(t)),
	)
	for _, applet := range []string{"sh", "mount", "cat", "dd", "md5sum", "grep", "poweroff", "insmod", "sleep", "echo", "wc", "cut", "head", "reboot", "dmesg", "ls", "mdev", "seq", "sha256sum", "gzip", "sort"} {
		records = append(records, cpio.Symlink("bin/"+applet, "busybox"))
	}
	for _, m := range modules {
		records = append(records, file(t, "modules/"+filepath.Base(m), m))
	}
	name := filepath.Join(t.TempDir(), "initrd.cpio")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := cpio.Newc.Writer(f)
	if err := cpio.WriteRecords(w, records); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	return name
}

func file(t *testing.T, name, from string) cpio.Record {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	return cpio.StaticFile(name, string(data), 0o755)
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
