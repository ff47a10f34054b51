package interp

import "dfemu/cpu/x86"

// compileElement takes the instructions that insert, extract, repeat and widen elements.
func compileElement(in *x86.Inst, o *Op) bool {
	switch in.Op {
	case x86.PINSRB, x86.VPINSRB:
		compileInsert(in, o, 1)
	case x86.PINSRW, x86.VPINSRW:
		compileInsert(in, o, 2)
	case x86.PINSRD, x86.VPINSRD:
		compileInsert(in, o, 4)
	case x86.PINSRQ, x86.VPINSRQ:
		compileInsert(in, o, 8)
	case x86.PEXTRB, x86.VPEXTRB:
		compileExtract(in, o, 1)
	case x86.PEXTRW, x86.VPEXTRW:
		compileExtract(in, o, 2)
	case x86.PEXTRD, x86.VPEXTRD, x86.EXTRACTPS, x86.VEXTRACTPS:
		compileExtract(in, o, 4)
	case x86.PEXTRQ, x86.VPEXTRQ:
		compileExtract(in, o, 8)
	case x86.INSERTPS, x86.VINSERTPS:
		bindVec(in, o)
		o.fn = insertPS
	case x86.VPBROADCASTB:
		compileBroadcast(in, o, 1)
	case x86.VPBROADCASTW:
		compileBroadcast(in, o, 2)
	case x86.VPBROADCASTD, x86.VBROADCASTSS:
		compileBroadcast(in, o, 4)
	case x86.VPBROADCASTQ, x86.VBROADCASTSD:
		compileBroadcast(in, o, 8)
	default:
		return compileWiden(in, o)
	}
	return true
}

// elementMask returns the mask of n bytes.
func elementMask(n uint8) uint64 { return ^uint64(0) >> (64 - 8*n) }

func compileInsert(in *x86.Inst, o *Op, n uint8) {
	bindVec(in, o)
	o.size = n
	o.fn = insertElement
}

// insertElement replaces element o.imm (of o.size bytes) of the first source.
func insertElement(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	v := c.r[o.src&15]
	if o.aux&auxMem != 0 {
		var ok bool
		if v, ok = c.loadPart(o, o.size); !ok {
			return stFault
		}
	}
	d := c.xmm(o.aux & auxReg)
	at := uint8(o.imm) * o.size & 15
	m := elementMask(o.size)
	sh := at & 7 * 8
	if at < 8 {
		d.lo = d.lo&^(m<<sh) | v&m<<sh
	} else {
		d.hi = d.hi&^(m<<sh) | v&m<<sh
	}
	c.setXMM(o, d)
	return stNext
}

func compileExtract(in *x86.Inst, o *Op, n uint8) {
	bindVec(in, o)
	o.size = n
	o.fn = extractElement
	if isMem(in, 0) {
		o.fn = extractToMem
	}
}

// element returns element o.imm, of o.size bytes, of o's source, zero-extended.
func (c *CPU) element(o *Op) uint64 {
	at := uint8(o.imm) * o.size & 15
	return c.xmm(o.src).half(uint64(at>>3)) >> (at & 7 * 8) & elementMask(o.size)
}

func extractElement(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	c.r[o.dst&15] = c.element(o)
	return stNext
}

func extractToMem(c *CPU, o *Op) status {
	if !c.vecReady(o) || !c.storePart(o, o.size, c.element(o)) {
		return stFault
	}
	return stNext
}

// insertPS replaces one doubleword of the first source and clears others.
func insertPS(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	var v uint64
	if o.aux&auxMem != 0 {
		m, ok := load[uint32](c, o)
		if !ok {
			return stFault
		}
		v = uint64(m)
	} else {
		v = c.xmm(o.src).dword(o.imm >> 6)
	}
	d := blendps(c.xmm(o.aux&auxReg), lane{v | v<<32, v | v<<32}, 1<<(o.imm>>4&3))
	c.setXMM(o, blendps(d, lane{}, o.imm&15))
	return stNext
}

func compileBroadcast(in *x86.Inst, o *Op, n uint8) {
	bindVec(in, o)
	o.size = n
	o.fn = broadcast
}

// repeatElement fills a quadword with the low n bytes of v.
func repeatElement(v uint64, n uint8) uint64 {
	switch n {
	case 1:
		return v & 0xff * 0x0101010101010101
	case 2:
		return v & 0xffff * 0x0001000100010001
	case 4:
		return v & 0xffffffff * 0x0000000100000001
	}
	return v
}

