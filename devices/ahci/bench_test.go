package ahci_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"dfemu/devices"
	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/block"
)

// BenchmarkRead reads with native command queuing: 4 KiB from memory, and 1 MiB in
// pages from a file. The guest is a goroutine that looks at PxSACT all the time.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		name        string
		depth, size int
		file        bool
	}{{"4k", 1, 4 << 10, false}, {"4k", 32, 4 << 10, false}, {"4k file", 32, 4 << 10, true}, {"1M file", 4, 1 << 20, true}} {
		b.Run(fmt.Sprintf("%s depth %d", c.name, c.depth), func(b *testing.B) {
			h := newHBA(b, ahci.Options{})
			h.diskOn(0, ata.Options{}, benchStore(b, c.file))
			h.start(0)
			all, step := uint32(0), 1
			if c.size > 64<<10 {
				step = 2 // a long PRD table reaches into the next slot's
			}
			for k := range c.depth {
				i := k * step
				all |= 1 << i
				var prds [][2]uint64
				for at := 0; at < c.size; at += 4096 {
					// Pages that do not touch, as a guest's usually do not.
					prds = append(prds, [2]uint64{dataAt + uint64((2*at+i*8192)&(4<<20-1)), 4096})
				}
				h.build(0, i, queued(i, uint64(i*c.size/512), uint16(c.size/512), false, prds...))
			}
			b.ReportAllocs()
			b.SetBytes(int64(c.size))
			for n := 0; n < b.N; n += c.depth {
				h.issue(0, all)
				for h.pget(0, pSACT) != 0 {
					runtime.Gosched()
				}
			}
		})
	}
}

func benchStore(b *testing.B, file bool) devices.Block {
	b.Helper()
	data := make([]byte, 8<<20)
	if !file {
		m, err := block.NewMemory(data, false)
		if err != nil {
			b.Fatal(err)
		}
		return m
	}
	name := filepath.Join(b.TempDir(), "disk")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := block.OpenFile(name, block.FileOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return f
}
