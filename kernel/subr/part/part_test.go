package part

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"unicode/utf16"
)

// image is a disk in memory.
type image []byte

func (m image) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m).ReadAt(p, off)
}

func newImage(sectors int) image { return make(image, sectors*512) }

// record puts a boot record in a sector: entries of type, start, count.
func (m image) record(lba int, entries ...[3]uint32) {
	s := m[lba*512:][:512]
	s[510], s[511] = 0x55, 0xaa
	for i, e := range entries {
		b := s[mbrTable+16*i:]
		b[4] = byte(e[0])
		binary.LittleEndian.PutUint32(b[8:], e[1])
		binary.LittleEndian.PutUint32(b[12:], e[2])
	}
}

type gptEntry struct {
	start, last uint64
	name        string
}

// gpt puts a GPT and its backup on the disk.
func (m image) gpt(entries ...gptEntry) {
	le := binary.LittleEndian
	n := uint64(len(m) / 512)
	table := make([]byte, 128*128)
	for i, e := range entries {
		b := table[128*i:]
		b[0], b[16] = 1, byte(i+1)
		le.PutUint64(b[32:], e.start)
		le.PutUint64(b[40:], e.last)
		for j, c := range utf16.Encode([]rune(e.name)) {
			le.PutUint16(b[56+2*j:], c)
		}
	}
	put := func(lba, table_ uint64) {
		h := m[lba*512:][:512]
		copy(h, gptSignature)
		le.PutUint32(h[gptHeaderSize:], 92)
		le.PutUint64(h[gptMyLBA:], lba)
		le.PutUint64(h[gptFirstUsable:], 34)
		le.PutUint64(h[gptLastUsable:], n-34)
		le.PutUint64(h[gptEntriesLBA:], table_)
		le.PutUint32(h[gptEntries:], 128)
		le.PutUint32(h[gptEntrySize:], 128)
		le.PutUint32(h[gptEntriesCRC:], crc32.ChecksumIEEE(table))
		le.PutUint32(h[gptHeaderCRC:], 0)
		le.PutUint32(h[gptHeaderCRC:], crc32.ChecksumIEEE(h[:92]))
		copy(m[table_*512:], table)
	}
	m.record(0, [3]uint32{mbrProtective, 1, uint32(n - 1)})
	put(1, 2)
	put(n-1, n-33)
}

// label puts a disklabel64 at a sector, with pairs of offset and size.
func (m image) label(lba int, parts ...[2]uint64) {
	b := m[lba*512:]
	le := binary.LittleEndian
	le.PutUint32(b[labelAtMagic:], labelMagic)
	le.PutUint32(b[labelAtCount:], labelMaxParts)
	for i, p := range parts {
		le.PutUint64(b[labelAtParts+64*i:], p[0])
		le.PutUint64(b[labelAtParts+64*i+8:], p[1])
	}
	le.PutUint32(b[labelAtCRC:], 0)
	le.PutUint32(b[labelAtCRC:], crc32.ChecksumIEEE(b[labelAtMagic:labelSize]))
}

