package qcow2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// errCut is what a file whose machine has lost power says.
var errCut = errors.New("the power is gone")

// crashFile is a file in memory on a disk with a volatile cache: what was not
// synced when the power goes may be lost or torn.
type crashFile struct {
	durable, now []byte
	pending      []func(p []byte, keep func() bool) []byte // since the last sync
	left         int                                       // operations until the power goes
	full         int64                                     // no room from here on, if not 0
}

var errNoSpace = errors.New("no space left")

func (f *crashFile) step() error {
	if f.left--; f.left < 0 {
		return errCut
	}
	return nil
}

// do makes a change that keeps only the sectors for which keep is true.
func (f *crashFile) do(change func(p []byte, keep func() bool) []byte) {
	f.now = change(f.now, func() bool { return true })
	f.pending = append(f.pending, change)
}

func grow(p []byte, n int) []byte {
	if len(p) < n {
		p = append(p, make([]byte, n-len(p))...)
	}
	return p
}

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.step(); err != nil {
		return 0, err
	}
	if f.full != 0 && off+int64(len(p)) > max(f.full, int64(len(f.now))) {
		return 0, errNoSpace
	}
	p = bytes.Clone(p)
	f.do(func(d []byte, keep func() bool) []byte {
		for k := 0; k < len(p); {
			next := min(len(p), k+512-int(off+int64(k))%512)
			if keep() {
				d = grow(d, int(off)+next)
				copy(d[int(off)+k:], p[k:next])
			}
			k = next
		}
		return d
	})
	return len(p), nil
}

func (f *crashFile) ReadV(bufs [][]byte, off int64) error {
	for _, p := range bufs {
		if _, err := f.ReadAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

func (f *crashFile) WriteV(bufs [][]byte, off int64) error {
	_, err := f.WriteAt(bytes.Join(bufs, nil), off)
	return err
}

func (f *crashFile) Size() (int64, error) { return int64(len(f.now)), nil }

func (f *crashFile) Truncate(n int64) error {
	if err := f.step(); err != nil {
		return err
	}
	f.do(func(d []byte, keep func() bool) []byte {
		if keep() {
			d = grow(d, int(n))[:n]
		}
		return d
	})
	return nil
}

func (f *crashFile) Allocate(off, n int64) error {
	if f.full != 0 && off+n > max(f.full, int64(len(f.now))) {
		return errNoSpace
	}
	if off+n <= int64(len(f.now)) {
		return nil
	}
	return f.Truncate(off + n)
}

func (f *crashFile) Punch(off, n int64) error {
	if err := f.step(); err != nil {
		return err
	}
	f.do(func(d []byte, keep func() bool) []byte {
		for k := off; k < min(off+n, int64(len(d))); k += 512 {
			if keep() {
				clear(d[k:min(k+512, off+n, int64(len(d)))])
			}
		}
		return d
	})
	return nil
}

func (f *crashFile) Sync() error {
	if err := f.step(); err != nil {
		return err
	}
	for _, change := range f.pending {
		f.durable = change(f.durable, func() bool { return true })
	}
	f.pending = nil
	return nil
}

func (f *crashFile) Close() error { return nil }

// newCrashFile returns a file with an image in it, whose power does not fail yet.
func newCrashFile(t testing.TB, o CreateOptions) *crashFile {
	t.Helper()
	h, err := o.header()
	if err != nil {
		t.Fatal(err)
	}
	f := &crashFile{left: 1 << 30}
	if err := formatImage(f, h); err != nil {
		t.Fatal(err)
	}
	return f
}

// openCrashFile opens the image in a file, with options or none.
func openCrashFile(t testing.TB, f *crashFile, o ...Options) *Image {
	t.Helper()
	im, err := openContainer("image", f, append(o, Options{})[0])
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// crash returns the file after the power came back: of each change since the
// last sync, all, nothing or any of its sectors are there. With process only
// the monitor has died, and the host writes everything.
func (f *crashFile) crash(r *rand.Rand, process bool) *crashFile {
	p := bytes.Clone(f.durable)
	for _, change := range f.pending {
		fate := r.IntN(3)
		p = change(p, func() bool { return process || fate == 0 || fate == 1 && r.IntN(2) == 0 })
	}
	return &crashFile{durable: p, now: bytes.Clone(p), left: 1 << 30}
}

// possible are the bytes that each sector may consist of after a crash. All
// changes fill whole sectors with one byte.
type possible [][256]bool

func (p possible) add(model []byte, off, n int64) {
	for s := off / 512; s*512 < off+n; s++ {
		p[s][model[s*512]] = true
	}
}

// only notes that everything was flushed.
func (p possible) only(model []byte) {
	clear(p)
	p.add(model, 0, int64(len(model)))
}

// TestCrash pulls the plug at random points of random changes: whatever was
// flushed must be there, nothing may be contradictory, and every sector must
// have one of the contents it had since.
func TestCrash(t *testing.T) {
	kinds := []CreateOptions{
		{ClusterSize: 512, RefcountBits: 64},
		{ClusterSize: 1024, LazyRefcounts: true},
		{ClusterSize: 4096, RefcountBits: 4},
		{ClusterSize: 512, Version: 2},
		{ClusterSize: 16384, ExtendedL2: true},
	}
	for i, o := range kinds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(steps(16)) {
				crashOnce(t, o, seed)
				if t.Failed() {
					t.Fatalf("with seed %d", seed)
				}
			}
		})
	}
}

