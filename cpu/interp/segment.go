package interp

import "dfemu/cpu/x86"

// Types of system descriptors, with S clear (Intel SDM vol. 3, table 3-2).
const (
	typeTSS16     = 1
	typeLDT       = 2
	typeTSS16Busy = 3
	typeCallGate  = 4 // 16-bit
	typeTaskGate  = 5
	typeInt16     = 6
	typeTrap16    = 7
	typeTSS       = 9 // 32- and 64-bit
	typeTSSBusy   = 11
	typeCallGate2 = 12 // 32- and 64-bit
	typeInt       = 14
	typeTrap      = 15

	// sysType is the part of Attr that tells system descriptors apart.
	sysType = x86.AttrType | x86.AttrS
)

// descriptor is an entry of the GDT or LDT as read from memory.
type descriptor struct {
	raw  uint64
	va   uint64 // where it is
	attr x86.Attr
}

func (d *descriptor) dpl() uint8 { return uint8(d.raw >> 45 & 3) }
func (d *descriptor) present() bool {
	return d.attr&x86.AttrP != 0
}

// code reports a code segment.
func (d *descriptor) code() bool {
	return d.attr&(x86.AttrS|x86.AttrCode) == x86.AttrS|x86.AttrCode
}

// conforming reports whether a code segment is conforming.
func (d *descriptor) conforming() bool { return d.attr&x86.AttrDC != 0 }

// writable reports a writable data segment.
func (d *descriptor) writable() bool {
	return d.attr&(x86.AttrS|x86.AttrCode|x86.AttrRW) == x86.AttrS|x86.AttrRW
}

// segment returns the segment register contents for the descriptor.
func (d *descriptor) segment(sel uint16) x86.Segment {
	base := d.raw>>16&0xffffff | d.raw>>56<<24
	limit := uint32(d.raw&0xffff | d.raw>>32&0xf0000)
	if d.attr&x86.AttrG != 0 {
		limit = limit<<12 | 0xfff
	}
	return x86.Segment{Selector: sel, Base: base, Limit: limit, Attr: d.attr}
}

// selCode is the error code that names a selector.
func (c *CPU) selCode(sel uint16) uint32 { return uint32(sel)&0xfffc | c.sys.ext }

// raise makes an exception with the error code of a selector pending; it returns false.
func (c *CPU) raise(vec uint8, sel uint16) bool {
	c.fault(vec, c.selCode(sel))
	return false
}

// raise0 makes an exception with error code 0 pending; it returns false.
func (c *CPU) raise0(vec uint8) bool {
	c.fault(vec, c.sys.ext)
	return false
}

// finish turns the success of a step into what a handler returns.
func finish(ok bool, st status) status {
	if ok {
		return st
	}
	return stFault
}

// lookupDesc reads the descriptor that a selector names. found is false when it is beyond
// the table; ok is false when reading raised an exception.
func (c *CPU) lookupDesc(sel uint16, size uint64) (d descriptor, found, ok bool) {
	base, limit := c.s.GDTR.Base, uint64(c.s.GDTR.Limit)
	if sel&4 != 0 {
		if c.s.LDTR.Attr&x86.AttrUnusable != 0 {
			return d, false, true
		}
		base, limit = c.s.LDTR.Base, uint64(c.s.LDTR.Limit)
	}
	off := uint64(sel &^ 7)
	if off+size-1 > limit {
		return d, false, true
	}
	d.va = base + off
	if !c.long {
		d.va &= 0xffffffff
	}
	d.raw, ok = c.readSys(d.va, 8)
	d.attr = x86.Attr(d.raw>>40) & 0xf0ff
	return d, true, ok
}

// readDesc is lookupDesc for a selector that must not be null (#GP(0)) and must lie within
// its table (vec with the selector).
func (c *CPU) readDesc(sel uint16, vec uint8) (d descriptor, ok bool) {
	if sel&0xfffc == 0 {
		return d, c.raise0(vec)
	}
	d, found, ok := c.lookupDesc(sel, 8)
	if ok && !found {
		return d, c.raise(vec, sel)
	}
	return d, ok
}

