package interp

import "dfemu/cpu/x86"

const (
	tlbSize = 4096
	// maxLocal is how many entries are remembered one by one because they go with CR3.
	maxLocal = 64
	itlbSize = 128
	// entryShift is the binary logarithm of the size of an entry, of any TLB for data, in bytes.
	entryShift = 5
	// codePageBits is the size of CPU.codePages.
	codePageBits = 4096
	pageSize     = 4096
	pageMask     = ^uint64(pageSize - 1)
	pageOffset   = pageSize - 1
)

// The low bits of TLB tags: who may use an entry.
const (
	ctxValid = 1 << iota // set in every tag, so that an empty entry never matches
	ctxUser              // made by and for CPL 3
	ctxAC                // made at CPL < 3 with EFLAGS.AC set (SMAP suspended)
	ctxSlow              // never stored in an entry: forces the slow path
)

// tlbEntry maps one page of linear addresses to host memory. An access of n
// bytes at va hits when the page of its last byte, with the context bits, is
// the tag; an access that crosses into the next page therefore misses.
type tlbEntry struct {
	r, w uint64   // tags for loads and for stores; 0: none
	host hostPage // the page in the host
	// delta is what to add to a linear address of the page to get its place in the host.
	delta uint64
}

// tlbIndex is the place of a page in the TLB. Programs have the same addresses in use, whose entries have different places by the number of the
// address space.
func tlbIndex(va, ctx uint64) uint64 { return (va>>12 ^ ctx&spaceMask) & (tlbSize - 1) }

// itlbEntry maps one page for instruction fetch.
type itlbEntry struct {
	tag  uint64
	phys uint64
	host hostPage
	// global: the translation is the same in all address spaces.
	global bool
}

// access says what a translation is for.
type access uint8

const (
	accRead access = iota
	accWrite
	accFetch
)

// flushTLB drops all translations.
func (c *CPU) flushTLB() {
	clear(c.tlb[:])
	clear(c.itlb[:])
	clear(c.tlbWide[:])
	c.second.drop()
	c.dropSlots()
	c.sys.large = [2][2]largePages{}
	c.sys.spaces = spaces{}
	c.dropTargets()
	if c.cpl == 3 {
		c.ctx &^= spaceMask
	}
}

// flushLocal drops the translations of pages that are not global, but for those that only CPL 3 uses.
func (c *CPU) flushLocal() {
	if c.localCount <= maxLocal {
		for _, i := range c.local[:c.localCount] {
			c.dropLocal(int(i))
		}
	} else {
		for i := range c.tlb {
			c.dropLocal(i)
		}
	}
	c.localCount = 0
	c.dropSlots()
	for i := range c.itlb {
		if e := &c.itlb[i]; !e.global && e.tag&ctxUser == 0 {
			*e = itlbEntry{}
		}
	}
	if c.kernelLocal {
		c.jgen[0] = c.newGeneration()
		c.kernelLocal = false
	}
}

// dropLocal drops an entry of the TLB unless it is global or of CPL 3.
func (c *CPU) dropLocal(i int) {
	if c.tlbGlobal[i>>6]>>(i&63)&1 == 0 && c.tlb[i].r&ctxUser == 0 {
		c.tlb[i] = tlbEntry{}
	}
}

// flushPage drops the translations of one linear page.
func (c *CPU) flushPage(va uint64) {
	c.dropSlots()
	here := va&pageMask | c.sys.spaces.tag()
	c.tlb[tlbIndex(va, 0)], c.tlb[tlbIndex(va, here)] = tlbEntry{}, tlbEntry{}
	*c.second.at(here) = secondEntry{}
	c.itlb[va>>12&(itlbSize-1)] = itlbEntry{}
	n := pageBit(va)
	for level := range c.codePages {
		if c.codePages[level][n>>6]>>(n&63)&1 != 0 {
			c.dropTargetsOf(level)
		}
	}
}

// dropTargets forgets where linear addresses lead to decoded code.
func (c *CPU) dropTargets() {
	c.dropTargetsOf(0)
	c.dropTargetsOf(1)
}

