package qcow2

import (
	"errors"
	"fmt"
	"io"

	"dfemu/devices/block/internal/host"
)

// refcounts are the refcounts of an image open for writing. The image's lock
// guards them.
type refcounts struct {
	im     *Image
	table  []uint64 // the refcount table: offsets of blocks
	dirty  pages    // of table
	blocks []*refBlock
	moved  bool // the table is in a new place that the header does not tell yet
	old    run  // where it was then
	hint   int64
	held   map[int64]struct{} // free, but not to be allocated yet
}

// refBlock is a refcount block in memory.
type refBlock struct {
	host  int64
	data  []byte
	dirty pages
	fresh bool // nothing on disk points at it
}

// errFull reports an image that has reached the format's size.
var errFull = errors.New("the image has as many clusters as its refcount table can hold: convert it to one with larger clusters")

// loadRefTable reads and checks the refcount table.
func (im *Image) loadRefTable() error {
	n := int64(im.h.RefcountTableClusters) << im.geo.clusterBits
	off := int64(im.h.RefcountTableOffset)
	if err := im.claim("the refcount table", -1, off, n); err != nil {
		return err
	}
	table, err := im.readTable("refcount table", off, n/8)
	if err != nil {
		return err
	}
	im.refs = refcounts{
		im: im, table: table, blocks: make([]*refBlock, len(table)),
		dirty: newPages(n, im.pageSize()), held: map[int64]struct{}{},
	}
	for i, e := range table {
		if e == 0 {
			continue
		}
		if int64(e)&(im.geo.clusterSize-1) != 0 || e > 1<<55 {
			return im.damage(fmt.Sprintf("refcount table, entry %d", i), off+int64(i)*8, "%#x is not the offset of a refcount block", e)
		}
		if err := im.claim("refcount block", i, int64(e), im.geo.clusterSize); err != nil {
			return err
		}
	}
	for c, what := range im.meta {
		count, err := im.refs.get(c)
		if err != nil {
			return err
		}
		if count == 0 {
			return im.damage(what, c<<im.geo.clusterBits, "its cluster has refcount 0, as if it was free")
		}
	}
	return nil
}

// block returns refcount block i, which exists.
func (r *refcounts) block(i int64) (*refBlock, error) {
	if b := r.blocks[i]; b != nil {
		return b, nil
	}
	im := r.im
	off := int64(r.table[i])
	p := host.AlignedBuffer(int(im.geo.clusterSize))
	if n, err := im.f.ReadAt(p, off); n < len(p) {
		if err == io.EOF {
			return nil, im.damage(fmt.Sprintf("refcount block %d", i), off, "it ends behind the end of the file")
		}
		return nil, fmt.Errorf("read refcount block %d at %#x of image %s: %w", i, off, im.name, err)
	}
	b := &refBlock{host: off, data: p, dirty: newPages(im.geo.clusterSize, im.pageSize())}
	r.blocks[i] = b
	return b, nil
}

// get returns the refcount of cluster c.
func (r *refcounts) get(c int64) (uint64, error) {
	i := c / r.im.geo.refsPer
	if i >= int64(len(r.table)) || r.table[i] == 0 {
		return 0, nil
	}
	b, err := r.block(i)
	if err != nil {
		return 0, err
	}
	return getRefcount(b.data, c%r.im.geo.refsPer, r.im.geo.refOrder), nil
}

// set changes the refcount of cluster c, which has a block in memory.
func (r *refcounts) set(c int64, v uint64) {
	b, k := r.blocks[c/r.im.geo.refsPer], c%r.im.geo.refsPer
	setRefcount(b.data, k, r.im.geo.refOrder, v)
	b.dirty.mark(k << r.im.geo.refOrder / 8)
}

// increase adds one user of cluster c.
func (r *refcounts) increase(c int64) error {
	n, err := r.get(c)
	switch {
	case err != nil:
		return err
	case n == 0:
		return r.im.damage("refcounts", -1, "the cluster at %#x is in use and has refcount 0", c<<r.im.geo.clusterBits)
	case n >= r.im.geo.maxRefcount():
		return fmt.Errorf("image %s: refcounts of %d bits cannot count one more user of the cluster at %#x: convert the image to one with wider refcounts", r.im.name, 1<<r.im.geo.refOrder, c<<r.im.geo.clusterBits)
	}
	r.set(c, n+1)
	return nil
}

// decrease removes one user of cluster c and returns how many are left.
func (r *refcounts) decrease(c int64) (uint64, error) {
	n, err := r.get(c)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, r.im.damage("refcounts", -1, "the cluster at %#x is in use and has refcount 0", c<<r.im.geo.clusterBits)
	}
	r.set(c, n-1)
	return n - 1, nil
}

// getRefcount returns refcount k of a block whose refcounts have 1<<order bits.
func getRefcount(p []byte, k int64, order uint) uint64 {
	switch order {
	case 3:
		return uint64(p[k])
	case 4:
		return uint64(be.Uint16(p[k*2:]))
	case 5:
		return uint64(be.Uint32(p[k*4:]))
	case 6:
		return be.Uint64(p[k*8:])
	}
	width := uint(1) << order
	shift := uint(k<<order) % 8
	return uint64(p[k<<order/8]>>shift) & (1<<width - 1)
}

// setRefcount changes refcount k of such a block to v, which fits.
func setRefcount(p []byte, k int64, order uint, v uint64) {
	switch order {
	case 3:
		p[k] = byte(v)
	case 4:
		be.PutUint16(p[k*2:], uint16(v))
	case 5:
		be.PutUint32(p[k*4:], uint32(v))
	case 6:
		be.PutUint64(p[k*8:], v)
	default:
		width := uint(1) << order
		shift := uint(k<<order) % 8
		mask := byte(1<<width-1) << shift
		at := k << order / 8
		p[at] = p[at]&^mask | byte(v)<<shift&mask
	}
}
