package qcow2

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// seedImages are small images of several kinds, with data, compressed clusters
// and a snapshot.
func seedImages(t testing.TB) [][]byte {
	t.Helper()
	var l [][]byte
	for i, o := range []CreateOptions{
		{ClusterSize: 512}, {ClusterSize: 512, Version: 2}, {ClusterSize: 1024, RefcountBits: 8, LazyRefcounts: true},
		{ClusterSize: 16384, ExtendedL2: true, Compression: Zstd}, {ClusterSize: 4096, RefcountBits: 64},
	} {
		o.Size = 20 * o.ClusterSize
		f := newCrashFile(t, o)
		im := openCrashFile(t, f)
		var pack packer
		for c := range int64(3) {
			p, err := im.codec.compress(bytes.Repeat([]byte("compressed"), int(o.ClusterSize))[:o.ClusterSize])
			if err != nil || p == nil || im.writeCompressed(&pack, c*o.ClusterSize, p) != nil {
				t.Fatal(err)
			}
		}
		model := make([]byte, o.Size)
		_, err := im.WriteAt(mixed(int(4*o.ClusterSize), uint64(i)), 5*o.ClusterSize)
		if err == nil {
			_, err = im.CreateSnapshot("snap", time.Unix(5, 5), time.Second)
		}
		if err == nil {
			_, err = im.ReadAt(model, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		mutate(t, rand.New(rand.NewPCG(1, uint64(i))), im, model, 5)
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
		l = append(l, f.now)
	}
	return l
}

// FuzzHeader parses headers.
func FuzzHeader(f *testing.F) {
	for _, p := range seedImages(f) {
		f.Add(p[:512])
	}
	h, err := CreateOptions{Size: 1 << 30, BackingFile: "nbd://x", BackingFormat: "raw"}.header()
	if err != nil {
		f.Fatal(err)
	}
	h.L1TableOffset, h.RefcountTableOffset, h.RefcountTableClusters, h.L1Size = 1<<16, 2<<16, 1, 2
	p, err := h.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p[:1024])
	f.Fuzz(func(t *testing.T, p []byte) {
		h, err := ParseHeader("fuzz", p)
		if err != nil {
			var d *DamageError
			var u *UnsupportedError
			if !errors.As(err, &d) && !errors.As(err, &u) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if h.HeaderLength > headerV3+8 {
			return // fields that are not known are not kept
		}
		// What is understood survives being written.
		q, err := h.encode()
		if err != nil {
			return
		}
		g, err := ParseHeader("fuzz", q)
		if err != nil || g.Size != h.Size || g.BackingFile != h.BackingFile || g.BackingFormat != h.BackingFormat || len(g.Extensions) != len(h.Extensions) {
			t.Fatalf("%+v becomes %+v, %v", h, g, err)
		}
	})
}

// FuzzSnapshotTable parses snapshot tables.
func FuzzSnapshotTable(f *testing.F) {
	f.Add(encodeSnapshots([]Snapshot{{ID: "1", Name: "a", Date: time.Unix(9, 9), DiskSize: 512, l1Offset: 512, l1Size: 1}, {ID: "2"}}), 2)
	f.Fuzz(func(t *testing.T, p []byte, n int) {
		l, used, err := parseSnapshots("fuzz", p, n&0xff, 0)
		if err != nil {
			return
		}
		if used < 0 || used > int64(len(p)) {
			t.Fatalf("%d of %d bytes", used, len(p))
		}
		m, _, err := parseSnapshots("fuzz", encodeSnapshots(l), len(l), 0)
		if err != nil || len(m) != len(l) {
			t.Fatal(err)
		}
		for i := range l {
			if l[i].ID != m[i].ID || l[i].Name != m[i].Name || l[i].DiskSize != m[i].DiskSize || l[i].l1Offset != m[i].l1Offset {
				t.Fatalf("%+v becomes %+v", l[i], m[i])
			}
		}
	})
}

// FuzzImage changes bytes of an image's tables and uses it: patches are an
// offset of two bytes, a count, and the bytes.
func FuzzImage(f *testing.F) {
	seeds := seedImages(f)
	for i := range seeds {
		f.Add(byte(i), []byte{})
		f.Add(byte(i), []byte{0, 79, 1, 1})                           // dirty
		f.Add(byte(i), []byte{2, 0, 8, 0, 0, 0, 0, 0, 0, 6, 0})       // a refcount table entry
		f.Add(byte(i), []byte{6, 0, 8, 0x80, 0, 0, 0, 0, 0, 4, 0})    // an L1 entry
		f.Add(byte(i), []byte{8, 0, 8, 0x40, 0xff, 0, 0, 0, 0, 4, 7}) // an L2 entry
		f.Add(byte(i), []byte{0, 60, 4, 0, 0, 0, 5})
	}
	f.Fuzz(func(t *testing.T, which byte, patches []byte) {
		p := bytes.Clone(seeds[int(which)%len(seeds)])
		for len(patches) >= 3 {
			off, n := int(be.Uint16(patches)), int(patches[2])
			patches = patches[3:]
			n = min(n, len(patches))
			if off < len(p) {
				copy(p[off:], patches[:n])
			}
			patches = patches[n:]
		}
		useImage(t, p)
	})
}

// FuzzFile uses anything as an image.
func FuzzFile(f *testing.F) {
	for _, p := range seedImages(f)[:2] { // large ones take long to make small
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) { useImage(t, p) })
}

// useImage does a bit of everything with an image. Errors are welcome; what is
// read must not change by itself, and a check must not get worse.
func useImage(t *testing.T, p []byte) {
	file := func() *crashFile { return &crashFile{durable: bytes.Clone(p), now: bytes.Clone(p), left: 1 << 30} }
	if im, err := openContainer("fuzz", file(), Options{ReadOnly: true}); err == nil {
		if im.Size() > 8<<20 {
			return
		}
		readAll(im)
		for _, s := range im.Snapshots() {
			if v, err := openContainer("fuzz", file(), Options{ReadOnly: true, Snapshot: s.ID}); err == nil && v.Size() <= 8<<20 {
				readAll(v)
			}
		}
	}
	f := file()
	errors := -1
	if c, err := check("fuzz", f); err == nil {
		errors = c.Errors
	}
	im, err := openContainer("fuzz", f, Options{})
	if err != nil {
		return
	}
	if im.Size() > 8<<20 {
		return
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		off := r.Int64N(im.Size())
		n := min(int64(r.IntN(5000)), im.Size()-off)
		q := bytes.Repeat([]byte{7}, int(n))
		if _, err := im.WriteAt(q, off); err != nil {
			continue
		}
		if _, err := im.ReadAt(q, off); err == nil && len(bytes.Trim(q, "\x07")) > 0 {
			t.Fatal("what was written is not there")
		}
		_ = im.Discard(off, n)
		_ = im.Flush()
	}
	_, _ = im.CreateSnapshot("fuzz", time.Unix(0, 0), 0)
	_ = im.WriteZeroes(0, im.Size()/2, true)
	if l := im.Snapshots(); len(l) > 0 {
		_ = im.ApplySnapshot(l[0].ID)
		_ = im.DeleteSnapshot(l[0].ID)
	}
	_ = im.Close()
	if len(f.now) > len(p)+1<<24 {
		t.Fatalf("the file grew from %d to %d bytes", len(p), len(f.now))
	}
	if c, err := check("fuzz", f); errors == 0 && (err != nil || c.Errors > c.flagsMissing) {
		t.Fatalf("an image without errors has some now: %v, %v", c.first, err)
	}
	if c, err := check("fuzz", f); err == nil {
		_ = c.repair()
	}
}

func readAll(im *Image) {
	q := make([]byte, 1<<16)
	for off := int64(0); off < im.Size(); off += 1 << 16 {
		if _, err := im.ReadAt(q[:min(1<<16, im.Size()-off)], off); err != nil {
			return
		}
	}
}
