package qcow2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestSnapshotsEvicted makes, applies and deletes snapshots with hardly any
// table kept in memory.
func TestSnapshotsEvicted(t *testing.T) {
	for seed := range uint64(steps(5)) {
		for _, o := range []CreateOptions{
			{ClusterSize: 512, RefcountBits: 64}, {ClusterSize: 1024, LazyRefcounts: true}, {ClusterSize: 4096, RefcountBits: 4},
			{ClusterSize: 512, Version: 2}, {ClusterSize: 16384, ExtendedL2: true},
		} {
			o.Size = 1 << 20
			f := newCrashFile(t, o)
			im := openCrashFile(t, f, Options{CacheBytes: 1})
			r := rand.New(rand.NewPCG(seed, 77))
			model := make([]byte, o.Size)
			saved := map[string][]byte{}
			for k := range 10 {
				mutate(t, r, im, model, 8)
				l := im.Snapshots()
				switch x := r.IntN(4); {
				case x < 2 || len(l) == 0:
					s := fmt.Sprint(k)
					if _, err := im.CreateSnapshot(s, time.Unix(1, 0), 0); err != nil {
						t.Fatal(seed, o, err)
					}
					saved[s] = bytes.Clone(model)
				case x == 2:
					s := l[r.IntN(len(l))]
					if err := im.ApplySnapshot(s.ID); err != nil {
						t.Fatal(seed, o, err)
					}
					copy(model, saved[s.Name])
				default:
					if err := im.DeleteSnapshot(l[r.IntN(len(l))].ID); err != nil {
						t.Fatal(seed, o, err)
					}
				}
			}
			got := make([]byte, o.Size)
			if _, err := im.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
				t.Fatalf("seed %d, %+v: content differs (%v)", seed, o, err)
			}
			if err := im.Close(); err != nil {
				t.Fatal(err)
			}
			if c, err := check("x", f); err != nil || c.Errors+c.Leaks > 0 {
				t.Fatalf("seed %d, %+v: %v, %v", seed, o, c.Problems, err)
			}
		}
	}
}
