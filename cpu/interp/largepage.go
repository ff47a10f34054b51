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
