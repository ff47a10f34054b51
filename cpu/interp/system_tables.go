package interp

import "dfemu/cpu/x86"

// compileTables handles the instructions for descriptor tables and selectors.
func compileTables(in *x86.Inst, o *Op) (done, end bool) {
	i := 0 // the operand that is memory or a register
	switch in.Op {
	case x86.SGDT, x86.SIDT, x86.LGDT, x86.LIDT:
		o.aux = in.Args[0].Size
		switch in.Op {
		case x86.SGDT:
			o.fn = sgdt
		case x86.SIDT:
			o.fn = sidt
		case x86.LGDT:
			o.fn = lgdt
		default:
			o.fn = lidt
		}
		return true, false
	case x86.SLDT:
		o.fn = sldt
	case x86.STR:
		o.fn = str
	case x86.SMSW:
		o.fn = smsw
	case x86.LMSW:
		o.fn, end = lmsw, true
	case x86.LLDT:
		o.fn = lldt
	case x86.LTR:
		o.fn = ltr
	case x86.VERR:
		o.fn = verr
	case x86.VERW:
		o.fn = verw
	case x86.ARPL:
		o.src = regNum(&in.Args[1])
		o.fn = arpl
	case x86.LAR, x86.LSL:
		o.dst = regNum(&in.Args[0])
		o.fn = lar
		if in.Op == x86.LSL {
			o.fn = lsl
		}
		i = 1
	default:
		return false, false
	}
	if isMem(in, i) {
		o.aux = 1
	} else if i == 0 {
		o.dst = regNum(&in.Args[0])
	} else {
		o.src = regNum(&in.Args[1])
	}
	return true, end
}

// word16 reads the 16-bit operand of the instructions above: memory, or register n.
func (c *CPU) word16(o *Op, n uint8) (uint16, bool) {
	if o.aux != 0 {
		return load[uint16](c, o)
	}
	return getReg[uint16](c, n), true
}

// storeWord writes a 16-bit value to memory, or v to register o.dst at the operand size.
func (c *CPU) storeWord(o *Op, v uint64) status {
	switch {
	case o.aux != 0:
		return finish(store(c, o, uint16(v)), stNext)
	case o.size == 2:
		setReg(c, o.dst, uint16(v))
	case o.size == 4:
		setReg(c, o.dst, uint32(v))
	default:
		setReg(c, o.dst, v)
	}
	return stNext
}

// umip raises #GP(0) where user-mode instruction prevention forbids to look at
// system registers (Intel SDM vol. 3, 2.5).
func (c *CPU) umip() bool {
	if c.cpl != 0 && c.s.CR4&x86.CR4_UMIP != 0 {
		c.gp(0)
		return false
	}
	return true
}

func sgdt(c *CPU, o *Op) status { return c.storeTable(o, c.s.GDTR) }
func sidt(c *CPU, o *Op) status { return c.storeTable(o, c.s.IDTR) }

func (c *CPU) storeTable(o *Op, t x86.Table) status {
	if !c.umip() {
		return stFault
	}
	va, ok := c.address(o, int(o.aux), accWrite)
	if !ok {
		return stFault
	}
	p := [10]byte{byte(t.Limit), byte(t.Limit >> 8)}
	for i := range 8 {
		p[2+i] = byte(t.Base >> (8 * i))
	}
	return finish(c.storeBytes(o, va, p[:min(o.aux, 10)]), stNext)
}

func lgdt(c *CPU, o *Op) status { return c.loadTable(o, &c.s.GDTR) }
func lidt(c *CPU, o *Op) status { return c.loadTable(o, &c.s.IDTR) }

func (c *CPU) loadTable(o *Op, t *x86.Table) status {
	if !c.privileged() {
		return stFault
	}
	va, ok := c.address(o, int(o.aux), accRead)
	if !ok {
		return stFault
	}
	var p [10]byte
	if !c.loadBytes(o, va, p[:min(o.aux, 10)]) {
		return stFault
	}
	base := uint64(0)
	for i := range 8 {
		base |= uint64(p[2+i]) << (8 * i)
	}
	if c.mode == x86.Mode64 {
		if !c.canonical(base) {
			return c.gp(0)
		}
	} else if o.size == 2 {
		base &= 0xffffff
	}
	*t = x86.Table{Base: base, Limit: uint16(p[0]) | uint16(p[1])<<8}
	return stNext
}