func crashOnce(t *testing.T, o CreateOptions, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 9))
	o.Size = 256 << 10
	f := newCrashFile(t, o)
	_ = f.Sync()
	im := openCrashFile(t, f)
	f.left = r.IntN(400)
	model := make([]byte, o.Size)
	since := make(possible, o.Size/512)
	since.only(model)
	saved := map[string][]byte{}
	var err error
	for err == nil {
		off := r.Int64N(o.Size/512) * 512
		n := min(int64(1+r.IntN(24))*512, o.Size-off)
		next := bytes.Clone(model)
		switch k := r.IntN(14); {
		case k < 6:
			fillPattern(next[off:off+n], byte(r.Uint32()))
			since.add(next, off, n)
			_, err = im.WriteAt(next[off:off+n], off)
		case k < 8:
			clear(next[off : off+n])
			since.add(next, off, n)
			err = im.WriteZeroes(off, n, k == 6)
		case k == 8:
			clear(next[off : off+n])
			since.add(next, off, n)
			if err = im.Discard(off, n); err == nil {
				_, err = im.ReadAt(next[off:off+n], off)
			}
		case k < 12:
			if err = im.Flush(); err == nil {
				since.only(next)
			}
		default:
			next, err = crashSnapshot(r, im, next, saved, since)
		}
		model = next
	}
	if !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	g := f.crash(r, r.IntN(4) == 0)
	if c, err := check("crash", g); err != nil {
		t.Fatal(err)
	} else if c.Errors > c.flagsMissing && c.im.h.IncompatibleFeatures&incompatDirty == 0 {
		t.Fatalf("contradictions: %v", c.first)
	}
	im, err = openContainer("crash", g, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, o.Size)
	if _, err := im.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	for s := range o.Size / 512 {
		p := got[s*512 : (s+1)*512]
		if !since[s][p[0]] || !bytes.Equal(p, bytes.Repeat(p[:1], 512)) {
			t.Fatalf("sector %d has what was never there: %x", s, p[0])
		}
	}
	// It must go on working, with the snapshots there are.
	mutate(t, r, im, got, 15)
	for _, s := range im.Snapshots() {
		if err := im.ApplySnapshot(s.ID); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, o.Size)
		if _, err := im.ReadAt(p, 0); err != nil || !bytes.Equal(p, saved[s.Name]) {
			t.Fatalf("snapshot %s differs at %#x (%v)", s.Name, differ(p, saved[s.Name]), err)
		}
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := check("crash", g)
	if err != nil {
		t.Fatal(err)
	}
	if c.Errors > c.flagsMissing {
		t.Fatalf("contradictions afterwards: %v", c.first)
	}
	if err := c.repair(); err != nil || !c.Clean() {
		t.Fatalf("not repaired: %v", err)
	}
	if c, err := check("crash", g); err != nil || c.Errors+c.Leaks > 0 {
		t.Fatalf("not clean after repair: %v, %v", c.Problems, err)
	}
}

// crashSnapshot does something with snapshots, which leaves the disk flushed.
func crashSnapshot(r *rand.Rand, im *Image, model []byte, saved map[string][]byte, since possible) ([]byte, error) {
	l := im.Snapshots()
	var err error
	switch k := r.IntN(3); {
	case k == 0 || len(l) == 0:
		name := fmt.Sprint("s", len(saved))
		saved[name] = bytes.Clone(model)
		_, err = im.CreateSnapshot(name, time.Unix(1, 0), 0)
	case k == 1:
		model = bytes.Clone(saved[l[0].Name])
		since.add(model, 0, int64(len(model)))
		err = im.ApplySnapshot(l[0].ID)
	default:
		err = im.DeleteSnapshot(l[len(l)-1].ID)
	}
	if err == nil {
		since.only(model)
	}
	return model, err
}