// describe writes a table in a line.
func describe(t Table) string {
	var b strings.Builder
	b.WriteString(t.Kind)
	for _, s := range t.Slices {
		fmt.Fprintf(&b, " s%d:%d+%d", s.Number, s.Start, s.Count)
		if s.Label != "" {
			fmt.Fprintf(&b, "(%s)", s.Label)
		}
		for _, p := range s.Parts {
			fmt.Fprintf(&b, " %c:%d+%d", p.Letter, p.Offset, p.Size)
		}
	}
	return b.String()
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name, want, problem string
		make                func(m image)
	}{
		{"empty", "", "", func(image) {}},
		{"MBR", "MBR s1:100+200 s3:400+100", "", func(m image) { m.record(0, [3]uint32{0x6c, 100, 200}, [3]uint32{}, [3]uint32{0x83, 400, 100}) }},
		{"outside", "MBR s1:100+200", "slice 2, 2000 sectors at 400, is outside", func(m image) { m.record(0, [3]uint32{0x6c, 100, 200}, [3]uint32{0x83, 400, 2000}) }},
		{"overlap", "MBR s1:100+200", "slice 2, sectors 250 to 349, overlaps", func(m image) { m.record(0, [3]uint32{0x6c, 100, 200}, [3]uint32{0x83, 250, 100}) }},
		{"extended", "MBR s2:10+10 s5:101+20 s6:201+20", "", func(m image) {
			m.record(0, [3]uint32{5, 100, 500}, [3]uint32{0x83, 10, 10})
			m.record(100, [3]uint32{0x83, 1, 20}, [3]uint32{5, 100, 100})
			m.record(200, [3]uint32{0x83, 1, 20})
		}},
		{"circle", "MBR s5:101+20 s6:201+20", "comes back to sector 200", func(m image) {
			m.record(0, [3]uint32{0x0f, 100, 500})
			m.record(100, [3]uint32{0x83, 1, 20}, [3]uint32{5, 100, 100})
			copy(m[200*512:], m[100*512:101*512])
		}},
		{"lost chain", "MBR s5:101+20", "no boot record for logical slice 6", func(m image) {
			m.record(0, [3]uint32{5, 100, 500})
			m.record(100, [3]uint32{0x83, 1, 20}, [3]uint32{5, 100, 100})
		}},
		{"file system", "", "", func(m image) { m.record(0, [3]uint32{0x83, 1, 1}); m[mbrTable] = 0x33 }},
		{"damaged entry", "MBR s1:100+200 s3:400+100", "slice 2: its entry is damaged, it begins with 0x33", func(m image) {
			m.record(0, [3]uint32{0x6c, 100, 200}, [3]uint32{0x83, 350, 20}, [3]uint32{0x83, 400, 100})
			m[mbrTable+16] = 0x33
		}},
		{"damaged logical entry", "MBR s6:201+20", "logical slice 5: its entry is damaged", func(m image) {
			m.record(0, [3]uint32{5, 100, 500})
			m.record(100, [3]uint32{0x83, 1, 20}, [3]uint32{5, 100, 100})
			m.record(200, [3]uint32{0x83, 1, 20})
			m[100*512+mbrTable] = 0x7f
		}},
		{"file system's boot sector", "", "", func(m image) {
			m.record(0, [3]uint32{0x6c, 100, 200}, [3]uint32{0x83, 1, 1})
			m[mbrTable+16], m[0], m[2] = 0x33, 0xeb, 0x90
		}},
		{"GPT name", "GPT s0:40+61(a?[2Jb?)", "", func(m image) { m.gpt(gptEntry{40, 100, "a\x1b[2Jb\u202e"}) }},
		{"GPT in the table's place", "GPT s1:200+101", "GPT entry 0, sectors 1 to 100, is outside the usable 2 to 990", func(m image) {
			m.gpt(gptEntry{1, 100, ""}, gptEntry{200, 300, ""})
			h := m[512:1024]
			binary.LittleEndian.PutUint64(h[gptFirstUsable:], 0)
			binary.LittleEndian.PutUint32(h[gptHeaderCRC:], 0)
			binary.LittleEndian.PutUint32(h[gptHeaderCRC:], crc32.ChecksumIEEE(h[:92]))
		}},
		{"GPT", "GPT s0:40+61(boot) s1:200+101(ü)", "", func(m image) { m.gpt(gptEntry{40, 100, "boot"}, gptEntry{200, 300, "ü"}) }},
		{"GPT backup", "GPT s0:40+61", "the first GPT header has a wrong checksum", func(m image) { m.gpt(gptEntry{40, 100, ""}); m[512+30]++ }},
		{"GPT entries", "GPT s0:40+61", "the entries of the first GPT have a wrong checksum", func(m image) { m.gpt(gptEntry{40, 100, ""}); m[1024+100]++ }},
		{"GPT missing", "GPT s0:40+61", "the first GPT header is missing", func(m image) { m.gpt(gptEntry{40, 100, ""}); clear(m[512:1024]) }},
		{"GPT outside", "GPT s1:200+101", "GPT entry 0, sectors 10 to 100, is outside", func(m image) { m.gpt(gptEntry{10, 100, ""}, gptEntry{200, 300, ""}) }},
		{"GPT reversed", "GPT", "outside", func(m image) { m.gpt(gptEntry{100, 40, ""}) }},
		{"GPT lost", "", "the backup GPT header is missing", func(m image) { m.gpt(); clear(m[512:1024]); clear(m[len(m)-512:]) }},
		{"label", "disklabel64 s0:0+1024 a:4096+8192 c:16384+512", "", func(m image) { m.label(0, [2]uint64{4096, 8192}, [2]uint64{}, [2]uint64{16384, 512}) }},
		{"label in slice", "MBR s1:100+200 a:512+1024", "partition b, 1048576 bytes at 0, does not fit", func(m image) {
			m.record(0, [3]uint32{0x6c, 100, 200})
			m.label(100, [2]uint64{512, 1024}, [2]uint64{0, 1 << 20})
		}},
		{"bad label", "MBR s1:100+200", "the label has a wrong checksum", func(m image) {
			m.record(0, [3]uint32{0x6c, 100, 200})
			m.label(100, [2]uint64{512, 1024})
			m[100*512+labelAtParts]++
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newImage(1024)
			c.make(m)
			got, err := Probe(m, 512, 1024)
			if err != nil {
				t.Fatal(err)
			}
			if s := describe(got); s != c.want {
				t.Errorf("%q, want %q; problems %q", s, c.want, got.Problems)
			}
			if p := strings.Join(got.Problems, "; "); c.problem == "" && p != "" || !strings.Contains(p, c.problem) {
				t.Errorf("problems %q, want %q", p, c.problem)
			}
		})
	}
}

