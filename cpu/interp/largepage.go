package interp

// largePages is a range of linear addresses, all that agree with addr in the bits of mask, that
// covers the large pages with entries in the TLB. A zero mask stands for no address. The TLB
// holds pieces of 4 KiB; the range tells when INVLPG has to drop more than one.
type largePages struct{ addr, mask uint64 }

// noteLarge adds a page to the range; offset has the bits of va that are its offset.
func (c *CPU) noteLarge(va, offset uint64, global bool) {
	g := 0
	if global {
		g = 1
	}
	l := &c.sys.large[g][va>>63]
	if l.mask == 0 {
		*l = largePages{va &^ offset, ^offset}
		return
	}
	m := l.mask &^ offset
	for (l.addr^va)&m != 0 {
		m <<= 1
	}
	*l = largePages{l.addr & m, m}
}

// invalidatePage drops the translations of the page at va, whatever its size.
func (c *CPU) invalidatePage(va uint64) {
	if c.long && !c.canonical(va) {
		return
	}
	for g := range c.sys.large {
		if l := &c.sys.large[g][va>>63]; l.mask != 0 && (va^l.addr)&l.mask == 0 {
			c.flushTLB()
			return
		}
	}
	c.flushPage(va)
}

const (
	wideSize = 256
	widePage = 2 << 20
	wideMask = ^uint64(widePage - 1)
)

// wideEntry maps 2 MiB of linear addresses, part of one large page, to host memory, for loads and stores of translated code. The page is global or
// used by CPL 3 alone, all of it is in one slot of memory, and none of it holds decoded code: loads and stores need no further look at anything. INVLPG
// finds it by the range of large pages, and then drops everything.
type wideEntry struct {
	tag   uint64 // address and context; 0: none
	delta uint64 // what to add to a linear address to get its place in the host
	// denied has the address and context of a page that cannot be here.
	denied uint64
	_      uint64
}

// fillWide enters the 2 MiB around va, which a walk has just found writable at phys. Machines in lockstep have no such entries: they note which pages are
// written to.
func (c *CPU) fillWide(va, phys, ctx uint64) {
	if c.acc.translator == nil || c.acc.lockstep || !c.sys.walkedGlobal && ctx&ctxUser == 0 {
		return
	}
	e := &c.tlbWide[va>>21&(wideSize-1)]
	tag := va&wideMask | ctx
	if e.tag == tag || e.denied == tag {
		return
	}
	base := phys & wideMask
	host, ok := c.acc.mem.span(base, widePage)
	if !ok || c.acc.code.anyIn(base, widePage) {
		e.denied = tag
		return
	}
	*e = wideEntry{tag: tag, delta: hostDelta(host, va&wideMask)}
}
