package qcow2

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// sample is an image with the layout: 0 header, 1 refcount table, 2 refcount
// block, 3 L1 table, 4 an L2 table, 5… data for the first clusters.
func sample(t testing.TB, o CreateOptions) (name string, p []byte) {
	t.Helper()
	if o.ClusterSize == 0 {
		o.ClusterSize = 65536
	}
	o.Size = 16 * o.ClusterSize
	name = create(t, o)
	im := open(t, name, Options{})
	data := make([]byte, 4*o.ClusterSize)
	fillPattern(data, 1)
	if _, err := im.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	closeImage(t, im)
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return name, p
}

// TestDamage changes an image's metadata: opening must say what is wrong and
// where, and write nothing.
func TestDamage(t *testing.T) {
	const c = 65536
	for what, d := range map[string]struct {
		off   int
		v     []byte
		where string
		ro    bool // also when it is only read
	}{
		"magic":                 {0, []byte("QFJ"), "header, magic", true},
		"cluster bits":          {20, be.AppendUint32(nil, 22), "cluster_bits", true},
		"cluster bits, low":     {20, be.AppendUint32(nil, 8), "cluster_bits", true},
		"size":                  {24, be.AppendUint64(nil, 1<<63), "size", true},
		"L1 too small":          {24, be.AppendUint64(nil, 1<<40), "l1_size", true},
		"L1 too large":          {36, be.AppendUint32(nil, 1<<31), "l1_size", true},
		"L1 offset":             {40, be.AppendUint64(nil, 3*c+512), "l1_table_offset", true},
		"L1 behind the end":     {40, be.AppendUint64(nil, 300*c), "L1 table", true},
		"L1 in the header":      {40, be.AppendUint64(nil, 0), "l1_table_offset", true},
		"L1 in the refcounts":   {40, be.AppendUint64(nil, c), "", true},
		"refcount table":        {48, be.AppendUint64(nil, c+1), "refcount_table_offset", true},
		"refcount table length": {56, be.AppendUint32(nil, 1<<20), "refcount_table_clusters", true},
		"no refcount table":     {56, be.AppendUint32(nil, 0), "refcount_table_clusters", true},
		"snapshots":             {60, be.AppendUint32(nil, 1<<20), "nb_snapshots", true},
		"snapshot offset":       {60, be.AppendUint64(be.AppendUint32(nil, 1), 5), "snapshots_offset", true},
		"snapshot table":        {60, be.AppendUint64(be.AppendUint32(nil, 1), 900*c), "snapshot table", true},
		"snapshot":              {60, be.AppendUint64(be.AppendUint32(nil, 9), 5*c), "snapshot", true},
		"refcount order":        {96, be.AppendUint32(nil, 7), "refcount_order", true},
		"header length":         {100, be.AppendUint32(nil, 105), "header_length", true},
		"compression type":      {104, []byte{1}, "compression_type", true},
		"extension length":      {116, be.AppendUint32(nil, 1<<30), "header extension", true},
		"backing name":          {8, be.AppendUint64(nil, c-1), "", true},
		"L1 entry, alignment":   {3 * c, be.AppendUint64(nil, 4*c+512), "L1 table, entry 0", true},
		"L1 entry, reserved":    {3 * c, be.AppendUint64(nil, 4*c+1), "L1 table, entry 0", true},
		"L1 entry, range":       {3 * c, be.AppendUint64(nil, 1<<40), "L2 table 0", true},
		"L1 entry, header":      {3 * c, be.AppendUint64(nil, flagCopied), "L1 table, entry 0", true},
		"L1 entry, L1":          {3 * c, be.AppendUint64(nil, flagCopied|3*c), "L2 table 0", true},
		"L2 entry, alignment":   {4*c + 8, be.AppendUint64(nil, flagCopied|5*c+512), "L2 table 0, entry 1 (disk offset 0x10000)", true},
		"L2 entry, reserved":    {4*c + 8, be.AppendUint64(nil, flagCopied|5*c|2), "L2 table 0, entry 1", true},
		"L2 entry, range":       {4*c + 8, be.AppendUint64(nil, flagCopied|900*c), "behind the end", true},
		"L2 entry, L1":          {4*c + 8, be.AppendUint64(nil, flagCopied|3*c), "L1 table", true},
		"L2 entry, refcounts":   {4*c + 8, be.AppendUint64(nil, flagCopied|2*c), "refcount block", false},
		"L2 entry, L2":          {4*c + 8, be.AppendUint64(nil, flagCopied|4*c), "L2 table 0", true},
		"L2 entry, no cluster":  {4*c + 8, be.AppendUint64(nil, flagCopied), "without having one", true},
		"L2 entry, compressed":  {4*c + 8, be.AppendUint64(nil, flagCompressed|512), "header", true},
		"refcount table entry":  {c, be.AppendUint64(nil, 2*c+1), "refcount table, entry 0", false},
		"refcount block, range": {c, be.AppendUint64(nil, 900*c), "refcount block 0", false},
		"refcount of data":      {2*c + 12, []byte{0, 0}, "refcount 0", false},
		"refcount of L2":        {2*c + 8, []byte{0, 0}, "refcount 0", false},
		"refcount of L1":        {2*c + 6, []byte{0, 0}, "refcount 0", false},
		"corrupt bit":           {79, []byte{2}, "corrupt bit", false},
	} {
		t.Run(what, func(t *testing.T) {
			name, p := sample(t, CreateOptions{})
			copy(p[d.off:], d.v)
			if what == "backing name" {
				copy(p[16:], be.AppendUint32(nil, 10))
			}
			writeFile(t, name, p)
			for _, ro := range []bool{false, true} {
				im, err := Open(name, Options{ReadOnly: ro})
				if err == nil {
					im.Close()
				}
				if ro && !d.ro {
					if err != nil {
						t.Errorf("it can be read: %v", err)
					}
					continue
				}
				var e *DamageError
				if !errors.As(err, &e) || !strings.Contains(err.Error(), d.where) || !strings.Contains(err.Error(), name) {
					t.Errorf("read-only %v: %v, want %q", ro, err, d.where)
				}
			}
			if after, _ := os.ReadFile(name); !bytes.Equal(after, p) {
				t.Error("the file was changed")
			}
			if r, err := Check(name, FixNothing); err == nil && r.Errors == 0 {
				t.Error("the check finds nothing")
			}
		})
	}
}