// broken fails to read.
type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestErrors(t *testing.T) {
	if _, err := Probe(broken{}, 512, 1024); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a disk that cannot be read: %v", err)
	}
	for _, c := range []struct {
		size    int
		sectors uint64
	}{{0, 100}, {511, 100}, {8192, 100}, {512, 0}, {512, 1 << 62}} {
		if _, err := Probe(newImage(1), c.size, c.sectors); err == nil {
			t.Errorf("%d sectors of %d bytes are accepted", c.sectors, c.size)
		}
	}
}

func FuzzProbe(f *testing.F) {
	seed := func(make func(image)) {
		m := newImage(256)
		make(m)
		f.Add([]byte(m), false)
		f.Add([]byte(m), true)
	}
	seed(func(m image) { m.gpt(gptEntry{40, 100, "x"}) })
	seed(func(m image) {
		m.record(0, [3]uint32{5, 10, 100})
		m.record(10, [3]uint32{0x83, 1, 2}, [3]uint32{5, 5, 5})
	})
	seed(func(m image) { m.label(0, [2]uint64{4096, 8192}) })
	f.Fuzz(func(t *testing.T, data []byte, big bool) {
		size := 512
		if big {
			size = 4096
		}
		n := uint64(len(data) / size)
		got, err := Probe(image(data), size, n)
		if err != nil {
			return
		}
		numbers := map[int]bool{}
		for i, s := range got.Slices {
			if s.Count == 0 || s.Start >= n || s.Count > n-s.Start || numbers[s.Number] {
				t.Fatalf("slice %+v of a disk of %d sectors", s, n)
			}
			numbers[s.Number] = true
			for _, o := range got.Slices[:i] {
				if s.Start < o.Start+o.Count && o.Start < s.Start+s.Count {
					t.Fatalf("slices overlap: %+v %+v", s, o)
				}
			}
			for _, p := range s.Parts {
				if p.Size == 0 || p.Offset > s.Count*uint64(size) || p.Size > s.Count*uint64(size)-p.Offset {
					t.Fatalf("partition %+v of %+v", p, s)
				}
			}
		}
	})
}
