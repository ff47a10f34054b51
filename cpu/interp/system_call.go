package interp

import "dfemu/cpu/x86"

// flatSegment returns CS (code set) or SS as the fast system calls load them, which do not look
// at the descriptor tables.
func flatSegment(sel uint16, cpl uint8, code, wide bool) x86.Segment {
	attr := x86.AttrG | x86.AttrP | x86.AttrS | x86.AttrRW | x86.AttrAccessed | x86.Attr(cpl)<<5
	if code {
		attr |= x86.AttrCode
	}
	if wide {
		attr |= x86.AttrL
	} else {
		attr |= x86.AttrDB
	}
	return x86.Segment{Selector: sel, Limit: 0xffffffff, Attr: attr}
}

// setFlat loads CS with sel and SS with the selector ss, at privilege level cpl.
func (c *CPU) setFlat(sel, ss uint16, cpl uint8, wide bool) {
	rpl := uint16(cpl)
	c.s.Seg[x86.CS] = flatSegment(sel&^3|rpl, cpl, true, wide)
	c.s.Seg[x86.SS] = flatSegment(ss&^3|rpl, cpl, false, false)
}

// opSyscall is SYSCALL (Intel SDM vol. 2; vol. 3, 5.8.8).
func opSyscall(c *CPU, o *Op) status {
	m := &c.s.MSR
	if m.EFER&x86.EFER_SCE == 0 {
		return c.ud()
	}
	f := c.rflags() &^ x86.RF
	c.r[x86.RCX] = c.nextRIP(o)
	c.r[x86.R11] = f
	sel := uint16(m.STAR >> 32)
	c.setFlat(sel, sel+8, 0, true)
	c.setRFLAGS(f &^ m.FMASK)
	c.rip = m.LSTAR
	c.sys.lateTF = true
	return stBranch
}

// sysret is SYSRET.
func sysret(c *CPU, o *Op) status {
	m := &c.s.MSR
	if m.EFER&x86.EFER_SCE == 0 {
		return c.ud()
	}
	if !c.privileged() {
		return stFault
	}
	rip := c.r[x86.RCX]
	sel := uint16(m.STAR >> 48)
	if o.size == 8 {
		if !c.canonical(rip) {
			return c.gp(0)
		}
		c.setFlat(sel+16, sel+8, 3, true)
	} else {
		rip &= 0xffffffff
		c.setFlat(sel, sel+8, 3, false)
	}
	c.setRFLAGS(c.r[x86.R11] & 0x3c7fd7)
	c.rip = rip
	if c.flags&x86.TF != 0 {
		// Single-stepped as if the SYSCALL had just completed.
		c.trapLater(dr6BS)
		c.sys.lateTF = false
	}
	return stBranch
}

// sysenter is SYSENTER (SDM vol. 2; vol. 3, 5.8.7).
func sysenter(c *CPU, o *Op) status {
	m := &c.s.MSR
	cs := uint16(m.SysenterCS)
	if c.s.CR0&x86.CR0_PE == 0 || cs&0xfffc == 0 {
		return c.gp(0)
	}
	c.setFlat(cs, cs+8, 0, c.long)
	c.setRFLAGS(c.rflags() &^ (x86.VM | x86.IF | x86.RF))
	c.r[x86.RSP] = m.SysenterESP
	c.rip = m.SysenterEIP
	if !c.long {
		c.r[x86.RSP] &= 0xffffffff
		c.rip &= 0xffffffff
	}
	return stBranch
}

// sysexit is SYSEXIT.
func sysexit(c *CPU, o *Op) status {
	cs := uint16(c.s.MSR.SysenterCS)
	if c.s.CR0&x86.CR0_PE == 0 || cs&0xfffc == 0 || c.cpl != 0 {
		return c.gp(0)
	}
	rip, rsp := c.r[x86.RDX], c.r[x86.RCX]
	if o.size == 8 {
		if !c.canonical(rip) || !c.canonical(rsp) {
			return c.gp(0)
		}
		c.setFlat(cs+32, cs+40, 3, true)
	} else {
		rip &= 0xffffffff
		rsp &= 0xffffffff
		c.setFlat(cs+16, cs+24, 3, false)
	}
	c.modeChanged()
	c.r[x86.RSP] = rsp
	c.rip = rip
	return stBranch
}
