package interp

import "dfemu/cpu/x86"

// compileVectorMisc takes the tests, control instructions, string comparisons and what has
// operands of a form of its own.
func compileVectorMisc(in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.PTEST, x86.VPTEST:
		bindVec(in, o)
		o.imm = ^uint64(0)
		o.fn = testVec
	case x86.VTESTPS:
		bindVec(in, o)
		o.imm = h32
		o.fn = testVec
	case x86.VTESTPD:
		bindVec(in, o)
		o.imm = 1 << 63
		o.fn = testVec
	case x86.VZEROUPPER:
		o.imm = 2
		o.fn = zeroFrom
	case x86.VZEROALL:
		o.imm = 0
		o.fn = zeroFrom
	case x86.LDMXCSR, x86.VLDMXCSR:
		bindVec(in, o)
		o.fn = ldmxcsr
	case x86.STMXCSR, x86.VSTMXCSR:
		bindVec(in, o)
		o.fn = stmxcsr
	case x86.SHA256RNDS2:
		bindVec(in, o)
		o.aux = uint8(in.Args[0].Reg) & auxReg
		if isMem(in, 1) {
			o.aux |= auxMem
		}
		o.src = uint8(in.Args[1].Reg)
		o.fn = sha256rnds2
	default:
		return compileStringCompare(in, o)
	}
	return true
}

// testVec is PTEST, and VTESTPS and VTESTPD with o.imm the bits that count.
func testVec(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	var l, h lane
	var ok bool
	a := &c.s.Vec[o.dst&15]
	var hi0, hi1 uint64
	if o.aux&aux256 != 0 {
		l, h, ok = c.source256(o)
		hi0, hi1 = a[2], a[3]
	} else {
		l, ok = c.source128(o)
	}
	if !ok {
		return stFault
	}
	var f uint64
	if (l.lo&a[0]|l.hi&a[1]|h.lo&hi0|h.hi&hi1)&o.imm == 0 {
		f |= x86.ZF
	}
	if (l.lo&^a[0]|l.hi&^a[1]|h.lo&^hi0|h.hi&^hi1)&o.imm == 0 {
		f |= x86.CF
	}
	c.setArith(f)
	return stNext
}

// zeroFrom clears all vector registers from quadword o.imm on: VZEROALL and VZEROUPPER.
// Outside 64-bit mode only the first eight exist.
func zeroFrom(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	n := 16
	if c.mode != x86.Mode64 {
		n = 8
	}
	for i := range c.s.Vec[:n] {
		v := &c.s.Vec[i]
		v[2], v[3] = 0, 0
		if o.imm == 0 {
			v[0], v[1] = 0, 0
		}
	}
	return stNext
}

func ldmxcsr(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	v, ok := load[uint32](c, o)
	if !ok {
		return stFault
	}
	if v&^mxcsrMask != 0 {
		return c.gp(0)
	}
	c.s.MXCSR = v
	return stNext
}

func stmxcsr(c *CPU, o *Op) status {
	if !c.vecReady(o) || !store(c, o, c.s.MXCSR) {
		return stFault
	}
	return stNext
}
