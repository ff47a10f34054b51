package interp

import "dfemu/cpu/x86"

// compileIO handles IN and OUT.
func compileIO(in *x86.Inst, o *Op) (done, end bool) {
	port := 1 // which operand
	switch in.Op {
	case x86.IN:
		o.fn = inOp
	case x86.OUT:
		o.fn = outOp
		port = 0
	default:
		return false, false
	}
	if a := &in.Args[port]; a.Kind == x86.KindImm {
		o.imm, o.aux = uint64(a.Imm)&0xff, 1
	}
	return true, false
}

// portOf is the port of an IN or OUT.
func (c *CPU) portOf(o *Op) uint16 {
	if o.aux != 0 {
		return uint16(o.imm)
	}
	return uint16(c.r[x86.RDX])
}

func inOp(c *CPU, o *Op) status {
	port := c.portOf(o)
	if !c.ioAllowed(o, port, int(o.size)) {
		return stFault
	}
	v := c.in(o, port, int(o.size))
	switch o.size {
	case 1:
		setReg(c, x86.RAX*8, uint8(v))
	case 2:
		setReg(c, x86.RAX, uint16(v))
	default:
		setReg(c, x86.RAX, v)
	}
	return c.afterIO()
}

func outOp(c *CPU, o *Op) status {
	port := c.portOf(o)
	if !c.ioAllowed(o, port, int(o.size)) {
		return stFault
	}
	v := uint32(c.r[x86.RAX])
	switch o.size {
	case 1:
		v &= 0xff
	case 2:
		v &= 0xffff
	}
	c.out(o, port, int(o.size), v)
	return c.afterIO()
}

// afterIO leaves the block where the device has something for the processor to look at.
func (c *CPU) afterIO() status {
	if c.pending.Load() != 0 {
		return stEnd
	}
	return stNext
}

// in reads a port; the caller has asked ioAllowed.
func (c *CPU) in(o *Op, port uint16, size int) uint32 {
	c.leave(o)
	c.stats.Exits++
	if c.s.DR[7]&0xff != 0 {
		c.watchPort(port, size)
	}
	return c.bus.In(port, size)
}

// out writes a port; the caller has asked ioAllowed.
func (c *CPU) out(o *Op, port uint16, size int, v uint32) {
	c.leave(o)
	c.stats.Exits++
	if c.s.DR[7]&0xff != 0 {
		c.watchPort(port, size)
	}
	c.bus.Out(port, size, v)
}

// ioAllowed checks IOPL and the I/O permission bitmap of the TSS for size bytes at port, and
// raises #GP(0) (Intel SDM vol. 1, 19.5).
func (c *CPU) ioAllowed(_ *Op, port uint16, size int) bool {
	if c.s.CR0&x86.CR0_PE == 0 || c.flags&x86.VM == 0 && c.cpl <= uint8(c.flags>>12&3) {
		return true
	}
	tr := &c.s.TR
	if tr.Attr&sysType != typeTSSBusy || tr.Limit < 103 {
		c.gp(0)
		return false
	}
	base, ok := c.readSys(tr.Base+102, 2)
	if !ok {
		return false
	}
	off := base + uint64(port>>3)
	if off+1 > uint64(tr.Limit) {
		c.gp(0)
		return false
	}
	bits, ok := c.readSys(tr.Base+off, 2)
	if !ok {
		return false
	}
	if bits>>(port&7)&(1<<size-1) != 0 {
		c.gp(0)
		return false
	}
	return true
}

// watchPort notes the I/O breakpoints that an access hits (SDM vol. 3, 17.2.4).
func (c *CPU) watchPort(port uint16, size int) {
	if c.s.CR4&x86.CR4_DE == 0 {
		return
	}
	dr7 := c.s.DR[7]
	for i := range 4 {
		if dr7>>(2*i)&3 == 0 || dr7>>(16+4*i)&3 != 2 {
			continue
		}
		n := [...]uint64{1, 2, 8, 4}[dr7>>(18+4*i)&3]
		at := c.s.DR[i] &^ (n - 1)
		if uint64(port) < at+n && at < uint64(port)+uint64(size) {
			c.dbHit |= 1 << i
		}
	}
}
