package interp

import "dfemu/cpu/x86"

// goesOn reports whether a comparison of a and b lets the repetition go on.
func goesOn[T word](o *Op, a, b T) bool { return (a == b) == (o.aux == repEqual) }

// cmps is CMPS: compares what is at rSI with what is at ES:rDI.
func cmps[T word](c *CPU, o *Op) status {
	size := sizeOf[T]()
	for {
		n := c.r[x86.RCX] & o.amask
		if o.aux == repNone {
			n = 1
		} else if n == 0 {
			return stNext
		}
		k, a, b, ok := compareMany[T](c, o, n)
		if !ok {
			return stFault
		}
		d := c.stride(k, size)
		c.advance(o, x86.RSI, d)
		c.advance(o, x86.RDI, d)
		flagsSub(c, a, b, a-b)
		if o.aux == repNone {
			return stNext
		}
		c.advance(o, x86.RCX, -k)
		if k == n || !goesOn(o, a, b) {
			return stNext
		}
		if st, leave := c.between(o); leave {
			return st
		}
	}
}

// compareMany compares up to n elements until the repetition ends or a page does. It
// returns how many it has compared, at least one, and the last two.
func compareMany[T word](c *CPU, o *Op, n uint64) (k uint64, a, b T, ok bool) {
	size := sizeOf[T]()
	from, ok := c.source(o, size)
	if !ok {
		return 0, 0, 0, false
	}
	to, ok := c.destination(o, size, accRead)
	if !ok {
		return 0, 0, 0, false
	}
	p, q := c.readable(from, size), c.readable(to, size)
	if p == nil || q == nil || n == 1 || o.legacy || c.stepping() {
		if a, ok = loadAt[T](c, o, from); !ok {
			return 0, 0, 0, false
		}
		b, ok = loadAt[T](c, o, to)
		return 1, a, b, ok
	}
	k = c.room(o, c.r[x86.RSI], from, size, n)
	k = c.room(o, c.r[x86.RDI], to, size, k)
	step := int(c.stride(1, size))
	for i := range int(k) {
		a, b = hostLoad[T](hostAdd(p, i*step)), hostLoad[T](hostAdd(q, i*step))
		if !goesOn(o, a, b) {
			return uint64(i) + 1, a, b, true
		}
	}
	return k, a, b, true
}

// scas is SCAS: compares rAX with what is at ES:rDI.
func scas[T word](c *CPU, o *Op) status {
	size := sizeOf[T]()
	a := getReg[T](c, x86.RAX)
	for {
		n := c.r[x86.RCX] & o.amask
		if o.aux == repNone {
			n = 1
		} else if n == 0 {
			return stNext
		}
		k, b, ok := scanMany(c, o, n, a)
		if !ok {
			return stFault
		}
		c.advance(o, x86.RDI, c.stride(k, size))
		flagsSub(c, a, b, a-b)
		if o.aux == repNone {
			return stNext
		}
		c.advance(o, x86.RCX, -k)
		if k == n || !goesOn(o, a, b) {
			return stNext
		}
		if st, leave := c.between(o); leave {
			return st
		}
	}
}

// scanMany is compareMany for SCAS.
func scanMany[T word](c *CPU, o *Op, n uint64, a T) (k uint64, b T, ok bool) {
	size := sizeOf[T]()
	to, ok := c.destination(o, size, accRead)
	if !ok {
		return 0, 0, false
	}
	p := c.readable(to, size)
	if p == nil || n == 1 || o.legacy || c.stepping() {
		b, ok = loadAt[T](c, o, to)
		return 1, b, ok
	}
	k = c.room(o, c.r[x86.RDI], to, size, n)
	step := int(c.stride(1, size))
	for i := range int(k) {
		b = hostLoad[T](hostAdd(p, i*step))
		if !goesOn(o, a, b) {
			return uint64(i) + 1, b, true
		}
	}
	return k, b, true
}
