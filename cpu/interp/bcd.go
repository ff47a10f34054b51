package interp

import "dfemu/cpu/x86"

// compileBCD handles the decimal adjustments (Intel SDM vol. 2, AAA … DAS).
// Flags that the manual leaves undefined follow from the result.
func compileBCD(in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.AAA:
		o.fn = aaa
	case x86.AAS:
		o.fn = aas
	case x86.AAM:
		o.imm = uint64(in.Args[0].Imm)
		o.fn = aam
	case x86.AAD:
		o.imm = uint64(in.Args[0].Imm)
		o.fn = aad
	case x86.DAA:
		o.fn = daa
	case x86.DAS:
		o.fn = das
	default:
		return false
	}
	return true
}

// decimal sets the flags by the result in AL, CF and AF as given, OF clear.
func (c *CPU) decimal(al uint8, cf, af bool) status {
	c.setCO(sext(al), cf, false)
	if af {
		c.fcarry |= fcAF
	}
	return stNext
}

func aaa(c *CPU, _ *Op) status {
	ax := uint16(c.r[x86.RAX])
	adjust := ax&0xf > 9 || c.af()
	if adjust {
		ax += 0x106
	}
	setReg(c, x86.RAX, ax&0xff0f)
	return c.decimal(uint8(ax&0xf), adjust, adjust)
}

func aas(c *CPU, _ *Op) status {
	ax := uint16(c.r[x86.RAX])
	adjust := ax&0xf > 9 || c.af()
	if adjust {
		ax -= 0x106
	}
	setReg(c, x86.RAX, ax&0xff0f)
	return c.decimal(uint8(ax&0xf), adjust, adjust)
}

func aam(c *CPU, o *Op) status {
	al, base := uint8(c.r[x86.RAX]), uint8(o.imm)
	if base == 0 {
		return c.divideError()
	}
	setReg(c, x86.RAX, uint16(al/base)<<8|uint16(al%base))
	return c.decimal(al%base, false, false)
}

func aad(c *CPU, o *Op) status {
	ax := uint16(c.r[x86.RAX])
	al := uint8(ax) + uint8(ax>>8)*uint8(o.imm)
	setReg(c, x86.RAX, uint16(al))
	return c.decimal(al, false, false)
}

func daa(c *CPU, _ *Op) status {
	old := uint8(c.r[x86.RAX])
	low, high := old&0xf > 9 || c.af(), old > 0x99 || c.cf()
	al := old
	if low {
		al += 6
	}
	if high {
		al += 0x60
	}
	setReg(c, x86.RAX*8, al)
	return c.decimal(al, high, low)
}

func das(c *CPU, _ *Op) status {
	old := uint8(c.r[x86.RAX])
	low, high := old&0xf > 9 || c.af(), old > 0x99 || c.cf()
	al := old
	cf := high
	if low {
		al -= 6
		cf = cf || old < 6
	}
	if high {
		al -= 0x60
	}
	setReg(c, x86.RAX*8, al)
	return c.decimal(al, cf, low)
}
