package interp

import "dfemu/cpu/x86"

// extendTable has the handlers of MOVZX or MOVSX for a source of 1, 2 or 4
// bytes: to 64 or (zero-extended) 32 bits from a register and from memory.
type extendTable struct {
	reg32, reg64, mem32, mem64 [3]handler
	// any are the general ones, by the source's size.
	any [3]handler
}

var movzxTable = extendTable{
	reg32: [3]handler{movzx8R, movzx16R, movRR32},
	reg64: [3]handler{movzx8R, movzx16R, movRR32},
	mem32: [3]handler{movzx8M, movzx16M, movRM32},
	mem64: [3]handler{movzx8M, movzx16M, movRM32},
	any:   [3]handler{zeroExtend[uint8], zeroExtend[uint16], zeroExtend[uint32]},
}

var movsxTable = extendTable{
	reg32: [3]handler{movsx8R32, movsx16R32, movRR32},
	reg64: [3]handler{movsx8R64, movsx16R64, movsx32R64},
	mem32: [3]handler{movsx8M32, movsx16M32, movRM32},
	mem64: [3]handler{movsx8M64, movsx16M64, movsx32M64},
	any:   [3]handler{signExtend[uint8], signExtend[uint16], signExtend[uint32]},
}

// compileExtend handles MOVZX, MOVSX and MOVSXD.
func compileExtend(in *x86.Inst, o *Op, t *extendTable) {
	n := log2(in.Args[1].Size)
	mem := isMem(in, 1)
	o.aux = 0
	if mem {
		o.aux = 1
	}
	switch {
	case o.size == 2 || mem && o.legacy:
		o.fn = t.any[n]
	case mem && o.size == 8:
		o.fn = t.mem64[n]
	case mem:
		o.fn = t.mem32[n]
	case o.size == 8:
		o.fn = t.reg64[n]
	default:
		o.fn = t.reg32[n]
	}
}

// extendSource reads the source: memory where aux is set.
func extendSource[T word](c *CPU, o *Op) (T, bool) {
	if o.aux != 0 {
		return load[T](c, o)
	}
	return getReg[T](c, o.src), true
}

// setSized writes a register of o.size bytes, 2 or more.
func (c *CPU) setSized(o *Op, v uint64) {
	switch o.size {
	case 2:
		setReg(c, o.dst, uint16(v))
	case 4:
		setReg(c, o.dst, uint32(v))
	default:
		setReg(c, o.dst, v)
	}
}

func zeroExtend[T word](c *CPU, o *Op) status {
	v, ok := extendSource[T](c, o)
	if !ok {
		return stFault
	}
	c.setSized(o, uint64(v))
	return stNext
}

func signExtend[T word](c *CPU, o *Op) status {
	v, ok := extendSource[T](c, o)
	if !ok {
		return stFault
	}
	c.setSized(o, sext(v))
	return stNext
}

func movzx8R(c *CPU, o *Op) status {
	c.r[o.dst&31] = uint64(getReg[uint8](c, o.src))
	return stNext
}

func movzx16R(c *CPU, o *Op) status {
	c.r[o.dst&31] = c.r[o.src&31] & 0xffff
	return stNext
}

func movzx8M(c *CPU, o *Op) status {
	p := c.readable(c.ea(o), 1)
	if p == nil {
		return zeroExtend[uint8](c, o)
	}
	c.r[o.dst&31] = uint64(hostLoad[uint8](p))
	return stNext
}

func movzx16M(c *CPU, o *Op) status {
	p := c.readable(c.ea(o), 2)
	if p == nil {
		return zeroExtend[uint16](c, o)
	}
	c.r[o.dst&31] = uint64(hostLoad[uint16](p))
	return stNext
}

func movsx8R32(c *CPU, o *Op) status {
	c.r[o.dst&31] = uint64(uint32(int8(getReg[uint8](c, o.src))))
	return stNext
}

func movsx16R32(c *CPU, o *Op) status {
	c.r[o.dst&31] = uint64(uint32(int16(c.r[o.src&31])))
	return stNext
}

func movsx8R64(c *CPU, o *Op) status {
	c.r[o.dst&31] = uint64(int8(getReg[uint8](c, o.src)))
	return stNext
}

func movsx16R64(c *CPU, o *Op) status {
	c.r[o.dst&31] = uint64(int16(c.r[o.src&31]))
	return stNext
}

func movsx32R64(c *CPU, o *Op) status {
	c.r[o.dst&31] = uint64(int32(c.r[o.src&31]))
	return stNext
}

func movsx8M32(c *CPU, o *Op) status {
	p := c.readable(c.ea(o), 1)
	if p == nil {
		return signExtend[uint8](c, o)
	}
	c.r[o.dst&31] = uint64(uint32(int8(hostLoad[uint8](p))))
	return stNext
}

func movsx16M32(c *CPU, o *Op) status {
	p := c.readable(c.ea(o), 2)
	if p == nil {
		return signExtend[uint16](c, o)
	}
	c.r[o.dst&31] = uint64(uint32(int16(hostLoad[uint16](p))))
	return stNext
}

func movsx8M64(c *CPU, o *Op) status {
	p := c.readable(c.ea(o), 1)
	if p == nil {
		return signExtend[uint8](c, o)
	}
	c.r[o.dst&31] = uint64(int8(hostLoad[uint8](p)))
	return stNext
}

func movsx16M64(c *CPU, o *Op) status {
	p := c.readable(c.ea(o), 2)
	if p == nil {
		return signExtend[uint16](c, o)
	}
	c.r[o.dst&31] = uint64(int16(hostLoad[uint16](p)))
	return stNext
}

func movsx32M64(c *CPU, o *Op) status {
	p := c.readable(c.ea(o), 4)
	if p == nil {
		return signExtend[uint32](c, o)
	}
	c.r[o.dst&31] = uint64(int32(hostLoad[uint32](p)))
	return stNext
}