func smsw(c *CPU, o *Op) status {
	if !c.umip() {
		return stFault
	}
	return c.storeWord(o, c.s.CR0)
}

func lmsw(c *CPU, o *Op) status {
	if !c.privileged() {
		return stFault
	}
	v, ok := c.word16(o, o.dst)
	if !ok {
		return stFault
	}
	const msw = x86.CR0_PE | x86.CR0_MP | x86.CR0_EM | x86.CR0_TS
	return c.setCR0(c.s.CR0&^(msw&^x86.CR0_PE) | uint64(v)&msw)
}

func sldt(c *CPU, o *Op) status {
	if !c.protected() {
		return c.ud()
	}
	if !c.umip() {
		return stFault
	}
	return c.storeWord(o, uint64(c.s.LDTR.Selector))
}

func str(c *CPU, o *Op) status {
	if !c.protected() {
		return c.ud()
	}
	if !c.umip() {
		return stFault
	}
	return c.storeWord(o, uint64(c.s.TR.Selector))
}

// systemSegment reads the descriptor for LLDT or LTR, which has 16 bytes in IA-32e mode, and
// the upper half of its base.
func (c *CPU) systemSegment(sel uint16) (d descriptor, high uint64, ok bool) {
	if sel&4 != 0 {
		return d, 0, c.raise(x86.VecGP, sel)
	}
	size := uint64(8)
	if c.long {
		size = 16
	}
	d, found, ok := c.lookupDesc(sel, size)
	if !ok {
		return d, 0, false
	}
	if !found {
		return d, 0, c.raise(x86.VecGP, sel)
	}
	if c.long {
		v, ok := c.readSys(d.va+8, 8)
		if !ok {
			return d, 0, false
		}
		if v>>40&0x1f != 0 {
			return d, 0, c.raise(x86.VecGP, sel)
		}
		high = v << 32
	}
	return d, high, true
}

func lldt(c *CPU, o *Op) status {
	if !c.protected() {
		return c.ud()
	}
	if !c.privileged() {
		return stFault
	}
	sel, ok := c.word16(o, o.dst)
	if !ok {
		return stFault
	}
	if sel&0xfffc == 0 {
		c.s.LDTR = nullSegment(sel, 0)
		return stNext
	}
	d, high, ok := c.systemSegment(sel)
	switch {
	case !ok:
	case d.attr&sysType != typeLDT:
		c.raise(x86.VecGP, sel)
		ok = false
	case !d.present():
		c.raise(x86.VecNP, sel)
		ok = false
	}
	if !ok {
		return stFault
	}
	g := d.segment(sel)
	g.Base |= high
	if c.long && !c.canonical(g.Base) {
		c.raise(x86.VecGP, sel)
		return stFault
	}
	c.s.LDTR = g
	return stNext
}

func ltr(c *CPU, o *Op) status {
	if !c.protected() {
		return c.ud()
	}
	if !c.privileged() {
		return stFault
	}
	sel, ok := c.word16(o, o.dst)
	if !ok {
		return stFault
	}
	if sel&0xfffc == 0 {
		return c.gp(0)
	}
	d, high, ok := c.systemSegment(sel)
	kind := d.attr & sysType
	switch {
	case !ok:
	case kind != typeTSS && (kind != typeTSS16 || c.long):
		c.raise(x86.VecGP, sel)
		ok = false
	case !d.present():
		c.raise(x86.VecNP, sel)
		ok = false
	}
	if !ok {
		return stFault
	}
	g := d.segment(sel)
	g.Base |= high
	if c.long && !c.canonical(g.Base) {
		c.raise(x86.VecGP, sel)
		return stFault
	}
	if !c.setTypeBits(&d, 2, 0) {
		return stFault
	}
	g.Attr |= 2
	c.s.TR = g
	return stNext
}

