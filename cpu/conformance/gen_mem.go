package conformance

import (
	"errors"
	"strings"

	"dfemu/cpu/x86"
)

var errPlace = errors.New("the operand cannot be put there")

// target returns an address for an operand of n bytes: mostly one that can be
// read and written. low asks for one below 2 GiB.
func (g *generator) target(n int, low bool) uint64 {
	r := &g.r
	n = max(n, 1)
	base := uint64(dataBase)
	if !low && r.pct(35) {
		base = highBase
	}
	align := uint64(1)
	for align < uint64(n) && align < 64 {
		align <<= 1
	}
	if n > 64 {
		align = 64
	}
	inside := func(from, size int) uint64 {
		at := uint64(from + r.n(max(size-n, 1)))
		if r.pct(75) {
			at &^= align - 1
		}
		return base + at
	}
	switch r.n(64) {
	case 0, 1, 2, 3, 4, 5: // across the two pages
		return base + pageSize - uint64(r.n(n)) - uint64(r.n(2))
	case 6, 7:
		return inside(dataSize, pageSize) // read-only
	case 8: // partly read-only
		return base + dataSize - uint64(r.n(n))
	case 9: // partly beyond
		return base + dataAll - uint64(r.n(n))
	case 10: // partly before
		return base - uint64(1+r.n(n))
	case 11:
		return base + dataAll + uint64(r.n(pageSize))
	case 12: // anywhere
		if low {
			return uint64(uint32(r.u64()))
		}
		return r.u64()
	case 13: // not canonical, or about to be
		if low {
			return inside(0, dataSize)
		}
		at := uint64(1)<<47 + uint64(r.n(64)) - 32
		if r.pct(50) {
			at = -at
		}
		return at
	}
	return inside(0, dataSize)
}

// at returns where in c.Mem the byte at an address is.
func at(va uint64) (int, bool) {
	if off := va - dataBase; off < dataSize {
		return int(off), true
	}
	if off := va - highBase; off < dataSize {
		return int(off), true
	}
	return 0, false
}

// readOnly returns where in background the byte at an address of the read-only page is.
func readOnly(va uint64) (int, bool) {
	if off := va - dataBase; off-dataSize < pageSize {
		return int(off), true
	}
	if off := va - highBase; off-dataSize < pageSize {
		return int(off), true
	}
	return 0, false
}

// poke writes bytes into the memory before the case, as far as they are in it.
func (g *generator) poke(va uint64, b []byte) {
	for i := range b {
		if j, ok := at(va + uint64(i)); ok {
			g.c.Mem[j] = b[i]
		}
	}
}

// pokeInt writes an integer of size bytes.
func (g *generator) pokeInt(va uint64, v uint64, size int) {
	for i := range size {
		if j, ok := at(va + uint64(i)); ok {
			g.c.Mem[j] = byte(v)
		}
		v >>= 8
	}
}

// fillAt puts values of the case's flavour at an address.
func (g *generator) fillAt(va uint64, n int) {
	var b [128]byte
	for n > 0 {
		part := b[:min(n, len(b))]
		g.fill(part, g.flavor)
		g.poke(va, part)
		va += uint64(len(part))
		n -= len(part)
	}
}