// setTypeBits sets and clears bits of a descriptor's type (byte 5) in memory, in one step.
func (c *CPU) setTypeBits(d *descriptor, set, clear uint8) bool {
	ctx := c.ctx
	c.ctx = ctxValid
	_, ok := lockedAt(c, nil, d.va+5, func(old uint8) uint8 { return old&^clear | set })
	c.ctx = ctx
	return ok
}

// access marks a code or data segment as accessed.
func (c *CPU) access(d *descriptor) bool {
	if d.attr&x86.AttrAccessed != 0 {
		return true
	}
	d.attr |= x86.AttrAccessed
	return c.setTypeBits(d, uint8(x86.AttrAccessed), 0)
}

// nullSegment returns a segment register loaded with a null selector, at privilege level dpl
// (which matters for SS only).
func nullSegment(sel uint16, dpl uint8) x86.Segment {
	return x86.Segment{Selector: sel, Attr: x86.AttrUnusable | x86.Attr(dpl)<<5}
}

// realSegment loads a segment register the way real-address mode does: limit and
// attributes stay.
func (c *CPU) realSegment(seg int, sel uint16) {
	g := &c.s.Seg[seg]
	g.Selector, g.Base = sel, uint64(sel)<<4
	if g.Attr&x86.AttrUnusable != 0 {
		g.Limit = 0xffff
		g.Attr = x86.AttrP | x86.AttrS | x86.AttrRW | x86.AttrAccessed
	}
	c.segBase[seg] = g.Base
}

// vmSegment returns a segment register of virtual-8086 mode (Intel SDM vol. 3, 21.2.2).
func vmSegment(sel uint16) x86.Segment {
	return x86.Segment{Selector: sel, Base: uint64(sel) << 4, Limit: 0xffff,
		Attr: x86.AttrP | x86.AttrDPL | x86.AttrS | x86.AttrRW | x86.AttrAccessed}
}

// dataDesc checks a selector for DS, ES, FS or GS and returns the segment (Intel SDM vol. 2, MOV;
// vol. 3, 5.6). vec is #GP, or #TS in a task switch. It does not set the accessed bit.
func (c *CPU) dataDesc(sel uint16, cpl, vec uint8) (d descriptor, null, ok bool) {
	if sel&0xfffc == 0 {
		return d, true, true
	}
	d, ok = c.readDesc(sel, vec)
	if !ok {
		return d, false, false
	}
	rpl := uint8(sel & 3)
	readable := d.attr&x86.AttrS != 0 && (d.attr&x86.AttrCode == 0 || d.attr&x86.AttrRW != 0)
	nonconforming := !d.code() || !d.conforming()
	if !readable || nonconforming && (rpl > d.dpl() || cpl > d.dpl()) {
		return d, false, c.raise(vec, sel)
	}
	if !d.present() {
		return d, false, c.raise(x86.VecNP, sel)
	}
	return d, false, true
}

// stackDesc checks a selector for SS at privilege level cpl: RPL and DPL must be equal to it. vec
// is #GP or #TS. It does not set the accessed bit.
func (c *CPU) stackDesc(sel uint16, cpl, vec uint8) (d descriptor, ok bool) {
	if d, ok = c.readDesc(sel, vec); !ok {
		return d, false
	}
	if uint8(sel&3) != cpl || !d.writable() || d.dpl() != cpl {
		return d, c.raise(vec, sel)
	}
	if !d.present() {
		return d, c.raise(x86.VecSS, sel)
	}
	return d, true
}

