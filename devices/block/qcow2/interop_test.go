package qcow2

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// mixed is content with data that can be compressed, data that cannot, and
// zeroes.
func mixed(n int, seed uint64) []byte {
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for off := 0; off < n; off += 4096 {
		q := p[off:min(off+4096, n)]
		switch off / 65536 % 4 {
		case 0:
			fillPattern(q, byte(r.Uint32()))
		case 1:
			for i := range q {
				q[i] = byte(r.Uint32())
			}
		case 2:
			copy(q, strings.Repeat(fmt.Sprint("line ", off, "\n"), 100))
		}
	}
	return p
}

func writeFile(t testing.TB, name string, p []byte) {
	t.Helper()
	if err := os.WriteFile(name, p, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestQemuImages changes images that QEMU has made.
func TestQemuImages(t *testing.T) {
	for i, options := range []string{
		"compat=0.10", "cluster_size=512", "refcount_bits=1,cluster_size=4k", "refcount_bits=64,lazy_refcounts=on",
		"preallocation=metadata", "preallocation=falloc,cluster_size=2M", "extended_l2=on,preallocation=metadata",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			const size = 3<<20 + 512
			name := filepath.Join(tempDir(t), "disk.qcow2")
			qemu(t, "create", "-q", "-f", "qcow2", "-o", options, name, fmt.Sprint(size))
			im := open(t, name, Options{})
			model := make([]byte, size)
			mutate(t, rand.New(rand.NewPCG(uint64(i), 6)), im, model, steps(80))
			closeImage(t, im)
			checkClean(t, name)
			compareContent(t, name, model)
		})
	}
}

// TestCompressed reads and overwrites compressed images, QEMU's and our own.
func TestCompressed(t *testing.T) {
	const size = 3<<20 + 1024
	content := mixed(size, 1)
	for i, c := range []struct {
		name string
		o    CreateOptions
		qemu string
	}{
		{"zlib", CreateOptions{}, "compression_type=zlib"},
		{"zstd", CreateOptions{Compression: Zstd}, "compression_type=zstd"},
		{"v2", CreateOptions{Version: 2}, "compat=0.10"},
		{"512", CreateOptions{ClusterSize: 512}, "cluster_size=512"},
		{"2M", CreateOptions{ClusterSize: 2 << 20, Compression: Zstd}, "cluster_size=2M,compression_type=zstd"},
		{"extended", CreateOptions{ExtendedL2: true}, "extended_l2=on"},
		{"1bit", CreateOptions{RefcountBits: 1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := tempDir(t)
			plain, name := filepath.Join(dir, "plain"), filepath.Join(dir, "ours.qcow2")
			writeFile(t, plain, content)
			src, err := openRaw(plain, false)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			if err := Convert(name, src, ConvertOptions{Create: c.o, Compress: true}); err != nil {
				t.Fatal(err)
			}
			names := []string{name}
			if haveQemu() && c.qemu != "" {
				theirs := filepath.Join(dir, "theirs.qcow2")
				qemu(t, "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", c.qemu, plain, theirs)
				names = append(names, theirs)
			}
			for _, name := range names {
				checkClean(t, name)
				compareContent(t, name, content)
				r, err := Check(name, FixNothing)
				if err != nil || r.CompressedClusters == 0 {
					t.Fatalf("%+v, %v", r, err)
				}
				model := bytes.Clone(content)
				im := open(t, name, Options{})
				rnd := rand.New(rand.NewPCG(uint64(i), 7))
				mutate(t, rnd, im, model, 20)
				if c.o.RefcountBits != 1 {
					if _, err := im.CreateSnapshot("one", time.Unix(1e9, 0), 0); err != nil {
						t.Fatal(err)
					}
				}
				mutate(t, rnd, im, model, 50)
				closeImage(t, im)
				checkClean(t, name)
				compareContent(t, name, model)
			}
		})
	}
}

