package qcow2

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// TestRefcountTableGrows writes more than the first refcount table is for, and
// pulls the plug meanwhile.
func TestRefcountTableGrows(t *testing.T) {
	for seed := range uint64(steps(24)) {
		r := rand.New(rand.NewPCG(seed, 1))
		o := CreateOptions{Size: 5 << 20, ClusterSize: 512, RefcountBits: 64, LazyRefcounts: seed%4 == 3}
		f := newCrashFile(t, o)
		im := openCrashFile(t, f)
		first := im.h.RefcountTableOffset
		// The table is full after about 2 MiB.
		p := make([]byte, 16<<10)
		model := make([]byte, o.Size)
		flushed := int64(0)
		var err error
		for off := int64(0); off < o.Size && err == nil; off += int64(len(p)) {
			if off == 1800<<10 && seed > 0 {
				f.left = r.IntN(500)
			}
			fillPattern(p, byte(off>>14)|1)
			if _, err = im.WriteAt(p, off); err == nil {
				copy(model[off:], p)
				if r.IntN(3) == 0 {
					if err = im.Flush(); err == nil {
						flushed = off + int64(len(p))
					}
				}
			}
		}
		switch {
		case err == nil:
			flushed = o.Size
			if err := im.Close(); err != nil {
				t.Fatal(err)
			}
			if im.h.RefcountTableOffset == first {
				t.Fatal("the table did not move")
			}
		case errors.Is(err, errCut):
			f = f.crash(r, seed%5 == 0)
		default:
			t.Fatal(err)
		}
		c, err := check("grow", f)
		if err != nil || c.Errors > 0 && c.im.h.IncompatibleFeatures&incompatDirty == 0 || seed == 0 && c.Leaks > 0 {
			t.Fatalf("seed %d: %v, %d leaks, %v", seed, c.first, c.Leaks, err)
		}
		im = openCrashFile(t, f)
		got := make([]byte, flushed)
		if _, err := im.ReadAt(got, 0); err != nil || !bytes.Equal(got, model[:flushed]) {
			t.Fatalf("seed %d: content differs at %#x of %#x (%v)", seed, differ(got, model), flushed, err)
		}
		if _, err := im.WriteAt(model, 0); err != nil {
			t.Fatal(err)
		}
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
		if c, err := check("grow", f); err != nil || c.Errors > 0 {
			t.Fatalf("seed %d: %v, %v", seed, c.first, err)
		}
	}
}

// TestContiguous allocates more clusters in a row than a refcount block counts.
func TestContiguous(t *testing.T) {
	f := newCrashFile(t, CreateOptions{Size: 64 << 20, ClusterSize: 512, RefcountBits: 64})
	im := openCrashFile(t, f)
	if err := im.writable(); err != nil {
		t.Fatal(err)
	}
	im.mu.Lock()
	for _, n := range []int64{10, 64, 100, 1000} {
		a, err := im.refs.alloc(n, false)
		if err != nil || a.n != n {
			t.Fatalf("%d clusters: %+v, %v", n, a, err)
		}
		for c := a.c; c < a.c+n; c++ {
			if k, err := im.refs.get(c); err != nil || k != 1 || im.meta[c] != "" {
				t.Fatalf("cluster %d has refcount %d, is %q", c, k, im.meta[c])
			}
		}
		im.frees = append(im.frees, a)
	}
	im.mu.Unlock()
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := check("row", f); err != nil || c.Errors+c.Leaks > 0 {
		t.Fatalf("%v, %v", c.Problems, err)
	}
}
