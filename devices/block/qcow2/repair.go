package qcow2

import (
	"fmt"
	"slices"
)

// repair checks the image in f and repairs what can be. Errors that are left
// are returned as a *[DamageError].
func repair(name string, f container) (*CheckResult, error) {
	c, err := check(name, f)
	if err != nil {
		return nil, err
	}
	if err := c.repair(); err != nil {
		return &c.CheckResult, err
	}
	if c.ErrorsFixed < c.Errors {
		return &c.CheckResult, c.first
	}
	return &c.CheckResult, nil
}

// repair writes new refcounts in a new place, then makes the flags agree with
// them. With errors of other kinds it does nothing: clusters that their
// entries would have counted could be overwritten then.
func (c *checker) repair() error {
	if c.Errors > c.refErrors {
		return nil
	}
	h := c.im.h
	if c.Errors > 0 || c.Leaks > 0 {
		if err := c.rebuild(); err != nil {
			return err
		}
		for _, x := range c.fixes {
			if _, err := c.im.f.WriteAt(be.AppendUint64(nil, x.entry), x.off); err != nil {
				return err
			}
		}
		if err := c.im.f.Sync(); err != nil {
			return err
		}
	}
	if bad := uint64(incompatDirty | incompatCorrupt); h.Version >= 3 && h.IncompatibleFeatures&bad != 0 {
		h.IncompatibleFeatures &^= bad
		if err := c.im.writeFeatures(); err != nil {
			return err
		}
		if err := c.im.f.Sync(); err != nil {
			return err
		}
	}
	c.ErrorsFixed, c.LeaksFixed = c.Errors, c.Leaks
	return nil
}

// rebuild writes a refcount table and blocks for what was counted behind the
// end of all that is used. The present ones are given up.
func (c *checker) rebuild() error {
	g, h := c.geo, c.im.h
	c.forgetRefcounts()
	indexes := map[int64]bool{}
	for page, p := range c.count {
		for k, users := range p {
			if users > 0 {
				indexes[(page*countPage+int64(k))/g.refsPer] = true
			}
			if uint64(users) > g.maxRefcount() {
				return fmt.Errorf("image %s: %d users of one cluster do not fit into refcounts of %d bits: convert the image", c.im.name, users, 1<<g.refOrder)
			}
		}
	}
	// The new ones count themselves, too, which may take one more block.
	start := max(g.clusters(c.im.length), c.end)
	var blocks []int64
	tableClusters := int64(1)
	for {
		blocks = blocks[:0]
		for i := range indexes {
			blocks = append(blocks, i)
		}
		slices.Sort(blocks)
		last := start + tableClusters + int64(len(blocks)) - 1
		more := false
		for i := start / g.refsPer; i <= last/g.refsPer; i++ {
			more = more || !indexes[i]
			indexes[i] = true
		}
		if n := g.clusters((max(blocks[len(blocks)-1], last/g.refsPer) + 1) * 8); n > tableClusters {
			tableClusters, more = n, true
		}
		if !more {
			break
		}
	}
	if tableClusters*g.clusterSize > max(maxRefTableBytes, g.clusterSize) {
		return fmt.Errorf("image %s: %w", c.im.name, errFull)
	}
	total := tableClusters + int64(len(blocks))
	c.use(start<<g.clusterBits, total<<g.clusterBits)
	table := make([]uint64, tableClusters*g.clusterSize/8)
	for n, i := range blocks {
		off := (start + tableClusters + int64(n)) << g.clusterBits
		table[i] = uint64(off)
		p := make([]byte, g.clusterSize)
		for k := range g.refsPer {
			if users := c.users(i*g.refsPer + k); users > 0 {
				setRefcount(p, k, g.refOrder, users)
			}
		}
		if _, err := c.im.f.WriteAt(p, off); err != nil {
			return err
		}
	}
	if _, err := c.im.f.WriteAt(encodeTable(table, 0, int64(len(table))*8), start<<g.clusterBits); err != nil {
		return err
	}
	h.RefcountTableOffset, h.RefcountTableClusters = uint64(start)<<g.clusterBits, uint32(tableClusters)
	p := be.AppendUint64(nil, h.RefcountTableOffset)
	p = be.AppendUint32(p, h.RefcountTableClusters)
	c.im.length = (start + total) << g.clusterBits
	return c.im.writeHeader(p, offRefcount)
}

// forgetRefcounts takes back what was counted for the present refcounts.
func (c *checker) forgetRefcounts() {
	for _, k := range c.refClusters {
		c.count[k/countPage][k%countPage]--
	}
}