// TestTruncated cuts an image short.
func TestTruncated(t *testing.T) {
	for _, n := range []int64{0, 10, 100, 1000, 2 << 16, 4<<16 + 100, 6 << 16} {
		name, p := sample(t, CreateOptions{})
		writeFile(t, name, p[:n])
		var e *DamageError
		if im, err := Open(name, Options{ReadOnly: true}); !errors.As(err, &e) {
			t.Errorf("%d bytes: %v", n, err)
			if err == nil {
				im.Close()
			}
		}
	}
}

func TestUnsupported(t *testing.T) {
	for what, d := range map[string]struct {
		off int
		v   []byte
	}{
		"encryption":            {32, be.AppendUint32(nil, 2)},
		"version 1 ":            {4, be.AppendUint32(nil, 1)},
		"version 4 ":            {4, be.AppendUint32(nil, 4)},
		"external data file":    {79, []byte{4}},
		"incompatible features": {79, []byte{0x20}},
		"compression type 2":    {79, []byte{8}},
	} {
		name, p := sample(t, CreateOptions{})
		copy(p[d.off:], d.v)
		if what == "compression type 2" {
			p[104] = 2
		}
		writeFile(t, name, p)
		var e *UnsupportedError
		if _, err := Open(name, Options{}); !errors.As(err, &e) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestDamageInUse finds damage when a table is loaded late: what can be read
// still can, writes fail, and the image says so afterwards.
func TestDamageInUse(t *testing.T) {
	name := create(t, CreateOptions{Size: 64 << 20, ClusterSize: 512})
	im := open(t, name, Options{})
	tables := int64(eagerTables + 10)
	for i := range tables {
		if _, err := im.WriteAt(bytes.Repeat([]byte{1}, 512), i*im.geo.l2Span); err != nil {
			t.Fatal(err)
		}
	}
	if err := im.Flush(); err != nil {
		t.Fatal(err)
	}
	bad := int64(im.l1[tables-1] & maskOffset)
	closeImage(t, im)
	p, _ := os.ReadFile(name)
	copy(p[bad:], be.AppendUint64(nil, flagCopied|512+100))
	writeFile(t, name, p)
	im = open(t, name, Options{})
	buf := make([]byte, 512)
	var e *DamageError
	if _, err := im.ReadAt(buf, (tables-1)*im.geo.l2Span); !errors.As(err, &e) || e.Offset != bad {
		t.Errorf("%v, want damage at %#x", err, bad)
	}
	if _, err := im.ReadAt(buf, 0); err != nil || buf[0] != 1 {
		t.Error(err)
	}
	if _, err := im.WriteAt(buf, 0); !errors.As(err, &e) {
		t.Error("a damaged image is written to:", err)
	}
	if err := im.Flush(); !errors.As(err, &e) {
		t.Error(err)
	}
	im.Close()
	if i, err := ReadInfo(name); err != nil || !i.Corrupt {
		t.Errorf("%+v, %v", i, err)
	}
	if _, err := Open(name, Options{}); err == nil || !strings.Contains(err.Error(), "corrupt bit") {
		t.Error(err)
	}
}

// TestCompressedDamage reads a compressed cluster that is none.
func TestCompressedDamage(t *testing.T) {
	for _, kind := range []Compression{Deflate, Zstd} {
		name, _ := sample(t, CreateOptions{Compression: kind})
		im := open(t, name, Options{})
		im.mu.Lock()
		tab, _ := im.table(0)
		im.set(tab, 5, entry{desc: im.geo.compressedEntry(5<<16, 1000)})
		_ = im.refs.increase(5)
		im.mu.Unlock()
		var e *DamageError
		if _, err := im.ReadAt(make([]byte, 512), 5<<16); !errors.As(err, &e) || !strings.Contains(err.Error(), "0x50000") {
			t.Errorf("%v: %v", kind, err)
		}
		im.Close()
	}
}

// TestRepair repairs what can be repaired.
func TestRepair(t *testing.T) {
	const c = 65536
	for what, d := range map[string]struct {
		off  int
		v    []byte
		leak bool
	}{
		"leak":            {2*c + 40, []byte{0, 1}, true},
		"refcount":        {2*c + 12, []byte{0, 0}, false},
		"refcount, high":  {2*c + 12, []byte{0, 9}, true},
		"refcount table":  {c, be.AppendUint64(nil, 12345), false},
		"no refcounts":    {c, be.AppendUint64(nil, 0), false},
		"table behind":    {48, be.AppendUint64(nil, 1<<40), false},
		"copied":          {4 * c, be.AppendUint64(nil, 5*c), false},
		"corrupt bit":     {79, []byte{2}, false},
		"dirty and wrong": {79, []byte{1}, true},
	} {
		t.Run(what, func(t *testing.T) {
			name, p := sample(t, CreateOptions{})
			copy(p[d.off:], d.v)
			if what == "dirty and wrong" {
				copy(p[2*c+40:], []byte{0, 1})
			}
			writeFile(t, name, p)
			im := open(t, name, Options{ReadOnly: true})
			before := make([]byte, im.Size())
			if _, err := im.ReadAt(before, 0); err != nil {
				t.Fatal(err)
			}
			closeImage(t, im)
			r, err := Check(name, FixLeaks)
			if err != nil || r.Clean() != d.leak || d.leak != (r.Errors == 0) {
				t.Fatalf("%+v, %v", r, err)
			}
			if r, err = Check(name, FixAll); err != nil || !r.Clean() {
				t.Fatalf("%+v, %v", r, err)
			}
			checkClean(t, name)
			compareContent(t, name, before)
		})
	}
	// Data that two entries have is nothing that can be decided.
	name, p := sample(t, CreateOptions{})
	copy(p[4*c:], be.AppendUint64(nil, flagCopied|3*c))
	writeFile(t, name, p)
	if r, err := Check(name, FixAll); err != nil || r.Clean() || r.ErrorsFixed > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if after, _ := os.ReadFile(name); !bytes.Equal(after, p) {
		t.Error("the file was changed")
	}
}

// TestNoSpace fills the disk: what was flushed stays, errors are reported, and
// with room again everything goes on.
func TestNoSpace(t *testing.T) {
	for seed := range uint64(steps(24)) {
		o := CreateOptions{Size: 512 << 10, ClusterSize: 1 << (9 + seed%4), LazyRefcounts: seed%3 == 0}
		full := 100_000 + int64(seed)*5000
		if seed%8 == 4 {
			// Where the refcount table has to grow.
			o.Size, o.RefcountBits, full = 6<<20, 64, 2_150_000+int64(seed)*1500
		}
		f := newCrashFile(t, o)
		im := openCrashFile(t, f)
		f.full = full
		r := rand.New(rand.NewPCG(seed, 3))
		model := make([]byte, o.Size)
		failed := 0
		for failed < 20 {
			off := r.Int64N(o.Size/512) * 512
			n := min(int64(1+r.IntN(20))*512, o.Size-off)
			p := make([]byte, n)
			fillPattern(p, byte(r.Uint32()))
			if _, err := im.WriteAt(p, off); err == nil {
				copy(model[off:], p)
			} else if failed++; !errors.Is(err, errNoSpace) {
				t.Fatal(err)
			} else if _, err := im.ReadAt(model[off:off+n], off); err != nil {
				t.Fatal(err) // what a failed write left is undefined
			}
			if failed == 5 && len(im.Snapshots()) == 0 {
				if _, err := im.CreateSnapshot("s", time.Unix(1, 0), 0); err != nil && !errors.Is(err, errNoSpace) {
					t.Fatal(err)
				}
			}
			if err := im.Flush(); err != nil {
				t.Fatal("room for metadata was not kept:", err)
			}
		}
		// The monitor is killed, or the disk gets room.
		if seed%2 == 0 {
			f = f.crash(r, false)
		} else if err := im.Close(); err != nil {
			t.Fatal(err)
		}
		f.full = 0
		im = openCrashFile(t, f)
		got := make([]byte, o.Size)
		if _, err := im.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
			t.Fatalf("seed %d: content differs at %#x (%v)", seed, differ(got, model), err)
		}
		mutate(t, r, im, model, 20)
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
		if c, err := check("full", f); err != nil || c.Errors > c.flagsMissing {
			t.Fatalf("seed %d: %v, %v", seed, c.first, err)
		}
	}
}

// TestFlushFails checks that a flush after one that failed does not promise
// anything.
func TestFlushFails(t *testing.T) {
	f := newCrashFile(t, CreateOptions{Size: 1 << 20})
	im := openCrashFile(t, f)
	if _, err := im.WriteAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	f.left = 1
	if err := im.Flush(); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	f.left = 1 << 30
	if err := im.Flush(); err != nil {
		t.Fatal("the file is well again:", err)
	}
	if c, err := check("x", f); err != nil || c.Errors+c.Leaks > 0 {
		t.Fatalf("%v, %v", c.Problems, err)
	}
}
