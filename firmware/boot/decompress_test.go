package boot

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// sample is what the files of testdata hold: an ELF header and bytes of which
// many are opcodes and operands that the x86 filter of xz changes.
func sample() []byte {
	b := elf64(nil)
	alphabet := []byte{0xe8, 0xe9, 0x00, 0xff, 0x00, 0xff, 0x90, 0x01}
	x := uint32(1)
	for i := 0; len(b) < 20000; i++ {
		x = x*1664525 + 1013904223
		if i/64%3 == 2 {
			b = append(b, byte(i))
			continue
		}
		b = append(b, alphabet[x>>29])
	}
	return b
}

// TestDecompressFiles reads what the usual tools made of sample: xz --x86
// --lzma2 --check=crc32 and the other checks, lzma, bzip2 and lz4 -l.
func TestDecompressFiles(t *testing.T) {
	want := sample()
	files, err := filepath.Glob("testdata/sample.*")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decompress(p, uint64(len(want)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := Decompress(p, uint64(len(want))-1); err == nil {
			t.Errorf("%s: more than the limit was unpacked", name)
		}
		for _, n := range []int{len(p) / 2, 14, 7} {
			if _, err := Decompress(p[:n], 1<<20); err == nil {
				t.Errorf("%s: cut to %d bytes it still unpacks", name, n)
			}
		}
		if filepath.Ext(name) == ".xz" {
			p[len(p)/2] ^= 0x10
			if _, err := Decompress(p, 1<<20); err == nil && name != "testdata/sample.none.xz" {
				t.Errorf("%s: unpacks with a flipped bit", name)
			}
		}
	}
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

func TestDecompressMade(t *testing.T) {
	want := sample()
	for name, p := range map[string][]byte{
		"gzip": gzipped(want), "zstd": zstded(want), "elf": want, "lzo": lzoped(want),
	} {
		got, err := Decompress(p, uint64(len(want)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := Decompress(p, 100); err == nil {
			t.Errorf("%s: more than the limit was unpacked", name)
		}
	}
	for _, p := range [][]byte{nil, {0}, []byte("\x02\x21\x4c\x18\xff\xff\xff\x7f"), []byte(lzopMagic)} {
		if got, err := Decompress(p, 1<<20); err == nil {
			t.Errorf("% x unpacks to %d bytes", p, len(got))
		}
	}
}

// lzoped is an lzop file of one stored block.
func lzoped(b []byte) []byte {
	be := binary.BigEndian
	out := []byte(lzopMagic)
	out = append(out, 0x10, 0x40, 0x20, 0xa0, 0x09, 0x40, 1, 9)
	out = append(out, make([]byte, 4+4+4+4+1+4)...)
	out = be.AppendUint32(out, uint32(len(b)))
	out = be.AppendUint32(out, uint32(len(b)))
	out = append(out, b...)
	return append(out, 0, 0, 0, 0)
}

// TestLZO1X has each instruction of the format once.
func TestLZO1X(t *testing.T) {
	join := func(ps ...[]byte) []byte { return bytes.Join(ps, nil) }
	end := []byte{0x11, 0, 0}
	seq := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i)
		}
		return b
	}
	for _, tc := range []struct {
		name      string
		src, want []byte
	}{
		{"first literals", join([]byte{17 + 5}, []byte("hello"), end), []byte("hello")},
		{"run of 4", join([]byte{1}, []byte("abcd"), end), []byte("abcd")},
		{"long run", join([]byte{0, 0, 10}, seq(3+15+255+10), end), seq(283)},
		{"match 1LLDDDSS", join([]byte{17 + 4}, []byte("abcd"), []byte{0x80 | 3<<2 | 1, 0, 'x'}, end), []byte("abcdabcdax")},
		{"match 01LDDDSS", join([]byte{17 + 4}, []byte("abcd"), []byte{0x60 | 0<<2, 0}, end), []byte("abcddddd")},
		{"match 001LLLLL", join([]byte{17 + 4}, []byte("abcd"), []byte{0x20 | 2, 1 << 2, 0}, end), []byte("abcdcdcd")},
		{"long match", join([]byte{17 + 4}, []byte("abcd"), []byte{0x20, 5, 0, 0}, end), append([]byte("abcd"), bytes.Repeat([]byte("d"), 2+31+5)...)},
		{"short match after 1 literal", join([]byte{17 + 4}, []byte("abcd"), []byte{0x60 | 1, 0, 'x', 1 << 2, 0}, end), []byte("abcdddddxdx")},
		{"far match after literals", join([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 3}, seq(3+15+8*255+3), []byte{0, 0}, end), append(seq(2061), seq(2061)[2061-2049:][:3]...)},
		{"match 0001HLLL", join([]byte{0}, bytes.Repeat([]byte{0}, 64), []byte{232}, seq(3+15+64*255+232), []byte{0x10 | 1, 1 << 2, 0}, end),
			append(seq(16570), seq(16570)[16570-16385:][:3]...)},
	} {
		got, err := unlzo1x(tc.src, len(tc.want))
		if err != nil || !bytes.Equal(got, tc.want) {
			t.Errorf("%s: %d bytes %.20q, %v, want %d", tc.name, len(got), got, err, len(tc.want))
		}
		if _, err := unlzo1x(tc.src, len(tc.want)-1); err == nil {
			t.Errorf("%s: wrote over its limit", tc.name)
		}
		if _, err := unlzo1x(tc.src[:len(tc.src)-1], len(tc.want)); err == nil {
			t.Errorf("%s: unpacks without its end", tc.name)
		}
	}
	if _, err := unlzo1x([]byte{0x80, 0}, 100); err == nil {
		t.Error("a match before the start was taken")
	}
}

func FuzzDecompress(f *testing.F) {
	files, _ := filepath.Glob("testdata/sample.*")
	for _, name := range files {
		if p, err := os.ReadFile(name); err == nil {
			f.Add(p)
		}
	}
	f.Add(gzipped([]byte("gzip")))
	f.Add(zstded([]byte("zstd")))
	f.Add(lzoped([]byte("lzo")))
	f.Fuzz(func(t *testing.T, p []byte) {
		const limit = 1 << 16
		if got, err := Decompress(p, limit); err == nil && len(got) > limit {
			t.Errorf("%d bytes", len(got))
		}
	})
}

func FuzzLZO1X(f *testing.F) {
	f.Add([]byte{17 + 4, 'a', 'b', 'c', 'd', 0x8d, 0, 'x', 0x11, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		if got, _ := unlzo1x(p, 1000); len(got) > 1000 {
			t.Errorf("%d bytes", len(got))
		}
	})
}
