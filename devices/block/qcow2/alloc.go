package qcow2

import "fmt"

// alloc finds free clusters in a row and gives each one user: n of them, or
// with part also fewer, at least one. Their content is whatever it was.
func (r *refcounts) alloc(n int64, part bool) (run, error) {
	g := &r.im.geo
	first := int64(-1) // the first free cluster seen
	got := run{c: r.hint}
	for {
		c := got.c + got.n
		i := c / g.refsPer
		if i >= int64(len(r.table)) || r.table[i] == 0 {
			if part && got.n > 0 {
				break
			}
			// The block must not cut the row it is made for in two.
			if got.n > 0 {
				c = got.c
			}
			if err := r.extend(i, c); err != nil {
				return run{}, err
			}
			first = -1
			got = run{c: r.hint}
			continue
		}
		b, err := r.block(i)
		if err != nil {
			return run{}, err
		}
		if getRefcount(b.data, c%g.refsPer, g.refOrder) != 0 || r.reserved(c) {
			if part && got.n > 0 {
				break
			}
			got = run{c: c + 1}
			continue
		}
		if first < 0 {
			first = c
		}
		if got.n++; got.n == n {
			break
		}
	}
	for c := got.c; c < got.c+got.n; c++ {
		r.set(c, 1)
	}
	if r.hint = first; got.c == first {
		r.hint += got.n
	}
	return got, nil
}

// reserved tells that a cluster with refcount 0 must not be allocated.
func (r *refcounts) reserved(c int64) bool {
	if _, ok := r.held[c]; ok {
		return true
	}
	return r.im.meta[c] != ""
}

// extend makes refcount block i in cluster c, which is free, or the first free
// one after it: it may itself be one of those that the block is for, as nothing
// can be in a cluster that has no refcount.
func (r *refcounts) extend(i, c int64) error {
	if i >= int64(len(r.table)) {
		return r.grow(i)
	}
	im := r.im
	for im.meta[c] != "" {
		c++
	}
	if k := c / im.geo.refsPer; k != i && (k > i || r.blocks[k] == nil) {
		return im.damage("refcounts", -1, "metadata is in clusters that have no refcounts")
	}
	off := c << im.geo.clusterBits
	if err := im.reserve(off, im.geo.clusterSize); err != nil {
		return err
	}
	r.blocks[i] = &refBlock{
		host: off, data: make([]byte, im.geo.clusterSize),
		dirty: newPages(im.geo.clusterSize, im.pageSize()), fresh: true,
	}
	r.table[i] = uint64(off)
	r.dirty.mark(i * 8)
	im.meta[c] = fmt.Sprintf("refcount block %d", i)
	r.set(c, 1)
	return nil
}

// grow moves the refcount table to where it has room for entry i.
func (r *refcounts) grow(i int64) error {
	im := r.im
	size := im.geo.clusterSize
	n := im.geo.clusters((i + 1) * 8 * 3 / 2)
	n = min(n, max(maxRefTableBytes/size, 1))
	if i >= n*size/8 {
		return fmt.Errorf("image %s: %w", im.name, errFull)
	}
	was, old, blocks, dirty := r.table, run{int64(im.h.RefcountTableOffset) >> im.geo.clusterBits, int64(im.h.RefcountTableClusters)}, r.blocks, r.dirty
	r.table = append(make([]uint64, 0, n*size/8), was...)[:n*size/8]
	r.blocks = append(make([]*refBlock, 0, n*size/8), blocks...)[:n*size/8]
	r.dirty = newPages(n*size, im.pageSize())
	r.dirty.merge(dirty)
	at, err := r.alloc(n, false)
	if err == nil {
		err = im.reserve(at.c<<im.geo.clusterBits, n*size)
		if err != nil {
			r.release(at)
		}
	}
	if err != nil {
		// Blocks that were made for the attempt stay, if the old table has
		// room for them; none was needed otherwise.
		for k := int64(len(was)); k < int64(len(r.table)); k++ {
			if r.table[k] == 0 {
				continue
			}
			im.unclaim(int64(r.table[k]), size)
			if c := int64(r.table[k]) >> im.geo.clusterBits; c/im.geo.refsPer < int64(len(was)) {
				r.set(c, 0)
			}
		}
		r.table, r.blocks = r.table[:len(was)], r.blocks[:len(was)]
		return err
	}
	if !r.moved {
		r.moved, r.old = true, old
	} else {
		im.frees = append(im.frees, old)
	}
	im.unclaim(old.c<<im.geo.clusterBits, old.n*size)
	im.h.RefcountTableOffset, im.h.RefcountTableClusters = uint64(at.c)<<im.geo.clusterBits, uint32(n)
	for c := at.c; c < at.c+n; c++ {
		im.meta[c] = "the refcount table"
	}
	return nil
}

// release takes back what alloc gave, before anything pointed at it.
func (r *refcounts) release(a run) {
	if a.n == 0 {
		return
	}
	for c := a.c; c < a.c+a.n; c++ {
		r.set(c, 0)
	}
	r.hint = min(r.hint, a.c)
}

// reserve makes sure that metadata can be written to a range of the file later,
// also if the host's disk fills up until then.
func (im *Image) reserve(off, n int64) error {
	if err := im.f.Allocate(off, n); err != nil {
		return fmt.Errorf("make room for metadata in image %s: %w", im.name, err)
	}
	im.length = max(im.length, off+n)
	im.eof = max(im.eof, off+n)
	return nil
}

// allocMeta allocates n clusters in a row for metadata and returns the first.
func (im *Image) allocMeta(n int64) (int64, error) {
	a, err := im.refs.alloc(n, false)
	if err != nil {
		return 0, err
	}
	if err := im.reserve(a.c<<im.geo.clusterBits, n<<im.geo.clusterBits); err != nil {
		im.refs.release(a)
		return 0, err
	}
	return a.c, nil
}
