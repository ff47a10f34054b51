package qcow2

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// qemu runs qemu-img and skips what needs it where there is none.
func qemu(t testing.TB, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed (Debian: qemu-utils)")
	}
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func haveQemu() bool {
	_, err := exec.LookPath("qemu-img")
	return err == nil
}

// flavours are kinds of images.
var flavours = []struct {
	name string
	o    CreateOptions
}{
	{"v3", CreateOptions{}},
	{"v2", CreateOptions{Version: 2}},
	{"512", CreateOptions{ClusterSize: 512}},
	{"1bit", CreateOptions{ClusterSize: 4096, RefcountBits: 1}},
	{"64bit lazy", CreateOptions{ClusterSize: 4096, RefcountBits: 64, LazyRefcounts: true}},
	{"extended", CreateOptions{ExtendedL2: true, Compression: Zstd}},
	{"extended 16K", CreateOptions{ExtendedL2: true, ClusterSize: 16384, RefcountBits: 8, LazyRefcounts: true}},
	{"512K zstd", CreateOptions{ClusterSize: 512 << 10, Compression: Zstd}},
}

// tempDir returns a folder for the test, in memory if the host has such a place:
// what a disk does is not tested here.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "qcow2-test-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func create(t testing.TB, o CreateOptions) string {
	t.Helper()
	name := filepath.Join(tempDir(t), "disk.qcow2")
	if err := Create(name, o); err != nil {
		t.Fatal(err)
	}
	return name
}

// open opens an image without waiting for the disk; what a crash leaves is
// tested elsewhere.
func open(t testing.TB, name string, o Options) *Image {
	t.Helper()
	o.Unsafe = true
	im, err := Open(name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { im.Close() })
	return im
}

func closeImage(t testing.TB, im *Image) {
	t.Helper()
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkClean checks the image with this package and with qemu-img.
func checkClean(t testing.TB, name string) {
	t.Helper()
	r, err := Check(name, FixNothing)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Clean() {
		t.Fatalf("check: %d errors, %d leaks: %v", r.Errors, r.Leaks, r.Problems[:min(5, len(r.Problems))])
	}
	if haveQemu() {
		qemu(t, "check", "-f", "qcow2", name)
	}
}

// compareContent compares the image with content, through a new opening and
// with qemu-img.
func compareContent(t testing.TB, name string, content []byte, extra ...string) {
	t.Helper()
	im := open(t, name, Options{ReadOnly: true})
	got := make([]byte, im.Size())
	if _, err := im.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	closeImage(t, im)
	if i := differ(got, content); i >= 0 {
		t.Fatalf("content differs at %#x (of %#x and %#x bytes)", i, len(got), len(content))
	}
	if haveQemu() {
		plain := filepath.Join(tempDir(t), "plain")
		if err := os.WriteFile(plain, content, 0o644); err != nil {
			t.Fatal(err)
		}
		qemu(t, append(append([]string{"compare"}, extra...), "-f", "qcow2", "-F", "raw", name, plain)...)
	}
}

func differ(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// mutate makes n random changes to both the store and the model.
func mutate(t testing.TB, r *rand.Rand, s devices.Block, model []byte, n int) {
	t.Helper()
	size := int64(len(model))
	for i := range n {
		off := r.Int64N(size/512) * 512
		k := min(int64(1+r.IntN(64))*512, size-off)
		switch r.IntN(10) {
		case 0:
			k = min(int64(r.IntN(4<<20))&^511+512, size-off)
		case 1:
			off, k = off+r.Int64N(512), max(1, k-512)
			k = min(k, size-off)
		}
		var err error
		var what string
		switch r.IntN(9) {
		case 0, 1, 2, 3:
			what = "write"
			p := make([]byte, k)
			fillPattern(p, byte(r.Uint32()))
			copy(model[off:], p)
			if v := s.(devices.VectorBlock); r.IntN(3) == 0 {
				x := r.IntN(len(p))
				err = v.WriteVAt([][]byte{p[:x], nil, p[x:]}, off)
			} else {
				_, err = s.WriteAt(p, off)
			}
		case 4:
			what = "zeroes"
			clear(model[off : off+k])
			err = s.WriteZeroes(off, k, true)
		case 5:
			what = "zeroes, keep"
			clear(model[off : off+k])
			err = s.WriteZeroes(off, k, false)
		case 6:
			what = "discard"
			if err = s.Discard(off, k); err == nil {
				// What it reads as is undefined: it must be stable from now on.
				_, err = s.ReadAt(model[off:off+k], off)
			}
		case 7:
			what = "flush"
			err = s.Flush()
		case 8:
			what = "read"
			p := make([]byte, k)
			if _, err = s.ReadAt(p, off); err == nil && !bytes.Equal(p, model[off:off+k]) {
				t.Fatalf("change %d: content differs at %#x", i, off+int64(differ(p, model[off:off+k])))
			}
		}
		if err != nil {
			t.Fatalf("change %d: %s of %d bytes at %#x: %v", i, what, k, off, err)
		}
	}
}

func fillPattern(p []byte, b byte) {
	for i := range p {
		p[i] = b + byte(i>>9)
	}
}

func steps(n int) int {
	if testing.Short() {
		return n / 4
	}
	return n
}

// TestRandom compares images of all kinds with a slice under random changes,
// and has their structure checked, here and by QEMU.
func TestRandom(t *testing.T) {
	for i, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 4))
			o := f.o
			o.Size = 5<<20 + 3*512
			name := create(t, o)
			checkClean(t, name)
			model := make([]byte, o.Size)
			for range 2 {
				im := open(t, name, Options{})
				mutate(t, r, im, model, steps(120))
				if err := im.Flush(); err != nil {
					t.Fatal(err)
				}
				closeImage(t, im)
				checkClean(t, name)
				compareContent(t, name, model)
			}
		})
	}
}

