package qcow2

import (
	"dfemu/devices/block/internal/host"
)

// Discard implements devices.Block. Clusters wholly inside the range are given
// up and read as zeroes; of others nothing changes. In an image of version 2
// with a backing file, which cannot say that, nothing happens.
func (im *Image) Discard(off, n int64) error {
	return im.zeroes("discard", off, n, true, true)
}

// WriteZeroes implements devices.Block.
func (im *Image) WriteZeroes(off, n int64, unmap bool) error {
	return im.zeroes("write zeroes", off, n, unmap, false)
}

// zeroes makes the range read as zeroes; with whole, only clusters that are
// wholly inside, and only if that takes no writing.
func (im *Image) zeroes(what string, off, n int64, unmap, whole bool) error {
	if err := host.Check(what, im.name, off, n, im.size); err != nil {
		return err
	}
	e, err := im.begin()
	if err != nil {
		return err
	}
	defer im.end(e)
	if err := im.writable(); err != nil {
		return err
	}
	g := &im.geo
	end := off + n
	for off < end {
		in := off & (g.clusterSize - 1)
		k := min(g.clusterSize-in, end-off)
		switch {
		case in == 0 && (k == g.clusterSize || end == im.size):
			// Whole clusters, up to the end of the L2 table.
			k = min((off/g.l2Span+1)*g.l2Span, end) - off
			if end != im.size || off+k != end {
				k &^= g.clusterSize - 1
			}
			k, err = im.zeroClusters(off, k, unmap, whole)
		case !whole:
			err = im.zeroPart(off, k)
		}
		if err != nil {
			return err
		}
		off += k
		if err := im.relieve(); err != nil {
			return err
		}
	}
	return nil
}

// zeroClusters zeroes whole clusters of one L2 table, except that the disk may
// end in the last, and returns how many bytes it did.
func (im *Image) zeroClusters(off, n int64, unmap, whole bool) (int64, error) {
	g := &im.geo
	if g.version < 3 && (im.backing != nil || !unmap) {
		if whole {
			return n, nil
		}
		k := min(n, g.clusterSize)
		return k, im.zeroPart(off, k)
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	i := int(off / g.l2Span)
	for at := off; at < off+n; at += g.clusterSize {
		c := at >> g.clusterBits
		for {
			if _, ok := im.busy[c]; !ok {
				break
			}
			im.busyGone.Wait()
		}
		t, err := im.table(i)
		if err != nil {
			return 0, err
		}
		if t == nil && im.zeroBelow(at) {
			if im.backing == nil {
				return n, nil
			}
			continue
		}
		k := at % g.l2Span >> g.clusterBits
		var was, is entry
		if t != nil {
			was = im.get(t, k)
		}
		switch {
		case !unmap && was.host != 0 && was.copied:
			is = entry{host: was.host, copied: true, zero: g.all()}
		case !im.zeroBelow(at) || im.backing != nil && was != (entry{}):
			is = entry{zero: g.all()}
		}
		if is == was {
			continue
		}
		if t, err = im.ownTable(i); err != nil {
			return 0, err
		}
		im.set(t, k, is)
		if is.host == 0 {
			im.drop(was)
		}
	}
	return n, nil
}

// zeroPart makes a range inside of one cluster read as zeroes.
func (im *Image) zeroPart(off, n int64) error {
	for n > 0 {
		m, err := im.lookup(off, n)
		if err != nil {
			return err
		}
		if m.kind != kindZero && !(m.kind == kindHole && im.zeroBelow(off)) {
			v := vector{bufs: [][]byte{host.AlignedBuffer(int(m.n))}, n: m.n}
			if err := im.write(&v, off); err != nil {
				return err
			}
		}
		off, n = off+m.n, n-m.n
	}
	return nil
}
