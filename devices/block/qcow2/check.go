package qcow2

import (
	"errors"
	"fmt"
	"io"

	"dfemu/devices/block/internal/host"
)

// Problem is something that a check found.
type Problem struct {
	// Where names the structure, and Offset is its place in the file in bytes,
	// or -1.
	Where  string `json:"where"`
	Offset int64  `json:"offset"`
	// What is wrong with it.
	What string `json:"what"`
}

// String makes a line of it.
func (p Problem) String() string {
	if p.Offset < 0 {
		return p.Where + ": " + p.What
	}
	return fmt.Sprintf("%s at file offset %#x: %s", p.Where, p.Offset, p.What)
}

// CheckResult is what a check found.
type CheckResult struct {
	// Errors counts contradictions, by which data may be or become wrong.
	// Leaks counts clusters that are taken and not used, which is harmless.
	Errors int `json:"errors"`
	Leaks  int `json:"leaks"`
	// ErrorsFixed and LeaksFixed count those of them that were repaired.
	ErrorsFixed int `json:"errors-fixed"`
	LeaksFixed  int `json:"leaks-fixed"`
	// Problems has the first errors and leaks, up to MaxProblems.
	Problems []Problem `json:"problems,omitempty"`

	// Clusters of the disk in all, with content in the image, compressed, and
	// not next to the one before.
	TotalClusters      int64 `json:"total-clusters"`
	AllocatedClusters  int64 `json:"allocated-clusters"`
	CompressedClusters int64 `json:"compressed-clusters"`
	FragmentedClusters int64 `json:"fragmented-clusters"`
	// EndOffset is the end of what is used of the file, in bytes.
	EndOffset int64 `json:"image-end-offset"`
}

// Clean tells that nothing is wrong any more.
func (r *CheckResult) Clean() bool {
	return r.Errors == r.ErrorsFixed && r.Leaks == r.LeaksFixed
}

// MaxProblems is how many problems a check lists.
const MaxProblems = 1000

// Fix says what a check repairs.
type Fix uint8

// What a check repairs. Refcounts and flags that depend on them can be computed
// again; entries that point outside the file or at each other's data cannot.
const (
	FixNothing Fix = iota
	FixLeaks       // only if there are no errors
	FixAll
)

// Check checks the image in the file called name, not those below it, and
// repairs what fix says. The error tells that the check could not be made or
// the repair failed, not that there are problems.
func Check(name string, fix Fix) (*CheckResult, error) {
	f, err := host.Open(name, host.Options{ReadOnly: fix == FixNothing})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := check(name, f)
	if err != nil {
		return nil, err
	}
	if fix == FixAll || fix == FixLeaks && c.Errors == 0 && c.Leaks > 0 {
		if err := c.repair(); err != nil {
			return &c.CheckResult, err
		}
	}
	return &c.CheckResult, nil
}

// check checks the image in f.
func check(name string, f container) (*checker, error) {
	h, length, err := readHeader(name, f)
	if err != nil {
		return nil, err
	}
	c := &checker{
		im:     &Image{name: name, f: f, geo: h.geometry(), h: h, length: length, eof: length, meta: map[int64]string{}},
		meta:   map[int64]bool{},
		leaked: map[int64]bool{},
		count:  map[int64]*[countPage]uint32{},
	}
	c.geo = &c.im.geo
	c.TotalClusters = c.geo.clusters(int64(h.Size))
	return c, c.run()
}

// countPage is how many clusters are counted together.
const countPage = 64

// checker counts how often each cluster is used, and compares with the
// refcounts.
type checker struct {
	CheckResult
	first *DamageError
	im    *Image // only its name, file, header and helpers
	geo   *geometry
	// meta are clusters that have a structure, count the users of all.
	meta  map[int64]bool
	count map[int64]*[countPage]uint32
	end   int64 // after the last used cluster
	next  int64 // where an unfragmented disk would go on
	fixes []flagFix
	// flagsMissing are those of the errors that cost only time.
	flagsMissing int
	leaked       map[int64]bool // clusters whose refcount is too high
	// refClusters are the clusters of the refcounts themselves.
	refClusters []int64
	// refErrors are the errors that new refcounts would repair.
	refErrors int
}

// flagFix is an entry whose flag does not agree with a refcount.
type flagFix struct {
	off   int64
	entry uint64
}

