package devices

import (
	"bytes"
	"testing"
)

func TestSum(t *testing.T) {
	// The example of RFC 1071, section 3.
	p := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := Fold(Sum(0, p)); got != 0xddf2 {
		t.Errorf("sum %#x, want 0xddf2", got)
	}
	long := make([]byte, 1001)
	var want uint64
	for i := range long {
		long[i] = byte(i*7 + i>>3)
		want += uint64(long[i]) << (8 * (1 - i&1))
	}
	if got := Fold(Sum(0, long)); got != Fold(want) {
		t.Errorf("sum of 1001 bytes %#x, want %#x", got, Fold(want))
	}
	if got := Fold(Sum(Sum(0, long[:500]), long[500:])); got != Fold(want) {
		t.Errorf("sum in two parts %#x, want %#x", got, Fold(want))
	}
	if Fold(1<<64-1) != 0xffff {
		t.Error("fold of all ones")
	}
}

func TestFrameCopy(t *testing.T) {
	f := Frame{Pieces: [][]byte{{1, 2}, {}, {3}, {4, 5, 6}}}
	if f.Len() != 6 {
		t.Errorf("length %d", f.Len())
	}
	for _, c := range []struct {
		n, off int
		want   []byte
	}{{6, 0, []byte{1, 2, 3, 4, 5, 6}}, {3, 1, []byte{2, 3, 4}}, {9, 4, []byte{5, 6}}, {2, 6, nil}, {0, 0, nil}} {
		p := make([]byte, c.n)
		if n := f.CopyTo(p, c.off); !bytes.Equal(p[:n], c.want) {
			t.Errorf("%d bytes from %d: %v, want %v", c.n, c.off, p[:n], c.want)
		}
	}
}

func TestOffloadNeeds(t *testing.T) {
	for _, c := range []struct {
		o    Offload
		want Offloads
	}{
		{Offload{}, 0},
		{Offload{Flags: FlagDataValid}, 0},
		{Offload{Flags: FlagNeedsChecksum}, OffloadChecksum},
		{Offload{Flags: FlagNeedsChecksum, GSO: GSOTCPv4 | GSOECN}, OffloadChecksum | OffloadTSO4 | OffloadECN},
		{Offload{GSO: GSOTCPv6}, OffloadTSO6},
		{Offload{GSO: GSOUDPL4}, OffloadUSO},
	} {
		if got := c.o.Needs(); got != c.want {
			t.Errorf("%+v needs %#x, want %#x", c.o, got, c.want)
		}
	}
}
