package blk_test

import (
	"testing"

	"dfemu/devices/virtio/blk"
	"dfemu/devices/virtio/virtiotest"
)

// BenchmarkRead reads 4 KiB at a time with one and with 32 requests in flight.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		name  string
		depth int
		f     uint64
	}{
		{"split/1", 1, virtiotest.EventIdx | virtiotest.Indirect},
		{"split/32", 32, virtiotest.EventIdx | virtiotest.Indirect},
		{"packed/1", 1, virtiotest.EventIdx | virtiotest.Packed | virtiotest.Indirect},
		{"packed/32", 32, virtiotest.EventIdx | virtiotest.Packed | virtiotest.Indirect},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := newDisk(b, newStore(b, false), blk.Options{Packed: true}, c.f|featureFlush)
			q := d.q[0]
			b.ReportAllocs()
			b.SetBytes(4096)
			for n := 0; n < b.N; {
				k := min(c.depth, b.N-n)
				for range k {
					q.Add([][]byte{header(0, uint64(n%200)*8)}, 4096, 1)
				}
				q.Kick()
				q.Wait(k)
				n += k
			}
		})
	}
}
