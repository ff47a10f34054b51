package block_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/block/qcow2"
	"dfemu/devices/devtest"
)

// inFlight does b.N requests of n bytes at random places of s, depth at once.
func inFlight(b *testing.B, s devices.Block, n, depth int, write bool) {
	b.Helper()
	b.SetBytes(int64(n))
	b.ReportAllocs()
	work := make(chan int64, depth)
	var wg sync.WaitGroup
	for range depth {
		wg.Go(func() {
			p := make([]byte, n)
			for off := range work {
				var err error
				if write {
					_, err = s.WriteAt(p, off)
				} else {
					_, err = s.ReadAt(p, off)
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		work <- r.Int64N(s.Size()/int64(n)) * int64(n)
	}
	close(work)
	wg.Wait()
}

// BenchmarkStores reads and writes 4 KiB and 1 MiB in stores of each kind, whose
// content is there already.
func BenchmarkStores(b *testing.B) {
	const size = 64 << 20
	dir := b.TempDir()
	raw, _ := image(b, size)
	for name, o := range map[string]qcow2.CreateOptions{
		"a.qcow2": {Size: size}, "b.qcow2": {Size: size, ExtendedL2: true}, "c.qcow2": {Size: size},
	} {
		name = filepath.Join(dir, name)
		if err := qcow2.Create(name, o); err != nil {
			b.Fatal(err)
		}
		im, err := qcow2.Open(name, qcow2.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for off := int64(0); off < size; off += 1 << 20 {
			if _, err := im.WriteAt(filled(1<<20, 1), off); err != nil {
				b.Fatal(err)
			}
		}
		if err := im.Close(); err != nil {
			b.Fatal(err)
		}
	}
	for _, s := range []struct{ name, disk string }{
		{"raw", raw}, {"raw direct", raw + ",cache=none"}, {"memory", "mem:64M"},
		{"qcow2", dir + "/a.qcow2"}, {"qcow2 extended", dir + "/b.qcow2"},
		{"snapshot", dir + "/c.qcow2,snapshot"}, {"volatile", raw + ",cache=volatile"},
	} {
		for _, write := range []bool{false, true} {
			for _, k := range []struct{ n, depth int }{{4096, 1}, {4096, 32}, {1 << 20, 4}} {
				b.Run(fmt.Sprintf("%s/write=%v/%d/%d", s.name, write, k.n, k.depth), func(b *testing.B) {
					o, err := block.ParseDisk(s.disk)
					if err != nil {
						b.Fatal(err)
					}
					d, err := block.Open(o, devtest.NewClock(time.Unix(0, 0)))
					if err != nil {
						b.Skip(err)
					}
					defer d.Close()
					inFlight(b, d, k.n, k.depth, write)
				})
			}
		}
	}
}
