package block_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"dfemu/devices/block"
)

// TestDirectSizes reads past the page cache in pieces of all kinds, large ones too, several at a time.
func TestDirectSizes(t *testing.T) {
	want := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{3}).Read(want)
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := block.OpenFile(name, block.FileOptions{Direct: true})
	if err != nil {
		t.Skip("no direct I/O here:", err)
	}
	defer f.Close()
	var all sync.WaitGroup
	for seed := range uint64(6) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			for range 20 {
				unit := []int{512, 4096}[r.IntN(2)]
				off := r.IntN(len(want)/unit) * unit
				n := min(1<<r.IntN(22), len(want)-off) &^ (unit - 1)
				if n == 0 {
					continue
				}
				got := make([]byte, n)
				if r.IntN(2) == 0 {
					if _, err := f.ReadAt(got, int64(off)); err != nil {
						t.Error(err)
					}
				} else {
					var bufs [][]byte
					for p := got; len(p) > 0; {
						k := min(len(p), unit*(1+r.IntN(20)))
						bufs = append(bufs, p[:k])
						p = p[k:]
					}
					if err := f.ReadVAt(bufs, int64(off)); err != nil {
						t.Error(err)
					}
				}
				if !bytes.Equal(got, want[off:][:n]) {
					t.Errorf("%d bytes at %d differ", n, off)
				}
			}
		})
	}
	all.Wait()
}
