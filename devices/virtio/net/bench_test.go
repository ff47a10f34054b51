package net

import (
	"testing"

	"dfemu/devices"
	"dfemu/devices/virtio/virtiotest"
)

// BenchmarkTransmit sends frames of 64 KiB in 17 buffers, as Linux does.
func BenchmarkTransmit(b *testing.B) {
	for name, f := range map[string]uint64{"split": 0, "packed": virtiotest.Packed} {
		b.Run(name, func(b *testing.B) {
			w := newWire(1)
			w.discard = true
			c := newCard(b, Options{}, w, all|f|virtiotest.EventIdx|virtiotest.Indirect)
			h := header(devices.Offload{Flags: 1, GSO: devices.GSOTCPv4, SegmentSize: 1448, ChecksumStart: 34, ChecksumOffset: 16})
			l := [][]byte{h}
			for range 16 {
				l = append(l, make([]byte, 4096))
			}
			b.SetBytes(16 * 4096)
			b.ReportAllocs()
			for n := 0; n < b.N; {
				k := min(16, b.N-n)
				for range k {
					c.tx[0].Add(l)
				}
				c.tx[0].Kick()
				c.tx[0].Wait(k)
				n += k
			}
		})
	}
}

// BenchmarkReceive stores frames in mergeable buffers.
func BenchmarkReceive(b *testing.B) {
	for name, size := range map[string]int{"64": 64, "1500": 1500, "60000": 60000} {
		b.Run(name, func(b *testing.B) {
			c := newCard(b, Options{}, newWire(1), all|virtiotest.EventIdx)
			c.command(classRx, rxPromisc, []byte{1})
			p := []devices.Frame{{Pieces: [][]byte{frame(size, ownMAC)}}}
			need := (size + hdrSize + 4095) / 4096
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for c.rx[0].Free() > 0 {
					c.rx[0].Add(nil, 4096)
				}
				c.rx[0].Publish()
				if c.w.to.Receive(0, p) != 1 {
					b.Fatal("no room")
				}
				c.rx[0].Wait(need)
			}
		})
	}
}