// dropTargetsOf is dropTargets for CPL 0 to 2 (level 0), or CPL 3 (1).
func (c *CPU) dropTargetsOf(level int) {
	c.jgen[level] = c.newGeneration()
	clear(c.codePages[level][:])
	if level == 0 {
		c.kernelLocal = false
		return
	}
	for i := range c.sys.spaces.list {
		c.sys.spaces.list[i].gen = c.newGeneration()
	}
}

// noteCode is called when it is remembered that there is decoded code at linear address va, which was just
// translated for fetching.
func (c *CPU) noteCode(va uint64) {
	n := pageBit(va)
	c.codePages[c.level()][n>>6] |= 1 << (n & 63)
	if !c.kernelLocal && c.key&keyUser == 0 {
		e := &c.itlb[va>>12&(itlbSize-1)]
		if e.tag&pageMask != va&pageMask {
			cr2, exc := c.s.CR2, c.exc
			if _, _, ok := c.fetchPage(va); !ok {
				c.s.CR2, c.exc = cr2, exc
			}
		}
		c.kernelLocal = e.tag&pageMask != va&pageMask || !e.global
	}
}

// level is 1 at CPL 3.
func (c *CPU) level() int { return int(c.key / keyUser & 1) }

// pageBit is the bit of codePages that stands for the page of va.
func pageBit(va uint64) uint64 { return (va>>12 ^ va>>24) & (codePageBits - 1) }

// flushWrites makes every store look at the code map again.
func (c *CPU) flushWrites() {
	for i := range c.tlb {
		c.tlb[i].w = 0
	}
	clear(c.tlbWide[:])
	c.second.gen++
	for i := range c.hot.Slots {
		for k := range c.hot.Slots[i] {
			c.hot.Slots[i][k].W = c.hot.NoPage
		}
	}
}

// lea returns the offset of o's memory operand in its segment.
func (c *CPU) lea(o *Op) uint64 {
	return (c.r[o.base&31] + c.r[o.index&31]<<(o.scale&3) + o.disp) & o.amask
}

// load reads o's memory operand.
func load[T word](c *CPU, o *Op) (T, bool) {
	va := (c.r[o.base&31] + c.r[o.index&31]<<(o.scale&3) + o.disp) & o.amask
	if o.legacy {
		var ok bool
		if va, ok = c.linear(o.seg, va, sizeOf[T](), accRead); !ok {
			return 0, false
		}
	} else {
		va += c.segBase[o.seg&7]
	}
	return loadAt[T](c, o, va)
}

// store writes o's memory operand.
func store[T word](c *CPU, o *Op, v T) bool {
	va := (c.r[o.base&31] + c.r[o.index&31]<<(o.scale&3) + o.disp) & o.amask
	if o.legacy {
		var ok bool
		if va, ok = c.linear(o.seg, va, sizeOf[T](), accWrite); !ok {
			return false
		}
	} else {
		va += c.segBase[o.seg&7]
	}
	return storeAt(c, o, va, v)
}

// address returns the linear address of o's memory operand, of which n bytes
// will be accessed. Outside 64-bit mode it checks the segment.
func (c *CPU) address(o *Op, n int, acc access) (va uint64, ok bool) {
	va = c.lea(o)
	if o.legacy {
		return c.linear(o.seg, va, uint64(n), acc)
	}
	return va + c.segBase[o.seg&7], true
}

// loadAt reads the T at linear address va. o tells which instruction and,
// for the choice between #SS and #GP, which segment; it may be nil for
// accesses that the processor makes by itself.
func loadAt[T word](c *CPU, o *Op, va uint64) (T, bool) {
	e := &c.tlb[tlbIndex(va, c.ctx)]
	if e.r == (va+sizeOf[T]()-1)&pageMask|c.ctx {
		return hostLoad[T](hostAt(e.host, va)), true
	}
	v, ok := c.loadSlow(o, va, int(sizeOf[T]()), c.ctx)
	return T(v), ok
}

// storeAt writes the T at linear address va.
func storeAt[T word](c *CPU, o *Op, va uint64, v T) bool {
	e := &c.tlb[tlbIndex(va, c.ctx)]
	if e.w == (va+sizeOf[T]()-1)&pageMask|c.ctx {
		hostStore(hostAt(e.host, va), v)
		return true
	}
	return c.storeSlow(o, va, int(sizeOf[T]()), uint64(v), c.ctx)
}

