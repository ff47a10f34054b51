package interp

import "dfemu/cpu/x86"

// stackMask has the bits of RSP that address the stack (Intel SDM vol. 1, 6.2.3).
func (c *CPU) stackMask() uint64 {
	if c.mode == x86.Mode64 {
		return ^uint64(0)
	}
	return segStackMask(&c.s.Seg[x86.SS])
}

// segStackMask is stackMask for a stack segment outside 64-bit mode.
func segStackMask(ss *x86.Segment) uint64 {
	if ss.Attr&x86.AttrDB != 0 {
		return 0xffffffff
	}
	return 0xffff
}

// setSP writes the stack pointer: RSP, ESP or SP as mask says.
func (c *CPU) setSP(sp, mask uint64) {
	if mask == 0xffff {
		setReg(c, x86.RSP, uint16(sp))
	} else {
		c.r[x86.RSP] = sp & mask
	}
}

// stackAddress returns the linear address of n bytes that lie off bytes above the stack pointer.
func (c *CPU) stackAddress(off uint64, n int, acc access) (va uint64, ok bool) {
	sp := (c.r[x86.RSP] + off) & c.stackMask()
	if c.mode == x86.Mode64 {
		if !c.canonical(sp) || !c.canonical(sp+uint64(n)-1) {
			return 0, c.raise0(x86.VecSS)
		}
		return sp, true
	}
	return c.linear(x86.SS, sp, uint64(n), acc)
}

// peek reads the n-byte word that lies off bytes above the stack pointer.
func (c *CPU) peek(off uint64, n int) (uint64, bool) {
	va, ok := c.stackAddress(off, n, accRead)
	if !ok {
		return 0, false
	}
	return c.loadN(nil, va, n)
}

// loadN and storeN are loadAt and storeAt for a size that varies.
func (c *CPU) loadN(o *Op, va uint64, n int) (uint64, bool) {
	switch n {
	case 1:
		v, ok := loadAt[uint8](c, o, va)
		return uint64(v), ok
	case 2:
		v, ok := loadAt[uint16](c, o, va)
		return uint64(v), ok
	case 4:
		v, ok := loadAt[uint32](c, o, va)
		return uint64(v), ok
	}
	return loadAt[uint64](c, o, va)
}

func (c *CPU) storeN(o *Op, va uint64, n int, v uint64) bool {
	switch n {
	case 1:
		return storeAt(c, o, va, uint8(v))
	case 2:
		return storeAt(c, o, va, uint16(v))
	case 4:
		return storeAt(c, o, va, uint32(v))
	}
	return storeAt(c, o, va, v)
}

// drop moves the stack pointer up by n bytes.
func (c *CPU) drop(n uint64) {
	mask := c.stackMask()
	c.setSP(c.r[x86.RSP]+n, mask)
}

// pushWords pushes words of n bytes in the present context; on a fault, RSP has not moved.
func (c *CPU) pushWords(n int, words ...uint64) bool {
	for i, v := range words {
		va, ok := c.stackAddress(-uint64(n*(i+1)), n, accWrite)
		if !ok || !c.storeN(nil, va, n, v) {
			return false
		}
	}
	c.drop(-uint64(n * len(words)))
	return true
}

// frame is what event delivery and call gates push on a stack that is not, or not yet, the
// present one.
type frame struct {
	n     int // number of words
	words [48]uint64
}

func (f *frame) push(v uint64) {
	f.words[f.n] = v
	f.n++
}

// target is a stack on which a frame is pushed.
type target struct {
	ss   x86.Segment // not looked at where wide is set
	sp   uint64
	mask uint64
	cpl  uint8  // privilege level of the accesses
	wide bool   // 64-bit: no segmentation
	code uint32 // error code of #SS when the frame does not fit
}

// writeFrame pushes the frame in words of size bytes and moves t.sp. When it fails, an exception
// is pending.
func (c *CPU) writeFrame(t *target, f *frame, size int) bool {
	ctx := uint64(ctxValid)
	if t.cpl == 3 {
		ctx |= ctxUser | c.sys.spaces.tag()
	}
	old := c.ctx
	c.ctx = ctx
	sp := t.sp
	ok := true
	for _, v := range f.words[:f.n] {
		sp = (sp - uint64(size)) & t.mask
		va := sp
		if !t.wide {
			if !fits(&t.ss, sp, uint64(size)) {
				c.fault(x86.VecSS, t.code)
				ok = false
				break
			}
			va = (sp + t.ss.Base) & 0xffffffff
		} else if !c.canonical(sp) {
			c.fault(x86.VecSS, t.code)
			ok = false
			break
		}
		if ok = c.storeN(nil, va, size, v); !ok {
			break
		}
	}
	c.ctx = old
	if ok {
		t.sp = sp
	}
	return ok
}

// fits reports whether n bytes at an offset are within the limit of a data segment.
func fits(g *x86.Segment, off, n uint64) bool {
	last := off + n - 1
	if g.Attr&(x86.AttrCode|x86.AttrDC) == x86.AttrDC {
		top := uint64(0xffff)
		if g.Attr&x86.AttrDB != 0 {
			top = 0xffffffff
		}
		return off > uint64(g.Limit) && last <= top && last >= off
	}
	return last <= uint64(g.Limit) && last >= off
}
