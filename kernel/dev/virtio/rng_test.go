package virtio

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestRNG harvests from devices that are well and such that are not.
func TestRNG(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int // bytes the device says it has given, -1 for no answer
		want string
	}{
		{"full", rngBuffer, ""}, {"one byte", 1, ""}, {"nothing", 0, "it returned 0 of 64 bytes"},
		{"too much", rngBuffer + 1, "it returned 65 of 64 bytes"}, {"no answer", -1, "it does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, d := newFake(t, typeRNG, 0, nil, 8)
			f.notified = func(q int) {
				chain, ok := f.next(q)
				if !ok || c.n < 0 {
					return
				}
				copy(chain.in[0], bytes.Repeat([]byte{0x5a}, rngBuffer))
				f.use(q, uint32(chain.id), uint32(c.n))
				f.interrupt(q)
			}
			var fed []byte
			a, err := RNG{Timeout: 50 * time.Millisecond, Feed: func(_ string, b []byte) { fed = append(fed, b...) }}.Attach(d, 0)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			a.Detach()
			if !bytes.Equal(fed, bytes.Repeat([]byte{0x5a}, c.n)) || !bytes.Equal(make([]byte, rngBuffer), a.(*rng).mem.Bytes) {
				t.Errorf("fed % x, and the buffer has % x", fed, a.(*rng).mem.Bytes)
			}
		})
	}
}