// setZF replaces ZF and leaves the other flags.
func (c *CPU) setZF(on bool) {
	f := c.arith() &^ x86.ZF
	if on {
		f |= x86.ZF
	}
	c.setArith(f)
}

// visible reads the descriptor for LAR, LSL, VERR or VERW. found is false where the selector
// is null, beyond its table, of another type (types has a bit for each type of system
// descriptor that will do), or names a segment that CPL and RPL do not reach.
func (c *CPU) visible(sel uint16, types uint32) (d descriptor, found, ok bool) {
	if sel&0xfffc == 0 {
		return d, false, true
	}
	d, found, ok = c.lookupDesc(sel, 8)
	if !ok || !found {
		return d, false, ok
	}
	if d.attr&x86.AttrS == 0 && types>>(d.attr&x86.AttrType)&1 == 0 {
		return d, false, true
	}
	if d.code() && d.conforming() {
		return d, true, true
	}
	return d, c.cpl <= d.dpl() && uint8(sel&3) <= d.dpl(), true
}

// selectorOperand reads the operand of LAR and the like: not outside protected mode (#UD).
func (c *CPU) selectorOperand(o *Op, n uint8) (uint16, bool) {
	if !c.protected() {
		c.ud()
		return 0, false
	}
	return c.word16(o, n)
}

// System descriptors whose access rights LAR, and whose limits LSL, can read.
const (
	limitTypes     = 1<<typeTSS16 | 1<<typeLDT | 1<<typeTSS16Busy | 1<<typeTSS | 1<<typeTSSBusy
	rightsTypes    = limitTypes | 1<<typeCallGate | 1<<typeTaskGate | 1<<typeCallGate2
	limitTypesLong = 1<<typeLDT | 1<<typeTSS | 1<<typeTSSBusy
)

func lar(c *CPU, o *Op) status {
	sel, ok := c.selectorOperand(o, o.src)
	if !ok {
		return stFault
	}
	types := uint32(rightsTypes)
	if c.long {
		types = limitTypesLong | 1<<typeCallGate2
	}
	d, found, ok := c.visible(sel, types)
	if !ok {
		return stFault
	}
	c.setZF(found)
	if found {
		v := uint32(d.raw>>32) & 0xffff00
		if o.size == 2 {
			setReg(c, o.dst, uint16(v))
		} else {
			setReg(c, o.dst, v)
		}
	}
	return stNext
}

func lsl(c *CPU, o *Op) status {
	sel, ok := c.selectorOperand(o, o.src)
	if !ok {
		return stFault
	}
	types := uint32(limitTypes)
	if c.long {
		types = limitTypesLong
	}
	d, found, ok := c.visible(sel, types)
	if !ok {
		return stFault
	}
	c.setZF(found)
	if found {
		g := d.segment(sel)
		if o.size == 2 {
			setReg(c, o.dst, uint16(g.Limit))
		} else {
			setReg(c, o.dst, g.Limit)
		}
	}
	return stNext
}

func verr(c *CPU, o *Op) status {
	sel, ok := c.selectorOperand(o, o.dst)
	if !ok {
		return stFault
	}
	d, found, ok := c.visible(sel, 0)
	if !ok {
		return stFault
	}
	c.setZF(found && (!d.code() || d.attr&x86.AttrRW != 0))
	return stNext
}

func verw(c *CPU, o *Op) status {
	sel, ok := c.selectorOperand(o, o.dst)
	if !ok {
		return stFault
	}
	d, found, ok := c.visible(sel, 0)
	if !ok {
		return stFault
	}
	c.setZF(found && d.writable())
	return stNext
}

func arpl(c *CPU, o *Op) status {
	if !c.protected() {
		return c.ud()
	}
	rpl := getReg[uint16](c, o.src) & 3
	if o.aux == 0 {
		v := getReg[uint16](c, o.dst)
		c.setZF(v&3 < rpl)
		if v&3 < rpl {
			setReg(c, o.dst, v&^3|rpl)
		}
		return stNext
	}
	v, ok := load[uint16](c, o)
	if !ok {
		return stFault
	}
	if v&3 < rpl && !store(c, o, v&^3|rpl) {
		return stFault
	}
	c.setZF(v&3 < rpl)
	return stNext
}
