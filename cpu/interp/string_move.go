package interp

import "dfemu/cpu/x86"

// movs is MOVS: from rSI to ES:rDI.
func movs[T word](c *CPU, o *Op) status {
	size := sizeOf[T]()
	if o.aux == repNone {
		if !moveOne[T](c, o) {
			return stFault
		}
		d := c.stride(1, size)
		c.advance(o, x86.RSI, d)
		c.advance(o, x86.RDI, d)
		return stNext
	}
	for {
		n := c.r[x86.RCX] & o.amask
		if n == 0 {
			return stNext
		}
		k := c.moveMany(o, n, size)
		if k == 0 {
			if !moveOne[T](c, o) {
				return stFault
			}
			k = 1
		}
		d := c.stride(k, size)
		c.advance(o, x86.RSI, d)
		c.advance(o, x86.RDI, d)
		c.advance(o, x86.RCX, -k)
		if k == n {
			return stNext
		}
		if st, leave := c.between(o); leave {
			return st
		}
	}
}

// moveOne copies one element.
func moveOne[T word](c *CPU, o *Op) bool {
	from, ok := c.source(o, sizeOf[T]())
	if !ok {
		return false
	}
	v, ok := loadAt[T](c, o, from)
	if !ok {
		return false
	}
	to, ok := c.destination(o, sizeOf[T](), accWrite)
	return ok && storeAt(c, o, to, v)
}

// moveMany copies up to n elements as far as both are in one page each, and
// returns how many: none where elements must be copied one by one.
func (c *CPU) moveMany(o *Op, n, size uint64) uint64 {
	if o.legacy || c.stepping() {
		return 0
	}
	from := c.r[x86.RSI]&o.amask + c.segBase[o.seg&7]
	to := c.r[x86.RDI]&o.amask + c.segBase[x86.ES]
	src := c.readable(from, size)
	if src == nil {
		return 0
	}
	dst, ok := c.storable(o, to, size)
	if !ok {
		return 0
	}
	k := c.room(o, c.r[x86.RSI], from, size, n)
	k = c.room(o, c.r[x86.RDI], to, size, k)
	bytes := k * size
	if c.flags&x86.DF != 0 {
		// Downwards: what overlaps is right if it moves upwards.
		back := bytes - size
		d := hostDistance(src, dst.p)
		if d > 0 && d < bytes {
			return 0
		}
		hostCopy(hostAdd(dst.p, -int(back)), hostAdd(src, -int(back)), int(bytes))
		c.stored(&dst, back, bytes)
		return k
	}
	d := hostDistance(dst.p, src)
	switch {
	case d == 0 || d >= bytes:
		hostCopy(dst.p, src, int(bytes))
	case d < size:
		return 0
	default:
		// The destination repeats what is d bytes before it.
		for at := uint64(0); at < bytes; at += d {
			hostCopy(hostAdd(dst.p, int(at)), hostAdd(src, int(at)), int(min(d, bytes-at)))
		}
	}
	c.stored(&dst, 0, bytes)
	return k
}

// stos is STOS: from rAX to ES:rDI.
func stos[T word](c *CPU, o *Op) status {
	size := sizeOf[T]()
	v := getReg[T](c, x86.RAX)
	if o.aux == repNone {
		if !storeOne(c, o, v) {
			return stFault
		}
		c.advance(o, x86.RDI, c.stride(1, size))
		return stNext
	}
	for {
		n := c.r[x86.RCX] & o.amask
		if n == 0 {
			return stNext
		}
		k := storeMany(c, o, n, v)
		if k == 0 {
			if !storeOne(c, o, v) {
				return stFault
			}
			k = 1
		}
		c.advance(o, x86.RDI, c.stride(k, size))
		c.advance(o, x86.RCX, -k)
		if k == n {
			return stNext
		}
		if st, leave := c.between(o); leave {
			return st
		}
	}
}

func storeOne[T word](c *CPU, o *Op, v T) bool {
	to, ok := c.destination(o, sizeOf[T](), accWrite)
	return ok && storeAt(c, o, to, v)
}

// storeMany is moveMany for STOS.
func storeMany[T word](c *CPU, o *Op, n uint64, v T) uint64 {
	if o.legacy || c.stepping() {
		return 0
	}
	size := sizeOf[T]()
	to := c.r[x86.RDI]&o.amask + c.segBase[x86.ES]
	dst, ok := c.storable(o, to, size)
	if !ok {
		return 0
	}
	k := c.room(o, c.r[x86.RDI], to, size, n)
	back := uint64(0)
	if c.flags&x86.DF != 0 {
		back = (k - 1) * size
	}
	hostFill(hostAdd(dst.p, -int(back)), v, int(k*size))
	c.stored(&dst, back, k*size)
	return k
}

// lods is LODS: from rSI to rAX.
func lods[T word](c *CPU, o *Op) status {
	size := sizeOf[T]()
	for {
		n := c.r[x86.RCX] & o.amask
		if o.aux == repNone {
			n = 1
		} else if n == 0 {
			return stNext
		}
		from, ok := c.source(o, size)
		if !ok {
			return stFault
		}
		v, ok := loadAt[T](c, o, from)
		if !ok {
			return stFault
		}
		setReg(c, x86.RAX, v)
		c.advance(o, x86.RSI, c.stride(1, size))
		if o.aux == repNone {
			return stNext
		}
		c.advance(o, x86.RCX, ^uint64(0))
		if n == 1 {
			return stNext
		}
		if st, leave := c.between(o); leave {
			return st
		}
	}
}
