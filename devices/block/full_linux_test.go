package block_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"dfemu/devices/block/qcow2"
)

// TestHostFull fills a small file system of the host: the guest gets errors,
// and what was flushed stays.
func TestHostFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skip("no file system of its own without privileges:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	raw, q := filepath.Join(dir, "raw.img"), filepath.Join(dir, "q.qcow2")
	for _, name := range []string{raw, q} {
		if name == raw {
			if err := os.WriteFile(raw, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(raw, 16<<20); err != nil {
				t.Fatal(err)
			}
		} else if err := qcow2.Create(q, qcow2.CreateOptions{Size: 16 << 20, ClusterSize: 4096}); err != nil {
			t.Fatal(err)
		}
		d, err := disk(t, "%s", name)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, 1))
		model := make([]byte, 16<<20)
		failed := 0
		for failed < 10 {
			off := r.Int64N(4096) * 4096
			p := filled(4096, byte(1+r.IntN(255)))
			if _, err := d.WriteAt(p, off); err == nil {
				copy(model[off:], p)
			} else if failed++; !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			if err := d.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(content(t, d), model) {
			t.Errorf("%s: content differs", name)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if name == q {
			if c, err := qcow2.Check(q, qcow2.FixNothing); err != nil || c.Errors > 0 {
				t.Errorf("%+v, %v", c, err)
			}
		}
		if d, err = disk(t, "%s,ro", name); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content(t, d), model) {
			t.Errorf("%s: content differs after opening it again", name)
		}
		d.Close()
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}