func (c *checker) problem(leak bool, where string, off int64, what string, args ...any) {
	if leak {
		c.Leaks++
	} else {
		c.Errors++
		if c.first == nil {
			c.first = &DamageError{c.im.name, where, off, fmt.Sprintf(what, args...)}
		}
	}
	if len(c.Problems) < MaxProblems {
		c.Problems = append(c.Problems, Problem{where, off, fmt.Sprintf(what, args...)})
	}
}

// damage lists err if the image is to blame for it, and returns it if not.
func (c *checker) damage(err error) error {
	var d *DamageError
	if errors.As(err, &d) {
		c.problem(false, d.Where, d.Offset, "%s", d.What)
		return nil
	}
	return err
}

// use counts a user of each cluster of [off, off+n).
func (c *checker) use(off, n int64) {
	for k := off >> c.geo.clusterBits; k < c.geo.clusters(off+n); k++ {
		p := c.count[k/countPage]
		if p == nil {
			p = new([countPage]uint32)
			c.count[k/countPage] = p
		}
		p[k%countPage]++
		c.end = max(c.end, k+1)
	}
}

func (c *checker) users(k int64) uint64 {
	if p := c.count[k/countPage]; p != nil {
		return uint64(p[k%countPage])
	}
	return 0
}

// structure counts a structure, which must be inside the file and apart from
// others. at is where it is pointed at.
func (c *checker) structure(where string, off, n, at int64) bool {
	if off < 0 || off&(c.geo.clusterSize-1) != 0 || off > c.im.length || n > c.im.length-off {
		c.problem(false, where, at, "%d bytes at %#x are not aligned to clusters or not inside the file, which has %d", n, uint64(off), c.im.length)
		return false
	}
	for k := off >> c.geo.clusterBits; k < c.geo.clusters(off+n); k++ {
		if c.meta[k] {
			c.problem(false, where, at, "it is at %#x, where another structure is", off)
			return false
		}
	}
	for k := off >> c.geo.clusterBits; k < c.geo.clusters(off+n); k++ {
		c.meta[k] = true
	}
	c.use(off, n)
	return true
}

func (c *checker) run() error {
	h := c.im.h
	c.structure("header", 0, c.geo.clusterSize, 0)
	if err := c.snapshots(); err != nil {
		return err
	}
	if c.structure("L1 table", int64(h.L1TableOffset), int64(h.L1Size)*8, 40) {
		if err := c.l1("L1 table", int64(h.L1TableOffset), int64(h.L1Size), true); err != nil {
			return err
		}
	}
	if err := c.bitmaps(); err != nil {
		return err
	}
	if err := c.refcounts(); err != nil {
		return err
	}
	if err := c.flags(); err != nil {
		return err
	}
	if h.IncompatibleFeatures&incompatCorrupt != 0 {
		c.problem(false, "header", offIncompatible, "the corrupt bit is set")
		c.refErrors++
	}
	c.EndOffset = c.end << c.geo.clusterBits
	return nil
}

