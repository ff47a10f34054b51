package interp

import "dfemu/cpu/x86"

// ins is INS: from port DX to ES:rDI. That the element can be stored is made
// sure of before the port is read.
func ins[T word](c *CPU, o *Op) status {
	size := sizeOf[T]()
	port := uint16(c.r[x86.RDX])
	for {
		n := c.r[x86.RCX] & o.amask
		if o.aux == repNone {
			n = 1
		} else if n == 0 {
			return stNext
		}
		if !c.ioAllowed(o, port, int(size)) {
			return stFault
		}
		to, ok := c.destination(o, size, accWrite)
		if !ok || c.ctx&ctxSlow != 0 && !c.checkAlign(to, int(size)) || !c.probe(o, to, int(size), accWrite) {
			return stFault
		}
		if !storeAt(c, o, to, T(c.in(o, port, int(size)))) {
			return stFault
		}
		c.advance(o, x86.RDI, c.stride(1, size))
		if o.aux == repNone {
			return c.afterIO()
		}
		c.advance(o, x86.RCX, ^uint64(0))
		if n == 1 {
			return c.afterIO()
		}
		if st, leave := c.between(o); leave {
			return st
		}
	}
}

// outs is OUTS: from rSI to port DX.
func outs[T word](c *CPU, o *Op) status {
	size := sizeOf[T]()
	port := uint16(c.r[x86.RDX])
	for {
		n := c.r[x86.RCX] & o.amask
		if o.aux == repNone {
			n = 1
		} else if n == 0 {
			return stNext
		}
		if !c.ioAllowed(o, port, int(size)) {
			return stFault
		}
		from, ok := c.source(o, size)
		if !ok {
			return stFault
		}
		v, ok := loadAt[T](c, o, from)
		if !ok {
			return stFault
		}
		c.out(o, port, int(size), uint32(v))
		c.advance(o, x86.RSI, c.stride(1, size))
		if o.aux == repNone {
			return c.afterIO()
		}
		c.advance(o, x86.RCX, ^uint64(0))
		if n == 1 {
			return c.afterIO()
		}
		if st, leave := c.between(o); leave {
			return st
		}
	}
}