// loadSegment loads ES, SS, DS, FS or GS with a selector. The caller sees to modeChanged where
// segmentChanged says so.
func (c *CPU) loadSegment(seg int, sel uint16) bool {
	if c.s.CR0&x86.CR0_PE == 0 {
		c.realSegment(seg, sel)
		return true
	}
	if c.flags&x86.VM != 0 {
		c.s.Seg[seg] = vmSegment(sel)
		c.segBase[seg] = c.s.Seg[seg].Base
		return true
	}
	if seg == x86.SS {
		if sel&0xfffc == 0 && c.mode == x86.Mode64 && c.cpl != 3 && uint8(sel&3) == c.cpl {
			c.s.Seg[x86.SS] = nullSegment(sel, c.cpl)
			return true
		}
		d, ok := c.stackDesc(sel, c.cpl, x86.VecGP)
		if !ok || !c.access(&d) {
			return false
		}
		c.setSegment(seg, d.segment(sel))
		return true
	}
	d, null, ok := c.dataDesc(sel, c.cpl, x86.VecGP)
	if !ok {
		return false
	}
	if null {
		c.setSegment(seg, nullSegment(sel, 0))
		return true
	}
	if !c.access(&d) {
		return false
	}
	c.setSegment(seg, d.segment(sel))
	return true
}

// setSegment stores a data or stack segment register with its base.
func (c *CPU) setSegment(seg int, g x86.Segment) {
	c.s.Seg[seg] = g
	if c.mode != x86.Mode64 || seg >= x86.FS {
		c.segBase[seg] = g.Base
	}
}

// afterSegment is what a handler returns once it has loaded a segment register. Outside
// 64-bit mode, decoded code may depend on what was loaded.
func (c *CPU) afterSegment(seg int) status {
	switch {
	case seg == x86.SS:
		c.shadow()
		return stEnd
	case c.mode == x86.Mode64 || seg >= x86.FS:
		return stNext
	case c.mode == x86.Mode32:
		c.modeChanged()
		return stEnd
	}
	return stNext
}

// shadow holds off interrupts and debug traps until the next instruction is done.
func (c *CPU) shadow() {
	c.s.IntrShadow = true
	c.modeChanged()
}

// codeDesc reads and checks the target of a far transfer that is a code segment reached directly,
// not through a gate: nonconforming segments need equal privilege (Intel SDM vol. 3, 5.8.1).
func (c *CPU) codeDesc(sel uint16, d *descriptor) bool {
	switch {
	case c.long && d.attr&(x86.AttrL|x86.AttrDB) == x86.AttrL|x86.AttrDB:
		return c.raise(x86.VecGP, sel)
	case d.conforming():
		if d.dpl() > c.cpl {
			return c.raise(x86.VecGP, sel)
		}
	case uint8(sel&3) > c.cpl || d.dpl() != c.cpl:
		return c.raise(x86.VecGP, sel)
	}
	if !d.present() {
		return c.raise(x86.VecNP, sel)
	}
	return true
}

// returnDesc reads and checks the code segment that a far return or IRET goes to. vec is #GP.
func (c *CPU) returnDesc(sel uint16) (d descriptor, ok bool) {
	if d, ok = c.readDesc(sel, x86.VecGP); !ok {
		return d, false
	}
	rpl := uint8(sel & 3)
	switch {
	case !d.code(), rpl < c.cpl,
		d.conforming() && d.dpl() > rpl,
		!d.conforming() && d.dpl() != rpl,
		c.long && d.attr&(x86.AttrL|x86.AttrDB) == x86.AttrL|x86.AttrDB:
		return d, c.raise(x86.VecGP, sel)
	}
	if !d.present() {
		return d, c.raise(x86.VecNP, sel)
	}
	return d, true
}

// wide reports a 64-bit code segment.
func (c *CPU) wide(d *descriptor) bool { return c.long && d.attr&x86.AttrL != 0 }

// targetOK checks the offset of a far transfer against the code segment's limit, or in 64-bit
// mode for being canonical (#GP(0)).
func (c *CPU) targetOK(d *descriptor, off uint64) bool {
	if c.wide(d) {
		if !c.canonical(off) {
			return c.raise0(x86.VecGP)
		}
		return true
	}
	g := d.segment(0)
	if off > uint64(g.Limit) {
		return c.raise0(x86.VecGP)
	}
	return true
}

// setCS loads CS at privilege level cpl; SS must have that level when modeChanged is called.
func (c *CPU) setCS(sel uint16, cpl uint8, d *descriptor) {
	g := d.segment(sel&^3 | uint16(cpl))
	c.s.Seg[x86.CS] = g
}