// TestConvert copies without compression, to raw, and over a name that is
// taken.
func TestConvert(t *testing.T) {
	dir := tempDir(t)
	content := mixed(1<<20, 3)
	plain := filepath.Join(dir, "plain")
	writeFile(t, plain, content)
	src, err := openRaw(plain, false)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	q := filepath.Join(dir, "q.qcow2")
	last := int64(0)
	if err := Convert(q, src, ConvertOptions{Progress: func(done, total int64) {
		if done < last || done > total {
			t.Errorf("%d of %d after %d", done, total, last)
		}
		last = done
	}}); err != nil || last == 0 {
		t.Fatal(err)
	}
	checkClean(t, q)
	compareContent(t, q, content)
	im := open(t, q, Options{ReadOnly: true})
	raw := filepath.Join(dir, "raw")
	if err := Convert(raw, im, ConvertOptions{Raw: true}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(raw); err != nil || !bytes.Equal(got, content) {
		t.Errorf("content differs (%v)", err)
	}
	if err := Convert(raw, im, ConvertOptions{}); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	if got, _ := os.ReadFile(raw); !bytes.Equal(got, content) {
		t.Error("a refused copy changed the file")
	}
}

// TestChain reads and writes through a chain of a raw image, a compressed one
// that is longer, one that is shorter, and the top.
func TestChain(t *testing.T) {
	for _, top := range []CreateOptions{{}, {Version: 2}, {ExtendedL2: true}, {ClusterSize: 512}} {
		dir := tempDir(t)
		model := make([]byte, 4<<20)
		raw := mixed(1<<20+512, 4)
		copy(model, raw)
		writeFile(t, filepath.Join(dir, "raw"), raw)
		r := rand.New(rand.NewPCG(8, 8))
		if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		layer := func(name string, o CreateOptions) string {
			t.Helper()
			name = filepath.Join(dir, name)
			if err := Create(name, o); err != nil {
				t.Fatal(err)
			}
			im := open(t, name, Options{})
			mutate(t, r, im, model[:o.Size], 40)
			closeImage(t, im)
			checkClean(t, name)
			return name
		}
		layer("sub/one.qcow2", CreateOptions{Size: 3 << 20, BackingFile: "../raw", BackingFormat: "raw", Compression: Zstd})
		layer("two.qcow2", CreateOptions{Size: 2 << 20, BackingFile: "sub/one.qcow2", BackingFormat: "qcow2"})
		clear(model[2<<20:])
		top.Size, top.BackingFile, top.BackingFormat = 4<<20, filepath.Join(dir, "two.qcow2"), "qcow2"
		name := layer("three.qcow2", top)
		compareContent(t, name, model)
		// The same through a snapshot of the top.
		im := open(t, name, Options{})
		if _, err := im.CreateSnapshot("s", time.Unix(1, 0), 0); err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(model)
		mutate(t, r, im, model, 40)
		end := int64(0)
		if err := im.Extents(0, im.Size(), func(e devices.Extent) bool {
			if e.Off != end || e.Len <= 0 || e.Zero && !allZero(model[e.Off:e.Off+e.Len]) {
				t.Fatalf("extent %+v after %d", e, end)
			}
			end += e.Len
			return true
		}); err != nil || end != im.Size() {
			t.Errorf("extents end at %d (%v)", end, err)
		}
		closeImage(t, im)
		compareContent(t, name, model)
		v := open(t, name, Options{ReadOnly: true, Snapshot: "s"})
		got := make([]byte, len(before))
		if _, err := v.ReadAt(got, 0); err != nil || !bytes.Equal(got, before) {
			t.Errorf("snapshot differs (%v)", err)
		}
		closeImage(t, v)
	}
}

func TestChainErrors(t *testing.T) {
	dir := tempDir(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	layer := func(name, backing, format string) {
		t.Helper()
		h, err := CreateOptions{Size: 1 << 20, BackingFile: backing, BackingFormat: "qcow2"}.header()
		if err != nil {
			t.Fatal(err)
		}
		switch h.BackingFormat = format; format {
		case "":
			h.Extensions = h.Extensions[1:]
		default:
			h.Extensions[0].Data = []byte(format)
		}
		f, err := host.Create(path(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(formatImage(f, h), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := Create(path("base"), CreateOptions{Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path("plain"), []byte(strings.Repeat("x", 1000)))
	layer("self", "self", "qcow2")
	layer("a", "b", "qcow2")
	layer("b", "a", "qcow2")
	layer("absent", "nothing", "raw")
	layer("vmdk", "base", "vmdk")
	layer("unknown", "base", "")
	layer("unknown raw", "plain", "")
	layer("remote", "nbd://host/x", "raw")
	layer("remote json", `json:{"driver":"raw"}`, "raw")
	layer("not qcow2", "plain", "qcow2")
	layer("n0", "base", "qcow2")
	for i := range maxDepth {
		layer(fmt.Sprint("n", i+1), fmt.Sprint("n", i), "qcow2")
	}
	for name, why := range map[string]string{
		"self": "already part", "a": "already part", "absent": "no such file", "vmdk": `the format "vmdk"`,
		"unknown": "does not record its format", "remote": "not a file", "remote json": "not a file",
		"not qcow2": "no qcow2 image", fmt.Sprint("n", maxDepth): "more than",
	} {
		if im, err := Open(path(name), Options{}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", name, err, why)
			if err == nil {
				im.Close()
			}
		}
	}
	for name, o := range map[string]Options{
		"unknown": {ProbeBacking: true}, "unknown raw": {}, fmt.Sprint("n", maxDepth-3): {},
		"remote": {Remote: func(url string) (devices.Block, error) {
			if url != "nbd://host/x" {
				t.Error(url)
			}
			return openRaw(path("plain"), false)
		}},
	} {
		im, err := Open(path(name), o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		closeImage(t, im)
	}
	// Everything is unlocked after the errors.
	im := open(t, path("base"), Options{})
	closeImage(t, im)
}

func TestCreateErrors(t *testing.T) {
	dir := tempDir(t)
	for i, c := range []struct {
		o   CreateOptions
		why string
	}{
		{CreateOptions{}, "multiple of 512"},
		{CreateOptions{Size: 1000}, "multiple of 512"},
		{CreateOptions{Size: 1 << 20, Version: 4}, "2 or 3"},
		{CreateOptions{Size: 1 << 20, ClusterSize: 1000}, "power of two"},
		{CreateOptions{Size: 1 << 20, ClusterSize: 4 << 20}, "power of two"},
		{CreateOptions{Size: 1 << 20, RefcountBits: 3}, "power of two"},
		{CreateOptions{Size: 1 << 20, Version: 2, Compression: Zstd}, "version 3"},
		{CreateOptions{Size: 1 << 20, ClusterSize: 8192, ExtendedL2: true}, "at least 16384"},
		{CreateOptions{Size: 1 << 50, ClusterSize: 512}, "too large"},
		{CreateOptions{BackingFile: "x"}, "x"},
		{CreateOptions{BackingFile: "nbd://h", BackingFormat: "raw"}, "size"},
		{CreateOptions{Size: 1 << 20, BackingFile: "/dev/null"}, "format"},
		{CreateOptions{Size: 1 << 20, ClusterSize: 512, BackingFile: "nbd://" + strings.Repeat("h", 500), BackingFormat: "raw"}, "does not fit"},
	} {
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := Create(name, c.o); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.why)
		}
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%+v: left a file", c.o)
		}
	}
	name := create(t, CreateOptions{Size: 1 << 20})
	if err := Create(name, CreateOptions{Size: 1 << 20}); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
}

func TestInfo(t *testing.T) {
	name := create(t, CreateOptions{Size: 1 << 20, Compression: Zstd, LazyRefcounts: true, RefcountBits: 32})
	im := open(t, name, Options{})
	if _, err := im.CreateSnapshot("before", time.Unix(1e9, 0), time.Minute); err != nil {
		t.Fatal(err)
	}
	i, err := ReadInfo(name) // while it is in use
	if err != nil {
		t.Fatal(err)
	}
	if i.VirtualSize != 1<<20 || i.Compression != "zstd" || !i.LazyRefcounts || i.RefcountBits != 32 || i.ActualSize == 0 ||
		i.Version != 3 || !i.Dirty || len(i.Snapshots) != 1 || i.Snapshots[0].Name != "before" ||
		i.Snapshots[0].ID != "1" || !i.Snapshots[0].Date.Equal(time.Unix(1e9, 0)) || i.Snapshots[0].Clock != time.Minute {
		t.Errorf("%+v", i)
	}
	closeImage(t, im)
	if haveQemu() {
		if out := qemu(t, "info", name); !strings.Contains(out, "before") || !strings.Contains(out, "zstd") {
			t.Error(out)
		}
	}
}

// TestDirect bypasses the page cache.
func TestDirect(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	if err := Create(name, CreateOptions{Size: 4 << 20, ClusterSize: 1024}); err != nil {
		t.Fatal(err)
	}
	im, err := Open(name, Options{Direct: true})
	if err != nil {
		t.Skip("no direct I/O in the file system of the test's folder:", err)
	}
	model := make([]byte, 4<<20)
	mutate(t, rand.New(rand.NewPCG(3, 9)), im, model, 80)
	closeImage(t, im)
	checkClean(t, name)
	compareContent(t, name, model)
}
