package interp

import "dfemu/cpu/x86"

// Flags that IRET and POPF load at every privilege level.
const loadable = x86.ArithFlags | x86.TF | x86.DF | x86.NT | x86.AC | x86.ID

// iret is IRET, IRETD and IRETQ (Intel SDM vol. 2, IRET).
func iret(c *CPU, o *Op) status {
	c.s.NMIBlocked = false
	n := int(o.size)
	vm := c.flags&x86.VM != 0
	if c.protected() && c.flags&x86.NT != 0 {
		if c.long {
			return c.gp(0)
		}
		return c.taskReturn(o)
	}
	iopl := uint8(c.flags >> 12 & 3)
	if vm && iopl < 3 && (c.s.CR4&x86.CR4_VME == 0 || n != 2) {
		return c.gp(0)
	}
	var w [3]uint64
	for i := range w {
		v, ok := c.peek(uint64(i*n), n)
		if !ok {
			return stFault
		}
		w[i] = v
	}
	off, sel, image := w[0], uint16(w[1]), w[2]
	if !c.protected() {
		if off > uint64(c.s.Seg[x86.CS].Limit) {
			return c.gp(0)
		}
		var f uint64
		switch {
		case !vm:
			f = c.loadFlags(image, n, loadable|x86.IF|x86.IOPL|x86.RF)
		case iopl == 3:
			f = c.loadFlags(image, n, loadable|x86.IF|x86.RF)
		default:
			// VME: IF is VIF (SDM vol. 3, 21.3.3.4).
			if image&x86.TF != 0 || image&x86.IF != 0 && c.flags&x86.VIP != 0 {
				return c.gp(0)
			}
			f = c.loadFlags(image, n, loadable)&^x86.VIF | image&x86.IF<<10
		}
		c.drop(uint64(3 * n))
		if vm {
			c.s.Seg[x86.CS] = vmSegment(sel)
		} else {
			c.realSegment(x86.CS, sel)
		}
		c.returnFlags(f)
		c.rip = off
		return stBranch
	}
	if image&x86.VM != 0 && c.cpl == 0 && n == 4 && !c.long {
		return c.iretVM(off, sel, image)
	}
	d, ok := c.returnDesc(sel)
	if !ok {
		return stFault
	}
	writable := uint64(loadable | x86.RF)
	if c.cpl <= iopl {
		writable |= x86.IF
	}
	if c.cpl == 0 {
		writable |= x86.IOPL | x86.VIF | x86.VIP
	}
	f := c.loadFlags(image, n, writable)
	if uint8(sel&3) == c.cpl && c.mode != x86.Mode64 {
		if !c.targetOK(&d, off) || !c.access(&d) {
			return stFault
		}
		c.drop(uint64(3 * n))
		c.setCS(sel, c.cpl, &d)
		c.returnFlags(f)
		c.rip = off
		return stBranch
	}
	sp, ok := c.peek(uint64(3*n), n)
	if !ok {
		return stFault
	}
	ss, ok := c.peek(uint64(4*n), n)
	if !ok {
		return stFault
	}
	if !c.returnOuter(sel, &d, off, uint16(ss), sp, 0) {
		return stFault
	}
	c.returnFlags(f)
	return stBranch
}

// loadFlags returns RFLAGS with the bits of mask taken from an image of n bytes.
func (c *CPU) loadFlags(image uint64, n int, mask uint64) uint64 {
	if n == 2 {
		mask &= 0xffff
	}
	return c.rflags()&^mask | image&mask
}

// returnFlags loads the flags of an IRET. RF lasts for the next instruction; where no
// breakpoint is enabled and no single step shows it, it has no effect, and nothing would clear it.
func (c *CPU) returnFlags(f uint64) {
	if f&x86.RF != 0 && c.s.DR[7]&0xff == 0 && (f|c.flags)&x86.TF == 0 {
		f &^= x86.RF
	}
	c.setRFLAGS(f)
	c.keepRF = f&x86.RF != 0
	if c.keepRF {
		c.pending.Or(pendSlow)
	}
}

// iretVM returns to virtual-8086 mode (SDM vol. 3, 21.2.5).
func (c *CPU) iretVM(off uint64, cs uint16, image uint64) status {
	if off > 0xffff {
		return c.gp(0)
	}
	var w [6]uint64 // ESP, SS, ES, DS, FS, GS
	for i := range w {
		v, ok := c.peek(uint64(3+i)*4, 4)
		if !ok {
			return stFault
		}
		w[i] = v
	}
	s := &c.s
	s.Seg[x86.CS] = vmSegment(cs)
	s.Seg[x86.SS] = vmSegment(uint16(w[1]))
	s.Seg[x86.ES] = vmSegment(uint16(w[2]))
	s.Seg[x86.DS] = vmSegment(uint16(w[3]))
	s.Seg[x86.FS] = vmSegment(uint16(w[4]))
	s.Seg[x86.GS] = vmSegment(uint16(w[5]))
	c.r[x86.RSP] = w[0]
	c.returnFlags(c.loadFlags(image, 4, loadable|x86.RF|x86.IF|x86.IOPL|x86.VIF|x86.VIP|x86.VM))
	c.rip = off
	return stBranch
}
