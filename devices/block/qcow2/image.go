package qcow2

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"dfemu/devices"
	"dfemu/devices/block/internal/host"
)

// container is the file that an image is in.
type container interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	ReadV(bufs [][]byte, off int64) error
	WriteV(bufs [][]byte, off int64) error
	Size() (int64, error)
	Truncate(n int64) error
	Sync() error
	Punch(off, n int64) error
	Allocate(off, n int64) error
}

var _ container = (*host.File)(nil)

// Options says how an image is opened.
type Options struct {
	ReadOnly bool
	// Direct bypasses the host's page cache for the image and for raw and
	// qcow2 images below it.
	Direct bool
	// Unsafe makes Flush write metadata and wait for nothing: a crash of the
	// process loses nothing, one of the host anything.
	Unsafe bool
	// KeepFreed leaves freed clusters allocated in the host's file system,
	// where they would otherwise become holes.
	KeepFreed bool
	// Snapshot is the ID or name of the internal snapshot to show in place of
	// the disk's present content; it requires ReadOnly.
	Snapshot string
	// ProbeBacking finds out the format of a backing file whose format the
	// image does not record. It lets whoever could write to that file choose
	// what it is, so it is for images from a trusted source only. Without it
	// such a file is raw, and is refused if it begins like a qcow2 image.
	ProbeBacking bool
	// Remote opens backing files whose name has a scheme ("nbd://…"),
	// read-only. Without it they are refused.
	Remote func(url string) (devices.Block, error)
	// CacheBytes bounds the L2 tables kept in memory; 0 means 64 MiB.
	CacheBytes int64
}

// Image is an open image, a store for a disk. Changes of different clusters,
// and reads, go on at the same time. Requests wait while a snapshot is made,
// applied or deleted.
type Image struct {
	name    string
	f       container
	o       Options
	geo     geometry
	size    int64 // of the disk, whole sectors
	backing devices.Block
	codec   codec
	unzip   unzipped

	// ops is held shared by requests, exclusively by what changes the image's
	// structure as a whole.
	ops    sync.RWMutex
	closed bool // guarded by ops

	epochs epochs
	broken atomic.Pointer[DamageError]
	// unsynced tells that something was written and not synced since.
	unsynced atomic.Bool
	opened   bool        // what is refused when it is opened is not changed
	prepared atomic.Bool // the header tells that the image is written to

	commitMu sync.Mutex
	started  atomic.Uint64 // commits begun
	covered  uint64        // the last successful one, guarded by commitMu
	retired  []retired     // guarded by commitMu

	mu        sync.RWMutex // guards all below
	busyGone  *sync.Cond   // on mu: a guest cluster left busy
	busy      map[int64]struct{}
	h         *Header
	l1        []uint64
	l1Dirty   pages
	l2        []*l2Table
	resident  []int            // indexes of l2 that are not nil
	hand      int              // of the eviction clock, in resident
	cacheMax  int              // tables
	meta      map[int64]string // clusters of metadata, and whose they are
	refs      refcounts
	frees     []run // given up once the next commit is durable
	length    int64 // of the file, bytes
	eof       int64 // the file's content from here on reads as zeroes
	snapshots []Snapshot
	snapAt    run // the snapshot table
}

var (
	_ devices.Block       = (*Image)(nil)
	_ devices.VectorBlock = (*Image)(nil)
	_ devices.FUABlock    = (*Image)(nil)
	_ devices.ExtentBlock = (*Image)(nil)
)

// run is a number of clusters, by their index in the file.
type run struct{ c, n int64 }

// Open opens and locks an image and the chain of images below it. Errors that
// the content is to blame for are *[DamageError] and *[UnsupportedError].
func Open(name string, o Options) (*Image, error) {
	return openChain(name, o, nil)
}

// openChain opens an image on top of which the images of above are.
func openChain(name string, o Options, above []os.FileInfo) (*Image, error) {
	f, err := host.Open(name, host.Options{ReadOnly: o.ReadOnly, Direct: o.Direct})
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open image: %w", err)
	}
	im, err := openContainer(name, f, o)
	if err != nil {
		f.Close()
		return nil, err
	}
	if im.h.BackingFile != "" {
		if im.backing, err = openBacking(name, im.h, o, append(above, st)); err != nil {
			im.backing = nil
			return nil, errors.Join(err, im.Close())
		}
	}
	return im, nil
}

