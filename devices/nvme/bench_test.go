package nvme_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/devtest"
	"dfemu/devices/nvme"
)

// hostClock is the host's time.
type hostClock struct {
	*devtest.Clock
	start time.Time
}

func (c hostClock) Now() int64 { return int64(time.Since(c.start)) }

// BenchmarkRead reads 4 KiB at random with one and with 32 commands in flight.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		name  string
		depth int
		file  bool
		bytes int
	}{
		{"memory/4k/1", 1, false, 4096}, {"memory/4k/32", 32, false, 4096},
		{"file/4k/1", 1, true, 4096}, {"file/4k/32", 32, true, 4096}, {"file/1M/4", 4, true, 1 << 20},
	} {
		b.Run(c.name, func(b *testing.B) {
			const size = 64 << 20
			var s devices.Block
			if c.file {
				name := filepath.Join(b.TempDir(), "disk")
				if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
					b.Fatal(err)
				}
				f, err := block.OpenFile(name, block.FileOptions{})
				if err != nil {
					b.Fatal(err)
				}
				s = f
			} else {
				s = store(b, size)
			}
			d := newDriver(b, nvme.Options{
				Clock: hostClock{devtest.NewClock(time.Unix(0, 0)), time.Now()},
				Sub:   nvme.SubsystemOptions{Namespaces: []nvme.NamespaceOptions{{Store: s}}},
			})
			p := d.boot()
			a := d.alloc(c.bytes)
			cmd := d.transfer(2, 0, uint32(c.bytes/512), a, c.bytes)
			b.ReportAllocs()
			b.SetBytes(int64(c.bytes))
			b.ResetTimer()
			x := uint32(1)
			inflight := 0
			for n := 0; n < b.N || inflight > 0; {
				for inflight < c.depth && n < b.N {
					x = x*1664525 + 1013904223
					cmd.dw[0] = (x >> 8) % uint32((size-c.bytes)/512)
					p.add(cmd)
					inflight++
					n++
				}
				p.ring()
				// Completions are polled for, as by a driver in the kernel's polling mode.
				got := 0
				for got == 0 {
					for {
						if _, ok := p.poll(); !ok {
							break
						}
						got++
					}
				}
				p.ack()
				inflight -= got
			}
		})
	}
}