func (c *checker) snapshots() error {
	im := c.im
	if im.h.NbSnapshots == 0 {
		return nil
	}
	if err := c.damage(im.loadSnapshots()); err != nil {
		return err
	}
	if im.snapAt.n > 0 {
		c.structure("snapshot table", im.snapAt.c<<c.geo.clusterBits, im.snapAt.n<<c.geo.clusterBits, offSnapshots)
	}
	for _, s := range im.snapshots {
		where := fmt.Sprintf("L1 table of snapshot %q", s.Name)
		if s.l1Size > 0 && c.structure(where, s.l1Offset, s.l1Size*8, int64(im.h.SnapshotsOffset)) {
			if err := c.l1(where, s.l1Offset, s.l1Size, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// l1 counts what an L1 table points at.
func (c *checker) l1(where string, off, n int64, active bool) error {
	l1, err := c.im.readTable(where, off, n)
	if err != nil {
		return c.damage(err)
	}
	seen := map[int64]bool{}
	for i, e := range l1 {
		if e == 0 {
			continue
		}
		at, what := off+int64(i)*8, fmt.Sprintf("%s, entry %d", where, i)
		l2 := int64(e & maskOffset)
		switch {
		case e&^(flagCopied|maskOffset) != 0 || l2&(c.geo.clusterSize-1) != 0 || l2 == 0 || l2+c.geo.clusterSize > c.im.length:
			c.problem(false, what, at, "%#x is not the offset of an L2 table inside the file", e)
			continue
		case seen[l2]:
			c.problem(false, what, at, "an earlier entry has the same L2 table at %#x", l2)
			continue
		}
		seen[l2] = true
		c.use(l2, c.geo.clusterSize)
		if err := c.l2(fmt.Sprintf("%s, L2 table %d", where, i), l2, active); err != nil {
			return err
		}
	}
	return nil
}

// l2 counts what an L2 table points at.
func (c *checker) l2(where string, off int64, active bool) error {
	t, err := c.im.readTable(where, off, c.geo.clusterSize/8)
	if err != nil {
		return c.damage(err)
	}
	g := c.geo
	for k := int64(0); k < g.l2Entries; k++ {
		e, bitmap := t[k*g.width()], uint64(0)
		if g.extended {
			bitmap = t[k*2+1]
		}
		if e == 0 && bitmap == 0 {
			continue
		}
		at := off + k*8*g.width()
		problem := func(what string, args ...any) {
			c.problem(false, fmt.Sprintf("%s, entry %d", where, k), at, what, args...)
		}
		if what := g.problem(e, bitmap); what != "" {
			problem("%s (%#x)", what, e)
			continue
		}
		d := g.decode(e, bitmap)
		start, n := d.host, g.clusterSize
		if d.desc != 0 {
			start, n = g.compressedRange(d.desc)
		} else if start == 0 {
			continue
		}
		if start >= c.im.length {
			problem("its data at %#x is behind the end of the file, which has %d bytes", start, c.im.length)
			continue
		}
		if d.desc != 0 && e&flagCopied != 0 {
			problem("a compressed cluster has the flag of one with a single user")
		}
		for k := start >> g.clusterBits; k < g.clusters(start+n); k++ {
			if c.meta[k] {
				problem("its data at %#x is where a structure is", start)
				break
			}
		}
		c.use(start, n)
		if active {
			c.statistics(d, start, n)
		}
	}
	return nil
}

func (c *checker) statistics(d entry, start, n int64) {
	c.AllocatedClusters++
	switch {
	case d.desc != 0:
		c.CompressedClusters++
		c.FragmentedClusters++
	case c.next != 0 && start != c.next:
		c.FragmentedClusters++
	}
	c.next = start + n
}

// refcounts counts the refcounts' own clusters, and compares all of them.
func (c *checker) refcounts() error {
	h, g := c.im.h, c.geo
	off, n := int64(h.RefcountTableOffset), int64(h.RefcountTableClusters)<<g.clusterBits
	before := c.Errors
	var table []uint64
	if c.structure("refcount table", off, n, offRefcount) {
		t, err := c.im.readTable("refcount table", off, n/8)
		if err := c.damage(err); err != nil {
			return err
		}
		table = t
		for k := off >> g.clusterBits; k < g.clusters(off+n); k++ {
			c.refClusters = append(c.refClusters, k)
		}
	}
	for i, e := range table {
		if e == 0 {
			continue
		}
		where := fmt.Sprintf("refcount table, entry %d", i)
		if !c.structure(where, int64(e), g.clusterSize, off+int64(i)*8) {
			table[i] = 0
			continue
		}
		c.refClusters = append(c.refClusters, int64(e)>>g.clusterBits)
	}
	p := host.AlignedBuffer(int(g.clusterSize))
	for i, e := range table {
		if e == 0 {
			continue
		}
		if _, err := c.im.f.ReadAt(p, int64(e)); err != nil && err != io.EOF {
			return fmt.Errorf("read refcount block %d at %#x of image %s: %w", i, e, c.im.name, err)
		}
		for k := range g.refsPer {
			c.compare(int64(i)*g.refsPer+k, getRefcount(p, k, g.refOrder))
		}
	}
	for page, p := range c.count {
		for k, users := range p {
			if at := page*countPage + int64(k); users > 0 {
				if i := at / g.refsPer; i >= int64(len(table)) || table[i] == 0 {
					c.compare(at, 0)
				}
			}
		}
	}
	c.refErrors += c.Errors - before
	return nil
}

// compare looks at one cluster's refcount.
func (c *checker) compare(k int64, ref uint64) {
	users := c.users(k)
	where := fmt.Sprintf("cluster %d", k)
	switch at := k << c.geo.clusterBits; {
	case users < ref:
		c.leaked[k] = true
		c.problem(true, where, at, "refcount %d, but it has %d users", ref, users)
	case users > ref:
		c.problem(false, where, at, "refcount %d, but it has %d users", ref, users)
	}
}

// flags compares the flags of active entries with the number of users.
func (c *checker) flags() error {
	h, g := c.im.h, c.geo
	l1, err := c.im.readTable("L1 table", int64(h.L1TableOffset), int64(h.L1Size))
	if err != nil {
		// Reported before.
		return nil
	}
	one := func(where string, at int64, e uint64) {
		k := int64(e&maskOffset) >> g.clusterBits
		single := c.users(k) == 1
		if single == (e&flagCopied != 0) {
			return
		}
		c.fixes = append(c.fixes, flagFix{at, e&^flagCopied | copiedIf(single)})
		if single && c.leaked[k] {
			return // it agrees with the refcount
		}
		c.refErrors++
		if single {
			c.flagsMissing++
			c.problem(false, where, at, "the flag for a single user is missing")
		} else {
			c.problem(false, where, at, "there is a flag for a single user, but there are %d", c.users(k))
		}
	}
	for i, e := range l1 {
		off := int64(e & maskOffset)
		if e == 0 || off&(g.clusterSize-1) != 0 || off+g.clusterSize > c.im.length {
			continue
		}
		one(fmt.Sprintf("L1 table, entry %d", i), int64(h.L1TableOffset)+int64(i)*8, e)
		t, err := c.im.readTable("L2 table", off, g.clusterSize/8)
		if err != nil {
			if err := c.damage(err); err != nil {
				return err
			}
			continue
		}
		for k := int64(0); k < int64(len(t)); k += g.width() {
			e := t[k]
			switch {
			case e&flagCompressed != 0 && e&flagCopied != 0:
				c.refErrors++
				c.fixes = append(c.fixes, flagFix{off + k*8, e &^ flagCopied})
			case e&flagCompressed == 0 && e&maskOffset != 0 && int64(e&maskOffset) < c.im.length && e&maskOffset&uint64(g.clusterSize-1) == 0:
				one(fmt.Sprintf("L2 table %d, entry %d", i, k/g.width()), off+k*8, e)
			}
		}
	}
	return nil
}

// bitmaps counts the clusters of persistent bitmaps, unless the header tells
// that a program which did not know them has changed the image.
func (c *checker) bitmaps() error {
	h, g := c.im.h, c.geo
	for _, x := range h.Extensions {
		if x.Type != extBitmaps || h.AutoclearFeatures&autoclearBitmaps == 0 {
			continue
		}
		if len(x.Data) < 24 {
			c.problem(false, "header extension for bitmaps", -1, "it has only %d bytes", len(x.Data))
			continue
		}
		n, size, off := be.Uint32(x.Data), be.Uint64(x.Data[8:]), int64(be.Uint64(x.Data[16:]))
		if size > maxSnapshotTable || !c.structure("bitmap directory", off, int64(size), -1) {
			continue
		}
		p := make([]byte, size)
		if _, err := c.im.f.ReadAt(p, off); err != nil {
			return fmt.Errorf("read the bitmap directory at %#x of image %s: %w", off, c.im.name, err)
		}
		for i := range n {
			where := fmt.Sprintf("bitmap directory, entry %d", i)
			if len(p) < 24 {
				c.problem(false, where, off, "it is not inside the directory")
				break
			}
			table, entries := int64(be.Uint64(p)), int64(be.Uint32(p[8:]))
			nameLen, extra := int64(be.Uint16(p[18:])), int64(be.Uint32(p[20:]))
			if entries > maxL1Bytes/8 || !c.structure(where, table, entries*8, off) {
				break
			}
			t, err := c.im.readTable(where, table, entries)
			if err != nil {
				return c.damage(err)
			}
			for k, e := range t {
				if o := int64(e & maskOffset); o != 0 {
					c.structure(fmt.Sprintf("%s, cluster %d", where, k), o, g.clusterSize, table+int64(k)*8)
				}
			}
			p = p[min((24+nameLen+extra+7)&^7, int64(len(p))):]
		}
	}
	return nil
}
