package entropy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// TestBlock is the vector of RFC 8439, section 2.3.2.
func TestBlock(t *testing.T) {
	var key [8]uint32
	for i := range key {
		key[i] = binary.LittleEndian.Uint32([]byte{byte(4 * i), byte(4*i + 1), byte(4*i + 2), byte(4*i + 3)})
	}
	out := Block(&key, 1, [3]uint32{0x09000000, 0x4a000000, 0})
	var b []byte
	for _, w := range out {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	const want = "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4ed2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("the block is %s, want %s", got, want)
	}
}

// TestPool shows that all that is added counts, that nothing comes twice, and that pools with the same history agree.
func TestPool(t *testing.T) {
	seen := map[string]string{}
	for name, add := range map[string][][]byte{
		"nothing": nil, "empty": {{}}, "zero": {{0}}, "zeros": {make([]byte, 33)}, "long": {bytes.Repeat([]byte{7}, 100)},
		"parts": {bytes.Repeat([]byte{7}, 50), bytes.Repeat([]byte{7}, 50)}, "a": {[]byte("a")}, "b": {[]byte("b")},
	} {
		var p, q Pool
		for _, b := range add {
			p.Add(b)
			q.Add(b)
		}
		for range 3 {
			var x, y [70]byte
			p.Read(x[:])
			q.Read(y[:])
			if x != y {
				t.Fatalf("%s: two pools with one history differ", name)
			}
			for i := 0; i+16 <= len(x); i += 16 {
				k := string(x[i : i+16])
				if o, ok := seen[k]; ok {
					t.Errorf("%s gives what %s gave", name, o)
				}
				seen[k] = name
			}
		}
	}
	var p Pool
	if n := testing.AllocsPerRun(10, func() { p.Add([]byte{1}); var b [100]byte; p.Read(b[:]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
