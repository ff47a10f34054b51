package conformance

import "dfemu/cpu/x86"

// registers fills in all registers, before anything that depends on the instruction.
func (g *generator) registers() {
	r, c := &g.r, g.c
	for i := range c.Regs.GPR {
		c.Regs.GPR[i] = r.integer(8)
	}
	c.Regs.GPR[x86.RSP] = g.stack(false)
	c.Regs.Sel = [6]uint16{x86.CS: selCode64, x86.SS: selData}
	if g.f.Mode != x86.Mode64 {
		c.Regs.Sel = [6]uint16{selData, selCode32, selData, selData, selData, selData}
		for i := range c.Regs.GPR {
			c.Regs.GPR[i] &= 0xffffffff
		}
	}
	c.Regs.FSBase, c.Regs.GSBase = g.segmentBase(), g.segmentBase()
	g.fillVec()
	g.mxcsr()
	g.x87()
}

// segmentBase returns a base address for FS or GS.
func (g *generator) segmentBase() uint64 {
	r := &g.r
	if g.f.Mode != x86.Mode64 {
		return uint64(uint32(r.u64()))
	}
	switch r.n(4) {
	case 0:
		return dataBase + uint64(r.n(dataSize))
	case 1:
		return uint64(r.n(0x10000))
	case 2: // negative
		return ^(r.u64() >> 17)
	}
	return r.u64() >> 17
}

// stack returns a stack pointer. bad allows those with which a push or pop faults.
func (g *generator) stack(bad bool) uint64 {
	r := &g.r
	if bad && r.pct(12) {
		return g.target(8, g.f.Mode != x86.Mode64)
	}
	sp := uint64(dataBase + 256 + r.n(dataSize-512))
	if !r.pct(15) {
		sp &^= 7
	}
	if g.f.Mode == x86.Mode64 && r.pct(25) {
		sp += highBase - dataBase
	}
	return sp
}

// mxcsr chooses MXCSR: mostly all exceptions masked.
func (g *generator) mxcsr() {
	r := &g.r
	v := uint32(0x1f80) | uint32(r.u64())&0x6000
	if r.pct(40) {
		v |= uint32(r.u64()) & 0x3f
	}
	if r.pct(20) {
		v &^= uint32(r.u64()) & 0x1f80
	}
	if r.pct(20) {
		v |= uint32(r.u64()) & 0x8040
	}
	g.c.Regs.MXCSR = v
}

// x87 chooses the x87 state.
func (g *generator) x87() {
	r, p := &g.r, &g.c.Regs.FPU
	for i := range p.R {
		p.R[i] = r.f80()
	}
	if r.pct(20) { // a value and one near it
		p.R[r.n(8)] = p.R[r.n(8)]
		i, j := r.n(8), r.n(8)
		p.R[i] = p.R[j]
		p.R[i].SE ^= 0x8000
		p.R[i].Mant += uint64(r.n(3)) - 1
	}
	p.CW = 0x37f
	if r.pct(60) {
		p.CW = 0x7f | uint16(r.u64())&0xf00
	}
	if r.pct(15) {
		p.CW &^= uint16(r.u64()) & 0x3f
	}
	p.SW = uint16(r.u64()) & 0x7f00
	if r.pct(30) {
		p.SW |= uint16(r.u64()) & 0x7f
	}
	if p.SW&^p.CW&0x3f != 0 && r.pct(85) {
		p.SW &= p.CW | 0xff00 // an exception is pending only now and then
	}
	if p.SW&^p.CW&0x3f != 0 {
		p.SW |= 0x8080
	} else {
		p.SW &^= 0x8080
	}
	p.Tag = 0xff
	if r.pct(35) {
		some := uint8(r.u64())
		p.Tag = some | uint8(r.u64())
	}
	p.FIP = uint64(r.n(1 << 16))
	p.FDP = uint64(r.n(1 << 16))
	p.FOP = uint16(r.n(1 << 11))
}
