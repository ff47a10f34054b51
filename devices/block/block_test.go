package block_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/devtest"
)

// image writes a file of n bytes of a pattern.
func image(t testing.TB, n int) (name string, content []byte) {
	t.Helper()
	content = make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range content {
		content[i] = byte(r.Uint32()) | 1
	}
	name = filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return name, content
}

func open(t testing.TB, name string, o block.FileOptions) *block.File {
	t.Helper()
	f, err := block.OpenFile(name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// stores makes each kind of writable store with the same content of n bytes.
func stores(t testing.TB, n int) (map[string]devices.Block, []byte) {
	t.Helper()
	name, content := image(t, n)
	m, err := block.NewMemory(bytes.Clone(content), false)
	if err != nil {
		t.Fatal(err)
	}
	o, err := block.NewFileOverlay(open(t, name, block.FileOptions{ReadOnly: true}), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	other, _ := image(t, n)
	l := map[string]devices.Block{
		"memory":         m,
		"overlay":        block.NewOverlay(open(t, name, block.FileOptions{ReadOnly: true})),
		"overlay (file)": o,
		"file":           open(t, other, block.FileOptions{}),
	}
	l["volatile"] = volatileOver(t, open(t, copyOf(t, name), block.FileOptions{}), block.VolatileOptions{Sector: 1024, Size: 1 << 20})
	clock := devtest.NewClock(time.Unix(0, 0))
	m2, err := block.NewMemory(bytes.Clone(content), false)
	if err != nil {
		t.Fatal(err)
	}
	limited, err := block.NewLimited(m2, block.Limits{}, clock)
	if err != nil {
		t.Fatal(err)
	}
	if l["limited, delayed"], err = block.NewDelayed(limited, 0, clock); err != nil {
		t.Fatal(err)
	}
	direct, _ := image(t, n)
	if f, err := block.OpenFile(direct, block.FileOptions{Direct: true}); err == nil {
		t.Cleanup(func() { f.Close() })
		l["file (direct)"] = f
	} else if !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	return l, content
}

// copyOf copies a file.
func copyOf(t testing.TB, name string) string {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(t.TempDir(), "copy.img")
	if err := os.WriteFile(name, p, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestStores compares every kind of store with a slice under random operations.
func TestStores(t *testing.T) {
	const size = 3<<20 + 5*512
	l, content := stores(t, size+100)
	for name, s := range l {
		t.Run(name, func(t *testing.T) {
			if s.Size() != size || s.ReadOnly() {
				t.Fatalf("size %d, read-only %v", s.Size(), s.ReadOnly())
			}
			model := bytes.Clone(content[:size])
			r := rand.New(rand.NewPCG(7, 7))
			n := 400
			if testing.Short() {
				n = 100
			}
			for i := range n {
				off := r.Int64N(size/512) * 512
				k := min(int64(1+r.IntN(40))*512, size-off)
				if r.IntN(20) == 0 {
					k = size - off
				}
				if r.IntN(8) == 0 { // stores take any alignment
					off, k = off+r.Int64N(512), max(1, k-512)
					k = min(k, size-off)
				}
				var err error
				switch r.IntN(5) {
				case 0, 1:
					p := make([]byte, k)
					for j := range p {
						p[j] = byte(i)
					}
					copy(model[off:], p)
					if r.IntN(4) == 0 {
						_, err = block.WriteFUA(s, p, off)
					} else {
						_, err = s.WriteAt(p, off)
					}
				case 2:
					clear(model[off : off+k])
					err = s.WriteZeroes(off, k, r.IntN(2) == 0)
				case 3:
					clear(model[off : off+k]) // all stores here read as zeroes then
					err = s.Discard(off, k)
				case 4:
					err = s.Flush()
				}
				if err != nil {
					t.Fatalf("operation %d at %d: %v", i, off, err)
				}
				off = r.Int64N(size)
				p := make([]byte, min(size-off, int64(1+r.IntN(100000))))
				if got, err := s.ReadAt(p, off); err != nil || got != len(p) {
					t.Fatalf("operation %d: read of %d at %d: %d, %v", i, len(p), off, got, err)
				}
				if !bytes.Equal(p, model[off:off+int64(len(p))]) {
					t.Fatalf("operation %d: content differs at %d", i, off)
				}
			}
			for _, bad := range [][2]int64{{size, 1}, {size - 1, 2}, {-1, 1}, {1 << 62, 512}} {
				if _, err := s.ReadAt(make([]byte, bad[1]), bad[0]); err == nil {
					t.Errorf("read at %v succeeds", bad)
				}
				if _, err := s.WriteAt(make([]byte, bad[1]), bad[0]); err == nil {
					t.Errorf("write at %v succeeds", bad)
				}
				if s.WriteZeroes(bad[0], bad[1], true) == nil || s.Discard(bad[0], bad[1]) == nil {
					t.Errorf("zeroes or discard at %v succeed", bad)
				}
			}
		})
	}
}

func TestFileKeepsContent(t *testing.T) {
	name, content := image(t, 8192+17)
	f := open(t, name, block.FileOptions{})
	if _, err := f.WriteAt([]byte("hello"), 1000); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	copy(content[1000:], "hello")
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("file has another content (%v)", err)
	}
}

// TestPartialSector checks that bytes after the last whole sector stay, also
// with direct I/O.
func TestPartialSector(t *testing.T) {
	for _, direct := range []bool{false, true} {
		name, content := image(t, 8192+3*512+17)
		f, err := block.OpenFile(name, block.FileOptions{Direct: direct})
		if direct && errors.Is(err, syscall.EINVAL) {
			t.Skip("no direct I/O in the file system of the test's folder")
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int64{8192, 8192 + 512, 8192 + 1024} {
			if _, err := f.WriteAt(content[:512], off); err != nil {
				t.Fatal(err)
			}
			copy(content[off:], content[:512])
		}
		if err := f.WriteZeroes(8192+1024, 512, true); err != nil {
			t.Fatal(err)
		}
		clear(content[8192+1024 : 8192+1536])
		f.Close()
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, content) {
			t.Errorf("direct %v: %d bytes, want %d with the same end (%v)", direct, len(got), len(content), err)
		}
	}
}

func TestOverlayKeepsBase(t *testing.T) {
	name, content := image(t, 1<<20)
	o := block.NewOverlay(open(t, name, block.FileOptions{ReadOnly: true}))
	if _, err := o.WriteAt(make([]byte, 100000), 5000); err != nil {
		t.Fatal(err)
	}
	if err := o.Discard(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(name); !bytes.Equal(got, content) {
		t.Error("the base changed")
	}
}

func TestFileOverlayLeavesNoFile(t *testing.T) {
	name, _ := image(t, 1<<20)
	dir := t.TempDir()
	o, err := block.NewFileOverlay(open(t, name, block.FileOptions{ReadOnly: true}), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if l, _ := os.ReadDir(dir); len(l) != 0 {
		t.Errorf("files in the folder: %v", l)
	}
}

func TestReadOnly(t *testing.T) {
	name, content := image(t, 4096)
	m, _ := block.NewMemory(bytes.Clone(content), true)
	for what, s := range map[string]devices.Block{"file": open(t, name, block.FileOptions{ReadOnly: true}), "memory": m} {
		_, err := s.WriteAt([]byte{1}, 0)
		for _, err := range []error{err, s.Discard(0, 512), s.WriteZeroes(0, 512, false)} {
			if !errors.Is(err, block.ErrReadOnly) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if !s.ReadOnly() || s.Flush() != nil {
			t.Errorf("%s: not a proper read-only store", what)
		}
	}
}

func TestLocks(t *testing.T) {
	for _, c := range []struct {
		first, second bool // read-only
		ok            bool
	}{
		{false, false, false}, {false, true, false}, {true, false, false}, {true, true, true},
	} {
		name, _ := image(t, 4096)
		f := open(t, name, block.FileOptions{ReadOnly: c.first})
		g, err := block.OpenFile(name, block.FileOptions{ReadOnly: c.second})
		if c.ok != (err == nil) {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil {
			g.Close()
		} else if !errors.Is(err, block.ErrInUse) || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: unclear error %q", c, err)
		}
		f.Close()
		if g, err := block.OpenFile(name, block.FileOptions{}); err != nil {
			t.Errorf("%+v: still locked after close: %v", c, err)
		} else {
			g.Close()
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	small := filepath.Join(dir, "small")
	if err := os.WriteFile(small, make([]byte, 511), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{small, dir, filepath.Join(dir, "absent")} {
		f, err := block.OpenFile(name, block.FileOptions{ReadOnly: true})
		if err == nil {
			f.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("error does not name the image: %v", err)
		}
	}
	if _, err := block.NewMemory(make([]byte, 100), false); err == nil {
		t.Error("memory disk of 100 bytes")
	}
}

func TestFileGrows(t *testing.T) {
	name, _ := image(t, 4096)
	f := open(t, name, block.FileOptions{})
	if err := os.Truncate(name, 10000); err != nil {
		t.Fatal(err)
	}
	if err := f.Refresh(); err != nil || f.Size() != 19*512 {
		t.Errorf("size %d, %v", f.Size(), err)
	}
	if _, err := f.ReadAt(make([]byte, 512), 18*512); err != nil {
		t.Error(err)
	}
}

func TestVectors(t *testing.T) {
	type vectored interface {
		devices.Block
		ReadVAt(bufs [][]byte, off int64) error
		WriteVAt(bufs [][]byte, off int64) error
	}
	l, content := stores(t, 1<<20)
	for name, s := range l {
		f, ok := s.(vectored)
		if !ok {
			continue
		}
		var bufs [][]byte
		total := 0
		for i := range 1500 { // more than the host takes in one call
			bufs = append(bufs, make([]byte, 1+i%300))
			total += len(bufs[i])
		}
		if err := f.ReadVAt(bufs, 777); err != nil || !bytes.Equal(bytes.Join(bufs, nil), content[777:777+total]) {
			t.Errorf("%s: read differs (%v)", name, err)
		}
		for _, b := range bufs {
			for i := range b {
				b[i] ^= 0xff
			}
		}
		if err := f.WriteVAt(bufs, 777); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, total)
		if _, err := f.ReadAt(got, 777); err != nil || !bytes.Equal(got, bytes.Join(bufs, nil)) {
			t.Errorf("%s: write differs (%v)", name, err)
		}
		if f.ReadVAt(bufs, 1<<20-10) == nil || f.WriteVAt(bufs, -1) == nil {
			t.Errorf("%s: vectors outside of the image succeed", name)
		}
	}
}

func TestOverlayConcurrently(t *testing.T) {
	m, _ := block.NewMemory(make([]byte, 4<<20), true)
	o := block.NewOverlay(m)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			// Interleaved sectors of shared clusters.
			p := bytes.Repeat([]byte{byte(g + 1)}, 512)
			for i := g; i < 2048; i += 8 {
				if _, err := o.WriteAt(p, int64(i)*512); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p := make([]byte, 2048*512)
	if _, err := o.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	for i := range p {
		if p[i] != byte(i/512%8+1) {
			t.Fatalf("byte %d is %d", i, p[i])
		}
	}
}

// TestExtents checks that the extents of stores cover them, in order, and that
// what they call zero is.
func TestExtents(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sparse")
	if err := block.CreateRaw(name, 4<<20); err != nil {
		t.Fatal(err)
	}
	f := open(t, name, block.FileOptions{})
	for _, off := range []int64{0, 1 << 20, 3 << 20} {
		if _, err := f.WriteAt(filled(65536, 1), off); err != nil {
			t.Fatal(err)
		}
	}
	m := memory(t, 4<<20)
	cached := volatileOver(t, f, block.VolatileOptions{})
	if _, err := cached.WriteAt(filled(512, 1), 2<<20); err != nil {
		t.Fatal(err)
	}
	for _, s := range []devices.Block{f, m, volatileOver(t, f, block.VolatileOptions{}), cached} {
		end, zero := int64(512), int64(0)
		err := block.Extents(s, 512, 4<<20-512, func(e devices.Extent) bool {
			if e.Off != end || e.Len <= 0 {
				t.Fatalf("%T: extent %+v after %d", s, e, end)
			}
			p := make([]byte, e.Len)
			if _, err := s.ReadAt(p, e.Off); err != nil || e.Zero && len(bytes.Trim(p, "\x00")) > 0 {
				t.Errorf("%T: extent %+v is not zero (%v)", s, e, err)
			}
			if end += e.Len; e.Zero {
				zero += e.Len
			}
			return true
		})
		if err != nil || end != 4<<20 {
			t.Errorf("%T: extents end at %d (%v)", s, end, err)
		}
		if s == devices.Block(f) && zero < 3<<20 {
			t.Errorf("only %d bytes are holes", zero)
		}
		n := 0
		if err := block.Extents(s, 0, 4<<20, func(devices.Extent) bool { n++; return false }); err != nil || n != 1 {
			t.Errorf("%T: went on %d times (%v)", s, n, err)
		}
		if block.Extents(s, 4<<20, 1, func(devices.Extent) bool { return true }) == nil {
			t.Errorf("%T: extents outside", s)
		}
	}
}