func broadcast(c *CPU, o *Op) status {
	if !c.avxReady() {
		return stFault
	}
	v := c.s.Vec[o.src&15][0]
	if o.aux&auxMem != 0 {
		var ok bool
		if v, ok = c.loadPart(o, o.size); !ok {
			return stFault
		}
	}
	v = repeatElement(v, o.size)
	d := [4]uint64{v, v}
	if o.aux&aux256 != 0 {
		d[2], d[3] = v, v
	}
	c.s.Vec[o.dst&15] = d
	return stNext
}

// widenOp makes a lane of wider elements from the low part of its argument.
type widenOp struct {
	f    func(v uint64) lane
	part uint8 // bytes of source for a lane
}

var widenOps = [opSlots]widenOp{
	x86.PMOVSXBW: {pmovsxbw, 8}, x86.VPMOVSXBW: {pmovsxbw, 8},
	x86.PMOVSXBD: {pmovsxbd, 4}, x86.VPMOVSXBD: {pmovsxbd, 4},
	x86.PMOVSXBQ: {pmovsxbq, 2}, x86.VPMOVSXBQ: {pmovsxbq, 2},
	x86.PMOVSXWD: {pmovsxwd, 8}, x86.VPMOVSXWD: {pmovsxwd, 8},
	x86.PMOVSXWQ: {pmovsxwq, 4}, x86.VPMOVSXWQ: {pmovsxwq, 4},
	x86.PMOVSXDQ: {pmovsxdq, 8}, x86.VPMOVSXDQ: {pmovsxdq, 8},
	x86.PMOVZXBW: {pmovzxbw, 8}, x86.VPMOVZXBW: {pmovzxbw, 8},
	x86.PMOVZXBD: {pmovzxbd, 4}, x86.VPMOVZXBD: {pmovzxbd, 4},
	x86.PMOVZXBQ: {pmovzxbq, 2}, x86.VPMOVZXBQ: {pmovzxbq, 2},
	x86.PMOVZXWD: {pmovzxwd, 8}, x86.VPMOVZXWD: {pmovzxwd, 8},
	x86.PMOVZXWQ: {pmovzxwq, 4}, x86.VPMOVZXWQ: {pmovzxwq, 4},
	x86.PMOVZXDQ: {pmovzxdq, 8}, x86.VPMOVZXDQ: {pmovzxdq, 8},
}

func pmovzxbw(v uint64) lane { return interleaveBytes(v, 0) }
func pmovzxbd(v uint64) lane { return interleaveWords(spreadBytes(v&0xffffffff), 0) }
func pmovzxbq(v uint64) lane { return lane{v & 0xff, v >> 8 & 0xff} }
func pmovzxwd(v uint64) lane { return interleaveWords(v, 0) }
func pmovzxwq(v uint64) lane { return lane{v & 0xffff, v >> 16 & 0xffff} }
func pmovzxdq(v uint64) lane { return lane{v & 0xffffffff, v >> 32} }

func pmovsxbw(v uint64) lane { return interleaveBytes(v, fill(v&h8, 8)) }

func pmovsxbd(v uint64) lane {
	w := pmovsxbw(v).lo
	return interleaveWords(w, fill(w&h16, 16))
}

func pmovsxbq(v uint64) lane { return lane{uint64(int8(v)), uint64(int8(v >> 8))} }
func pmovsxwd(v uint64) lane { return interleaveWords(v, fill(v&h16, 16)) }
func pmovsxwq(v uint64) lane { return lane{uint64(int16(v)), uint64(int16(v >> 16))} }
func pmovsxdq(v uint64) lane { return lane{uint64(int32(v)), uint64(int32(v >> 32))} }

func compileWiden(in *x86.Inst, o *Op) bool {
	if widenOps[in.Op&opMask].f == nil {
		return false
	}
	bindVec(in, o)
	o.imm = uint64(in.Op)
	o.fn = widen
	return true
}

func widen(c *CPU, o *Op) status {
	if !c.vecReady(o) {
		return stFault
	}
	w := &widenOps[o.imm&opMask]
	src := c.xmm(o.src)
	if o.aux&aux256 == 0 {
		if o.aux&auxMem != 0 {
			var ok bool
			if src.lo, ok = c.loadPart(o, w.part); !ok {
				return stFault
			}
		}
		c.setXMM(o, w.f(src.lo))
		return stNext
	}
	var ok bool
	switch {
	case o.aux&auxMem == 0:
	case w.part == 8:
		if src, ok = c.loadLane(o); !ok {
			return stFault
		}
	default:
		if src.lo, ok = c.loadPart(o, 2*w.part); !ok {
			return stFault
		}
	}
	upper := src.lo >> (8 * w.part & 63)
	if w.part == 8 {
		upper = src.hi
	}
	c.setYMM(o, w.f(src.lo), w.f(upper))
	return stNext
}
