package digits

import (
	"fmt"
	"math"
	"testing"
)

func FuzzDigits(f *testing.F) {
	for _, v := range []uint64{0, 1, 9, 10, 15, 16, 1 << 32, math.MaxUint64} {
		f.Add(v, 1)
		f.Add(v, 16)
	}
	f.Add(uint64(255), -1)
	f.Add(uint64(255), 99)
	f.Fuzz(func(t *testing.T, v uint64, least int) {
		var b Buffer
		if got, want := string(Dec(&b, v)), fmt.Sprint(v); got != want {
			t.Errorf("decimal %s, want %s", got, want)
		}
		if got, want := string(Hex(&b, v, least)), fmt.Sprintf("%0*x", min(max(least, 1), 16), v); got != want {
			t.Errorf("at least %d hexadecimal digits: %s, want %s", least, got, want)
		}
	})
}

// TestNoMemory writes numbers where nothing may be allocated.
func TestNoMemory(t *testing.T) {
	n := 0
	if a := testing.AllocsPerRun(100, func() {
		var b Buffer
		n += len(Dec(&b, math.MaxUint64)) + len(Hex(&b, 1, 16))
	}); a != 0 || n == 0 {
		t.Errorf("%v allocations", a)
	}
}