// operands chooses where the memory operands are and what is in them.
func (g *generator) operands() error {
	c := g.c
	for i, s := range g.f.Enc.Args {
		a := &c.Inst.Args[i]
		switch {
		case s == x86.NoArg:
			return nil
		case a.Kind != x86.KindMem:
		case s == x86.Xv, s == x86.Yv, s == x86.XBX, s == x86.XDI:
			g.implied(s, a)
		default:
			if err := g.explicit(s, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// bytesAt is how many bytes an operand has for the choice of its place.
func bytesAt(op x86.Op, size uint8) int {
	switch op {
	case x86.FXSAVE, x86.FXRSTOR:
		return 512
	case x86.XSAVE, x86.XSAVEOPT, x86.XSAVEC, x86.XRSTOR:
		return 832
	}
	return max(int(size), 1)
}

// segmentOf returns the base of the segment that the operand is in, if it can be chosen.
func (g *generator) segmentOf(seg uint8) *uint64 {
	switch seg {
	case x86.FS:
		return &g.c.Regs.FSBase
	case x86.GS:
		return &g.c.Regs.GSBase
	}
	return nil
}

// canonical reports whether a 48-bit address may be loaded into a base register.
func canonical(a uint64) bool { return uint64(int64(a)<<16>>16) == a }

// addressMask is what an effective address is truncated to.
func (g *generator) addressMask() uint64 { return ^uint64(0) >> (64 - 8*int(g.f.AddrSize)) }

// effective chooses the offset in the segment for an operand at va, so that the address size allows it.
func (g *generator) effective(va uint64) (ea uint64, err error) {
	r := &g.r
	base := g.segmentOf(g.choice.Mem.Seg)
	mask := g.addressMask()
	compat := g.f.Mode != x86.Mode64
	switch {
	case base == nil:
		if va&mask != va {
			return 0, errPlace
		}
		return va, nil
	case g.f.AddrSize == 8:
		// Some processors also raise #GP where the offset by itself is not
		// canonical, though the address is.
		for !canonical(va-*base) && canonical(va) {
			if *base = g.segmentBase(); r.pct(10) {
				*base = 0
			}
		}
		return va - *base, nil
	}
	// Not so near to the end that the operand goes on at offset 0: processors differ in that.
	ea = r.u64() & (mask - 1024)
	*base = va - ea
	if compat {
		*base &= 0xffffffff
	} else if !canonical(*base) {
		return 0, errPlace
	}
	return ea, nil
}

// setAddress makes a register hold an address of the address size.
func (g *generator) setAddress(reg uint8, v uint64) {
	p := &g.c.Regs.GPR[reg&15]
	mask := g.addressMask()
	*p = v&mask | *p&^mask
	if g.f.Mode != x86.Mode64 {
		*p &= 0xffffffff
	} else if mask != ^uint64(0) && g.r.pct(50) {
		*p = v&mask | g.r.u64()&^mask
	}
}

// low reports whether an operand has to be below 2 GiB.
func (g *generator) low() bool {
	return g.f.Mode != x86.Mode64 || g.segmentOf(g.choice.Mem.Seg) == nil &&
		(g.f.AddrSize != 8 || g.f.Shape == ShapeAbsolute || g.f.Shape == ShapeRIP)
}

// implied places an operand that a fixed register points to.
func (g *generator) implied(s x86.Spec, a *x86.Arg) {
	r, c := &g.r, g.c
	size := max(int(a.Size), 1)
	va := g.target(size, g.low())
	ea, err := g.effective(va)
	if s == x86.Yv {
		ea, err = va, nil
		if va&g.addressMask() != va {
			ea = dataBase
		}
	}
	if err != nil {
		if p := g.segmentOf(g.choice.Mem.Seg); p != nil {
			*p = 0
		}
		ea = dataBase + uint64(r.n(dataSize-64))
	}
	switch s {
	case x86.Xv:
		g.setAddress(x86.RSI, ea)
	case x86.Yv:
		g.setAddress(x86.RDI, ea)
	case x86.XDI:
		g.setAddress(x86.RDI, ea)
	case x86.XBX:
		g.setAddress(x86.RBX, ea-c.Regs.GPR[x86.RAX]&0xff)
	}
	c.Operand = va
	g.fillAt(va, size)
}

// explicit places an operand that the instruction gives the address of.
func (g *generator) explicit(s x86.Spec, a *x86.Arg) error {
	r, c := &g.r, g.c
	m := &g.choice.Mem
	size := bytesAt(c.Inst.Op, a.Size)
	if c.Inst.Op == x86.LEA && r.pct(60) {
		return nil // any address will do: it is the result
	}
	va := g.target(size, g.low())
	if g.f.Enc.Feat == x86.FeatSHA {
		va &^= 15 // AMD does not require the alignment that Intel's exception class 4 asks for
	}
	c.Operand = va
	g.fillAt(va, size)
	off, byRegister := g.bitOffset()
	if byRegister && g.addresses(c.Inst.Args[1].Reg) && g.segmentOf(m.Seg) != nil {
		return errPlace // the address depends on itself
	}
	va -= off
	if s == x86.Ob || s == x86.Ov {
		ea, err := g.effective(va)
		m.Disp = int64(ea)
		return err
	}
	if m.Base == x86.RIPBase || m.Base == x86.NoReg && m.Index == x86.NoReg {
		return g.direct(va)
	}
	ea, err := g.effective(va)
	if err != nil {
		return err
	}
	if !canonical(ea+g.c.Operand-va) && canonical(g.c.Operand) {
		return errPlace // the offset with the bit's, as in effective
	}
	if byElement(g.f.Enc) && !canonical(va) && g.segmentOf(m.Seg) != nil {
		return errPlace // elements near it, as in effective
	}
	if g.f.Enc.Attr&x86.Gather != 0 {
		return g.gather(ea)
	}
	mask := g.addressMask()
	if m.Base == x86.NoReg {
		if m.Index == x86.NoReg {
			return errPlace
		}
		m.Disp += int64((ea - uint64(m.Disp)) & (1<<m.Scale - 1))
		if m.Disp != int64(int32(m.Disp)) {
			return errPlace
		}
		v := (ea - uint64(m.Disp)) & mask >> m.Scale
		if m.Scale != 0 && mask == ^uint64(0) && r.pct(30) {
			v |= r.u64() << (64 - m.Scale)
		}
		g.setAddress(m.Index, v)
		return nil
	}
	v := ea - uint64(m.Disp)
	if m.Index != x86.NoReg {
		v -= c.Regs.GPR[m.Index] << m.Scale
	}
	g.setAddress(m.Base, v)
	return nil
}

// byElement reports whether an instruction accesses only some elements of its memory operand.
func byElement(e *x86.Enc) bool {
	switch e.Op {
	case x86.VMASKMOVPS, x86.VMASKMOVPD, x86.VPMASKMOVD, x86.VPMASKMOVQ:
		return true
	}
	return e.Attr&x86.Gather != 0
}

// bitOffset returns how far from its address BT and the like with a register
// access memory, and whether the instruction is one of them.
func (g *generator) bitOffset() (off uint64, ok bool) {
	c := g.c
	switch c.Inst.Op {
	case x86.BT, x86.BTS, x86.BTR, x86.BTC:
	default:
		return 0, false
	}
	b := &c.Inst.Args[1]
	if b.Kind != x86.KindReg {
		return 0, false
	}
	if g.r.pct(60) { // not too far
		c.Regs.GPR[b.Reg] = uint64(int64(g.r.u64()) >> (44 + g.r.n(19)))
		if g.f.Mode != x86.Mode64 {
			c.Regs.GPR[b.Reg] &= 0xffffffff
		}
	}
	v := int64(c.Regs.GPR[b.Reg])
	switch g.f.OpSize {
	case 2:
		return uint64(int64(int16(v)) >> 4 * 2), true
	case 4:
		return uint64(int64(int32(v)) >> 5 * 4), true
	}
	return uint64(v >> 6 * 8), true
}

// direct places an operand whose address is in the instruction.
func (g *generator) direct(va uint64) error {
	r, c := &g.r, g.c
	m := &g.choice.Mem
	origin := uint64(0)
	if m.Base == x86.RIPBase {
		code, err := x86.Encode(g.f.Enc, g.choice)
		if err != nil {
			return err
		}
		origin = c.Regs.RIP + uint64(len(code))
	}
	mask := g.addressMask()
	base := g.segmentOf(m.Seg)
	if base == nil {
		m.Disp = int64(va - origin)
		if g.f.AddrSize == 4 {
			m.Disp = int64(int32(va - origin))
		}
		fits := m.Disp == int64(int32(m.Disp))
		if g.f.AddrSize == 2 {
			m.Disp = int64(int16(va))
			fits = va == va&0xffff
		}
		if !fits {
			return errPlace
		}
		return nil
	}
	m.Disp = int64(int32(r.u64()) >> r.n(24))
	if g.f.AddrSize == 2 {
		m.Disp = int64(int16(m.Disp))
	}
	ea := (origin + uint64(m.Disp)) & mask
	if mask-ea < 1024 {
		return errPlace // as in effective
	}
	*base = va - ea
	if g.f.Mode != x86.Mode64 {
		*base &= 0xffffffff
	} else if !canonical(*base) || !canonical(ea+c.Operand-va) {
		return errPlace
	}
	return nil
}

// gather chooses the indices and the mask of a gather, with ea the address to be near.
func (g *generator) gather(ea uint64) error {
	r, c, m := &g.r, g.c, &g.choice.Mem
	// Not all processors check the alignment of a gather's elements, and some
	// take a single step's #DB before all are loaded.
	c.Regs.RFLAGS &^= x86.AC | x86.TF
	index := &c.Regs.Vec[m.Index]
	mask := &c.Regs.Vec[c.Inst.Args[2].Reg]
	wide := strings.Contains(g.f.Enc.Op.String(), "GATHERQ") // indices of 64 bits
	far := r.pct(10)
	for i := range index {
		var v uint64
		for j := range 2 {
			n := int64(r.u64()) >> 58 // -32 … 31
			if far && r.pct(20) {
				n = int64(r.integer(8))
			}
			if wide {
				v = uint64(n)
				break
			}
			v |= uint64(uint32(n)) << (32 * j)
		}
		index[i] = v
		mask[i] = r.u64()
	}
	if m.Base == x86.NoReg {
		m.Disp = int64(ea)
		if m.Disp != int64(int32(m.Disp)) {
			return errPlace
		}
		return nil
	}
	g.setAddress(m.Base, ea-uint64(m.Disp))
	return nil
}
