package kvmclock

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"testing"
	"time"
)

// guestNS is the guest's side of the protocol, from bytes.
func guestNS(b []byte, tsc uint64) uint64 {
	le := binary.LittleEndian
	delta := tsc - le.Uint64(b[8:])
	if s := int8(b[28]); s < 0 {
		delta >>= uint(-int(s))
	} else {
		delta <<= uint(s)
	}
	hi, lo := bits.Mul64(delta, uint64(le.Uint32(b[24:])))
	return hi<<32 + lo>>32 + le.Uint64(b[16:])
}

func TestGuestFormula(t *testing.T) {
	for _, hz := range []uint64{1_000_000, 33_333_333, 999_999_999, 1e9, 1_000_000_001, 2_500_000_000, 2_893_437_019, 5_200_000_000} {
		for _, sec := range []uint64{0, 1, 60, 86400} {
			const base, ns = 123_456_789_012, 987_654_321
			b := NewTimeInfo(hz, base, ns, TSCStable).Encode(2)
			got := guestNS(b[:], base+sec*hz)
			want := uint64(ns) + sec*1e9
			// The factor is off by at most half a unit of 2³¹ or more, and
			// the result is rounded down.
			slack := sec*1e9>>31 + 1 + uint64(1e9)/hz
			if got+slack < want || got > want+slack {
				t.Errorf("hz %d, after %d s: guest computes %d ns, want %d ± %d", hz, sec, got, want, slack)
			}
		}
	}
}

func TestExactAtOneGHz(t *testing.T) {
	b := NewTimeInfo(1e9, 1000, 500, 0).Encode(0)
	for _, d := range []uint64{0, 1, 2, 999, 1e9 + 1, 1 << 50} {
		if got := guestNS(b[:], 1000+d); got != 500+d {
			t.Errorf("after %d ticks: %d ns, want %d", d, got, 500+d)
		}
	}
}

func TestScaleRange(t *testing.T) {
	for _, hz := range []uint64{0, 1, 2, 3, 1000, 999_999_999, 1e9, 1_000_000_001, 1 << 31, 1 << 32, 1 << 63, math.MaxUint64} {
		mul, shift := Scale(hz)
		if mul < 1<<31 {
			t.Errorf("Scale(%d): factor %#x has its top bit clear", hz, mul)
		}
		// mul·hz against 1e9·2^(32-shift), to half a unit of mul.
		got := new(big.Int).Mul(big.NewInt(int64(mul)), new(big.Int).SetUint64(max(hz, 1)))
		want := new(big.Int).Lsh(big.NewInt(1e9), uint(32-int(shift)))
		diff := new(big.Int).Abs(new(big.Int).Sub(got, want))
		if diff.Lsh(diff, 1).Cmp(new(big.Int).SetUint64(max(hz, 1))) > 0 {
			t.Errorf("Scale(%d) = %#x, %d is not the nearest factor", hz, mul, shift)
		}
	}
}

func TestTimeInfoLayout(t *testing.T) {
	b := TimeInfo{TSC: 0x1122334455667788, NS: 0x99aabbccddeeff01, Mul: 0x80000001, Shift: -3, Flags: 3}.Encode(0x42)
	want := [32]byte{
		0x42, 0, 0, 0, 0, 0, 0, 0,
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		0x01, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99,
		0x01, 0, 0, 0x80, 0xfd, 3, 0, 0,
	}
	if b != want {
		t.Errorf("got  % x\nwant % x", b, want)
	}
}

func TestStoreProtocol(t *testing.T) {
	for _, version := range []uint32{0, 1, 2, 7, math.MaxUint32, math.MaxUint32 - 1} {
		mem := make([]byte, TimeInfoSize)
		binary.LittleEndian.PutUint32(mem, version)
		info := NewTimeInfo(3e9, 77, 88, TSCStable)
		writes := 0
		next := info.Store(version, func(off int, b []byte) {
			v := binary.LittleEndian.Uint32(mem)
			if off != 0 && v&1 == 0 {
				t.Errorf("version %d: contents change under even version %d", version, v)
			}
			copy(mem[off:], b)
			writes++
		})
		if writes < 3 {
			t.Errorf("version %d: only %d writes", version, writes)
		}
		if next&1 != 0 || next == version {
			t.Errorf("version %d: next version is %d", version, next)
		}
		if want := info.Encode(next); [TimeInfoSize]byte(mem) != want {
			t.Errorf("version %d: memory is % x, want % x", version, mem, want)
		}
	}
}

func TestWallClock(t *testing.T) {
	for _, c := range []struct {
		name string
		now  time.Time
		ns   uint64
		want WallClock
	}{
		{"at power-on", time.Unix(1_700_000_000, 5), 0, WallClock{1_700_000_000, 5}},
		{"later", time.Unix(1_700_000_010, 600_000_000), 10_500_000_000, WallClock{1_700_000_000, 100_000_000}},
		{"borrow", time.Unix(1_700_000_010, 100_000_000), 10_500_000_000, WallClock{1_699_999_999, 600_000_000}},
		{"before 1970", time.Unix(5, 0), 6e9, WallClock{}},
		{"beyond 2106", time.Unix(1<<33, 0), 0, WallClock{1<<32 - 1, 999_999_999}},
	} {
		if got := NewWallClock(c.now, c.ns); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	mem := make([]byte, WallClockSize)
	next := WallClock{0x01020304, 0x05060708}.Store(3, func(off int, b []byte) { copy(mem[off:], b) })
	if want := [WallClockSize]byte{6, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5}; next != 6 || [WallClockSize]byte(mem) != want {
		t.Errorf("stored % x as version %d, want % x as 6", mem, next, want)
	}
}

func FuzzScale(f *testing.F) {
	f.Add(uint64(1e9), uint64(0), uint64(1))
	f.Add(uint64(2_893_437_019), uint64(1<<40), uint64(86400))
	f.Add(uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(0))
	f.Fuzz(func(t *testing.T, hz, tsc, ns uint64) {
		info := NewTimeInfo(hz, tsc, ns, 0)
		b := info.Encode(0)
		if got := guestNS(b[:], tsc); got != ns {
			t.Errorf("at the reference point the guest computes %d ns, want %d", got, ns)
		}
	})
}
