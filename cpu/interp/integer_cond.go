package interp

// less is SF ≠ OF.
func (c *CPU) less() bool {
	return (c.fres^c.fcarry<<63^c.fcarry^c.fcarry<<1)>>63 != 0
}

// cond evaluates a condition code (Intel SDM vol. 1, appendix B).
func (c *CPU) cond(cc uint8) bool {
	var v bool
	switch cc >> 1 & 7 {
	case 0:
		v = c.of()
	case 1:
		v = c.cf()
	case 2:
		v = c.zf()
	case 3:
		v = c.cf() || c.zf()
	case 4:
		v = c.sf()
	case 5:
		v = c.pf()
	case 6:
		v = c.less()
	default:
		v = c.zf() || c.less()
	}
	return v != (cc&1 != 0)
}

// setCO stores a result together with CF and OF; AF is clear.
func (c *CPU) setCO(res uint64, cf, of bool) {
	var f uint64
	if cf {
		f = fcCF | fcPO
	}
	if of {
		f ^= fcPO
	}
	c.fres, c.fcarry = res, f
}

// changeCO replaces CF and OF and leaves the other flags.
func (c *CPU) changeCO(cf, of bool) {
	f := c.fcarry &^ (fcCF | fcPO)
	if cf {
		f |= fcCF | fcPO
	}
	if of {
		f ^= fcPO
	}
	c.fcarry = f
}

// The parts of fcarry that an operand of each size makes of the carries out of its bits.
func carries8(x uint8) uint64   { return uint64(x)<<56&(fcCF|fcPO) | uint64(x)&fcAF }
func carries16(x uint16) uint64 { return uint64(x)<<48&(fcCF|fcPO) | uint64(x)&fcAF }
func carries32(x uint32) uint64 { return uint64(x)<<32&(fcCF|fcPO) | uint64(x)&fcAF }
func carries64(x uint64) uint64 { return x & fcResult }

// keepCF returns the fcarry of an INC or DEC that has left CF as it was in old.
func keepCF(old, f uint64) uint64 {
	return old&fcCF | (old^f^f<<1)&fcCF>>1 | f&fcAF
}