// TestSnapshots makes, applies and deletes snapshots between random changes.
func TestSnapshots(t *testing.T) {
	for i, f := range flavours {
		if f.o.RefcountBits == 1 {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 5))
			o := f.o
			o.Size = 3<<20 + 512
			name := create(t, o)
			model := make([]byte, o.Size)
			saved := map[string][]byte{}
			im := open(t, name, Options{})
			for n := range steps(10) {
				mutate(t, r, im, model, 12)
				var names []string
				for _, s := range im.Snapshots() {
					names = append(names, s.Name)
				}
				switch k := r.IntN(4); {
				case k <= 1 || len(names) == 0:
					s := fmt.Sprint("snap", n)
					if _, err := im.CreateSnapshot(s, time.Unix(1e9, 5), time.Second); err != nil {
						t.Fatal(err)
					}
					saved[s] = bytes.Clone(model)
				case k == 2:
					s := names[r.IntN(len(names))]
					if err := im.ApplySnapshot(s); err != nil {
						t.Fatal(err)
					}
					copy(model, saved[s])
				case k == 3:
					if err := im.DeleteSnapshot(names[r.IntN(len(names))]); err != nil {
						t.Fatal(err)
					}
				}
				if r.IntN(4) == 0 {
					closeImage(t, im)
					checkClean(t, name)
					compareContent(t, name, model)
					im = open(t, name, Options{})
				}
			}
			if _, err := im.CreateSnapshot("last", time.Unix(2, 0), 0); err != nil {
				t.Fatal(err)
			}
			saved["last"] = bytes.Clone(model)
			mutate(t, r, im, model, 5)
			left := im.Snapshots()
			closeImage(t, im)
			checkClean(t, name)
			for _, s := range left {
				v := open(t, name, Options{ReadOnly: true, Snapshot: s.ID})
				got := make([]byte, v.Size())
				if _, err := v.ReadAt(got, 0); err != nil || !bytes.Equal(got, saved[s.Name]) {
					t.Errorf("snapshot %q differs (%v)", s.Name, err)
				}
				closeImage(t, v)
			}
			if s := left[len(left)-1]; haveQemu() {
				qemu(t, "snapshot", "-a", s.Name, name)
				compareContent(t, name, saved[s.Name])
			}
			checkClean(t, name)
		})
	}
}

