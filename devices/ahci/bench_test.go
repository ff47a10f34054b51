package ahci_test

import (
	"fmt"
	"testing"

	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
)

// BenchmarkRead reads 4 KiB at a time with native command queuing.
func BenchmarkRead(b *testing.B) {
	for _, depth := range []int{1, 32} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			h := newHBA(b, ahci.Options{})
			h.disk(0, ata.Options{}, 1<<20)
			h.start(0)
			for i := range depth {
				h.build(0, i, queued(i, uint64(i*8), 8, false, [2]uint64{buffer(i), 4096}))
			}
			b.ReportAllocs()
			b.SetBytes(4096)
			all := uint32(1<<depth - 1)
			for n := 0; n < b.N; n += depth {
				h.issue(0, all)
				for h.pget(0, pSACT) != 0 {
				}
			}
		})
	}
}
