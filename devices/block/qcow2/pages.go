package qcow2

import "math/bits"

// pages tells which pieces of a table differ from what is on disk.
type pages struct {
	bits []uint64
	size int64 // of a page in bytes, a power of two
	any  bool
}

// newPages is for a table of n bytes, none of which differ.
func newPages(n, size int64) pages {
	return pages{bits: make([]uint64, (n/size+64)/64), size: size}
}

// mark notes that the byte at off changed.
func (p *pages) mark(off int64) {
	k := off / p.size
	p.bits[k/64] |= 1 << (k % 64)
	p.any = true
}

// merge notes what q has.
func (p *pages) merge(q pages) {
	for i, b := range q.bits {
		p.bits[i] |= b
	}
	p.any = p.any || q.any
}

// take returns the marks and clears them.
func (p *pages) take() pages {
	q := *p
	p.bits = make([]uint64, len(p.bits))
	p.any = false
	return q
}

// each calls f for each range of marked pages in a table of n bytes.
func (p *pages) each(n int64, f func(from, to int64)) {
	if !p.any {
		return
	}
	limit := int64(len(p.bits) * 64)
	for k := int64(0); k < limit; {
		if w := p.bits[k/64] >> (k % 64); w == 0 {
			k = (k/64 + 1) * 64
			continue
		} else {
			k += int64(bits.TrailingZeros64(w))
		}
		from := k
		for k < limit && p.bits[k/64]>>(k%64)&1 != 0 {
			k++
		}
		if from*p.size < n {
			f(from*p.size, min(k*p.size, n))
		}
	}
}

// pageSize is the unit in which tables are written: what disks write at once,
// unless a table is smaller.
func (im *Image) pageSize() int64 { return min(4096, im.geo.clusterSize) }