// openContainer opens an image in f, without what is below it.
func openContainer(name string, f container, o Options) (*Image, error) {
	if o.Snapshot != "" && !o.ReadOnly {
		return nil, fmt.Errorf("open snapshot %q of image %s: it can be opened read-only only", o.Snapshot, name)
	}
	h, length, err := readHeader(name, f)
	if err != nil {
		return nil, err
	}
	if !o.ReadOnly && h.IncompatibleFeatures&incompatCorrupt != 0 {
		return nil, &DamageError{name, "header", offIncompatible,
			"the corrupt bit is set: damage was found earlier, and the image can only be read until it is repaired"}
	}
	im := &Image{
		name: name, f: f, o: o, geo: h.geometry(), h: h, length: length, eof: length,
		size:  int64(h.Size) &^ 511,
		codec: codec{kind: h.CompressionType},
		busy:  map[int64]struct{}{},
	}
	im.busyGone = sync.NewCond(&im.mu)
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	im.cacheMax = max(2, int(o.CacheBytes>>im.geo.clusterBits))
	if !o.ReadOnly && h.IncompatibleFeatures&incompatDirty != 0 {
		// Computing the refcounts again makes a new header.
		if _, err := repair(name, f); err != nil {
			return nil, fmt.Errorf("repair the refcounts of image %s, which was not closed: %w", name, err)
		}
		if im.h, im.length, err = readHeader(name, f); err != nil {
			return nil, err
		}
		im.eof = im.length
	}
	if err := im.load(); err != nil {
		return nil, err
	}
	im.opened = true
	return im, nil
}

// readHeader reads the header and the length of the file.
func readHeader(name string, f container) (*Header, int64, error) {
	length, err := f.Size()
	if err != nil {
		return nil, 0, err
	}
	p := host.AlignedBuffer(int(min(length, 1<<maxClusterBits)))
	if _, err := f.ReadAt(p, 0); err != nil && err != io.EOF {
		return nil, 0, fmt.Errorf("read the header of image %s: %w", name, err)
	}
	h, err := ParseHeader(name, p)
	return h, length, err
}

// load reads and checks the tables.
func (im *Image) load() error {
	h := im.h
	im.meta = map[int64]string{0: "the header"}
	if err := im.claim("L1 table", -1, int64(h.L1TableOffset), int64(h.L1Size)*8); err != nil {
		return err
	}
	if h.NbSnapshots > 0 {
		if err := im.loadSnapshots(); err != nil {
			return err
		}
	}
	if !im.o.ReadOnly {
		if err := im.loadRefTable(); err != nil {
			return err
		}
	}
	if im.o.Snapshot != "" {
		s, err := im.findSnapshot(im.o.Snapshot)
		if err != nil {
			return err
		}
		h.L1TableOffset, h.L1Size = uint64(s.l1Offset), uint32(s.l1Size)
		if s.DiskSize != 0 {
			im.size = s.DiskSize &^ 511
		}
		if im.size > int64(s.l1Size)*im.geo.l2Span || im.size < 512 {
			return im.damage(fmt.Sprintf("snapshot %q", s.Name), s.l1Offset, "its L1 table of %d entries is too short for its disk of %d bytes", s.l1Size, im.size)
		}
	}
	l1, err := im.readTable("L1 table", int64(h.L1TableOffset), int64(h.L1Size))
	if err != nil {
		return err
	}
	return im.useL1(l1)
}

// eagerTables is up to how many L2 tables are checked when an image is opened.
const eagerTables = 256