func TestSnapshotErrors(t *testing.T) {
	name := create(t, CreateOptions{Size: 1 << 20, RefcountBits: 1})
	im := open(t, name, Options{})
	if _, err := im.CreateSnapshot("a", time.Unix(0, 0), 0); err != nil {
		t.Error("an empty image needs no second user of a cluster:", err)
	}
	if _, err := im.CreateSnapshot("a", time.Unix(0, 0), 0); !errors.Is(err, fs.ErrExist) {
		t.Error("the name is taken:", err)
	}
	if _, err := im.WriteAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := im.CreateSnapshot("b", time.Unix(0, 0), 0); err == nil || !strings.Contains(err.Error(), "1 bits") {
		t.Error("refcounts of one bit cannot count two users:", err)
	}
	for _, f := range []func(string) error{im.ApplySnapshot, im.DeleteSnapshot} {
		if err := f("c"); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	closeImage(t, im)
	checkClean(t, name)
	if _, err := Open(name, Options{Snapshot: "a"}); err == nil {
		t.Error("a snapshot opens for writing")
	}
	if _, err := Open(name, Options{Snapshot: "x", ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestConcurrent has many requests in flight in the same clusters.
func TestConcurrent(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			o := f.o
			o.Size = 4 << 20
			name := create(t, o)
			im := open(t, name, Options{})
			model := make([]byte, o.Size)
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(g), 1))
					p := make([]byte, 1024)
					for range steps(200) {
						// Each has sectors of its own, in shared clusters.
						off := (r.Int64N(o.Size/8192)*8 + int64(g)) * 1024
						mine := model[off : off+1024]
						switch r.IntN(5) {
						case 0:
							clear(mine)
							if err := im.WriteZeroes(off, 1024, true); err != nil {
								t.Error(err)
							}
						case 1:
							if err := im.Flush(); err != nil {
								t.Error(err)
							}
						case 2:
							if _, err := im.ReadAt(p, off); err != nil || !bytes.Equal(p, mine) {
								t.Errorf("content differs at %#x (%v)", off, err)
							}
						default:
							fillPattern(mine, byte(r.Uint32())|1)
							if _, err := im.WriteAt(mine, off); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			wg.Go(func() {
				for i := range 4 {
					if o.RefcountBits == 1 {
						return
					}
					if _, err := im.CreateSnapshot(fmt.Sprint(i), time.Unix(1, 0), 0); err != nil {
						t.Error(err)
					}
					if i%2 == 1 {
						if err := im.DeleteSnapshot(fmt.Sprint(i - 1)); err != nil {
							t.Error(err)
						}
					}
				}
			})
			wg.Wait()
			closeImage(t, im)
			checkClean(t, name)
			compareContent(t, name, model)
		})
	}
}

// TestReuse checks that discarded room is used again, and given back.
func TestReuse(t *testing.T) {
	name := create(t, CreateOptions{Size: 64 << 20})
	im := open(t, name, Options{})
	p := make([]byte, 1<<20)
	fillPattern(p, 1)
	for range 8 {
		for off := int64(0); off < 8<<20; off += 1 << 20 {
			if _, err := im.WriteAt(p, off); err != nil {
				t.Fatal(err)
			}
		}
		if err := im.Discard(0, 8<<20); err != nil {
			t.Fatal(err)
		}
		if err := im.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	closeImage(t, im)
	checkClean(t, name)
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() > 12<<20 {
		t.Errorf("the file grew to %d bytes", st.Size())
	}
	if n := host.Usage(st); n > 1<<20 {
		t.Errorf("discarded clusters take %d bytes", n)
	}
}

// TestEviction works with more L2 tables than are kept in memory.
func TestEviction(t *testing.T) {
	name := create(t, CreateOptions{Size: 8 << 20, ClusterSize: 512})
	im := open(t, name, Options{CacheBytes: 4 * 512})
	model := make([]byte, 8<<20)
	mutate(t, rand.New(rand.NewPCG(3, 3)), im, model, steps(300))
	im.mu.RLock()
	if len(im.resident) > 200 {
		t.Errorf("%d tables in memory", len(im.resident))
	}
	im.mu.RUnlock()
	closeImage(t, im)
	checkClean(t, name)
	compareContent(t, name, model)
}

func TestReadOnly(t *testing.T) {
	name := create(t, CreateOptions{Size: 1 << 20})
	before, _ := os.ReadFile(name)
	im := open(t, name, Options{ReadOnly: true})
	_, err := im.WriteAt(make([]byte, 512), 0)
	_, errS := im.CreateSnapshot("a", time.Unix(0, 0), 0)
	for _, err := range []error{err, errS, im.Discard(0, 65536), im.WriteZeroes(0, 512, false)} {
		if !errors.Is(err, host.ErrReadOnly) {
			t.Error(err)
		}
	}
	closeImage(t, im)
	if after, _ := os.ReadFile(name); !bytes.Equal(before, after) {
		t.Error("the file changed")
	}
	if _, err := im.ReadAt(make([]byte, 1), 0); !errors.Is(err, host.ErrClosed) {
		t.Error(err)
	}
}
