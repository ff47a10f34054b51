package qcow2

import (
	"fmt"
	"io"
	"sync/atomic"

	"dfemu/devices/block/internal/host"
)

// l2Table is an L2 table of the active L1 table, in memory.
type l2Table struct {
	host  int64
	e     []uint64 // entries; pairs of words if extended
	dirty pages
	// stale pages have flags on disk that do not agree with the refcounts,
	// which is harmless: what is in memory does.
	stale pages
	// fresh tells that nothing on disk points at the table yet.
	fresh bool
	// own tells that only the active L1 table points at it, so that it may be
	// changed in place.
	own bool
	// writing tells that a commit is writing a copy.
	writing bool
	used    atomic.Bool // since the eviction clock passed
}

// readTable reads n big-endian words.
func (im *Image) readTable(what string, off, n int64) ([]uint64, error) {
	p := host.AlignedBuffer(int(n * 8))
	if m, err := im.f.ReadAt(p, off); m < len(p) {
		if err == io.EOF {
			return nil, im.damage(what, off, "it ends behind the end of the file")
		}
		return nil, fmt.Errorf("read %s at %#x of image %s: %w", what, off, im.name, err)
	}
	t := make([]uint64, n)
	for i := range t {
		t[i] = be.Uint64(p[i*8:])
	}
	return t, nil
}

// encodeTable is the content on disk of words from..to (in bytes) of t.
func encodeTable(t []uint64, from, to int64) []byte {
	p := host.AlignedBuffer(int(to - from))
	for i := range (to - from) / 8 {
		be.PutUint64(p[i*8:], t[from/8+i])
	}
	return p
}

// table returns the L2 table that L1 entry i points at, or nil if there is
// none. mu is held.
func (im *Image) table(i int) (*l2Table, error) {
	if t := im.l2[i]; t != nil || im.l1[i] == 0 {
		return t, nil
	}
	off := int64(im.l1[i] & maskOffset)
	e, err := im.readTable(fmt.Sprintf("L2 table %d", i), off, im.geo.clusterSize/8)
	if err != nil {
		return nil, im.fail(err)
	}
	t := &l2Table{host: off, e: e, dirty: newPages(im.geo.clusterSize, im.pageSize()), stale: newPages(im.geo.clusterSize, im.pageSize())}
	if err := im.verify(i, t); err != nil {
		return nil, im.fail(err)
	}
	im.evict()
	im.keep(i, t)
	return t, nil
}

// keep adds a table to those in memory.
func (im *Image) keep(i int, t *l2Table) {
	if im.l2[i] == nil {
		im.resident = append(im.resident, i)
	}
	t.used.Store(true)
	im.l2[i] = t
}

// evict makes room for one table if there are too many. Tables that are not
// written yet stay, so there may be more for a while.
func (im *Image) evict() {
	for n := 2 * len(im.resident); len(im.resident) >= im.cacheMax && n > 0; n-- {
		im.hand %= len(im.resident)
		i := im.resident[im.hand]
		t := im.l2[i]
		if t.dirty.any || t.fresh || t.writing || t.used.Swap(false) {
			im.hand++
			continue
		}
		im.l2[i] = nil
		last := len(im.resident) - 1
		im.resident[im.hand] = im.resident[last]
		im.resident = im.resident[:last]
	}
}

// verify checks the table that L1 entry i points at, and that its flags agree
// with the refcounts.
func (im *Image) verify(i int, t *l2Table) error {
	g := &im.geo
	where := func(k int64) (string, int64) {
		guest := int64(i)*g.l2Span + k<<g.clusterBits
		return fmt.Sprintf("L2 table %d, entry %d (disk offset %#x)", i, k, guest), t.host + k*8*g.width()
	}
	if !im.o.ReadOnly {
		n, err := im.refs.get(t.host >> g.clusterBits)
		if err != nil {
			return err
		}
		if n == 0 {
			return im.damage(fmt.Sprintf("L2 table %d", i), t.host, "its cluster has refcount 0, as if it was free")
		}
		t.own = n == 1
	}
	for k := range g.l2Entries {
		e, bitmap := t.e[k*g.width()], uint64(0)
		if g.extended {
			bitmap = t.e[k*2+1]
		}
		if e == 0 && bitmap == 0 {
			continue
		}
		if what := g.problem(e, bitmap); what != "" {
			w, at := where(k)
			return im.damage(w, at, "%s (%#x)", what, e)
		}
		off, n := int64(e&maskOffset), g.clusterSize
		if e&flagCompressed != 0 {
			off, n = g.compressedRange(e)
		} else if off == 0 {
			continue
		}
		if off >= im.eof {
			w, at := where(k)
			return im.damage(w, at, "its data at %#x is behind the end of the file, which has %d bytes; it may have been cut short in copying", off, im.eof)
		}
		single := true
		for c := off >> g.clusterBits; c < g.clusters(off+n); c++ {
			if other := im.meta[c]; other != "" {
				w, at := where(k)
				return im.damage(w, at, "its data at %#x is in the cluster of %s", off, other)
			}
			if im.o.ReadOnly {
				continue
			}
			count, err := im.refs.get(c)
			if err != nil {
				return err
			}
			if count == 0 && c<<g.clusterBits < im.eof {
				w, at := where(k)
				return im.damage(w, at, "its data at %#x is in a cluster with refcount 0, as if it was free", off)
			}
			single = single && count == 1
		}
		if (!single || !t.own) && e&flagCopied != 0 {
			t.stale.mark(k * 8 * g.width())
			// A flag that wrongly promises a single user would let two disks
			// write to one cluster; without it, a write copies.
			t.e[k*g.width()] &^= flagCopied
		}
	}
	return nil
}

// get decodes entry k.
func (im *Image) get(t *l2Table, k int64) entry {
	if im.geo.extended {
		return im.geo.decode(t.e[k*2], t.e[k*2+1])
	}
	return im.geo.decode(t.e[k], 0)
}

// set encodes entry k of a table that may be changed.
func (im *Image) set(t *l2Table, k int64, d entry) {
	e, bitmap := im.geo.encode(d)
	if im.geo.extended {
		t.e[k*2], t.e[k*2+1] = e, bitmap
		t.dirty.mark(k * 16)
		return
	}
	t.e[k] = e
	t.dirty.mark(k * 8)
}

// ownTable returns the L2 table of L1 entry i so that it may be changed: a new
// one if there was none, a copy if a snapshot has it too. mu is held.
func (im *Image) ownTable(i int) (*l2Table, error) {
	old, err := im.table(i)
	if err != nil || old != nil && old.own {
		return old, err
	}
	c, err := im.allocMeta(1)
	if err != nil {
		return nil, err
	}
	t := &l2Table{
		host: c << im.geo.clusterBits, e: make([]uint64, im.geo.clusterSize/8),
		dirty: newPages(im.geo.clusterSize, im.pageSize()), fresh: true, own: true,
	}
	if old != nil {
		// Its data clusters are the snapshot's too, and their refcounts say so.
		copy(t.e, old.e)
		im.frees = append(im.frees, run{old.host >> im.geo.clusterBits, 1})
		delete(im.meta, old.host>>im.geo.clusterBits)
	} else {
		im.evict()
	}
	im.meta[c] = fmt.Sprintf("L2 table %d", i)
	im.keep(i, t)
	im.l1[i] = uint64(t.host) | flagCopied
	im.l1Dirty.mark(int64(i) * 8)
	return t, nil
}