// load128 reads o's memory operand; align tells that it must be
// aligned to its size (#GP otherwise).
func (c *CPU) load128(o *Op, align bool) (v [2]uint64, ok bool) {
	va, ok := c.address(o, 16, accRead)
	if !ok || align && !c.aligned(va, 16) {
		return v, false
	}
	if v[0], ok = loadAt[uint64](c, o, va); ok {
		v[1], ok = loadAt[uint64](c, o, va+8)
	}
	return v, ok
}

// aligned raises #GP(0) unless va is a multiple of n.
func (c *CPU) aligned(va, n uint64) bool {
	if va&(n-1) != 0 {
		c.gp(0)
		return false
	}
	return true
}

// loadBytes and storeBytes access len(p) bytes from linear address va; a store
// is made wholly or not at all.
func (c *CPU) loadBytes(o *Op, va uint64, p []byte) bool {
	if !c.probe(o, va, len(p), accRead) {
		return false
	}
	for i := range p {
		v, ok := loadAt[uint8](c, o, va+uint64(i))
		if !ok {
			return false
		}
		p[i] = v
	}
	return true
}

func (c *CPU) storeBytes(o *Op, va uint64, p []byte) bool {
	if !c.probe(o, va, len(p), accWrite) {
		return false
	}
	for i, b := range p {
		if !storeAt(c, o, va+uint64(i), b) {
			return false
		}
	}
	return true
}

// readSys and writeSys access system structures (descriptor tables, task
// state, the stacks of gates) with supervisor rights whatever the CPL.
func (c *CPU) readSys(va uint64, n int) (uint64, bool) {
	e := &c.tlb[tlbIndex(va, ctxValid)]
	if n == 8 && e.r == (va+7)&pageMask|ctxValid {
		return hostLoad[uint64](hostAt(e.host, va)), true
	}
	return c.loadSlow(nil, va, n, ctxValid)
}

func (c *CPU) writeSys(va uint64, n int, v uint64) bool {
	return c.storeSlow(nil, va, n, v, ctxValid)
}

// probe checks that n bytes (at most a page) at va can be accessed and raises the
// fault if not.
func (c *CPU) probe(o *Op, va uint64, n int, acc access) bool {
	last := va + uint64(n) - 1
	e := &c.tlb[tlbIndex(va, c.ctx)]
	tag := last&pageMask | c.ctx
	if acc == accWrite && e.w == tag || acc == accRead && e.r == tag {
		return true
	}
	if !c.wholeCanonical(o, va, n) {
		return false
	}
	if _, _, ok := c.translate(o, va, acc, c.ctx); !ok {
		return false
	}
	if (va^last)&pageMask != 0 {
		if _, _, ok := c.translate(o, last&pageMask, acc, c.ctx); !ok {
			return false
		}
	}
	return true
}

// linear checks an access of n bytes at offset off of a segment against its
// limit and type, and returns the linear address (Intel SDM vol. 3, 5.3–5.5).
func (c *CPU) linear(seg uint8, off, n uint64, acc access) (va uint64, ok bool) {
	if seg >= segNone {
		return off, true
	}
	if c.mode == x86.Mode64 {
		return off + c.segBase[seg], true
	}
	g := &c.s.Seg[seg]
	last := off + n - 1
	limit := uint64(g.Limit)
	bad := g.Attr&x86.AttrUnusable != 0
	if !bad {
		if g.Attr&(x86.AttrCode|x86.AttrDC) == x86.AttrDC { // expand-down data
			top := uint64(0xffff)
			if g.Attr&x86.AttrDB != 0 {
				top = 0xffffffff
			}
			bad = off <= limit || last > top || last < off
		} else {
			bad = last > limit || last < off
		}
		if c.s.CR0&x86.CR0_PE != 0 && c.flags&x86.VM == 0 {
			code := g.Attr&x86.AttrCode != 0
			rw := g.Attr&x86.AttrRW != 0
			bad = bad || acc == accWrite && (code || !rw) || acc == accRead && code && !rw
		}
	}
	if bad {
		if seg == x86.SS {
			c.fault(x86.VecSS, 0)
		} else {
			c.gp(0)
		}
		return 0, false
	}
	return (off + g.Base) & 0xffffffff, true
}