// useL1 makes l1 the active L1 table.
func (im *Image) useL1(l1 []uint64) error {
	im.l1, im.l2, im.resident, im.hand = l1, make([]*l2Table, len(l1)), nil, 0
	im.l1Dirty = newPages(int64(len(l1))*8, im.pageSize())
	tables := 0
	for i, e := range l1 {
		if e == 0 {
			continue
		}
		tables++
		where, at := fmt.Sprintf("L1 table, entry %d", i), int64(im.h.L1TableOffset)+int64(i)*8
		off := int64(e & maskOffset)
		if e&^(flagCopied|maskOffset) != 0 || off == 0 || off&(im.geo.clusterSize-1) != 0 {
			return im.damage(where, at, "%#x is not the offset of an L2 table", e)
		}
		if err := im.claim("L2 table", i, off, im.geo.clusterSize); err != nil {
			return err
		}
	}
	if tables > eagerTables {
		return nil
	}
	for i, e := range l1 {
		if e != 0 {
			if _, err := im.table(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// claim notes that a structure of n bytes is at off; it must be inside the file
// and not where another structure is. index is the structure's number, or -1.
func (im *Image) claim(what string, index int, off, n int64) error {
	if index >= 0 {
		what = fmt.Sprintf("%s %d", what, index)
	}
	if off < 0 || off > im.length || n > im.length-off {
		return im.damage(what, off, "its %d bytes end behind the end of the file, which has %d bytes; it may have been cut short in copying", n, im.length)
	}
	for c := off >> im.geo.clusterBits; c < im.geo.clusters(off+n); c++ {
		if other := im.meta[c]; other != "" {
			return im.damage(what, off, "it is in the same cluster as %s", other)
		}
		im.meta[c] = what
	}
	return nil
}

// unclaim is the opposite of claim.
func (im *Image) unclaim(off, n int64) {
	for c := off >> im.geo.clusterBits; c < im.geo.clusters(off+n); c++ {
		delete(im.meta, c)
	}
}

// damage makes an error about the image.
func (im *Image) damage(where string, off int64, what string, args ...any) error {
	return &DamageError{im.name, where, off, fmt.Sprintf(what, args...)}
}

// fail notes damage found while the image is in use: it is never written to
// again. mu is held. The error is returned as it is.
func (im *Image) fail(err error) error {
	var d *DamageError
	if !im.opened || im.o.ReadOnly || !errors.As(err, &d) || !im.broken.CompareAndSwap(nil, d) {
		return err
	}
	if im.geo.version >= 3 {
		im.h.IncompatibleFeatures |= incompatCorrupt
		// The damage is reported either way.
		_ = im.writeFeatures()
	}
	return err
}

// writeFeatures writes the header's feature fields.
func (im *Image) writeFeatures() error {
	p := be.AppendUint64(nil, im.h.IncompatibleFeatures)
	p = be.AppendUint64(p, im.h.CompatibleFeatures)
	p = be.AppendUint64(p, im.h.AutoclearFeatures)
	_, err := im.f.WriteAt(p, offIncompatible)
	return err
}

// writable tells why the image cannot be changed, and before the first change
// notes in the header that there is one.
func (im *Image) writable() error {
	if im.o.ReadOnly {
		return host.ErrReadOnly
	}
	if d := im.broken.Load(); d != nil {
		return d
	}
	if im.prepared.Load() {
		return nil
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.prepared.Load() {
		return nil
	}
	if im.geo.version >= 3 && (im.h.AutoclearFeatures != 0 || im.lazy()) {
		old := *im.h
		// What the autoclear bits are about is not maintained here.
		im.h.AutoclearFeatures = 0
		if im.lazy() {
			im.h.IncompatibleFeatures |= incompatDirty
		}
		err := im.writeFeatures()
		if err == nil {
			err = im.sync()
		}
		if err != nil {
			*im.h = old
			return err
		}
	}
	im.prepared.Store(true)
	return nil
}

func (im *Image) lazy() bool { return im.h.CompatibleFeatures&compatLazy != 0 }

// sync makes what was written durable.
func (im *Image) sync() error {
	if im.o.Unsafe {
		return nil
	}
	return im.f.Sync()
}

// Size implements devices.Block.
func (im *Image) Size() int64 { return im.size }

// ReadOnly implements devices.Block.
func (im *Image) ReadOnly() bool { return im.o.ReadOnly }

// Backing returns the store below this image, or nil.
func (im *Image) Backing() devices.Block { return im.backing }

// Close writes what is not written yet, makes it durable, and closes the image
// and those below it.
func (im *Image) Close() error {
	im.ops.Lock()
	defer im.ops.Unlock()
	if im.closed {
		return host.ErrClosed
	}
	im.closed = true
	var err error
	if !im.o.ReadOnly && im.broken.Load() == nil {
		err = im.finish()
	}
	if im.backing != nil {
		err = errors.Join(err, im.backing.Close())
	}
	return errors.Join(err, im.f.Close())
}

// finish leaves the image as one that was closed in order.
func (im *Image) finish() error {
	// The second time writes the refcounts of what the first has freed.
	for range 2 {
		if err := im.commit(true); err != nil {
			return err
		}
	}
	if im.h.IncompatibleFeatures&incompatDirty == 0 {
		return nil
	}
	im.h.IncompatibleFeatures &^= incompatDirty
	if err := im.writeFeatures(); err != nil {
		return err
	}
	return im.sync()
}

// begin starts a request; if it returns no error, end ends it.
func (im *Image) begin() (epoch uint64, err error) {
	im.ops.RLock()
	if im.closed {
		im.ops.RUnlock()
		return 0, host.ErrClosed
	}
	return im.epochs.enter(), nil
}

func (im *Image) end(epoch uint64) {
	im.epochs.leave(epoch)
	im.ops.RUnlock()
}
