package qcow2

import (
	"math/rand/v2"
	"testing"
	"time"
	"bytes"
	"fmt"
)

func TestStress(t *testing.T) {
	end := time.Now().Add(100 * time.Second)
	n := 0
	for seed := uint64(5000); time.Now().Before(end); seed++ {
		n++
		for _, o := range []CreateOptions{
			{ClusterSize: 512, RefcountBits: 64}, {ClusterSize: 1024, LazyRefcounts: true}, {ClusterSize: 4096, RefcountBits: 4},
			{ClusterSize: 512, Version: 2}, {ClusterSize: 16384, ExtendedL2: true},
		} {
			crashOnce(t, o, seed)
			if t.Failed() {
				t.Fatal(seed, o)
			}
			// snapshots, in memory
			o.Size = 1 << 20
			h, _ := o.header()
			f := &crashFile{left: 1 << 30}
			_ = formatImage(f, h)
			im, err := openContainer("x", f, Options{CacheBytes: 1})
			if err != nil {
				t.Fatal(err)
			}
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
			_, _ = im.ReadAt(got, 0)
			if !bytes.Equal(got, model) {
				t.Fatal(seed, o, "differs")
			}
			if err := im.Close(); err != nil {
				t.Fatal(err)
			}
			if c, err := check("x", f); err != nil || c.Errors+c.Leaks > 0 {
				t.Fatal(seed, o, c.Problems[0], c.Errors, c.Leaks)
			}
		}
	}
	t.Log(n)
}
